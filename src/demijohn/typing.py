"""The types users write against, and the protocols the server speaks with an application."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication as WSGIApplication
    from werkzeug.datastructures import Headers
    from werkzeug.sansio.response import Response

    from .message import RequestHead, ResponseMessage, Suspended

# -- what views, hooks and handlers take and give ----------------------------------------------

ResponseValue = t.Union[
    "Response",
    str,
    bytes,
    list[t.Any],
    # A TypedDict is a Mapping and no dict to a type checker.
    cabc.Mapping[str, t.Any],
    cabc.Iterator[str],
    cabc.Iterator[bytes],
    cabc.AsyncIterable[str],
    cabc.AsyncIterable[bytes],
]
HeaderValue = str | list[str] | tuple[str, ...]
HeadersValue = t.Union["Headers", cabc.Mapping[str, HeaderValue], cabc.Sequence[tuple[str, HeaderValue]]]
ResponseReturnValue = t.Union[
    ResponseValue,
    tuple[ResponseValue, HeadersValue],
    tuple[ResponseValue, int],
    tuple[ResponseValue, int, HeadersValue],
    "WSGIApplication",
]

# Any subclass of Response that a view returns is also right for a response hook to take.
ResponseClass = t.TypeVar("ResponseClass", bound="Response")

AppOrBlueprintKey = str | None  # the name of a blueprint, or None for the application

AfterRequestCallable = (
    cabc.Callable[[ResponseClass], ResponseClass] | cabc.Callable[[ResponseClass], cabc.Awaitable[ResponseClass]]
)
BeforeFirstRequestCallable = cabc.Callable[[], None] | cabc.Callable[[], cabc.Awaitable[None]]
BeforeRequestCallable = (
    cabc.Callable[[], ResponseReturnValue | None] | cabc.Callable[[], cabc.Awaitable[ResponseReturnValue | None]]
)
ShellContextProcessorCallable = cabc.Callable[[], dict[str, t.Any]]
TeardownCallable = (
    cabc.Callable[[BaseException | None], None] | cabc.Callable[[BaseException | None], cabc.Awaitable[None]]
)
TemplateContextProcessorCallable = (
    cabc.Callable[[], dict[str, t.Any]] | cabc.Callable[[], cabc.Awaitable[dict[str, t.Any]]]
)
TemplateFilterCallable = cabc.Callable[..., t.Any]
TemplateGlobalCallable = cabc.Callable[..., t.Any]
TemplateTestCallable = cabc.Callable[..., bool]
URLDefaultCallable = cabc.Callable[[str, dict[str, t.Any]], None]
URLValuePreprocessorCallable = cabc.Callable[[str | None, dict[str, t.Any] | None], None]

# Handlers take their own exception class; contravariance would refuse them if this said Exception.
ErrorHandlerCallable = (
    cabc.Callable[[t.Any], ResponseReturnValue] | cabc.Callable[[t.Any], cabc.Awaitable[ResponseReturnValue]]
)
RouteCallable = cabc.Callable[..., ResponseReturnValue] | cabc.Callable[..., cabc.Awaitable[ResponseReturnValue]]

# -- between the server and what it serves ------------------------------------------------------


class Route(t.Protocol):
    """What the server knows of the place a request goes to: how long its answers take."""

    wall_s: float
    """Moving average of the seconds its view takes; the server writes it, `0.0` at first."""

    @property
    def may_await(self) -> bool:
        """Whether its answers may have to wait for coroutines: those that do not are not begun in the event loop."""


class NativeApplication(t.Protocol):
    """An application that the server calls without a WSGI environ in between."""

    def native_match(self, head: RequestHead) -> Route | None:
        """Find where `head` goes, keeping what `native_handle` needs in `head.route` and `head.arguments`.

        Must not run the user's view and must not raise. None says that this request has to go through
        `application(environ, start_response)`.
        """

    def native_refuses(self, head: RequestHead) -> bool:
        """Whether the answer to `head` is a refusal whatever its content; see `Gateway.refuses`. Must not raise."""

    def native_handle(self, head: RequestHead) -> ResponseMessage | Suspended:
        """Answer a request that `native_match` found a route for; its content is complete.

        The answer may have to wait for coroutines, when the server runs them (`head.origin.run_coroutine`).

        Raises only what the application lets propagate (debug, testing); the server logs it and answers 500.
        """


class Gateway(t.Protocol):
    """How the server's engine reaches an application, whatever its interface."""

    def match(self, head: RequestHead) -> Route:
        """Find where `head` goes: quick, in the thread that polls, before the content has to be there."""

    def refuses(self, head: RequestHead) -> bool:
        """Whether the answer to `head` is a refusal whatever its content (404, 405); False when that is not known.

        Asked only when the peer waits for 100 (Continue): a refusal then spares it the content.
        """

    def handle(self, head: RequestHead) -> ResponseMessage | Suspended:
        """Answer the matched request; may take as long as the view does. Raises nothing."""


class Peer(t.Protocol):
    """Who is at the other end of a WebSocket. Any thread may call.

    head: the request that was its opening handshake.
    """

    head: RequestHead

    @property
    def is_behind(self) -> bool:
        """Whether it has yet to read much of what it was sent."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is about to stop: what is in hand is answered, and nothing new is begun."""

    def send(self, text: str) -> None:
        """Send a message, at the latest when the peer reads; drop it when the peer is gone. Waits for nothing."""


class Conversation(t.Protocol):
    """What an application has to say to a WebSocket: its messages are requests, which any thread answers."""

    def begin(self, peer: Peer) -> None:
        """Note that the handshake is done."""

    def receive(self, message: str | bytes) -> RequestHead | None:
        """Return the request that a message of the peer is to be answered as, None for one that is not.

        Called in the order of the messages, in the thread that polls, so it must be quick; must not raise. A `route`
        that it sets is used instead of what `Gateway.match` would find.
        """

    def reply(self, head: RequestHead, message: ResponseMessage, content: bytes) -> str | None:
        """Return what the peer is sent for the answer to one of these requests, None for nothing; must not raise.

        content: all of the message's.
        """

    def end(self) -> None:
        """Note that the peer is gone, or has closed. What is in hand goes on, and what it comes to is dropped."""
