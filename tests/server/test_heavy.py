"""Heavy functions of an application under `demijohn serve`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demijohn.jsonrpc import Client, Progress, RemoteError

PATIENCE_S = 30.0


def children_of(pid: int) -> list[int]:
    """Return the processes below a process."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


@pytest.fixture
def work(serve: Callable[..., Any]) -> Any:
    server = serve("heavy_work:app", "--threads", "8", "--executor", "processes:2", "--state", "memory://")
    server.worker = server.wait_until_ready()[0]
    return server


def test_heavy_functions_run_elsewhere_and_call_each_other(work: Any) -> None:
    assert json.loads(work.get("/squares/4").text) == {"square": 16, "sum": 14, "elsewhere": True}


def test_each_way_to_fail_has_its_own_error(work: Any, gate: Any, tmp_path: Path) -> None:
    assert work.get("/call/die?arg=3").status == 500
    work.wait_for(r"die\(\) ended its process each of 2 times \(exit status 3\)")
    assert json.loads(work.get(f"/call/die_once?arg={tmp_path}/mark").text) == {"result": "survived"}
    late = work.get(f"/call/stay?arg={gate.path}")
    assert (late.status, "took too long" in late.text) == (504, True)
    work.wait_for(r"stay\(\) was not done at its deadline")
    assert work.get("/call/fail?arg=oops").status == 500
    work.wait_for("ValueError: oops")
    told = json.loads(work.get("/failure").text)
    assert told["error"] == "not this one"
    assert "in fail" in told["notes"]
    assert "take() runs in another process, and its argument 1, a function" in work.get("/unpicklable").text
    assert json.loads(work.get("/call/take?arg=1").text) == {"result": "int"}


def test_a_full_queue_is_answered_503_and_the_rest_goes_on(
    serve: Callable[..., Any], gate: Any, in_background: Callable[..., Any]
) -> None:
    server = serve("heavy_work:app", "--executor", "processes:1", DEMIJOHN_HEAVY_QUEUE="1")
    server.wait_until_ready()
    waiting = [in_background(server.get, f"/call/wait?arg={gate.path}")]
    gate.wait_for_view()
    # One more may wait; which of these two it is, nobody knows.
    others = [in_background(server.get, f"/call/square?arg={number}") for number in (3, 4)]
    server.wait_for(r"square\(\) was not run: 1 calls wait already")
    assert server.get("/").text == "hello"
    gate.open()
    assert waiting[0].result().status == 200
    answers = sorted((other.result() for other in others), key=lambda answer: answer.status)
    assert [answer.status for answer in answers] == [200, 503]
    assert answers[1].headers["Retry-After"] == "1"


def test_no_process_is_left_behind(work: Any, process_is_gone: Callable[[int], None]) -> None:
    work.get("/squares/2")
    processes = children_of(work.worker)
    assert processes
    work.send_signal(signal.SIGTERM)
    assert work.wait() == 0
    for pid in processes:
        process_is_gone(pid)


def test_a_worker_that_drains_lets_a_heavy_call_finish(work: Any, gate: Any, in_background: Callable[..., Any]) -> None:
    running = in_background(work.get, f"/call/wait?arg={gate.path}")
    gate.wait_for_view()
    work.send_signal(signal.SIGTERM)
    work.wait_for("Handling signal: term")
    gate.open()
    assert running.result().status == 200
    assert work.wait() == 0


def test_a_worker_that_is_killed_takes_its_processes_along(
    work: Any, gate: Any, in_background: Callable[..., Any], process_is_gone: Callable[[int], None]
) -> None:
    in_background(work.get, f"/call/wait?arg={gate.path}")
    gate.wait_for_view()
    processes = children_of(work.worker)
    os.kill(work.worker, signal.SIGKILL)
    for pid in processes:
        process_is_gone(pid)
    work.wait_for_worker()
    assert json.loads(work.get("/squares/1").text)["square"] == 1


def test_views_are_answered_while_all_processes_compute(work: Any, in_background: Callable[..., Any]) -> None:
    spinning = [in_background(work.get, "/call/spin?arg=1") for _ in range(4)]
    answered = 0
    while any(spin._thread.is_alive() for spin in spinning):
        assert work.get("/").text == "hello"
        answered += 1
    assert all(spin.result().status == 200 for spin in spinning)
    assert answered > 20


