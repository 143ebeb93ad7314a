"""A campaign as a table for people, as Markdown for docs/performance.md, and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.boot import Boots
from bench.imports import ImportCost
from bench.measure import Cell, Cells
from bench.scenarios import Scenario
from bench.targets import FLOOR, PEER, Verdict, verdicts

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PLOT = "performance.svg"
IMAGES = DOCUMENT.parent / "images"
HEADINGS = [
    "scenario", "server", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "MB", "spread",
    f"x {FLOOR}", f"less than {PEER}",
]  # fmt: skip


@dataclass(slots=True)
class Campaign:
    """Everything a reader needs to judge the figures and to make them again."""

    command: str
    versions: dict[str, str]
    seconds: int
    repeat: int
    scenarios: Sequence[Scenario]
    cells: Cells
    imports: list[ImportCost]
    boots: list[Boots] = field(default_factory=list)
    made: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    machine: str = field(default_factory=lambda: machine())
    commit: str = field(default_factory=lambda: commit())


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()},"
        f" {platform.python_implementation()} {platform.python_version()}"
    )


def commit() -> str:
    """Return the short name of the commit checked out, with "+" when the tree differs; "unknown" outside of git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def rows(campaign: Campaign) -> list[list[str]]:
    """Return the table's cells as text, one row for each scenario and server, in the order of HEADINGS."""
    return [
        [scenario.title, server, *figures(cell, campaign.cells, scenario.name)]
        for scenario in campaign.scenarios
        for (name, server), cell in campaign.cells.items()
        if name == scenario.name
    ]


def figures(cell: Cell, cells: Cells, scenario: str) -> list[str]:
    if cell.failure or not cell.samples:
        return ["failed", *[""] * 7]
    median = cell.median()
    floor, peer = (cost(cells.get((scenario, server))) for server in (FLOOR, PEER))
    return [
        f"{median.requests_per_s:,.0f}",
        f"{median.p50_ms:.2f}",
        f"{median.p99_ms:.2f}",
        f"{median.cpu_us:.1f}",
        f"{median.memory_mb:.0f}",
        f"±{cell.spread():.0%}",
        f"{median.cpu_us / floor:.2f}" if floor else "",
        f"{peer / median.cpu_us:.1f} x" if peer else "",
    ]


def cost(cell: Cell | None) -> float | None:
    return cell.median().cpu_us if cell and cell.samples and not cell.failure else None


def table(campaign: Campaign) -> str:
    """Return the whole result as aligned text."""
    lines = [HEADINGS, *rows(campaign)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [
        "  ".join(
            part.ljust(width) if column < 2 else part.rjust(width)
            for column, (part, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    text += [disturbance(campaign.cells)]
    text += [f"{found.program!r}: {import_text(found)}" for found in campaign.imports]
    text += [" ".join([entry.server, "from start to first answer:", *boot_figures(entry)]) for entry in campaign.boots]
    text += [
        f"FAILED {scenario}, {server}: {cell.failure.splitlines()[0]}"
        for (scenario, server), cell in campaign.cells.items()
        if cell.failure
    ]
    return "\n".join(text)


def disturbance(cells: Cells) -> str:
    shares = [sample.others for cell in cells.values() for sample in cell.samples]
    disturbed = sum(cell.disturbed for cell in cells.values())
    if not shares:
        return "Nothing was measured."
    return (
        f"Meanwhile all other processes took {statistics.median(shares):.0%} of a core (median of the slices),"
        f" {max(shares):.0%} at most. Of {len(shares) + disturbed} slices {disturbed} were set aside, in which the core"
        " itself was slowed."
    )


def import_text(found: ImportCost) -> str:
    return "failed" if found.cpu_ms is None else f"{found.cpu_ms:.0f} ms of CPU"


def boot_figures(entry: Boots) -> list[str]:
    if entry.failure or not entry.samples:
        return ["failed", "", ""]
    median = entry.median()
    return [f"{median.wall_ms:.0f} ms", f"{median.cpu_ms:.0f} ms", f"{median.idle_mb:.1f} MB"]


def check_lines(found: Sequence[Verdict]) -> list[str]:
    words = {True: "met", False: "NOT MET", None: "not measured"}
    return [
        f"{words[verdict.met]}: {verdict.sentence}" + f" ({verdict.found})" * (verdict.met is not None)
        for verdict in found
    ]


def markdown(campaign: Campaign) -> str:
    """Return what stands between the markers of docs/performance.md."""
    versions = "; ".join(f"{name}: {version}" for name, version in campaign.versions.items())
    lines = [
        f"Made {campaign.made} at commit `{campaign.commit}` by `{campaign.command}`",
        f"({campaign.repeat} rounds of {campaign.seconds} calm slices of 1 s, medians) on {campaign.machine}.",
        f"{versions}.",
        disturbance(campaign.cells),
        "",
        *([f"![CPU microseconds for a request, by scenario and server](images/{PLOT})", ""] if campaign.cells else []),
        "| " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * 2 + "---:|" * (len(HEADINGS) - 2),
        *("| " + " | ".join(row) + " |" for row in rows(campaign)),
    ]
    if campaign.imports:
        lines += ["", "| program in a fresh interpreter | CPU beyond an empty program |", "|---|---:|"]
        lines += [f"| `{found.program}` | {import_text(found)} |" for found in campaign.imports]
    if campaign.boots:
        lines += ["", "| server | start to first answer | CPU until idle | memory when idle |", "|---|---:|---:|---:|"]
        lines += [f"| {' | '.join([entry.server, *boot_figures(entry)])} |" for entry in campaign.boots]
    lines += ["", *(f"- {line}" for line in check_lines(verdicts(campaign.cells, campaign.boots)))]
    return "\n".join(lines)


def replace_between_markers(document: str, text: str, name: str = "") -> str:
    """Return `document` with `text` in place of what stood between the markers, of the benchmark `name` if it has one.

    Raises ValueError when the markers are not there, once each and in order.
    """
    begin, end = (marker.replace("bench", f"bench {name}".strip(), 1) for marker in (BEGIN, END))
    if document.count(begin) != 1 or document.count(end) != 1 or document.index(begin) > document.index(end):
        raise ValueError(f"the document needs one line {begin!r} and, below it, one line {end!r}")
    head, _, rest = document.partition(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def publish(name: str, text: str) -> None:
    """Write what the benchmark `name` has found into docs/performance.md."""
    DOCUMENT.write_text(replace_between_markers(DOCUMENT.read_text(), text, name))


def circumstances(command: str, repeat: int, seconds: int) -> str:
    """Return the sentence that says when, where and how figures were made."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    rounds = f"{repeat} rounds of {seconds} s, medians" if repeat > 1 else f"steps of {seconds} s"
    return f"Made {made} at commit `{commit()}` by `{command}` ({rounds}) on {machine()}."


def as_json(campaign: Campaign) -> str:
    """Return every sample, for comparison with later campaigns."""
    return json.dumps(
        {
            "made": campaign.made,
            "machine": campaign.machine,
            "commit": campaign.commit,
            "command": campaign.command,
            "versions": campaign.versions,
            "seconds": campaign.seconds,
            "results": [
                {"scenario": scenario, "server": server, **asdict(cell)}
                for (scenario, server), cell in campaign.cells.items()
            ],
            "imports": [asdict(found) for found in campaign.imports],
            "boots": [asdict(found) for found in campaign.boots],
            "targets": [asdict(verdict) for verdict in verdicts(campaign.cells, campaign.boots)],
        },
        indent=2,
    )
