"""An application whose view collects garbage and tells what memory its process then has to itself."""

import gc

from demijohn import Flask

app = Flask(__name__)


@app.route("/")
def share_kb() -> str:
    """Return the proportional set size in kB: pages of its own, and its share of those it shares."""
    gc.collect()
    with open("/proc/self/smaps_rollup") as rollup:
        return next(line.split()[1] for line in rollup if line.startswith("Pss:"))
