"""Listeners: the sockets that connections come from."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
import stat
import struct
import sys
from dataclasses import dataclass

from .kinds import SettingError
from .settings import Settings

_DEFAULT_PORT = 8000

# Classic BPF over the TCP header (socket(7), Linux's networking/filter.rst): load the byte with the flags, and drop the
# segment when SYN is among them.
_SO_ATTACH_FILTER = 26
_DROP_SYN = array.array(
    "B",
    b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
    ),
)


# tcp(7), TCP_INFO: after eight single bytes and four numbers comes tcpi_unacked, which of a listener is how many wait.
_TCP_INFO_UNACKED = 24


@dataclass(slots=True)
class Listener:
    """A listening socket.

    address: what the operator wrote for it.
    socket: set not to block.
    is_ours: this server opened it, so nobody but its workers accepts from it.
    path: of a Unix socket that this server made and has to remove; else None.
    inode: of that path, so that a socket somebody else put there in the meantime is left alone.
    """

    address: str
    socket: socket.socket
    is_ours: bool = True
    path: str | None = None
    inode: int = 0

    def url(self, scheme: str = "http") -> str:
        """Where to find it, for people: `http://127.0.0.1:8000`, `unix:/run/app.sock`."""
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            return f"unix:{name}"
        host = f"[{name[0]}]" if self.socket.family == socket.AF_INET6 else name[0]
        return f"{scheme}://{host}:{name[1]}"

    def waiting(self) -> int | None:
        """Return how many connections wait to be accepted; None when that cannot be told, as of a Unix socket."""
        if self.socket.family == socket.AF_UNIX:
            return None
        try:
            known = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_UNACKED + 4)
        except OSError:  # this process has closed it
            return None
        return int.from_bytes(known[_TCP_INFO_UNACKED:], sys.byteorder)

    def turn_newcomers_away(self) -> None:
        """Let no connection come after those that wait to be accepted; for all processes that hold the socket.

        A worker that finds nobody waiting and closes could otherwise reset one that came in between. A client whose
        SYN is dropped sends it again, and is refused when the last worker has closed the socket by then. A Unix
        socket gets none once its path is gone.
        """
        self._unlink()
        if self.is_ours and self.socket.family != socket.AF_UNIX:
            address, length = _DROP_SYN.buffer_info()
            program = struct.pack("HP", length // 8, address)
            with contextlib.suppress(OSError):  # a sandbox may forbid it: then the risk stays
                self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def close(self) -> None:
        """Stop this process from accepting; other processes that hold the socket go on."""
        self.socket.close()

    def _unlink(self) -> None:
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self.path).st_ino == self.inode:
                    os.unlink(self.path)
            self.path = None


def open_listeners(settings: Settings) -> list[Listener]:
    """Return a listener for each address of `settings.bind`: `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH` or `fd://N`.

    Raises SettingError with the address and the reason; then none is left open.
    """
    listeners = []
    with contextlib.ExitStack() as undo:
        for address in settings.bind:
            listener = open_listener(address, settings)
            undo.callback(listener.close)
            undo.callback(listener.turn_newcomers_away)
            listeners.append(listener)
        undo.pop_all()
    return listeners


def open_listener(address: str, settings: Settings) -> Listener:
    """Return a listener for one address.

    Raises SettingError with the address and the reason.
    """
    try:
        if address.startswith("unix:"):
            return _open_unix(address, address[5:].removeprefix("//"), settings)
        if address.startswith("fd://"):
            return _adopt(address, address[5:], settings.backlog)
        return _open_tcp(address, *parse_host_and_port(address), settings)
    except OSError as error:
        raise SettingError(f"Cannot listen on {address}: {_reason(error)}.") from None


def parse_host_and_port(address: str) -> tuple[str, int]:
    """Return the host and the port of `HOST:PORT`, `[IPV6]:PORT`, `:PORT` (every IPv4 address) or `HOST`.

    Raises SettingError.
    """
    text = address.removeprefix("tcp://")
    if text.isdecimal():
        raise SettingError(f"Cannot listen on {address}: say also where, as in 127.0.0.1:{text} or 0.0.0.0:{text}.")
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise SettingError(f"Cannot listen on {address}: an IPv6 address is written [::1]:{_DEFAULT_PORT}.")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
        if ":" in port:
            raise SettingError(f"Cannot listen on {address}: an IPv6 address is written [::1]:{_DEFAULT_PORT}.")
    if port and not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise SettingError(f"Cannot listen on {address}: {port!r} is not a port number.")
    return host or "0.0.0.0", int(port or _DEFAULT_PORT)


def _open_tcp(address: str, host: str, port: int, settings: Settings) -> Listener:
    # Text that is ASCII would pass through the codec for international names, whose tables take 1 MB.
    found = socket.getaddrinfo(
        host.encode() if host.isascii() else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, name = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        # Connections of the server before this one may still be in TIME_WAIT; they must not hold the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Linux hands the option on to each accepted socket, which saves a call for each connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if settings.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(name)
        sock.listen(settings.backlog)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return Listener(address, sock)


def _open_unix(address: str, path: str, settings: Settings) -> Listener:
    path = os.path.abspath(path)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX)
    # A proxy runs as another user, and whoever may enter the directory may connect; as gunicorn does by default.
    old_umask = os.umask(settings.umask)
    try:
        sock.bind(path)
        if settings.user is not None or settings.group is not None:
            os.chown(path, *(-1 if owner is None else owner for owner in (settings.user, settings.group)))
        sock.listen(settings.backlog)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(old_umask)
    sock.setblocking(False)
    return Listener(address, sock, path=path, inode=os.stat(path).st_ino)


def _remove_stale(path: str) -> None:
    """Remove the socket that a killed server left behind. Raises OSError when somebody listens on it."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "a file that is no socket has this name")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "in use")


def _adopt(address: str, number: str, backlog: int) -> Listener:
    """Take over a listening socket that was opened before this process was started."""
    if not number.isdecimal():
        raise SettingError(f"Cannot listen on {address}: {number!r} is not the number of a descriptor.")
    # A copy, so that closing it leaves the number to whoever passed it.
    sock = socket.socket(fileno=os.dup(int(number)))
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        raise OSError(errno.EINVAL, "the descriptor is not a stream socket")
    sock.listen(backlog)
    sock.setblocking(False)
    return Listener(address, sock, is_ours=False)


def _reason(error: OSError) -> str:
    """Say why listening failed, and what to do about the usual causes."""
    match error.errno:
        case errno.EADDRINUSE:
            return "another process listens there; stop it, or choose another address with --bind"
        case errno.EACCES:
            return "permission denied; ports under 1024 and directories of others need more rights"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
        case errno.ENOTSOCK | errno.EBADF:
            return "the descriptor is not an open socket"
        case _:
            return error.strerror or str(error)
