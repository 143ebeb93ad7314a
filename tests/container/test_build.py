"""Building without an engine on a base made of a few files: what comes out, and what is said when it cannot."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.container.conftest import Tool, _found
from tests.container.engine import free_port

VERSION = f"3.{sys.version_info.minor}"
MACHINES = {"amd64": 62, "arm64": 183}
HERE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def write_base(path: Path, architecture: str = HERE, **files: bytes) -> Path:
    """Write the archive of a root file system that has what a build looks for: a Python and a C library."""
    elf = b"\x7fELF" + bytes(14) + struct.pack("<H", MACHINES[architecture]) + bytes(44)
    contents = {
        f"usr/bin/python{VERSION}": elf,
        f"usr/lib/python{VERSION}/os.py": b"",
        f"usr/lib/python{VERSION}/__pycache__/os.cpython-3{sys.version_info.minor}.pyc": b"",
        "usr/lib/libc.so.6": b"GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n",
        **files,
    }
    with tarfile.open(path, "w") as archive:
        for name, content in {"usr": b"", **contents}.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name == "usr" else tarfile.REGTYPE
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "app.py").write_text("from demijohn import Flask\napp = Flask(__name__)\n")
    (folder / "requirements.txt").write_text("demijohn\n")
    write_base(tmp_path / "base.tar")
    return folder


class Built:
    """The archive of an image, read by its manifest."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self.blobs = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        (self.saved,) = json.loads(self.blobs["manifest.json"])
        (self.entry,) = json.loads(self.blobs["index.json"])["manifests"]
        self.manifest = json.loads(self.blob(self.entry["digest"]))
        self.config = json.loads(self.blob(self.manifest["config"]["digest"]))

    def blob(self, digest: str) -> bytes:
        return self.blobs["blobs/" + digest.replace(":", "/")]

    def layer(self, number: int) -> dict[str, tarfile.TarInfo]:
        data = self.blob(self.manifest["layers"][number]["digest"])
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {member.name: member for member in archive}


def test_every_blob_is_what_its_digest_says(shop: Path, build: Tool) -> None:
    done = build("app:app", "-t", "shop:1", "--base", "../base.tar", "-o", "shop.tar", cwd=shop)
    assert done.returncode == 0, done.stderr
    image = Built(shop / "shop.tar")
    for name, content in image.blobs.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(content).hexdigest() == os.path.basename(name)
    assert image.saved["RepoTags"] == ["shop:1"]
    assert f"id        sha256:{os.path.basename(image.saved['Config'])}\n" in done.stdout
    assert f"digest    {image.entry['digest']}\n" in done.stdout
    assert len(image.config["rootfs"]["diff_ids"]) == len(image.manifest["layers"]) == 3
    assert [each["size"] for each in image.manifest["layers"]] == [
        len(image.blob(each["digest"])) for each in image.manifest["layers"]
    ]


def test_the_image_says_how_it_is_run(shop: Path, build: Tool) -> None:
    assert build("-t", "shop:1", "--base", "../base.tar", "--port", "8080", "-o", "shop.tar", cwd=shop).returncode == 0
    config = Built(shop / "shop.tar").config["config"]
    assert config["Cmd"] == ["demijohn", "serve", "app:app"]
    assert "Entrypoint" not in config  # a command after the image's name replaces it
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("10001:10001", "/app", "SIGTERM")
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert {"PORT=8080", "PYTHONUNBUFFERED=1", "container=oci"} <= set(config["Env"])
    assert config["Env"][0].startswith("PATH=/venv/bin:")
    assert config["Healthcheck"]["Test"] == ["CMD", "demijohn", "health"]


def test_layers_hold_the_environment_and_the_application_with_bytecode(shop: Path, build: Tool) -> None:
    (shop / ".env").write_text("A=1")
    assert build("-t", "shop:1", "--base", "../base.tar", "-o", "shop.tar", cwd=shop).returncode == 0
    image = Built(shop / "shop.tar")
    environment, application = image.layer(1), image.layer(2)
    assert environment["venv/bin/python"].linkname == f"/usr/bin/python{VERSION}"
    assert environment["venv/bin/demijohn"].mode == 0o755
    tag = f"cpython-3{sys.version_info.minor}"
    assert f"venv/lib/python{VERSION}/site-packages/demijohn/__pycache__/app.{tag}.pyc" in environment
    compiled = {"app/__pycache__", f"app/__pycache__/app.{tag}.pyc"}
    assert set(application) == {"app", "app/app.py", "app/requirements.txt", *compiled}
    for member in (*environment.values(), *application.values()):
        assert (member.uid, member.gid) == (0, 0)
        assert member.issym() or member.mode & 0o444 == 0o444


