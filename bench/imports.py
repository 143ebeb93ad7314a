"""The CPU time that importing a framework and naming its class takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class ImportCost:
    """CPU milliseconds of a fresh interpreter that runs `program`, less what an empty program takes.

    `cpu_ms` is None when the program failed; its traceback went to standard error.
    """

    program: str
    cpu_ms: float | None


def import_costs(peers_python: Path, repeat: int) -> list[ImportCost]:
    """Return demijohn's and Flask's cost, each the median of `repeat` runs after one that fills caches."""
    return [
        import_cost(Path(sys.executable), "import demijohn; demijohn.Flask", repeat),
        import_cost(peers_python, "import flask; flask.Flask", repeat),
    ]


def import_cost(python: Path, program: str, repeat: int) -> ImportCost:
    try:
        costs = [cpu_ms(python, program) - cpu_ms(python, "") for _ in range(repeat + 1)]
    except subprocess.CalledProcessError:
        return ImportCost(program, None)
    return ImportCost(program, statistics.median(costs[1:]))


def cpu_ms(python: Path, program: str) -> float:
    """Return the user and system time of one run, in milliseconds.

    Raises subprocess.CalledProcessError when the program fails.
    """
    # Bytecode is written in the first run, as where a package is installed, and read in the others.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([python, "-c", program], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # waited for here, so Popen need not
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return (usage.ru_utime + usage.ru_stime) * 1e3
