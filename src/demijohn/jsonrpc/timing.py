"""How long calls took, told to the client: `Server-Timing` (https://www.w3.org/TR/server-timing/)."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import TypeVar

from ..ctx import after_this_request
from ..globals import g
from .openrpc import DISCOVER_METHOD_NAME
from .protocol import Call
from .registry import Registry

R = TypeVar("R")

_NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")  # RFC 9110 section 5.6.2
_KEY = "_jsonrpc_timings"
_MOST = 20  # methods of a batch that are named: proxies take some 8 KB of fields


class ServerTiming:
    """A middleware that adds the field to the answer: milliseconds of each method, and of a batch as a whole."""

    def __init__(self, methods: Registry) -> None:
        self._methods = methods

    def __call__(self, call: Call) -> Iterator[None]:
        timings = g.get(_KEY)
        if timings is None:
            timings = Timings()
            setattr(g, _KEY, timings)
            after_this_request(timings.add_to)
        # What no method is called is the client's word, which is not repeated.
        known = self._methods.get(call.method) is not None or call.method == DISCOVER_METHOD_NAME
        begun = time.perf_counter()
        try:
            yield
        finally:
            timings.took(_NO_TOKEN.sub("_", call.method) if known else "unknown", time.perf_counter() - begun)


class Timings:
    """How long the calls of one request took."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._calls: defaultdict[str, list[float]] = defaultdict(list)

    def took(self, method: str, seconds: float) -> None:
        self._calls[method].append(seconds)

    def field(self) -> str:
        """Return the field's value: a batch first, then its methods, those that took longest before the others."""
        count = sum(map(len, self._calls.values()))
        parts = [_metric("batch", count, time.perf_counter() - self._begun)] if count > 1 else []
        slowest = sorted(self._calls.items(), key=lambda item: -sum(item[1]))
        parts += [_metric(method, len(took), sum(took)) for method, took in slowest[:_MOST]]
        return ", ".join(parts)

    def add_to(self, response: R) -> R:
        response.headers.add("Server-Timing", self.field())  # type: ignore[attr-defined]
        return response


def _metric(name: str, count: int, seconds: float) -> str:
    described = f';desc="{count} calls"' if count > 1 else ""
    return f"{name}{described};dur={seconds * 1000:.3f}"
