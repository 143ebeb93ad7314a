"""Images that were built are run: by docker, with what operators put around a container."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.container.conftest import Bases, Tool
from tests.container.engine import PATIENCE_S, Engine, free_port

APP = Path(__file__).parents[1] / "apps/contained.py"


def write_project(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(APP.read_text())
    (folder / "requirements.txt").write_text("demijohn\ngunicorn\n")
    (folder / ".env").write_text("PASSWORD=hunter2\n")
    return folder


@pytest.fixture(scope="module")
def daemonless(tmp_path_factory: pytest.TempPathFactory, bases: Bases, engine: Engine, build: Tool) -> str:
    project = write_project(tmp_path_factory.mktemp("daemonless") / "shop")
    done = build("app:app", "-t", "my_app_image:0.1", "--base", str(bases.slim), "-o", "image.tar", cwd=project)
    assert done.returncode == 0, done.stderr
    engine.run("load", "-i", str(project / "image.tar"))
    return "my_app_image:0.1"


@pytest.fixture(scope="module")
def by_docker(tmp_path_factory: pytest.TempPathFactory, bases: Bases, engine: Engine, build: Tool) -> str:
    engine.run("import", "-c", 'CMD ["python3"]', str(bases.debian), "debian-python:test")
    project = write_project(tmp_path_factory.mktemp("docker") / "shop")
    authority = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    secret = ["--secret", f"id=ca,src={authority}"] if os.path.exists(authority) else []
    done = build(
        *("app:app", "-t", "my_app_image:0.2", "--engine", "docker", "--base", "debian-python:test", *secret),
        cwd=project,
        **engine.environ,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "run it    docker run -p 8000:8000 -d my_app_image:0.2\n" in done.stdout
    return "my_app_image:0.2"


@pytest.fixture(params=["daemonless", "by_docker"])
def image(request: pytest.FixtureRequest) -> str:
    """Each image in turn: they must behave alike."""
    name: str = request.getfixturevalue(request.param)
    return name


class Container:
    """A container that runs; `port` is where it can be reached from here."""

    def __init__(self, engine: Engine, name: str, port: int) -> None:
        self.engine = engine
        self.name = name
        self.port = port

    def get(self, target: str, method: str = "GET", content: bytes | None = None) -> tuple[int, str]:
        """Return status and text of an answer on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, target, content)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def log(self) -> str:
        return self.engine.run("logs", self.name)

    def wait_for(self, pattern: str) -> None:
        """Return when a line of the log matches."""
        with subprocess.Popen(
            [self.engine.program, "logs", "-f", self.name],
            env=self.engine.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as following:
            timer = threading.Timer(PATIENCE_S, following.kill)
            timer.start()
            try:
                assert following.stdout is not None
                if not any(re.search(pattern, line) for line in following.stdout):
                    pytest.fail(f"{pattern!r} is not in the log:\n{self.log()}")
            finally:
                timer.cancel()
                following.kill()

    def signal(self, name: str) -> None:
        self.engine.run("kill", "-s", name, self.name)

    def exit_code(self) -> int:
        """Wait until it has ended."""
        return int(self.engine.run("wait", self.name))


@pytest.fixture
def run(engine: Engine) -> Iterator[Callable[..., Container]]:
    """Run an image: `run("shop:1", "-m", "128m", command=["demijohn", ...])`; it is removed after the test."""
    names: list[str] = []

    def start(image: str, *options: str, command: tuple[str, ...] = (), inside: int = 8000) -> Container:
        port = free_port()
        name = engine.run("run", "-d", "-p", f"127.0.0.1:{port}:{inside}", *options, image, *command)
        names.append(name)
        return Container(engine, name, port)

    yield start
    for name in names:
        engine.run("rm", "-f", name, check=False)


def ready(container: Container, workers: int = 1) -> Container:
    container.wait_for("Worker ready")
    return container


# -- how it is started ------------------------------------------------------------------------------


def test_it_answers_at_the_published_port_as_a_user_without_rights(
    image: str, run: Callable[..., Container], engine: Engine
) -> None:
    container = ready(run(image))
    status, text = container.get("/")
    assert (status, json.loads(text)["user"], json.loads(text)["parent"]) == (200, 10001, 1)
    assert engine.inspect(image, ".Config.User") == "10001:10001"
    assert engine.inspect(image, ".Config.Labels")["org.opencontainers.image.title"] == "shop"


def test_the_command_of_gunicorns_users_works_as_they_write_it(image: str, run: Callable[..., Container]) -> None:
    container = run(image, command=("gunicorn", "-b", "0.0.0.0:8000", "app:app"))
    container.wait_for("Booting worker")
    assert container.get("/")[0] == 200
    assert "Starting gunicorn" in container.log()


def test_another_command_replaces_the_images_own(image: str, run: Callable[..., Container]) -> None:
    command = ("demijohn", "serve", "-b", "0.0.0.0:9000", "--threads", "3", "app:app")
    container = ready(run(image, command=command, inside=9000))
    assert container.get("/")[0] == 200
    assert "with 3 threads each" in container.log()


@pytest.mark.parametrize(("cpus", "workers"), [("1", "1 worker"), ("0.5", "1 worker"), ("2", "2 workers")])
def test_processors_decide_how_many_workers_there_are(
    daemonless: str, run: Callable[..., Container], cpus: str, workers: str
) -> None:
    if float(cpus) > (os.cpu_count() or 1):
        pytest.skip(f"this machine has no {cpus} processors to give")
    container = ready(run(daemonless, "--cpus", cpus))
    assert f"Using {workers} with" in container.log()


def test_memory_decides_how_many_workers_there_are(daemonless: str, run: Callable[..., Container]) -> None:
    container = ready(run(daemonless, "--memory", "128m"))
    assert "Using 1 worker with" in container.log()


def test_variables_say_where_it_listens_and_with_how_many_workers(
    daemonless: str, run: Callable[..., Container]
) -> None:
    container = ready(run(daemonless, "-e", "PORT=9000", "-e", "WEB_CONCURRENCY=3", inside=9000))
    assert container.get("/")[0] == 200
    assert "Using 3 workers with" in container.log()
    hidden = ready(run(daemonless, "-e", "HOST=127.0.0.1"))
    assert "http://127.0.0.1:8000" in hidden.log()


# -- health -----------------------------------------------------------------------------------------


def test_the_engine_finds_it_healthy_without_curl(image: str, run: Callable[..., Container], engine: Engine) -> None:
    container = run(image, "--health-interval", "1s")
    with subprocess.Popen(
        [engine.program, "events", "--since", "1", "-f", f"container={container.name}", "-f", "event=health_status"],
        env=engine.environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as events:
        timer = threading.Timer(PATIENCE_S, events.kill)
        timer.start()
        assert events.stdout is not None
        first = events.stdout.readline()
        timer.cancel()
        events.kill()
    assert "health_status: healthy" in first


def test_a_server_that_does_not_answer_is_not_healthy(daemonless: str, run: Callable[..., Container]) -> None:
    container = run(daemonless, command=("python", "-c", "import time; time.sleep(1000)"))
    assert "does not answer" in container.engine.run("exec", container.name, "demijohn", "health", check=False)


# -- what is around it ------------------------------------------------------------------------------

LOCKED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "64")


def test_it_runs_locked_in(image: str, run: Callable[..., Container]) -> None:
    container = ready(run(image, *LOCKED))
    assert container.get("/")[0] == 200
    assert container.get("/write") == (200, "Read-only file system")
    size = 3 * 1024 * 1024  # more than is kept in memory
    assert container.get("/upload", "POST", b"x" * size) == (200, str(size))


def test_memory_that_runs_out_ends_a_worker_and_not_the_server(image: str, run: Callable[..., Container]) -> None:
    container = ready(run(image, "--memory", "128m", "--memory-swap", "128m"))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        container.get("/eat/400")
    container.wait_for("perhaps because memory ran out")
    assert container.get("/")[0] == 200


def test_what_a_view_prints_is_in_the_log_at_once(image: str, run: Callable[..., Container]) -> None:
    container = ready(run(image))
    assert container.get("/print") == (200, "printed")
    container.wait_for("^printed by a view$")


def test_process_1_takes_care_of_orphans(daemonless: str, run: Callable[..., Container]) -> None:
    container = ready(run(daemonless))
    pid = container.get("/orphan")[1].strip()
    deadline = time.monotonic() + PATIENCE_S
    while container.get(f"/exists/{pid}")[1] == "True":
        assert time.monotonic() < deadline, "it is still there, as a zombie"


def test_nothing_enters_that_the_application_does_not_need(image: str, engine: Engine) -> None:
    listed = engine.run("run", "--rm", image, "python", "-c", "import os; print(sorted(os.listdir('/app')))")
    assert listed == "['__pycache__', 'app.py', 'requirements.txt']"
    assert "hunter2" not in engine.run("inspect", image)


# -- how it stops -----------------------------------------------------------------------------------


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A folder with two pipes, for /wait."""
    folder = tmp_path / "gate"
    folder.mkdir()
    for name in ("inside", "go"):
        os.mkfifo(folder / name)
        (folder / name).chmod(0o666)
    return folder


def test_what_is_in_flight_at_sigterm_is_answered(image: str, run: Callable[..., Container], gate: Path) -> None:
    container = ready(run(image, "-v", f"{gate}:/gate"))
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(container.get("/wait")))
    asking.start()
    (gate / "inside").read_text()  # the view is there
    container.signal("TERM")
    container.wait_for("Handling signal: term")
    (gate / "go").write_text("answered")
    asking.join()
    assert answers == [(200, "answered")]
    assert container.exit_code() == 0


def test_readiness_fails_before_it_stops_serving(image: str, run: Callable[..., Container]) -> None:
    container = ready(run(image, "-e", "DEMIJOHN_DRAIN_DELAY=600"))
    assert container.get("/readyz")[0] == 200
    container.signal("TERM")
    container.wait_for("Not ready any more")
    assert [container.get(path)[0] for path in ("/readyz", "/livez", "/")] == [503, 200, 200]
    container.signal("TERM")
    assert container.exit_code() == 0


# -- other programs that take it ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, bases: Bases, build: Tool) -> Path:
    project = write_project(tmp_path_factory.mktemp("archive") / "shop")
    done = build("app:app", "-t", "shop:1.0", "--base", str(bases.slim), "-o", "shop.tar", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "left out  .env" in done.stdout
    return project / "shop.tar"


def test_the_same_project_gives_the_same_bytes(archive: Path, bases: Bases, build: Tool, cache: Path) -> None:
    again = ("app:app", "-t", "shop:1.0", "--base", str(bases.slim), "-o", "again.tar")
    assert build(*again, cwd=archive.parent).returncode == 0
    assert (archive.parent / "again.tar").read_bytes() == archive.read_bytes()
    # Also when everything is made anew, in another folder.
    assert build(*again, "--no-cache", cwd=archive.parent, TMPDIR=str(cache)).returncode == 0
    assert (archive.parent / "again.tar").read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("transport", ["oci-archive:{}:1.0", "docker-archive:{}"])
def test_skopeo_takes_it(archive: Path, tool: Callable[[str], Tool], transport: str) -> None:
    skopeo = tool("skopeo")
    shown = skopeo("inspect", transport.format(archive))
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["Architecture"] in ("amd64", "arm64")
    copied = skopeo("copy", "-q", "--insecure-policy", transport.format(archive), "dir:copy")
    assert copied.returncode == 0, copied.stderr


@pytest.fixture
def short_path() -> Iterator[Path]:
    """podman takes no folder whose path is longer than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as folder:
        yield Path(folder)


def test_podman_takes_it(archive: Path, tool: Callable[[str], Tool], short_path: Path) -> None:
    podman = tool("podman")
    place = ("--root", str(short_path / "root"), "--runroot", str(short_path / "run"), "--storage-driver", "vfs")
    loaded = podman(*place, "load", "-q", "-i", str(archive))
    assert loaded.returncode == 0, loaded.stderr
    assert "shop:1.0" in loaded.stdout
    shown = podman(*place, "image", "inspect", "shop:1.0", "--format", "{{.Config.Cmd}} {{.User}}")
    podman(*place, "rmi", "-a", "-f")
    assert shown.stdout.strip() == "[demijohn serve app:app] 10001:10001"


def test_it_can_be_built_upon_again(archive: Path, build: Tool, engine: Engine, tmp_path: Path) -> None:
    """An archive of ours, one that docker saved, and an OCI layout: each is a base."""
    engine.run("load", "-i", str(archive))
    engine.run("save", "-o", str(tmp_path / "saved.tar"), "shop:1.0")
    layout = tmp_path / "layout"
    layout.mkdir()
    subprocess.run(["tar", "xf", str(archive), "-C", str(layout)], check=True)
    ids = set()
    for base in (archive, tmp_path / "saved.tar", layout):
        out = tmp_path / "out.tar"
        done = build("app:app", "-t", "shop:2.0", "--base", str(base), "-o", str(out), cwd=archive.parent)
        assert done.returncode == 0, done.stderr
        assert "in 5 layers" in done.stdout
        ids.update(re.findall(r"^id +(\S+)", done.stdout, re.MULTILINE))
    assert len(ids) <= 3
    with contextlib.suppress(AssertionError):
        engine.run("rmi", "shop:1.0")
