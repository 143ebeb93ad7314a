"""What engines that cannot end a call do at its deadline, and while they cannot be reached."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from demijohn.heavy import CallCancelled, DeadlineExceeded, EngineUnavailable, report
from demijohn.heavy.engines import Dask, Engine, Threads, make_engine
from demijohn.reporting import Follower, current

PATIENCE_S = 30


@pytest.fixture
def one_thread() -> Iterator[Threads]:
    engine = Threads(1, queue_limit=5)
    yield engine
    engine.shutdown()


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What a call waits for that is to last."""
    event = threading.Event()
    yield event
    event.set()


def test_a_deadline_holds_when_nobody_asks_for_the_result(one_thread: Threads, held: threading.Event) -> None:
    ended = threading.Event()
    late = one_thread.submit(held.wait, (), {}, deadline_s=0.1)
    late.add_done_callback(lambda future: ended.set())
    assert ended.wait(PATIENCE_S)
    with pytest.raises(DeadlineExceeded, match="was not done at its deadline"):
        late.result(0)


def test_a_deadline_holds_for_who_awaits_the_call(one_thread: Threads, held: threading.Event) -> None:
    async def main() -> None:
        late = one_thread.submit(held.wait, (), {}, deadline_s=0.1)
        await asyncio.wait_for(asyncio.wrap_future(late), PATIENCE_S)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(main())


def test_a_call_that_waited_past_its_deadline_is_not_begun(one_thread: Threads, held: threading.Event) -> None:
    done: list[str] = []
    one_thread.submit(held.wait, (), {})
    late = one_thread.submit(done.append, ("late",), {}, deadline_s=0.1)
    with pytest.raises(DeadlineExceeded):
        late.result(PATIENCE_S)
    held.set()
    one_thread.submit(done.append, ("next",), {}, deadline_s=PATIENCE_S).result(PATIENCE_S)
    assert done == ["next"]


def test_calls_do_not_queue_for_a_scheduler_that_is_not_there(free_port: int) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed, so this is NOT TESTED here")
    engine = Dask(f"tcp://127.0.0.1:{free_port}")
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as callers:
        calls = [callers.submit(engine.submit, abs, (-1,), {}) for _ in range(8)]
        assert not wait(calls, 15).not_done, "each waited for the attempts of all before it"
    for call in calls:
        with pytest.raises(EngineUnavailable, match=rf"127\.0\.0\.1:{free_port} cannot be reached"):
            call.result()
    assert time.monotonic() - begun < 15


class Listener(Follower):
    """Writes down what is reported, and cancels when it is told so."""

    def __init__(self, cancels_at: float | None = None) -> None:
        super().__init__()
        self.heard: list[tuple[float, float | None, str]] = []
        self._cancels_at = cancels_at
        self._cancelled = False

    def hear(self, done: float, total: float | None, message: str) -> None:
        self.heard.append((done, total, message))
        self._cancelled = self._cancelled or done == self._cancels_at

    def is_cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        self._cancelled = True
        self.interrupt()


cleaned_up = threading.Event()


def report_until_cancelled() -> None:
    try:
        while True:
            report(1)
    except CallCancelled:
        cleaned_up.set()
        raise


def count(n: int) -> int:
    report(0, n, "counting")
    report(n)
    return n


def count_for_ever() -> None:
    while True:
        report(1)


@pytest.fixture(scope="module")
def dask_url() -> Iterator[str]:
    """A Dask cluster of one thread."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed, so this is NOT TESTED here")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "worker_dashboard_address": None}
    with distributed.LocalCluster(processes=False, protocol="tcp", **options) as cluster:
        yield cluster.scheduler_address.replace("tcp", "dask")


@pytest.fixture
def dask(dask_url: str) -> Iterator[Engine]:
    engine = make_engine(dask_url)
    yield engine
    engine.shutdown()


@pytest.fixture(params=["threads:1", "processes:1", "inline", "dask"])
def any_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = make_engine(request.getfixturevalue("dask_url") if request.param == "dask" else request.param)
    yield engine
    engine.shutdown()


def test_who_follows_a_call_hears_what_it_reports_wherever_it_runs(any_engine: Engine) -> None:
    listener = Listener()
    token = current.set(listener)
    try:
        assert any_engine.submit(count, (3,), {}, follower=listener).result(PATIENCE_S) == 3
    finally:
        current.reset(token)
    assert listener.heard == [(0, 3, "counting"), (3, 3, "counting")]
    assert any_engine.submit(count, (3,), {}).result(PATIENCE_S) == 3
    assert len(listener.heard) == 2


def test_a_call_in_another_process_learns_that_it_is_cancelled_and_the_next_one_is_not() -> None:
    engine = make_engine("processes:1")
    listener = Listener(cancels_at=1)
    try:
        cancelled = engine.submit(count_for_ever, (), {}, follower=listener, is_cancelled=listener.is_cancelled)
        with pytest.raises(CallCancelled):
            cancelled.result(PATIENCE_S)
        assert engine.submit(count, (3,), {}, follower=Listener()).result(PATIENCE_S) == 3
    finally:
        engine.shutdown()


class Waiter(Listener):
    """Can be waited for until it has heard something."""

    def __init__(self) -> None:
        super().__init__()
        self.has_heard = threading.Event()

    def hear(self, done: float, total: float | None, message: str) -> None:
        super().hear(done, total, message)
        self.has_heard.set()


def test_a_call_on_dask_that_is_cancelled_ends_for_its_caller_at_once_and_at_its_next_report(dask: Engine) -> None:
    cleaned_up.clear()
    running, waiting = Waiter(), Listener()
    begun = dask.submit(report_until_cancelled, (), {}, follower=running, is_cancelled=running.is_cancelled)
    queued = dask.submit(count, (3,), {}, follower=waiting, is_cancelled=waiting.is_cancelled)
    assert running.has_heard.wait(PATIENCE_S)
    for listener, future in ((waiting, queued), (running, begun)):
        listener.cancel()
        with pytest.raises(CallCancelled):
            future.result(PATIENCE_S)
    assert cleaned_up.wait(PATIENCE_S)
    assert dask.submit(count, (3,), {}, follower=Listener()).result(PATIENCE_S) == 3
    assert waiting.heard == []


def test_a_call_on_dask_over_its_deadline_ends_at_its_next_report(dask: Engine) -> None:
    cleaned_up.clear()
    with pytest.raises(DeadlineExceeded):
        dask.submit(report_until_cancelled, (), {}, deadline_s=0.5, follower=Waiter()).result(PATIENCE_S)
    assert cleaned_up.wait(PATIENCE_S)
