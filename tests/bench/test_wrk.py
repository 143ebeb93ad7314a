"""What wrk is told, and what is taken from its output."""

from __future__ import annotations

import json

import pytest
from bench.wrk import Load, LoadError, Tally, lua_string, parse_tally, script


def output(requests: int = 1000, **errors: int) -> str:
    kinds = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0) | errors
    result = {"requests": requests, "microseconds": 2_000_000, "p50": 1500, "p99": 20_250, "errors": kinds}
    return f"Running 2s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n\n{json.dumps(result)}\n"


def test_tally_is_in_seconds_and_milliseconds() -> None:
    assert parse_tally(output()) == Tally(requests=1000, seconds=2.0, p50_ms=1.5, p99_ms=20.25)


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
def test_any_error_fails_the_run(kind: str) -> None:
    with pytest.raises(LoadError, match=f"1 {kind}"):
        parse_tally(output(**{kind: 1}))


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", output(requests=0)])
def test_a_run_without_answers_fails(text: str) -> None:
    with pytest.raises(LoadError):
        parse_tally(text)


def test_text_reaches_lua_as_its_bytes() -> None:
    assert lua_string('a"b\\c\n\u00e9') == r'"a\034b\092c\010\195\169"'


def test_several_targets_are_asked_for_in_turn() -> None:
    assert '{"/a", "/b"}' in script(Load({"/a": "", "/b": ""}))
    assert "function request" not in script(Load({"/a": ""}))
