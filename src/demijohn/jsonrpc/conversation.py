"""JSON-RPC over a WebSocket: `JSONRPC(app, "/api", websocket=True)` under `demijohn serve`.

Each message is answered as a POST of the same content with the header fields of the handshake would be, hooks of the
application included; so nothing that guards the one is missing for the other. What a connection adds is that many
messages are in hand at a time, that a method can tell its caller how far it is (`rpc.progress`), and that the caller
can end it (`rpc.cancel`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from ..environ import environ_of
from ..globals import _cv_request, current_app, request
from ..message import Offer, RequestHead, ResponseMessage
from ..reporting import Follower, current
from ..routing import Route
from ..typing import Peer
from ..views import Inside, View
from ..wrappers import Response
from . import encoding, protocol
from .ending import as_answered
from .origins import is_own_page
from .protocol import (
    ABSENT,
    CANCEL,
    PROGRESS,
    Absent,
    Call,
    Id,
    InvalidParamsError,
    JSONRPCError,
    RequestCancelled,
    ServerError,
)
from .site import CONTENT_TYPE, Answer, JSONRPCSite
from .together import Steps

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from ..app import Flask

# What a message is answered for is kept here in its environ.
_EXCHANGE = "demijohn.jsonrpc.exchange"
# Of the handshake alone: what a message is answered with is coded by the connection, or not.
_OF_HANDSHAKE = frozenset({b"accept-encoding", b"content-length", b"content-type"})

_NO_WEBSOCKET = (
    "The server that runs this application speaks no WebSocket to it. Call by POST, or run it with 'demijohn serve'.\n"
)


class _Outline(msgspec.Struct):
    """As much of a Request object as tells how to go about it."""

    jsonrpc: Any = None
    method: Any = None
    id: Any = ABSENT
    params: msgspec.Raw = msgspec.Raw(b"")


_outline_of = msgspec.json.Decoder(_Outline | list[_Outline]).decode


def _is_id(value: Any) -> bool:
    return value is None or type(value) in (str, int, float)


def _cancels(outline: _Outline) -> bool:
    """Whether a message is `rpc.cancel`; one that is no Request object is answered as such."""
    has_id = outline.id is ABSENT or _is_id(outline.id)
    return outline.method == CANCEL and outline.jsonrpc == protocol.VERSION and has_id


class Exchange:
    """A message, while it is answered.

    ids: of the calls in it. is_batch: whether it is more than one call, or what it is cannot be read. is_silent:
    whether there are only notifications in it. is_answered: whether nothing is to be sent any more.
    """

    def __init__(self, conversation: RPCConversation, ids: list[Id], is_batch: bool, is_silent: bool) -> None:
        self.conversation = conversation
        self.ids = ids
        self.is_batch = is_batch
        self.is_silent = is_silent
        self.is_answered = False
        self.cancelled: set[Id] = set()
        self._begun: list[RunningCall] = []

    def begin(self, call: Call) -> RunningCall:
        """Note that a call is run now."""
        running = RunningCall(self, call.id)
        with self.conversation.lock:
            self._begun.append(running)
        return running

    def cancel(self, id: Id) -> None:
        """End a call: at once when it was not begun or awaits something, else when it next reports."""
        with self.conversation.lock:
            self.cancelled.add(id)
            is_said_now = not (self._begun or self.is_batch or self.is_answered)
            if is_said_now:
                self.is_answered = True
            running = [each for each in self._begun if each.id == id]
        for each in running:
            each.interrupt()
        if is_said_now:
            self.conversation.send_error(id, RequestCancelled())


class RunningCall(Follower):
    """A call, while it is run, and its caller, who follows it."""

    def __init__(self, exchange: Exchange, id: Id | Absent) -> None:
        super().__init__()
        self.id = id
        self._exchange = exchange
        self._conversation = exchange.conversation
        self._task: asyncio.Task[Any] | None = None

    def report(self, done: float, total: float | None, message: str | None) -> None:
        if self.id is ABSENT:
            return
        self._leave_with_caller()
        if self.is_cancelled():
            raise _cancelled()
        super().report(done, total, message)

    def hear(self, done: float, total: float | None, message: str) -> None:
        if self.id is ABSENT:
            return
        self._leave_with_caller()
        told: dict[str, Any] = {"id": self.id, "done": done}
        if total is not None:
            told["total"] = total
        if message:
            told["message"] = message
        self._conversation.notify(PROGRESS, told)

    def _leave_with_caller(self) -> None:
        """Let a call that reports be cancelled when its caller has gone; one that does not comes to its end."""
        if self._conversation.has_ended and not self.is_cancelled():
            self._exchange.cancelled.add(self.id)  # type: ignore[arg-type]  # none that is ABSENT reports
            self.interrupt()

    def is_cancelled(self) -> bool:
        return self.id in self._exchange.cancelled

    async def awaiting(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Wait for the coroutine of the method, so that it can be cancelled."""
        # In this order, as `interrupt` is called after the call was cancelled: one of both sees the other.
        self._task = asyncio.current_task()
        try:
            if self.is_cancelled():
                coroutine.close()
                raise _cancelled()
            return await coroutine
        except asyncio.CancelledError:
            if self.is_cancelled():
                raise _cancelled() from None
            raise  # over a limit of the server, or the server stops
        finally:
            self._task = None

    def interrupt(self) -> None:
        super().interrupt()
        task = self._task
        if task is not None:
            task.get_loop().call_soon_threadsafe(self._cancel_task)

    def _cancel_task(self) -> None:
        """Cancel what the call awaits, in the thread of the event loop; the task may have gone on to something else."""
        if self._task is not None:
            self._task.cancel()


