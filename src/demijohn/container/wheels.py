"""What an application depends on: wheels for the image's platform, unpacked as an environment at /venv."""

from __future__ import annotations

import base64
import calendar
import configparser
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .layers import mark_as_made
from .project import Project, ProjectError

_WHEEL_NAME = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-(?P<tags>[^-]+-[^-]+-[^-]+)\.whl")
_SCRIPT = """\
#!/venv/bin/python
import sys
from {module} import {first}
sys.exit({call}())
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The Python of an image.

    executable: its path in the image.
    version: such as "3.11".
    machine: as platform tags call it: x86_64, aarch64.
    libc: "glibc" or "musl", and its version.
    library: where its standard library is in the image, and whether bytecode of it is there.
    """

    executable: str
    version: str
    machine: str
    libc: str
    libc_version: tuple[int, int]
    library: str
    library_has_bytecode: bool

    @property
    def platform_tags(self) -> list[str]:
        """The platforms of wheels that run there, the closest first (PEP 600, PEP 656)."""
        major, minor = self.libc_version
        if self.libc == "musl":
            return [f"musllinux_{major}_{each}_{self.machine}" for each in range(minor, -1, -1)]
        tags = [f"manylinux_{major}_{each}_{self.machine}" for each in range(minor, 16, -1)]
        return [*tags, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    @property
    def packages(self) -> str:
        """Where the environment keeps what is installed."""
        return f"venv/lib/python{self.version}/site-packages"


def make_environment(tree: Path, runtime: Runtime) -> None:
    """Make the folders of a virtual environment (PEP 405) at /venv, as `python -m venv --without-pip` does."""
    home = os.path.dirname(runtime.executable)
    binaries = tree / "venv/bin"
    binaries.mkdir(parents=True)
    (tree / runtime.packages).mkdir(parents=True)
    (tree / "venv/lib64").symlink_to("lib")
    for name in ("python", "python3", f"python{runtime.version}"):
        (binaries / name).symlink_to(runtime.executable)
    config = tree / "venv/pyvenv.cfg"
    config.write_text(f"home = {home}\ninclude-system-site-packages = false\nversion = {runtime.version}\n")
    mark_as_made(config)


# -- finding --------------------------------------------------------------------------------------


def requirement_arguments(project: Project, folder: Path) -> list[str]:
    """Return what tells pip what the project needs; `folder` is where files for that can be written."""
    arguments = []
    if project.requirement_files:
        arguments += ["-r", "requirements.txt"]
    else:
        listed = folder / "requirements.txt"
        listed.write_text("\n".join(project.dependencies))
        arguments += ["-r", str(listed)]
    if project.locked:
        locked = folder / "constraints.txt"
        locked.write_text("\n".join(project.locked))
        arguments += ["-c", str(locked)]
    if not project.lists_demijohn:
        arguments.append(f"demijohn=={importlib.metadata.version('demijohn')}")
    return arguments


def find_wheels(
    project: Project, root: Path, runtime: Runtime, work: Path, on_progress: Callable[[str], None]
) -> list[Path]:
    """Have pip find wheels for all that the project at `root` needs, and return them.

    `on_progress` gets the name of each as it is looked for. Raises ProjectError when one cannot be had.
    """
    found = work / "found"
    own = work / "own"
    own.mkdir()
    build_own_wheel(own)
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--progress-bar=off",
        "--only-binary=:all:", "--implementation=cp", f"--python-version={runtime.version}",
        f"--abi=cp{runtime.version.replace('.', '')}", "--abi=abi3", "--abi=none",
        *(f"--platform={tag}" for tag in runtime.platform_tags),
        f"--dest={found}", f"--find-links={own}",
        *([f"--find-links={root / 'wheels'}"] if project.has_wheels else []),
        *requirement_arguments(project, work),
    ]  # fmt: skip
    _run_pip(command, root, on_progress)
    return sorted(found.glob("*.whl"))


def build_project_wheel(root: Path, work: Path) -> Path:
    """Have pip build the wheel of the project at `root`, which is a package itself. Raises ProjectError."""
    target = work / "project"
    _run_pip([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(target), "."], root, lambda name: None)
    wheel = next(iter(target.glob("*.whl")))
    if not wheel.name.endswith("-none-any.whl"):
        raise ProjectError(
            f"{wheel.name} has compiled code, which only a build in the image's own system fits:"
            " take --engine docker, or put wheels of it into wheels/ and list it in requirements.txt."
        )
    return wheel


