"""What `demijohn deploy` and `image eject` write: taken by the tools it is for, which refuse a broken twin of each."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demijohn.container.deploy import Deployment, systemd
from demijohn.container.project import Project
from demijohn.container.wheels import comes_from_index
from demijohn.server.settings import Settings

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FILES = {
    "compose": "compose.yaml",
    "kubernetes": "kubernetes.yaml",
    "systemd": "my-shop.service",
    "nginx": "my-shop.nginx.conf",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text("from demijohn import Flask\napp = Flask(__name__)\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "My Shop"\nversion = "1.2"\ndependencies = []\n')
    return tmp_path


@pytest.fixture
def deploy(shop: Path, demijohn: Callable[..., Any]) -> Callable[..., str]:
    """Write what is asked for, and return its text."""

    def write(what: str, *arguments: str) -> str:
        result = demijohn("deploy", what, *arguments, cwd=shop)
        assert result.returncode == 0, result.stderr
        return (shop / FILES[what]).read_text()

    return write


def spoil(path: Path, right: str, wrong: str) -> None:
    """Make a broken twin of a file in its place."""
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))


# -- the tools ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_kubernetes_takes_the_manifest(
    shop: Path, deploy: Callable[..., str], tool: Callable[[str], Run], version: str
) -> None:
    validate = tool("kubernetes-validate")
    deploy("kubernetes", "-t", "registry.example:5000/shop:1.2", "--replicas", "3")
    checked = validate("--strict", "-k", version, "kubernetes.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    spoil(shop / "kubernetes.yaml", "readinessProbe", "readynessProbe")
    assert validate("--strict", "-k", version, "kubernetes.yaml").returncode != 0


def test_kubernetes_takes_the_example_of_redis_and_dask(shop: Path, tool: Callable[[str], Run]) -> None:
    validate = tool("kubernetes-validate")
    example = Path(__file__).parents[2] / "examples" / "predict" / "kubernetes-backing.yaml"
    shutil.copy(example, shop / "backing.yaml")
    checked = validate("--strict", "-k", "1.34", "backing.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    spoil(shop / "backing.yaml", "terminationGracePeriodSeconds", "terminationGraceSeconds")
    assert validate("--strict", "-k", "1.34", "backing.yaml").returncode != 0


def test_compose_takes_the_file(shop: Path, deploy: Callable[..., str], tool: Callable[[str], Run]) -> None:
    (shop / ".env").write_text("PASSWORD=1\n")
    (shop / "Dockerfile").write_text("FROM scratch\n")
    deploy("compose")
    check = tool("docker-compose")
    checked = check("-f", "compose.yaml", "config", "-q")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    spoil(shop / "compose.yaml", "read_only", "readonly")
    assert check("-f", "compose.yaml", "config", "-q").returncode != 0


def test_systemd_takes_the_unit(shop: Path, deploy: Callable[..., str], tool: Callable[[str], Run]) -> None:
    unit = deploy("systemd", "app:app")
    if not Path(sys.prefix, "bin/demijohn").exists():
        pytest.skip("demijohn is not installed as a command, so the unit that calls it was NOT checked")
    verify = tool("systemd-analyze")
    checked = verify("verify", "./my-shop.service")
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert f"ExecStart={sys.prefix}/bin/demijohn serve -b 127.0.0.1:8000 app:app\n" in unit
    spoil(shop / "my-shop.service", "ProtectSystem", "ProtectSystm")
    assert "ProtectSystm" in verify("verify", "./my-shop.service").stderr


def test_nginx_takes_the_site(shop: Path, deploy: Callable[..., str], tool: Callable[[str], Run]) -> None:
    deploy("nginx", "--port", "8123")
    check = tool("nginx")
    http = f"http {{ access_log off; include {shop}/my-shop.nginx.conf; }}"
    (shop / "nginx.conf").write_text(f"pid {shop}/pid; error_log stderr; events {{}}\n{http}\n")
    checked = check("-t", "-c", str(shop / "nginx.conf"))
    assert checked.returncode == 0, checked.stderr
    spoil(shop / "my-shop.nginx.conf", "proxy_pass ", "proxy_pas ")
    assert check("-t", "-c", str(shop / "nginx.conf")).returncode != 0


def test_hadolint_takes_what_is_ejected(shop: Path, demijohn: Callable[..., Any], tool: Callable[[str], Run]) -> None:
    assert demijohn("image", "eject", "app:app", cwd=shop).returncode == 0
    lint = tool("hadolint")
    checked = lint("Dockerfile")
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    spoil(shop / "Dockerfile", 'CMD ["demijohn", "serve", "app:app"]', "CMD demijohn serve app:app")
    assert lint("Dockerfile").returncode != 0


# -- what the files say -----------------------------------------------------------------------------


def test_whoever_stops_the_server_waits_longer_than_it_takes_to_drain(deploy: Callable[..., str]) -> None:
    graceful_s = Settings().graceful_timeout_s
    grace = re.search(r"terminationGracePeriodSeconds: (\d+)", deploy("kubernetes"))
    pre_stop = re.search(r"preStop: \{sleep: \{seconds: (\d+)\}\}", deploy("kubernetes"))
    assert grace is not None
    assert pre_stop is not None
    assert int(grace[1]) > int(pre_stop[1]) + graceful_s
    stop = re.search(r"stop_grace_period: (\d+)s", deploy("compose"))
    assert stop is not None
    assert int(stop[1]) > graceful_s
    unit_stop = re.search(r"TimeoutStopSec=(\d+)", deploy("systemd", "app:app"))
    assert unit_stop is not None
    assert int(unit_stop[1]) > graceful_s


def test_nginx_gives_a_connection_up_before_the_server_does(deploy: Callable[..., str]) -> None:
    idle = re.search(r"keepalive_timeout (\d+)s;", deploy("nginx"))
    assert idle is not None
    assert int(idle[1]) < Settings().keep_alive_s


def test_probes_are_by_number(deploy: Callable[..., str]) -> None:
    assert re.findall(r"httpGet: \{path: /\w+, port: ([^}]+)\}", deploy("kubernetes", "--port", "8123")) == ["8123"] * 3


def test_the_name_and_the_image_are_those_of_the_project(deploy: Callable[..., str]) -> None:
    assert 'image: "my-shop:1.2"' in deploy("compose")
    assert "metadata: {name: my-shop}" in deploy("kubernetes")


def test_a_project_at_home_can_be_read_by_its_unit() -> None:
    home = "/home/me/shop"
    unit = systemd(Deployment("shop", "shop:1"), Project("100% Shop"), f"{home}/bin/demijohn", home, [])
    assert "ProtectHome=read-only" in unit
    assert "Description=100%% Shop" in unit


def test_arguments_of_a_factory_reach_the_unit_as_one_word(deploy: Callable[..., str]) -> None:
    unit = deploy("systemd", 'app:create_app("a b", 5)')
    assert r'serve -b 127.0.0.1:8000 "app:create_app(\"a b\", 5)"' in unit


# -- files that are there ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", FILES)
def test_an_edited_file_is_only_overwritten_by_force(
    shop: Path, deploy: Callable[..., str], demijohn: Callable[..., Any], what: str
) -> None:
    app = ["app:app"] if what == "systemd" else []
    text = deploy(what, *app)
    assert deploy(what, *app) == text  # nothing was edited
    (shop / FILES[what]).write_text("mine\n")
    refused = demijohn("deploy", what, *app, cwd=shop)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: {FILES[what]} would be overwritten, and may have been edited: move it away, or say --force.\n"
    )
    assert (shop / FILES[what]).read_text() == "mine\n"
    assert deploy(what, *app, "--force") == text


def test_eject_writes_both_files_or_none(shop: Path, demijohn: Callable[..., Any]) -> None:
    (shop / ".dockerignore").write_text("mine\n")
    refused = demijohn("image", "eject", "app:app", cwd=shop)
    assert refused.returncode == 1
    assert ".dockerignore would be overwritten" in refused.stderr
    assert not (shop / "Dockerfile").exists()
    forced = demijohn("image", "eject", "app:app", "--force", cwd=shop)
    assert forced.returncode == 0
    assert forced.stdout.splitlines()[:2] == ["Dockerfile: written", ".dockerignore: replaced"]


def test_what_is_ejected_is_complete_also_where_demijohn_is_not_from_an_index(
    shop: Path, demijohn: Callable[..., Any]
) -> None:
    assert not comes_from_index()  # the tests use the sources
    assert demijohn("image", "eject", "app:app", cwd=shop).returncode == 0
    (wheel,) = (shop / "wheels").glob("demijohn-*.whl")
    assert "COPY wheels wheels\n" in (shop / "Dockerfile").read_text()
    with zipfile.ZipFile(wheel) as archive:
        assert {"demijohn/app.py", "demijohn/py.typed"} <= set(archive.namelist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compose", "--name", "My Shop"], "cannot name a service"),
        (["compose", "-t", "Shop:1"], "is not the name of an image"),
        (["kubernetes", "--replicas", "0"], "0 is not in the range"),
        (["systemd", "nope.py"], "Could not import 'nope'"),
    ],
)
def test_what_cannot_be_written_is_said_and_nothing_is(
    shop: Path, demijohn: Callable[..., Any], arguments: list[str], message: str
) -> None:
    result = demijohn("deploy", *arguments, cwd=shop)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in shop.iterdir() if path.name != "__pycache__") == ["app.py", "pyproject.toml"]
