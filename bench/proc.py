"""CPU time of a process tree, read from /proc (proc(5), /proc/pid/stat)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Process:
    """One process; `ticks` is the CPU time of all its threads and of the children it has waited for."""

    pid: int
    parent: int
    session: int
    ticks: int


def parse_stat(text: str) -> Process:
    """Return what /proc/pid/stat says. The command's name may hold spaces and parentheses of its own."""
    before, _, after = text.rpartition(")")
    fields = after.split()
    # Counted from field 3, the state: 4 ppid, 6 session, 14 utime, 15 stime, 16 cutime, 17 cstime.
    return Process(int(before.split()[0]), int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])))


def read_processes() -> Iterator[Process]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield parse_stat(path.read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the reading


def tree_of(root: int, processes: Iterable[Process]) -> list[Process]:
    """Return the processes that descend from `root` or are in the session it leads, `root` first.

    The session keeps those whose parent ended.
    """
    known = list(processes)
    tree = [process for process in known if process.pid == root]
    members = {root}
    grew = True
    while grew:
        grew = False
        for process in known:
            if process.pid not in members and (process.parent in members or process.session == root):
                members.add(process.pid)
                tree.append(process)
                grew = True
    return tree


def cpu_seconds(processes: Iterable[Process]) -> float:
    """Return the user and system time they spent so far, to 1 / TICKS_PER_SECOND."""
    return sum(process.ticks for process in processes) / TICKS_PER_SECOND


def cpu_ms_of(root: int) -> float:
    """Return the CPU milliseconds that all threads of the tree of `root` that still live have spent.

    To the nanosecond, as the scheduler counts them (/proc/pid/task/tid/schedstat), where `spent_by` counts ticks.
    """
    total = 0
    for process in tree_of(root, read_processes()):
        for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                total += int(path.read_text().split()[0])
    return total / 1e6


def spent_by(root: int) -> float:
    """Return the CPU seconds spent so far by `root` and all that it started."""
    return cpu_seconds(tree_of(root, read_processes()))


def spent_by_others(root: int) -> float:
    """Return the CPU seconds spent so far by all processes of the machine but the tree of `root`."""
    processes = list(read_processes())
    return cpu_seconds(processes) - cpu_seconds(tree_of(root, processes))


def memory_of(root: int) -> float:
    """Return the bytes of memory that the tree of `root` holds; what is shared counts for each in part (PSS)."""
    total = 0
    for process in tree_of(root, read_processes()):
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024.0
