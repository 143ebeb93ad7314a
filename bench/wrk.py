"""One run of wrk: a load in, what it counted out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Longer than any answer a scenario waits for; wrk counts a slower one as an error.
TIMEOUT_S = 10
# For a load that is ended by SIGINT.
LONG_S = 600


class LoadError(Exception):
    """wrk could not run, or answers were missing, late or with an error status."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients ask for.

    exchanges: each request target, and the content of its answer: text, or what JSON content decodes to.
        With more than one target the clients take them in turn.
    fields: sent beside Host, which wrk adds.
    """

    exchanges: Mapping[str, Any]
    method: str = "GET"
    fields: Mapping[str, str] = field(default_factory=dict)
    content: str = ""
    connections: int = 64


@dataclass(slots=True)
class Tally:
    """What wrk counted in one run."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


DONE = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "errors":'
        .. ' {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect, e.read, e.write, e.status, e.timeout))
end
"""
# Requests are formatted before the run, so that the client does little for each.
IN_TURN = """
local requests, turn = {}, 0
function init(arguments)
    for number, target in ipairs(targets) do requests[number] = wrk.format(nil, target) end
end
function request()
    turn = turn % #requests + 1
    return requests[turn]
end
"""


def script(load: Load) -> str:
    """Return the Lua program that makes wrk send `load` and print its tally as one line of JSON."""
    lines = [f"wrk.method = {lua_string(load.method)}"]
    lines += [f"wrk.headers[{lua_string(name)}] = {lua_string(value)}" for name, value in load.fields.items()]
    if load.content:
        lines.append(f"wrk.body = {lua_string(load.content)}")
    if len(load.exchanges) > 1:
        lines += [f"local targets = {{{', '.join(map(lua_string, load.exchanges))}}}", IN_TURN]
    return "\n".join([*lines, DONE])


def lua_string(text: str) -> str:
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}" for byte in text.encode())
    return '"' + "".join(plain) + '"'


def parse_tally(output: str) -> Tally:
    """Return the tally printed by `DONE`.

    Raises LoadError when there is none, when nothing was answered, or when any request failed.
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise LoadError(f"wrk printed no result:\n{output}")
    seen = json.loads(lines[-1])
    errors = {kind: count for kind, count in seen["errors"].items() if count}
    if errors:
        counts = ", ".join(f"{count} {kind}" for kind, count in errors.items())
        raise LoadError(f"of {seen['requests']} answers wrk reports as errors: {counts}")
    if not seen["requests"]:
        raise LoadError("wrk got no answer at all")
    return Tally(seen["requests"], seen["microseconds"] / 1e6, seen["p50"] / 1e3, seen["p99"] / 1e3)


def start(
    load: Load, port: int, seconds: float, core: int, directory: Path, scheme: str = "http"
) -> subprocess.Popen[str]:
    """Start wrk for a whole number of seconds on one core; `finish` waits for it."""
    program = directory / f"load-{len(list(directory.glob('load-*')))}.lua"
    program.write_text(script(load))
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s"]
    command += [
        "--timeout",
        f"{TIMEOUT_S}s",
        "-s",
        str(program),
        f"{scheme}://127.0.0.1:{port}{next(iter(load.exchanges))}",
    ]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(client: subprocess.Popen[str]) -> Tally:
    output, _ = client.communicate()
    if client.returncode:
        raise LoadError(f"wrk ended with status {client.returncode}:\n{output}")
    return parse_tally(output)
