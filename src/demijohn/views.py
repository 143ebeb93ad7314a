"""Views written as classes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Generator
from inspect import iscoroutinefunction
from typing import Any, ClassVar, TypeVar

from . import typing as ft
from .globals import current_app, request

F = TypeVar("F", bound=Callable[..., Any])

http_method_funcs = frozenset({"get", "post", "head", "options", "delete", "put", "trace", "patch"})


_Steps = Generator[Coroutine[Any, Any, Any] | None, Any, Any]


class View:
    """A view as a class: `as_view` makes the function that a rule is given, `dispatch_request` answers.

    methods: the methods the view takes; None leaves that to the rule.
    provide_automatic_options: whether OPTIONS is answered for the view; None leaves that to the rule.
    decorators: applied to the function of `as_view`, the first one innermost.
    init_every_request: whether each request gets an instance of its own. One instance for all is faster, and may
        then keep nothing of a request on `self`.
    """

    methods: ClassVar[Collection[str] | None] = None
    provide_automatic_options: ClassVar[bool | None] = None
    decorators: ClassVar[list[Callable[..., Any]]] = []
    init_every_request: ClassVar[bool] = True

    def dispatch_request(self) -> ft.ResponseReturnValue:
        """Answer the request; the variables of the URL come as keyword arguments. Subclasses override this."""
        raise NotImplementedError(f"{type(self).__name__} needs a method 'dispatch_request' that answers the request.")

    @classmethod
    def as_view(cls, name: str, *class_args: Any, **class_kwargs: Any) -> ft.RouteCallable:
        """Return a view function called `name`, the endpoint, that has an instance of the class answer.

        The other arguments go to the class whenever it is instantiated.
        """
        if cls.init_every_request:

            def view(**kwargs: Any) -> ft.ResponseReturnValue:
                instance = view.view_class(*class_args, **class_kwargs)  # type: ignore[attr-defined]
                return current_app.ensure_sync(instance.dispatch_request)(**kwargs)  # type: ignore[no-any-return]

            def make() -> View:
                return view.view_class(*class_args, **class_kwargs)  # type: ignore[attr-defined, no-any-return]

        else:
            shared = cls(*class_args, **class_kwargs)

            def view(**kwargs: Any) -> ft.ResponseReturnValue:
                return current_app.ensure_sync(shared.dispatch_request)(**kwargs)  # type: ignore[no-any-return]

            def make() -> View:
                return shared

        view._inside = _inside_of_class(view, make)  # type: ignore[attr-defined]
        _dress(view, cls, name)
        decorated: Callable[..., Any] = view
        for decorator in cls.decorators:
            decorated = decorator(decorated)
        if decorated is not view:
            _dress(decorated, cls, name)
        return decorated


def _dress(view: Callable[..., Any], cls: type[View], name: str) -> None:
    """Give the function the names and attributes that rules, tracebacks and documentation read."""
    view.__name__ = name
    view.__doc__ = cls.__doc__
    view.__module__ = cls.__module__
    view.view_class = cls  # type: ignore[attr-defined]
    view.methods = cls.methods  # type: ignore[attr-defined]
    view.provide_automatic_options = cls.provide_automatic_options  # type: ignore[attr-defined]


class MethodView(View):
    """A view that answers each HTTP method with the method of that name in lower case; HEAD with `get` by default.

    `methods` is what the class and its bases define, unless the class sets it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "methods" in cls.__dict__:
            return
        methods = {method for base in cls.__bases__ for method in getattr(base, "methods", None) or ()}
        methods.update(name.upper() for name in http_method_funcs if hasattr(cls, name))
        if methods:
            cls.methods = methods

    def dispatch_request(self, **kwargs: Any) -> ft.ResponseReturnValue:
        """Call the method that is named as the request's."""
        return current_app.ensure_sync(_method_of(self))(**kwargs)  # type: ignore[no-any-return]


def _method_of(instance: MethodView) -> Callable[..., Any]:
    handler = getattr(instance, request.method.lower(), None)
    if handler is None and request.method == "HEAD":
        handler = getattr(instance, "get", None)
    assert handler is not None, f"Unimplemented method {request.method!r}"
    return handler  # type: ignore[no-any-return]


_STOCK_DISPATCH = MethodView.dispatch_request


class Inside:
    """How to answer in steps (message.Steps) for a view that is not `async def` itself. Kept as `view._inside`.

    view: the very function, since a decorator that makes one like it (`functools.wraps`) hands this on with the other
        attributes, and must not be passed by.
    in_steps: takes the variables of the URL. may_await: whether there is anything `async def` in it.
    to_wire: does what the view does, but may return a ResponseMessage with a Content-Type and content, of which a
        response is made when somebody wants to see one; None where only the view knows how to answer.
    """

    __slots__ = ("in_steps", "may_await", "to_wire", "view")

    def __init__(
        self,
        view: Callable[..., Any],
        in_steps: Callable[..., _Steps],
        may_await: Callable[[], bool],
        to_wire: Callable[..., Any] | None = None,
    ) -> None:
        self.view = view
        self.in_steps = in_steps
        self.may_await = may_await
        self.to_wire = to_wire


def _inside_of_class(view: Callable[..., Any], make: Callable[[], View]) -> Inside:
    """What is inside a function of `as_view`. make: returns the instance that answers a request."""

    def in_steps(**kwargs: Any) -> _Steps:
        yield None
        instance = make()
        handler: Callable[..., Any] = instance.dispatch_request
        if type(instance).dispatch_request is _STOCK_DISPATCH and "dispatch_request" not in vars(instance):
            handler = _method_of(instance)  # type: ignore[arg-type]  # only a MethodView has it
        if iscoroutinefunction(handler):
            return (yield handler(**kwargs))
        return handler(**kwargs)

    def may_await() -> bool:
        cls = view.view_class  # type: ignore[attr-defined]
        names = ("dispatch_request", *(name.lower() for name in cls.methods or ()))
        return any(iscoroutinefunction(getattr(cls, name, None)) for name in names)

    return Inside(view, in_steps, may_await)
