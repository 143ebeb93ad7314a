"""The logger of an application: the one that `logging.getLogger(app.name)` gives, with a handler when it has none."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

from werkzeug.local import LocalProxy

from .globals import _cv_request

if TYPE_CHECKING:
    from .app import Flask


def _errors_stream() -> TextIO:
    ctx = _cv_request.get(None)
    return sys.stderr if ctx is None else cast(TextIO, ctx.request.environ["wsgi.errors"])


# Where errors go now: the error stream of the server during a request, else standard error.
wsgi_errors_stream: TextIO = LocalProxy(_errors_stream)  # type: ignore[assignment]

default_handler = logging.StreamHandler(wsgi_errors_stream)
default_handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s in %(module)s: %(message)s"))


def has_level_handler(logger: logging.Logger) -> bool:
    """Whether a handler on the way of the logger's records, its ancestors included, takes its effective level."""
    level = logger.getEffectiveLevel()
    current: logging.Logger | None = logger
    while current is not None:
        if any(handler.level <= level for handler in current.handlers):
            return True
        current = current.parent if current.propagate else None
    return False


def create_logger(app: Flask) -> logging.Logger:
    """Return the logger named as the application, at level DEBUG in debug mode, writing to `default_handler`.

    A level or a handler that was configured before is left alone.
    """
    logger = logging.getLogger(app.name)
    if app.debug and not logger.level:
        logger.setLevel(logging.DEBUG)
    if not has_level_handler(logger):
        logger.addHandler(default_handler)
    return logger
