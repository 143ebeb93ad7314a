"""Who is measured, as data, and how a server is started, checked and stopped.

To add a server, add an entry to SERVERS and its packages to bench/requirements.txt.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.proc import read_processes, tree_of
from bench.scenarios import Scenario
from bench.wrk import Load, LoadError

APPS = Path(__file__).parent / "apps"
START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0


class ServerError(Exception):
    """A server did not start, did not answer as it must, or did not stop."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server, and the framework on it.

    command: the arguments, in which {python} is the interpreter, {bin} its directory of commands, {port},
        {threads}, {workers}, {application} and {config} are filled in. It stays in the foreground.
    applications: what it serves in place of each application named by a scenario.
    without: names of scenarios it cannot serve although it serves their application.
    peer: whether it runs in the peers' environment; else in the interpreter of this benchmark.
    config: a file in bench/apps in which @PORT@, @FILES@, @WORKERS@ and @TLS@ are filled in; its copy is {config}.
    tls: the arguments for a scenario over TLS, in which {certificate} and {key} are filled in.
    version: a command that prints what is measured.
    """

    name: str
    command: tuple[str, ...]
    version: tuple[str, ...]
    applications: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    peer: bool = True
    config: str = ""
    tls: tuple[str, ...] | None = None

    def serves(self, scenario: Scenario) -> bool:
        can = scenario.application in self.applications and scenario.name not in self.without
        return can and (not scenario.tls or self.tls is not None)


def versions_of(*packages: str) -> tuple[str, ...]:
    program = "import sys, importlib.metadata as m; print(', '.join(n + ' ' + m.version(n) for n in sys.argv[1:]))"
    return ("{python}", "-c", program, *packages)


ASGI_APPLICATIONS = {name: name for name in ("interfaces:asgi", "interfaces:starlette")}
FLASK_APPLICATIONS = {
    name: name
    for name in ("pages:app", "routes:few", "routes:many", "routes:huge", "rpc:app", "work:app", "work:hooked")
}
WSGI_APPLICATIONS = {name: name for name in ("callables:wsgi", "callables:django")}
# What only frameworks with Flask's API are asked for.
OF_FLASK = frozenset({"session", "template", "upload", "stream", "static10k", "static1m", "sleep", "mixed"})
UVICORN = (
    *("{python}", "-m", "uvicorn", "--port", "{port}", "--log-level", "warning", "--no-access-log"),
    *("--loop", "uvloop", "--http", "httptools", "{application}"),
)
GRANIAN = (
    *("{bin}/granian", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1", "--log-level", "warning"),
    *("--no-access-log", "{application}", "--interface"),
)
PEM = ("--certfile", "{certificate}", "--keyfile", "{key}")


def pages(module: str) -> dict[str, str]:
    return {"pages:app": f"{module}:app", "work:app": f"{module}:app"}


SERVERS = (
    Server(
        "nginx",
        ("nginx", "-p", "{directory}", "-c", "{config}", "-g", "daemon off;"),
        version=("nginx", "-v"),
        applications={"pages:app": "", "work:app": ""},
        without=frozenset(
            {"sleep", "mixed", "echo", "big", "session", "template", "upload", "stream", "async", "await"}
        ),
        config="nginx.conf",
        tls=(),
    ),
    Server(
        "gunicorn+Flask",
        (
            *("{bin}/gunicorn", "-b", "127.0.0.1:{port}", "-w", "{workers}", "-k", "gthread"),
            *("--threads", "{threads}"),
            *("--log-level", "warning", "{application}"),
        ),
        version=versions_of("gunicorn", "flask", "werkzeug", "flask-jsonrpc", "asgiref", "django"),
        applications=FLASK_APPLICATIONS | WSGI_APPLICATIONS,
        tls=PEM,
        environment={"BENCH_FRAMEWORK": "flask", "BENCH_JSONRPC": "flask_jsonrpc"},
    ),
    Server(
        "uvicorn",
        (
            *("{bin}/uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"),
            *("--no-access-log", "--loop", "uvloop", "--http", "httptools", "{application}"),
        ),
        version=versions_of("uvicorn", "httptools", "uvloop", "starlette"),
        applications=ASGI_APPLICATIONS,
    ),
    Server(
        "granian",
        (
            *("{bin}/granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"),
            *("--loop", "uvloop", "--log-level", "warning", "{application}"),
        ),
        version=versions_of("granian", "uvloop", "starlette"),
        applications=ASGI_APPLICATIONS,
    ),
    Server(
        "demijohn",
        (
            *("{python}", "-m", "demijohn", "serve", "-b", "127.0.0.1:{port}", "-w", "{workers}"),
            *("--threads", "{threads}"),
            "{application}",
        ),
        version=versions_of("demijohn"),
        applications=FLASK_APPLICATIONS | WSGI_APPLICATIONS | ASGI_APPLICATIONS,
        tls=PEM,
        environment={"BENCH_FRAMEWORK": "demijohn", "BENCH_JSONRPC": "demijohn.jsonrpc"},
        peer=False,
    ),
    Server(
        "bare loop",
        ("{python}", "bare.py", "{port}", "{application}"),
        version=versions_of("orjson"),
        applications=WSGI_APPLICATIONS | {name: name for name in ("pages:app", "work:app")},
        # It knows but hello, json, user and echo, and only what one read brings: that one is enough for 1 KB.
        without=OF_FLASK | {"async", "await", "big", "hooks"},
        peer=False,
    ),
    Server(
        "gunicorn+demijohn",
        (
            *("{python}", "-m", "gunicorn", "-b", "127.0.0.1:{port}", "-w", "1", "-k", "gthread"),
            *("--threads", "{threads}", "--log-level", "warning", "{application}"),
        ),
        version=versions_of("gunicorn", "demijohn"),
        applications={"pages:app": "pages:app"},
        environment={"BENCH_FRAMEWORK": "demijohn"},
        without=frozenset({"sleep", "mixed"}),
        peer=False,
    ),
    Server(
        "granian+Flask",
        (*GRANIAN, "wsgi", "--blocking-threads", "{threads}"),
        version=versions_of("granian", "flask"),
        applications={"pages:app": "pages:app"} | WSGI_APPLICATIONS,
        environment={"BENCH_FRAMEWORK": "flask"},
        without=frozenset({"mixed"}),
    ),
    Server(
        "fastpysgi+Falcon",
        ("{bin}/fastpysgi", "--host", "127.0.0.1", "-p", "{port}", "-l", "0", "{application}"),
        version=versions_of("fastpysgi", "falcon"),
        applications=pages("peer_falcon") | {"callables:wsgi": "callables:wsgi"},
        without=OF_FLASK | {"async", "await"},
    ),
    Server(
        "granian+BlackSheep",
        (*GRANIAN, "asgi", "--loop", "uvloop"),
        version=versions_of("granian", "blacksheep", "uvloop"),
        applications=pages("peer_blacksheep"),
        without=OF_FLASK,
    ),
    Server(
        "uvicorn+FastAPI",
        UVICORN,
        version=versions_of("uvicorn", "fastapi", "uvloop", "httptools"),
        applications=pages("peer_fastapi"),
        without=OF_FLASK,
    ),
    Server(
        "granian+Emmett55",
        (*GRANIAN, "rsgi", "--loop", "uvloop"),
        version=versions_of("granian", "emmett55", "uvloop"),
        applications=pages("peer_emmett"),
        without=OF_FLASK,
    ),
    Server(
        "socketify",
        ("{python}", "{application}", "{port}"),
        version=versions_of("socketify"),
        applications={"pages:app": "peer_socketify.py", "work:app": "peer_socketify.py"},
        without=OF_FLASK | {"echo"},  # 0.0.31 crashes in its C code soon after content comes from many at once
    ),
    Server(
        "robyn",
        ("{python}", "{application}", "{port}", "--processes", "1", "--workers", "1", "--log-level", "WARN"),
        version=versions_of("robyn"),
        applications={"pages:app": "peer_robyn.py", "work:app": "peer_robyn.py"},
        without=OF_FLASK,
    ),
    Server(
        "uvicorn+fastapi-jsonrpc",
        UVICORN,
        version=versions_of("uvicorn", "uvloop", "fastapi", "fastapi-jsonrpc"),
        applications={"rpc:app": "rpc_fastapi:app"},
    ),
    Server(
        "aiohttp+pjrpc",
        ("{python}", "{application}", "{port}"),
        version=versions_of("aiohttp", "pjrpc"),
        applications={"rpc:app": "rpc_pjrpc.py"},
    ),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: their core, the peers' interpreter, and a directory for their files."""

    core: int
    peers_python: Path
    directory: Path

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def fill(self, server: Server, command: tuple[str, ...], **values: object) -> list[str]:
        python = self.peers_python if server.peer else Path(sys.executable)
        values |= {"python": python, "bin": python.parent, "directory": self.directory}
        return [part.format(**values) for part in command]

    def make_files(self) -> Path:
        """Return a directory with what servers serve, and a certificate; made when it is not there yet."""
        files = self.directory / "files"
        if not files.exists():
            files.mkdir(mode=0o755)
            (files / "10k.txt").write_text("x" * 10_000)
            (files / "1m.txt").write_text("x" * 1_000_000)
            make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            make += ["-subj", "/CN=localhost", "-days", "2", "-keyout", files / "key.pem", "-out"]
            subprocess.run([*make, files / "certificate.pem"], check=True, capture_output=True)
            (files / "key.pem").chmod(0o644)  # nginx's worker gives up root
        return files


