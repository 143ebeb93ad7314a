"""Logging as its standard configuration says (`logconfig_dict` and files), and to syslog; for those who ask for it.

gunicorn's users name the loggers `gunicorn.error` and `gunicorn.access` in such a configuration: what this server logs
goes there, too.
"""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import socket
from collections.abc import Mapping
from typing import Any

from .kinds import SettingError
from .settings import Settings

ERROR, ACCESS = "gunicorn.error", "gunicorn.access"
_DEFAULTS: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}
# What gunicorn has in its own configuration: loggers of a dictionary refer to these by name.
_FORMATTERS: dict[str, Any] = {
    "generic": {
        "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
        "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
    },
}
_HANDLERS: dict[str, Any] = {
    name: {"class": "logging.StreamHandler", "formatter": "generic", "stream": f"ext://sys.{stream}"}
    for name, stream in (("console", "stdout"), ("error_console", "stderr"))
}
_SYSLOG_PORT = 514


def configured(settings: Settings) -> tuple[logging.Logger | None, logging.Logger | None]:
    """Configure logging as the settings say; return the loggers for errors and access, where they have handlers.

    Raises SettingError.
    """
    for name in (ERROR, ACCESS):  # of the configuration before a reload
        logging.getLogger(name).handlers = []
    try:
        if settings.logconfig_dict is not None:
            logging.config.dictConfig(_completed(settings.logconfig_dict))
        elif settings.logconfig_json is not None:
            with open(settings.logconfig_json, encoding="utf-8") as file:
                logging.config.dictConfig(_completed(json.load(file)))
        elif settings.logconfig is not None:
            logging.config.fileConfig(settings.logconfig, disable_existing_loggers=False)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, OSError, RuntimeError) as error:
        # A ValueError of dictConfig only says which part is wrong; its cause says why.
        why = f"{error}: {error.__cause__}" if error.__cause__ is not None else error
        raise SettingError(f"Logging cannot be configured: {why}.") from None
    found = [logging.getLogger(name) for name in (ERROR, ACCESS)]
    error_logger, access_logger = (logger if logger.handlers else None for logger in found)
    return error_logger, access_logger


def _completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary for `dictConfig` with what gunicorn's users need not write into theirs."""
    return {
        **_DEFAULTS,
        **given,
        "formatters": {**_FORMATTERS, **given.get("formatters", {})},
        "handlers": {**_HANDLERS, **given.get("handlers", {})},
    }


class Forwarding(logging.Handler):
    """Hands records on to another logger, which decides what becomes of them."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if self.logger.isEnabledFor(record.levelno):
            self.logger.handle(record)


def reopen_files(logger: logging.Logger) -> None:
    """Have its files opened anew, after they were moved away."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()  # it opens the file again when there is something to write


def syslog_handler(settings: Settings, part: str) -> logging.Handler:
    """Return what sends records to syslog, as `gunicorn.PREFIX.PART`. Raises SettingError."""
    address, kind = _syslog_address(settings.syslog_addr)
    try:
        handler = logging.handlers.SysLogHandler(address, settings.syslog_facility, kind)
    except OSError as error:
        raise SettingError(f"Syslog at {settings.syslog_addr} cannot be reached: {error.strerror or error}.") from None
    prefix = settings.syslog_prefix or settings.name or "demijohn"
    handler.setFormatter(logging.Formatter(f"gunicorn.{prefix}.{part}: [%(process)d] %(message)s"))
    return handler


def _syslog_address(written: str) -> tuple[str | tuple[str, int], socket.SocketKind]:
    """Return address and kind of `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix://PATH#stream`. Raises SettingError."""
    scheme, separator, rest = written.partition("://")
    if separator and scheme == "unix":
        path, _, kind = rest.partition("#")
        return path, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM
    host, _, port = rest.rpartition(":") if ":" in rest else (rest, "", str(_SYSLOG_PORT))
    if not separator or scheme not in ("udp", "tcp") or not host or not port.isdecimal():
        raise SettingError(f"--log-syslog-to must be udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, not {written!r}.")
    return (host.strip("[]"), int(port)), socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
