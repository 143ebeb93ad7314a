"""Logs that go elsewhere: as Python's logging is configured, to syslog, and what the application prints."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHATTY = """
import sys

def app(environ, start_response):
    print("printed")
    print("complained", file=sys.stderr)
    start_response("200 OK", [])
    return [b"x"]
"""


def dictionary(folder: Path) -> dict[str, Any]:
    def to_file(name: str) -> dict[str, Any]:
        return {"class": "logging.FileHandler", "filename": str(folder / name), "formatter": "marked"}

    return {
        "formatters": {"marked": {"format": "MARKED %(levelname)s %(message)s"}},
        "handlers": {"errors": to_file("errors.log"), "requests": to_file("requests.log")},
        "loggers": {
            "gunicorn.error": {"handlers": ["errors"], "level": "INFO", "propagate": False},
            "gunicorn.access": {"handlers": ["requests"], "level": "INFO", "propagate": False},
        },
    }


INI = """
[loggers]
keys=root,gunicorn.error,gunicorn.access
[handlers]
keys=errors,requests
[formatters]
keys=marked
[logger_root]
handlers=
[logger_gunicorn.error]
qualname=gunicorn.error
level=INFO
propagate=0
handlers=errors
[logger_gunicorn.access]
qualname=gunicorn.access
level=INFO
propagate=0
handlers=requests
[handler_errors]
class=FileHandler
formatter=marked
args=('errors.log',)
[handler_requests]
class=FileHandler
formatter=marked
args=('requests.log',)
[formatter_marked]
format=MARKED %(levelname)s %(message)s
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(CHATTY)
    return tmp_path


@pytest.fixture
def wait_until_served(serve: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Start a server that prints nothing, and return it when it has answered."""

    def start(*flags: str, **more: Any) -> Any:
        server = serve("shop:app", *flags, bind=f"unix:{folder}/socket", cwd=folder, **more)
        server.address = str(folder / "socket")
        while True:
            try:
                assert server.get("/").status == 200
                return server
            except (FileNotFoundError, ConnectionRefusedError):
                assert server._running.process.poll() is None, server._running.read_to_the_end()

    return start


@pytest.mark.parametrize("form", ["dictionary", "json", "ini"])
def test_both_logs_go_where_a_configuration_of_logging_says(wait_until_served, folder: Path, form: str) -> None:
    flags: tuple[str, ...] = ()
    if form == "dictionary":
        (folder / "gunicorn.conf.py").write_text(f"logconfig_dict = {dictionary(folder)!r}\n")
    elif form == "json":
        (folder / "log.json").write_text(json.dumps(dictionary(folder)))
        flags = ("--log-config-json", "log.json")
    else:
        (folder / "log.ini").write_text(INI)
        flags = ("--log-config", "log.ini")
    server = wait_until_served(*flags)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "MARKED INFO Listening at: unix:" in (folder / "errors.log").read_text()
    assert "MARKED INFO - - - [" in (folder / "requests.log").read_text()
    assert "Listening" not in server.log


def test_a_dictionary_may_use_the_handlers_and_the_formatter_that_gunicorn_has(serve, folder: Path) -> None:
    loggers = {
        "gunicorn.error": {"handlers": ["error_console", "plain"], "level": "INFO", "propagate": False},
        "gunicorn.access": {"handlers": ["console"], "level": "INFO", "propagate": False},
    }
    handlers = {"plain": {"class": "logging.FileHandler", "filename": "plain.log", "formatter": "generic"}}
    configuration = {"loggers": loggers, "handlers": handlers}
    (folder / "gunicorn.conf.py").write_text(f"logconfig_dict = {configuration!r}\n")
    server = serve("shop:app", "-w", "1", cwd=folder)
    server.wait_until_ready()
    assert server.get("/").status == 200
    server.wait_for(r"^\[\d{4}-\d\d-\d\d [\d:]{8} [+-]\d{4}\] \[\d+\] \[INFO\] 127\.0\.0\.1 - - .* 200 ")
    line = r"\[\d{4}-\d\d-\d\d [\d:]{8} [+-]\d{4}\] \[\d+\] \[INFO\] Listening at: "
    assert re.match(line, (folder / "plain.log").read_text())


def test_sigusr1_reopens_the_files_of_a_configuration_too(wait_until_served, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(f"logconfig_dict = {dictionary(folder)!r}\n")
    server = wait_until_served()
    requests = folder / "requests.log"
    requests.rename(folder / "requests.1")
    server.send_signal(signal.SIGUSR1)
    while not (requests.exists() and requests.read_text()):
        server.get("/")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("logconfig_dict = {'handlers': {'x': {'class': 'nowhere.Handler'}}}", "Unable to configure handler 'x'"),
        ("logconfig = 'nowhere.ini'", "Logging cannot be configured"),
        ("logconfig_json = 'nowhere.json'", "No such file or directory"),
        ("syslog = True\nsyslog_addr = 'somewhere'", "--log-syslog-to must be udp://HOST:PORT"),
    ],
)
def test_logging_that_cannot_be_configured_stops_the_start(serve, folder: Path, setting: str, sentence: str) -> None:
    (folder / "gunicorn.conf.py").write_text(setting + "\n")
    server = serve("shop:app", cwd=folder)
    assert server.wait() == 1
    assert sentence in server.log
    assert server.log.count("\n") == 1


@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_both_logs_go_to_syslog(serve, folder: Path, kind: str) -> None:
    with socket.socket(socket.AF_INET if kind == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.settimeout(30)
        syslog.bind(("127.0.0.1", 0) if kind == "udp" else f"{folder}/syslog")
        address = f"udp://127.0.0.1:{syslog.getsockname()[1]}" if kind == "udp" else f"unix://{folder}/syslog"
        server = serve(
            "shop:app",
            *("--log-syslog", "--log-syslog-to", address, "--log-syslog-prefix", "shop"),
            *("--log-syslog-facility", "local3"),
            cwd=folder,
        )
        facility = 19 << 3
        assert syslog.recv(4096).startswith(
            b"<%d>gunicorn.shop.error: [%d] Listening at: " % (facility | 6, server.pid)
        )
        server.wait_until_ready()
        server.get("/")
        while b"gunicorn.shop.access: " not in (message := syslog.recv(4096)):
            assert b"gunicorn.shop.error: " in message
        assert b'"GET / HTTP/1.1" 200' in message


def test_what_the_application_prints_goes_to_the_error_log_also_after_that_was_moved(
    wait_until_served, folder: Path
) -> None:
    log = folder / "error.log"
    server = wait_until_served("--capture-output", "--error-logfile", str(log), "--access-logfile", "/dev/null")
    assert "printed\n" in log.read_text()
    assert "complained\n" in log.read_text()
    log.rename(folder / "error.1")
    server.send_signal(signal.SIGUSR1)
    while not (log.exists() and "printed\n" in log.read_text()):
        server.get("/")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "printed" not in server.log
