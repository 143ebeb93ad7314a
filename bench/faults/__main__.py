"""Do to a server what can be done to one, and print what was lost: `python -m bench.faults [NAME ...]`.

Exits 1 when anything was lost that was not inside a process that was killed. Takes about a minute; loopback only.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from .faults import FAULTS, allow_many_descriptors


def main(names: list[str]) -> int:
    allow_many_descriptors()
    wanted = [fault for fault in FAULTS if not names or fault.__name__ in names]
    failed = 0
    print("| fault | answered | lost | |\n|---|---|---|---|")
    for fault in wanted:
        begun = time.monotonic()
        outcome = fault()
        lost = str(len(outcome.lost)) + (f" of {outcome.may_lose} inside" if outcome.may_lose else "")
        print(f"| {fault.__doc__} | {outcome.answered} | {lost} | {outcome.note} |", flush=True)
        if not outcome.holds:
            failed += 1
            print(f"  FAILED: {outcome.wrong or dict(Counter(outcome.lost))}", flush=True)
        print(f"  {fault.__name__}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
