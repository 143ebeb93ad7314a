"""What several of the tests of JSON-RPC need."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Beside what the suites of others are run from: kept from run to run, and no part of the project.
NPM = Path(__file__).parents[2] / ".compat" / "npm"


@pytest.fixture(scope="session")
def npm_package() -> Callable[[str], Path]:
    """Return the folder with the files of an npm package, `name@version`; it is downloaded once."""

    def fetch(package: str) -> Path:
        folder = NPM / package.lstrip("@").replace("/", "-")
        if folder.exists():
            return folder / "package"
        if shutil.which("npm") is None:
            pytest.skip(f"npm is needed to download {package}: apt-get install npm")
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        subprocess.run(["npm", "pack", "--silent", package], cwd=part, check=True, capture_output=True, timeout=120)
        (archive,) = part.glob("*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        part.rename(folder)
        return folder / "package"

    return fetch
