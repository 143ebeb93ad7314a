"""The CPU time of a process tree."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from bench.proc import Process, parse_stat, read_processes, spent_by, spent_by_others, tree_of


@pytest.mark.parametrize("command", ["python", "a b", "odd) (name", ")", "1 2 3 4"])
def test_fields_are_found_whatever_the_command_is_called(command: str) -> None:
    line = f"41 ({command}) S 7 40 39 0 -1 4194560 1 2 3 4 100 20 3 4000 20 0 17 0 99 1 2"
    assert parse_stat(line) == Process(pid=41, parent=7, session=39, ticks=100 + 20 + 3 + 4000)


def test_own_process_is_read_from_proc() -> None:
    own = next(process for process in read_processes() if process.pid == os.getpid())
    assert (own.parent, own.session) == (os.getppid(), os.getsid(0))


def test_tree_holds_descendants_in_any_order_and_orphans_of_the_session_only() -> None:
    processes = [
        Process(pid=13, parent=12, session=10, ticks=0),
        Process(pid=12, parent=10, session=10, ticks=0),
        Process(pid=10, parent=5, session=10, ticks=0),
        Process(pid=14, parent=1, session=10, ticks=0),  # its parent ended
        Process(pid=15, parent=13, session=15, ticks=0),  # leads a session of its own
        Process(pid=5, parent=1, session=5, ticks=0),
        Process(pid=11, parent=5, session=5, ticks=0),
    ]
    assert {process.pid for process in tree_of(10, processes)} == {10, 12, 13, 14, 15}


SPEND = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('spent', flush=True); sys.stdin.read()\n"
SPENDERS = {
    "itself": SPEND,
    "a thread": f"import threading\nthreading.Thread(target=exec, args=({SPEND!r}, {{}})).start()",
    "a child that runs": f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPEND!r}])",
    "a child that ended": (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPEND!r}], stdin=subprocess.DEVNULL,"
        " stdout=subprocess.DEVNULL)\nprint('spent', flush=True); sys.stdin.read()"
    ),
}


@pytest.mark.parametrize("who", SPENDERS)
def test_cpu_time_of_threads_and_children_counts(who: str) -> None:
    command = [sys.executable, "-c", SPENDERS[who]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline() == b"spent\n"
            assert spent_by(process.pid) >= 0.28  # /proc rounds down
            assert spent_by_others(os.getpid()) < spent_by_others(process.pid)
        finally:
            process.stdin.close()
