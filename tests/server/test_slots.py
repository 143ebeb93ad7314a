"""Rows of shared memory: what one process writes, the others read."""

from __future__ import annotations

import subprocess
import sys

from demijohn.server.slots import SlotTable, State

# In a process of its own: this one may have threads, and forking with threads is asking for trouble.
FORKED = """
import os, time
from demijohn.server.slots import SlotTable, State
slot = SlotTable(4).take()
pid = os.fork()
if pid == 0:
    slot.pid, slot.state, slot.requests = os.getpid(), State.READY, 2**40
    slot.beat()
    os._exit(0)
os.waitpid(pid, 0)
assert (slot.pid, slot.state, slot.requests) == (pid, State.READY, 2**40)
assert 0 < slot.heartbeat_ns <= time.monotonic_ns()
"""


def test_what_a_worker_writes_its_parent_reads() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True)


def test_a_row_is_empty_for_the_next_worker() -> None:
    table = SlotTable(1)
    slot = table.take()
    assert slot is not None
    slot.requests = 7
    table.release(slot)
    again = table.take()
    assert again is not None
    assert (again.requests, again.state) == (0, State.BOOTING)


def test_a_text_can_be_read_as_it_was_shown_last() -> None:
    slot = SlotTable(1).take()
    assert slot is not None
    assert slot.shown() == b""
    slot.show(b"longer than the next")
    slot.show(b"short")
    assert slot.shown() == b"short"
    slot.show(bytes(1_000_000))  # too long for its place
    assert slot.shown() == b"short"


def test_a_text_whose_writer_ended_half_way_is_none() -> None:
    slot = SlotTable(1).take()
    assert slot is not None
    slot.show(b"whole")
    slot._version += 1
    assert slot.shown() == b""


def test_the_rows_of_workers_are_found_by_others() -> None:
    table = SlotTable(4)
    slots = [table.take() for _ in range(3)]
    for pid, slot in enumerate(slots, 100):
        assert slot is not None
        slot.pid = pid
    assert [slot.pid for slot in table.workers()] == [100, 101, 102]
    assert slots[1] is not None
    table.release(slots[1])
    assert [slot.pid for slot in table.workers()] == [100, 102]


def test_the_fewest_connections_are_those_of_a_worker_that_serves() -> None:
    table = SlotTable(4)
    assert table.fewest_connections() == 0
    for pid, (state, connections) in enumerate(
        [(State.READY, 7), (State.READY, 5), (State.BOOTING, 0), (State.DRAINING, 1)], 100
    ):
        slot = table.take()
        assert slot is not None
        slot.pid, slot.state, slot.connections = pid, state, connections
    assert table.fewest_connections() == 5


def test_rows_do_not_touch_each_other() -> None:
    table = SlotTable(3)
    slots = [table.take() for _ in range(3)]
    for number, slot in enumerate(slots):
        assert slot is not None
        slot.requests = number + 1
    assert [slot.requests for slot in slots if slot] == [1, 2, 3]
    assert table.take() is None


def test_the_row_given_back_is_the_next_taken() -> None:
    table = SlotTable(3)
    first, second = table.take(), table.take()
    assert first is not None
    assert second is not None
    table.release(first)
    third = table.take()
    assert third is not None
    third.requests = 5
    assert second.requests == 0
