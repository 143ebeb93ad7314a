"""Registration, as applications and blueprints share it: routes, hooks, error handlers, files beside the code."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cached_property, update_wrapper
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, AnyStr, TypeVar, cast

from werkzeug.exceptions import HTTPException, default_exceptions

from . import typing as ft
from .globals import current_app
from .helpers import _default_template_ctx_processor, get_root_path, send_from_directory
from .precompressed import send_best

if TYPE_CHECKING:
    import click
    from jinja2 import BaseLoader

    from .wrappers import Response

# Tells "not given" from None.
_sentinel: Any = object()

F = TypeVar("F", bound=Callable[..., Any])
T_after_request = TypeVar("T_after_request", bound=ft.AfterRequestCallable[Any])
T_before_request = TypeVar("T_before_request", bound=ft.BeforeRequestCallable)
T_error_handler = TypeVar("T_error_handler", bound=ft.ErrorHandlerCallable)
T_route = TypeVar("T_route", bound=ft.RouteCallable)
T_teardown = TypeVar("T_teardown", bound=ft.TeardownCallable)
T_template_context_processor = TypeVar("T_template_context_processor", bound=ft.TemplateContextProcessorCallable)
T_template_filter = TypeVar("T_template_filter", bound=ft.TemplateFilterCallable)
T_template_global = TypeVar("T_template_global", bound=ft.TemplateGlobalCallable)
T_template_test = TypeVar("T_template_test", bound=ft.TemplateTestCallable)
T_url_defaults = TypeVar("T_url_defaults", bound=ft.URLDefaultCallable)
T_url_value_preprocessor = TypeVar("T_url_value_preprocessor", bound=ft.URLValuePreprocessorCallable)


def setupmethod(f: F) -> F:
    """Make a method refuse to run once set-up is over, naming itself."""
    name = f.__name__

    def wrapper(self: Scaffold, *args: Any, **kwargs: Any) -> Any:
        self._check_setup_finished(name)
        return f(self, *args, **kwargs)

    return cast(F, update_wrapper(wrapper, f))


class Scaffold:
    """What `Flask` and `Blueprint` have in common.

    The registries are plain dictionaries and lists that extensions may change directly; each is keyed by the
    name of a blueprint, None standing for what holds everywhere.
    """

    name: str
    _static_folder: str | None = None
    _static_url_path: str | None = None

    def __init__(
        self,
        import_name: str,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        root_path: str | None = None,
    ) -> None:
        self.import_name = import_name
        self.static_folder = static_folder
        self.static_url_path = static_url_path
        self.template_folder = template_folder
        #: The folder that relative names of files start from.
        self.root_path: str = get_root_path(import_name) if root_path is None else root_path
        #: Endpoint -> view.
        self.view_functions: dict[str, ft.RouteCallable] = {}
        #: Key -> status code (None for other exceptions) -> exception class -> handler.
        self.error_handler_spec: dict[
            ft.AppOrBlueprintKey, dict[int | None, dict[type[Exception], ft.ErrorHandlerCallable]]
        ] = defaultdict(lambda: defaultdict(dict))
        self.before_request_funcs: dict[ft.AppOrBlueprintKey, list[ft.BeforeRequestCallable]] = defaultdict(list)
        self.after_request_funcs: dict[ft.AppOrBlueprintKey, list[ft.AfterRequestCallable[Any]]] = defaultdict(list)
        self.teardown_request_funcs: dict[ft.AppOrBlueprintKey, list[ft.TeardownCallable]] = defaultdict(list)
        self.template_context_processors: dict[ft.AppOrBlueprintKey, list[ft.TemplateContextProcessorCallable]] = (
            defaultdict(list, {None: [_default_template_ctx_processor]})
        )
        self.url_value_preprocessors: dict[ft.AppOrBlueprintKey, list[ft.URLValuePreprocessorCallable]] = defaultdict(
            list
        )
        self.url_default_functions: dict[ft.AppOrBlueprintKey, list[ft.URLDefaultCallable]] = defaultdict(list)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _check_setup_finished(self, f_name: str) -> None:
        raise NotImplementedError

    # -- the command line -------------------------------------------------------------------------

    @cached_property
    def cli(self) -> click.Group:
        """The group that this object's commands are added to. Made when asked for: click is a slow import."""
        from .commands import AppGroup

        return AppGroup()

    # -- files beside the code --------------------------------------------------------------------

    @property
    def static_folder(self) -> str | None:
        """The absolute path of the folder with static files; None when there is none."""
        return None if self._static_folder is None else os.path.join(self.root_path, self._static_folder)

    @static_folder.setter
    def static_folder(self, value: str | os.PathLike[str] | None) -> None:
        self._static_folder = None if value is None else os.fspath(value).rstrip(r"\/")

    @property
    def has_static_folder(self) -> bool:
        """Whether a folder for static files is set, there or not."""
        return self.static_folder is not None

    @property
    def static_url_path(self) -> str | None:
        """Where the static files are found by URL; by default the name of their folder."""
        if self._static_url_path is not None:
            return self._static_url_path
        folder = self.static_folder
        return None if folder is None else f"/{os.path.basename(folder)}".rstrip("/")

    @static_url_path.setter
    def static_url_path(self, value: str | None) -> None:
        self._static_url_path = None if value is None else value.rstrip("/")

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """Return for how many seconds a browser may keep a file; None leaves it to ask each time.

        `SEND_FILE_MAX_AGE_DEFAULT` unless overridden.
        """
        value = current_app.config["SEND_FILE_MAX_AGE_DEFAULT"]
        if isinstance(value, timedelta):
            return int(value.total_seconds())
        return cast("int | None", value)

    def send_static_file(self, filename: str) -> Response:
        """Answer with a file of the static folder. Raises RuntimeError when there is no such folder."""
        if not self.has_static_folder:
            raise RuntimeError(f"{self!r} has no static folder: set 'static_folder' to serve files from it.")
        max_age = self.get_send_file_max_age(filename)
        if current_app.config.get("STATIC_PRECOMPRESSED"):
            return send_best(cast(str, self.static_folder), filename, max_age)
        return send_from_directory(cast(str, self.static_folder), filename, max_age=max_age)

    @cached_property
    def jinja_loader(self) -> BaseLoader | None:
        """What loads templates from this object's own folder; None when it has none."""
        if self.template_folder is None:
            return None
        from jinja2 import FileSystemLoader  # most JSON services never need jinja2

        return FileSystemLoader(os.path.join(self.root_path, self.template_folder))

    def open_resource(self, resource: str, mode: str = "rb", encoding: str | None = None) -> IO[AnyStr]:
        """Open a file below `root_path` for reading; `encoding` is used in text modes.

        Raises ValueError for a mode that writes.
        """
        if mode not in {"r", "rt", "rb"}:
            raise ValueError(f"open_resource reads: mode {mode!r} is none of 'r', 'rt', 'rb'.")
        path = os.path.join(self.root_path, resource)
        return cast("IO[AnyStr]", open(path, mode) if mode == "rb" else open(path, mode, encoding=encoding))

    # -- routes -----------------------------------------------------------------------------------

    def _method_route(self, method: str, rule: str, options: dict[str, Any]) -> Callable[[T_route], T_route]:
        if "methods" in options:
            raise TypeError(f"'{method.lower()}' names the method itself: use 'route' to give 'methods'.")
        return self.route(rule, methods=[method], **options)

    @setupmethod
    def get(self, rule: str, **options: Any) -> Callable[[T_route], T_route]:
        """Short for `route(rule, methods=["GET"])`."""
        return self._method_route("GET", rule, options)

    @setupmethod
    def post(self, rule: str, **options: Any) -> Callable[[T_route], T_route]:
        """Short for `route(rule, methods=["POST"])`."""
        return self._method_route("POST", rule, options)

    @setupmethod
    def put(self, rule: str, **options: Any) -> Callable[[T_route], T_route]:
        """Short for `route(rule, methods=["PUT"])`."""
        return self._method_route("PUT", rule, options)

    @setupmethod
    def delete(self, rule: str, **options: Any) -> Callable[[T_route], T_route]:
        """Short for `route(rule, methods=["DELETE"])`."""
        return self._method_route("DELETE", rule, options)

    @setupmethod
    def patch(self, rule: str, **options: Any) -> Callable[[T_route], T_route]:
        """Short for `route(rule, methods=["PATCH"])`."""
        return self._method_route("PATCH", rule, options)

    @setupmethod
    def route(self, rule: str, **options: Any) -> Callable[[T_route], T_route]:
        """Answer URLs that match `rule` with the decorated view; `options` are those of `add_url_rule`."""

        def decorator(f: T_route) -> T_route:
            self.add_url_rule(rule, options.pop("endpoint", None), f, **options)
            return f

        return decorator

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Answer URLs that match `rule` with a view.

        endpoint: the name to build URLs by; by default the name of the view.
        provide_automatic_options: whether OPTIONS is answered without the view; by default unless it takes OPTIONS.
        options: those of werkzeug.routing.Rule: `methods`, `defaults`, `strict_slashes`, `subdomain`, `host` ...
        """
        raise NotImplementedError

    @setupmethod
    def endpoint(self, endpoint: str) -> Callable[[F], F]:
        """Make the decorated function the view of an endpoint whose rule is added elsewhere."""

        def decorator(f: F) -> F:
            self.view_functions[endpoint] = f
            return f

        return decorator

    # -- hooks ------------------------------------------------------------------------------------

    @setupmethod
    def before_request(self, f: T_before_request) -> T_before_request:
        """Call `f()` before the view; what it returns, if not None, is the answer, and the view is not called."""
        self.before_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def after_request(self, f: T_after_request) -> T_after_request:
        """Call `f(response) -> response` on each answer."""
        self.after_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def teardown_request(self, f: T_teardown) -> T_teardown:
        """Call `f(exception or None)` when the context of a request goes, whatever happened in it."""
        self.teardown_request_funcs.setdefault(None, []).append(f)
        return f

    @setupmethod
    def context_processor(self, f: T_template_context_processor) -> T_template_context_processor:
        """Add what `f()` returns, a dictionary, to the context of each template."""
        self.template_context_processors[None].append(f)
        return f

    @setupmethod
    def url_value_preprocessor(self, f: T_url_value_preprocessor) -> T_url_value_preprocessor:
        """Call `f(endpoint, view_args)` before the other hooks; it may change the arguments."""
        self.url_value_preprocessors[None].append(f)
        return f

    @setupmethod
    def url_defaults(self, f: T_url_defaults) -> T_url_defaults:
        """Call `f(endpoint, values)` when a URL is built; it may add values."""
        self.url_default_functions[None].append(f)
        return f

    # -- error handlers ---------------------------------------------------------------------------

    @setupmethod
    def errorhandler(self, code_or_exception: type[Exception] | int) -> Callable[[T_error_handler], T_error_handler]:
        """Answer a status code, or an exception class and its subclasses, with the decorated `f(error)`."""

        def decorator(f: T_error_handler) -> T_error_handler:
            self.register_error_handler(code_or_exception, f)
            return f

        return decorator

    @setupmethod
    def register_error_handler(self, code_or_exception: type[Exception] | int, f: ft.ErrorHandlerCallable) -> None:
        """Answer a status code, or an exception class and its subclasses, with `f(error)`.

        Raises ValueError for what is neither a known status code nor an exception class, TypeError for an instance.
        """
        exc_class, code = self._get_exc_class_and_code(code_or_exception)
        self.error_handler_spec[None][code][exc_class] = f

    @staticmethod
    def _get_exc_class_and_code(
        exc_class_or_code: type[Exception] | int,
    ) -> tuple[type[Exception], int | None]:
        """Return the exception class, and its status code when it is an HTTP exception."""
        given: Any = exc_class_or_code
        # Flask's tests look for "Use a subclass of HTTPException", "is an instance" and "is not a subclass".
        match given:
            case int() if given in default_exceptions:
                return default_exceptions[given], given
            case int():
                raise ValueError(
                    f"{given!r} is no HTTP error code that Werkzeug knows."
                    " Use a subclass of HTTPException that has this code."
                )
            case Exception():
                raise TypeError(f"{given!r} is an instance, not a class. {_WHAT_HANDLERS_ARE_FOR}")
            case type() if issubclass(given, Exception):
                return given, given.code if issubclass(given, HTTPException) else None
        name = getattr(given, "__name__", given)
        raise ValueError(f"{name!r} is not a subclass of Exception. {_WHAT_HANDLERS_ARE_FOR}")


_WHAT_HANDLERS_ARE_FOR = "Handlers are registered for exception classes or status codes."


# Extensions import this name.
def _endpoint_from_view_func(view_func: ft.RouteCallable) -> str:
    """Return the endpoint a view has when none is given: its name."""
    return view_func.__name__


def default_endpoint(rule: str, view_func: ft.RouteCallable | None) -> str:
    """Return the endpoint of a rule that is given none; raises AssertionError when there is no view to name it."""
    if view_func is None:
        raise AssertionError(
            f"The rule {rule!r} has no name: it was added with neither an endpoint nor a view function."
            " Pass endpoint=, view_func= or both to add_url_rule."
        )
    return _endpoint_from_view_func(view_func)


def chain(funcs: dict[ft.AppOrBlueprintKey, list[F]], names: Iterable[str | None]) -> Iterable[F]:
    """Yield the functions of a registry for the given keys, in the order of their registration."""
    for name in names:
        if name in funcs:
            yield from funcs[name]


def chain_back(funcs: dict[ft.AppOrBlueprintKey, list[F]], names: Iterable[str | None]) -> Iterable[F]:
    """Yield the functions of a registry for the given keys, the last registered of each first."""
    for name in names:
        if name in funcs:
            yield from reversed(funcs[name])


def find_package(import_name: str) -> tuple[str | None, str]:
    """Return the prefix a package is installed under, None when there is none, and the folder it is imported from."""
    folder = _import_folder(import_name)
    prefix = os.path.abspath(sys.prefix)
    if _is_below(folder, prefix):
        return prefix, folder
    parent, name = os.path.split(folder)
    if name.lower() != "site-packages":
        return None, folder
    # Unix has PREFIX/lib/python3.x/site-packages, Windows PREFIX/Lib/site-packages; else it is beside its prefix.
    above, lib = os.path.split(parent)
    if lib.lower() == "lib":
        return above, folder
    if os.path.basename(above).lower() == "lib":
        return os.path.dirname(above), folder
    return parent, folder


def _import_folder(import_name: str) -> str:
    """Return the folder in which the top-level package or module of a name lies; the working directory if unknown."""
    try:
        spec = find_spec(import_name.partition(".")[0])
    except (ImportError, ValueError):  # ValueError: __main__ of an interactive session has no spec
        spec = None
    if spec is None:
        return os.getcwd()
    if not spec.submodule_search_locations:
        return os.path.dirname(spec.origin or "")
    if spec.origin not in (None, "namespace"):
        return os.path.dirname(os.path.dirname(spec.origin))
    # A namespace package has several folders: take the one that the rest of the name is in.
    locations = list(spec.submodule_search_locations)
    package = find_spec(import_name)
    if package is not None and package.submodule_search_locations:
        path = os.path.commonpath(package.submodule_search_locations)
        return os.path.dirname(next(location for location in locations if _is_below(path, location)))
    return os.path.dirname(locations[0])


def _is_below(path: str, folder: str) -> bool:
    return os.path.join(path, "").startswith(os.path.join(folder, ""))
