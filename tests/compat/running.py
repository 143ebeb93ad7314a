"""Runs a suite that was written for Flask on demijohn: an environment, a source distribution, and a count."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import venv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
PINS = Path(__file__).parent / "pins"
# Downloads and environments stay from run to run; everything else in it is made anew.
CACHE = ROOT / ".compat"
LIMIT_S = 600


class Broken(Exception):
    """A step before or around the tests failed; the message says which and what it printed."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with these pinned packages and demijohn, where `import flask` means demijohn."""

    pins: str
    werkzeug: str | None = None  # instead of the one that is pinned
    quirks: bool = False  # whether JSON-RPC has Flask-JSONRPC's

    @property
    def requirements(self) -> str:
        text = (PINS / self.pins).read_text()
        return text if self.werkzeug is None else re.sub(r"(?m)^werkzeug==.*$", f"werkzeug=={self.werkzeug}", text)

    @property
    def folder(self) -> Path:
        what = "\n".join([self.requirements, sys.version, (ROOT / "pyproject.toml").read_text(), str(ROOT)])
        return CACHE / "environments" / f"{Path(self.pins).stem}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def make(self) -> None:
        """Make it, unless an earlier run did."""
        ready = self.folder / "ready"
        if not ready.exists():
            print(f"  making {self.folder.relative_to(ROOT)} ...", flush=True)
            venv.create(self.folder, clear=True, with_pip=True)
            requirements = self.folder / "requirements.txt"
            requirements.write_text(self.requirements)
            pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps"]
            call([*pip, "-r", str(requirements)])
            call([*pip, "--no-build-isolation", "-e", str(ROOT)])
            ready.touch()
        # Each time, as what it does may have changed.
        quirks = ["--quirks"] if self.quirks else []
        call([str(self.folder / "bin" / "demijohn"), "dropin", "enable", *quirks])
        # The name must not find Flask by any other way, or the count would say nothing about demijohn.
        call([str(self.python), "-c", "import flask, flask.app, demijohn.app; assert flask.app is demijohn.app"])
        call([str(self.python), "-c", _NO_FLASK])


_NO_FLASK = """
import os, sys, sysconfig
path = os.path.join(sysconfig.get_path("purelib"), "flask")
sys.exit(f"{path} is there" if os.path.exists(path) else 0)
"""


def call(command: list[str]) -> None:
    """Run a step of the preparation; raises Broken with what it printed when it fails."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLASK_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=CACHE, timeout=LIMIT_S)
    if done.returncode:
        raise Broken(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def unpack(requirement: str) -> Path:
    """Return the folder with a source distribution, unpacked anew; it is downloaded once, by its name."""
    name, _, version = requirement.partition("==")
    folder = CACHE / "sources" / requirement
    if not folder.exists():
        print(f"  downloading the source of {name} {version} ...", flush=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
        part = folder.with_suffix(".part")
        call([*pip, "--no-binary", name, "-d", str(part), requirement])
        part.rename(folder)
    work = CACHE / "work" / requirement
    shutil.rmtree(work, ignore_errors=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    (top,) = work.iterdir()
    return top


@dataclass
class Outcome:
    """What became of a suite: how many tests passed and were skipped, and the names of those that failed."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    printed: str = ""


Command = Callable[[Path, Path], list[str]]


def pytest(*arguments: str) -> Command:
    return lambda python, report: [
        str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments,
    ]  # fmt: skip


PYTEST = pytest("tests")


# A suite's own settings that its tests do not need: plugins for coverage and colours, pytest's folders.
BARE = [
    option for name in ("addopts", "required_plugins", "pythonpath", "norecursedirs") for option in ("-o", f"{name}=")
]


def live(folder: str, application: str, *arguments: str) -> Command:
    """Tests over HTTP, against `demijohn serve APPLICATION` in that folder; see live.py."""
    script = Path(__file__).parent / "live.py"
    return lambda python, report: [
        str(python), str(script), folder, application,
        "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *BARE, *arguments,
    ]  # fmt: skip


