"""Time what counting a request costs, as `--metrics-path` has it done: `python -m bench.metrics`.

Microseconds, the best of several batches.
"""

from __future__ import annotations

import timeit
from functools import partial

from demijohn.message import Origin, RequestHead, ResponseMessage
from demijohn.server.metrics import Metrics
from demijohn.server.slots import SlotTable

CALLS = 50_000
BATCHES = 15


def main() -> None:
    slot = SlotTable(1).take()
    assert slot is not None
    count = Metrics(1).worker(slot)
    message = ResponseMessage("200 OK", b"", b"")
    usual = [(b"host", b"localhost"), (b"user-agent", b"wrk")]
    for text, fields in (
        ("2 fields", usual),
        ("15 fields", usual + [(b"x-field", b"1")] * 13),
        ("2 fields and X-Request-Start", [*usual, (b"x-request-start", b"t=1764000000.123")]),
    ):
        head = RequestHead("GET", b"/", (1, 1), fields, Origin())
        best = min(timeit.repeat(partial(count, head, message, 13, 0.00002, True), number=CALLS, repeat=BATCHES))
        print(f"{text:30} {best / CALLS * 1e6:.2f} us")


if __name__ == "__main__":
    main()
