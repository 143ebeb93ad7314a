"""What an application needs to own commands, and how an application is found by its name.

Importing this imports click, so the application does it when `app.cli` or `app.run` is first asked for.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import update_wrapper
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, TypeVar, overload

import click
from werkzeug.serving import is_running_from_reloader

from .globals import current_app
from .helpers import get_debug_flag, get_load_dotenv

if TYPE_CHECKING:
    from .app import Flask

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_FILES = ("wsgi.py", "app.py")
APP_NAMES = ("app", "application")
FACTORY_NAMES = ("create_app", "make_app")


class NoAppException(click.UsageError):
    """No application was found under the name given, or it could not be loaded."""


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an error in the user's code, without the frames that led into it.

    Left out at the top are the frames of this package, of click and of the import system.
    """
    tb = error.__traceback__
    while tb is not None and _leads_in(tb.tb_frame.f_globals.get("__name__", "")):
        tb = tb.tb_next
    # A syntax error has no frame in the file it is in; the message shows the place.
    if tb is None and not isinstance(error, SyntaxError):
        tb = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, tb)).rstrip()


def _leads_in(module_name: str) -> bool:
    return module_name.partition(".")[0] in ("demijohn", "click", "importlib", "contextlib")


# -- finding an application ---------------------------------------------------------------------


def is_application(value: Any) -> TypeGuard[Flask]:
    """Whether `value` is an application. Where their class was never imported there can be none."""
    app_module = sys.modules.get("demijohn.app")
    return app_module is not None and isinstance(value, app_module.Flask)


def find_best_app(module: ModuleType) -> Flask:
    """Return the application of `module` that is meant when only the module is named.

    In this order: `app` or `application`; the only application there is; what `create_app()` or
    `make_app()` returns.

    Raises NoAppException when there is none, or several that are equally good.
    """
    return _best_app(module)[1]


def _best_app(module: ModuleType) -> tuple[str, Flask]:
    """Return what `find_best_app` does, after the expression that names it: `app`, `create_app()`."""
    for candidates in (_usual_application, _applications, _made_application):
        found = candidates(module)
        # An application with two names is one application.
        if len({id(app) for app in found.values()}) > 1:
            names = ", ".join(map(repr, found))
            raise NoAppException(
                f"Module {module.__name__!r} has several applications: {names}."
                f" Say which one to use, as in '{module.__name__}:{next(iter(found))}'."
            )
        if found:
            return found.popitem()
    raise NoAppException(
        f"Module {module.__name__!r} has no application, and neither {' nor '.join(FACTORY_NAMES)} that returns one."
        f" Say where it is: '{module.__name__}:name', or '{module.__name__}:factory(arguments)'."
    )


def _applications(module: ModuleType) -> dict[str, Flask]:
    return {name: value for name, value in vars(module).items() if is_application(value)}


def _usual_application(module: ModuleType) -> dict[str, Flask]:
    named = ((name, getattr(module, name, None)) for name in APP_NAMES)
    return next(({name: value} for name, value in named if is_application(value)), {})


def _factories(module: ModuleType) -> dict[str, Callable[..., Any]]:
    named = ((name, getattr(module, name, None)) for name in FACTORY_NAMES)
    return {name: value for name, value in named if inspect.isfunction(value)}


def _made_application(module: ModuleType) -> dict[str, Flask]:
    for name, factory in _factories(module).items():
        if not _accepts(factory, (), {}):
            raise NoAppException(
                f"Factory {name!r} in module {module.__name__!r} needs arguments: it takes {_parameters(factory)}."
                f" Give them, as in '{module.__name__}:{name}(arguments)'."
            )
        if is_application(value := factory()):
            return {f"{name}()": value}
    return {}


def _parameters(function: Callable[..., Any]) -> inspect.Signature:
    # What counts is the function that is called, not the one a decorator says it wraps.
    return inspect.signature(function, follow_wrapped=False)