def test_other_executors_do_the_same(serve: Callable[..., Any]) -> None:
    for executor in ("threads:2", "inline"):
        server = serve("heavy_work:app", "--executor", executor)
        server.wait_until_ready()
        told = json.loads(server.get("/squares/4").text)
        assert told == {"square": 16, "sum": 14, "elsewhere": False}


def test_a_wrong_executor_is_refused_with_what_there_is(serve: Callable[..., Any]) -> None:
    server = serve("heavy_work:app", "--executor", "celery")
    assert server.wait() == 2
    assert "--executor" in server.log
    assert "dask://HOST:8786" in server.log


# -- Dask -----------------------------------------------------------------------------------------


@pytest.fixture
def cluster(program: Callable[..., Any], start: Callable[..., Any], tmp_path: Path) -> Any:
    """A scheduler and, started by a call, workers that can import what the server can."""
    pytest.importorskip("distributed", reason="Dask is not installed, so this is NOT TESTED here")
    scheduler = program(
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--dashboard-address",
        ":0",
    )

    def start_worker() -> Any:
        apps = Path(__file__).parents[1] / "apps"
        address = f"tcp://127.0.0.1:{scheduler.port}"
        worker = start(
            "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--host", "127.0.0.1",
            "--no-dashboard", "--death-timeout", "60", "--local-directory", str(tmp_path), cwd=apps,
            PYTHONPATH=str(apps),
        )  # fmt: skip
        worker.wait_for("Registered to")
        return worker

    scheduler.start_worker = start_worker
    return scheduler


def test_a_dask_cluster_runs_the_same_functions(
    serve: Callable[..., Any], cluster: Any, gate: Any, in_background: Callable[..., Any]
) -> None:
    first = cluster.start_worker()
    server = serve("heavy_work:app", "--executor", f"dask://127.0.0.1:{cluster.port}")
    server.wait_until_ready()
    assert json.loads(server.get("/squares/4").text) == {"square": 16, "sum": 14, "elsewhere": True}
    assert server.get("/call/fail?arg=oops").status == 500
    server.wait_for("ValueError: oops")
    assert server.get(f"/call/stay?arg={gate.path}").status == 504
    gate.wait_for_view()
    gate.open()

    # A worker that is killed in a call: another does it again.
    running = in_background(server.get, f"/call/wait?arg={gate.path}")
    gate.wait_for_view()
    cluster.start_worker()
    first.end()
    gate.wait_for_view()
    gate.open()
    assert running.result().status == 200


def test_a_call_on_dask_reports_to_its_caller_and_is_cancelled(
    serve: Callable[..., Any], cluster: Any, gate: Any
) -> None:
    cluster.start_worker()
    server = serve("conversing:app", "--executor", f"dask://127.0.0.1:{cluster.port}", "--workers", "1")
    server.wait_until_ready()
    told: list[Progress] = []
    with Client("ws://{}:{}/api".format(*server.address)) as client:
        assert client.call("heavy_work", [3], on_progress=told.append) == 3
        assert (told[0], told[-1]) == (Progress(0, 3), Progress(3, 3))
        running = client.start("heavy_tidy", [str(gate.path)])
        gate.wait_for_view()
        running.cancel()
        with pytest.raises(RemoteError, match="Request cancelled"):
            running.result(PATIENCE_S)
        gate.open()
        gate.wait_for_view()  # it cleans up
        gate.open()
        assert client.call("heavy_work", [1]) == 1


def test_a_scheduler_that_is_lost_is_a_clear_error_until_it_is_back(serve: Callable[..., Any], cluster: Any) -> None:
    cluster.start_worker()
    server = serve("heavy_work:app", "--executor", f"dask://127.0.0.1:{cluster.port}")
    server.wait_until_ready()
    assert server.get("/squares/2").status == 200

    cluster.stop(signal.SIGKILL)
    assert server.get("/call/square?arg=2").status == 503
    server.wait_for("The Dask scheduler at tcp://127.0.0.1:[0-9]+ cannot be reached")
    assert server.get("/").text == "hello"

    cluster.start()
    cluster.start_worker()
    deadline = time.monotonic() + 30
    while server.get("/call/square?arg=2").status != 200:
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
