"""One line per request, in the formats gunicorn's users know, or as JSON.

What peers send must not pass for anything but a part of its line, whatever it is. In text, quotes and backslashes are
escaped, and everything but printable ASCII is written in hexadecimal; in JSON all of that has JSON's own escapes.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii

from ..environ import environ_of, split_target
from ..message import RequestHead, ResponseMessage, origin_of
from .proxy import queued_s


@dataclass(slots=True)
class Answered:
    """A request that has been answered: what a line is made of.

    content_bytes: of the answer's content as sent; wall_s: seconds from the complete request to the answer.
    is_complete: whether all of the answer went out.
    """

    head: RequestHead
    message: ResponseMessage
    content_bytes: int
    wall_s: float
    is_complete: bool = True


Value = bytes | str | int | float | None
"""What an atom finds: bytes as the peer sent them, text and numbers of our own, None for what there is not."""

Atom = Callable[[Answered], Value]

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0x100))} | {0x22: '\\"', 0x5C: "\\\\"}


def escaped(value: bytes) -> str:
    """Return `value` as text that cannot be taken for anything but a part of its line."""
    return value.decode("latin-1").translate(_ESCAPES)


# -- atoms ----------------------------------------------------------------------------------------


def _peer(answered: Answered) -> str | None:
    client = origin_of(answered.head).client
    return client[0] if client else None


def _queued_s(answered: Answered) -> float | None:
    waited_s = queued_s(answered.head, time.time() - answered.wall_s)
    return None if waited_s is None else round(waited_s, 6)


def _user(answered: Answered) -> bytes | None:
    scheme, _, token = (answered.head.field(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(token).partition(b":")[0]
    except binascii.Error:
        return None


class _Clock:
    """The time as a line has it; made anew only when the second changes."""

    def __init__(self, time_format: str) -> None:
        self._format = time_format
        self._shown = (0, "")

    def __call__(self, answered: Answered) -> str:
        now = int(time.time())
        second, text = self._shown
        if second != now:
            text = time.strftime(self._format, time.localtime(now))
            self._shown = (now, text)
        return text


def _protocol(answered: Answered) -> str:
    major, minor = answered.head.version
    return f"HTTP/{major}.{minor}"


def _request_line(answered: Answered) -> bytes:
    head = answered.head
    if not head.method:
        return head.target  # what came was no request, see `Connection.refused_head`
    return b"%b %b HTTP/%d.%d" % (head.method.encode("latin-1"), head.target, *head.version)


def _path(answered: Answered) -> bytes:
    return split_target(answered.head.target)[1]


def _query(answered: Answered) -> bytes:
    return split_target(answered.head.target)[2]


def _request_field(name: str) -> Atom:
    wanted = name.encode("latin-1")

    def atom(answered: Answered) -> bytes | None:
        values = [value for known, value in answered.head.fields if known == wanted]
        return b", ".join(values) if values else None

    return atom


def _response_field(name: str) -> Atom:
    if name == "content-length":
        return _content_length
    wanted = re.compile(rb"^%b:[ \t]*(.*)\r\n" % re.escape(name.encode("latin-1")), re.IGNORECASE | re.MULTILINE)

    def atom(answered: Answered) -> bytes | None:
        values = wanted.findall(answered.message.field_lines)
        return b", ".join(values) if values else None

    return atom


def _content_length(answered: Answered) -> int | None:
    message = answered.message
    if message.content_length is None and isinstance(message.content, bytes):
        return len(message.content)
    return message.content_length


def _variable(name: str) -> Atom:
    def atom(answered: Answered) -> Value:
        head = answered.head
        if head.environ is None and head.spool is not None:
            return None  # the environ counts content, whose file is closed by now
        for known, value in environ_of(head).items():
            if known.lower() == name:
                return value if isinstance(value, str | int | None) else str(value)
        return None

    return atom


# By gunicorn's letters (https://docs.gunicorn.org/en/stable/settings.html#access-log-format), and Apache's X.
ATOMS: dict[str, Atom] = {
    "h": _peer,
    "l": lambda answered: None,
    "u": _user,
    "t": _Clock("[%d/%b/%Y:%H:%M:%S %z]"),
    "r": _request_line,
    "m": lambda answered: answered.head.method or None,
    "U": _path,
    "q": _query,
    "H": _protocol,
    "s": lambda answered: answered.message.status[:3],
    "b": lambda answered: answered.content_bytes or None,
    "B": lambda answered: answered.content_bytes,
    "f": _request_field("referer"),
    "a": _request_field("user-agent"),
    "T": lambda answered: int(answered.wall_s),
    "M": lambda answered: int(answered.wall_s * 1e3),
    "D": lambda answered: int(answered.wall_s * 1e6),
    "L": lambda answered: f"{answered.wall_s:.6f}",
    "Q": _queued_s,
    "p": lambda answered: f"<{os.getpid()}>",
    "X": lambda answered: None if answered.is_complete else "X",
}
_NUMBERS = "BTMD"
_FAMILIES = {"i": _request_field, "o": _response_field, "e": _variable}


def _atom(name: str) -> Atom:
    """Return the atom called `name`: a letter, or `{name}` and the letter of a family. Raises ValueError."""
    if name in ATOMS:
        return ATOMS[name]
    found = re.fullmatch(r"\{([!-z|~]+)\}([ioe])", name)
    if found is None:
        raise ValueError(
            f"%({name})s is not known; there are {', '.join(ATOMS)}, {{field}}i, {{field}}o and {{variable}}e"
        )
    return _FAMILIES[found[2]](found[1].lower())


# -- lines of text --------------------------------------------------------------------------------


def compile_format(line_format: str) -> Callable[[Answered], str]:
    """Return the function that makes a line of this format: one of atoms, `%(h)s "%(r)s" %(s)s`, or `json`.

    Raises ValueError for what is neither.
    """
    if line_format.split(maxsplit=1)[:1] == ["json"]:
        return _compile_json(line_format)
    atoms: list[Atom] = []

    def placeholder(found: re.Match[str]) -> str:
        name, flags, conversion = found[1], found[2], found[3]
        if name is None:
            if found[0] == "%%":
                return "%%"
            raise ValueError(f"what follows the % in {line_format[found.start() :]!r} is no atom; a % itself is %%")
        atom = _atom(name)
        if conversion == "s":
            atoms.append(_in_text(atom, quoted=name != "u"))
        elif name in _NUMBERS:
            atoms.append(atom)
        else:
            raise ValueError(f"%({name}){conversion} wants a number, and {name} is text: write %({name})s")
        return f"%{flags}{conversion}"

    template = re.sub(r"%(?:%|\((.*?)\)([-+ #0]*\d*(?:\.\d+)?)([a-zA-Z])|)", placeholder, line_format)
    return lambda answered: template % tuple([atom(answered) for atom in atoms])


def _in_text(atom: Atom, quoted: bool) -> Atom:
    """Let an atom answer with text; where no quotes stand around it, a space in it would end it."""

    def text(answered: Answered) -> Value:
        value = atom(answered)
        if type(value) is bytes:
            found = escaped(value)
        elif type(value) is str:
            found = escaped(value.encode("utf-8", "backslashreplace"))
        else:
            return "-" if value is None else value
        return (found if quoted else found.replace(" ", "\\x20")) or "-"

    return text


# -- lines of JSON --------------------------------------------------------------------------------

_JSON_MEMBERS: dict[str, Atom] = {
    "time": _Clock("%Y-%m-%dT%H:%M:%S%z"),
    "peer": _peer,
    "user": _user,
    "method": ATOMS["m"],
    "target": lambda answered: answered.head.target,
    "protocol": _protocol,
    "status": lambda answered: int(answered.message.status[:3]),
    "bytes": ATOMS["B"],
    "seconds": lambda answered: round(answered.wall_s, 6),
    "complete": lambda answered: answered.is_complete,
    "referer": ATOMS["f"],
    "user_agent": ATOMS["a"],
    "pid": lambda answered: os.getpid(),
}


def _compile_json(line_format: str) -> Callable[[Answered], str]:
    """Return the function that makes an object of the usual members and of `name=atom` after the word `json`."""
    members = dict(_JSON_MEMBERS)
    for word in line_format.split()[1:]:
        name, equals, atom = word.partition("=")
        if not (name and equals):
            raise ValueError(f"{word!r} is no member: write name=atom, such as request_id={{x-request-id}}i")
        members[name] = _atom(atom)
    keys = ", ".join(f"{encode_basestring_ascii(name).replace('%', '%%')}: %s" for name in members)
    template = f"{{{keys}}}"
    atoms = list(members.values())
    return lambda answered: template % tuple([_in_json(atom(answered)) for atom in atoms])


def _in_json(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return encode_basestring_ascii(text).replace("\x7f", "\\u007f")


# -- the log --------------------------------------------------------------------------------------


OnAccess = Callable[[RequestHead, ResponseMessage, int, float, bool], object]


class AccessLog:
    """Writes a line for each request it is told of."""

    def __init__(self, line_format: str, write_line: Callable[[str], object]) -> None:
        """Raises ValueError for a format there is not."""
        self._line_of = compile_format(line_format)
        self._write_line = write_line

    def __call__(
        self, head: RequestHead, message: ResponseMessage, content_bytes: int, wall_s: float, is_complete: bool
    ) -> None:
        self._write_line(self._line_of(Answered(head, message, content_bytes, wall_s, is_complete)))