def _run_pip(command: list[str], root: Path, on_progress: Callable[[str], None]) -> None:
    try:
        process = subprocess.Popen(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise ProjectError(f"pip cannot be started: {error.strerror}.") from None
    said = []
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            said.append(line.rstrip())
            if line.startswith("Collecting "):
                on_progress(line.split()[1])
    if process.returncode:
        raise ProjectError(_what_pip_means(said))


def _what_pip_means(lines: Iterable[str]) -> str:
    """Return in a sentence why pip gave up."""
    text = "\n".join(lines)
    if "No module named pip" in text:
        return "Finding what the application needs takes pip: python -m ensurepip."
    if missing := re.search(r"No matching distribution found for ([^\n(]+)", text):
        name = missing[1].strip()
        if "(from versions: none)" in text and re.search(r"(Connection|Retrying|Temporary failure|Max retries)", text):
            return f"The package index cannot be reached, so {name} cannot be had; check the network, or PIP_INDEX_URL."
        return (
            f"There is no wheel of {name} for this image's platform: correct the name or version, build one into"
            f" wheels/ (pip wheel -w wheels {name!r}), or build with --engine docker, which may compile."
        )
    errors = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")]
    return f"pip cannot find what the application needs: {errors[0] if errors else text.strip()[-300:]}"


# -- our own wheel ----------------------------------------------------------------------------------


def comes_from_index() -> bool:
    """Whether the demijohn that runs here was installed from a package index, so that others can have it from there."""
    return importlib.metadata.distribution("demijohn").read_text("direct_url.json") is None  # PEP 610


def build_own_wheel(folder: Path) -> Path:
    """Write a wheel of the demijohn that runs here, and return it.

    So an image has the server it was tried with, also when that one was not published.
    """
    distribution = importlib.metadata.distribution("demijohn")
    package = Path(__file__).parents[1]
    info = f"demijohn-{distribution.version}.dist-info"
    files = {
        f"demijohn/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    for name in ("METADATA", "entry_points.txt"):
        files[f"{info}/{name}"] = (distribution.read_text(name) or "").encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: demijohn\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{name},sha256={_record_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*sorted(rows), f"{info}/RECORD,,", ""]).encode()
    wheel = folder / f"demijohn-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return wheel


def _record_digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


# -- unpacking --------------------------------------------------------------------------------------


def unpack(wheel: Path, tree: Path, runtime: Runtime) -> None:
    """Install a wheel into the environment in `tree` (PEP 427). Raises ProjectError for one that is none."""
    named = _WHEEL_NAME.fullmatch(wheel.name)
    if named is None:
        raise ProjectError(f"{wheel.name} is not the name of a wheel.")
    packages = tree / runtime.packages
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    _unpack_entry(archive, entry, tree, packages)
            for name in archive.namelist():
                if name.endswith(".dist-info/entry_points.txt") and name.count("/") == 1:
                    _write_scripts(archive.read(name).decode(), tree / "venv/bin")
    except (zipfile.BadZipFile, UnicodeDecodeError, configparser.Error) as error:
        raise ProjectError(f"{wheel.name} is not a wheel: {error}.") from None


def _unpack_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, tree: Path, packages: Path) -> None:
    parts = entry.filename.split("/")
    if ".." in parts or entry.filename.startswith("/"):
        raise ProjectError(f"{archive.filename} wants to write outside of its folder: {entry.filename!r}.")
    content = archive.read(entry)
    executable = bool(entry.external_attr >> 16 & 0o100)
    target = packages.joinpath(*parts)
    if parts[0].endswith(".data") and len(parts) > 2:
        kind, rest = parts[1], parts[2:]
        if kind == "headers":
            return
        target = {"scripts": tree / "venv/bin", "data": tree / "venv"}.get(kind, packages).joinpath(*rest)
        if kind == "scripts":
            executable = True
            content = re.sub(rb"\A#!pythonw?", b"#!/venv/bin/python", content)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o755 if executable else 0o644)
    mark_as_made(target, _time_of(entry))


def _time_of(entry: zipfile.ZipInfo) -> int:
    # Zip files have no time zone.
    return calendar.timegm((*entry.date_time, 0, 0, 0))


def _write_scripts(entry_points: str, binaries: Path) -> None:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(entry_points)
    binaries.mkdir(parents=True, exist_ok=True)
    for section in ("console_scripts", "gui_scripts"):
        if section not in parser:
            continue
        for name, value in parser[section].items():
            module, _, call = value.partition("[")[0].partition(":")
            script = binaries / name
            call = call.strip()
            script.write_text(_SCRIPT.format(module=module.strip(), first=call.partition(".")[0], call=call))
            script.chmod(0o755)
            mark_as_made(script)
