"""Medians, ratios, targets and the page they are written to."""

from __future__ import annotations

import json

import pytest
from bench.boot import Boot, Boots
from bench.measure import Cell, Sample, rotated
from bench.report import BEGIN, END, HEADINGS, Campaign, as_json, markdown, replace_between_markers, rows, table
from bench.scenarios import SCENARIOS
from bench.servers import SERVERS
from bench.targets import AT_MOST_TIMES_NGINX, BOOT_TARGETS, LESS_THAN, TARGETS, boot_verdicts, verdicts


def cell(*costs: float, p50_ms: float = 1.0, p99_ms: float = 2.0) -> Cell:
    return Cell([Sample(1000.0, p50_ms, p99_ms, cost, others=0.02) for cost in costs])


def campaign(cells: dict[tuple[str, str], Cell]) -> Campaign:
    return Campaign(
        "python -m bench",
        {"nginx": "nginx/1"},
        3,
        5,
        SCENARIOS,
        cells,
        [],
        made="today",
        machine="a machine",
        commit="abc",
    )


def test_one_slow_round_does_not_move_the_median() -> None:
    assert cell(20.0, 21.0, 90.0).median() == Sample(1000.0, 1.0, 2.0, 21.0, others=0.02)
    assert cell(20.0, 21.0, 22.0).spread() == pytest.approx(1 / 21)


def test_each_server_goes_first_in_some_round() -> None:
    assert {rotated(SERVERS, turn)[0].name for turn in range(len(SERVERS))} == {server.name for server in SERVERS}
    assert sorted(server.name for server in rotated(SERVERS, 7)) == sorted(server.name for server in SERVERS)


def test_rows_compare_with_nginx_and_with_flask() -> None:
    made = campaign(
        {("hello", "nginx"): cell(10.0), ("hello", "gunicorn+Flask"): cell(400.0), ("hello", "demijohn"): cell(20.0)}
    )
    assert dict(zip(HEADINGS, rows(made)[2], strict=True)) == {
        "scenario": "hello", "server": "demijohn", "requests/s": "1,000", "p50 ms": "1.00", "p99 ms": "2.00",
        "CPU us/request": "20.0", "MB": "0", "spread": "±0%", "x nginx": "2.00", "less than gunicorn+Flask": "20.0 x",
    }  # fmt: skip


def test_a_failure_is_told_and_its_figures_are_not() -> None:
    failed = cell(10.0)
    failed.failure = "of 9 answers wrk reports as errors: 1 status"
    made = campaign({("hello", "demijohn"): failed})
    assert "FAILED hello, demijohn: of 9 answers" in table(made)
    assert "10.0" not in table(made)
    assert "| failed |" in markdown(made)
    assert {verdict.met for verdict in verdicts(made.cells)} == {None}


ALL_MET = {
    ("hello", "nginx"): cell(8.0),
    ("hello", "gunicorn+Flask"): cell(300.0),
    ("hello", "demijohn"): cell(20.0),
    ("routes5", "demijohn"): cell(25.0),
    ("routes500", "demijohn"): cell(30.0),
    ("sleep", "gunicorn+Flask"): cell(400.0),
    ("sleep", "demijohn"): cell(100.0, p50_ms=15.9),
    ("mixed", "demijohn"): cell(20.0, p99_ms=19.9),
    ("jsonrpc", "gunicorn+Flask"): cell(360.0),
    ("jsonrpc", "aiohttp+pjrpc"): cell(120.0),
    ("jsonrpc", "demijohn"): cell(30.0),
    ("jsonrpc-batch", "demijohn"): cell(800.0),
    ("hello", "fastpysgi+Falcon"): cell(20.0),
    ("hello", "granian+BlackSheep"): cell(40.0),
    ("hooks", "demijohn"): cell(24.0),
    ("routes5000", "demijohn"): cell(30.0),
}
# Those that are alike: demijohn just as good as it has to be.
for scenario, peer, factor in LESS_THAN:
    if scenario != "hello":
        ALL_MET |= {(scenario, peer): cell(20.0 * factor), (scenario, "demijohn"): cell(20.0)}
for scenario, factor in AT_MOST_TIMES_NGINX:
    ALL_MET |= {(scenario, "nginx"): cell(20.0 / factor), (scenario, "demijohn"): cell(20.0)}


BOOTED = [
    Boots("gunicorn+Flask", [Boot(wall_ms=500.0, cpu_ms=200.0, idle_mb=40.0)]),
    Boots("demijohn", [Boot(wall_ms=300.0, cpu_ms=120.0, idle_mb=28.0)]),
]


def test_targets_are_met_at_their_limits() -> None:
    assert {verdict.met for verdict in verdicts(ALL_MET, BOOTED)} == {True}
    assert len(verdicts(ALL_MET, BOOTED)) == len(TARGETS) + len(BOOT_TARGETS)


@pytest.mark.parametrize(
    ("place", "worse"),
    [
        (("hello", "nginx"), cell(7.9)),
        (("hello", "gunicorn+Flask"), cell(299.0)),
        (("routes500", "demijohn"), cell(30.1)),
        (("sleep", "demijohn"), cell(100.1)),
        (("sleep", "demijohn"), cell(100.0, p50_ms=16.1)),
        (("mixed", "demijohn"), cell(20.0, p99_ms=20.1)),
        (("jsonrpc", "gunicorn+Flask"), cell(359.0)),
        (("jsonrpc", "aiohttp+pjrpc"), cell(119.0)),
        (("jsonrpc-batch", "demijohn"), cell(801.0)),
        (("hooks", "demijohn"), cell(24.1)),
        (("tls", "nginx"), cell(7.9)),
        (("echo", "fastpysgi+Falcon"), cell(39.0)),
    ],
)
def test_a_little_beyond_a_limit_one_target_is_not_met(place: tuple[str, str], worse: Cell) -> None:
    assert [verdict.met for verdict in verdicts(ALL_MET | {place: worse})].count(False) == 1


@pytest.mark.parametrize("worse", [Boot(301.0, 120.0, 28.0), Boot(300.0, 121.0, 28.0), Boot(300.0, 120.0, 28.1)])
def test_a_start_a_little_beyond_a_limit_does_not_meet_one_target(worse: Boot) -> None:
    assert [verdict.met for verdict in boot_verdicts([BOOTED[0], Boots("demijohn", [worse])])].count(False) == 1


def test_starts_that_failed_meet_nothing() -> None:
    made = campaign({})
    made.boots = [BOOTED[0], Boots("demijohn", failure="it did not listen")]
    assert {verdict.met for verdict in boot_verdicts(made.boots)} == {None}
    assert "| demijohn | failed |  |  |" in markdown(made)


def test_targets_name_scenarios_and_servers_that_exist() -> None:
    cells = {(scenario.name, server.name) for scenario in SCENARIOS for server in SERVERS if server.serves(scenario)}
    assert {place for target in TARGETS for place in target.cells} <= cells


def test_the_page_keeps_what_is_around_the_markers() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_between_markers(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_markers_is_not_touched(page: str) -> None:
    with pytest.raises(ValueError, match="bench: begin"):
        replace_between_markers(page, "new")


def test_json_holds_every_sample() -> None:
    made = json.loads(as_json(campaign({("hello", "demijohn"): cell(20.0, 21.0)})))
    assert [sample["cpu_us"] for sample in made["results"][0]["samples"]] == [20.0, 21.0]
