"""What several of the tests of JSON-RPC need."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from tests.jsonrpc import browser

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


@pytest.fixture(scope="session")
def tsc(npm_package: Callable[[str], Path]) -> list[str]:
    """The TypeScript compiler, as a command."""
    if shutil.which("node") is None:
        pytest.skip("node is needed to run the TypeScript compiler: apt-get install nodejs npm")
    options = ["--strict", "--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"]
    return ["node", str(npm_package("typescript@5.9.3") / "bin" / "tsc"), *options]


@contextlib.contextmanager
def serving(target: str, folder: Path, *options: str) -> Iterator[str]:
    """Run `demijohn serve` with an application in `folder`; give the address."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "DEMIJOHN_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "demijohn", "serve", "-b", "127.0.0.1:0", *options, target],
        cwd=folder,
        env=environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Worker ready" in line:
                break
        address = re.search(r"Listening at: (https?://[\d.]+:\d+)", printed)
        assert address, printed
        yield address[1]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def lab_url() -> Iterator[str]:
    """The address of the tools of lab.py, served."""
    with serving("lab:app", Path(__file__).parent) as address:
        yield f"{address}/mcp"


@pytest.fixture(scope="module")
def shop_url() -> Iterator[str]:
    """The address of the methods of shop.py, served."""
    with serving("shop:app", Path(__file__).parent) as address:
        yield f"{address}/api"


@pytest.fixture(scope="session")
def gallery_url() -> Iterator[str]:
    """The address of the application of gallery.py, served."""
    with serving("gallery:with_gallery()", Path(__file__).parent) as address:
        yield address


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def page(chromium: webdriver.Chrome, gallery_url: str) -> Iterator[browser.Page]:
    chromium.get_log("browser")
    page = browser.Page(chromium, gallery_url)
    yield page
    # A failed call is told to the console too; anything else there is a fault of the page, or a breach of its policy.
    log = [entry for entry in chromium.get_log("browser") if entry["level"] != "DEBUG"]
    chromium.execute_script("sessionStorage.clear()")
    assert [entry for entry in log if "the server responded with a status of" not in entry["message"]] == []
