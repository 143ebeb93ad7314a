"""Logger classes that were made for gunicorn."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path

import pytest


def test_a_logger_class_made_for_gunicorn_is_told_what_gunicorn_would_tell_it(serve, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="a subclass of its Logger needs gunicorn")
    (tmp_path / "own.py").write_text(
        textwrap.dedent(
            """
            from gunicorn.glogging import Logger
            class Own(Logger):
                error_fmt = "OWN %(levelname)s %(message)s"
                def access(self, resp, req, environ, request_time):
                    if environ["PATH_INFO"] != "/pid":
                        super().access(resp, req, environ, request_time)
            """
        )
    )
    flags = ("--logger-class", "own.Own", "--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s %(B)s")
    server = serve("plain:application", "-w", "1", "--pythonpath", str(tmp_path), *flags)
    server.wait_until_ready()
    assert server.get("/pid").status == 200
    assert server.get("/").status == 200
    server.wait_for("^GET / 200 13$")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "OWN INFO Listening at" in server.log
    assert "/pid" not in server.log


def test_a_logger_class_that_is_not_there_stops_the_start_with_one_sentence(serve) -> None:
    server = serve("plain:application", "--logger-class", "no.such.Logger")
    assert server.wait() == 1
    assert server.log.startswith(
        "Error: The logger class no.such.Logger cannot be used: ModuleNotFoundError: No module"
    )
    assert "Traceback" not in server.log


def test_the_class_gunicorn_logs_with_anyway_needs_no_gunicorn(serve) -> None:
    server = serve("plain:application", "--logger-class", "gunicorn.glogging.Logger")
    server.wait_until_ready()
    assert server.get("/").status == 200
