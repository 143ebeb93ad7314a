"""The logger of an application."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from demijohn import Flask
from demijohn.logging import create_logger, default_handler, has_level_handler, wsgi_errors_stream


def quiet_root(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """The root logger without the handlers that pytest puts there when a test begins."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    return root


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("app_of_test_logging")
    yield app
    logger = logging.getLogger(app.name)
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)


def test_the_logger_is_named_as_the_application_and_has_a_handler(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet_root(monkeypatch)
    assert app.logger is logging.getLogger("app_of_test_logging")
    assert app.logger.handlers == [default_handler]
    assert app.logger.level == logging.NOTSET
    assert create_logger(app).handlers == [default_handler]


def test_in_debug_mode_everything_is_logged_unless_configured(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet_root(monkeypatch)
    app.debug = True
    assert app.logger.level == logging.DEBUG
    logging.getLogger("app_of_test_logging").setLevel(logging.ERROR)
    assert create_logger(app).level == logging.ERROR


def test_logging_that_was_configured_is_left_alone(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet_root(monkeypatch).addHandler(logging.NullHandler())
    assert app.logger.handlers == []


def test_a_handler_counts_when_records_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.Logger("child")
    logger.parent = root = quiet_root(monkeypatch)
    assert not has_level_handler(logger)
    handler = logging.NullHandler()
    root.addHandler(handler)
    assert has_level_handler(logger)
    logger.propagate = False
    assert not has_level_handler(logger)
    logger.propagate = True
    handler.setLevel(logging.CRITICAL)
    assert not has_level_handler(logger)
    logger.setLevel(logging.CRITICAL)
    assert has_level_handler(logger)


def test_during_a_request_records_go_to_the_error_stream_of_the_server(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet_root(monkeypatch)
    stream = io.StringIO()

    @app.get("/")
    def view() -> str:
        app.logger.warning("look %s", "here")
        return ""

    app.test_client().get("/", errors_stream=stream)
    assert "WARNING in test_logging: look here" in stream.getvalue()
    assert stream.getvalue().startswith("[2")
    assert wsgi_errors_stream._get_current_object() is sys.stderr  # type: ignore[attr-defined]
