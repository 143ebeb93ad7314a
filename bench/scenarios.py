"""What is measured, as data. To add a scenario, add an entry to SCENARIOS (and a view to bench/apps)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bench.wrk import Load
from demijohn import Flask
from demijohn.sessions import SecureCookieSessionInterface


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load on one application.

    tls: whether the load comes over TLS.

    application: the `module:attribute` in bench/apps, which a server maps to what it serves.
    threads: the size of the server's thread pool.
    background: a second load on other connections meanwhile; only the first one is reported.
    """

    name: str
    title: str
    application: str
    load: Load
    threads: int = 16
    background: Load | None = None
    tls: bool = False


# What Chrome sends on a reload within a site; Host is the fifteenth.
BROWSER_FIELDS = {
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "Sec-CH-UA": '"Chromium";v="136", "Google Chrome";v="136", "Not.A/Brand";v="99"',
    "Sec-CH-UA-Mobile": "?0",
    "Sec-CH-UA-Platform": '"Linux"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36"
    ),
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Referer": "http://127.0.0.1/start",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cookie": "consent=yes; theme=dark; visitor=5f2b1c9e-8d0a-4b77-9f0e-1c2d3e4f5a6b",
}

HELLO = {"/": "Hello, World!"}
JSON = {"/json": {"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]}}
# Many targets, so that remembering the last one helps nobody.
USERS = {
    f"/user/{id}/{name}?q=term{id % 7}": f"{name} is number {id} and asks for term{id % 7}"
    for id in range(1, 101)
    for name in ("ada", "grace")
}
SLEEP_10_MS = {"/sleep/10": "slept"}
SLEEP_1_S = {"/sleep/1000": "slept"}
JSONRPC = {"Content-Type": "application/json"}
CALL = {"jsonrpc": "2.0", "method": "App.index", "params": {}, "id": "1"}
RESULT = {"jsonrpc": "2.0", "result": "Welcome to JSON-RPC", "id": "1"}
ARGUMENTS = {"a": 1, "b": "x", "c": [1.5, 2.5], "d": {"k": 1}}
TYPED_CALL = {"jsonrpc": "2.0", "method": "App.typed", "params": ARGUMENTS, "id": 1}
TYPED_RESULT = {"jsonrpc": "2.0", "result": ARGUMENTS, "id": 1}
BATCH = 100
IDS = [str(id) for id in range(BATCH)]  # pjrpc refuses a batch with equal ones
JSON_1_KB = {"name": "n" * 900, "numbers": list(range(20)), "nested": {"ok": True, "nothing": None}}
BIG = [{"id": number, "name": f"name {number}", "tags": ["a", "b", "c"], "price": number / 4} for number in range(150)]
STREAM = ("x" * 1023 + "\n") * 64
ROWS = "".join(
    f"""  <tr class="{("odd", "even")[number % 2]}"><td>{number}</td><td>&lt;name {number}&gt;</td>"""
    f"<td>{number / 4:.2f}</td></tr>\n"
    for number in range(20)
)
PAGE = f"<!doctype html>\n<title>Rows</title>\n<table>\n{ROWS}</table>"
BOUNDARY = "benchmark"
UPLOAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="data.bin"\r\n'
    f"Content-Type: application/octet-stream\r\n\r\n{'y' * 5_000_000}\r\n--{BOUNDARY}--\r\n"
)


def session_cookie() -> str:
    """Return a cookie that all who sign as Flask does take for a session."""
    app = Flask("bench")
    app.secret_key = "for the benchmark"
    signing = SecureCookieSessionInterface().get_signing_serializer(app)
    assert signing is not None
    return f"session={signing.dumps({'count': 1})!s}"


def items(sections: int, items: int) -> dict[str, str]:
    return {
        f"/section{section}/item{item}/{item + 1}": f"item {item + 1}"
        for item in range(items)
        for section in range(sections)
    }


SCENARIOS = (
    Scenario("hello", "hello", "pages:app", Load(HELLO)),
    Scenario("headers", "hello, 15 browser headers", "pages:app", Load(HELLO, fields=BROWSER_FIELDS)),
    Scenario("json", "JSON dict", "pages:app", Load(JSON)),
    Scenario("user", "`/user/<int:id>/<name>?q=`", "pages:app", Load(USERS)),
    Scenario("routes5", "5 blueprint routes", "routes:few", Load(items(1, 5))),
    Scenario("routes500", "500 blueprint routes", "routes:many", Load(items(10, 50))),
    Scenario("sleep", "view that sleeps 10 ms, 64 at a time", "pages:app", Load(SLEEP_10_MS), threads=64),
    Scenario(
        "jsonrpc",
        "JSON-RPC call",
        "rpc:app",
        Load({"/api": RESULT}, method="POST", fields=JSONRPC, content=json.dumps(CALL)),
    ),
    Scenario(
        "jsonrpc-typed",
        "JSON-RPC call, four typed parameters",
        "rpc:app",
        Load({"/api": TYPED_RESULT}, method="POST", fields=JSONRPC, content=json.dumps(TYPED_CALL)),
    ),
    Scenario(
        "jsonrpc-batch",
        f"JSON-RPC batch of {BATCH} calls",
        "rpc:app",
        # Fewer connections: a batch takes some servers 50 ms.
        Load(
            {"/api": [RESULT | {"id": id} for id in IDS]},
            method="POST",
            fields=JSONRPC,
            content=json.dumps([CALL | {"id": id} for id in IDS]),
            connections=8,
        ),
    ),
    Scenario(
        "mixed",
        "hello while 8 connections wait 1 s each",
        "pages:app",
        Load(HELLO),
        background=Load(SLEEP_1_S, connections=8),
    ),
    Scenario("asgi", "plain ASGI hello", "interfaces:asgi", Load(HELLO)),
    Scenario("starlette", "Starlette hello", "interfaces:starlette", Load(HELLO)),
    Scenario("starlette_sleep", "Starlette view that awaits 10 ms", "interfaces:starlette", Load(SLEEP_10_MS)),
    Scenario("routes5000", "5,000 blueprint routes", "routes:huge", Load(items(100, 50))),
    Scenario(
        "echo",
        "POST 1 KB of JSON, and echo it",
        "work:app",
        Load({"/echo": JSON_1_KB}, method="POST", fields=JSONRPC, content=json.dumps(JSON_1_KB)),
    ),
    Scenario("big", "10 KB JSON answer", "work:app", Load({"/big": BIG})),
    Scenario(
        "session",
        "session read and written (signed cookie)",
        "work:app",
        Load({"/session": "count 2"}, fields={"Cookie": session_cookie()}),
    ),
    Scenario("template", "template of 20 rows", "work:app", Load({"/template": PAGE})),
    Scenario("hooks", "hello with 3 hooks before, 3 after, 3 at teardown", "work:hooked", Load(HELLO)),
    Scenario("static10k", "static file of 10 KB", "work:app", Load({"/static/10k.txt": "x" * 10_000})),
    Scenario("static1m", "static file of 1 MB", "work:app", Load({"/static/1m.txt": "x" * 1_000_000}, connections=16)),
    Scenario(
        "upload",
        "multipart upload of 5 MB",
        "work:app",
        Load(
            {"/upload": "data.bin: 5000000 bytes"},
            method="POST",
            content=UPLOAD,
            connections=4,
            fields={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        ),
    ),
    Scenario("stream", "stream of 64 x 1 KB", "work:app", Load({"/stream": STREAM})),
    Scenario("async", "`async def` hello", "work:app", Load({"/async": "Hello, World!"})),
    Scenario(
        "await",
        "`async def` view that awaits 10 ms, 64 at a time",
        "work:app",
        Load({"/await/10": "slept"}),
        threads=64,
    ),
    Scenario("tls", "hello over TLS", "pages:app", Load(HELLO), tls=True),
    Scenario("wsgi", "plain WSGI hello", "callables:wsgi", Load(HELLO)),
    Scenario("django", "Django hello", "callables:django", Load(HELLO)),
)
