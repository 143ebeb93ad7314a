"""`--reload`: which changes are noticed, and what comes of them."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from demijohn.server.reload import Reloader

SHOP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"{answer}"]
"""


def write(path: Path, text: str) -> None:
    """Write a file as an editor does, with a time that is another one for sure."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def never() -> None: ...


def test_a_module_that_was_written_has_changed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "a_module_of_this_test.py"
    write(module, "x = 1")
    importlib.import_module(module.stem)
    reloader = Reloader((), never)
    assert reloader.changed() is None
    write(module, "x = 2")
    assert reloader.changed() == str(module)
    assert reloader.changed() is None
    module.unlink()
    assert reloader.changed() == str(module)


def test_extra_files_may_be_patterns_and_new_ones_count(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "a.html", "a")
    reloader = Reloader((f"{tmp_path}/**/*.html",), never)
    assert reloader.changed() is None
    write(tmp_path / "deep" / "a.html", "b")
    assert reloader.changed() == str(tmp_path / "deep" / "a.html")
    write(tmp_path / "b.html", "b")
    assert reloader.changed() == str(tmp_path / "b.html")


def test_a_module_that_is_imported_later_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "a_late_module_of_this_test.py", "x = 1")
    reloader = Reloader((), never)
    importlib.import_module("a_late_module_of_this_test")
    assert reloader.changed() is None


def test_a_server_serves_what_was_written_and_code_that_does_not_boot_changes_nothing(serve, tmp_path: Path) -> None:
    shop = tmp_path / "shop.py"
    write(shop, SHOP.replace("{answer}", "old"))
    server = serve("shop:app", "--reload", cwd=tmp_path)
    server.wait_until_ready()
    write(shop, SHOP.replace("{answer}", "new"))
    server.wait_for(r"shop\.py has changed: reloading")
    server.wait_for("Reloaded")
    assert server.get("/").text == "new"
    write(shop, "def (\n")
    server.wait_for("Reload given up")
    assert server.get("/").text == "new"
    write(shop, SHOP.replace("{answer}", "repaired"))
    server.wait_for("Reloaded")
    assert server.get("/").text == "repaired"
