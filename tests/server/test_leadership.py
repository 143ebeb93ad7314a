"""Which thread polls: when threads run short."""

from __future__ import annotations

import threading
from collections import defaultdict
from time import monotonic

import pytest

from demijohn.server.leadership import BEARABLE_S, SLOW_S, Member, Team


class Stage:
    """A team whose leaders note that they lead and then wait to be let on."""

    def __init__(self, size: int) -> None:
        self.led = threading.Semaphore(0)
        self.on: defaultdict[Member, threading.Event] = defaultdict(threading.Event)
        self.done: list[str] = []
        self.team: Team[str] = Team(size, self.lead, self.work)

    def lead(self, member: Member) -> None:
        on = self.on[member]
        self.led.release()
        on.wait()
        on.clear()

    def work(self, member: Member, job: str) -> None:
        self.done.append(job)

    def end(self) -> None:
        self.team.stop()
        for member in list(self.team.members):
            self.on[member].set()
            assert member.thread is not None
            member.thread.join(10)


def test_a_thread_that_cannot_be_started_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(4)
    stage.team.start()
    assert stage.led.acquire(timeout=10)
    leader = stage.team.leader
    assert leader is not None

    def at_the_limit(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", at_the_limit)
    try:
        # Alone, the leader does the job itself, and goes on leading.
        assert stage.team.hand_over(leader, "slow", bearable=False)
        assert stage.team.leader is leader
        assert not stage.team.has_free_thread
        assert [record.getMessage() for record in caplog.records] == [
            "Cannot start another thread, so 1 have to do: can't start new thread"
        ]
    finally:
        monkeypatch.undo()
        stage.end()


def test_a_worker_without_any_thread_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_the_limit(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", at_the_limit)

    with pytest.raises(RuntimeError, match="new thread"):
        Stage(4).team.start()


def test_a_reserve_leads_when_no_other_can_and_leaves_when_one_is_free() -> None:
    stage = Stage(1)
    team = stage.team
    team.start()
    assert stage.led.acquire(timeout=10)
    first = team.leader
    assert first is not None
    first.since = monotonic() - 1.0  # stuck in a view
    while team.leader is first:  # as long as the machine keeps it from running, the watch believes it
        team.watch(10.0)
    reserve = team.leader
    assert reserve is not None
    assert reserve.is_reserve
    assert reserve.thread is not None
    assert not team.has_free_thread
    assert stage.led.acquire(timeout=10)
    assert not team.hand_over(reserve, "of the reserve", bearable=False)
    first.since = 0.0
    first.answered = 1
    stage.on[first].set()
    while not team.has_free_thread:  # until it has done what the reserve has put off, and rests
        team.sleep(0.01)
    assert stage.done == ["of the reserve"]
    assert team.leader is reserve
    reserve.answered = 2
    team.relieve(reserve)
    assert stage.led.acquire(timeout=10)
    assert team.leader is first
    stage.on[reserve].set()
    reserve.thread.join(10)
    assert team.members == [first]
    assert team.answered == 3
    stage.end()


class Route:
    wall_s = 0.0


def test_a_route_is_slow_from_its_first_slow_view_on_and_quick_again_after_some_that_are() -> None:
    member, route = Member(), Route()
    member.learn(route, 60.0)
    assert route.wall_s >= BEARABLE_S
    quick = 0
    while route.wall_s > SLOW_S:
        member.learn(route, 0.0)
        quick += 1
    assert 5 < quick < 50
    member.learn(route, 0.0005)
    assert 0 < route.wall_s <= SLOW_S


class Delayed(Member):
    """A thread that the machine has kept from running, for as long as `delay_s` says."""

    delay_s = 0.0

    def queued_s(self) -> float:
        return self.delay_s


def test_a_view_is_not_slow_because_the_machine_is_busy() -> None:
    member, route = Delayed(), Route()
    member.learn(route, 0.0001)
    for _ in range(100):
        member.delay_s += 0.015
        member.learn(route, 0.02)
    assert route.wall_s <= SLOW_S
    member.delay_s += 0.005
    member.learn(route, 0.02)
    assert route.wall_s > SLOW_S


def test_the_watch_does_not_sleep_while_something_is_attended() -> None:
    stage = Stage(2)
    stage.team.start()
    try:
        assert stage.led.acquire(timeout=10)
        assert stage.team.leader is not None
        stage.team.before_poll(stage.team.leader)  # so that there is no leader to watch

        def watch_often() -> None:
            while not over.is_set():
                stage.team.watch(3600.0)
                watched.release()

        watched, over = threading.Semaphore(0), threading.Event()
        watch = threading.Thread(target=watch_often)
        watch.start()
        stage.team.attend("this")
        assert all(watched.acquire(timeout=10) for _ in range(5))
        over.set()
        stage.team.attended.discard("this")
        stage.team.wake_watch()
        watch.join(10)
        assert not watch.is_alive()
    finally:
        stage.end()
