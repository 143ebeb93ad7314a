"""One line for each request, in the format gunicorn's users know."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..message import RequestHead, ResponseMessage

DEFAULT_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


@dataclass(slots=True)
class Answered:
    """A request that has been answered: what a line is made of.

    content_bytes: of the answer's content as sent; wall_s: seconds from the complete request to the answer.
    """

    head: RequestHead
    message: ResponseMessage
    content_bytes: int
    wall_s: float


# What peers send must not end a line, a quoted part or a terminal's patience: quotes and backslashes are escaped,
# and everything but printable ASCII is written as its bytes in hexadecimal.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0x100))} | {0x22: '\\"', 0x5C: "\\\\"}


def escaped(value: bytes) -> str:
    """Return `value` as text that cannot be taken for anything but a part of its line."""
    return value.decode("latin-1").translate(_ESCAPES)


def _field(name: bytes) -> Callable[[Answered], str]:
    def atom(answered: Answered) -> str:
        value = answered.head.field(name)
        return escaped(value) if value else "-"

    return atom


def _peer(answered: Answered) -> str:
    client = answered.head.origin.client
    return client[0] if client else "-"


def _user(answered: Answered) -> str:
    scheme, _, token = (answered.head.field(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return "-"
    try:
        return escaped(base64.b64decode(token).partition(b":")[0]).replace(" ", "\\x20") or "-"
    except binascii.Error:
        return "-"


class _Clock:
    """The time as a line has it; made anew only when the second changes."""

    def __init__(self) -> None:
        self._shown = (0, "")

    def __call__(self, answered: Answered) -> str:
        now = int(time.time())
        second, text = self._shown
        if second != now:
            text = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(now))
            self._shown = (now, text)
        return text


def _request_line(answered: Answered) -> str:
    head = answered.head
    return f"{escaped(head.method.encode('latin-1'))} {escaped(head.target)} HTTP/{head.version[0]}.{head.version[1]}"


ATOMS: dict[str, Callable[[Answered], str]] = {
    "h": _peer,
    "l": lambda answered: "-",
    "u": _user,
    "t": _Clock(),
    "r": _request_line,
    "s": lambda answered: answered.message.status[:3],
    "b": lambda answered: str(answered.content_bytes) if answered.content_bytes else "-",
    "f": _field(b"referer"),
    "a": _field(b"user-agent"),
}


def compile_format(line_format: str) -> Callable[[Answered], str]:
    """Return the function that makes a line of this format, such as `DEFAULT_FORMAT`.

    Raises ValueError for an atom there is not.
    """
    atoms: list[Callable[[Answered], str]] = []

    def placeholder(found: re.Match[str]) -> str:
        name = found[1]
        if name not in ATOMS:
            raise ValueError(f"%({name})s is not known; there are {', '.join(ATOMS)}")
        atoms.append(ATOMS[name])
        return "%s"

    template = re.sub(r"%\((.*?)\)s", placeholder, line_format)
    return lambda answered: template % tuple([atom(answered) for atom in atoms])
