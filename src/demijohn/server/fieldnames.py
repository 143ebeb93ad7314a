"""Fields whose names hold `_`, which a WSGI environ cannot tell from those with `-`: which of them there are.

`X_User` would become what `X-User` becomes, and so override what a proxy has set. Trusted proxies may set some.
"""

from __future__ import annotations

from typing import Protocol

from ..message import Fields, ProtocolError


class Policy(Protocol):
    """What is to become of them; `Settings` has it."""

    @property
    def header_map(self) -> str: ...
    @property
    def forwarder_headers(self) -> tuple[str, ...]: ...


def settle(fields: Fields, policy: Policy, *, is_trusted: bool) -> tuple[Fields, bytes]:
    """Return the fields that the application is to see, and the SCRIPT_NAME that the peer tells, or b"".

    is_trusted: whether the peer is a proxy that may set `forwarder_headers`.
    Raises ProtocolError (400) for a field that is refused.
    """
    script_name = b""
    kept = []
    for name, value in fields:
        if b"_" not in name:
            kept.append((name, value))
        elif is_trusted and _is_among(name, policy.forwarder_headers):
            if name == b"script_name":
                script_name = value
            else:
                kept.append((name, value))
        elif policy.header_map == "dangerous":
            kept.append((name, value))
        elif policy.header_map == "refuse":
            raise ProtocolError(400, "The request has a field whose name holds an underscore.")
    return kept, script_name


def _is_among(name: bytes, names: tuple[str, ...]) -> bool:
    return "*" in names or name.decode("latin-1").upper() in names
