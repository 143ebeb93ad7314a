"""WebSocket (RFC 6455) with permessage-deflate (RFC 7692), the server's side of one connection.

Sans-I/O: no socket, clock, thread or logger. What a handshake must be is decided in `read_handshake`, what a frame must
be in `WebSocket._begin_frame`, how a connection ends in `WebSocket._fail` and `WebSocket.close_bytes`.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from ..message import TOKEN_CHARS, BadResponse, ProtocolError, RequestHead

# RFC 6455 §1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# RFC 6455 §5.2, opcodes.
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_CONTROL = 0x8
_FIN, _RSV1, _RSV23, _MASKED = 0x80, 0x40, 0x30, 0x80
_LONGEST_CONTROL = 125

# RFC 6455 §7.4.1, codes of closing.
NORMAL, GOING_AWAY, PROTOCOL_ERROR, NO_CODE, ABNORMAL = 1000, 1001, 1002, 1005, 1006
INVALID_DATA, TOO_BIG, INTERNAL_ERROR, SERVICE_RESTART = 1007, 1009, 1011, 1012

# What 426 has to say (RFC 6455 §4.4, RFC 9110 §15.5.22).
VERSION_LINES = b"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

# What a compressor of ours remembers: 4 KB of window and 16 KB of state instead of 32 KB and 256 KB, as each connection
# has one, and messages are short.
_WINDOW_BITS = 12
_MEMORY_LEVEL = 5
# RFC 7692 §7.2.1: how a compressed message ends before this is cut off.
_FLUSHED = b"\x00\x00\xff\xff"
# Shorter messages only grow.
_WORTH_COMPRESSING_BYTES = 64


# -- the opening handshake ------------------------------------------------------------------------


@dataclass(slots=True)
class Handshake:
    """What a client asks for: the token that accepts it, the subprotocols it offers, and the compression agreed on."""

    accept: bytes
    subprotocols: list[str]
    deflate: Deflate | None


@dataclass(frozen=True, slots=True)
class Deflate:
    """What was agreed on for permessage-deflate (RFC 7692 §7.1). `answer` is the extension as the server names it."""

    server_takes_over: bool
    client_takes_over: bool
    server_window_bits: int
    client_window_bits: int
    answer: bytes


def read_handshake(head: RequestHead, deflate: bool = True) -> Handshake:
    """Read the opening handshake; `deflate` says whether messages may be compressed.

    Raises ProtocolError (400, or 426 for another version of the protocol). RFC 6455 §4.2.1.
    """
    if head.method != "GET":
        raise ProtocolError(400, "The opening handshake of a WebSocket must be a GET request.")
    if _field_values(head, b"sec-websocket-version") != [b"13"]:
        raise ProtocolError(426, "This server speaks version 13 of the WebSocket protocol.")
    keys = _field_values(head, b"sec-websocket-key")
    if len(keys) != 1 or not _is_nonce(keys[0]):
        raise ProtocolError(400, "The Sec-WebSocket-Key must be 16 bytes in Base64.")
    subprotocols = _listed(head, b"sec-websocket-protocol")
    if any(name.translate(None, TOKEN_CHARS) for name in subprotocols):
        raise ProtocolError(400, "The Sec-WebSocket-Protocol is malformed.")
    from hashlib import sha1  # here, because OpenSSL takes 3 MB of a process that need not have it

    accept = base64.b64encode(sha1(keys[0] + _GUID).digest())
    return Handshake(accept, [name.decode() for name in subprotocols], _agreed(head) if deflate else None)


def _field_values(head: RequestHead, name: bytes) -> list[bytes]:
    return [value for known, value in head.fields if known == name]


def _listed(head: RequestHead, name: bytes) -> list[bytes]:
    """Return the members of a comma-separated list, which may be in several field lines (RFC 9110 §5.6.1)."""
    members = b",".join(_field_values(head, name)).split(b",")
    return [member for member in map(bytes.strip, members) if member]


def _is_nonce(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _agreed(head: RequestHead) -> Deflate | None:
    """Return the first offer of permessage-deflate that can be accepted (RFC 7692 §5.1)."""
    for offer in _listed(head, b"sec-websocket-extensions"):
        name, *parameters = (part.strip() for part in offer.split(b";"))
        if name == b"permessage-deflate" and (agreed := _accepted(parameters)) is not None:
            return agreed
    return None


def _accepted(parameters: list[bytes]) -> Deflate | None:
    """Return what an offer of permessage-deflate leads to; None to decline it (RFC 7692 §7.1)."""
    asked: dict[bytes, int | None] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition(b"=")
        bits = _window_bits(value.strip().strip(b'"')) if equals else None
        if name in asked or not _may_say(name, equals, bits):
            return None
        asked[name] = bits
    server_bits = asked.get(b"server_max_window_bits") or _WINDOW_BITS
    if server_bits < 9:
        return None  # zlib has no such window
    server_bits = min(server_bits, _WINDOW_BITS)
    answer = [b"permessage-deflate", b"server_max_window_bits=%d" % server_bits]
    answer += [name for name in (b"server_no_context_takeover", b"client_no_context_takeover") if name in asked]
    client_bits = 15
    if asked.get(b"client_max_window_bits"):
        client_bits = asked[b"client_max_window_bits"] or 15
        answer.append(b"client_max_window_bits=%d" % client_bits)
    return Deflate(
        server_takes_over=b"server_no_context_takeover" not in asked,
        client_takes_over=b"client_no_context_takeover" not in asked,
        server_window_bits=server_bits,
        client_window_bits=client_bits,
        answer=b"; ".join(answer),
    )


def _window_bits(value: bytes) -> int:
    """Return a number of window bits; 0 for what is none."""
    return int(value) if value in (b"8", b"9", b"10", b"11", b"12", b"13", b"14", b"15") else 0


def _may_say(name: bytes, equals: bytes, bits: int | None) -> bool:
    if name in (b"server_no_context_takeover", b"client_no_context_takeover"):
        return not equals
    if name == b"server_max_window_bits":
        return bool(bits)
    return name == b"client_max_window_bits" and bits != 0


# What the handshake itself says; an application that said it too would say it twice.
_OF_HANDSHAKE = frozenset(
    {b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol"}
)


def accept_lines(handshake: Handshake, subprotocol: str | None, names: Iterable[bytes]) -> list[bytes]:
    """Return the field lines that accept a handshake, without their ends. `names` are the application's own fields.

    Raises BadResponse for a subprotocol that the client has not offered, or a field that is the handshake's.
    """
    lines = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + handshake.accept]
    if subprotocol is not None:
        if subprotocol not in handshake.subprotocols:
            offered = ", ".join(handshake.subprotocols) or "none"
            raise BadResponse(f"the subprotocol {subprotocol!r} was not offered by the client, which offers {offered}")
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode())
    if handshake.deflate is not None:
        lines.append(b"Sec-WebSocket-Extensions: " + handshake.deflate.answer)
    for name in names:
        if name.lower() in _OF_HANDSHAKE:
            raise BadResponse(f"the header {name.decode('latin-1')} is the server's in the handshake of a WebSocket")
    return lines


# -- frames ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Closed:
    """The peer has closed, or broke a rule: the last event. `code` as in RFC 6455 §7.1.5, 1005 when it gave none."""

    code: int
    reason: str = ""


class _Failed(Exception):
    """The connection has to be failed (RFC 6455 §7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


Message = str | bytes


class WebSocket:
    """One connection after its opening handshake.

    events: what has arrived, in order: whole messages, and last a `Closed`; nothing is read after that.
    closing: whether a close frame of ours is out, so that nothing else may follow.
    limit_bytes: how large a message may be once it is decompressed.
    """

    __slots__ = (
        "_buffer",
        "_compressed",
        "_compressor",
        "_decoder",
        "_decompressor",
        "_deflate",
        "_fin",
        "_fragmented",
        "_left",
        "_mask",
        "_message_bytes",
        "_opcode",
        "_parts",
        "closing",
        "events",
        "limit_bytes",
    )

    def __init__(self, limit_bytes: int, deflate: Deflate | None = None) -> None:
        self.events: deque[Message | Closed] = deque()
        self.closing = False
        self.limit_bytes = limit_bytes
        self._deflate = deflate
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None
        self._buffer = bytearray()
        # Of the frame that is arriving; `_left` is None between frames.
        self._left: int | None = None
        self._opcode = 0
        self._fin = False
        self._mask = b""
        # Of the message that is arriving, in one frame or several.
        self._fragmented: int | None = None  # the opcode it began with
        self._compressed = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._parts: list[str] | list[bytes] = []
        self._message_bytes = 0

    # -- bytes in ----------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> bytes:
        """Take in what has arrived; `events` has what came of it. Returns what is to be sent for it. Raises nothing."""
        self._buffer += data
        answer = b""
        try:
            while not self._has_ended and (self._left is not None or self._begin_frame()):
                if self._opcode < _CONTROL:
                    if not self._read_data():
                        break
                elif (payload := self._maybe_control_payload()) is not None:
                    answer += self._control(payload)
                else:
                    break
        except _Failed as failure:
            answer += self._fail(failure)
        return answer

    @property
    def _has_ended(self) -> bool:
        return bool(self.events) and type(self.events[-1]) is Closed

    def receive_eof(self) -> None:
        """Note that the peer sends nothing more; without a close frame the connection ended abnormally."""
        if not self._has_ended:
            self.events.append(Closed(ABNORMAL))

    def _begin_frame(self) -> bool:
        """Read the head of a frame, when all of it is here (RFC 6455 §5.2)."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        first, second = buffer[0], buffer[1]
        opcode = first & 0x0F
        self._check_first_bytes(first, second, opcode)
        length, size = second & 0x7F, 2
        if length >= 126:
            size = 4 if length == 126 else 10
            if len(buffer) < size:
                return False
            least = 126 if length == 126 else 1 << 16
            length = int.from_bytes(buffer[2:size], "big")
            if length < least or length >> 63:
                raise _Failed(PROTOCOL_ERROR, "the length of a frame is not in its shortest form")
        if opcode < _CONTROL and self._message_bytes + length > self.limit_bytes:
            raise _Failed(TOO_BIG, f"a message has more than {self.limit_bytes} bytes")
        if len(buffer) < size + 4:
            return False
        self._mask = bytes(buffer[size : size + 4])
        del buffer[: size + 4]
        self._opcode = opcode
        self._fin = bool(first & _FIN)
        self._left = length
        if opcode < _CONTROL:
            self._begin_data(opcode, bool(first & _RSV1))
        return True

    def _check_first_bytes(self, first: int, second: int, opcode: int) -> None:
        if first & _RSV23 or (first & _RSV1 and (self._deflate is None or opcode not in (_TEXT, _BINARY))):
            raise _Failed(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode in (_TEXT, _BINARY):
            if self._fragmented is not None:
                raise _Failed(PROTOCOL_ERROR, "a message begins inside another one")
        elif opcode == _CONTINUATION:
            if self._fragmented is None:
                raise _Failed(PROTOCOL_ERROR, "there is nothing to continue")
        elif opcode > _PONG or opcode < _CLOSE:
            raise _Failed(PROTOCOL_ERROR, f"the opcode {opcode} is unknown")
        elif not first & _FIN or second & 0x7F > _LONGEST_CONTROL:
            raise _Failed(PROTOCOL_ERROR, "a control frame is fragmented or too long")
        if not second & _MASKED:
            raise _Failed(PROTOCOL_ERROR, "a frame is not masked")

    def _begin_data(self, opcode: int, compressed: bool) -> None:
        if opcode == _CONTINUATION:
            return
        self._fragmented = opcode
        self._compressed = compressed
        if opcode == _TEXT:
            self._decoder = codecs.getincrementaldecoder("utf-8")()

    def _read_data(self) -> bool:
        """Take in what is here of a data frame; whether that was all of it."""
        assert self._left is not None
        part = self._buffer[: self._left]
        del self._buffer[: len(part)]
        left = self._left - len(part)
        payload = unmasked(part, self._mask)
        turned = len(part) % 4
        self._mask = self._mask[turned:] + self._mask[:turned]
        self._left = left or None
        self._data(payload, self._fin and not left)
        return not left

    def _maybe_control_payload(self) -> bytes | None:
        """Return the payload of a control frame, when all of it is here."""
        length = self._left
        assert length is not None
        if len(self._buffer) < length:
            return None
        payload = unmasked(self._buffer[:length], self._mask)
        del self._buffer[:length]
        self._left = None
        return payload

    def _control(self, payload: bytes) -> bytes:
        if self._opcode == _PING:
            return b"" if self.closing else frame_bytes(_PONG, payload)
        if self._opcode == _PONG:
            return b""
        code, reason = _read_close(payload)
        self.events.append(Closed(code, reason))
        if self.closing:
            return b""
        # RFC 6455 §5.5.1: the answer usually has the code that came.
        self.closing = True
        return frame_bytes(_CLOSE, b"" if code == NO_CODE else code.to_bytes(2, "big"))

    def _data(self, payload: bytes, last: bool) -> None:
        if self._compressed:
            payload = self._decompress(payload, last)
        self._message_bytes += len(payload)
        if self._message_bytes > self.limit_bytes:
            raise _Failed(TOO_BIG, f"a message has more than {self.limit_bytes} bytes")
        parts = self._parts
        part: Message = payload
        if self._decoder is not None:
            try:
                part = self._decoder.decode(payload, last)
            except UnicodeDecodeError:
                raise _Failed(INVALID_DATA, "a text message is not UTF-8") from None
        if part:  # empty frames count for nothing, so there may be any number of them
            parts.append(part)  # type: ignore[arg-type]
        if last:
            message: Message = b"".join(parts) if self._decoder is None else "".join(parts)  # type: ignore[arg-type]
            self._fragmented = self._decoder = None
            self._parts = []
            self._message_bytes = 0
            if not self.closing:  # RFC 6455 §1.4: after a close frame of ours, what still comes is dropped
                self.events.append(message)

    def _decompress(self, payload: bytes, last: bool) -> bytes:
        deflate = self._deflate
        assert deflate is not None
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-deflate.client_window_bits)
        # One byte more than allowed tells that there is more; a small message can stand for a very large one.
        most = self.limit_bytes - self._message_bytes + 1
        try:
            plain = self._decompressor.decompress(payload + _FLUSHED if last else payload, most)
        except zlib.error:
            raise _Failed(INVALID_DATA, "a message cannot be decompressed") from None
        if last and (not deflate.client_takes_over or self._decompressor.eof):
            self._decompressor = None
        return plain

    def _fail(self, failure: _Failed) -> bytes:
        self.events.append(Closed(ABNORMAL, failure.reason))
        self._buffer.clear()
        return self.close_bytes(failure.code, failure.reason)

    # -- bytes out ---------------------------------------------------------------------------------

    def message_bytes(self, message: Message) -> bytes:
        """Return a message in one frame; nothing after a close frame."""
        if self.closing:
            return b""
        opcode, payload = (_TEXT, message.encode()) if isinstance(message, str) else (_BINARY, message)
        if self._deflate is not None and len(payload) >= _WORTH_COMPRESSING_BYTES:
            return frame_bytes(opcode | _RSV1, self._compress(payload))
        return frame_bytes(opcode, payload)

    def _compress(self, payload: bytes) -> bytes:
        deflate = self._deflate
        assert deflate is not None
        if self._compressor is None:
            self._compressor = zlib.compressobj(
                wbits=-deflate.server_window_bits, memLevel=_MEMORY_LEVEL, level=zlib.Z_DEFAULT_COMPRESSION
            )
        data = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if not deflate.server_takes_over:
            self._compressor = None
        return data[: -len(_FLUSHED)]

    def ping_bytes(self) -> bytes:
        return b"" if self.closing else frame_bytes(_PING, b"")

    def close_bytes(self, code: int = NORMAL, reason: str = "") -> bytes:
        """Return a close frame; nothing when there was one. A reason that is too long is cut (RFC 6455 §5.5)."""
        if self.closing:
            return b""
        self.closing = True
        if code == NO_CODE:
            return frame_bytes(_CLOSE, b"")
        text = reason.encode()[: _LONGEST_CONTROL - 2].decode(errors="ignore").encode()
        return frame_bytes(_CLOSE, code.to_bytes(2, "big") + text)


def is_close_code(code: int) -> bool:
    """Whether a peer may send this code (RFC 6455 §7.4, and the registry there)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _read_close(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame (RFC 6455 §5.5.1)."""
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not is_close_code(code):
        raise _Failed(PROTOCOL_ERROR, "a close frame has no valid code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise _Failed(INVALID_DATA, "the reason of a close frame is not UTF-8") from None


def unmasked(data: bytes | bytearray, mask: bytes) -> bytes:
    """Return the payload of a masked frame (RFC 6455 §5.3), as one operation on large numbers."""
    length = len(data)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(length, "little")


def frame_bytes(opcode: int, payload: bytes) -> bytes:
    """Return a whole frame; a server does not mask (RFC 6455 §5.1)."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | opcode, length)) + payload
    if length < 1 << 16:
        return bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big") + payload
