"""`demijohn call`: what is sent for the words of a command line, what is printed, and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(shop_url: str, tmp_path: Path) -> Call:
    def run(*words: str, url: str = shop_url) -> subprocess.CompletedProcess[str]:
        options = [word for word in words if word.startswith("--")]
        rest = [word for word in words if word not in options]
        command = [sys.executable, "-m", "demijohn", "call", *options, "--", url, *rest]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(
    ("words", "result"),
    [
        (["App.index"], "Welcome to JSON-RPC"),
        (["Math.add", "a=1", "b=2"], 3),
        (["Math.add", "1", "2"], 3),
        (["Math.add", "a=-1"], 1),
        (["collect", "1.5", "-2"], [[1.5, -2.0], {}]),
        (["collect", "x=hello there", 'y="5"', "z=a=b"], [[], {"x": "hello there", "y": "5", "z": "a=b"}]),
        (["Shop.restock", 'item={"name": "é", "price": 1, "tags": []}'], {"name": "é", "price": 1.0, "tags": []}),
        (["Shop.restock", "item=@item.json"], {"name": "file", "price": 2.0, "tags": []}),
    ],
)
def test_values_are_json_or_texts_and_the_result_is_printed(
    call: Call, tmp_path: Path, words: list[str], result: object
) -> None:
    (tmp_path / "item.json").write_text('{"name": "file", "price": 2}')
    done = call(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == result


def test_an_error_of_the_method_is_said_and_the_exit_code_is_1(call: Call) -> None:
    done = call("Math.add", "a=x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'Error: Invalid params (-32602): params.a: expected an integer, got "x"\n'


def test_no_answer_is_said_and_the_exit_code_is_2(call: Call, shop_url: str) -> None:
    assert "no connection to 127.0.0.1:1" in call("m", url="http://127.0.0.1:1/").stderr
    done = call("m", url=f"{shop_url}/nowhere")
    assert done.returncode == 2
    assert "answered 404" in done.stderr


def test_a_notification_prints_nothing(call: Call) -> None:
    done = call("--notify", "Math.add", "a=1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["m", "1", "a=2"], "Give all parameters by position, or all as NAME=VALUE."),
        (["m", "a=@nowhere"], "nowhere cannot be read"),
        (["--header=X", "m"], "'X' is no header field"),
    ],
)
def test_what_cannot_be_meant_is_refused(call: Call, words: list[str], sentence: str) -> None:
    done = call(*words)
    assert done.returncode == 2
    assert sentence in done.stderr