def _cancelled() -> Exception:
    from ..heavy.errors import CallCancelled  # for its cost

    return CallCancelled("The call was cancelled by its caller.")


_exchange: ContextVar[Exchange] = ContextVar("demijohn.jsonrpc.exchange")


class FollowedSite(JSONRPCSite):
    """A site as the calls of a connection see it; mixed into the class of the site, whose state it shares."""

    def read_call(self, member: Any) -> Call:
        call = super().read_call(member)
        running = _exchange.get().begin(call)
        current.set(running)
        if running.is_cancelled():
            raise RequestCancelled
        return call

    def handle_exception(self, call: Call, error: BaseException) -> Answer:
        return super().handle_exception(call, as_answered(error))

    def _member_in_steps(self, member: Any) -> Steps[Answer]:
        steps = super()._member_in_steps(member)
        value: Any = None
        failure: BaseException | None = None
        while True:
            try:
                coroutine = steps.send(value) if failure is None else steps.throw(failure)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
            value = failure = None
            running = current.get()
            if coroutine is not None and isinstance(running, RunningCall):
                coroutine = running.awaiting(coroutine)
            try:
                value = yield coroutine
            except BaseException as error:  # to be raised where the method waits
                failure = error


def _followed(site: JSONRPCSite) -> JSONRPCSite:
    followed = object.__new__(_followed_class(type(site)))
    followed.__dict__ = site.__dict__
    return followed


def _followed_class(cls: type[JSONRPCSite]) -> type[JSONRPCSite]:
    return FollowedSite if cls is JSONRPCSite else type(cls.__name__, (FollowedSite, cls), {})


