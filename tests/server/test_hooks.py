"""The hooks of a configuration file: who calls them, when, and with what."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from demijohn.server.hooks import HookSettings
from demijohn.server.settings import FLAGS, SettingError, from_values

APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise RuntimeError("the view failed")
    start_response("200 OK", [("X-Kind", "plain")])
    return [environ.get("HTTP_X_STAMP", "no stamp").encode()]
"""
NATIVE_APP = """
import asyncio
from demijohn import Flask

app = Flask(__name__)

@app.get("/")
def hello():
    return "hello"

@app.get("/later")
async def later():
    await asyncio.sleep(0)
    return "later"
"""
LIFE = """
import os

def say(hook, *about):
    # In one piece: several processes write at the same time.
    os.write(1, " ".join(map(str, ("hook", hook, *about, "by", f"{os.getpid()}\\n"))).encode())

def on_starting(server): say("on_starting", server.pid, server.cfg.workers, server.num_workers)
def when_ready(server): say("when_ready", server.address[0][:4])
def pre_fork(server, worker): say("pre_fork", worker.age, worker.pid)
def post_fork(server, worker): say("post_fork", worker.age, worker.pid, worker.ppid == server.pid)
def post_worker_init(worker): say("post_worker_init", worker.pid)
def nworkers_changed(server, new_value, old_value): say("nworkers_changed", new_value, old_value)
def on_reload(server): say("on_reload")
def worker_int(worker): say("worker_int", worker.pid)
def worker_exit(server, worker): say("worker_exit", worker.pid, worker.alive)
def child_exit(server, worker): say("child_exit", worker.pid, worker.pid in server.WORKERS)
def on_exit(server): say("on_exit", len(server.WORKERS))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


def test_the_life_of_a_server_calls_its_hooks_in_order(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(LIFE)
    server = serve("shop:app", cwd=folder)
    (worker,) = server.wait_until_ready()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    arbiter = server.pid
    assert re.findall(r"^hook (.*)$", server.log, re.MULTILINE) == [
        f"on_starting {arbiter} 1 1 by {arbiter}",
        f"when_ready 127. by {arbiter}",
        f"nworkers_changed 1 None by {arbiter}",
        f"pre_fork 1 None by {arbiter}",
        f"post_fork 1 {worker} True by {worker}",
        f"post_worker_init {worker} by {worker}",
        f"worker_exit {worker} False by {worker}",
        f"child_exit {worker} False by {arbiter}",
        f"on_exit 0 by {arbiter}",
    ]


def test_preloading_changes_nothing_about_the_hooks_of_workers(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(LIFE)
    server = serve("shop:app", "--preload", cwd=folder)
    (worker,) = server.wait_until_ready()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    for line in (
        f"pre_fork 1 None by {server.pid}",
        f"post_fork 1 {worker} True by {worker}",
        f"post_worker_init {worker} by {worker}",
        f"worker_exit {worker} False by {worker}",
        f"child_exit {worker} False by {server.pid}",
    ):
        assert f"hook {line}\n" in server.log


def test_signals_call_their_hooks(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(LIFE)
    server = serve("shop:app", cwd=folder)
    server.wait_until_ready()
    server.send_signal(signal.SIGTTIN)
    server.wait_for("hook nworkers_changed 2 1")
    server.send_signal(signal.SIGHUP)
    server.wait_for("hook on_reload")
    server.wait_for("hook nworkers_changed 1 2")
    server.wait_for("Reloaded")
    server.send_signal(signal.SIGINT)
    server.wait_for(r"hook worker_int (\d+) by \1")
    assert server.wait() == 0


def test_worker_abort_is_called_after_the_stacks_were_written(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "def worker_abort(worker):\n    worker.log.info('aborted %s', worker.pid)\n"
    )
    server = serve("shop:app", cwd=folder)
    (pid,) = server.wait_until_ready()
    os.kill(pid, signal.SIGABRT)
    server.wait_for("Current thread")
    server.wait_for(f"aborted {pid}")
    assert server.wait_for_worker() != pid


@pytest.mark.parametrize("name", ["on_starting", "when_ready"])
def test_a_hook_that_fails_before_anything_is_served_stops_the_start(serve, folder: Path, name: str) -> None:
    (folder / "gunicorn.conf.py").write_text(f"def {name}(server):\n    server.nothing\n")
    server = serve("shop:app", cwd=folder)
    assert server.wait() == 1
    assert f"[ERROR] The hook {name} failed\nTraceback" in server.log
    assert f"Error: The hook {name} failed" in server.log


@pytest.mark.parametrize(("name", "parameters"), [("post_fork", "server, worker"), ("post_worker_init", "worker")])
def test_a_worker_whose_hook_fails_does_not_boot(serve, folder: Path, name: str, parameters: str) -> None:
    (folder / "gunicorn.conf.py").write_text(f"def {name}({parameters}):\n    worker.nothing\n")
    server = serve("shop:app", cwd=folder)
    assert server.wait() == 3
    assert f"The hook {name} failed" in server.log


def test_other_hooks_that_fail_are_logged_and_stop_nothing(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "def pre_fork(server, worker):\n    server.nothing\n"
        "def post_request(worker, req):\n    worker.nothing\n"
        "def on_exit(server):\n    server.nothing\n"
    )
    server = serve("shop:app", cwd=folder)
    server.wait_until_ready()
    assert "The hook pre_fork failed" in server.log
    assert server.get("/").status == 200
    server.wait_for("The hook post_request failed")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "The hook on_exit failed" in server.log


# -- of requests ------------------------------------------------------------------------------------------

REQUESTS = """
def pre_request(worker, req):
    worker.log.info("before %s %s %s %s", req.method, req.path, req.query, dict(req.headers)["X-STAMP"])

