"""What is current: the two context variables, and the proxies that users import."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, overload

from werkzeug import local

if TYPE_CHECKING:
    from .app import Flask
    from .ctx import AppContext, RequestContext, _AppCtxGlobals
    from .sessions import SessionMixin
    from .wrappers import Request

T = TypeVar("T")

_no_app_msg = """\
Working outside of application context.

This needs the current application, and none is current here. During a request and in a
command it is set for you; anywhere else, set it yourself:

    with app.app_context():
        ...\
"""
_no_req_msg = """\
Working outside of request context.

This needs an active HTTP request, and none is being handled here. In a test or a shell,
make one:

    with app.test_request_context("/path"):
        ...

In a thread or task started by a view, wrap the function in copy_current_request_context.\
"""

# Tells "there is none" from None.
_unset: Any = object()

_cv_request: ContextVar[RequestContext] = ContextVar("demijohn.request_ctx")


class AppContextVar:
    """What `_cv_app` is: a ContextVar, but that a native request has its application context made when asked for.

    Most requests never ask. bench/request_path.py: 0.7 us less than to make the context and set a second variable.

    pushed: holds the contexts that were pushed.
    """

    __slots__ = ("name", "pushed", "reset", "set")

    def __init__(self, name: str) -> None:
        self.name = name
        self.pushed: ContextVar[AppContext] = ContextVar(name)
        self.set = self.pushed.set
        self.reset = self.pushed.reset

    @overload
    def get(self) -> AppContext: ...
    @overload
    def get(self, default: T, /) -> AppContext | T: ...
    def get(self, *default: Any) -> Any:
        """Return the current context; `default`, or LookupError, when there is none."""
        ctx = self.pushed.get(None)
        if ctx is None:
            request_ctx = _cv_request.get(None)
            ctx = None if request_ctx is None else request_ctx.late_app_ctx()
        return self.pushed.get(*default) if ctx is None else ctx

    def app(self) -> Flask | None:
        """Return the current application, and make no context for it; None when there is none.

        bench/request_path.py: 0.1 us, where `current_app` takes 0.7.
        """
        ctx: AppContext | RequestContext | None = self.pushed.get(None)
        if ctx is None:
            ctx = _cv_request.get(None)
            if ctx is None or ctx._late_app_ctx is _unset:
                return None
        return ctx.app

    def __call__(self) -> AppContext:
        """Return the current context for a proxy; RuntimeError when there is none."""
        ctx: AppContext | None = self.pushed.get(None) or self.get(None)
        if ctx is None:
            raise RuntimeError(_no_app_msg)
        return ctx


_cv_app = AppContextVar("demijohn.app_ctx")


class LocalProxy(local.LocalProxy[Any]):
    """Werkzeug's proxy, with the operations that views use most written out.

    bench/request_path.py: `request.method` in 0.62 us where Werkzeug's descriptors take 0.81.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __contains__(self, item: Any) -> bool:
        return item in self._get_current_object()


# What a proxy is asked for that is its own.
_OF_THE_PROXY = frozenset({"_get_current_object", "__wrapped__"})


class _RequestProxy(LocalProxy):
    """The proxy that views ask most.

    bench/request_path.py: `request.method` in 0.15 us, where a `__getattr__` is asked only after Python has looked in
    vain: then it takes 0.6.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        ctx = _cv_request.get(None)
        if ctx is None or name in _OF_THE_PROXY:
            return object.__getattribute__(self, name)
        return getattr(ctx._request or ctx.request, name)


app_ctx: AppContext = LocalProxy(_cv_app)  # type: ignore[assignment]
current_app: Flask = LocalProxy(_cv_app, "app")  # type: ignore[assignment]
g: _AppCtxGlobals = LocalProxy(_cv_app, "g")  # type: ignore[assignment]
request_ctx: RequestContext = LocalProxy(_cv_request, unbound_message=_no_req_msg)  # type: ignore[assignment]
request: Request = _RequestProxy(_cv_request, "request", unbound_message=_no_req_msg)  # type: ignore[assignment]
session: SessionMixin = LocalProxy(_cv_request, "session", unbound_message=_no_req_msg)  # type: ignore[assignment]
