"""What is measured, as data. To add a scenario, add an entry to SCENARIOS (and a view to bench/apps)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bench.wrk import Load


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load on one application.

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
)
