"""`python -m bench`: measure demijohn beside nginx and its peers, one worker on one core each."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from bench import plots, report
from bench.boot import boots
from bench.imports import import_costs
from bench.measure import campaign
from bench.scenarios import SCENARIOS
from bench.servers import SERVERS, Place, ServerError, version_line
from bench.targets import verdicts

BENCH = Path(__file__).parent
BOOT = "boot"
IMPORTS = "imports"
TOOLS = {"nginx": "nginx", "wrk": "wrk", "taskset": "util-linux"}


def main(arguments: list[str]) -> int:
    """Return the exit status: 1 when a measurement failed or, with --check, when a target was not met."""
    options = parsed(arguments)
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in options.only]
    servers = [server for server in SERVERS if server.name in options.servers]
    server_core, load_core = two_cores()
    require_tools()
    with tempfile.TemporaryDirectory(prefix="demijohn-bench-") as directory:
        os.chmod(directory, 0o755)  # nginx's worker gives up root
        place = Place(server_core, peers_python(options.peers_venv), Path(directory))
        versions = {server.name: version_line(server, place) for server in servers}
        say(f"servers on core {server_core}, wrk on core {load_core}; " + "; ".join(versions.values()))
        booted = boots(servers, place, max(options.repeat, 5), say) if BOOT in options.only else []
        cells = campaign(scenarios, servers, place, load_core, options.seconds, options.repeat, say)
    imports = import_costs(place.peers_python, max(options.repeat, 5)) if IMPORTS in options.only else []
    command = shlex.join(["python", "-m", "bench", *arguments])
    result = report.Campaign(command, versions, options.seconds, options.repeat, scenarios, cells, imports, booted)
    print(report.table(result))
    publish(result, options)
    return status_of(result, options.check)


def parsed(arguments: list[str]) -> Any:
    names = [*(scenario.name for scenario in SCENARIOS), BOOT, IMPORTS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 1 s each: to see that all runs")
    parser.add_argument("--only", type=one_of(names), default=names, metavar="A,B", help="of " + ", ".join(names))
    servers = [server.name for server in SERVERS]
    parser.add_argument(
        "--servers", type=one_of(servers), default=servers, metavar="A,B", help="of " + ", ".join(servers)
    )
    parser.add_argument("--seconds", type=positive, help="whole seconds of each run (3)")
    parser.add_argument("--repeat", type=positive, help="rounds (5)")
    parser.add_argument("--peers-venv", type=Path, help="an environment with requirements.txt (bench/.venv, made here)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument("--markdown", action="store_true", help="write the table and its plot into docs/")
    parser.add_argument("--check", action="store_true", help="print which targets are met; exit with 1 if one is not")
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or (1 if options.quick else 3)
    options.repeat = options.repeat or (1 if options.quick else 5)
    return options


def one_of(names: list[str]) -> Any:
    def chosen(text: str) -> list[str]:
        wanted = text.split(",")
        if unknown := [name for name in wanted if name not in names]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not one of {', '.join(names)}")
        return wanted

    return chosen


def positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def two_cores() -> tuple[int, int]:
    """Return the core for servers and the core for wrk, and move this program to the latter."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two cores: one for the server, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    return cores[0], cores[1]


def require_tools() -> None:
    if missing := [package for tool, package in TOOLS.items() if not shutil.which(tool)]:
        raise SystemExit(f"the benchmark needs programs that are not here: apt-get install {' '.join(missing)}")


def peers_python(chosen: Path | None) -> Path:
    """Return the interpreter of the peers' environment; without `chosen`, of bench/.venv, made as pinned."""
    if chosen:
        return chosen.absolute() / "bin" / "python"
    home, pins = BENCH / ".venv", BENCH / "requirements.txt"
    python, stamp = home / "bin" / "python", home / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != pins.read_bytes():
        say(f"making {home}")
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", pins], check=True)
        shutil.copy(pins, stamp)
    return python


def publish(result: report.Campaign, options: Any) -> None:
    if options.json:
        options.json.write_text(report.as_json(result) + "\n")
    if options.markdown:
        report.publish("", report.markdown(result))
        plots.campaign(result.scenarios, result.cells)


def status_of(result: report.Campaign, check: bool) -> int:
    found = verdicts(result.cells, result.boots) if check else []
    print(*report.check_lines(found), sep="\n", end="\n" if found else "")
    failed = any(cell.failure for cell in result.cells.values()) or any(cost.cpu_ms is None for cost in result.imports)
    failed = failed or any(entry.failure for entry in result.boots)
    return 1 if failed or not all(verdict.met for verdict in found) else 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ServerError as error:
        sys.exit(str(error))
