"""What the server tells its operator: one line for each event, in gunicorn's format."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from .accesslog import AccessLog, OnAccess
from .settings import SettingError, Settings

log = logging.getLogger("demijohn.server")

_STANDARD = {1: "standard output", 2: "standard error"}


class LogFile:
    """A file that whole lines are appended to, by all processes of a server at once.

    A full disk or a closed pipe must not stop the server: lines that could not be written are counted, and the
    next one that can be is preceded by their number and the reason.
    """

    def __init__(self, path: str, standard: int, owner: tuple[int | None, int | None] = (None, None)) -> None:
        """Open `path`; "-" is the descriptor `standard`. Raises SettingError when it cannot be opened.

        owner: the user and the group whom the file shall belong to, for workers that are not root to open it anew.
        """
        self._owner = (-1 if owner[0] is None else owner[0], -1 if owner[1] is None else owner[1])
        self.path = None if path == "-" else os.path.abspath(path)
        self._lost = 0
        self._reason = ""
        try:
            self.fd = standard if self.path is None else self._open(self.path)
        except OSError as error:
            raise SettingError(f"The log file {path} cannot be opened: {error.strerror}.") from None

    def write_line(self, line: str) -> None:
        """Append `line`, which has no line end. Characters that UTF-8 has no bytes for are written as escapes."""
        data = (line + "\n").encode("utf-8", "backslashreplace")
        if self._lost:
            data = f"({self._lost} log lines before this one were lost: {self._reason})\n".encode() + data
        try:
            while data:
                data = data[os.write(self.fd, data) :]
            self._lost = 0
        except OSError as error:
            self._lost += 1
            self._reason = str(error.strerror)

    def reopen(self) -> None:
        """Go on in a new file of the same name, after the old one was moved away. A standard stream stays."""
        if self.path is None:
            return
        try:
            fresh = self._open(self.path)
        except OSError as error:
            log.error("The log file %s cannot be reopened and stays as it is: %s", self.path, error.strerror)
            return
        # The number stays and the file behind it changes at once, so no thread writes to a closed descriptor.
        os.dup2(fresh, self.fd, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        """Close the file, in this process. A standard stream stays."""
        if self.path is not None:
            os.close(self.fd)

    def _open(self, path: str) -> int:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if self._owner != (-1, -1) and os.geteuid() == 0 and stat.S_ISREG(os.fstat(fd).st_mode):
            os.fchown(fd, *self._owner)
        return fd

    def __repr__(self) -> str:
        return f"<LogFile {self.path or _STANDARD.get(self.fd, self.fd)}>"


class _LineHandler(logging.Handler):
    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self._file = file
        self.setFormatter(
            logging.Formatter("[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s", "%Y-%m-%d %H:%M:%S %z")
        )

    def emit(self, record: logging.LogRecord) -> None:
        self._file.write_line(self.format(record))


@dataclass(slots=True)
class LogFiles:
    """The files a server writes to.

    access: the file of `write_access`; None when its lines go to no file.
    write_access: to be told of each request; None when there is to be no line.
    captures: whether what is printed goes to the file for errors.
    loggers: others, which a configuration of Python's logging has set up.
    """

    error: LogFile
    access: LogFile | None
    write_access: OnAccess | None
    captures: bool
    loggers: list[logging.Logger]

    def close(self) -> None:
        for file in filter(None, (self.error, self.access)):
            file.close()

    def reopen(self) -> None:
        self.error.reopen()
        if self.access is not None:
            self.access.reopen()
        if self.captures:
            self.capture()
        for logger in self.loggers:
            logconfig().reopen_files(logger)

    def capture(self) -> None:
        """Send both standard streams to the file for errors."""
        for standard in _STANDARD:
            if standard != self.error.fd:
                os.dup2(self.error.fd, standard)


def logconfig() -> ModuleType:
    """Return the module for what few ask for: it and what it imports take a megabyte."""
    from . import logconfig as module

    return module


def open_logs(settings: Settings) -> LogFiles:
    """Open the files and send what the server logs to the one for errors. Raises SettingError."""
    owner = (settings.user, settings.group)
    error = LogFile(settings.error_log, standard=2, owner=owner)
    access = None if settings.access_log is None else LogFile(settings.access_log, standard=1, owner=owner)
    handlers: list[logging.Handler] = [_LineHandler(error)]
    write_lines: list[Callable[[str], object]] = [] if access is None else [access.write_line]
    loggers: list[logging.Logger] = []
    if settings.logconfig_dict is not None or settings.logconfig_json is not None or settings.logconfig is not None:
        error_logger, access_logger = logconfig().configured(settings)
        if error_logger is not None:
            handlers = [logconfig().Forwarding(error_logger)]
            loggers.append(error_logger)
        if access_logger is not None:
            write_lines = [partial(access_logger.info, "%s")]
            loggers.append(access_logger)
    if settings.syslog:
        handlers.append(logconfig().syslog_handler(settings, "error"))
        if not settings.disable_redirect_access_to_syslog:
            write_lines.append(_line_logger(logconfig().syslog_handler(settings, "access")))
    for before in log.handlers:
        before.close()
    log.handlers = handlers
    log.setLevel(settings.log_level.upper())
    log.propagate = False
    write_access = _access_log(settings.access_log_format, write_lines) if write_lines else None
    files = LogFiles(error, access, write_access, settings.capture_output, loggers)
    if settings.capture_output:
        files.capture()
    return files


def _line_logger(handler: logging.Handler) -> Callable[[str], object]:
    """Return a function that has `handler` write a line."""
    logger = logging.Logger("demijohn.access")
    logger.addHandler(handler)
    return partial(logger.info, "%s")


def _access_log(line_format: str, write_lines: list[Callable[[str], object]]) -> AccessLog:
    def write_to_all(line: str) -> None:
        for write_line in write_lines:
            write_line(line)

    try:
        return AccessLog(line_format, write_lines[0] if len(write_lines) == 1 else write_to_all)
    except ValueError as error:
        raise SettingError(f"--access-logformat cannot be used: {error}.") from None
