"""Holds the corpora against `http1.py` and against a server, and prints where they differ."""

from __future__ import annotations

import fnmatch
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import corpora
from corpora import Case, Request
from deviations import DEVIATIONS
from running import print_table

from demijohn.message import Origin, ProtocolError
from demijohn.server.framing import AnswerHeads
from demijohn.server.http1 import Connection
from demijohn.server.settings import Settings

HERE = Path(__file__).parent
PATIENCE_S = 20.0

Outcome = tuple[Request, ...] | None
"""The requests that were read; None when, at the end, something was refused."""


def read(pieces: Iterable[bytes], settings: Settings, *, ends: bool) -> Outcome:
    """Return what `http1.py` makes of the bytes."""
    http = Connection(settings, Origin(), AnswerHeads(), io.BytesIO)
    for piece in pieces:
        http.receive_data(piece)
    if ends:
        http.receive_eof()
    requests = []
    for event in http.events:
        if isinstance(event, ProtocolError):
            return None
        content = event.content if event.spool is None else event.spool.read()
        requests.append(Request(event.method, event.target, tuple(event.fields), content))
    return tuple(requests)


def same(found: Outcome, expected: Outcome) -> bool:
    if found is None or expected is None:
        return found is expected
    return len(found) == len(expected) and all(map(_same_request, found, expected))


def _same_request(found: Request, expected: Request) -> bool:
    fields = _of_application(found.fields)
    return (
        (found.method, found.target) == (expected.method, expected.target)
        and (expected.content is None or found.content == expected.content)
        and (expected.fields is None or fields == _of_application(expected.fields))
    )


_ADDED = (b"host", b"corpus.test")


def _of_application(fields: tuple[tuple[bytes, bytes], ...] | None) -> list[tuple[bytes, bytes]]:
    """The fields but those that applications do not get to see, and the Host that we may have added."""
    return [(name, value) for name, value in fields or () if b"_" not in name and (name, value) != _ADDED]


# -- a server -----------------------------------------------------------------------------------------------


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Run `demijohn serve` with an application that says what it was asked; yield where it listens."""
    command = [sys.executable, "-m", "demijohn", "serve", "-b", "127.0.0.1:0", "echo:application"]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(command, cwd=HERE, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if listening := re.search(r"Listening at: http://([\d.]+):(\d+)", line):
                address = (listening[1], int(listening[2]))
            if "Worker ready" in line:
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(lines))
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)


def exchange(address: tuple[str, int], data: bytes) -> Outcome:
    """Send the bytes and return what the application saw; None when the last answer is an error of the server's."""
    received = bytearray()
    with socket.create_connection(address, timeout=PATIENCE_S) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            received += piece
    seen = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            received = rest
            continue
        if not head.startswith(b"HTTP/1.1 200"):
            return None
        method = _field(head, "X-Method")
        length = 0 if method == "HEAD" else int(_field(head, "Content-Length"))
        seen.append(_of_echo(bytes(rest[:length]), method))
        received = rest[length:]
    return tuple(seen)


def _field(head: bytes, name: str) -> str:
    found = re.search(rf"\r\n{name}: (.*)", head.decode())
    assert found is not None, f"{head!r} has no {name}"
    return found[1].strip()


def _of_echo(content: bytes, method: str) -> Request:
    if not content:  # of HEAD
        return Request(method, b"", None, None)
    said = json.loads(content)
    return Request(said["method"], said["target"].encode("latin-1"), None, bytes.fromhex(said["content"]))


# -- all of it ----------------------------------------------------------------------------------------------


def run(wanted: str = "") -> bool:
    """Check each case, print a table, and return whether we differ nowhere but where `deviations.py` says so."""
    cases = [case for case in corpora.read() if wanted in case.label.lower()]
    differing: dict[str, list[str]] = {}
    live = Counter[str]()
    with server() as address:
        for case in cases:
            ways = list(_differing_ways(case, address, live))
            if ways:
                differing[case.label] = ways
    explained = {label: reason for label in differing if (reason := reason_for(label))}
    stale = [] if wanted else [p for p in DEVIATIONS if not any(fnmatch.fnmatch(label, p) for label in differing)]
    for label, ways in differing.items():
        if label not in explained:
            print(f"  {label} is read otherwise {', '.join(ways)}")
    for pattern in stale:
        print(f"  deviations.py lists {pattern}, and nothing of that name is read otherwise")
    rows = [("corpus", "requests", "over a socket", "read alike", "otherwise, with reason", "otherwise")]
    for corpus in dict.fromkeys(case.corpus for case in cases):
        labels = [case.label for case in cases if case.corpus == corpus]
        with_reason = sum(label in explained for label in labels)
        without = sum(label in differing for label in labels) - with_reason
        row = (len(labels), live[corpus], len(labels) - with_reason - without, with_reason, without)
        rows.append((corpus, *map(str, row)))
    print_table(rows)
    return not stale and len(explained) == len(differing)


def reason_for(label: str) -> str | None:
    return next((reason for pattern, reason in DEVIATIONS.items() if fnmatch.fnmatch(label, pattern)), None)


def _differing_ways(case: Case, address: tuple[str, int], live: Counter[str]) -> Iterator[str]:
    data = case.with_host()
    limits = {name: value for name, value in case.limits.items() if hasattr(Settings, name)}
    settings = Settings(**limits)
    ends = case.expected is None  # a refusal may be of what was cut short
    byte_by_byte = [data[i : i + 1] for i in range(len(data))]
    for how, pieces in (("in one piece", [data]), ("byte by byte", byte_by_byte)):
        if not same(read(pieces, settings, ends=ends), case.expected):
            yield how
    if not case.limits and not _is_unfinished(case):
        live[case.corpus] += 1
        if not _same_over_socket(exchange(address, data), case.expected):
            yield "over a socket"


def _is_unfinished(case: Case) -> bool:
    """Whether it would be refused over a socket only for its end."""
    return case.expected is not None and read([case.with_host()], Settings(), ends=True) is None


def _same_over_socket(found: Outcome, expected: Outcome) -> bool:
    if found is None or expected is None:
        return found is expected
    return [each.method for each in found] == [each.method for each in expected] and all(
        ours.content in (None, theirs.content) and ours.target in (b"", theirs.target)
        for ours, theirs in zip(found, expected, strict=True)
    )
