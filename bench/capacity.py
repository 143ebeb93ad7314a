"""How many machines a load takes, from what a request costs: `python -m bench.capacity --help`."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

# Above this part of a core, queues grow faster than the load does.
UTILISATION = 0.6
# Of a machine's cores, for what is not the application: the kernel's network, the proxy, the log.
OVERHEAD = 0.1
HOURS_A_MONTH = 730


@dataclass(frozen=True, slots=True)
class Fleet:
    """cores: as many as the load takes. machines: with one to spare, as any may be down. memory_mb: of each machine."""

    cores: float
    machines: int
    memory_mb: int
    cost_a_month: float


def fleet(
    requests_per_s: float,
    cpu_us: float,
    cores_per_machine: int = 4,
    price_per_hour: float = 0.0,
    worker_mb: float = 40.0,
    shared_mb: float = 60.0,
) -> Fleet:
    """Return what `requests_per_s` of `cpu_us` each take; one worker for each core."""
    cores = requests_per_s * cpu_us / 1e6 / UTILISATION
    machines = max(1, math.ceil(cores / (cores_per_machine * (1 - OVERHEAD)))) + 1
    memory = shared_mb + worker_mb * cores_per_machine
    return Fleet(cores, machines, round(memory), machines * price_per_hour * HOURS_A_MONTH)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition(":")[0] + ".",
        epilog="example: python -m bench.capacity --rps 5000 --cost hello=22 template=60 --cores 4 --price 0.17",
    )
    parser.add_argument("--rps", type=float, default=5000, help="requests a second at the busiest time [%(default)g]")
    parser.add_argument(
        "--cost",
        nargs="+",
        default=["demijohn=25", "gunicorn+Flask=350"],
        metavar="NAME=US",
        help="CPU microseconds of a request: of the server from docs/performance.md, and of your own view",
    )
    parser.add_argument("--cores", type=int, default=4, help="of a machine [%(default)s]")
    parser.add_argument("--price", type=float, default=0.17, help="of a machine, for an hour [%(default)s]")
    options = parser.parse_args()
    print(
        f"{options.rps:g} requests/s at {UTILISATION:.0%} of each core, machines of {options.cores} cores, one spare\n"
    )
    print("| | CPU us a request | cores | machines | MB each | a month |")
    print("|---|---:|---:|---:|---:|---:|")
    for item in options.cost:
        name, _, cost = item.partition("=")
        found = fleet(options.rps, float(cost), options.cores, options.price)
        print(
            f"| {name} | {float(cost):g} | {found.cores:.2f} | {found.machines} | {found.memory_mb}"
            f" | {found.cost_a_month:,.0f} |"
        )


if __name__ == "__main__":
    main()
