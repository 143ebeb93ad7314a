"""Whether a page in a browser may talk to a server: what its Origin says (RFC 6454)."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def is_own_page(origin: str | None, host: str, others: Collection[str]) -> bool:
    """Whether a request comes from a page of this server, from one of `others`, or from no page at all.

    host: what was asked for, as in the Host field. others: origins, such as `"https://example.org"`; `"*"` is any.

    A browser opens a WebSocket for any page and sends the visitor's cookies with it: who does not look at Origin
    lets a stranger's page call in the visitor's name (cross-site WebSocket hijacking). Other clients send none.
    The scheme is not compared: a server behind one that ends TLS does not know its own.
    """
    if origin is None or origin in others or "*" in others:
        return True
    try:
        page, asked = urlsplit(origin), urlsplit(f"//{host}")
        default = _PORTS.get(page.scheme)
        return page.hostname == asked.hostname is not None and (page.port or default) == (asked.port or default)
    except ValueError:  # an address or a port that is none
        return False
