"""What compiling the hot modules with mypyc would give: `python -m bench.compiled`.

The package stays pure Python. This copies it to a temporary directory, compiles the copy of MODULES there,
as they are but for a set of weak references (it needs gcc, and mypy, of the group `dev`), and measures both copies
in turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.measure import Cells, campaign
from bench.report import circumstances, publish
from bench.scenarios import SCENARIOS
from bench.servers import SERVERS, Place, Server

PACKAGE = Path(__file__).parents[1] / "src" / "demijohn"
# The engine whole, as no class that is not compiled may inherit from one that is.
ENGINE = ("connections", "answering", "timekeeping", "accepting", "loop", "native_engine", "conversing")
MODULES = ("routing.py", *(f"server/{name}.py" for name in ("http1", "framing", "request_rules", *ENGINE)))
WANTED = ("hello", "json")
SECONDS = 2
PURE, COMPILED = "pure Python", "compiled"
_BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import setup

modules = sys.argv[3:]
del sys.argv[3:]
options = ["--ignore-missing-imports", "--follow-imports=silent"]
setup(name="compiled", packages=[], ext_modules=mypycify([*options, *modules], opt_level="2"))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compiled", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--repeat", type=int, default=5, help="rounds [%(default)s]")
    parser.add_argument("--markdown", action="store_true", help="write the table into docs/performance.md")
    options = parser.parse_args(arguments)
    if not shutil.which("gcc"):
        raise SystemExit("compiling needs a compiler: apt-get install gcc python3-dev")
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        home = Path(directory)
        servers = [copied(home / "pure", PURE), copied(home / "compiled", COMPILED)]
        build(home / "compiled")
        place = Place(server_core, Path(sys.executable), home)
        scenarios = [scenario for scenario in SCENARIOS if scenario.name in WANTED]
        cells = campaign(scenarios, servers, place, load_core, SECONDS, options.repeat, print)
    lines = table(cells)
    print("\n".join(lines))
    failures = [cell.failure for cell in cells.values() if cell.failure]
    print(*failures, sep="\n", end="")
    if options.markdown and not failures:
        told = circumstances("python -m bench.compiled --markdown", options.repeat, SECONDS)
        publish("compiled", "\n".join([told, f"Compiled are {', '.join(MODULES)}.", "", *lines]))
    return 1 if failures else 0


def copied(home: Path, name: str) -> Server:
    """Copy the package, and return the server that is run from the copy."""
    shutil.copytree(PACKAGE, home / "demijohn", ignore=shutil.ignore_patterns("__pycache__"))
    ours = next(server for server in SERVERS if server.name == "demijohn")
    return replace(ours, name=name, environment=ours.environment | {"PYTHONPATH": str(home)})


def build(home: Path) -> None:
    """Put extension modules beside the sources of MODULES. Raises subprocess.CalledProcessError."""
    forking = home / "demijohn" / "server" / "forking.py"
    # There are no weak references to compiled objects.
    forking.write_text(forking.read_text().replace("] = WeakSet()", "] = set()  # type: ignore"))
    modules = [f"demijohn/{module}" for module in MODULES]
    command = [sys.executable, "-c", _BUILD, "build_ext", "--inplace", *modules]
    subprocess.run(command, cwd=home, env={**os.environ, "MYPYPATH": "."}, check=True, stdout=subprocess.DEVNULL)
    for module in modules:
        if not list((home / module).parent.glob(f"{Path(module).stem}.*.so")):
            raise SystemExit(f"{module} was not compiled")


def table(cells: Cells) -> list[str]:
    lines = [f"| CPU us/request | {PURE} | {COMPILED} | |", "|---|---:|---:|---:|"]
    for scenario in SCENARIOS:
        pure, compiled = cells.get((scenario.name, PURE)), cells.get((scenario.name, COMPILED))
        if pure and compiled and pure.samples and compiled.samples:
            costs = pure.median().cpu_us, compiled.median().cpu_us
            lines.append(f"| {scenario.title} | {costs[0]:.1f} | {costs[1]:.1f} | {costs[1] / costs[0] - 1:+.0%} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
