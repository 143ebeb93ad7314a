"""What the processes of a server know of each other: one row for each worker, in memory they share.

The memory is an anonymous mapping made before the first fork: no file, nothing to clean up, and whatever
happens to a worker, the last it wrote can still be read. Each cell is written by one process only.
"""

from __future__ import annotations

import mmap
import time
from enum import IntEnum

_CELL_BYTES = 8
_ROW_CELLS = 16  # two cache lines, so that workers do not slow each other down by writing


class State(IntEnum):
    """How far a worker is."""

    BOOTING = 0
    READY = 1
    DRAINING = 2


class _Cell:
    """One number of a row. Aligned and eight bytes wide, so another process never reads half of it."""

    __slots__ = ("_index",)

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, slot: Slot, owner: type[Slot]) -> int:
        return slot._row[self._index]

    def __set__(self, slot: Slot, value: int) -> None:
        slot._row[self._index] = value


class Slot:
    """The row of one worker."""

    __slots__ = ("_row", "number")

    pid = _Cell(0)
    state = _Cell(1)
    heartbeat_ns = _Cell(2)  # time.monotonic_ns(), which is the same clock in all processes
    requests = _Cell(3)  # answered so far

    def __init__(self, row: memoryview, number: int) -> None:
        self._row = row
        self.number = number

    def beat(self) -> None:
        """Say that this worker is alive and its interpreter runs."""
        self.heartbeat_ns = time.monotonic_ns()


class SlotTable:
    """The rows of all workers. Only the arbiter takes and returns them."""

    def __init__(self, capacity: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, capacity * _ROW_CELLS * _CELL_BYTES)).cast("q")
        self._free = set(range(capacity))

    def take(self) -> Slot | None:
        """Return a row of zeros, or None when all are in use."""
        if not self._free:
            return None
        number = min(self._free)  # so that few pages are touched
        self._free.remove(number)
        row = self._cells[number * _ROW_CELLS : (number + 1) * _ROW_CELLS]
        row[:] = memoryview(bytes(len(row) * _CELL_BYTES)).cast("q")
        return Slot(row, number)

    def release(self, slot: Slot) -> None:
        """Give the row of a worker that is gone back."""
        self._free.add(slot.number)
