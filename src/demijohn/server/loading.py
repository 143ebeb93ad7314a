"""From `module:attribute` to an application, and from an application to the gateway that reaches it."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import traceback
from keyword import iskeyword
from types import ModuleType, TracebackType
from typing import Any

from ..typing import Gateway
from .log import log
from .native import NativeGateway
from .wsgi import WSGIGateway

_DEFAULT_NAMES = ("app", "application")


class LoadError(Exception):
    """There is no application to serve.

    The message is one sentence for whoever started the server: what is missing and what was found instead.
    `code_traceback` shows where the application's own code raised; empty when it did not.
    """

    def __init__(self, message: str, code_traceback: str = "") -> None:
        super().__init__(message)
        self.code_traceback = code_traceback


class Leaving(SystemExit):
    """The process was asked to stop: no failure of the application that is being loaded."""


def load_gateway(target: str, interface: str = "auto") -> Gateway:
    """Import the application `target` names, and return how the server reaches it. Raises LoadError."""
    try:
        return gateway_of(load(target), target, interface)
    finally:
        # `logging.config.dictConfig`, as Django and many others call it, switches off the loggers that are there.
        log.disabled = False


def gateway_of(application: Any, target: str, interface: str = "auto") -> Gateway:
    """Return how the server reaches `application`, by the setting `interface`. Raises LoadError when it cannot."""
    if interface == "auto" and hasattr(application, "native_match") and hasattr(application, "native_handle"):
        return NativeGateway(application)
    if not callable(application):
        raise LoadError(f"{target} is {_described(application)}, not a WSGI or ASGI application.")
    required = _required_parameters(application)
    if interface == "asgi" or (interface == "auto" and _is_asgi(application, required)):
        from .asgi import ASGIGateway  # inside, for its cost: it needs more than the others do

        return ASGIGateway(application)
    if required == []:
        raise LoadError(
            f"{target} takes no arguments, so it may be a factory: write {target}() to serve what it returns."
        )
    return WSGIGateway(application)


def load(target: str) -> Any:
    """Return what `target` names: `module:attribute`, `module:factory()`, or `module` for its `app` or `application`.

    A factory may be given literals: `module:create_app("production", debug=False)`.

    Raises LoadError.
    """
    module_name, colon, expression = target.partition(":")
    if not module_name:
        raise LoadError(f"{target!r} names no module; write module:attribute, such as app:app.")
    module = _import(module_name)
    if not colon:
        return _default_application(module)
    name, arguments, keywords, is_call = _parsed(expression, target)
    if not hasattr(module, name):
        raise LoadError(f"The module {module_name} has no attribute {name}{_found_in(module)}.")
    found = getattr(module, name)
    return _called(found, arguments, keywords, target) if is_call else found


# -- the module -----------------------------------------------------------------------------------


def _import(name: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").strip("./").replace("/", ".")
        raise LoadError(f"{name} names a file; write the name of the module, as in {module}:app.")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Not when the module is there and something it imports is not.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise LoadError(_no_module(name, error.name)) from None
        raise _code_raised(f"Importing {name} failed", error) from error
    except Leaving:
        raise
    except (Exception, SystemExit) as error:
        raise _code_raised(f"Importing {name} failed", error) from error


def _no_module(name: str, missing: str) -> str:
    directory = os.getcwd()
    wanted_for = f" (for {name})" if missing != name else ""
    return f"There is no module {missing}{wanted_for}; {directory} has {_listed('modules', _modules_in(directory))}."


def _modules_in(directory: str) -> list[str]:
    found = []
    for entry in os.scandir(directory):
        name = entry.name.removesuffix(".py")
        if name.isidentifier() and (
            entry.name != name or os.path.exists(os.path.join(directory, entry.name, "__init__.py"))
        ):
            found.append(name)
    return sorted(found)


# -- the attribute --------------------------------------------------------------------------------


def _parsed(expression: str, target: str) -> tuple[str, list[Any], dict[str, Any], bool]:
    """Return (name, arguments, keyword arguments, whether it is a call) of what follows the colon."""
    if expression.isascii() and expression.isidentifier() and not iskeyword(expression):
        return expression, [], {}, False  # as most are; the module ast takes half a megabyte
    try:
        node = ast.parse(expression, mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, [], {}, False
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            arguments = [ast.literal_eval(argument) for argument in node.args]
            keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
            if len(keywords) == len(node.keywords):
                return node.func.id, arguments, keywords, True
    except (SyntaxError, ValueError):
        pass
    raise LoadError(
        f"{expression!r} in {target!r} is neither a name nor a call with literal arguments; "
        'write module:attribute, module:factory() or module:factory("literal", key="literal").'
    )


def _called(factory: Any, arguments: list[Any], keywords: dict[str, Any], target: str) -> Any:
    if not callable(factory):
        raise LoadError(f"{target} cannot be called: it is {_described(factory)}.")
    try:
        application = factory(*arguments, **keywords)
    except Leaving:
        raise
    except (Exception, SystemExit) as error:
        raise _code_raised(f"Calling {target} failed", error) from error
    if application is None:
        raise LoadError(f"{target} returned None; the factory has to return the application.")
    return application


def _default_application(module: ModuleType) -> Any:
    for name in _DEFAULT_NAMES:
        if hasattr(module, name):
            return getattr(module, name)
    raise LoadError(f"The module {module.__name__} has neither {' nor '.join(_DEFAULT_NAMES)}{_found_in(module)}.")


# -- what to say ----------------------------------------------------------------------------------


def _found_in(module: ModuleType) -> str:
    """Return `; it has the WSGI callables app, admin`, to complete a sentence."""
    names = [
        name for name, value in vars(module).items() if not name.startswith("_") and _is_application(value, module)
    ]
    return f"; it has {_listed('WSGI callables', names)}"


def _is_application(value: Any, module: ModuleType) -> bool:
    if hasattr(type(value), "native_match"):
        return True
    if inspect.isclass(value) or not callable(value):
        return False
    if inspect.isroutine(value) and value.__module__ != module.__name__:
        return False  # a helper it imported
    required = _required_parameters(value)
    return required is not None and len(required) == 2


def _is_asgi(application: Any, required: list[str] | None) -> bool:
    """Whether an application is called with scope, receive and send (ASGI 3), by its signature."""
    if required is not None and len(required) != 3:
        return False
    return (
        required == ["scope", "receive", "send"]
        or inspect.iscoroutinefunction(application)
        or inspect.iscoroutinefunction(getattr(application, "__call__", None))  # noqa: B004 (the method is looked at)
    )


def _required_parameters(value: Any) -> list[str] | None:
    """Return the names of the arguments a call must have, or None when that cannot be told."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]


def _listed(what: str, names: list[str]) -> str:
    return f"the {what} {', '.join(names)}" if names else f"no {what}"


def _described(value: Any) -> str:
    kind = "a module" if inspect.ismodule(value) else f"of type {type(value).__name__}"
    return f"{kind} ({repr(value)[:60]})"


def _code_raised(what: str, error: BaseException) -> LoadError:
    """Return a LoadError that shows the frames of the application's code, without the ones that led to it."""
    shown = traceback.TracebackException(type(error), error, _from_their_code(error.__traceback__))
    return LoadError(f"{what}: {type(error).__name__}: {error}", "".join(shown.format()).rstrip())


def _from_their_code(frames: TracebackType | None) -> TracebackType | None:
    ours = (__file__, importlib.__file__)
    while frames is not None:
        filename = frames.tb_frame.f_code.co_filename
        if filename not in ours and not filename.startswith("<frozen importlib"):
            break
        frames = frames.tb_next
    return frames
