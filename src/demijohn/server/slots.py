"""What the processes of a server know of each other: one row for each worker, in memory they share.

The memory is an anonymous mapping made before the first fork: no file, nothing to clean up, and whatever
happens to a worker, the last it wrote can still be read. Each cell is written by one process only.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol

_CELL_BYTES = 8
_ROW_CELLS = 16  # two cache lines, so that workers do not slow each other down by writing
_TEXT_BYTES = 16384
_MOST_READS = 100  # of a text that is being written; a write takes microseconds


class State(IntEnum):
    """How far a worker is."""

    BOOTING = 0
    READY = 1
    DRAINING = 2


class Cells(Protocol):
    """What has cells: numbers side by side in shared memory."""

    row: memoryview


class Cell:
    """One number of a row. Aligned and eight bytes wide, so another process never reads half of it."""

    __slots__ = ("_index",)

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, holder: Cells, owner: type[Cells]) -> int:
        return holder.row[self._index]

    def __set__(self, holder: Cells, value: int) -> None:
        holder.row[self._index] = value


class Slot:
    """The row of one worker, and a text that says what it does."""

    __slots__ = ("_text", "number", "row")

    pid = Cell(0)
    state = Cell(1)
    heartbeat_ns = Cell(2)  # time.monotonic_ns(), which is the same clock in all processes
    requests = Cell(3)  # answered so far
    started_ns = Cell(4)  # time.time_ns()
    threads = Cell(5)
    busy = Cell(6)  # threads inside views
    in_flight = Cell(7)  # requests inside views, and those that await
    connections = Cell(8)
    _version = Cell(9)  # of the text; odd while it is being written
    _text_bytes = Cell(10)
    waiting = Cell(11)  # requests for which no thread is free

    def __init__(self, row: memoryview, text: memoryview, number: int) -> None:
        self.row = row
        self.number = number
        self._text = text

    def beat(self) -> None:
        """Say that this worker is alive and its interpreter runs."""
        self.heartbeat_ns = time.monotonic_ns()

    def show(self, text: bytes) -> None:
        """Replace the text that others can read; what is too long is left out."""
        if len(text) <= _TEXT_BYTES:
            self._version += 1
            self._text[: len(text)] = text
            self._text_bytes = len(text)
            self._version += 1

    def shown(self) -> bytes:
        """Return the text last shown; none when its writer was ended while it wrote."""
        for _ in range(_MOST_READS):
            version = self._version
            text = bytes(self._text[: self._text_bytes])
            if version % 2 == 0 and version == self._version:
                return text
        return b""


class SlotTable:
    """The rows of all workers. Only the arbiter takes and returns them; every process can read them."""

    def __init__(self, capacity: int) -> None:
        # The first row is the arbiter's own: how many of the others have ever been in use, and whether it is leaving.
        self._cells = memoryview(mmap.mmap(-1, (capacity + 1) * _ROW_CELLS * _CELL_BYTES)).cast("q")
        self._texts = memoryview(mmap.mmap(-1, capacity * _TEXT_BYTES))
        self._free = set(range(capacity))

    def take(self) -> Slot | None:
        """Return a row of zeros, or None when all are in use."""
        if not self._free:
            return None
        number = min(self._free)  # so that few pages are touched
        self._free.remove(number)
        slot = self.at(number)
        _clear(slot)
        self._cells[0] = max(self._cells[0], number + 1)
        return slot

    def release(self, slot: Slot) -> None:
        """Give the row of a worker that is gone back."""
        _clear(slot)
        self._free.add(slot.number)

    @property
    def is_leaving(self) -> bool:
        """Whether the server has been asked to stop: it may still serve, but is to be sent nothing new."""
        return self._cells[1] != 0

    @is_leaving.setter
    def is_leaving(self, leaving: bool) -> None:
        self._cells[1] = leaving

    def workers(self) -> Iterator[Slot]:
        """Yield the rows of the workers there are."""
        for number in range(self._cells[0]):
            slot = self.at(number)
            if slot.pid:
                yield slot

    def fewest_connections(self) -> int:
        """Return how many connections the worker has that serves and has the fewest; 0 when none serves."""
        return min((slot.connections for slot in self.workers() if slot.state == State.READY), default=0)

    def at(self, number: int) -> Slot:
        """Return the row with this number, which another process may have taken."""
        return Slot(
            self._cells[(number + 1) * _ROW_CELLS : (number + 2) * _ROW_CELLS],
            self._texts[number * _TEXT_BYTES : (number + 1) * _TEXT_BYTES],
            number,
        )


def _clear(slot: Slot) -> None:
    slot.row[:] = memoryview(bytes(len(slot.row) * _CELL_BYTES)).cast("q")
