"""Tools that check what is written for them; where one is missing, its tests say so and are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Beside this interpreter; in the environment that .ci/run makes for tools; where Debian has those of administrators.
PLACES = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".tools/bin"), os.environ["PATH"], "/usr/sbin"])

Tool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], Tool]:
    """Return what runs a program in the folder of the test; `tool("nginx")("-t")`."""

    def find(name: str) -> Tool:
        program = shutil.which(name, path=PLACES)
        if program is None:
            pytest.skip(f"{name} is not installed, so what is written for it was NOT checked; .ci/run installs it")

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [program, *arguments], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )

        return run

    return find
