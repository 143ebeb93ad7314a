"""SIGUSR2: an arbiter of new code takes over the listeners of the one that runs, which goes on until it is stopped.

The new one is a child of the old one, and so it learns when that has ended.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import NoReturn

from .hook_objects import HookServer, call
from .hooks import Hook
from .log import log
from .pidfile import PidFile
from .sockets import Listener

_VARIABLE = "DEMIJOHN_UPGRADE"
_EXEC_FAILED = 127


@dataclass(slots=True)
class Inheritance:
    """What an arbiter got from the one before it.

    arbiter_pid: of that one.
    keeps_bind: whether the listeners are all there are, whatever the settings say: systemd passed them.
    listeners: by the address that was written for each; that one accepts from them, too, until it has ended.
    """

    arbiter_pid: int
    keeps_bind: bool
    listeners: dict[str, Listener]


def take_over(environ: MutableMapping[str, str]) -> Inheritance | None:
    """Return what the arbiter before this one has passed on; None when this is no upgrade."""
    text = environ.pop(_VARIABLE, None)
    if text is None:
        return None
    passed = json.loads(text)
    listeners = {}
    for address, fd, is_ours, path, inode in passed["listeners"]:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        listeners[address] = Listener(address, sock, is_ours, path, inode)
    return Inheritance(passed["pid"], passed["keeps_bind"], listeners)


@dataclass(slots=True)
class Succession:
    """The arbiters before and after this one.

    directory: where this one was started, and its successor is.
    keeps_bind: see `Inheritance`.
    predecessor: process id of the one before, while it runs.
    successor: process id of the one after, while it runs.
    pid_file: to be renamed when the one before has ended; it goes by another name until then.
    """

    directory: str
    keeps_bind: bool = False
    predecessor: int | None = None
    pid_file: PidFile | None = None
    successor: int | None = field(default=None, init=False)

    @property
    def shares_listeners(self) -> bool:
        """Whether another arbiter's workers accept from the same sockets, so that these must go on as they are."""
        return self.successor is not None or (self.predecessor is not None and os.getppid() == self.predecessor)

    def is_complete(self) -> bool:
        """Whether the arbiter before this one has just ended."""
        if self.predecessor is None or os.getppid() == self.predecessor:
            return False
        if self.pid_file is not None:
            self.pid_file.promote()
        log.info("The arbiter before this one (pid: %d) has ended", self.predecessor)
        self.predecessor = None
        return True

    def begin(self, listeners: list[Listener], pre_exec: Hook, server: HookServer) -> None:
        """Start the arbiter that is to come after this one."""
        if self.shares_listeners:
            log.warning("There are two arbiters already; stop one of them first")
            return
        try:
            pid = os.fork()
        except OSError as error:
            log.error("A new arbiter could not be forked: %s", error.strerror)
            return
        if not pid:
            self._exec(listeners, pre_exec, server)
        self.successor = pid
        log.info("Started a new arbiter (pid: %d); when it serves, stop this one with SIGTERM", pid)

    def on_death(self, pid: int, reason: str) -> None:
        """Note that a process has ended that is no worker."""
        if pid == self.successor:
            self.successor = None
            log.error("The new arbiter (pid:%d) has ended: %s. This one goes on", pid, reason)

    def _exec(self, listeners: list[Listener], pre_exec: Hook, server: HookServer) -> NoReturn:
        """Become the new arbiter, in the process that was forked for it."""
        signal.set_wakeup_fd(-1)
        call("pre_exec", pre_exec, server)
        passed = []
        for listener in listeners:
            fd = listener.socket.fileno()
            os.set_inheritable(fd, True)
            passed.append((listener.address, fd, listener.is_ours, listener.path, listener.inode))
        state = {"pid": os.getppid(), "keeps_bind": self.keeps_bind, "listeners": passed}
        os.environ[_VARIABLE] = json.dumps(state)
        try:
            os.chdir(self.directory)
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except OSError as error:
            log.error("The new arbiter could not be started: %s", error)
        os._exit(_EXEC_FAILED)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:  # ENXIO, tty(4)
        return False
    return True
