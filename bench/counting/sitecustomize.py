"""Put on PYTHONPATH, this makes an interpreter and its forks remember which functions they call (bench/calls.py)."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from types import FrameType
from typing import Any

# (monotonic nanoseconds, thread, event, function, where); bounded, for nobody asks during start-up.
Event = tuple[int, int, str, str, str]
events: deque[Event] = deque(maxlen=200_000)
C_CALLS = os.environ.get("BENCH_C_CALLS") == "1"


def remember(frame: FrameType, event: str, argument: Any) -> None:
    if event in ("call", "return"):
        code = frame.f_code
        where = f"{code.co_filename}:{code.co_firstlineno}"
        events.append((time.monotonic_ns(), threading.get_ident(), event, code.co_qualname, where))
    elif C_CALLS and event in ("c_call", "c_return", "c_exception"):
        name = getattr(argument, "__qualname__", repr(argument))
        kind = "return" if event != "c_call" else "call"
        events.append((time.monotonic_ns(), threading.get_ident(), kind, name, "C"))


threading.setprofile(remember)
sys.setprofile(remember)