def post_request(worker, req, environ, resp):
    worker.log.info("after %s %s %s %s", req.uri, resp.status_code, resp.response_length, environ["PATH_INFO"])
"""


@pytest.mark.parametrize("target", ["shop:app", "native:app"])
def test_hooks_see_each_request_and_its_answer(serve, folder: Path, target: str) -> None:
    (folder / "native.py").write_text(NATIVE_APP)
    (folder / "gunicorn.conf.py").write_text(REQUESTS)
    server = serve(target, cwd=folder)
    server.wait_until_ready()
    answer = server.get("/?a=b", **{"X-Stamp": "blue"})
    server.wait_for("before GET / a=b blue")
    server.wait_for(rf"after /\?a=b 200 {len(answer.text)} /$")


ASGI_APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/fail":
        raise RuntimeError("the application failed")
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""


def test_hooks_see_requests_of_asgi_applications_and_their_answers(serve, folder: Path) -> None:
    (folder / "web.py").write_text(ASGI_APP)
    (folder / "gunicorn.conf.py").write_text(REQUESTS)
    server = serve("web:app", cwd=folder)
    server.wait_until_ready()
    assert server.get("/?a=b", **{"X-Stamp": "blue"}).text == "hello"
    server.wait_for("before GET / a=b blue")
    server.wait_for(r"after /\?a=b 201 5 /$")
    assert server.get("/fail", **{"X-Stamp": "blue"}).status == 500
    server.wait_for("after /fail 500 ")


def test_a_request_to_an_asgi_application_whose_hook_fails_is_answered_500(serve, folder: Path) -> None:
    (folder / "web.py").write_text(ASGI_APP)
    (folder / "gunicorn.conf.py").write_text(
        "def pre_request(worker, req):\n    req.mark = 'marked'\n    worker.nothing\n"
        "def post_request(worker, req):\n    worker.log.info('after, %s', req.mark)\n"
    )
    server = serve("web:app", cwd=folder)
    server.wait_until_ready()
    assert server.get("/").status == 500
    server.wait_for("AttributeError: .* 'nothing'")
    server.wait_for("after, marked")


def test_hooks_see_answers_that_were_awaited(serve, folder: Path) -> None:
    (folder / "native.py").write_text(NATIVE_APP)
    (folder / "gunicorn.conf.py").write_text(REQUESTS)
    server = serve("native:app", cwd=folder)
    server.wait_until_ready()
    assert server.get("/later", **{"X-Stamp": "blue"}).text == "later"
    server.wait_for("before GET /later  blue")
    server.wait_for("after /later 200 5 /later")


def test_hooks_see_requests_that_failed(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(REQUESTS)
    server = serve("shop:app", cwd=folder)
    server.wait_until_ready()
    assert server.get("/fail", **{"X-Stamp": "blue"}).status == 500
    server.wait_for("after /fail 500 ")


def test_a_request_whose_hook_fails_is_answered_500(serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("def pre_request(worker, req):\n    worker.nothing\n")
    server = serve("shop:app", cwd=folder)
    server.wait_until_ready()
    assert server.get("/").status == 500
    server.wait_for("AttributeError: .* 'nothing'")


@pytest.mark.parametrize("target", ["shop:app", "native:app", "web:app"])
def test_a_request_whose_hook_exits_is_answered_500_and_the_worker_goes_on(serve, folder: Path, target: str) -> None:
    (folder / "native.py").write_text(NATIVE_APP)
    (folder / "web.py").write_text(ASGI_APP)
    (folder / "gunicorn.conf.py").write_text("def pre_request(worker, req):\n    raise SystemExit(req.path)\n")
    server = serve(target, "--threads", "1", cwd=folder)
    worker = server.wait_until_ready()[0]
    for number in range(6):
        assert server.get(f"/{number}").status == 500
        server.wait_for(f"SystemExit: /{number}")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert f"(pid: {worker})" in server.log
    assert server.log.count("Booting worker") == 1


@pytest.mark.parametrize("parameters", ["worker, req", "worker, req, environ", "worker, req, environ, resp", "*given"])
def test_post_request_may_leave_out_what_it_does_not_want(parameters: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"def post_request({parameters}): return 1", namespace)
    settings = from_values({"post_request": namespace["post_request"]}, {})
    assert settings.post_request is not None
    assert settings.post_request("worker", "req", "environ", "resp") == 1


@pytest.mark.parametrize("value", ["a text", lambda: None, lambda one, two: None])
def test_what_cannot_be_called_as_a_hook_is_refused(value: object) -> None:
    with pytest.raises(SettingError, match=r"must (be a function of|take 1 parameters: )"):
        from_values({"when_ready": value}, {})


def test_every_hook_is_a_setting_of_files_alone() -> None:
    hooks = [flag for flag in FLAGS if flag.name in HookSettings.__dataclass_fields__]
    assert len(hooks) == 16
    for flag in hooks:
        assert (flag.spellings, flag.variables, flag.gunicorn) == ((), (), flag.name)
