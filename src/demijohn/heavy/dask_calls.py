"""A call on a Dask worker that somebody follows: what the function reports goes to that one as events of Dask."""

from __future__ import annotations

import importlib
from typing import Any

from ..reporting import Follower, followed
from .errors import CallCancelled
from .pool import run_payload


class _Caller(Follower):
    """Whoever called, as the worker sees it. topic: of the events. key: of the task."""

    def __init__(self, topic: str, key: str) -> None:
        super().__init__()
        self._topic = topic
        self._key = key
        self._worker = importlib.import_module("distributed").get_worker()

    def hear(self, done: float, total: float | None, message: str) -> None:
        self._worker.log_event(self._topic, (self._key, done, total, message))
        if self.is_cancelled():
            raise CallCancelled("The call was cancelled by its caller.")

    def is_cancelled(self) -> bool:
        task = self._worker.state.tasks.get(self._key)
        return task is None or task.state == "cancelled"


def run_followed(payload: bytes, topic: str, key: str) -> Any:
    """Do what `run_payload` does, with reports."""
    return followed(_Caller(topic, key), run_payload, payload)
