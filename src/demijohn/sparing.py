"""Import Werkzeug's modules and the server's without what neither importing an application nor serving it needs.

`werkzeug/__init__.py` imports its development server and its test client, and with them the standard library's HTTP
server and client and TLS. Other modules of it import, for single functions, modules that are dear: see `_LATE`.
bench/imports.py: with this, `import demijohn; demijohn.Flask` takes 62 ms of CPU; without it 108; `flask.Flask` 134.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import FunctionType
from typing import Any

_LATE = (
    "ast",  # inspect, and what reads source: 2 ms
    "difflib",  # werkzeug.routing, to suggest an endpoint: 1 ms
    "email.utils",  # werkzeug.http, for dates; imports socket and the package email: 7 ms
    "hashlib",  # werkzeug.http, for entity tags, and sessions; loads OpenSSL: 3 ms and 1.3 MB
    "hmac",  # what is signed
    "inspect",  # dataclasses, blinker; with ast and dis 5 ms and 1 MB
    "itsdangerous",  # sessions: 2 ms
    "mimetypes",  # files: 1 ms
    "pkgutil",  # werkzeug.utils, to find modules: 1 ms
    "secrets",  # passwords: 1 ms
    "shutil",  # tempfile, for folders; imports bz2 and lzma: 2 ms
    "uuid",  # a converter, and values in JSON; imports platform: 3 ms
)
"""Modules of others that are put in place without being run, until something of them is asked for."""

_LATE_IN_SERVER = (
    "ast",  # loading, for `module:factory(arguments)`
    "difflib",  # configfile, to suggest a setting
    "email.utils",  # see above
    "http.client",  # `demijohn health`; imports the package email and TLS: 30 ms and 4 MB
    "inspect",  # see above
    "shutil",  # see above
    "tokenize",  # linecache, for the lines of a traceback: 1 ms
    "tomllib",  # configfile, for pyproject.toml: 2 ms
)
"""Of what the server's modules import, what neither the arbiter nor a worker needs until something happens.

What each worker needs is no part of it: it is imported before the fork, so that workers share it.
"""

_LATE_IN_WORKERS = ("ast", "inspect", "shutil", "tokenize")
"""Of these, what a worker needs for some applications."""


def _none_yet(*arguments: Any, **options: Any) -> Any:
    return NotImplemented


# The parameters of those that follow are called as those of the functions that they stand in for.


def _no_signature(obj: Any, **options: Any) -> Any:
    """Spare data classes of Werkzeug, which have no docstring, the signature that would be made theirs."""
    is_spared = _caller() == "dataclasses" and obj.__module__.startswith("werkzeug.")
    return "" if is_spared else NotImplemented


def _not_cleaned(doc: str) -> Any:
    """Leave the docstrings of Werkzeug's properties indented."""
    return doc if _caller().startswith("werkzeug.") else NotImplemented


def _is_coroutine_function(obj: Any) -> Any:
    """Say it of plain functions that nobody has marked."""
    plain = type(obj) is FunctionType and not obj.__dict__
    return bool(obj.__code__.co_flags & _CO_COROUTINE) if plain else NotImplemented


def _caller() -> str:
    """Return the name of the module that calls a stand-in; "" for code that is in none."""
    name = sys._getframe(3).f_globals.get("__name__", "")
    return name if isinstance(name, str) else ""


_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
_STAND_INS: dict[str, dict[str, Any]] = {
    "hashlib": {"sha1": _none_yet},
    "inspect": {
        "CO_COROUTINE": _CO_COROUTINE,
        "cleandoc": _not_cleaned,
        "iscoroutinefunction": _is_coroutine_function,
        "signature": _no_signature,
    },
}
"""What others take out of a late module, or call, when they are imported: see `import_late`."""


def spare_server() -> None:
    """Put the modules of `_LATE_IN_SERVER` in place; what was imported already stays as it is.

    With this, and asyncio imported with the first coroutine, arbiter and worker of a small application hold 23 MB
    (PSS); without 29; gunicorn and Flask 35.
    """
    for name in _LATE_IN_SERVER:
        import_late(name, _STAND_INS.get(name, {}))


def load_for_workers() -> None:
    """Run what a worker may need, for one that becomes a user who may not read it."""
    for name in _LATE_IN_WORKERS:
        dir(import_module(name))


def spare_werkzeug() -> None:
    """Put the package `werkzeug` in place without running its `__init__`, and the modules of `_LATE` likewise.

    What was imported already stays as it is. Werkzeug's modules are imported as ever; what only its `__init__` defines
    is there when asked for: then it is run.
    """
    spec = find_spec("werkzeug") if "werkzeug" not in sys.modules else None
    if spec is None or spec.loader is None:
        return
    package = module_from_spec(spec)
    loader = spec.loader

    def attribute(name: str) -> Any:
        """Find what the package does not have yet (PEP 562)."""
        if find_spec(f"werkzeug.{name}") is not None:
            return import_module(f"werkzeug.{name}")
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = attribute  # type: ignore[method-assign]
    sys.modules["werkzeug"] = package
    for name in _LATE:
        import_late(name, _STAND_INS.get(name, {}))


def import_late(name: str, stand_ins: Mapping[str, Any] | None = None) -> None:
    """Put the module `name` in place, to be run when an attribute that it does not have yet is asked for.

    A module that was imported already stays as it is, and what is set on it before it runs stays set.
    `stand_ins` are attributes that it has until it runs. A function among them answers what it can; where it returns
    NotImplemented the module is run, and its own function called. So it is for who has taken it out of the module, too.
    Not for packages: who imports a module of one before it has run would run it from the middle of that module.
    Not `importlib.util.LazyLoader`: its modules run at the next `import` statement that names them, and until
    Python 3.11.8 a second thread can see one half run.
    """
    spec = find_spec(name) if name not in sys.modules else None
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    loader = spec.loader
    inside = vars(module)
    own: dict[str, Any] = {}  # what the module has in the place of stand-ins, once it has run
    lock = RLock()
    running = False

    def attribute(wanted: str) -> Any:
        """Run the module, unless it has run, and find what it has then (PEP 562)."""
        nonlocal running
        if wanted == "__path__":  # `from module import name` asks for it, and a package is none of these
            raise AttributeError(f"module {name!r} is no package")
        with lock:  # other threads wait here until all of the module has run
            if running:  # what it imports asks for what it does not have yet
                raise AttributeError(f"module {name!r} has no attribute {wanted!r} yet: it is being imported")
            if inside.get("__getattr__") is attribute:
                running = True
                try:
                    run()
                finally:
                    running = False
        return getattr(module, wanted)

    def run() -> None:
        before = {key: value for key, value in inside.items() if key not in placed or value is not placed[key]}
        loader.exec_module(module)
        own.update((key, inside[key]) for key in stand_ins or ())
        inside.update(before)
        for key, ours in late.items():
            if callable(ours) and inside[key] is ours:  # the module has none of its own
                del inside[key]

    def names() -> list[str]:
        attribute("__dict__")
        return sorted(inside)

    def standing_in(key: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def answer(*arguments: Any, **options: Any) -> Any:
            if key not in own:
                result = function(*arguments, **options)
                if result is not NotImplemented:
                    return result
                attribute("__dict__")
            return own[key](*arguments, **options)  # not what somebody has set there, who may call this

        return answer

    late = {"__getattr__": attribute, "__dir__": names}
    for key, value in (stand_ins or {}).items():
        late[key] = standing_in(key, value) if callable(value) else value
    inside.update(late)
    placed = inside.copy()
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:  # as the import system does once it has run a module
        setattr(sys.modules[parent], child, module)
