"""Answers on their way out, to the end of the connection where they are the last."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from ..environ import FileWrapper
from ..message import ProtocolError, RequestHead, ResponseMessage, Suspended
from ..typing import Route
from .connections import IDLE, LINGERING, SENDING, Client, Connections, Job, peer_of
from .forking import end_copy
from .framing import AnswerHeads, plain_answer
from .gathering import Gatherer
from .leadership import Member, Team
from .poller import READ, WRITE, Poller
from .sending import SENDFILE_BYTES, Answer, Truncated, framed, in_context, next_part, send_file, use_file
from .settings import Settings
from .waiting import late_answer

if TYPE_CHECKING:
    from .tls import TLSSocket

log = logging.getLogger("demijohn.server")

RECEIVE_BYTES = 65536
# RFC 9112 §9.6: how long to read and drop what a peer still sends after its last answer.
_LINGER_S = 2.0

OnRequest = Callable[[RequestHead, ResponseMessage, int, float, bool], object]
"""Called with each request, its answer, the bytes of content sent, the seconds it took, and whether all went out."""


# What `Answering._send` takes.
Departure = tuple[Member, Client, RequestHead, ResponseMessage, bytes, Route, float, float]


class Answering(Connections):
    """Sends answers, as fast as peers read them, and says what has become of each request."""

    def __init__(self, settings: Settings, poller: Poller, team: Team[Job], on_request: OnRequest | None) -> None:
        super().__init__(poller)
        self._settings = settings
        self._team = team
        self._on_request = on_request
        self._heads = AnswerHeads()
        self._outbox: deque[Departure] = deque()  # see `loop.py`
        self._outbox_since = 0.0  # when the first was put into it
        self._gatherer = Gatherer(team.attended, team.attend)
        if not settings.keep_alive_s:
            self._heads.drain()
        self._keep_alive_s = settings.keep_alive_s
        self._drain_asked = self._finished = False

    def _finish_if_drained(self) -> None:
        """Be told, once the worker drains, that a connection is closed."""

    # -- answers that are complete -------------------------------------------------------------------------

    def _send_out(self) -> None:
        """Send the answers that have waited for each other."""
        outbox = self._outbox
        while outbox:
            try:
                departure = outbox.popleft()
            except IndexError:  # another thread took the last
                return
            client = departure[1]
            try:
                if self._send(*departure):
                    self._await_next(client)
            except Exception:
                log.exception("The server failed on a connection and closed it")
                self._close(client)

    def _send(
        self,
        member: Member,
        client: Client,
        head: RequestHead,
        message: ResponseMessage,
        data: bytes,
        route: Route,
        asked: float,
        now: float,
    ) -> bool:
        """Send all of an answer to a request that came at `asked`. False when the connection is not the caller's now.

        `member` is who made it, and `now` when that was.
        """
        try:
            sent = client.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            client.answer = Answer(head, message, route, asked)
            self._close(client)  # the peer is gone
            return False
        if sent != len(data):
            client.answer = Answer(head, message, route, asked)
            client.answer.sent_bytes = len(message.content)  # type: ignore[arg-type]  # as `_answer` has seen
            client.unsent = memoryview(data)[sent:]
            self._wait_for(client, SENDING, WRITE, now + self._settings.answer_timeout_s)
            return False
        if head.spool is not None:
            head.spool.close()
        member.answered += 1
        client.deadline = now + self._keep_alive_s
        client.state = IDLE
        if self._on_request is not None:
            self._report(head, message, len(message.content), now - asked)  # type: ignore[arg-type]
        return True

    # -- answers that take more than one send ------------------------------------------------------------

    def _begin_answer(self, member: Member, client: Client, answer: Answer, begun: float) -> bool:
        """Send an answer whose content is no bytes, or that wants to be told when it is out. Returns as `_answer`.

        `begun` is when the thread began to work on it. Up to its first part, an answer may still be too late.
        """
        member.since = begun
        if isinstance(answer.message.content, FileWrapper):
            use_file(answer, answer.message.content, by_kernel=self._settings.sendfile and client.origin.tls is None)
        try:
            data = client.http.respond(answer.head, answer.message)
            framing = client.http.framing
            content = answer.message.content
            if isinstance(content, bytes):
                answer.sent_bytes = len(content)
            elif framing is None:
                answer.file_left = 0
            elif answer.file is None:
                answer.parts = filter(None, content)
                # With the first part, so that one packet carries both, and a failure can still be answered as one.
                first = next_part(answer)
                data += framed(answer, framing, [] if first is None else [first], is_last=first is None)
                if answer.failure is not None:
                    raise answer.failure
        except Exception as error:
            self._close_content(answer.head, answer.message)
            answer.message = failure_of(answer.head, error)
            answer.parts = answer.failure = None
            data = client.http.respond(answer.head, answer.message)
        member.since = 0.0
        if member.claimed and self._drops(member, answer.head, answer.message):
            return False
        client.answer = answer
        client.unsent = data
        return self._send_on(member, client, answer, begun)

    def _send_on(self, member: Member, client: Client, answer: Answer, begun: float | None = None) -> bool:
        """Send what the socket takes. Returns as `_answer`; the peer may have to read before there is more to do."""
        member.connection = client
        member.head = answer.head
        member.route = answer.route
        sending = monotonic()
        member.since = sending if begun is None else begun
        try:
            done = self._transmit(client, answer)
            if done:
                self._close_content(answer.head, answer.message)
                client.answer = None  # not before: to the very end, no other answer may be sent
        except Truncated as error:
            log.error(
                "The answer to %s %s was cut off: %s",
                answer.head.method,
                answer.head.target.decode("latin-1"),
                error,
                exc_info=error.__cause__,
            )
            self._abort(client)
            return False
        except OSError:
            self._close(client)  # the peer is gone
            return False
        finally:
            now = monotonic()
            member.since = 0.0
            if answer.file is None:
                member.learn(answer.route, now - (sending if begun is None else begun))
            elif begun is not None:
                # How long the kernel takes for a file is no matter of the view, unless the watch finds it too long.
                member.learn(answer.route, sending - begun)
        if not done:
            if answer.message.context is None:  # who sends the rest may have answered other requests in between
                answer.message.context = contextvars.copy_context()
            self._await_reader(client, answer, now)
            return False
        member.answered += 1
        client.deadline = now + self._keep_alive_s
        client.state = IDLE
        if self._on_request is not None:
            self._report(answer.head, answer.message, answer.sent_bytes, now - answer.begun)
        return True

    def _await_next(self, client: Client) -> None:
        """Wait for the next request; deadline and state are set with the answer."""
        if client.events == READ:
            # As `_release` does.
            self._idle[client.fd] = client
            if client.disarmed:
                self._arm_again(client)
        else:
            self._wait_for(client, IDLE, READ, client.deadline)

    def _await_reader(self, client: Client, answer: Answer, now: float) -> None:
        """Wait for the peer to read. It has its time for each turn, and for all of them, unless it keeps up a rate."""
        settings = self._settings
        in_all_s = settings.answer_timeout_s + answer.taken_bytes / settings.min_body_rate - answer.waited_s
        client.since = now
        self._wait_for(client, SENDING, WRITE, now + min(settings.answer_timeout_s, in_all_s))

    def _transmit(self, client: Client, answer: Answer) -> bool:
        """Whether all of the answer went out. Raises OSError when the peer is gone, and Truncated."""
        file_bytes = 0
        while True:
            try:
                unsent = client.unsent
                if unsent is not None:
                    # In front of a file, the head waits for it: one packet less.
                    sent = client.sock.send(unsent, socket.MSG_MORE) if answer.file_left else client.sock.send(unsent)
                    answer.taken_bytes += sent
                    if sent < len(unsent):
                        client.unsent = memoryview(unsent)[sent:]
                        return False
                    client.unsent = None
                elif answer.failure is not None:
                    raise answer.failure
                elif answer.parts is not None and client.http.framing is not None:
                    self._gatherer.fill(client, answer, client.http.framing)
                elif answer.file_left:
                    if file_bytes >= SENDFILE_BYTES:
                        return False
                    file_bytes += send_file(client.sock, answer)
                else:
                    return True
            except BlockingIOError:
                return False

    def _drops(self, member: Member, head: RequestHead, message: ResponseMessage | Suspended) -> bool:
        """Whether a thread comes out of its view too late; then what it brings is dropped."""
        if self._is_copy:
            end_copy()
        if not self._team.was_abandoned(member):
            return False
        log.info("The late answer to %s %s is dropped", head.method, head.target.partition(b"?")[0].decode("latin-1"))
        if isinstance(message, Suspended):
            try:
                message.close()
            except BaseException:  # of the application, as in `handle`
                log.exception("The application failed while its late answer was dropped")
            message = late_answer()
        self._close_content(head, message)
        return True

    # -- the end of connections ----------------------------------------------------------------------------

    def _refuse(self, client: Client, error: ProtocolError) -> None:
        if error.__cause__ is None:
            log.info("Refused a request of %s: %s", peer_of(client), error)
        else:
            log.error("Could not take a request of %s: %s", peer_of(client), error.__cause__)
        if self._on_request is not None:
            message = plain_answer(error.status, error.detail)
            wall_s = 0.0 if client.state == IDLE else monotonic() - client.since
            self._report(client.http.refused_head(), message, message.content_length or 0, wall_s)
        self._answer_with(client, error)

    def _answer_with(self, client: Client, error: ProtocolError, head: RequestHead | None = None) -> None:
        """Let an error be the last answer of an owned connection; `head` is of the request, if it is complete."""
        client.lingers = True
        answer = client.http.respond_to_error(error, head)
        with contextlib.suppress(OSError):
            # Not finished when the socket does not take it at once: the peer broke a rule and does not read either.
            client.sock.send(answer)
        self._end(client)

    def _end(self, client: Client) -> None:
        """Close an owned connection whose last answer is out, not before the peer has read it."""
        if self._finished or not (client.lingers or self._heads.draining):
            # The peer asked for the end itself and sends nothing more, or there is nobody left to wait for it.
            self._close(client)
            return
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(client)
            return
        self._wait_for(client, LINGERING, READ, monotonic() + _LINGER_S)

    def _linger_on(self, client: Client) -> None:
        try:
            data = client.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            self._release(client)
            return
        except OSError:
            data = b""
        if data:
            self._release(client)  # dropped; the deadline stays
        else:
            self._close(client)

    def _abort(self, client: Client) -> None:
        """Close so that the peer can tell an answer from a complete one."""
        framing = client.http.framing
        if framing is not None and framing.ends_with_connection:
            # Only a reset can say it (RFC 9112 §8).
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if client.origin.tls is not None:
                cast("TLSSocket", client.sock).reset()
        self._close(client)

    def _close(self, client: Client) -> None:
        """Close an owned connection."""
        if not self._part_with(client):
            return
        client.http.close()
        origin = client.origin  # what holds it itself
        origin.lend_socket = origin.send_hints = origin.environ_start = None
        answer = client.answer
        if answer is not None:
            self._close_content(answer.head, answer.message)
            client.answer = None
            if self._on_request is not None:
                sent_bytes = answer.sent_bytes - len(client.unsent or b"")
                self._report(answer.head, answer.message, max(0, sent_bytes), monotonic() - answer.begun, False)
        if self._drain_asked:
            self._finish_if_drained()

    def _close_watched(self, member: Member, client: Client) -> None:
        """Close an owned connection whose answer is under way; what the application does then may take long."""
        answer = client.answer
        assert answer is not None
        member.connection, member.head, member.route = client, answer.head, answer.route
        member.since = monotonic()
        try:
            self._close(client)
        finally:
            member.since = 0.0

    def _close_content(self, head: RequestHead, message: ResponseMessage) -> None:
        """Close the content of an answer, and of its request, which the one may have been made of."""
        if head.spool is not None:
            head.spool.close()
        close, message.close = message.close, None
        if close is not None:
            try:
                in_context(message, close)
            except BaseException:  # of the application, as in `handle`
                log.exception("The application failed in close(), after its answer")

    def _report(
        self, head: RequestHead, message: ResponseMessage, content_bytes: int, wall_s: float, is_complete: bool = True
    ) -> None:
        assert self._on_request is not None
        try:
            self._on_request(head, message, 0 if head.method == "HEAD" else content_bytes, wall_s, is_complete)
        except Exception:
            log.exception("A request could not be reported")


def failure_of(head: RequestHead, error: Exception) -> ResponseMessage:
    """Log why the application's answer cannot be sent, and return the answer there is instead."""
    log.error("The answer to %s %s is unusable", head.method, head.target.decode("latin-1"), exc_info=error)
    return plain_answer(500, "The server met an error and could not answer the request.")
