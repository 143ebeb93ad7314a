"""The official client of MCP and FastMCP's, against `demijohn serve`: the mode `legacy` begins with a handshake."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PINS = ROOT / "tests" / "compat" / "pins" / "mcp.txt"


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of an environment with the two clients; it is made once."""
    digest = hashlib.sha256((PINS.read_text() + sys.version).encode()).hexdigest()[:12]
    folder = ROOT / ".compat" / "environments" / f"mcp-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", "-r", str(PINS)]
        subprocess.run(pip, check=True, capture_output=True, timeout=600)
        (folder / "ready").touch()
    return python


@pytest.fixture(scope="module")
def said(python: Path, lab_url: str) -> dict[str, Any]:
    command = [str(python), "mcp_clients.py", lab_url]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


TOOLS = ["Math_add", "Shop_restock", "fail", "crash", "draw", "anything", "Inner_tell"]


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_the_official_client_lists_and_calls_tools(said: dict[str, Any], mode: str, version: str) -> None:
    part = {"name": "x", "price": 1.0, "parts": [{"name": "y", "price": 1.0, "parts": None}]}
    assert said[mode] == [
        version,
        ["lab JSON-RPC", "1.2"],
        TOOLS,
        [["3"], {"result": 3}, False],
        [['Invalid params: params.a: expected an integer, got "x"'], None, True],
        [[json.dumps(part, separators=(",", ":"))], part, False],
        [["Server error: The method failed"], None, True],
        [["image/png"], {"result": "data:image/png;base64,iVBORw0KGgo="}, False],
        "Invalid params: Unknown tool: hidden",
    ]


def test_fastmcp_lists_and_calls_tools(said: dict[str, Any]) -> None:
    assert said["fastmcp"] == [
        TOOLS,
        {"result": 42},
        {"name": "x", "price": 1.0, "parts": None},
        'The cellar is full: {"limit":3}',
    ]
