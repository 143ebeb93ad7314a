"""What is current: the context of an application, and the context of a request.

Both are pushed onto the context variables of `globals.py` and popped again; the proxies read them there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Token
from functools import update_wrapper
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from werkzeug.exceptions import HTTPException

from . import typing as ft
from .globals import _cv_app, _cv_request, _unset
from .sessions import SecureCookieSessionInterface, SessionInterface
from .signals import appcontext_popped, appcontext_pushed

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.routing import MapAdapter

    from .app import Flask
    from .message import RequestHead
    from .sessions import SessionMixin
    from .wrappers import Request, Response

F = TypeVar("F", bound=Callable[..., Any])


class _AppCtxGlobals:
    """The namespace behind `g`: lives as long as its application context.

    Also takes `key in g` and iteration over its names.
    """

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"g has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self.__dict__[name]
        except KeyError:
            raise AttributeError(f"g has no attribute {name!r}", name=name, obj=self) from None

    def get(self, name: str, default: Any | None = None) -> Any:
        """Return the attribute `name`, or `default` when it is not set."""
        return self.__dict__.get(name, default)

    def pop(self, name: str, default: Any = _unset) -> Any:
        """Remove the attribute `name` and return its value; `default`, or KeyError, when it is not set."""
        if default is _unset:
            return self.__dict__.pop(name)
        return self.__dict__.pop(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the attribute `name`, setting it to `default` first when it is not set."""
        return self.__dict__.setdefault(name, default)

    def __contains__(self, item: str) -> bool:
        return item in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        ctx = _cv_app.get(None)
        return object.__repr__(self) if ctx is None else f"<flask.g of {ctx.app.name!r}>"


def after_this_request(f: ft.AfterRequestCallable[Any]) -> ft.AfterRequestCallable[Any]:
    """Have `f(response) -> response` called once, at the end of the current request.

    Raises RuntimeError outside a request.
    """
    ctx = _cv_request.get(None)
    if ctx is None:
        raise RuntimeError("'after_this_request' adds to the current request, and there is none here.")
    ctx.after_functions().append(f)
    return f


def copy_current_request_context(f: F) -> F:
    """Bind `f` to the current request, so that it may be called in a thread or greenlet started here.

    Each call sees a copy of the request's context. Raises RuntimeError outside a request.
    """
    original = _cv_request.get(None)
    if original is None:
        raise RuntimeError("'copy_current_request_context' copies the current request, and there is none here.")
    bound = original.copy()

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with bound as ctx:
            return ctx.app.ensure_sync(f)(*args, **kwargs)

    return update_wrapper(wrapper, f)  # type: ignore[return-value]


def has_request_context() -> bool:
    """Whether a request is current, so that `request` and `session` can be used."""
    return _cv_request.get(None) is not None


def has_app_context() -> bool:
    """Whether an application is current, so that `current_app` and `g` can be used."""
    return _cv_app.get(None) is not None


_stock_open_session = SecureCookieSessionInterface.open_session
_stock_save_session = SecureCookieSessionInterface.save_session


_making_late = threading.Lock()


def _drop_pushed(app_ctx: AppContext | None) -> None:
    """Make no application context current, after one that a view pushed and did not pop. Raises AssertionError."""
    left_behind = app_ctx
    while app_ctx is not None:
        _cv_app.reset(app_ctx._cv_tokens.pop())
        app_ctx = _cv_app.pushed.get(None)
    raise AssertionError(f"An application context was pushed during the request and not popped: {left_behind!r}.")


def opens_late(interface: SessionInterface) -> bool:
    """Whether nobody can tell a session opened when first used from one opened before the view.

    So it is for the signed cookie, which only reads the request; any other interface may do work there that the
    view relies on.
    """
    return (
        type(interface) is SecureCookieSessionInterface
        and SecureCookieSessionInterface.open_session is _stock_open_session
        and SecureCookieSessionInterface.save_session is _stock_save_session
        and not interface.__dict__
    )


