"""From settings to a running arbiter: what is opened before the first worker, and told after the last."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

from .arbiter import Arbiter, make_tls
from .children import counted
from .control import open_control
from .forking import STOPS
from .hook_objects import HookError, HookServer, call, must_call
from .loading import LoadError, load_gateway
from .log import log, open_logs
from .logger_class import use_logger_class
from .pidfile import SUCCESSOR, PidFile
from .process import daemonize, keep_standard_descriptors, prepare, use_what_a_container_gives
from .settings import Service, SettingError, Settings
from .sockets import Listener, open_listener
from .systemd import listen_addresses
from .upgrade import Inheritance, Succession, take_over
from .worker import BOOT_FAILED, leave


def serve(service: Service, reread: Callable[[], Service] | None = None) -> int:
    """Serve an application until a signal ends it.

    reread: gives what there is to serve by then, when SIGHUP asks; it raises SettingError. None: always the same.

    Returns the exit status: 0 when it was asked to stop, 1 for a setting that cannot be used, 3 when the
    application cannot be loaded. What went wrong is on standard error or in the error log by then.

    Raises SystemExit in the worker processes it forks.
    """
    # The kernel keeps signals from process 1 of a container until it has handlers, and loading can take its time.
    for signum in STOPS:
        signal.signal(signum, leave)
    keep_standard_descriptors()
    directory = _directory()
    inheritance = take_over(os.environ)
    passed = _passed_addresses(inheritance)
    service = _with_addresses(service, passed)
    settings = service.settings
    pid_file: PidFile | None = None
    try:
        prepare(settings)
        use_what_a_container_gives()
        logs = open_logs(settings)
        use_logger_class(settings, logs)
        for note in service.notes:
            log.warning("%s", note)
        server = HookServer(settings)
        must_call("on_starting", settings.on_starting, server)
        tls = make_tls(settings)
        listeners = _listeners(settings, inheritance)
        control = open_control(settings)
        if settings.daemon and inheritance is None:
            daemonize()
            server.pid = os.getpid()
        if settings.pid_file is not None:
            pid_file = PidFile(settings.pid_file + (SUCCESSOR if inheritance is not None else ""))
        scheme = "http" if settings.certificate is None else "https"
        log.info("Listening at: %s (%d)", ", ".join(listener.url(scheme) for listener in listeners), os.getpid())
        log.info("Using %s with %s each", counted(settings.workers, "worker"), counted(settings.threads, "thread"))
        succession = Succession(
            directory,
            keeps_bind=bool(passed),
            predecessor=None if inheritance is None else inheritance.arbiter_pid,
            pid_file=pid_file,
        )
        again = None if reread is None else lambda: _with_addresses(_in(directory, reread), passed)
        arbiter = Arbiter(service, listeners, logs, server, tls, control, succession=succession, reread=again)
        must_call("when_ready", settings.when_ready, server)
    except (SettingError, HookError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    status = arbiter.run()
    call("on_exit", settings.on_exit, server)
    if pid_file is not None:
        pid_file.remove()
    log.info("Stopped")
    return status


def check(service: Service) -> int:
    """Load the application into this process, and serve nothing; return the status that `serve` would end with, or 0.

    What is wrong is on standard error by then.
    """
    try:
        prepare(service.settings)
        load_gateway(service.target, service.settings.interface)
    except SettingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except LoadError as error:
        print(f"Error: {error}", file=sys.stderr)
        if error.code_traceback:
            print(error.code_traceback, file=sys.stderr)
        return BOOT_FAILED
    return 0


def _directory() -> str:
    """Return where this server was started, by the name that may be a link to another place by the next reload."""
    here = os.getcwd()
    named = os.environ.get("PWD", here)
    return named if os.path.realpath(named) == here else here


def _in(directory: str, reread: Callable[[], Service]) -> Service:
    """Read files where they stood at the start, whatever --chdir said since. Raises SettingError."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise SettingError(f"Cannot change to the directory {directory}: {error.strerror}.") from None
    return reread()


def _passed_addresses(inheritance: Inheritance | None) -> tuple[str, ...]:
    """Return the addresses that count instead of the settings': those of sockets that systemd has opened."""
    if inheritance is None:
        return listen_addresses(os.environ)
    return tuple(inheritance.listeners) if inheritance.keeps_bind else ()


def _with_addresses(service: Service, addresses: tuple[str, ...]) -> Service:
    return replace(service, settings=replace(service.settings, bind=addresses)) if addresses else service


def _listeners(settings: Settings, inheritance: Inheritance | None) -> list[Listener]:
    """Open a listener for each address, or take over the one there is. Raises SettingError."""
    inherited = {} if inheritance is None else inheritance.listeners
    opened: list[Listener] = []
    try:
        for address in settings.bind:
            listener = inherited.pop(address, None)
            if listener is None:
                listener = open_listener(address, settings)
            opened.append(listener)
    except SettingError:
        for listener in opened:
            if inheritance is None:
                listener.turn_newcomers_away()
            listener.close()
        raise
    for listener in inherited.values():
        listener.close()  # not wanted any more
    return opened
