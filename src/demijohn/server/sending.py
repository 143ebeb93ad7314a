"""An answer on its way out: what is left of it, and where its next bytes come from."""

from __future__ import annotations

import io
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from ..environ import FileWrapper
from ..message import RequestHead, ResponseMessage
from ..typing import Route
from .http1 import Framing

log = logging.getLogger("demijohn.server")

# A file goes out in turns of at most this, so that a fast reader of a large one does not keep the thread.
SENDFILE_BYTES = 1 << 20


class Answer:
    """An answer that could not be sent in one go.

    taken_bytes: how much the socket has taken; waited_s: how long that has waited for the peer to read.
    """

    __slots__ = (
        "begun",
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
        self.file: BinaryIO | None = None
        self.file_offset = self.file_left = 0
        self.sent_bytes = 0  # of content
        self.taken_bytes = 0
        self.waited_s = 0.0


class Truncated(Exception):
    """The content of an answer ended early or failed: the peer must not take it for complete."""


def next_part(answer: Answer, framing: Framing) -> bytes:
    """Return the next bytes of content with their framing; none, and `parts` is None, when there are no more.

    Raises Truncated when the application fails or gives less than it declared.
    """
    assert answer.parts is not None
    context = answer.message.context
    try:
        part = next(answer.parts, None) if context is None else context.run(next, answer.parts, None)
        if part is not None and not isinstance(part, bytes):
            raise TypeError(f"the content came as {type(part).__name__}, not as bytes")
    except BaseException as error:  # of the application, as in `handle`
        raise Truncated("the application failed") from error
    if part is None:
        answer.parts = None
        if framing.missing:
            raise Truncated(f"the content is {framing.missing} bytes shorter than its Content-Length")
        return framing.end_bytes()
    data = framing.part_bytes(part)
    answer.sent_bytes += len(part)
    if framing.overlong:
        log.error("The content of %s is longer than its Content-Length and was cut", answer.head)
        answer.parts = None
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
