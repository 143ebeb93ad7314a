"""The figures as pictures for docs/, which can be read on white and on black.

matplotlib is in the group `dev` of pyproject.toml, and is imported by nothing but this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.measure import Cell, Cells
from bench.report import IMAGES, PLOT
from bench.scenarios import Scenario
from bench.targets import FLOOR, OURS, PEER

if TYPE_CHECKING:
    from bench.connections import Cost
    from bench.endurance import Step

# About as far from white as from black.
_INK, _LINES = "#7b8088", "#7b808840"
_OURS, _FLOOR, _PEER = "#d9822b", "#3f9c74", "#8a6bb8"
_OTHERS = ("#3d8fc4", "#c05a6e", "#7a9a3a", "#b07aa8", "#5a9aa8", "#a8885a", "#6a7fc0", "#9a9a4a", "#c07a4a")


@contextmanager
def picture(name: str, width: float, height: float, columns: int = 1) -> Iterator[Any]:
    """Give the axes of a picture that is written to docs/images/`name` in the end; inches."""
    import matplotlib as mpl
    from matplotlib import pyplot

    mpl.use("svg")
    style = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": name,  # the same figures give the same file
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _LINES,
        "axes.labelcolor": _INK,
        "axes.titlecolor": _INK,
        "axes.titlesize": 11,
        "text.color": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "grid.color": _LINES,
        "axes.grid": True,
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        figure, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")
        yield axes
        IMAGES.mkdir(exist_ok=True)
        figure.savefig(IMAGES / name, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def note(axes: Any, text: str, point: tuple[float, float]) -> None:
    axes.annotate(text, point, (0, 7), textcoords="offset points", ha="center", fontsize=8.5)


def campaign(scenarios: Sequence[Scenario], cells: Cells) -> None:
    """Draw what a request costs: a row for each scenario, a dot for each server."""
    shown = [each for each in scenarios if any(name == each.name and usable(cell) for (name, _), cell in cells.items())]
    servers = list(dict.fromkeys(server for (_, server), cell in cells.items() if usable(cell)))
    colours = dict(zip((name for name in servers if name not in (OURS, FLOOR, PEER)), _OTHERS * 2, strict=False))
    colours |= {OURS: _OURS, FLOOR: _FLOOR, PEER: _PEER}
    with picture(PLOT, 9, 1.6 + 0.42 * len(shown)) as axes:
        for server in sorted(servers, key=lambda name: name == OURS):  # ours on top
            points = [
                (cells[each.name, server].median().cpu_us, row)
                for row, each in enumerate(shown)
                if usable(cells.get((each.name, server)))
            ]
            size = 90 if server == OURS else 42
            axes.scatter(*zip(*points, strict=True), s=size, color=colours[server], label=server, zorder=3)
            if server == OURS:
                for cost, row in points:
                    note(axes, f"{cost:,.0f}", (cost, row))
        axes.set_xscale("log")
        axes.set_yticks(range(len(shown)), [each.title.replace("`", "") for each in shown])
        axes.set_ylim(len(shown) - 0.5, -0.7)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("CPU microseconds a request (logarithmic; further left is better)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, handletextpad=0.2)


def usable(cell: Cell | None) -> bool:
    return cell is not None and bool(cell.samples) and not cell.failure


def connections(costs: Sequence[Cost]) -> None:
    """Draw what a request costs, and what the server holds, over the idle connections."""
    with picture("connections.svg", 9, 3.2, columns=2) as (left, right):
        places = range(len(costs))
        for axes, values, title in (
            (left, [cost.cpu_us for cost in costs], "CPU microseconds a request"),
            (right, [cost.memory_mb for cost in costs], "memory, MB"),
        ):
            axes.plot(places, values, color=_OURS, marker="o", linewidth=2, clip_on=False)
            for place, value in zip(places, values, strict=True):
                note(axes, f"{value:.1f}", (place, value))
            axes.set_xticks(places, [f"{cost.idle:,.0f}" for cost in costs])
            axes.set_ylim(0, max(values) * 1.25)
            axes.set_title(title, loc="left")
            axes.set_xlabel("idle connections beside the 64 of the load")


def endurance(steps: Sequence[Step]) -> None:
    """Draw what a request costs, and what the server holds, over the requests answered."""
    with picture("endurance.svg", 9, 3.2, columns=2) as (left, right):
        loaded = steps[1:]
        for axes, shown, values, title in (
            (left, loaded, [step.cpu_us for step in loaded], "CPU microseconds a request"),
            (right, steps, [step.memory_mb for step in steps], "memory, MB"),
        ):
            axes.plot([step.requests / 1000 for step in shown], values, color=_OURS, linewidth=2)
            axes.set_ylim(0, max(values) * 1.25)
            axes.set_xlim(left=0)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_title(title, loc="left")
            axes.set_xlabel("thousand requests answered")