def test_only_the_application_changes_with_the_application(shop: Path, build: Tool) -> None:
    first = build("-t", "shop:1", "--base", "../base.tar", "-o", "first.tar", cwd=shop)
    (shop / "app.py").write_text("from demijohn import Flask\napp = Flask('changed')\n")
    second = build("-t", "shop:1", "--base", "../base.tar", "-o", "second.tar", cwd=shop)
    assert (first.returncode, second.returncode) == (0, 0)
    assert re.search("^Dependencies  unchanged", second.stderr, re.MULTILINE)
    layers = [Built(shop / name).manifest["layers"] for name in ("first.tar", "second.tar")]
    assert layers[0][:2] == layers[1][:2]
    assert layers[0][2] != layers[1][2]


def test_a_fixed_time_makes_the_bytes_independent_of_those_of_the_files(
    shop: Path, tmp_path: Path, build: Tool
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shop, copy, copy_function=shutil.copy)  # with times of now
    os.utime(copy / "app.py", (2_000_000_000, 2_000_000_000))
    for folder in (shop, copy):
        arguments = ("-t", "shop:1", "--base", "../base.tar", "-o", "../" + folder.name + ".tar")
        assert build(*arguments, cwd=folder, SOURCE_DATE_EPOCH="1600000000").returncode == 0
    images = [Built(tmp_path / name) for name in ("shop.tar", "copy.tar")]
    assert images[0].manifest["layers"] == images[1].manifest["layers"]
    assert images[0].config["created"] == "2020-09-13T12:26:40Z"


def test_wheels_are_found_for_the_platform_of_the_image(shop: Path, tmp_path: Path, build: Tool) -> None:
    other = next(name for name in MACHINES if name != HERE)
    write_base(tmp_path / "other.tar", architecture=other)
    arguments = ("-t", "shop:1", "--base", "../other.tar", "--platform", f"linux/{other}", "-o", "shop.tar")
    done = build(*arguments, cwd=shop)
    assert done.returncode == 0, done.stderr
    image = Built(shop / "shop.tar")
    assert image.config["architecture"] == other
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[other]
    assert any(name.endswith(f"{machine}-linux-gnu.so") for name in image.layer(1))


def test_a_package_is_installed_with_its_commands(shop: Path, build: Tool) -> None:
    (shop / "requirements.txt").unlink()
    (shop / "src/cellar").mkdir(parents=True)
    (shop / "src/cellar/__init__.py").write_text("def main(): pass\n")
    (shop / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "cellar"\nversion = "1.5"\ndependencies = ["demijohn"]\n'
        '[project.scripts]\ncellar = "cellar:main"\n'
    )
    done = build("app:app", "--base", "../base.tar", "-o", "shop.tar", cwd=shop)
    assert done.returncode == 0, done.stderr
    application = Built(shop / "shop.tar").layer(2)
    assert f"venv/lib/python{VERSION}/site-packages/cellar/__init__.py" in application
    assert application["venv/bin/cellar"].mode == 0o755
    assert "image     cellar:1.5\n" in done.stdout


