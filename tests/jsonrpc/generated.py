"""How clients are generated in the tests, and what is run with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def client_of(*arguments: str, cwd: Path = HERE) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "demijohn", "jsonrpc", "client", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)
