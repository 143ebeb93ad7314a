"""What the files of a project say: its name, and what it needs installed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A requirement's name ends where a version, an extra, a marker, a URL or a comment begins (PEP 508).
_REQUIREMENT_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_REQUIREMENT_FILE = re.compile(r"\s*(?:-r|--requirement|-c|--constraint)[\s=]+(\S+)")


class ProjectError(ValueError):
    """The project's files cannot be used; the message is one sentence for its developer."""


@dataclass(frozen=True, slots=True)
class Project:
    """What its files say of a project.

    title, version: of pyproject.toml; without them, the folder's name and None.
    requirement_files: requirements.txt and the files it names; empty when there is none.
    pyproject_dependencies: pyproject.toml lists the dependencies, and there is no requirements.txt.
    dependencies: those that pyproject.toml lists.
    locked: `name==version` for what uv.lock pins; empty when there is none, or a requirements.txt.
    is_package: pyproject.toml says how the project itself is built, so it is installed, too.
    has_wheels: the folder `wheels` holds distributions that are to be preferred to an index.
    lists_demijohn: demijohn is among the dependencies.
    """

    title: str
    version: str | None = None
    requirement_files: tuple[str, ...] = ()
    pyproject_dependencies: bool = False
    dependencies: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    is_package: bool = False
    has_wheels: bool = False
    lists_demijohn: bool = False

    @property
    def says_what_it_needs(self) -> bool:
        """Whether there is a file that lists dependencies, be it none."""
        return bool(self.requirement_files) or self.pyproject_dependencies


def read_project(folder: Path) -> Project:
    """Return what the files in `folder` say.

    Raises ProjectError for a file that cannot be read as what its name says.
    """
    pyproject = _read_toml(folder / "pyproject.toml")
    table: dict[str, Any] = pyproject.get("project", {})
    requirement_files = _requirement_files(folder)
    if requirement_files:
        lines = [line for name in requirement_files for line in _read_text(folder / name).splitlines()]
    else:
        lines = table.get("dependencies", [])
    uses_pyproject = bool(table) and not requirement_files
    return Project(
        title=table.get("name") or folder.resolve().name,
        version=table.get("version"),
        requirement_files=requirement_files,
        pyproject_dependencies=uses_pyproject,
        dependencies=tuple(lines) if uses_pyproject else (),
        locked=_locked_versions(_read_toml(folder / "uv.lock")) if uses_pyproject else (),
        is_package="build-system" in pyproject and bool(table),
        has_wheels=any((folder / "wheels").glob("*.whl")),
        lists_demijohn=any(_requirement_name(line) == "demijohn" for line in lines),
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path.name} cannot be read: {error}.") from None


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path.name} is not valid TOML: {error}.") from None


def _locked_versions(lock: dict[str, Any]) -> tuple[str, ...]:
    """Return what a lock file of uv pins. What it has in two versions, each for other machines, is left to pip."""
    versions: dict[str, set[str]] = {}
    for package in lock.get("package", []):
        if "registry" in package.get("source", {}):
            versions.setdefault(package["name"], set()).add(package["version"])
    return tuple(f"{name}=={min(found)}" for name, found in sorted(versions.items()) if len(found) == 1)


def _requirement_files(folder: Path) -> tuple[str, ...]:
    """Return requirements.txt and every file that it, or one of those, includes; relative to `folder`."""
    waiting = ["requirements.txt"] if (folder / "requirements.txt").exists() else []
    found: list[str] = []
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found.append(name)
        for line in _read_text(folder / name).splitlines():
            if included := _REQUIREMENT_FILE.match(line):
                path = (folder / name).parent / included[1]
                waiting.append(_inside(path, folder))
    return tuple(found)


def _inside(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise ProjectError(f"{path} is outside of this folder, so a build cannot copy it.") from None


def _requirement_name(line: str) -> str:
    """Return the normalised name that a requirement is for (PEP 503), empty when it has none."""
    match = _REQUIREMENT_NAME.match(line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""