class WebSocketView:
    """The view of a site for WebSockets: of their handshakes, and of the messages that come after.

    view_class: of the view that answers a POST to the site; `can_wait` says whether it has `in_steps`.
    """

    def __init__(self, site: JSONRPCSite, view_class: type[View], can_wait: bool) -> None:
        self.site = site
        self._stock: Any = view_class(_followed(site)) if can_wait else None  # type: ignore[call-arg]
        # With its decorators, and an instance for each message as for each POST.
        self._view = view_class.as_view("message", jsonrpc_site=_followed(site))
        self._can_wait = can_wait
        self._routes: dict[str, Route] = {}

    def add_to(self, app: Flask, path: str, endpoint: str) -> None:
        """Give an application the rule of the WebSocket."""

        def view() -> Any:
            return self.answer()

        view._inside = Inside(view, self.in_steps, self._may_await)  # type: ignore[attr-defined]
        # Of any method: a message is a POST, the handshake a GET.
        self._rule: Rule = app.url_rule_class(path, endpoint=endpoint, websocket=True)
        app.url_map.add(self._rule)
        app.view_functions[endpoint] = view
        self.site.speaks_websocket()

    def route_of(self, method: Any) -> Route:
        """Return the route of calls of a method: one that is slow does not make the others so."""
        name = method if type(method) is str and self.site.methods.get(method) is not None else ""
        route = self._routes.get(name)
        if route is None:
            route = self._routes[name] = Route(self._rule)
        return route

    def answer(self) -> Any:
        """Answer a handshake or a message."""
        exchange = _current_exchange()
        if exchange is None:
            return self._open()
        tokens = _exchange.set(exchange), current.set(None)
        try:
            if self._can_wait:  # the stock view: without the detours that find its method
                return self._stock.post()
            return current_app.ensure_sync(self._view)()
        finally:
            _exchange.reset(tokens[0])
            current.reset(tokens[1])

    def _may_await(self) -> bool:
        return self._can_wait and self.site.awaits()

    def in_steps(self) -> Steps[Any]:
        """Do what `answer` does where methods may wait on an event loop."""
        exchange = _current_exchange()
        if exchange is None or not self._can_wait:
            yield None
            return self.answer()
        _exchange.set(exchange)  # the context is the message's own, and is dropped with it
        return (yield from self._stock.in_steps())

    def _open(self) -> Response:
        """Answer a handshake."""
        origin = request.headers.get("Origin")
        if not is_own_page(origin, request.host, current_app.config.get("JSONRPC_WEBSOCKET_ORIGINS") or ()):
            current_app.logger.warning(
                "JSON-RPC: refused a WebSocket of a page at %s to %s: name it in JSONRPC_WEBSOCKET_ORIGINS if it may",
                origin,
                request.host,
            )
            return Response("Pages of this origin may not call here.\n", 403, mimetype="text/plain")
        offer: Offer | None = request.environ.get("demijohn.websocket")
        if offer is None:
            return Response(_NO_WEBSOCKET, 400, mimetype="text/plain")
        offer.conversation = RPCConversation(current_app._get_current_object(), self)  # type: ignore[attr-defined]
        response = Response(status=101)
        response.headers.clear()
        return response


def _current_exchange() -> Exchange | None:
    """Return what the current request is answered for; None for a handshake."""
    current_request: Any = _cv_request.get().request
    head: RequestHead | None = getattr(current_request, "_head", None)
    # Not by the attribute in both cases: a request whose environ was asked for reads all else from it.
    environ = current_request.environ if head is None else environ_of(head)
    return environ.get(_EXCHANGE)


