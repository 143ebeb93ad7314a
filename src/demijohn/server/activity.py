"""What a worker is doing at the moment, as it shows it to the other processes."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile
from types import FrameType
from typing import Any

from ..message import RequestHead
from .slots import Slot

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SERVER = os.path.dirname(os.path.abspath(__file__))
_LIBRARIES = (sys.prefix, sys.base_prefix, "<frozen ")
_LONGEST_TARGET = 200


@dataclass(slots=True)
class Task:
    """A request that is being answered.

    since: `monotonic()` when it was begun.
    thread: the one that is in its view; None while it awaits.
    """

    head: RequestHead
    since: float
    thread: threading.Thread | None


@dataclass(slots=True)
class Activity:
    """What a worker has in hand: `threads` can be inside views, and `waiting` requests have none yet."""

    connections: int
    threads: int
    tasks: list[Task]
    waiting: int = 0


def show(slot: Slot, activity: Activity) -> None:
    """Let the other processes see it."""
    tasks = activity.tasks
    slot.connections = activity.connections
    slot.threads = activity.threads
    slot.in_flight = len(tasks)
    slot.waiting = activity.waiting
    slot.busy = sum(task.thread is not None for task in tasks)
    frames = sys._current_frames() if tasks else {}
    slot.show(json.dumps([_described(task, frames) for task in tasks]).encode())


def _described(task: Task, frames: dict[int, FrameType]) -> dict[str, Any]:
    thread = task.thread
    return {
        "method": task.head.method,
        # Without the query: it may hold what is nobody's business.
        "path": task.head.target.partition(b"?")[0][:_LONGEST_TARGET].decode("utf-8", "backslashreplace"),
        "since_s": task.since,
        "thread": thread.name if thread is not None else None,
        "at": _place(frames.get(thread.ident or 0)) if thread is not None else None,
    }


def stack_of(thread: threading.Thread | None) -> str:
    """Return the stack of a thread, the innermost call last, from the application's first call on."""
    frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
    calls = list(traceback.extract_stack(frame)) if frame is not None else []
    ours = [number for number, call in enumerate(calls) if call.filename.startswith(_SERVER)]
    calls = calls[ours[-1] + 1 :] if ours else calls
    theirs = dropwhile(lambda call: call.filename.startswith(_PACKAGE), calls)
    return "".join(traceback.format_list(list(theirs))).rstrip()


def place_of(coroutine: Coroutine[Any, Any, Any]) -> str:
    """Return the stack of what a coroutine awaits, the innermost last."""
    lines = []
    awaited: Any = coroutine
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        lines += traceback.format_list(traceback.extract_stack(frame, limit=1))
        awaited = awaited.cr_await
    return "".join(lines).rstrip()


def _place(frame: FrameType | None) -> str | None:
    """Say where a thread is: in the innermost code that is no library's, if there is any."""
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith((_PACKAGE, *_LIBRARIES)):
        frame = frame.f_back
    frame = frame or innermost
    if frame is None:
        return None
    return f"{_as_seen_from_here(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"


@lru_cache(maxsize=256)
def _as_seen_from_here(path: str) -> str:
    """Return the name of a file from the directory of this process, if that is still there."""
    try:
        return os.path.relpath(path)
    except FileNotFoundError:
        return path
