"""Which thread polls: one leader, and followers that take over when it may block.

The leader runs views itself, so a request costs no hand-over. When a view may block, another thread is made
leader: before the view, when it is known to be slow (`hand_over`), or a few milliseconds into it, when the watch
finds the leader still inside (`watch`). A thread that comes out of a view and is no longer leader rests.

Somebody always polls. When even the last thread turns out to be stuck, a reserve leads: a thread over the number asked
for, which leaves views to the others, but for those that have been quick so far. It goes when another is free.

All changes of leadership happen under one lock; they are rare. The leader itself looks at `leader` without it:
it may find out a moment late that it was deposed, and until it does, two threads act as leader. Everything a leader
does must bear that; `connections.py` says how it does, one by one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

from ..message import RequestHead
from ..typing import Route

log = logging.getLogger("demijohn.server")

Job = TypeVar("Job")

# How often the watch looks, how long the leader may be inside one view before it is looked at twice, and how long
# after the first look the second is. A surprise so delays the others by at most the sum of the three.
_WATCH_S = 0.004
_STUCK_S = 0.003
_SECOND_LOOK_S = 0.002
# A route whose views take longer than this on average is known to be slow: another thread polls meanwhile.
SLOW_S = 0.001
# How much of each new wall time goes into the average.
AVERAGE_WEIGHT = 0.1
# No wall time counts for more than this: a quick view that was slow once is quick again 7 requests later.
_LONGEST_SAMPLE_S = 0.02
# When no other thread is free, the leader itself runs views that are slow by less than this.
BEARABLE_S = 0.005
# What no reserve leaves to others: routes of the server's own.
NEVER_SLOW_S = -1.0
# How many reserves there are at most: views that are slow by surprise may hold all of them but the last.
_MOST_RESERVES = 4


class Member:
    """One thread of a team.

    since: `monotonic()` when it entered the view it is in; 0.0 outside of views.
    head, route, connection: the request it works on, or worked on last, where that went, and whence it came.
    answered: how many requests it has answered.
    slow_s: views of routes above this, in seconds, are run when `hand_over` allows it.
    is_reserve: whether it is over the number of threads asked for.
    claimed: whether somebody is about to do without it, see `Team.abandon`; `abandoned`: whether that is done.
    """

    __slots__ = (
        "_queued_s",
        "_wake",
        "abandoned",
        "answered",
        "claimed",
        "connection",
        "head",
        "is_reserve",
        "route",
        "since",
        "slow_s",
        "thread",
    )

    def __init__(self, is_reserve: bool = False) -> None:
        self._wake = threading.Lock()
        self._wake.acquire()
        self._queued_s = 0.0  # when it was asked for last
        self.since = 0.0
        self.head: RequestHead | None = None
        self.route: Route | None = None
        self.connection: Any = None
        self.answered = 0
        self.is_reserve = is_reserve
        self.slow_s = NEVER_SLOW_S if is_reserve else SLOW_S
        self.claimed = self.abandoned = False
        self.thread: threading.Thread | None = None

    def queued_s(self) -> float:
        """How long in all the thread has been ready to run without running, in seconds; 0.0 where nobody counts it."""
        if self.thread is None:
            return 0.0
        try:
            with open(f"/proc/self/task/{self.thread.native_id}/schedstat", "rb") as file:
                return int(file.read().split()[1]) / 1e9  # proc(5)
        except (OSError, IndexError):
            return 0.0

    def learn(self, route: Route, wall_s: float) -> None:
        """Let the seconds that were spent in a view count in the average of its route."""
        if wall_s > SLOW_S and route.wall_s <= SLOW_S:
            # A surprise: is the view slow, or was the machine busy?
            queued_before_s, self._queued_s = self._queued_s, self.queued_s()
            if self._queued_s - queued_before_s > wall_s / 2:
                wall_s = SLOW_S
        wall_s = min(wall_s, _LONGEST_SAMPLE_S)
        if route.wall_s:
            route.wall_s += (wall_s - route.wall_s) * AVERAGE_WEIGHT
        else:
            route.wall_s = wall_s  # the first

    def wait(self) -> None:
        self._wake.acquire()

    def wake(self) -> None:
        self._wake.release()


class Team(Generic[Job]):
    """The threads of a worker.

    attended: what the watch must not sleep for, see `attend`; whoever has put something in takes it out.
    leader: the member that polls; None after `stop`, and while every thread is inside a view and the system gives no
        other.
    """

    def __init__(self, size: int, lead: Callable[[Member], None], work: Callable[[Member, Job], None]) -> None:
        """`lead` polls and returns when its member is not `leader` any more; `work` does a job that was put off.

        `size` counts the leader: `size - 1` threads can be inside slow views while it polls. Reserves do not count; one
        that leads asks `relieve` after each poll.
        """
        self.leader: Member | None = None
        self.members: list[Member] = []
        self._size = size
        self._lead = lead
        self._work = work
        self._lock = threading.Lock()
        self._resting: list[Member] = []
        self._jobs: deque[tuple[float, Job]] = deque()  # with `monotonic()` of when they were put off
        self._stopped = False
        self._started = 0  # threads, ever
        self._reserves = 0  # of `members`
        self._most_reserves = _MOST_RESERVES
        self._answered_by_gone = 0  # requests
        self.attended: set[object] = set()
        # Between the leader and the watch, see `watch`.
        self._polling: Member | None = None
        self._polls = self._polls_seen = 0
        self._watch_sleeps = False
        self._watch_wake = threading.Lock()
        self._watch_wake.acquire()

    # -- leadership --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the first leader."""
        with self._lock:
            self._appoint()

    def hand_over(self, member: Member, job: Job, bearable: bool) -> bool:
        """Make another thread leader, so that `member` may do `job`, which can block.

        When no thread is free `member` goes on leading: a `bearable` job it does at once all the same (True), any
        other is left to the next thread that is free (False). A reserve bears one as long as there is another reserve.
        """
        with self._lock:
            if self.leader is not member:
                return True
            if member.is_reserve:
                if bearable and self._reserves < self._most_reserves:
                    return True
                self._free_one()
            # Alone it does any job: there is nobody to leave one to.
            elif self._appoint() or bearable or len(self.members) == 1:
                return True
            self._jobs.append((monotonic(), job))  # whoever was woken waits for the lock
            return False

    def relieve(self, reserve: Member) -> None:
        """Have a thread that is free take the lead from a reserve."""
        if self._resting:
            with self._lock:
                if self.leader is reserve:
                    self._appoint()

    def submit(self, job: Job) -> bool:
        """Have a thread that is free do a job that may block. False when none is: then the job is not taken."""
        with self._lock:
            if self._stopped or not self._free_one():
                return False
            self._jobs.append((monotonic(), job))  # whoever was woken or started waits for the lock
            return True

    def put_off(self, job: Job) -> None:
        """Leave a job to the next thread that is free."""
        with self._lock:
            self._jobs.append((monotonic(), job))
            self._free_one()

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    @property
    def waits_since(self) -> float:
        """`monotonic()` when the job was put off that has waited longest; infinity when none waits."""
        with self._lock:
            return self._jobs[0][0] if self._jobs else math.inf

    def take_back(self, put_off_before: float, may_take: Callable[[Job], bool]) -> list[tuple[float, Job]]:
        """Take back jobs that have waited for a thread since before a time, each with that since when."""
        with self._lock:
            taken: list[tuple[float, Job]] = []
            left: deque[tuple[float, Job]] = deque()
            for since, job in self._jobs:
                (taken if since <= put_off_before and may_take(job) else left).append((since, job))
            self._jobs = left
            return taken

    def pass_lead(self, member: Member, other: Member) -> None:
        """Make one leader that is no member of the team and finds it out by itself."""
        with self._lock:
            if self.leader is member and not self._stopped:
                self.leader = other

    def resign(self, leader: Member, *, to_reserve: bool = False) -> bool:
        """Have a free thread lead, or a reserve, in the place of one that is no member. False when there is none."""
        with self._lock:
            return self.leader is not leader or self._appoint() or (to_reserve and self._appoint_reserve())

    @property
    def has_free_thread(self) -> bool:
        """Whether a slow request would find a thread."""
        return bool(self._resting) or len(self.members) - self._reserves < self._size

    @property
    def answered(self) -> int:
        """How many requests have been answered, those of threads included that are gone since."""
        return self._answered_by_gone + sum(member.answered for member in self.members)

    def stop(self) -> None:
        """Let every thread end as soon as it comes out of its view."""
        with self._lock:
            self._stopped = True
            self.leader = None
            for member in self._resting:
                member.wake()
            self._resting.clear()
            self.wake_watch()

    def _appoint(self) -> bool:
        """Make a free thread leader, the one that rested last or a new one. The lock is held."""
        if self._stopped:
            return False
        if self._resting:
            self.leader = self._resting.pop()
            self.leader.wake()
            return True
        member = self._new_member()
        if member is None:
            return False
        self.leader = member
        return True

    def _lead_by_any(self) -> None:
        """Make any thread leader that can be had. The lock is held."""
        if not self._appoint():
            self._appoint_reserve()

    def _appoint_reserve(self) -> bool:
        """Make a thread leader that is over the number asked for. The lock is held."""
        if self._stopped or self._reserves >= self._most_reserves:
            return False
        member = self._start_member(is_reserve=True)
        if member is None:
            self._most_reserves = self._reserves
            return False
        self._reserves += 1
        self.leader = member
        return True

    def _free_one(self) -> bool:
        """See to it that a thread comes and looks for a job. False when none is free. The lock is held."""
        if self._resting:
            self._resting.pop().wake()
            return True
        return self._new_member() is not None

    def _new_member(self) -> Member | None:
        """Start another thread; None when there is to be no other. The lock is held."""
        if len(self.members) - self._reserves >= self._size:
            return None
        member = self._start_member()
        if member is None:
            self._size = len(self.members) - self._reserves
        return member

    def _start_member(self, is_reserve: bool = False) -> Member | None:
        """Start a thread; None when the system gives none. The lock is held."""
        member = Member(is_reserve)
        member.thread = threading.Thread(
            target=self._live, args=(member,), name=f"demijohn-{self._started}", daemon=True
        )
        try:
            member.thread.start()  # it waits for the lock before it looks who leads
        except RuntimeError as error:  # at a limit of the system
            if not self.members:
                raise
            log.error("Cannot start another thread, so %d have to do: %s", len(self.members), error)
            return None
        self._started += 1
        self.members.append(member)
        return member

    def _live(self, member: Member) -> None:
        """The life of a thread: it leads until it is deposed, then does what was put off, then rests."""
        while True:
            if self.leader is member:
                self._lead(member)
            with self._lock:
                if self._stopped or member.abandoned:
                    return
                if self.leader is None:
                    self.leader = member
                if self.leader is member:
                    continue
                if member.is_reserve:
                    self._remove(member)
                    return
                job = self._jobs.popleft()[1] if self._jobs else None
                if job is None:
                    self._resting.append(member)
            # Whoever puts a job off holds the lock and finds no thread resting, so none rests while a job waits.
            if job is not None:
                self._work(member, job)
            else:
                member.wait()

    # -- doing without one -------------------------------------------------------------------------

    def abandon(self, member: Member, since: float, is_silent: Callable[[], bool]) -> bool:
        """Do without a thread that has been inside a view since `since`, and have another take its place.

        False when it has come out, or has begun to answer (`is_silent` says that it has not): then it stays. A thread
        that comes out writes `since` before it looks whether it is `claimed`; here that is written first, and then
        looked at `since`. Whoever comes second sees the other, and `was_abandoned` waits for the outcome.
        """
        with self._lock:
            member.claimed = True
            member.abandoned = member.since == since and is_silent()
            if not member.abandoned:
                member.claimed = False
                return False
            self._remove(member)
            if self.leader is member:
                self.leader = None
            if self.leader is None:
                self._lead_by_any()
            elif (self._jobs or self.leader.is_reserve) and not self._resting:
                self._new_member()
            return True

    def _remove(self, member: Member) -> None:
        """Let a thread be one of the team no longer. The lock is held."""
        self.members.remove(member)
        self._reserves -= member.is_reserve
        self._answered_by_gone += member.answered

    def disown(self) -> None:
        """Do without all threads, in a copy of the process, which has at most the one that forked it."""
        self._lock = threading.Lock()  # another thread may have held it
        self._stopped = True
        self.leader = None
        for member in self.members:
            member.claimed = member.abandoned = True

    def was_abandoned(self, member: Member) -> bool:
        """Whether a member that was `claimed` has been given up: then it has no part in anything any more."""
        with self._lock:
            return member.abandoned

    # -- the watch ---------------------------------------------------------------------------------

    def before_poll(self, member: Member) -> None:
        """Note that `member` is about to wait for events."""
        self._polls += 1
        self._polling = member

    def after_poll(self) -> None:
        """Note that events have come."""
        self._polling = None
        if self._watch_sleeps:
            self.wake_watch()

    def wake_watch(self) -> None:
        """End the sleep of the watch."""
        self._watch_sleeps = False
        with contextlib.suppress(RuntimeError):  # somebody else was first
            self._watch_wake.release()

    def attend(self, what: object) -> None:
        """Have the watch come back every few milliseconds until `what` is no longer in `attended`."""
        self.attended.add(what)
        if self._watch_sleeps:
            self.wake_watch()

    def sleep(self, longest_s: float) -> None:
        """Sleep until `wake_watch`, or for `longest_s`: where there is no leader that could be stuck in a view."""
        self._watch_wake.acquire(timeout=longest_s)

    def watch(self, longest_s: float) -> None:
        """Sleep until it is time to look again, look, and depose a leader that is stuck in a view.

        Comes back within `longest_s` when nothing happens at all.

        While the leader waits for events there is nothing to watch, and the watch sleeps until there are, once it has
        waited for as long as from one look to the next: to wake the watch costs more than its looks. The watch says
        that it sleeps before it looks whether the leader polls, and the leader says that it no longer polls before
        it looks whether the watch sleeps: whichever comes second sees the other. So it is with what is `attended`.
        """
        self._watch_sleeps = True
        leader = self._polling
        polls_seen, self._polls_seen = self._polls_seen, self._polls
        is_idle = leader is not None and leader is self.leader and self._polls_seen == polls_seen
        if is_idle and not self.attended:
            self._watch_wake.acquire(timeout=longest_s)
            self._watch_sleeps = False
        else:
            self._watch_sleeps = False
            self._watch_wake.acquire(timeout=_WATCH_S)
        leader = self.leader
        if leader is not None and leader.since and monotonic() - leader.since > _STUCK_S:
            self._look_twice(leader)

    def _look_twice(self, leader: Member) -> None:
        """Depose a leader that is stuck, but not one that was only kept from running.

        On a busy machine a thread can be off the processor for longer than any quick view takes. Another leader would
        not get there sooner, and two of them cost more than one.
        """
        since, waited_s, begun = leader.since, leader.queued_s(), monotonic()
        self._watch_wake.acquire(timeout=_SECOND_LOOK_S)
        if self.leader is leader and leader.since == since:
            kept_waiting_s = leader.queued_s() - waited_s
            if kept_waiting_s < (monotonic() - begun) / 2:
                self._depose(leader)

    def _depose(self, member: Member) -> None:
        with self._lock:
            # It may have come out of the view since, or be no leader any more. Deposed while it polls it would notice
            # only with the next event, which the new leader then handles: that costs a wake-up and nothing else.
            if self.leader is not member or not member.since:
                return
            self.leader = None
            self._lead_by_any()
            if member.route is not None:
                # Those who ask for the same meanwhile need not be a surprise too.
                member.route.wall_s = max(member.route.wall_s, BEARABLE_S)