def version_line(server: Server, place: Place) -> str:
    """Return what `server.version` prints, such as "gunicorn 27.0.1, flask 3.1.3".

    Raises ServerError when that fails: the server is not installed.
    """
    command = place.fill(server, server.version)
    try:
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        raise ServerError(f"{server.name}: there is no {command[0]!r}") from None
    if done.returncode:
        raise ServerError(f"{server.name} is not installed: {done.stdout.strip().splitlines()[-1]}")
    return done.stdout.strip().removeprefix("nginx version: ")


@contextmanager
def running(server: Server, scenario: Scenario, place: Place) -> Iterator[tuple[int, int]]:
    """Start `server` for `scenario` on its core; give its process id and port; stop its whole tree at the end.

    Raises ServerError when it does not answer the scenario's requests with the content they must have.
    """
    port = free_port()
    process = started(server, scenario, place, port)
    try:
        wait_until_listening(process, port)
        for load in filter(None, (scenario.load, scenario.background)):
            verify(load, port, scenario.tls)
        yield process.pid, port
    except (ServerError, LoadError) as error:
        raise type(error)(f"{error}{tail(place.log)}") from None
    finally:
        stop(process)


def started(
    server: Server, scenario: Scenario, place: Place, port: int, workers: int = 1, cores: str = ""
) -> subprocess.Popen[bytes]:
    """Return the process of a server that begins to listen at `port`; what it prints goes to `place.log`.

    cores: where it may run, as taskset takes them; the core of `place` when empty.
    """
    files = place.make_files()
    config = place.directory / server.config
    if server.config:
        tls = f"ssl; ssl_certificate {files / 'certificate.pem'}; ssl_certificate_key {files / 'key.pem'}"
        text = (APPS / server.config).read_text().replace("@PORT@", str(port)).replace("@FILES@", str(files))
        text = text.replace("@WORKERS@", str(workers))
        config.write_text(text.replace(" @TLS@", f" {tls}" if scenario.tls else ""))
    application = server.applications[scenario.application]
    command = place.fill(
        server,
        (*server.command, *((server.tls or ()) if scenario.tls else ())),
        port=port,
        threads=scenario.threads,
        workers=workers,
        application=application,
        config=config,
        certificate=files / "certificate.pem",
        key=files / "key.pem",
    )
    # Bytecode is written in the first run, as where a package is installed, and read in the others.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with place.log.open("wb") as output:
        return subprocess.Popen(
            ["taskset", "-c", cores or str(place.core), *command],
            cwd=APPS,
            env={
                **environment,
                **server.environment,
                "BENCH_STATIC": str(files),
                # The peers import what stands beside their application, as we do.
                "PYTHONPATH": os.pathsep.join(filter(None, (server.environment.get("PYTHONPATH"), str(APPS)))),
                "BENCH_SCENARIO": scenario.name,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until_listening(process: subprocess.Popen[bytes], port: int, look_s: float = 0.02) -> None:
    """Try to connect every `look_s` seconds. Raises ServerError when it ends, or nobody listens within the limit."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"it ended with status {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(look_s)
        else:
            return
    raise ServerError(f"it did not listen within {START_LIMIT_S:.0f} s")


def verify(load: Load, port: int, tls: bool = False) -> None:
    """Ask for every target of `load` once. Raises ServerError for the first answer that is not as it must be."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_LIMIT_S)
    if tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=START_LIMIT_S, context=context)
    try:
        for target, expected in load.exchanges.items():
            connection.request(load.method, target, load.content or None, dict(load.fields))
            response = connection.getresponse()
            content = response.read().decode()
            if response.status != 200 or not matches(content, expected):
                raise ServerError(
                    f"{load.method} {target} answered {response.status} {content[:500]!r}, not {expected!r}"
                )
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"{load.method} {target} was not answered: {error!r}") from error
    finally:
        connection.close()


def matches(content: str, expected: Any) -> bool:
    if isinstance(expected, str):
        return content == expected
    try:
        return bool(json.loads(content) == expected)
    except ValueError:
        return False


def tail(log: Path, lines: int = 20) -> str:
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "".join(f"\n    | {line}" for line in last)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask `process` to end, wait for it within the limit, and kill what is left of its tree."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        print(f"killed, for SIGTERM did not end it: {process.args!r}", file=sys.stderr)
    for member in tree_of(process.pid, read_processes()):
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)
    process.wait()
