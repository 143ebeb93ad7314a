"""What can go wrong, one function each: does it, and says what was lost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..apps.faulty import PIECE, pieces
from ..proc import spent_by
from .clients import Connection, Load, Lost, ask, p99_ms
from .server import Memory, Server, serving

MIB = 1 << 20
LEAP = 10 * MIB


@dataclass
class Outcome:
    """What became of the requests.

    lost: reasons, one for each request that was sent and not answered.
    may_lose: how many may be, because they were inside a process that was killed.
    wrong: what else is not as it should be.
    """

    answered: int
    lost: list[str]
    note: str = ""
    may_lose: int = 0
    wrong: str = ""

    @property
    def holds(self) -> bool:
        return len(self.lost) <= self.may_lose and not self.wrong


def of(load: Load, note: str = "", may_lose: int = 0, wrong: str = "") -> Outcome:
    return Outcome(load.answered, load.lost, note, may_lose, wrong)


# -- signals -----------------------------------------------------------------------------------------------


def reload() -> Outcome:
    """SIGHUP three times"""
    with serving() as server, Load(server.port).running() as load:
        load.wait_for(200)
        for generation in range(1, 4):
            server.send(signal.SIGHUP)
            server.wait_for(r"Worker ready", 2 + 2 * generation)
            server.wait_for(r"Worker exiting|exited", 2 * generation)
            load.wait_for(200)
    return of(load, "3 reloads of 2 workers", wrong=f"{load.refused} refused" if load.refused else "")


def fewer_and_more_workers() -> Outcome:
    """SIGTTIN and SIGTTOU"""
    with serving() as server, Load(server.port).running() as load:
        load.wait_for(200)
        server.send(signal.SIGTTIN)
        server.wait_for(r"Worker ready", 3)
        load.wait_for(200)
        for gone in (1, 2):
            server.send(signal.SIGTTOU)
            server.wait_for(r"Worker exiting|exited", gone)
            load.wait_for(200)
    return of(load, "2, 3, 2, 1 workers", wrong=f"{load.refused} refused" if load.refused else "")


def new_arbiter() -> Outcome:
    """SIGUSR2, and SIGTERM to the old arbiter"""
    with serving() as server, Load(server.port).running() as load:
        load.wait_for(200)
        server.send(signal.SIGUSR2)
        server.wait_for(r"Worker ready", 4)
        load.wait_for(200)
        server.send(signal.SIGTERM)
        status = server.process.wait(20)
        load.wait_for(200)
        server.successor = int(server.wait_for(r"Listening at: .* \((\d+)\)", 2)[1])
    wrong = f"exit status {status}, {load.refused} refused" if status or load.refused else ""
    return of(load, "both serve, then the new one alone", wrong=wrong)


def worn_out() -> Outcome:
    """--max-requests 300"""
    with serving("--max-requests", "300") as server, Load(server.port).running() as load:
        server.wait_for(r"Worker ready", 8)
        load.wait_for(200)
    return of(load, "6 workers replaced", wrong=f"{load.refused} refused" if load.refused else "")


def stop() -> Outcome:
    """SIGTERM"""
    with serving() as server, Load(server.port).running() as load:
        load.wait_for(500)
        server.send(signal.SIGTERM)
        status = server.process.wait(20)
    return of(load, "what came after it was refused", wrong=f"exit status {status}" if status else "")


def stop_a_worker() -> Outcome:
    """SIGTERM to one worker"""
    with serving() as server, Load(server.port).running() as load:
        load.wait_for(200)
        os.kill(server.workers()[0], signal.SIGTERM)
        server.wait_for(r"Worker ready", 3)
        load.wait_for(200)
    return of(load)


# -- processes and threads that go astray ------------------------------------------------------------------------

_CLIENTS = 8


def kill_a_worker() -> Outcome:
    """kill -9 of a worker"""
    with serving() as server, Load(server.port, _CLIENTS).running() as load:
        load.wait_for(200)
        begun = time.monotonic()
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait_for(r"Worker ready", 3)
        replaced_s = time.monotonic() - begun
        load.wait_for(200)
    return of(load, f"its successor was ready after {replaced_s:.2f} s", may_lose=_CLIENTS)


def exit_in_a_view() -> Outcome:
    """os._exit in a view, 3 times"""
    with serving() as server, Load(server.port, _CLIENTS).running() as load:
        for deaths in (1, 2, 3):
            load.wait_for(200)
            with contextlib.suppress(Lost):
                ask(server.port, f"/exit?{deaths}")
            server.wait_for(r"Worker ready", 2 + deaths)
        load.wait_for(200)
    return of(load, "status 1, 2 and 3 stop nobody else", may_lose=3 * _CLIENTS)


def hung_views() -> Outcome:
    """15 of 16 threads asleep"""
    with serving("--threads", "16", workers=1) as server:
        sleepers = [Connection(server.port) for _ in range(15)]
        for sleeper in sleepers:
            sleeper.send(b"GET /sleep?8 HTTP/1.1\r\nHost: faults\r\n\r\n")
        with Load(server.port, 4).running() as load:
            load.wait_for(2000)
        slept = _answers(sleepers)
    waited = p99_ms(load.waited_s)
    return Outcome(load.answered + 15 - len(slept), load.lost + slept, f"p99 of a quick view {waited:.1f} ms")


def held_interpreter() -> Outcome:
    """A C call that holds the interpreter"""
    with serving("--timeout", "1") as server, Load(server.port, _CLIENTS).running() as load:
        load.wait_for(200)
        begun = time.monotonic()
        connection = Connection(server.port)
        connection.send(b"GET /hold?60 HTTP/1.1\r\nHost: faults\r\n\r\n")
        server.wait_for(r"Worker ready", 3)
        replaced_s = time.monotonic() - begun
        load.wait_for(200)
        connection.close()
        stacks = "in application" in server.log
    note = f"its successor was ready after {replaced_s:.2f} s"
    return of(load, note, may_lose=2 * _CLIENTS, wrong="" if stacks else "no stack of it in the log")


# -- clients that do harm -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_connections(port: int, number: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    socks = []
    try:
        for _ in range(number):
            sock = socket.create_connection(("127.0.0.1", port), timeout=20)
            sock.sendall(first)
            socks.append(sock)
        yield socks
    finally:
        for sock in socks:
            sock.close()


def _under(attack: Callable[[Server], contextlib.AbstractContextManager[object]], *flags: str) -> Outcome:
    """Ask one worker with 4 threads while it is attacked."""
    with serving("--threads", "4", *flags, workers=1) as server:
        memory = Memory(server.workers()[0])
        with attack(server), Load(server.port, 4).running() as load:
            load.wait_for(1000)
        more = memory.more_mib
    return of(load, f"p99 {p99_ms(load.waited_s):.1f} ms, {more:.0f} MiB more")


def idle_and_slow() -> Outcome:
    """1,000 idle connections and 200 slow heads"""

    @contextlib.contextmanager
    def attack(server: Server) -> Iterator[None]:
        with (
            open_connections(server.port, 1000),
            open_connections(server.port, 200, b"GET / HTTP/1.1\r\nHost: faults\r\nX-Slow: ") as slow,
        ):
            for sock in slow:
                sock.sendall(b"a")
            yield

    return _under(attack)


def half_sent() -> Outcome:
    """50 half-sent bodies"""
    first = b"POST /digest HTTP/1.1\r\nHost: faults\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000
    return _under(lambda server: open_connections(server.port, 50, first))


def not_reading() -> Outcome:
    """20 clients that do not read 20 MB"""
    first = b"GET /stream?20000000 HTTP/1.1\r\nHost: faults\r\n\r\n"
    return _under(lambda server: open_connections(server.port, 20, first))


def few_descriptors() -> Outcome:
    """400 connections to 256 descriptors"""
    with serving("--keep-alive", "2", "--head-timeout", "2", workers=1, descriptors=256) as server:
        with open_connections(server.port, 400):
            server.wait_for(r"No connection can be accepted")
            begun_s, spent_s = time.monotonic(), spent_by(server.process.pid)
            answered = [ask(server.port) for _ in range(10)]
            busy = (spent_by(server.process.pid) - spent_s) / (time.monotonic() - begun_s)
        with Load(server.port, 4).running() as load:
            load.wait_for(500)
        log_lines = server.log.count("No connection can be accepted")
    load.answered += len(answered)
    wrong = "it says so again and again" if log_lines > 10 else ""
    return of(load, f"{busy:.0%} of a core meanwhile, {log_lines} lines in the log", wrong=wrong)


def full_disk() -> Outcome:
    """No room for logs"""
    with serving("--access-logfile", "/dev/full") as server, Load(server.port).running() as load:
        load.wait_for(1000)
        server.send(signal.SIGHUP)
        server.wait_for(r"Worker ready", 4)
        load.wait_for(1000)
    return of(load, "access log at /dev/full, and a reload")


# -- much content ---------------------------------------------------------------------------------------------------

_MUCH = 400 * len(PIECE)  # 100 MiB


def much_up() -> Outcome:
    """100 MiB up, in pieces"""
    digest = hashlib.sha256()
    for piece in pieces(_MUCH):
        digest.update(piece)
    outcome = Outcome(0, [])
    with serving("--threads", "4", workers=1) as server:
        memory = Memory(server.workers()[0])
        for framing in (f"Content-Length: {_MUCH}", "Transfer-Encoding: chunked"):
            connection = Connection(server.port)
            connection.send(f"POST /digest HTTP/1.1\r\nHost: faults\r\n{framing}\r\n\r\n".encode())
            for number, piece in enumerate(pieces(_MUCH)):
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if "chunked" in framing else piece)
                if number % 100 == 50:
                    _note(outcome, ask(server.port) == b"hello", "a quick request meanwhile")
            connection.send(b"0\r\n\r\n" if "chunked" in framing else b"")
            _note(outcome, connection.answer() == digest.hexdigest().encode(), f"the digest, {framing}")
            connection.close()
        return _with_memory(outcome, memory)


def much_down() -> Outcome:
    """100 MiB down, in leaps: a stream, write(), a file"""
    outcome = Outcome(0, [])
    path = Path(f"/proc/{os.getpid()}/cwd").resolve() / f".faults-{os.getpid()}"
    try:
        with path.open("wb") as file:
            file.writelines(pieces(_MUCH))
        with serving("--threads", "4", workers=1) as server:
            memory = Memory(server.workers()[0])
            for target in (f"/stream?{_MUCH}", f"/written?{_MUCH}", f"/file?{path}"):
                connection = Connection(server.port)
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                connection.send(f"GET {target} HTTP/1.0\r\n\r\n".encode())
                received = 0
                while data := connection.sock.recv(65536):
                    if received // LEAP != (received + len(data)) // LEAP:  # meanwhile it is not read
                        _note(outcome, ask(server.port) == b"hello", "a quick request meanwhile")
                    received += len(data)
                _note(outcome, _MUCH < received < _MUCH + 1000, f"{target}: {received} bytes")
                connection.close()
            return _with_memory(outcome, memory)
    finally:
        path.unlink(missing_ok=True)


def _note(outcome: Outcome, came: bool, what: str) -> None:
    if came:
        outcome.answered += 1
    else:
        outcome.lost.append(what)


def _with_memory(outcome: Outcome, memory: Memory) -> Outcome:
    more = memory.more_mib
    outcome.note = f"{more:.0f} MiB more at the peak"
    outcome.wrong = "more than 60 MB" if more * MIB > 60e6 else ""
    return outcome


def _answers(connections: list[Connection]) -> list[str]:
    lost = []
    for connection in connections:
        try:
            connection.answer()
        except Lost as error:
            lost.append(str(error))
        connection.close()
    return lost


FAULTS: tuple[Callable[[], Outcome], ...] = (
    reload,
    fewer_and_more_workers,
    new_arbiter,
    worn_out,
    stop,
    stop_a_worker,
    kill_a_worker,
    exit_in_a_view,
    hung_views,
    held_interpreter,
    idle_and_slow,
    half_sent,
    not_reading,
    few_descriptors,
    full_disk,
    much_up,
    much_down,
)


def allow_many_descriptors() -> None:
    """Let this process have as many connections as the faults need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