def _accepts(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether `function` can be called with these arguments; found out without calling it."""
    try:
        _parameters(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def find_app_by_string(module: ModuleType, app_name: str) -> Flask:
    """Return the application that `app_name` names in `module`: `name` or `factory(literals)`.

    A function named without parentheses is called without arguments.

    Raises NoAppException when that is no name or call, when it does not exist, or gives no application.
    """

    def no_app(reason: str) -> NoAppException:
        return NoAppException(f"'{module.__name__}:{app_name}' gives no application: {reason}")

    try:
        name, args, kwargs = _read_app_name(app_name)
    except ValueError as error:
        raise no_app(str(error)) from None
    if not hasattr(module, name):
        there = ", ".join([*_applications(module), *(f"{factory}()" for factory in _factories(module))])
        raise no_app(f"the module has no {name!r}. It has: {there or 'neither an application nor a factory'}.")
    value = getattr(module, name)
    if inspect.isfunction(value):
        if not _accepts(value, args, kwargs):
            raise no_app(f"{name!r} cannot be called like this, it takes {_parameters(value)}.")
        value = value(*args, **kwargs)
    if is_application(value):
        return value
    raise no_app(
        f"what is there is of type {type(value).__name__!r}. Name a Flask object or a function that makes one."
    )


def _read_app_name(app_name: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Read `name` or `name(1, key="value")` as a name and literal arguments; ValueError says why it is neither."""
    with suppress(SyntaxError):
        match ast.parse(app_name.strip(), mode="eval").body:
            case ast.Name(id=name):
                return name, (), {}
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                named = {keyword.arg: _literal(keyword.value) for keyword in keywords if keyword.arg}
                return name, tuple(map(_literal, args)), named
            case ast.Call(func=function):
                raise ValueError(f"{ast.unparse(function)!r} is called, and only a plain name of the module can be.")
    raise ValueError(f"{app_name!r} is neither a name nor a call, such as 'app' or 'create_app(\"production\")'.")


def _literal(argument: ast.expr) -> Any:
    try:
        return ast.literal_eval(argument)
    except ValueError:
        raise ValueError(
            f"the argument {ast.unparse(argument)!r} is no literal. Text in quotes, numbers, True, False, None,"
            " and lists, tuples, sets and dictionaries of them can be given."
        ) from None


def prepare_import(path: str | os.PathLike[str]) -> str:
    """Return the name to import the file or dotted name `path` by, its folder made first in `sys.path`.

    `"app.py"` gives `"app"`; `"site/shop/__init__.py"` gives `"shop"`, with `site` in `sys.path`.
    """
    file = Path(os.path.realpath(path))
    if file.suffix == ".py":
        file = file.with_suffix("")
    if file.name == "__init__":
        file = file.parent
    names = [file.name]
    folder = file.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    if sys.path[0] != str(folder):
        sys.path.insert(0, str(folder))
    return ".".join(names)


@overload
def locate_app(module_name: str, app_name: str | None, raise_if_not_found: Literal[True] = True) -> Flask: ...


@overload
def locate_app(module_name: str, app_name: str | None, raise_if_not_found: bool) -> Flask | None: ...


def locate_app(module_name: str, app_name: str | None, raise_if_not_found: bool = True) -> Flask | None:
    """Import `module_name` and return its application; `app_name` says which, else the best one is taken.

    Returns None when there is no such module and `raise_if_not_found` is false.

    Raises NoAppException when the module or the application in it cannot be found, or when an import
    inside the module fails.
    """
    found = _locate(module_name, app_name, raise_if_not_found)
    return found[1] if found else None


def _locate(module_name: str, app_name: str | None, raise_if_not_found: bool) -> tuple[str, Flask] | None:
    """Return (target as `module:expression`, application), or None for a missing module."""
    try:
        __import__(module_name)
    except ImportError as error:
        if not _is_missing(module_name, error):
            raise NoAppException(
                f"While importing {module_name!r}, an ImportError was raised:\n\n{user_traceback(error)}"
            ) from None
        if raise_if_not_found:
            raise NoAppException(
                f"Could not import {module_name!r}: it is not installed, and here is {_files_here()}."
            ) from None
        return None
    module = sys.modules[module_name]
    if app_name is None:
        expression, app = _best_app(module)
    else:
        expression, app = app_name.strip(), find_app_by_string(module, app_name)
    return f"{module_name}:{expression}", app


def _is_missing(module_name: str, error: ImportError) -> bool:
    """Whether `error` says that the module itself, or a package it is in, does not exist."""
    return isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")


def _files_here() -> str:
    names = sorted(path.name for path in Path().glob("*.py"))
    return (", ".join(names[:8]) + (", ..." if names[8:] else "")) or "no Python file"


class ScriptInfo:
    """What a command knows of the application it works for; click carries it as the context's `obj`.

    app_import_path: `module:name` or a file, from `--app` or FLASK_APP; None to look for wsgi.py and app.py.
    create_app: called without arguments to make the application, instead of importing one.
    set_debug_flag: whether `load_app` sets `app.debug` from FLASK_DEBUG.
    load_dotenv_defaults: whether `.env` and `.flaskenv` are read, unless FLASK_SKIP_DOTENV says otherwise.
    data: for extensions to keep what they like.
    target: where the application was found, as `module:expression`; None before, and with `create_app`.
    """

    def __init__(
        self,
        app_import_path: str | None = None,
        create_app: Callable[..., Flask] | None = None,
        set_debug_flag: bool = True,
        load_dotenv_defaults: bool = True,
    ) -> None:
        self.app_import_path = app_import_path
        self.create_app = create_app
        self.data: dict[Any, Any] = {}
        self.set_debug_flag = set_debug_flag
        self.load_dotenv_defaults = get_load_dotenv(load_dotenv_defaults)
        self.target: str | None = None
        self._loaded_app: Flask | None = None

    def load_app(self) -> Flask:
        """Return the application, loaded at the first call.

        Raises NoAppException when there is none to be found; what the application's own module raises
        passes through.
        """
        if self._loaded_app is None:
            app = self.create_app() if self.create_app is not None else self._locate()
            if self.set_debug_flag:
                # Through the property, so that what follows from debug is set with it.
                app.debug = get_debug_flag()
            self._loaded_app = app
        return self._loaded_app

    def _locate(self) -> Flask:
        for path, name, required in self._places():
            found = _locate(prepare_import(path), name, required)
            if found is not None:
                self.target, app = found
                return app
        raise NoAppException(
            "Could not locate a Flask application. Use the 'demijohn --app' option, the 'FLASK_APP' environment"
            f" variable, or a 'wsgi.py' or 'app.py' file in the current directory; here is {_files_here()}."
        )

    def _places(self) -> Iterator[tuple[str, str | None, bool]]:
        if self.app_import_path:
            path, colon, name = self.app_import_path.partition(":")
            yield path, name if colon else None, True
        else:
            for file in DEFAULT_FILES:
                yield file, None, False


pass_script_info = click.make_pass_decorator(ScriptInfo, ensure=True)


# -- commands of an application -----------------------------------------------------------------


def with_appcontext(f: F) -> F:
    """Decorate a click callback so that it runs with the application of its `ScriptInfo` current.

    Commands of `app.cli` and `blueprint.cli` have that already.
    """

    @click.pass_context
    def in_app_context(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        if not current_app:
            app = ctx.ensure_object(ScriptInfo).load_app()
            ctx.with_resource(app.app_context())
        return ctx.invoke(f, *args, **kwargs)

    return update_wrapper(in_app_context, f)  # type: ignore[return-value]


class AppGroup(click.Group):
    """A group whose commands run with the application current (see `with_appcontext`)."""

    def command(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> Callable[[Callable[..., Any]], click.Command]:
        """Register a command as `click.Group.command` does; `with_appcontext=False` leaves the context out."""
        wants_context = kwargs.pop("with_appcontext", True)
        register: Callable[[Callable[..., Any]], click.Command] = super().command(*args, **kwargs)

        def decorator(f: Callable[..., Any]) -> click.Command:
            return register(with_appcontext(f) if wants_context else f)

        return decorator

    def group(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> Callable[[Callable[..., Any]], click.Group]:
        """Register a group as `click.Group.group` does; it is an `AppGroup` unless `cls` says otherwise."""
        kwargs.setdefault("cls", AppGroup)
        register: Callable[[Callable[..., Any]], click.Group] = super().group(*args, **kwargs)
        return register


# -- what `app.run` and the command line share ---------------------------------------------------


def load_dotenv(path: str | os.PathLike[str] | None = None, load_defaults: bool = True) -> bool:
    """Set environment variables from dotenv files, leaving those that are set alone.

    The file at `path` counts before `.env`, and that before `.flaskenv`; the two are looked for from the
    current directory upwards, if `load_defaults` is true.

    Returns whether any file gave a variable; False, too, when python-dotenv is not installed.
    """
    try:
        import dotenv
    except ImportError:
        if path or any(os.path.isfile(name) for name in (".env", ".flaskenv")):
            click.secho(
                " * Tip: There are .env files present. Install python-dotenv to use them.", fg="yellow", err=True
            )
        return False

    files = [dotenv.find_dotenv(name, usecwd=True) for name in (".flaskenv", ".env")] if load_defaults else []
    if path is not None and os.path.isfile(path):
        files.append(os.fspath(path))
    values: dict[str, str | None] = {}
    for file in filter(None, files):
        values |= dotenv.dotenv_values(file, encoding="utf-8")
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)
    return bool(values)


def show_server_banner(debug: bool | None, app_import_path: str | None) -> None:
    """Print what the development server serves; once, not again in the reloader's child."""
    if is_running_from_reloader():
        return
    if app_import_path is not None:
        click.echo(f" * Serving Flask app {app_import_path!r}")
    if debug is not None:
        click.echo(f" * Debug mode: {'on' if debug else 'off'}")


def say_run_is_ignored() -> None:
    """Print why `app.run()` does nothing here; once, not again in the reloader's child."""
    if not is_running_from_reloader():
        click.secho(
            " * Ignoring a call to 'app.run()', which would block the command that is running.\n"
            "   Call it under \"if __name__ == '__main__':\" only.",
            fg="red",
            err=True,
        )
