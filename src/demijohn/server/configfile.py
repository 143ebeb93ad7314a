"""Settings from files: `gunicorn.conf.py` and its like, which are Python, and a table in `pyproject.toml`."""

from __future__ import annotations

import builtins
import difflib
import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .gunicorn_names import ACCEPTED
from .kinds import SettingError
from .settings import KEYS, Given

DEFAULT_FILES = ("demijohn.conf.py", "gunicorn.conf.py")
TABLE = "tool.demijohn.serve"
_APPLICATION = "wsgi_app"


@dataclass(slots=True)
class FileSettings:
    """What files set.

    given: by `Flag.name`.
    application: what to serve, when a file says it.
    notes: sentences for the operator, on what has no effect.
    """

    given: dict[str, Given] = field(default_factory=dict)
    application: str | None = None
    notes: list[str] = field(default_factory=list)

    def take(self, values: Mapping[str, Any], source: str, *, only_settings: bool) -> None:
        """Add what one file sets; it counts more than what is there.

        only_settings: whether nothing but settings may stand there, so that every other name is a mistake. A Python
        file has helpers of its own beside them; there, only a name that looks like a mistyped one is noted.
        """
        for name, value in values.items():
            key = name.replace("-", "_")
            if key in KEYS:
                flag = KEYS[key]
                self.given[flag.name] = Given(value, f"{source}: {name}")
            elif key == _APPLICATION:
                self.application = value
            elif key in ACCEPTED:
                note = ACCEPTED[key].note_on(value)
                self.notes += [f"{source}: {note}"] if note else []
            else:
                self.notes += _on_unknown(name, value, source, only_settings)


def _on_unknown(name: str, value: Any, source: str, only_settings: bool) -> Iterable[str]:
    meant = difflib.get_close_matches(name.replace("-", "_"), [*KEYS, *ACCEPTED, _APPLICATION], n=1, cutoff=0.8)
    if not only_settings and not (meant and isinstance(value, str | int | float | list | tuple)):
        return
    hint = f"; did you mean {meant[0]}?" if meant else ", so it has no effect."
    yield f"{source}: there is no setting called {name}{hint}"


def read_files(location: str | None, directory: str = ".") -> FileSettings:
    """Return what the files of a server set: `pyproject.toml` in `directory`, and over it the one at `location`.

    location: a path, `file:PATH` or `python:MODULE`; None for the first of `DEFAULT_FILES` there is in `directory`.

    Raises SettingError when the file is not there, or fails.
    """
    files = FileSettings()
    table = _table(os.path.join(directory, "pyproject.toml"))
    if table is not None:
        files.take(table, f"pyproject.toml [{TABLE}]", only_settings=True)
    if location is None:
        found = (name for name in DEFAULT_FILES if os.path.isfile(os.path.join(directory, name)))
        location = next((os.path.join(directory, name) for name in found), None)
    if location is not None:
        values = _module_values(location[7:]) if location.startswith("python:") else _file_values(_path(location))
        files.take(values, location.removeprefix("./"), only_settings=False)
    return files


def _path(location: str) -> str:
    path = location.removeprefix("file:")
    if not os.path.isfile(path):
        raise SettingError(f"There is no configuration file {path}.")
    return path


def _table(path: str) -> Mapping[str, Any] | None:
    try:
        with open(path, "rb") as file:
            found: Any = tomllib.load(file)
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"The file {path} cannot be read: {error}.") from None
    for part in TABLE.split("."):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return found or None


def _file_values(path: str) -> dict[str, Any]:
    """Run a Python file and return the names it leaves behind."""
    values: dict[str, Any] = {
        "__builtins__": builtins,
        "__name__": "__config__",
        "__doc__": None,
        "__package__": None,
        "__file__": os.path.abspath(path),
    }
    try:
        exec(compile(Path(path).read_bytes(), path, "exec"), values)
    except (Exception, SystemExit) as error:
        raise _failed(path, error) from error
    return _public(values)


def _module_values(name: str) -> dict[str, Any]:
    """Import a module, again when it was imported before, and return its names."""
    try:
        module = sys.modules.get(name)
        module = importlib.import_module(name) if module is None else importlib.reload(module)
    except (Exception, SystemExit) as error:
        raise _failed(f"python:{name}", error) from error
    return _public(vars(module))


def _failed(where: str, error: BaseException) -> SettingError:
    line = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    frames = traceback.extract_tb(error.__traceback__)
    here = f" at {frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else ""
    return SettingError(f"The configuration {where} failed{here}: {line}.")


def _public(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("_")}
