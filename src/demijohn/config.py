"""The configuration of an application: a dictionary that loads from objects, files and the environment."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from werkzeug.utils import import_string

if TYPE_CHECKING:
    from .app import Flask

T = TypeVar("T")


class ConfigAttribute(Generic[T]):
    """An attribute of the application that lives under a key of its configuration.

    get_converter: turns the configured value into the attribute's; left out, the value is handed on as it is.
    """

    def __init__(self, name: str, get_converter: Callable[[Any], T] | None = None) -> None:
        self.__name__ = name
        self.get_converter = get_converter

    @overload
    def __get__(self, obj: None, owner: None) -> Self: ...
    @overload
    def __get__(self, obj: Flask, owner: type[Flask]) -> T: ...
    def __get__(self, obj: Flask | None, owner: type[Flask] | None = None) -> T | Self:
        if obj is None:
            return self
        value = obj.config[self.__name__]
        converted: T = value if self.get_converter is None else self.get_converter(value)
        return converted

    def __set__(self, obj: Flask, value: Any) -> None:
        obj.config[self.__name__] = value


class Config(dict[str, Any]):
    """A dictionary of settings, with ways to fill it.

    Whatever the source, only keys in upper case are taken, so that a settings module may have helpers of its own.

    root_path: the folder that relative file names start from; an application's is its own root path.
    """

    def __init__(self, root_path: str | os.PathLike[str], defaults: dict[str, Any] | None = None) -> None:
        super().__init__(defaults or {})
        self.root_path = root_path

    def from_envvar(self, variable_name: str, silent: bool = False) -> bool:
        """Load the Python file that an environment variable names; return whether it was loaded.

        Raises RuntimeError when the variable is not set, OSError when the file cannot be read. With `silent`,
        an unset variable or a file that does not exist give False instead.
        """
        filename = os.environ.get(variable_name)
        if filename:
            return self.from_pyfile(filename, silent=silent)
        if silent:
            return False
        raise RuntimeError(
            f"The environment variable {variable_name!r} is not set, so there is no configuration to load."
            " Set it to the path of a configuration file, or pass silent=True when it is optional."
        )

    def from_prefixed_env(self, prefix: str = "FLASK", *, loads: Callable[[str], Any] = json.loads) -> bool:
        """Take every environment variable that starts with `prefix` and an underscore; return True.

        `FLASK_A__B=1` sets key B of the dictionary at key A, made when it is missing. Variables are taken in the
        order of their names.

        loads: turns the text of a variable into a value; where it raises, the text itself is the value.
        """
        start = f"{prefix}_"
        for variable in sorted(os.environ):
            if variable.startswith(start):
                *path, key = variable[len(start) :].split("__")
                target: dict[str, Any] = self
                for part in path:
                    target = target.setdefault(part, {})
                target[key] = _loaded(os.environ[variable], loads)
        return True

    def from_pyfile(self, filename: str | os.PathLike[str], silent: bool = False) -> bool:
        """Run a Python file and take the names it defines in upper case; return whether it was there.

        Raises OSError when it cannot be read, and what the file itself raises; with `silent`, a file that does
        not exist gives False.
        """
        path = os.path.join(self.root_path, filename)
        module = ModuleType("config")
        module.__file__ = path
        try:
            with open(path, "rb") as file:
                exec(compile(file.read(), path, "exec"), module.__dict__)
        except OSError as error:
            if silent and error.errno in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR):
                return False
            _tell(error)
            raise
        self.from_object(module)
        return True

    def from_object(self, obj: object | str) -> None:
        """Take the attributes in upper case of an object, often a module or a class, or of what an import name names.

        A dictionary has its settings as keys, not attributes: that is `from_mapping`. Properties of a class need
        an instance.
        """
        source = import_string(obj) if isinstance(obj, str) else obj
        for name in filter(str.isupper, dir(source)):
            self[name] = getattr(source, name)

    def from_file(
        self,
        filename: str | os.PathLike[str],
        load: Callable[[IO[Any]], Mapping[str, Any]],
        silent: bool = False,
        text: bool = True,
    ) -> bool:
        """Take what `load` makes of a file, as `json.load` does; return whether the file was there.

        text: whether the file is opened in text mode; `tomllib.load` wants False.

        Raises OSError when it cannot be read; with `silent`, a file that does not exist gives False.
        """
        path = os.path.join(self.root_path, filename)
        try:
            with open(path, "r" if text else "rb") as file:
                settings = load(file)
        except OSError as error:
            if silent and error.errno in (errno.ENOENT, errno.EISDIR):
                return False
            _tell(error)
            raise
        return self.from_mapping(settings)

    def from_mapping(self, mapping: Mapping[str, Any] | None = None, **kwargs: Any) -> bool:
        """Take the keys in upper case of a mapping and of the keyword arguments, which win; return True."""
        for key, value in dict(mapping or {}, **kwargs).items():
            if key.isupper():
                self[key] = value
        return True

    def get_namespace(self, namespace: str, lowercase: bool = True, trim_namespace: bool = True) -> dict[str, Any]:
        """Return the settings whose keys start with `namespace`, as keyword arguments for what they configure.

        lowercase, trim_namespace: whether the keys of the result are in lower case, and without `namespace`.
        """
        found = {}
        for key, value in self.items():
            if key.startswith(namespace):
                name = key.removeprefix(namespace) if trim_namespace else key
                found[name.lower() if lowercase else name] = value
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict.__repr__(self)}>"


def _loaded(text: str, loads: Callable[[str], Any]) -> Any:
    try:
        return loads(text)
    except Exception:  # `loads` is the user's; whatever it cannot read is meant as text.
        return text


def _tell(error: OSError) -> None:
    error.strerror = f"Unable to load configuration file ({error.strerror})"
