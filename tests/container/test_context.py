"""Which files enter an image: what .dockerignore says, and no secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demijohn.container.context import Ignore, read_context
from demijohn.container.project import ProjectError


def write(folder: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.mark.parametrize(
    ("patterns", "path", "stays_out"),
    [
        ("*.pyc", "a.pyc", True),
        ("*.pyc", "pkg/a.pyc", False),
        ("**/*.pyc", "pkg/deep/a.pyc", True),
        ("**/*.pyc", "a.pyc", True),
        ("data", "data/deep/file", True),
        ("/data/", "data/file", True),
        ("./data", "data", True),
        ("dat?", "data", True),
        ("dat?", "dat/a", False),
        ("a[0-9].txt", "a7.txt", True),
        ("a[^0-9].txt", "a7.txt", False),
        ("docs/**/draft", "docs/a/b/draft", True),
        ("docs/**", "docs/a/b", True),
        ("*\n!keep.txt", "keep.txt", False),
        ("*\n!keep.txt\nkeep.txt", "keep.txt", True),
        ("data\n!data/keep", "data/keep", False),
        ("# *\n\n", "a", False),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        ("a.b", "axb", False),
    ],
)
def test_patterns_mean_what_they_do_to_docker(patterns: str, path: str, stays_out: bool) -> None:
    assert Ignore(patterns)(path) is stays_out


def test_without_a_dockerignore_secrets_and_environments_stay_out_and_are_named(tmp_path: Path) -> None:
    write(tmp_path, "app.py", "pkg/mod.py", ".env", ".env.production", ".venv/bin/python", ".git/config", "id_rsa")
    context = read_context(tmp_path)
    assert context.paths == ("app.py", "pkg/mod.py")
    assert context.left_out == (".env", ".env.production", "id_rsa")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".env", "A=1"),
        ("deploy/.env.production", "A=1"),
        ("id_ed25519", ""),
        ("certs/server.key", ""),
        ("certs/both.pem", "-----BEGIN PRIVATE KEY-----"),
        ("account.json", '{"private_key": "-----BEGIN RSA PRIVATE KEY-----"}'),
        (".aws/credentials", ""),
        (".pypirc", ""),
    ],
)
def test_a_secret_that_a_dockerignore_forgets_is_refused(tmp_path: Path, path: str, text: str) -> None:
    write(tmp_path, "app.py", ".dockerignore")
    write(tmp_path, path, text=text)
    with pytest.raises(ProjectError, match=rf"^{re.escape(path)} must not enter an image"):
        read_context(tmp_path)


def test_a_secret_that_is_meant_enters(tmp_path: Path) -> None:
    write(tmp_path, "app.py", ".env")
    write(tmp_path, ".dockerignore", text="!.env\n")
    assert ".env" in read_context(tmp_path).paths


@pytest.mark.parametrize("path", [".env.example", "ca.pem", "settings.json", "environment.py"])
def test_what_only_looks_like_a_secret_enters(tmp_path: Path, path: str) -> None:
    write(tmp_path, ".dockerignore", text=".dockerignore\n")
    write(tmp_path, path, text="-----BEGIN CERTIFICATE-----")
    assert read_context(tmp_path).paths == (path,)


def test_links_enter_as_links_and_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "real/a.txt", "app.py")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "gone").symlink_to("/nowhere")
    context = read_context(tmp_path)
    assert context.paths == ("app.py", "link", "real/a.txt")
    context.copy_to(tmp_path / "copy")
    assert (tmp_path / "copy/link").readlink() == Path("real")


def test_a_copy_has_the_permissions_and_times_of_its_original(tmp_path: Path) -> None:
    write(tmp_path, "run.sh")
    (tmp_path / "run.sh").chmod(0o750)
    read_context(tmp_path).copy_to(tmp_path / "copy")
    original, copy = (tmp_path / "run.sh").stat(), (tmp_path / "copy/run.sh").stat()
    assert (copy.st_mode, copy.st_mtime_ns) == (original.st_mode, original.st_mtime_ns)
