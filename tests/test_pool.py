"""The pool of processes heals: what one call does to its process harms no other call."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from demijohn.heavy.errors import CallCancelled, DeadlineExceeded, ProcessDied, QueueFull
from demijohn.heavy.pool import Call, ProcessPool, dumps_call

PATIENCE_S = 30


def double(x: int) -> int:
    return 2 * x


def pid() -> int:
    return os.getpid()


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_self_once(mark: str) -> str:
    if not os.path.exists(mark):
        Path(mark).touch()
        kill_self()
    return "done"


def wait_for(path: str) -> str:
    """Read a pipe by name until its writer goes."""
    with open(path) as pipe:
        return pipe.read()


def wait_forever() -> None:
    threading.Event().wait()


def fail() -> None:
    raise ValueError("no")


class Unreadable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def fail_oddly() -> None:
    raise Unreadable("a", "b")


def give_back(what: str) -> Any:
    return threading.Lock() if what == "lock" else what


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool(2, queue_limit=50)
    yield pool
    pool.shutdown(cancel_futures=True)
    assert pool.pids == []


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    return path


def call(function: Any, *args: Any, deadline_s: float | None = None, **more: Any) -> Call:
    deadline = None if deadline_s is None else time.monotonic() + deadline_s
    return Call(f"{function.__name__}()", dumps_call(function, args, {}), deadline, **more)


def test_calls_run_in_other_processes_which_stay(pool: ProcessPool) -> None:
    assert [pool.submit(double, number).result(PATIENCE_S) for number in range(20)] == list(range(0, 40, 2))
    pids = {pool.submit(pid).result(PATIENCE_S) for _ in range(20)}
    assert os.getpid() not in pids
    assert pids <= set(pool.pids)
    assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]


def test_a_process_that_is_killed_costs_one_retry(pool: ProcessPool, tmp_path: Path) -> None:
    assert pool.submit(kill_self_once, str(tmp_path / "mark")).result(PATIENCE_S) == "done"


def test_a_call_that_kills_its_process_each_time_ends_alone(pool: ProcessPool) -> None:
    others = [pool.submit(double, number) for number in range(10)]
    poison = pool.submit(kill_self)
    others += [pool.submit(double, number) for number in range(10, 20)]

    with pytest.raises(ProcessDied, match=r"kill_self\(\) ended its process each of 2 times \(signal 9, Killed\)"):
        poison.result(PATIENCE_S)
    assert [other.result(PATIENCE_S) for other in others] == list(range(0, 40, 2))
    assert pool.submit(double, 4).result(PATIENCE_S) == 8


def test_a_call_over_its_deadline_is_ended(pool: ProcessPool, pipe: str) -> None:
    late = pool.submit_call(call(wait_for, pipe, deadline_s=0.2))

    with pytest.raises(DeadlineExceeded, match=r"wait_for\(\) was not done at its deadline"):
        late.result(PATIENCE_S)
    assert pool.submit(double, 4).result(PATIENCE_S) == 8


def test_a_call_can_be_cancelled_while_it_runs(pool: ProcessPool, pipe: str) -> None:
    asked = threading.Event()
    running = pool.submit_call(call(wait_for, pipe, is_cancelled=asked.is_set))
    asked.set()

    with pytest.raises(CallCancelled):
        running.result(PATIENCE_S)


def test_a_call_that_is_cancelled_may_end_by_itself(pool: ProcessPool, pipe: str) -> None:
    noticed = threading.Event()

    def is_cancelled() -> bool:
        noticed.set()
        return True

    running = pool.submit_call(call(wait_for, pipe, is_cancelled=is_cancelled))
    with open(pipe, "w") as writer:
        assert noticed.wait(PATIENCE_S)
        writer.write("cleaned up")
    assert running.result(PATIENCE_S) == "cleaned up"


def test_a_call_that_is_given_up_leaves_its_reply_to_no_other(pipe: str) -> None:
    def unknown() -> bool:
        raise LookupError("nobody knows")

    pool = ProcessPool(1)
    try:
        asked = pool.submit_call(call(wait_for, pipe, is_cancelled=unknown))
        after = pool.submit(double, 4)
        with pytest.raises(LookupError):
            asked.result(PATIENCE_S)
        assert after.result(PATIENCE_S) == 8
    finally:
        pool.shutdown(cancel_futures=True)


def test_a_full_queue_refuses_more(pipe: str) -> None:
    pool = ProcessPool(1, queue_limit=1)
    try:
        pool.submit(wait_for, pipe)
        waiting = pool.submit(double, 1)
        with pytest.raises(QueueFull, match=r"double\(\) was not run: 1 calls wait already"):
            pool.submit(double, 2)
    finally:
        pool.shutdown(cancel_futures=True)
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE_S)


def test_what_cannot_be_sent_is_named(pool: ProcessPool) -> None:
    with pytest.raises(TypeError, match="its argument 1, a function, cannot be sent there"):
        pool.submit(double, lambda: None)
    with pytest.raises(TypeError, match="Define it at the top of a module"):
        pool.submit(lambda: None)
    with pytest.raises(TypeError, match=r"give_back\(\) returned a lock that cannot be sent"):
        pool.submit(give_back, "lock").result(PATIENCE_S)


def test_an_exception_comes_back_with_its_traceback(pool: ProcessPool) -> None:
    with pytest.raises(ValueError, match="no") as raised:
        pool.submit(fail).result(PATIENCE_S)
    assert "in fail" in raised.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Unreadable: a"):
        pool.submit(fail_oddly).result(PATIENCE_S)


def test_a_function_that_exits_ends_its_call_and_not_its_process(pool: ProcessPool) -> None:
    before = pool.submit(pid).result(PATIENCE_S)
    with pytest.raises(SystemExit) as ended:
        pool.submit(sys.exit, 3).result(PATIENCE_S)
    assert ended.value.code == 3
    assert before in pool.pids


def test_shutting_down_ends_what_runs_and_refuses_more(pipe: str) -> None:
    pool = ProcessPool(1)
    running = pool.submit(wait_for, pipe)
    with open(pipe, "w"):  # it has begun
        pool.shutdown(cancel_futures=True)

        with pytest.raises(CallCancelled):
            running.result(PATIENCE_S)
    with pytest.raises(RuntimeError, match="was shut down"):
        pool.submit(double, 1)


def test_shutting_down_ends_a_call_whose_process_is_just_starting() -> None:
    for _ in range(5):
        pool = ProcessPool(1)
        never_ends = pool.submit(wait_forever)
        while not never_ends.running():
            pass
        pool.shutdown(cancel_futures=True)
        with pytest.raises(CallCancelled):
            never_ends.result(0)


def test_shutting_down_lets_what_waits_finish() -> None:
    pool = ProcessPool(1)
    results = [pool.submit(double, number) for number in range(10)]
    pool.shutdown()
    assert [result.result(0) for result in results] == list(range(0, 20, 2))
    assert not any(child.name.startswith("demijohn-heavy") for child in multiprocessing.active_children())
