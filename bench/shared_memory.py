"""`python -m bench.shared_memory`: the memory of a worker, with and without `gc.freeze` before the fork.

Prints the proportional set size of one worker of four, after a collection in each.
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

APPS = Path(__file__).parent / "apps"
WORKERS = 4
REQUESTS = 10 * WORKERS  # each worker gets one, as good as always
UNFROZEN = (
    "import gc, sys; gc.freeze = lambda: None; sys.argv[0] = 'demijohn'; from demijohn.__main__ import main; main()"
)
FROZEN = "import sys; sys.argv[0] = 'demijohn'; from demijohn.__main__ import main; main()"


def worker_kb(code: str, *flags: str) -> int:
    """Serve with `code` and return the largest share that a worker told, in kB."""
    command = [sys.executable, "-c", code, "serve", "-b", "127.0.0.1:0", "-w", str(WORKERS), *flags, "collected:app"]
    with subprocess.Popen(command, cwd=APPS, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            url, ready = "", 0
            for line in server.stderr:
                if found := re.search(r"Listening at: (\S+)", line):
                    url = found[1]
                ready += "Worker ready" in line
                if ready == WORKERS:
                    break
            return max(int(urllib.request.urlopen(url).read()) for _ in range(REQUESTS))
        finally:
            server.terminate()


def main() -> None:
    for flags in ((), ("--preload",)):
        for name, code in (("frozen", FROZEN), ("not frozen", UNFROZEN)):
            print(f"{' '.join(flags) or 'loaded by each':16} {name:12} {worker_kb(code, *flags) / 1024:6.1f} MB")


if __name__ == "__main__":
    main()