class AppContext:
    """What `current_app` and `g` stand for, while it is pushed. Made by `Flask.app_context`."""

    # A dictionary for the attributes of extensions; made when the first one is set.
    __slots__ = ("__dict__", "__weakref__", "_cv_tokens", "_g", "_run_coroutine", "_url_adapter", "app")

    def __init__(self, app: Flask) -> None:
        self.app = app
        # The server's, see message.Origin, in the context of a request that it gave to the application directly.
        self._run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
        self._g: _AppCtxGlobals | None = None
        self._url_adapter: Any = _unset
        self._cv_tokens: list[Token[AppContext]] = []

    @property
    def g(self) -> _AppCtxGlobals:
        """The namespace of this context, made when first asked for."""
        g = self._g
        if g is None:
            g = self._g = self.app.app_ctx_globals_class()
        return g

    @g.setter
    def g(self, value: _AppCtxGlobals) -> None:
        self._g = value

    @property
    def url_adapter(self) -> MapAdapter | None:
        """What builds URLs outside a request; None without `SERVER_NAME`."""
        if self._url_adapter is _unset:
            self._url_adapter = self.app.create_url_adapter(None)
        adapter: MapAdapter | None = self._url_adapter
        return adapter

    @url_adapter.setter
    def url_adapter(self, value: MapAdapter | None) -> None:
        self._url_adapter = value

    def _copy(self) -> AppContext:
        """Make another context of the same application and `g`, to be pushed elsewhere."""
        other = self.__class__(self.app)
        other.g = self.g
        return other

    def push(self) -> None:
        """Make this context the current one."""
        self._cv_tokens.append(_cv_app.set(self))
        if appcontext_pushed.receivers:
            appcontext_pushed.send(self.app, _async_wrapper=self.app.ensure_sync)

    def pop(self, exc: BaseException | None = _unset) -> None:
        """Run the teardown functions, if this is the last pop, and make the context before it current again.

        exc: the exception that ended the work, for the teardown functions; by default the one being handled.
        """
        try:
            if len(self._cv_tokens) == 1:
                if exc is _unset:
                    exc = sys.exc_info()[1]
                self.app.do_teardown_appcontext(exc)
        finally:
            current = _cv_app.get()
            _cv_app.reset(self._cv_tokens.pop())
        if current is not self:
            raise AssertionError(
                f"Popped an application context that was not the current one: {current!r}, not {self!r}."
            )
        if appcontext_popped.receivers:
            appcontext_popped.send(self.app, _async_wrapper=self.app.ensure_sync)

    def __enter__(self) -> Self:
        self.push()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.pop(exc_value)


