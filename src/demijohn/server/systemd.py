"""What systemd passes to a service, and is told: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3)."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping, MutableMapping

from .log import log

_FIRST_FD = 3  # SD_LISTEN_FDS_START


def listen_addresses(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Return the listening sockets that were passed to this process, as addresses: `fd://3`; none without systemd.

    They are taken out of `environ`: programs the application starts must not take them for theirs.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return ()
    fds = range(_FIRST_FD, _FIRST_FD + int(count))
    for fd in fds:
        os.set_inheritable(fd, False)
    return tuple(f"fd://{fd}" for fd in fds)


class Notifier:
    """Tells the service manager how things stand; without one it does nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        # "@" stands for the zero byte of an abstract name. Other kinds (vsock) are for virtual machines.
        if address[:1] in ("/", "@"):
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        usec = environ.get("WATCHDOG_USEC", "")
        # How often to give a sign of life: half of the time that the manager waits for one.
        self.watchdog_s = int(usec) / 2e6 if self._socket is not None and usec.isdecimal() and int(usec) else math.inf
        self._pat_again_s = 0.0

    def tell(self, *assignments: str) -> None:
        """Send assignments such as `READY=1`."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            log.warning("The service manager cannot be told %s: %s", assignments[0], error.strerror)

    def pat_watchdog(self, now_s: float) -> None:
        """Give a sign of life when one is due."""
        if self.watchdog_s < math.inf and now_s >= self._pat_again_s:
            self._pat_again_s = now_s + self.watchdog_s
            self.tell("WATCHDOG=1")
