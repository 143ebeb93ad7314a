"""What it saves to send the answers of one look together: `python -m bench.together`.

The same server twice, in turns: as it is, and made to send each answer as soon as it is there. How much it is depends
on whether the peer sleeps in between: beside a view that takes as long as wrk takes for an answer, wrk never does.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.measure import campaign
from bench.scenarios import SCENARIOS
from bench.servers import SERVERS, Place

WANTED = ("hello", "user", "echo", "session", "template", "async")
TOGETHER, AT_ONCE = "sent together", "sent at once"
_AT_ONCE = "import demijohn.server.loop as loop, demijohn.__main__ as m; loop._TOGETHER_S = -1.0; m.main()"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.together", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--repeat", type=int, default=3, help="rounds [%(default)s]")
    parser.add_argument("--seconds", type=int, default=2, help="of each run [%(default)s]")
    options = parser.parse_args(arguments)
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {load_core})
    ours = next(server for server in SERVERS if server.name == "demijohn")
    python, dash_m, package, *rest = ours.command
    assert (dash_m, package) == ("-m", "demijohn")
    servers = [
        replace(ours, name=TOGETHER),
        replace(ours, name=AT_ONCE, command=(python, "-c", _AT_ONCE, *rest)),
    ]
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in WANTED]
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        place = Place(server_core, Path(sys.executable), Path(directory))
        cells = campaign(scenarios, servers, place, load_core, options.seconds, options.repeat, print)
    print(f"| | {TOGETHER}: CPU us/request | p50 ms | p99 ms | {AT_ONCE}: CPU us/request | p50 ms | p99 ms |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for scenario in scenarios:
        found = [cells[scenario.name, server.name] for server in servers]
        figures = [
            f"{median.cpu_us:.1f} | {median.p50_ms:.2f} | {median.p99_ms:.2f}" if not cell.failure else cell.failure
            for cell in found
            for median in [cell.median() if cell.samples else None]
            if median
        ]
        print(f"| {scenario.title} | {' | '.join(figures)} |")
    return 1 if any(cell.failure for cell in cells.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
