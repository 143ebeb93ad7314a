"""Tools, base images and an engine; where one is missing, the tests that need it say so and are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import clean_environment
from tests.container.engine import Engine, NoEngine, running_engine

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools"
# Beside this interpreter; in the environment that .ci/run makes for tools; where Debian has those of administrators.
PLACES = os.pathsep.join([str(Path(sys.executable).parent), str(TOOLS / "bin"), os.environ["PATH"], "/usr/sbin"])

Tool = Callable[..., "subprocess.CompletedProcess[str]"]


def _found(name: str) -> str:
    program = shutil.which(name, path=PLACES)
    if program is None:
        pytest.skip(f"{name} is not installed, so what is made for it was NOT checked; .ci/run installs it")
    return program


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], Tool]:
    """Return what runs a program in the folder of the test; `tool("nginx")("-t")`."""

    def find(name: str) -> Tool:
        program = _found(name)

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [program, *arguments], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )

        return run

    return find


@dataclass
class Bases:
    """Archives of root file systems; see make_bases."""

    debian: Path
    slim: Path


@pytest.fixture(scope="session")
def bases() -> Bases:
    folder = TOOLS / "bases"
    if not (folder / "slim.tar").exists() or not (folder / "debian.tar").exists():
        if os.getuid() != 0:
            pytest.skip("the base images are not there, and only root can make them: NO image was built or run")
        _found("mmdebstrap")
        done = subprocess.run([str(Path(__file__).parent / "make_bases"), str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"the base images cannot be made, so NO image was built or run: {done.stderr[-300:]}")
    return Bases(folder / "debian.tar", folder / "slim.tar")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    try:
        with running_engine() as engine:
            yield engine
    except NoEngine as reason:
        pytest.skip(f"NO container was run: {reason}; .ci/run installs and starts docker")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of all builds of a run of the tests, so that each thing is looked for once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def build(cache: Path) -> Tool:
    """Run `demijohn image build ARGUMENTS...` in a folder."""

    def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "demijohn", "image", "build", *arguments],
            cwd=cwd,
            env=clean_environment(XDG_CACHE_HOME=str(cache), **environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run