class RPCConversation:
    """A connection: a `typing.Conversation`."""

    peer: Peer

    def __init__(self, app: Flask, view: WebSocketView) -> None:
        self.lock = threading.Lock()
        self.has_ended = False
        self._app = app
        self._view = view
        self._fields: list[tuple[bytes, bytes]] = []
        self._in_hand: dict[Id, list[Exchange]] = {}

    # -- for the server ------------------------------------------------------------------------------

    def begin(self, peer: Peer) -> None:
        self.peer = peer
        fields = [line for line in peer.head.fields if line[0] not in _OF_HANDSHAKE]
        self._fields = [*fields, (b"content-type", CONTENT_TYPE.encode())]

    def end(self) -> None:
        self.has_ended = True

    def receive(self, message: str | bytes) -> RequestHead | None:
        content = message.encode() if isinstance(message, str) else message
        try:
            outline = _outline_of(content)
        except (ValueError, RecursionError):  # the answer says what is wrong with it
            exchange, method = Exchange(self, [], is_batch=True, is_silent=False), None
        else:
            if isinstance(outline, list):
                exchange, method = self._exchange_of(outline, is_batch=True), None
            elif _cancels(outline):
                self._cancel(outline)
                return None
            else:
                exchange, method = self._exchange_of([outline], is_batch=False), outline.method
        if self.peer.is_draining:
            return None  # and it is closed with 1001, so that the caller knows that it was not run
        return self._request(content, exchange, method)

    def _exchange_of(self, outlines: list[_Outline], is_batch: bool) -> Exchange:
        ids = list(dict.fromkeys(outline.id for outline in outlines if _is_id(outline.id)))
        are_notifications = all(outline.id is ABSENT and type(outline.method) is str for outline in outlines)
        return Exchange(self, ids, is_batch, are_notifications)

    def _request(self, content: bytes, exchange: Exchange, method: Any) -> RequestHead:
        """Return a message as the POST it is answered as."""
        handshake = self.peer.head
        head = RequestHead("POST", handshake.target, (1, 1), self._fields, handshake.origin, content)
        if self._app.native_match(head) is not None:
            head.route, head.arguments = self._view.route_of(method), {}
        environ = environ_of(head)
        environ["CONTENT_LENGTH"] = str(len(content))
        environ[_EXCHANGE] = exchange
        with self.lock:
            for id in exchange.ids:
                self._in_hand.setdefault(id, []).append(exchange)
        return head

    def reply(self, head: RequestHead, message: ResponseMessage, content: bytes) -> str | None:
        exchange: Exchange = environ_of(head)[_EXCHANGE]
        with self.lock:
            for id in exchange.ids:
                others = [other for other in self._in_hand.get(id, ()) if other is not exchange]
                if others:
                    self._in_hand[id] = others
                else:
                    self._in_hand.pop(id, None)
            if exchange.is_answered:
                return None
            exchange.is_answered = True  # too late to cancel it
        text = _response_in(message, content)
        if text is not None or exchange.is_silent:
            return text
        id = exchange.ids[0] if exchange.ids and not exchange.is_batch else None
        if message.status.startswith("204") and not exchange.is_batch:
            return _text_of(protocol.response(id, None))
        # A hook of the application, or the server, has answered in the place of the method.
        return _text_of(protocol.error_response(id, _of_status(int(message.status[:3])).jsonrpc_format))

    # -- from and to the caller ------------------------------------------------------------------------

    def _cancel(self, outline: _Outline) -> None:
        """Do what a caller asks for: `rpc.cancel` with the id of a call."""
        try:
            params = msgspec.json.decode(outline.params)
        except (ValueError, RecursionError):
            params = None
        match params:
            case {"id": id} | [id] if _is_id(id):
                with self.lock:
                    exchanges = list(self._in_hand.get(id, ()))
                for exchange in exchanges:
                    exchange.cancel(id)
                if outline.id is not ABSENT:
                    self.peer.send(_text_of(protocol.response(outline.id, bool(exchanges))))
            case _ if outline.id is not ABSENT:
                message = f"{CANCEL} takes the id of a call"
                self.send_error(outline.id, InvalidParamsError(data={"message": message}))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Tell the caller something, unless it has more to read already."""
        if not self.peer.is_behind:
            self.peer.send(_text_of({"jsonrpc": protocol.VERSION, "method": method, "params": params}))

    def send_error(self, id: Id, error: JSONRPCError) -> None:
        self.peer.send(_text_of(protocol.error_response(id, error.jsonrpc_format)))


def _text_of(message: dict[str, Any]) -> str:
    return encoding.encode(message).decode().rstrip("\n")


def _response_in(message: ResponseMessage, content: bytes) -> str | None:
    """Return the Response object or objects in an answer; None when it holds none."""
    if b'"jsonrpc"' not in content or b"application/json" not in message.field_lines:
        return None
    try:
        return content.decode().rstrip("\n")
    except UnicodeDecodeError:
        return None


def _of_status(status: int) -> ServerError:
    """Return what an answer of HTTP says to a call, as `abort` in its method would."""
    error = ServerError(data={"status": status})
    error.message = HTTPStatus(status).phrase if status in _STATUSES else "Server error"
    return error


_STATUSES = frozenset(status.value for status in HTTPStatus)
