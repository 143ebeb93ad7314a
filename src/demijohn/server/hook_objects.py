"""What hooks are given: the attributes of gunicorn's arbiter, worker, request and response that hooks use.

Made only where there is a hook, and from what there is anyway: a server without hooks pays nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from ..environ import environ_of, split_target
from ..message import RequestHead, ResponseMessage, Suspended, Watched
from ..typing import Gateway, Route
from .framing import plain_answer
from .hooks import Hook
from .log import log
from .settings import Configuration, Settings
from .wsgi import internal_error


class HookError(Exception):
    """A hook failed before anything was served; the message names it, and its traceback is in the log."""


def call(name: str, hook: Hook, *arguments: object) -> bool:
    """Call a hook, if there is one; whether it went well. What it raises is logged."""
    if hook is None:
        return True
    try:
        hook(*arguments)
    except Exception:
        log.exception("The hook %s failed", name)
        return False
    return True


def must_call(name: str, hook: Hook, *arguments: object) -> None:
    """Call a hook without which the server must not go on. Raises HookError."""
    if not call(name, hook, *arguments):
        raise HookError(f"The hook {name} failed")


class HookServer:
    """The arbiter, as hooks see it.

    WORKERS: those there are, by process id.
    num_workers: how many there are to be.
    address: where it listens, as in the settings.
    """

    log: logging.Logger = log

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self.WORKERS: dict[int, HookWorker] = {}
        self.num_workers = settings.workers
        self.use_settings(settings)

    def use_settings(self, settings: Settings) -> None:
        """Show the settings of a reload."""
        self.cfg = Configuration(settings)
        self.address = list(settings.bind)
        self.proc_name = settings.name
        self.timeout = settings.timeout_s


class HookWorker:
    """A worker, as hooks see it; whatever else a hook wants to keep with it may be set.

    age: the number of workers that were started before it.
    pid: None before it is forked.
    alive: False once it has been asked to stop.
    """

    log: logging.Logger = log

    def __init__(self, age: int, server: HookServer, answered: Callable[[], int]) -> None:
        self.age = age
        self.pid: int | None = None
        self.ppid = server.pid
        self.cfg = server.cfg
        self.timeout = server.timeout
        self.alive = True
        self.aborted = False
        self._answered = answered

    @property
    def nr(self) -> int:
        """How many requests it has answered, up to a quarter of a second ago."""
        return self._answered()

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"


class HookRequest:
    """A request, as hooks see it: the same object before and after, on which they may set what they like."""

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.method = head.method
        self.uri = head.target.decode("latin-1")
        self.version = head.version

    @property
    def path(self) -> str:
        return split_target(self.head.target)[1].decode("latin-1")

    @property
    def query(self) -> str:
        return split_target(self.head.target)[2].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields, their names in upper case, as gunicorn has them."""
        return [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in self.head.fields]

    @property
    def scheme(self) -> str:
        return self.head.origin.scheme

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """Address and port of the peer; None on a Unix socket."""
        return self.head.origin.client

    peer_addr = remote_addr


class HookResponse:
    """An answer, as hooks see it."""

    headers_sent = True

    def __init__(self, message: ResponseMessage) -> None:
        self._message = message
        self.status = message.status
        self.status_code = int(message.status[:3])

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self._message.field_lines.decode("latin-1").split("\r\n")[:-1]
        pairs = (line.partition(": ") for line in lines)
        return [(name, value) for name, _, value in pairs]

    @property
    def response_length(self) -> int | None:
        """The declared length of the content in bytes; None when it is not known before it is sent."""
        content = self._message.content
        return len(content) if isinstance(content, bytes) else self._message.content_length


class RequestHooks:
    """The hooks of requests, for an engine that has no gateway to call them around."""

    def __init__(self, worker: HookWorker, pre_request: Hook, post_request: Hook) -> None:
        self._worker = worker
        self._pre_request = pre_request
        self._post_request = post_request

    def before(self, request: HookRequest) -> None:
        """Raises what `pre_request` raises."""
        if self._pre_request is not None:
            self._pre_request(self._worker, request)

    def after(self, request: HookRequest, message: ResponseMessage | None) -> None:
        """Call `post_request`. Without a message, the client was gone before there was an answer: nginx's 499."""
        if self._post_request is not None:
            answer = HookResponse(message or plain_answer(499, "The client has gone."))
            environ: Mapping[str, Any] = environ_of(request.head)
            call("post_request", self._post_request, self._worker, request, environ, answer)


class HookedGateway:
    """A gateway around another, which calls the hooks of requests."""

    def __init__(self, gateway: Gateway, hooks: RequestHooks) -> None:
        self._gateway = gateway
        self._hooks = hooks

    def match(self, head: RequestHead) -> Route:
        return self._gateway.match(head)

    def refuses(self, head: RequestHead) -> bool:
        return self._gateway.refuses(head)

    def handle(self, head: RequestHead) -> ResponseMessage | Suspended:
        request = HookRequest(head)
        answer: ResponseMessage | Suspended
        try:
            self._hooks.before(request)
        except BaseException:  # the user's code: as when a view fails
            answer = internal_error(head)
        else:
            answer = self._gateway.handle(head)
        if isinstance(answer, Suspended):
            return Watched(answer, lambda message: self._followed(request, message))
        return self._followed(request, answer)

    def _followed(self, request: HookRequest, message: ResponseMessage) -> ResponseMessage:
        """Have `post_request` called when the answer is out or given up."""
        close = message.close

        def finish() -> None:
            try:
                if close is not None:
                    close()
            finally:
                self._hooks.after(request, message)

        message.close = finish
        return message
