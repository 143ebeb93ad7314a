"""`demijohn top`: what a server is doing now. Needs neither the framework nor click."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

TOP_HELP = "Show what a server and its workers are doing."

_EXAMPLES = """\
examples:
  demijohn top
  demijohn top 4711
  demijohn top --once
  demijohn top --json | jq '.workers[].doing'
  demijohn top --stacks

It finds the servers of this machine, or this container, that run as the same user; root sees all.
"""
_PREFIX = "@demijohn/"  # as proc(5) writes abstract names
_TIMEOUT_S = 5.0


class _NoAnswer(Exception):
    """There is nobody to ask; the message is one sentence why."""


@dataclass(slots=True)
class _Server:
    """A server that can be asked: the process id of its arbiter, and the name of its control socket."""

    pid: int
    address: str


def top(arguments: list[str]) -> int:
    """Show a server until interrupted, or once; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="demijohn top",
        description=TOP_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pid", nargs="?", type=int, metavar="PID", help="The arbiter, when several servers run.")
    parser.add_argument("--once", action="store_true", help="Show it once, as when the output is no terminal.")
    parser.add_argument("--json", action="store_true", help="Print all there is as JSON, once.")
    parser.add_argument(
        "--stacks", action="store_true", help="Have every worker write the stacks of its threads into the error log."
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="How often to look [default: %(default)s]"
    )
    options = parser.parse_args(arguments)
    if not options.interval > 0:
        parser.error("--interval must be more than 0")
    try:
        server = _find(options.pid)
        if options.stacks:
            _write_stacks(server)
        elif options.json:
            print(json.dumps(_ask(server), indent=2))
        elif options.once or not sys.stdout.isatty():
            print("\n".join(_lines(_ask(server), None, 1.0, shutil.get_terminal_size((120, 50)).columns)))
        else:
            _watch(server, options.interval)
    except _NoAnswer as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


# -- asking ---------------------------------------------------------------------------------------


def _find(pid: int | None) -> _Server:
    """Return the server to ask. Raises _NoAnswer when there is none, or not just one."""
    servers = [server for server in _servers() if pid is None or server.pid == pid]
    if len(servers) == 1:
        return servers[0]
    if servers:
        raise _NoAnswer(f"Several servers run: {', '.join(str(server.pid) for server in servers)}. Name one of them.")
    raise _NoAnswer("No server runs here." if pid is None else f"No server has the process id {pid}.")


def _servers() -> list[_Server]:
    """Return the servers that listen for this, by their sockets (proc(5), /proc/net/unix)."""
    with open("/proc/net/unix") as file:
        names = {fields[7] for line in file if len(fields := line.split(maxsplit=7)) == 8}
    found = []
    for name in sorted(name.strip() for name in names if name.startswith(_PREFIX)):
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal():
            found.append(_Server(int(pid), "\0" + name[1:]))
    return found


def _ask(server: _Server) -> dict[str, Any]:
    """Return what a server reports. Raises _NoAnswer."""
    connection = http.client.HTTPConnection("localhost")
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_TIMEOUT_S)
        connection.sock.connect(server.address)
        connection.request("GET", "/status.json")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        refused = isinstance(error, http.client.RemoteDisconnected | ConnectionResetError)
        why = "it runs as another user" if refused else error
        raise _NoAnswer(f"The server {server.pid} does not answer: {why}.") from None
    finally:
        connection.close()
    return found


def _write_stacks(server: _Server) -> None:
    """Have workers write down where their threads are. It works even when C code keeps the interpreter."""
    pids = [worker["pid"] for worker in _ask(server)["workers"] if worker["state"] != "booting"]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGUSR2)
    print(f"The stacks of {', '.join(map(str, pids)) or 'no worker'} are in the error log of the server {server.pid}.")


# -- showing --------------------------------------------------------------------------------------


def _watch(server: _Server, interval_s: float) -> None:
    """Show it again and again, in the place of what was shown before, until interrupted."""
    before = None
    asked = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            now = _ask(server)
            size = shutil.get_terminal_size()
            lines = _lines(now, before, time.monotonic() - asked, size.columns)[: size.lines - 1]
            # ECMA-48: to the corner; each line with what is right of it cleared; then what is below.
            sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            sys.stdout.flush()
            before, asked = now, time.monotonic()
            time.sleep(interval_s)
    print()


def _lines(now: dict[str, Any], before: dict[str, Any] | None, passed_s: float, columns: int) -> list[str]:
    """Return what to show: a line on the server, a table of its workers, and one of what they have in hand."""
    earlier = {worker["pid"]: worker for worker in before["workers"]} if before else {}
    workers = now["workers"]
    summary = [
        f"arbiter {now['pid']} of demijohn {now['version']}, {'ready' if now['ready'] else 'not ready'}",
        f"{now['worker_starts']} workers started, {now['worker_crashes']} crashed, {now['workers_hung']} hung",
        f"{now['requests_timed_out']} requests timed out",
    ]
    rows = [["WORKER", "STATE", "UP", "REQUESTS", "PER S", "BUSY", "IN HAND", "OPEN", "CPU", "MEMORY", "SEEN"]]
    for worker in workers:
        last = earlier.get(worker["pid"])
        rows.append(
            [
                str(worker["pid"]),
                worker["state"],
                _duration(worker["up_s"]),
                str(worker["requests"]),
                f"{(worker['requests'] - last['requests']) / passed_s:.0f}" if last else "-",
                f"{worker['threads_busy']}/{worker['threads']}",
                str(worker["requests_in_flight"]),
                str(worker["connections"]),
                f"{100 * (worker['cpu_s'] - last['cpu_s']) / passed_s:.0f}%" if last else "-",
                f"{worker['resident_bytes'] / 1024**2:.0f} MB",
                "-" if worker["heartbeat_age_s"] is None else f"{worker['heartbeat_age_s']:.1f} s ago",
            ]
        )
    lines = ["; ".join(summary), "", *_table(rows, left=(0, 1))]
    tasks = [(worker["pid"], task) for worker in workers for task in worker["doing"]]
    tasks.sort(key=lambda pair: -pair[1]["for_s"])
    if tasks:
        rows = [["WORKER", "FOR", "THREAD", "REQUEST", "AT"]]
        rows += [
            [
                str(pid),
                _duration(task["for_s"]),
                task["thread"] or "(awaits)",
                f"{task['method']} {task['path']}",
                task["at"] or "",
            ]
            for pid, task in tasks
        ]
        lines += ["", *_table(rows, left=(0, 2, 3, 4))]
    return [_printable(line)[:columns].rstrip() for line in lines]


def _table(rows: list[list[str]], left: tuple[int, ...]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(cell, widths[n], n in left) for n, cell in enumerate(row)) for row in rows]


def _aligned(cell: str, width: int, is_left: bool) -> str:
    return cell.ljust(width) if is_left else cell.rjust(width)


def _printable(line: str) -> str:
    """Return the line without what could steer the terminal: peers choose paths."""
    return "".join(char if char.isprintable() else "?" for char in line)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