# -- what cannot be ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "files", "message"),
    [
        (["nope:app"], {}, "There is no module 'nope' here"),
        ([], {"app.py": ""}, "has no application"),
        ([], {"app.py": None}, "Could not locate a Flask application"),
        (["app:app"], {"requirements.txt": None}, "There is no requirements.txt and no pyproject.toml"),
        (["app:app"], {"requirements.txt": "no-such-name-at-all"}, "There is no wheel of no-such-name-at-all"),
        (["app:app"], {"requirements.txt": "not a requirement"}, "pip cannot find what the application needs"),
        (["app:app"], {".dockerignore": "", ".env": "A=1"}, ".env must not enter an image"),
        (["app:app", "--base", "gone.tar"], {}, "The base gone.tar does not exist"),
        (["app:app", "--base", "./app.py"], {}, "The base app.py cannot be read as an image"),
        (["app:app", "--base", "."], {}, "is no OCI layout"),
        (["app:app", "--base", "127.0.0.1:1/python:3"], {}, "The base 127.0.0.1:1/python:3 cannot be had"),
        (["app:app", "--platform", "windows/amd64"], {}, "is not a platform to build for"),
        (["app:app", "--platform", "linux/s390x"], {}, "is for linux/"),
        (["app:app", "-t", "Shop"], {}, "is not the name of an image"),
        (["app:app", "-o", "no/such/folder.tar"], {}, "cannot be written"),
        (["app:app", "--push", "-t", "127.0.0.1:1/shop:1"], {}, "The registry 127.0.0.1:1 cannot be reached"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence_and_nothing_is_left(
    shop: Path, build: Tool, arguments: list[str], files: dict[str, str | None], message: str
) -> None:
    for name, text in files.items():
        (shop / name).unlink() if text is None else (shop / name).write_text(text)
    base = [] if "--base" in arguments else ["--base", "../base.tar"]
    tag = [] if "-t" in arguments else ["-t", "shop:1"]
    before = {path.name for path in shop.iterdir()}
    done = build(*arguments, *base, *tag, "--engine", "none", cwd=shop)
    assert done.returncode in (1, 2)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert {path.name for path in shop.iterdir()} - {"__pycache__"} == before


def test_an_engine_that_does_not_answer_is_named(shop: Path, tmp_path: Path, build: Tool) -> None:
    # Programs of that name that fail, as docker does when nothing listens at its socket.
    for name in ("docker", "podman"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = build("app:app", "-t", "shop:1", "--engine", "podman", cwd=shop, PATH=path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: podman is not running: put that right, or build without an engine")
    done = build("app:app", "-t", "shop:1", "--base", "127.0.0.1:1/python:3", cwd=shop, PATH=path)
    assert done.returncode == 1
    assert "Neither docker nor podman answers, so the image is built without an engine." in done.stderr


def test_a_base_without_python_is_refused(shop: Path, tmp_path: Path, build: Tool) -> None:
    with tarfile.open(tmp_path / "empty.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("usr"))
    done = build("app:app", "-t", "shop:1", "--base", "../empty.tar", cwd=shop)
    assert done.returncode == 1
    assert "has no Python 3.11 or newer" in done.stderr


# -- a registry ---------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start Debian's docker-registry: `registry()`, `registry(password=True)`; return its host."""
    started: list[subprocess.Popen[bytes]] = []

    def start(password: bool = False) -> str:
        program = _found("docker-registry")
        port = free_port()
        lines = [
            "version: 0.1",
            f"storage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}",
            f'http: {{addr: "127.0.0.1:{port}"}}',
        ]
        if password:
            # htpasswd of user "me" with password "secret"
            (tmp_path / "htpasswd").write_text("me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n")
            lines.append(f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}")
        (tmp_path / "registry.yml").write_text("\n".join(lines))
        with open(tmp_path / "registry.log", "wb") as log:
            process = subprocess.Popen([program, "serve", str(tmp_path / "registry.yml")], stdout=log, stderr=log)
        started.append(process)
        while process.poll() is None:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    return f"127.0.0.1:{port}"
        pytest.fail((tmp_path / "registry.log").read_text())

    yield start
    for process in started:
        process.terminate()
        process.wait()


def test_an_image_is_pushed_and_another_built_on_it(
    shop: Path, build: Tool, registry: Callable[..., str], tool: Callable[[str], Tool]
) -> None:
    host = registry()
    done = build("app:app", "-t", f"{host}/team/shop:1", "--base", "../base.tar", "--push", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert not list(shop.glob("*.tar"))
    shown = tool("skopeo")("inspect", "--tls-verify=false", f"docker://{host}/team/shop:1")
    assert shown.returncode == 0, shown.stderr
    assert f"digest    {json.loads(shown.stdout)['Digest']}\n" in done.stdout
    again = build(
        "app:app", "-t", "more:1", "--engine", "none", "--base", f"{host}/team/shop:1", "-o", "more.tar", cwd=shop
    )
    assert again.returncode == 0, again.stderr
    assert "in 5 layers" in again.stdout
    missing = build("app:app", "-t", "more:1", "--engine", "none", "--base", f"{host}/team/gone:1", cwd=shop)
    assert missing.returncode == 1
    assert "(404)" in missing.stderr


def test_a_registry_refuses_until_it_knows_who_asks(shop: Path, build: Tool, registry: Callable[..., str]) -> None:
    host = registry(password=True)
    arguments = ("app:app", "-t", f"{host}/shop:1", "--base", "../base.tar", "--push")
    done = build(*arguments, cwd=shop)
    assert done.returncode == 1
    assert f"The registry {host} refuses shop:1 (401): it wants to know who you are; docker login {host}" in done.stderr

    # What `docker login` stores.
    (shop.parent / "config.json").write_text(json.dumps({"auths": {host: {"auth": "bWU6c2VjcmV0"}}}))
    done = build(*arguments, cwd=shop, DOCKER_CONFIG=str(shop.parent))
    assert done.returncode == 0, done.stderr
