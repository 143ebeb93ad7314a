"""Another application of this folder, with a view that tells what its worker has called (bench/calls.py)."""

from __future__ import annotations

import os
from importlib import import_module

import sitecustomize  # bench/counting, which is on PYTHONPATH when this is served

module, _, attribute = os.environ["BENCH_COUNTED"].partition(":")
app = getattr(import_module(module), attribute)


@app.route("/calls")
def calls() -> list[sitecustomize.Event]:
    events = list(sitecustomize.events)
    sitecustomize.events.clear()
    return events