class RequestContext:
    """What `request` and `session` stand for, while it is pushed. Made by `Flask.request_context`.

    Pushing it pushes a context of its application too, unless one is current already.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_after_request_functions",
        "_cv_tokens",
        "_head",
        "_late_app_ctx",
        "_opened_session",
        "_request",
        "_url_adapter",
        "app",
        "flashes",
    )

    def __init__(
        self,
        app: Flask,
        environ: WSGIEnvironment,
        request: Request | None = None,
        session: SessionMixin | None = None,
    ) -> None:
        self.app = app
        if request is None:
            request = app.request_class(environ)
            request.json_module = app.json
        self._head: RequestHead | None = None
        self._request: Request | None = request
        self.flashes: list[tuple[str, str]] | None = None
        self._opened_session = session
        self._after_request_functions: list[ft.AfterRequestCallable[Any]] | None = None
        self._cv_tokens: list[tuple[Token[RequestContext], AppContext | None]] = []
        # Of a request pushed quietly: its application context, or None as long as nobody has asked for it.
        self._late_app_ctx: Any = _unset
        self._url_adapter: Any = None
        try:
            self._url_adapter = app.create_url_adapter(request)
        except HTTPException as error:
            request.routing_exception = error

    @classmethod
    def of_native(cls, app: Flask, head: RequestHead) -> Self:
        """Make the context of a request that has its route already, so needs no URL adapter before it builds one."""
        self = cls.__new__(cls)
        self.app = app
        self._head = head
        self._request = None
        self.flashes = None
        self._opened_session = None
        self._after_request_functions = None
        self._cv_tokens = []
        self._late_app_ctx = _unset
        self._url_adapter = _unset
        return self

    @property
    def request(self) -> Request:
        """What `request` stands for; that of a native request is made when first asked for.

        bench/instructions.py: hello in 4,300 instructions less.
        """
        request = self._request
        if request is None:
            made = self.app.request_class.of_head(self._head)  # type: ignore[arg-type]
            made.json_module = self.app.json
            with _making_late:  # threads may share a context
                request = self._request
                if request is None:
                    request = self._request = made
        return request

    @request.setter
    def request(self, value: Request) -> None:
        self._request = value

    @property
    def url_adapter(self) -> MapAdapter | None:
        """What matched this request's URL and builds others."""
        if self._url_adapter is _unset:
            self._url_adapter = self.app.create_url_adapter(self.request)
        adapter: MapAdapter | None = self._url_adapter
        return adapter

    @url_adapter.setter
    def url_adapter(self, value: MapAdapter | None) -> None:
        self._url_adapter = value

    @property
    def session(self) -> SessionMixin:
        """The session of the request; asking for it marks it as accessed, so that caches are told (`Vary: Cookie`)."""
        session = self._opened_session
        if session is None:
            session = self._open_session()
        session.accessed = True
        return session

    @session.setter
    def session(self, value: SessionMixin) -> None:
        self._opened_session = value

    @property
    def _session(self) -> SessionMixin:
        """The session, opened when first asked for, without marking it as accessed."""
        session = self._opened_session
        if session is None:
            session = self._open_session()
        return session

    @_session.setter
    def _session(self, value: SessionMixin) -> None:
        self._opened_session = value

    def _open_session(self) -> SessionMixin:
        interface = self.app.session_interface
        session = interface.open_session(self.app, self.request)
        if session is None:
            session = interface.make_null_session(self.app)
        self._opened_session = session
        return session

    def save_session(self, response: Response) -> None:
        """Save the session in a response, unless it was never opened and nothing in it can be due."""
        if self._opened_session is None and not self.may_be_permanent():
            return
        session = self._session
        interface = self.app.session_interface
        if not interface.is_null_session(session):
            interface.save_session(self.app, session, response)

    def may_be_permanent(self) -> bool:
        """Whether the client sent a session that, if permanent, is to be sent again to live on."""
        head: RequestHead | None = getattr(self.request, "_head", None)  # request_class may be anybody's
        if head is not None and head.field(b"cookie") is None:
            return False  # bench/request_path.py: asked first for 0.3 us
        app = self.app
        if not (app.config["SECRET_KEY"] and app.config["SESSION_REFRESH_EACH_REQUEST"]):
            return False
        name = app.session_interface.get_cookie_name(app)
        return self.request.sends_cookie(name) and app.session_interface._may_be_permanent(
            self.request.cookies.get(name, "")
        )

    def after_functions(self) -> list[ft.AfterRequestCallable[Any]]:
        """Return the list of functions that `after_this_request` adds to."""
        functions = self._after_request_functions
        if functions is None:
            functions = self._after_request_functions = []
        return functions

    def copy(self) -> RequestContext:
        """Make another context of the same request and session, to be pushed elsewhere."""
        return self.__class__(
            self.app, environ=self.request.environ, request=self.request, session=self._opened_session
        )

    def match_request(self) -> None:
        """Find the rule of the request; what goes wrong is kept in `request.routing_exception` for dispatching."""
        adapter = self.url_adapter
        assert adapter is not None
        try:
            self.request.url_rule, self.request.view_args = adapter.match(return_rule=True)  # type: ignore[assignment]
        except HTTPException as error:
            self.request.routing_exception = error

    def push(self) -> None:
        """Make this context the current one: open its session, find its rule."""
        app_ctx: AppContext | None = None
        current = _cv_app.get(None)
        if current is None or current.app is not self.app:
            app_ctx = self.app.app_context()
            head = self._head or getattr(self.request, "_head", None)  # request_class may be anybody's
            if head is not None:
                app_ctx._run_coroutine = head.origin.run_coroutine
            app_ctx.push()
        self._cv_tokens.append((_cv_request.set(self), app_ctx))
        if self._opened_session is None and not opens_late(self.app.session_interface):
            self._open_session()
        # After the session, which converters may read. A native request has its route already.
        if self._url_adapter is not None and self._url_adapter is not _unset:
            self.match_request()

    def pop(self, exc: BaseException | None = _unset) -> None:
        """Run the teardown functions, if this is the last pop, and make the context before it current again.

        exc: the exception that ended the request, for the teardown functions; by default the one being handled.
        """
        try:
            if len(self._cv_tokens) == 1:
                if exc is _unset:
                    exc = sys.exc_info()[1]
                self.app.do_teardown_request(exc)
                self.request.close()
        finally:
            current = self._leave(exc)
        self._expect(current)

    def pop_torn_down(self, exc: BaseException | None) -> None:
        """Do what `pop` does once the teardown functions of the request have run."""
        try:
            self.request.close()
        finally:
            current = self._leave(exc)
        self._expect(current)

    def _leave(self, exc: BaseException | None) -> RequestContext:
        """Make the context before this one current again, with that of its application; return the one that was."""
        last = len(self._cv_tokens) == 1
        left_behind: AppContext | None = None
        current = _cv_request.get()
        token, app_ctx = self._cv_tokens.pop()
        if last and self._late_app_ctx is not _unset:
            left_behind = _cv_app.pushed.get(None)
            app_ctx = self.late_app_ctx()
            assert app_ctx is not None
            app_ctx._cv_tokens[0] = _cv_app.set(app_ctx)
        _cv_request.reset(token)
        if last and self._request is not None and "environ" in self._request.__dict__:
            self._leave_environ()
        if app_ctx is not None:
            app_ctx.pop(exc)
        if left_behind is not None:
            _drop_pushed(left_behind)
        return current

    def _expect(self, current: RequestContext) -> None:
        if current is not self:
            raise AssertionError(f"Popped a request context that was not the current one: {current!r}, not {self!r}.")

    def push_quietly(self) -> None:
        """Do what `push` does first when no context is current, nobody is to be told, and the session opens late."""
        self._late_app_ctx = None
        self._cv_tokens = [(_cv_request.set(self), None)]

    def pop_quietly(self) -> None:
        """Do what `pop` does when there is nothing to tear down, nobody to tell, and no other context was pushed."""
        token, app_ctx = self._cv_tokens.pop()
        _cv_request.reset(token)
        if app_ctx is not None:
            _cv_app.reset(app_ctx._cv_tokens.pop())
        request = self._request
        if request is not None:
            kept = request.__dict__
            if "files" in kept:
                request.close()
            if "environ" in kept:
                self._leave_environ()

    def late_app_ctx(self) -> AppContext | None:
        """Return the application context of a request pushed quietly, made when first asked for; else None."""
        if self._late_app_ctx is None:
            with _making_late:  # threads may share a request
                if self._late_app_ctx is None:
                    app_ctx = AppContext(self.app)
                    app_ctx._run_coroutine = self._head.origin.run_coroutine  # type: ignore[union-attr]
                    app_ctx._cv_tokens.append(_unset)  # it counts as pushed; `pop` sees to the rest
                    self._late_app_ctx = app_ctx
        return None if self._late_app_ctx is _unset else self._late_app_ctx

    def _leave_environ(self) -> None:
        # The environ outlives the request in servers; a request in it would hold itself alive.
        self.request.environ["werkzeug.request"] = None

    def __enter__(self) -> Self:
        self.push()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.pop(exc_value)

    def __repr__(self) -> str:
        request = self.request
        return f"<{type(self).__name__} {request.url!r} [{request.method}] of {self.app.name}>"
