"""Early hints (RFC 8297): fields that a client is told before its answer, so that it can load what that needs."""

from __future__ import annotations

from collections.abc import Iterable

from ..message import response_message

_STATUS = "103 Early Hints"
_FIRST_LINE = b"HTTP/1.1 103 Early Hints\r\n"


def hint_bytes(headers: Iterable[tuple[str | bytes, str | bytes]]) -> bytes:
    """Return the interim answer with these fields. Raises BadResponse for one that must not be sent."""
    fields = [(_text(name), _text(value)) for name, value in headers]
    return _FIRST_LINE + response_message(_STATUS, fields, b"").field_lines + b"\r\n"


def _text(given: str | bytes) -> str:
    return given.decode("latin-1") if isinstance(given, bytes) else given
