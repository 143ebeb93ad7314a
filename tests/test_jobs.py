"""Jobs and the store of their records, without a server."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from demijohn import Flask
from demijohn.heavy import report
from demijohn.heavy.jobs import DONE, QUEUED, JobStore, Record, _Task, jobs_of
from demijohn.shared import open_store


def count(number: int) -> int:
    return number


def test_a_job_outlives_that_its_store_is_gone_for_a_while(redis_server: Any) -> None:
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    back = threading.Thread(target=redis_server.start)

    def work() -> str:
        redis_server.stop()
        report(1, 2, "halfway")
        back.start()
        return "done all the same"

    _Task(url, Record("a", "work", QUEUED, 0, 0), work)()
    back.join()
    record = JobStore(open_store(url)).get("a")
    assert record is not None
    assert (record.state, record.result, record.message) == (DONE, "done all the same", "halfway")


def test_a_job_that_could_not_write_its_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMIJOHN_STATE", "memory://")
    jobs = jobs_of(Flask(__name__))
    monkeypatch.setenv("DEMIJOHN_EXECUTOR", "processes:1")
    with pytest.raises(RuntimeError, match=r"another process, which cannot write to 'memory://'\. Keep the state"):
        jobs.start(count, 1)
    monkeypatch.setenv("DEMIJOHN_EXECUTOR", "inline")
    assert jobs.status_of(jobs.start(count, 1).id).result == 1
