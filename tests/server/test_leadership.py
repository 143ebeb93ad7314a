"""Which thread polls: when threads run short."""

from __future__ import annotations

import threading

import pytest

from demijohn.server.leadership import Member, Team


class Stage:
    """A team whose leaders note that they lead and then wait to be let on."""

    def __init__(self, size: int) -> None:
        self.led = threading.Semaphore(0)
        self.on = threading.Semaphore(0)
        self.done: list[str] = []
        self.team: Team[str] = Team(size, self.lead, self.work)

    def lead(self, member: Member) -> None:
        self.led.release()
        self.on.acquire()

    def work(self, member: Member, job: str) -> None:
        self.done.append(job)

    def end(self) -> None:
        self.team.stop()
        for _ in self.team.members:
            self.on.release()
        for member in self.team.members:
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
