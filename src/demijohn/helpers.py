"""What views call: URLs, redirects, errors, flashed messages, files, streams."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import copy_context
from datetime import datetime
from functools import cache, update_wrapper
from typing import IO, TYPE_CHECKING, Any, AnyStr, NoReturn, Self, TypeVar, overload

import werkzeug.utils
from werkzeug.exceptions import abort as _werkzeug_abort
from werkzeug.utils import redirect as _werkzeug_redirect
from werkzeug.wrappers import Response as BaseResponse

from .globals import _cv_app, _cv_request, current_app, request, request_ctx, session
from .signals import message_flashed

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from .ctx import AppContext, RequestContext
    from .wrappers import Response


def get_debug_flag() -> bool:
    """Whether `FLASK_DEBUG` asks for debug mode: set, and not to 0, false or no."""
    return os.environ.get("FLASK_DEBUG", "").lower() not in {"", "0", "false", "no"}


def get_load_dotenv(default: bool = True) -> bool:
    """Whether dotenv files are to be loaded: `default`, unless `FLASK_SKIP_DOTENV` is set."""
    skip = os.environ.get("FLASK_SKIP_DOTENV")
    return skip.lower() in {"0", "false", "no"} if skip else default


@overload
def stream_with_context(generator_or_function: Iterator[AnyStr]) -> Iterator[AnyStr]: ...
@overload
def stream_with_context(
    generator_or_function: Callable[..., Iterator[AnyStr]],
) -> Callable[[Iterator[AnyStr]], Iterator[AnyStr]]: ...
def stream_with_context(
    generator_or_function: Iterator[AnyStr] | Callable[..., Iterator[AnyStr]],
) -> Iterator[AnyStr] | Callable[[Iterator[AnyStr]], Iterator[AnyStr]]:
    """Keep the current request current while a generator runs, which is after the view returned.

    Takes the generator, or as a decorator the function that makes it.

    Raises RuntimeError outside a request; for a decorated function, when it is called.
    """
    try:
        parts = iter(generator_or_function)  # type: ignore[arg-type]
    except TypeError:
        function: Callable[..., Iterator[AnyStr]] = generator_or_function  # type: ignore[assignment]

        def streaming(*args: Any, **kwargs: Any) -> Any:
            return stream_with_context(function(*args, **kwargs))

        return update_wrapper(streaming, function)
    request_context = _cv_request.get(None)
    if request_context is None:
        raise RuntimeError(
            "'stream_with_context' keeps the current request for a stream, and there is none here."
            " Call it in a view function."
        )
    # Contexts of its own: those of the request may be popped before, between or after the parts.
    return _InOneContext(_stream(parts, _cv_app.get()._copy(), request_context.copy()))


class _InOneContext:
    """Takes each part of a generator in the same `contextvars.Context`.

    A server may ask for the parts in several threads, and answer other requests in between in each of them.
    """

    def __init__(self, parts: Generator[Any, None, None]) -> None:
        self._parts = parts
        self._context = copy_context()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self._context.run(next, self._parts)

    def close(self) -> None:
        self._context.run(self._parts.close)

    # A stream that nobody reads to its end is closed in its context too, not where it happens to be collected.
    __del__ = close


def _stream(
    parts: Iterator[AnyStr], app_context: AppContext, request_context: RequestContext
) -> Generator[AnyStr, None, None]:
    # The application's first, or pushing the request's would push another one of its own.
    with app_context, request_context:
        try:
            for part in parts:  # noqa: UP028 - `yield from` would close it too, so twice
                yield part
        finally:
            if hasattr(parts, "close"):
                parts.close()


def time_limit(seconds: float) -> Callable[[F], F]:
    """Give a view its own limit under `demijohn serve`, instead of `--request-timeout`; 0 is none.

    Decorate the function itself, below `route`. A view that has not begun its answer by then is given up: the client
    gets 504, and what the view does later is dropped. A coroutine is cancelled.

    Raises ValueError for what is no number of seconds.

    .. versionadded:: 0.1.0
    """
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"time_limit() takes a number of seconds, 0 or more, not {seconds!r}.")

    def decorate(view: F) -> F:
        view.time_limit_s = float(seconds)  # type: ignore[attr-defined]
        return view

    return decorate


def make_response(*args: Any) -> Response:
    """Make a response of what a view may return, to add headers to it before returning it.

    Without arguments it is empty; several are the parts of a tuple.
    """
    if not args:
        return current_app.response_class()
    return current_app.make_response(args[0] if len(args) == 1 else args)


def url_for(
    endpoint: str,
    *,
    _anchor: str | None = None,
    _method: str | None = None,
    _scheme: str | None = None,
    _external: bool | None = None,
    **values: Any,
) -> str:
    """Return the URL of an endpoint, by `current_app.url_for`.

    endpoint: its name; with a dot before it, one in the current blueprint.
    _anchor: the fragment to append. _method: the method to build for, when several rules share the endpoint.
    _scheme, _external: the scheme, and whether scheme and host are part of the URL.
    values: the variables of the rule; those it does not have become the query.

    Raises werkzeug.routing.BuildError when no rule fits, RuntimeError without an application.
    """
    return current_app.url_for(
        endpoint, _anchor=_anchor, _method=_method, _scheme=_scheme, _external=_external, **values
    )


def redirect(location: str, code: int = 302, Response: type[BaseResponse] | None = None) -> BaseResponse:
    """Make a response that sends the client to `location`, by `current_app.redirect` when there is one.

    code: 301, 302, 303, 305, 307 or 308. Response: its class, by default the application's.
    """
    if current_app:
        return current_app.redirect(location, code=code)
    return _werkzeug_redirect(location, code=code, Response=Response)


def abort(code: int | BaseResponse, *args: Any, **kwargs: Any) -> NoReturn:
    """Raise the HTTP exception for a status code, or one that answers with a response, by `current_app.aborter`.

    args, kwargs: for the exception. Raises LookupError for a code that has no exception.
    """
    if current_app:
        current_app.aborter(code, *args, **kwargs)
    _werkzeug_abort(code, *args, **kwargs)


def get_template_attribute(template_name: str, attribute: str) -> Any:
    """Return what a template exports under a name: a macro, to be called from Python, or a variable."""
    return getattr(current_app.jinja_env.get_template(template_name).module, attribute)


def flash(message: str, category: str = "message") -> None:
    """Keep a message for the next request, in the session; a template shows it with `get_flashed_messages`.

    category: any word that says what it is, as `error`, `info` or `warning`.
    """
    # Set anew, since a session does not see its items change.
    flashes = session.get("_flashes", [])
    flashes.append((category, message))
    session["_flashes"] = flashes
    if message_flashed.receivers:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        message_flashed.send(app, _async_wrapper=app.ensure_sync, message=message, category=category)


def get_flashed_messages(
    with_categories: bool = False, category_filter: Iterable[str] = ()
) -> list[str] | list[tuple[str, str]]:
    """Take the flashed messages out of the session and return them; the same ones all through one request.

    with_categories: return (category, message) pairs. category_filter: return those of these categories only.
    """
    flashes = request_ctx.flashes
    if flashes is None:
        flashes = request_ctx.flashes = session.pop("_flashes") if "_flashes" in session else []
    if category_filter:
        flashes = [pair for pair in flashes if pair[0] in category_filter]
    return flashes if with_categories else [message for _, message in flashes]


def _sending_options(max_age: int | Callable[[str | None], int | None] | None) -> dict[str, Any]:
    """Return what Werkzeug must know of the application and the request to send a file."""
    app = current_app
    return {
        "environ": request.environ,
        "max_age": app.get_send_file_max_age if max_age is None else max_age,
        "response_class": app.response_class,
        "use_x_sendfile": app.config["USE_X_SENDFILE"],
        "_root_path": app.root_path,
    }


def send_file(
    path_or_file: os.PathLike[AnyStr] | str | IO[bytes],
    mimetype: str | None = None,
    as_attachment: bool = False,
    download_name: str | None = None,
    conditional: bool = True,
    etag: bool | str = True,
    last_modified: datetime | int | float | None = None,
    max_age: int | Callable[[str | None], int | None] | None = None,
) -> Response:
    """Make a response that sends a file. For a path that a user had a say in, use `send_from_directory`.

    path_or_file: a path, relative to the application's root path, or a file opened for bytes at where to start.
    mimetype: the media type; by default the one that goes with the name.
    as_attachment: have browsers offer to save it. download_name: the name they use, by default the path's.
    conditional: answer conditional and range requests.
    etag: whether one is made, or the one to send.
    last_modified: when it changed, a datetime or seconds since the epoch; by default what the file system says.
    max_age: the seconds that clients may keep it, or a function from its path to them; by default
        `current_app.get_send_file_max_age`.

    Raises FileNotFoundError, and TypeError for a file object without anything to tell its type by.
    """
    file: dict[str, Any] = {"path_or_file": path_or_file, "mimetype": mimetype}
    saving: dict[str, Any] = {"as_attachment": as_attachment, "download_name": download_name}
    caching: dict[str, Any] = {"conditional": conditional, "etag": etag, "last_modified": last_modified}
    options = file | saving | caching | _sending_options(max_age)
    return werkzeug.utils.send_file(**options)  # type: ignore[return-value]


def send_from_directory(directory: os.PathLike[str] | str, path: os.PathLike[str] | str, **kwargs: Any) -> Response:
    """Make a response that sends a file inside a directory, and nothing outside it.

    directory: relative to the application's root path. path: below it; may come from a user.
    kwargs: for `send_file`.

    Raises NotFound (404) when it is not a regular file inside the directory.
    """
    options = kwargs | _sending_options(kwargs.get("max_age"))
    return werkzeug.utils.send_from_directory(directory, path, **options)  # type: ignore[return-value]


def get_root_path(import_name: str) -> str:
    """Return the folder of a module or package; the working directory for a `__main__` that has no file.

    Raises RuntimeError for a module that has no folder, as a namespace package.
    """
    file: str | None = getattr(sys.modules.get(import_name), "__file__", None)
    if file is not None:
        return os.path.dirname(os.path.abspath(file))
    try:
        spec = importlib.util.find_spec(import_name)
        if spec is None:
            raise ValueError
    except (ImportError, ValueError):
        # Python says ValueError for a `__main__` without a spec: a script, a shell.
        return os.getcwd()
    if spec.loader is None:
        return os.getcwd()
    return _folder_of(import_name, spec.loader)


def _folder_of(import_name: str, loader: Any) -> str:
    if hasattr(loader, "get_filename"):
        file: str | None = loader.get_filename(import_name)
    else:
        # A loader that does not say may still set `__file__`.
        __import__(import_name)
        file = getattr(sys.modules[import_name], "__file__", None)
    if file is None:
        raise RuntimeError(
            f"No root path can be found for {import_name!r}: it is a namespace package, which has no folder of its"
            " own, or its loader does not say where it is. Pass root_path='...' to the application or blueprint."
        )
    return os.path.dirname(os.path.abspath(file))


@cache
def _split_blueprint_path(name: str) -> list[str]:
    """Return the dotted name of a blueprint, then those of the blueprints around it: a.b.c, a.b, a."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _default_template_ctx_processor() -> dict[str, Any]:
    """Return what every template is given: the current `g`, and in a request `request`."""
    # Not `session`: to hand it over would count as using it. Templates find its proxy among the globals.
    names: dict[str, Any] = {}
    app_context = _cv_app.get(None)
    if app_context is not None:
        names["g"] = app_context.g
    request_context = _cv_request.get(None)
    if request_context is not None:
        names["request"] = request_context.request
    return names
