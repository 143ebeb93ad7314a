"""Jobs: an answer at once, and the work goes on."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from demijohn.heavy.jobs import JobStore
from demijohn.shared import open_store

PATIENCE_S = 30


class Site:
    """A server with jobs, and how to ask it."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.workers = server.wait_until_ready()

    def ask(self, method: str, target: str, content: Any = None) -> tuple[int, http.client.HTTPMessage, Any]:
        connection = http.client.HTTPConnection(*self.server.address, timeout=PATIENCE_S)
        try:
            fields = {"Content-Type": "application/json"} if content is not None else {}
            connection.request(method, target, None if content is None else json.dumps(content), fields)
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, response.headers, json.loads(text) if is_json else text
        finally:
            connection.close()

    def start(self, target: str, content: Any = None) -> dict[str, Any]:
        status, headers, told = self.ask("POST", target, content)
        assert (status, headers["Location"]) == (202, told["url"]), told
        return dict(told)

    def events(self, told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the name and the data of each event until the job has ended."""
        connection = http.client.HTTPConnection(*self.server.address, timeout=PATIENCE_S)
        try:
            connection.request("GET", told["events"])
            response = connection.getresponse()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            name = ""
            for line in response:
                if line.startswith(b"event: "):
                    name = line.decode().strip().removeprefix("event: ")
                elif line.startswith(b"data: "):
                    yield name, json.loads(line[6:])
        finally:
            connection.close()

    def end_of(self, told: dict[str, Any]) -> dict[str, Any]:
        return list(self.events(told))[-1][1]


@pytest.fixture
def site(serve: Callable[..., Any], tmp_path: Path) -> Site:
    state = f"sqlite://{tmp_path}/state.sqlite3"
    return Site(serve("heavy_work:app", "--threads", "8", "--executor", "processes:2", "--state", state))


def test_a_job_is_accepted_and_done(site: Site) -> None:
    told = site.start("/train/m1", {"epochs": 4})
    assert (told["state"], told["name"]) == ("queued", "train")
    ended = site.end_of(told)
    assert (ended["state"], ended["result"]) == ("done", {"name": "m1", "epochs": 4})
    assert (ended["done"], ended["total"], ended["message"]) == (4, 4, "epoch 3")
    status, _, page = site.ask("GET", told["url"])
    assert (status, page["state"]) == (200, "done")


def test_arguments_come_from_url_query_form_and_json(site: Site) -> None:
    assert site.end_of(site.start("/train/m?epochs=2"))["result"] == {"name": "m", "epochs": 2}
    status, _, page = site.ask("POST", "/train/m", {"epochs": "many"})
    assert (status, "epochs: Expected `int`" in page) == (400, True)
    status, _, page = site.ask("POST", "/train/m", {"speed": 1})
    assert (status, "unexpected keyword argument" in page) == (400, True)
    status, _, page = site.ask("POST", "/train/m", [1])
    assert (status, "must be a JSON object" in page) == (400, True)
    assert site.ask("GET", "/train/m")[0] == 405
    assert site.ask("GET", "/jobs/unknown")[0] == 404


def test_a_job_that_fails_says_why(site: Site) -> None:
    ended = site.end_of(site.start("/deadly?status=7"))
    assert (ended["state"], "exit status 7" in ended["error"]) == ("failed", True)
    ended = site.end_of(site.start("/odd"))
    assert (ended["state"], "returned a object that is no JSON" in ended["error"]) == ("failed", True)
    site.server.wait_for(r"The job \S+ \(die\) failed: die\(\) ended its process")


def test_a_job_can_be_cancelled_and_clean_up(site: Site, gate: Any, tmp_path: Path) -> None:
    told = site.start(f"/watched?path={quote(str(gate.path))}&cleaned={tmp_path}/cleaned")
    events = site.events(told)
    assert next(data for _, data in events if data["state"] == "running")["message"] == "at the gate"
    gate.wait_for_view()
    gate.open()
    assert site.ask("DELETE", told["url"])[0] == 202
    assert list(events)[-1][0] == "cancelled"
    assert (tmp_path / "cleaned").read_text() == "cleaned up"
    assert site.ask("DELETE", told["url"])[2]["state"] == "cancelled"


def test_a_job_that_reports_nothing_is_cancelled_by_its_process(site: Site, gate: Any) -> None:
    told = site.start(f"/gated?path={quote(str(gate.path))}")
    gate.wait_for_view()
    site.ask("DELETE", told["url"])
    assert site.end_of(told)["state"] == "cancelled"


def test_a_job_whose_server_stops_says_so(site: Site, gate: Any, tmp_path: Path) -> None:
    running = [site.start(f"/gated?path={quote(str(gate.path))}") for _ in range(2)]
    for _ in running:
        gate.wait_for_view()
    waiting = site.start("/train/m")
    site.server.send_signal(signal.SIGTERM)
    assert site.server.wait() == 0
    records = JobStore(open_store(f"sqlite://{tmp_path}/state.sqlite3"))
    for told in [*running, waiting]:
        record = records.get(told["id"])
        assert record is not None
        assert (record.state, "as the server stops" in (record.error or "")) == ("failed", True)


def test_any_worker_answers_for_a_job(serve: Callable[..., Any], gate: Any, tmp_path: Path) -> None:
    server = serve("heavy_work:app", "-w", "2", "--state", f"sqlite://{tmp_path}/state", "--executor", "processes:1")
    site = Site(server)
    server.wait_for_worker()
    jobs = [site.start("/train/m", {"epochs": 1}) for _ in range(6)]
    assert [site.end_of(told)["state"] for told in jobs] == ["done"] * 6


def test_jobs_are_shown_on_the_command_line(site: Site, gate: Any, tmp_path: Path) -> None:
    host, port = site.server.address

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "demijohn", "jobs", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    told = site.start("/train/m", {"epochs": 30})
    watched = run(f"http://{host}:{port}{told['url']}")
    assert watched.returncode == 0
    assert re.search(r"done +\[#{30}\] 30/30 epoch 29", watched.stdout)
    assert json.loads(watched.stdout[watched.stdout.index("{") :]) == {"name": "m", "epochs": 30}

    failed = site.start("/odd")
    watched = run(f"http://{host}:{port}{failed['url']}")
    assert watched.returncode == 1
    assert "The job failed: TypeError: odd() returned a object" in watched.stderr

    waiting = site.start(f"/gated?path={quote(str(gate.path))}")
    gate.wait_for_view()
    listed = run("--state", f"sqlite://{tmp_path}/state.sqlite3").stdout.splitlines()
    assert [re.split(r"  +", line)[1] for line in listed] == ["running", "failed", "done"]
    assert run("--cancel", f"http://{host}:{port}{waiting['url']}").returncode == 0
    assert site.end_of(waiting)["state"] == "cancelled"
    assert "answered 404" in run(f"http://{host}:{port}/jobs/none").stderr
    assert "no http URL" in run("here").stderr


def test_json_rpc_methods_are_heavy_or_jobs_too(site: Site) -> None:
    def call(method: str, **params: Any) -> Any:
        content = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        return site.ask("POST", "/api", content)[2]

    assert call("square", x=7)["result"] == 49
    assert call("where")["result"] not in site.workers
    assert call("square", x="seven")["error"]["code"] == -32602
    told = call("train", epochs=2)["result"]
    assert site.end_of(told)["result"] == [0, 1]
    assert call("train", epochs="x")["error"]["code"] == -32602


def test_a_job_on_dask_survives_a_reload_of_the_workers(
    serve: Callable[..., Any], program: Callable[..., Any], start: Callable[..., Any], gate: Any, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed, so this is NOT TESTED here")
    apps = Path(__file__).parents[1] / "apps"
    scheduler = program(
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "{port}",
        "--dashboard-address", ":0",
    )  # fmt: skip
    start(
        "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{scheduler.port}", "--host", "127.0.0.1",
        "--no-dashboard", "--local-directory", str(tmp_path), cwd=apps, PYTHONPATH=str(apps),
    ).wait_for("Registered to")  # fmt: skip
    executor = f"dask://127.0.0.1:{scheduler.port}"
    site = Site(serve("heavy_work:app", "--executor", executor, "--state", f"sqlite://{tmp_path}/state"))

    told = site.start(f"/gated?path={quote(str(gate.path))}")
    gate.wait_for_view()
    site.server.send_signal(signal.SIGHUP)
    site.server.wait_for_worker()
    site.server.wait_for("Worker exiting")
    gate.open()
    ended = site.end_of(told)
    assert (ended["state"], ended["result"]) == ("done", "through")
