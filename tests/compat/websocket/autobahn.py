"""Runs the Autobahn testsuite against WebSockets under `demijohn serve`.

The testsuite is a program of Python 2.7: of the path, of pyenv, or the one that make_python2 has made for `.ci/run`.
Its cases 12 and 13, on compression, take minutes; one of each kind is run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from running import CACHE, PINS, ROOT, Broken, call, print_table

HERE = Path(__file__).parent
LIMIT_S = 400
CASES = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
COMPRESSION = ["12.1.1", "12.1.8", "12.2.3", "12.3.2", *(f"13.{kind}.1" for kind in range(1, 8))]
# Of these, there are so many: fewer would mean that the testsuite has not run.
LEAST = 300
# NON-STRICT: right, but later or earlier than it could be. INFORMATIONAL: there is no right or wrong.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def python2() -> str | None:
    """Return a Python 2.7 that runs; None when there is none."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    made = ROOT / ".tools" / "python2" / "python2.7"
    for candidate in ("python2.7", *sorted(map(str, versions.glob("2.7*/bin/python2.7"))), str(made)):
        path = shutil.which(candidate)
        if path and subprocess.run([path, "-c", "import pip"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def testsuite(python: str) -> Path:
    """Return the folder that the testsuite is installed in; the first time it is downloaded."""
    folder = CACHE / "environments" / "autobahn"
    pins = (PINS / "autobahn.txt").read_text()
    ready = folder / "ready"
    if not ready.exists() or ready.read_text() != pins:
        print("  installing the Autobahn testsuite ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps"]
        call([*pip, "--target", str(folder), "-r", str(PINS / "autobahn.txt")])
        (folder / "zope" / "__init__.py").touch()  # a namespace package, which --target leaves without
        ready.write_text(pins)
    return folder


@contextmanager
def serving() -> Iterator[int]:
    """Serve `echo.py`; give the port."""
    command = [sys.executable, "-m", "demijohn", "serve", "-b", "127.0.0.1:0", "-w", "1"]
    command += ["--websocket-max-message-size", "32M", "--asgi-lifespan", "off", "echo:application"]
    with subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            assert server.stderr is not None
            port = 0
            for line in server.stderr:
                if listening := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line):
                    port = int(listening[1])
                if "Worker ready" in line:
                    break
            if not port:
                raise Broken("the server did not start")
            yield port
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def results(python: str, folder: Path, port: int, cases: list[str]) -> dict[str, dict[str, str]]:
    """Return what became of each case. Raises Broken when the testsuite does not come to its end."""
    reports = CACHE / "work" / "autobahn"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    specification = {
        "outdir": str(reports),
        "servers": [{"agent": "demijohn", "url": f"ws://127.0.0.1:{port}"}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (reports / "specification.json").write_text(json.dumps(specification))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ["PYTHONPATH"] = str(folder)
    command = [python, "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s", "specification.json"]
    try:
        done = subprocess.run(
            command, cwd=reports, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"the testsuite was stopped after {LIMIT_S} s") from None
    index = reports / "index.json"
    if not index.exists():
        raise Broken(done.stdout[-2000:] + done.stderr[-2000:])
    found: dict[str, dict[str, str]] = json.loads(index.read_text())["demijohn"]
    return found


def run(wanted: str = "") -> bool:
    """Run the cases (those that begin with `wanted`), print a table, and return whether all are good."""
    python = python2()
    if python is None:
        print("NOT RUN, which counts as failed: the Autobahn testsuite needs a Python 2.7 with pip, and there is")
        print("none in the path or of pyenv. As root: tests/compat/websocket/make_python2 .tools/python2")
        return False
    cases = [f"{wanted}*"] if wanted else [*CASES, *COMPRESSION]
    CACHE.mkdir(exist_ok=True)
    try:
        folder = testsuite(python)
        with serving() as port:
            found = results(python, folder, port, cases)
    except Broken as error:
        print(error)
        return False
    groups: dict[str, Counter[str]] = {}
    bad = []
    for case, result in sorted(found.items()):
        groups.setdefault(case.split(".")[0], Counter())[result["behavior"]] += 1
        if result["behavior"] not in GOOD or result["behaviorClose"] not in GOOD:
            bad.append(f"{case}: {result['behavior']}, its end: {result['behaviorClose']}")
    kinds = ("OK", "NON-STRICT", "INFORMATIONAL")
    rows = [(group, *(str(counts[kind]) for kind in kinds)) for group, counts in sorted(groups.items(), key=_number)]
    print_table([("cases", *kinds), *rows])
    print(f"\n{len(found)} cases, {len(bad)} failed")
    print("\n".join(bad))
    return not bad and (bool(wanted) or len(found) >= LEAST)


def _number(item: tuple[str, Counter[str]]) -> int:
    return int(item[0])