def nose(*arguments: str) -> Command:
    return lambda python, report: [
        str(python), "-m", "nose", "--with-xunit", f"--xunit-file={report}", *arguments,
    ]  # fmt: skip


def checker(*command: str) -> Command:
    """A type checker: one test, which its exit code decides."""
    return lambda python, report: [str(python), "-m", *command]


@dataclass(frozen=True)
class Suite:
    """The tests that come with a source distribution, and what real Flask achieves with them."""

    name: str
    source: str
    environment: Environment
    passed: int
    run: Command = PYTEST
    #: Patterns of the tests that fail with real Flask too, each with its reason.
    fail_anyway: Mapping[str, str] = field(default_factory=dict)
    #: What is deleted before: code that must come from elsewhere.
    without: tuple[str, ...] = ()
    folder: str = "."
    #: Folders that are copied before, from and to: a source distribution has no symbolic links.
    copies: Mapping[str, str] = field(default_factory=dict)
    #: Appended to files of the source distribution, for what has gone since its release.
    additions: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None  # a command

    def start(self) -> Outcome:
        """Prepare and run the suite. Raises Broken when it does not get that far."""
        self.environment.make()
        top = unpack(self.source)
        for path in self.without:
            shutil.rmtree(top / path)
        for source, target in self.copies.items():
            shutil.copytree(top / source, top / target)
        for path, text in self.additions.items():
            with (top / path).open("a") as file:
                file.write(text)
        report = top.parent / "report.xml"
        code, printed = bounded(self.run(self.environment.python, report), top / self.folder)
        if report.exists():
            outcome = read_report(report)
        elif code == 0:
            outcome = Outcome(passed=1)
        else:
            outcome = Outcome(failed=[self.name])
        outcome.printed = printed
        return outcome

    def unexpected(self, outcome: Outcome) -> list[str]:
        """Return the failures that real Flask does not have."""
        return [name for name in outcome.failed if not any(fnmatch.fnmatch(name, known) for known in self.fail_anyway)]

    def holds(self, outcome: Outcome) -> bool:
        return outcome.passed >= self.passed and not self.unexpected(outcome)


def bounded(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command and all that it starts for LIMIT_S at most; return its exit code and what it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLASK_"))}
    environ["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{environ['PATH']}"
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise Broken(f"{' '.join(command)}\nstopped after {LIMIT_S} s") from None
    return process.returncode, printed


def read_report(path: Path) -> Outcome:
    """Read the JUnit XML that pytest and nose write."""
    outcome = Outcome()
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            outcome.failed.append(f"{case.get('classname')}.{case.get('name')}")
        elif "skipped" in kinds:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    return outcome


def run(suites: Iterable[Suite]) -> bool:
    """Run the suites one after the other, print a table, and return whether all of them hold."""
    (CACHE / "work").mkdir(parents=True, exist_ok=True)
    # Without it, a suite that has no settings of its own would run by those of our tests, which lie above.
    (CACHE / "work" / "pytest.ini").write_text("[pytest]\n")
    rows = []
    for suite in suites:
        print(f"{suite.name}", flush=True)
        if suite.needs is not None and shutil.which(suite.needs) is None:
            rows.append((suite.name, suite.source, str(suite.passed), "-", "-", "-", f"not run: no {suite.needs} here"))
            continue
        started = time.monotonic()
        try:
            outcome = suite.start()
            holds = suite.holds(outcome)
        except Broken as error:
            outcome, holds = Outcome(printed=str(error)), False
        if not holds:
            print(outcome.printed)
            for name in suite.unexpected(outcome):
                print(f"  fails here, and not with Flask: {name}")
        counts = (suite.passed, outcome.passed, len(outcome.failed), outcome.skipped)
        print(f"  {outcome.passed} passed in {time.monotonic() - started:.0f} s", flush=True)
        rows.append((suite.name, suite.source, *map(str, counts), "ok" if holds else "FAILED"))
    print_table([("suite", "source", "with Flask", "passed", "failed", "skipped", ""), *rows])
    return all(row[-1] != "FAILED" for row in rows)


def print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
