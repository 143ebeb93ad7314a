"""A gunicorn user's own logger class: made as gunicorn makes it, and told what gunicorn would tell it."""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

from ..environ import environ_of
from ..message import RequestHead, ResponseMessage
from .log import LogFiles, log
from .settings import Configuration, SettingError, Settings

# What gunicorn logs with unless told otherwise does nothing that the server does not do itself.
_GUNICORNS_OWN = ("gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd")


def use_logger_class(settings: Settings, logs: LogFiles) -> None:
    """Log with an object of the class that the settings name, if any. Raises SettingError."""
    wanted = settings.logger_class
    if wanted is None or wanted in _GUNICORNS_OWN:
        return
    try:
        logger = (_found(wanted) if isinstance(wanted, str) else wanted)(Configuration(settings))
        error_log, access_log, write_access = logger.error_log, logger.access_log, logger.access
    except Exception as error:  # the operator's code
        hint = ". gunicorn has to be installed for its Logger" if "gunicorn" in str(error) else ""
        raise SettingError(
            f"The logger class {wanted} cannot be used: {type(error).__name__}: {error}{hint}. For most purposes "
            "--log-config will do."
        ) from None
    log.handlers = []
    log.parent, log.propagate = error_log, True
    logs.loggers += [error_log, access_log]
    if logs.write_access is not None:
        logs.write_access = _told(write_access)


def _found(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


class _Response:
    def __init__(self, message: ResponseMessage, sent: int) -> None:
        self.status = message.status
        self.sent = sent
        lines = message.field_lines.decode("latin-1").split("\r\n")
        self.headers = [
            (name, value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon
        ]


class _Request:
    def __init__(self, head: RequestHead) -> None:
        self.headers = [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in head.fields]


def _told(write_access: Any) -> Any:
    def tell(head: RequestHead, message: ResponseMessage, content_bytes: int, wall_s: float, is_complete: bool) -> None:
        write_access(_Response(message, content_bytes), _Request(head), environ_of(head), timedelta(seconds=wall_s))

    return tell
