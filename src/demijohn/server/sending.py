"""An answer on its way out: what is left of it, and where its next bytes come from."""

from __future__ import annotations

import io
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

from ..environ import FileWrapper
from ..message import RequestHead, ResponseMessage
from ..typing import Route
from .framing import Framing

log = logging.getLogger("demijohn.server")

FAILED = "the application failed"

# A file goes out in turns of at most this, so that a fast reader of a large one does not keep the thread.
SENDFILE_BYTES = 1 << 20


class Answer:
    """An answer that could not be sent in one go.

    failure: why it cannot be completed, to be raised when all that there was has been sent.
    taken_bytes: how much the socket has taken; waited_s: how long that has waited for the peer to read.
    """

    __slots__ = (
        "begun",
        "failure",
        "file",
        "file_left",
        "file_offset",
        "head",
        "message",
        "parts",
        "route",
        "sent_bytes",
        "taken_bytes",
        "waited_s",
    )

    def __init__(self, head: RequestHead, message: ResponseMessage, route: Route, begun: float) -> None:
        self.head = head
        self.message = message
        self.route = route
        self.begun = begun
        self.parts: Iterator[bytes] | None = None
        self.failure: Truncated | None = None
        self.file: BinaryIO | None = None
        self.file_offset = self.file_left = 0
        self.sent_bytes = 0  # of content
        self.taken_bytes = 0
        self.waited_s = 0.0


class Truncated(Exception):
    """The content of an answer ended early or failed: the peer must not take it for complete."""


def next_part(answer: Answer) -> bytes | None:
    """Return the next part of content that the application makes, None when there are no more.

    Raises Truncated when the application fails.
    """
    try:
        return checked(taker(answer)())
    except BaseException as error:  # of the application, as in `handle`
        raise Truncated(FAILED) from error


def taker(answer: Answer) -> Callable[[], Any]:
    """Return what gives the next part of content, None at the end."""
    assert answer.parts is not None
    context = answer.message.context
    return partial(next, answer.parts, None) if context is None else partial(context.run, next, answer.parts, None)


def checked(part: Any) -> bytes | None:
    if part is not None and not isinstance(part, bytes):
        raise TypeError(f"the content came as {type(part).__name__}, not as bytes")
    return part


def framed(answer: Answer, framing: Framing, parts: list[bytes], is_last: bool) -> bytes:
    """Return parts with their framing, and with what ends the content when they are the last.

    When there are no more to come, `parts` of the answer is None, and `failure` says whether they were too few.
    """
    data = b""
    if parts:
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        data = framing.part_bytes(content)
        answer.sent_bytes += len(content)
        if framing.overlong:
            log.error("The content of %s is longer than its Content-Length and was cut", answer.head)
            answer.parts = None
    if is_last:
        answer.parts = None
        if framing.missing:
            answer.failure = Truncated(f"the content is {framing.missing} bytes shorter than its Content-Length")
        data += framing.end_bytes()
    return data


def in_context(message: ResponseMessage, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what the application gave with its answer, with the context variables that belong to the request."""
    return function(*arguments) if message.context is None else message.context.run(function, *arguments)


def use_file(answer: Answer, wrapper: FileWrapper, by_kernel: bool) -> None:
    """Declare the length of a real file and, unless it has to be encrypted, let the kernel send it.

    Real is one that reads as its descriptor does (a GzipFile has one too, and does not).
    """
    file = wrapper.filelike
    if type(file) not in (io.BufferedReader, io.BufferedRandom, io.FileIO):
        return
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return
    if answer.message.content_length is None:
        answer.message.content_length = max(0, status.st_size - file.tell())
    if by_kernel:
        answer.file = file
        answer.file_offset = file.tell()
        answer.file_left = answer.message.content_length


def send_file(sock: socket.socket, answer: Answer) -> int:
    assert answer.file is not None
    sent = os.sendfile(sock.fileno(), answer.file.fileno(), answer.file_offset, min(answer.file_left, SENDFILE_BYTES))
    if not sent:
        raise Truncated(f"the file ended {answer.file_left} bytes before its Content-Length")
    answer.file_offset += sent
    answer.file_left -= sent
    answer.taken_bytes += sent
    answer.sent_bytes += sent
    return sent
