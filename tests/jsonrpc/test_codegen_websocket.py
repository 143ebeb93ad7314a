"""Generated clients over a WebSocket: in Node.js and in a browser, against a server whose worker dies in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from tests.jsonrpc.conftest import serving
from tests.jsonrpc.generated import client_of, run

RUNS = """\
import asyncio
import os
import signal

from demijohn import Flask, request
from demijohn.jsonrpc import JSONRPC, progress, report

app = Flask("runs")
app.config["JSONRPC_BATCH_LIMIT"] = 5
jsonrpc = JSONRPC(app, "/api", websocket=True)
ended = asyncio.Event()


@app.route("/")
def page() -> str:
    return "<!doctype html><title>Runs</title>"


@jsonrpc.method("Math.add")
def add(a: int, b: int = 2) -> int:
    return a + b


@jsonrpc.method("Math.divide")
def divide(a: int, b: int) -> float:
    return a / b


@jsonrpc.method("Run.count")
def count(n: int) -> int:
    return sum(1 for _ in progress(range(n), message="counting"))


@jsonrpc.method("Run.forever")
async def forever() -> None:
    report(0, message="begun")
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


@jsonrpc.method("Run.ended")
async def has_ended() -> bool:
    await ended.wait()
    ended.clear()
    return True


@jsonrpc.method("Run.crash")
def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@jsonrpc.method("who")
def who() -> str | None:
    return request.headers.get("X-Key")
"""

USE = """\
import { type CallOptions, ConnectionLost, type Options, type Progress, RpcError, Runs } from "./runs_client.js";

/** Return what came of it all. */
export async function use(http: string, options: Options): Promise<unknown> {
  const url = http.replace("http", "ws");
  const runs = new Runs(url, { timeoutMs: 20000, ...options });
  const said: Record<string, unknown> = {};

  const sums: number[] = await Promise.all([1, 2, 3].map((a) => runs.Math.add({ a })));
  said.calls = [...sums, await runs.call("Math.add", { a: 1, b: 1 })];
  await runs.notify("Math.divide", { a: 1, b: 0 });
  said.error = await runs.Math.divide({ a: 1, b: 0 }).catch((error) => error instanceof RpcError && error.code);
  const [three, failed] = await runs.batch([["Math.add", { a: 1 }], ["Math.divide", { a: 1, b: 0 }]]);
  said.batch = [three, failed instanceof RpcError && failed.code];
  const many = Array.from({ length: 6 }, (_, a) => ["Math.add", { a }] as ["Math.add", { a: number }]);
  said.refused = await runs.batch(many).catch((error: RpcError) => [error.code, error.data]);

  const told: Progress[] = [];
  const counted: number = await runs.Run.count({ n: 3 }, { onProgress: (progress) => told.push(progress) });
  said.progress = [counted, told[0], told.at(-1)];

  const enough = new AbortController();
  const once: CallOptions = { signal: enough.signal, onProgress: () => enough.abort() };
  const aborted = await runs.Run.forever({}, once).catch((error) => [error.name, runs.Run.ended()]);
  said.aborted = await Promise.all(aborted as unknown[]);
  said.abortedBefore = await runs.Run.count({ n: 1 }, { signal: enough.signal }).catch((error) => error.name);
  const late = await runs.Run.forever({}, { timeoutMs: 300 }).catch((error) => [error.name, runs.Run.ended()]);
  said.late = await Promise.all(late as unknown[]);
  const onProgress = () => { throw new RangeError("too far"); };
  const raised = await runs.Run.forever({}, { onProgress }).catch((error) => [error.name, runs.Run.ended()]);
  said.raised = await Promise.all(raised as unknown[]);

  const lost = (error: unknown) => error instanceof ConnectionLost && error.code;
  const crashing = [runs.Run.crash().catch(lost), runs.Run.forever().catch(lost), runs.batch([["Run.forever", {}]])];
  said.crashed = await Promise.all(crashing.map((each) => each.catch(lost)));
  said.again = await runs.Math.add({ a: 40 });
  const waiting = runs.Run.forever().catch(lost);
  runs.close();
  said.closed = await waiting;
  said.afterClose = await runs.Math.add({ a: 41 });
  runs.close();

  said.nowhere = await new Runs(`${url}/nowhere`, options).Math.add({ a: 1 }).catch(lost);
  said.unheard = await new Runs(url, { headers: { "X-Key": "sesame" } }).who().catch((error) => error.message);
  const controller = new AbortController();
  const overHttp = new Runs(http).Run.forever({}, { signal: controller.signal }).catch((error) => error.name);
  controller.abort();
  said.overHttp = [await new Runs(http).Math.add({ a: 2 }, { onProgress }), await overHttp];
  return said;
}
"""

NODE = """\
import WebSocket from "ws";
import { use } from "./use.js";
import { Runs } from "./runs_client.js";

const webSocket = (url, headers) => new WebSocket(url, { headers });
const runs = new Runs(process.argv[2].replace("http", "ws"), { headers: { "X-Key": "sesame" }, webSocket });
const said = await use(process.argv[2], { webSocket });
console.log(JSON.stringify({ ...said, who: await runs.who() }));
runs.close();
"""

SAID = {
    "calls": [3, 4, 5, 2],
    "error": -32000,
    "batch": [3, -32000],
    "refused": [-32600, {"message": "A batch of 6 calls: this server takes at most 5"}],
    "progress": [
        3,
        {"done": 0, "total": 3, "message": "counting"},
        {"done": 3, "total": 3, "message": "counting"},
    ],
    "aborted": ["AbortError", True],
    "abortedBefore": "AbortError",
    "late": ["TimeoutError", True],
    "raised": ["RangeError", True],
    "crashed": [1006, 1006, 1006],
    "again": 42,
    "closed": 1005,
    "afterClose": 43,
    "nowhere": 1006,
    "unheard": "WebSockets are opened without headers here: say in options.webSocket how with them",
    "overHttp": [4, "AbortError"],
}


@pytest.fixture
def folder(tmp_path: Path, tsc: list[str]) -> Path:
    """The folder with the application, and in `static` the compiled client and what uses it."""
    (tmp_path / "runs.py").write_text(RUNS)
    (tmp_path / "runs_client.ts").write_text(client_of("runs:app", "--language", "typescript", cwd=tmp_path))
    (tmp_path / "use.ts").write_text(USE)
    compiled = run(*tsc, "--outDir", "static", "use.ts", cwd=tmp_path)
    assert compiled.returncode == 0, compiled.stdout
    return tmp_path


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with serving("runs:app", folder, "--workers", "1", "--threads", "4") as address:
        yield address


def test_the_typescript_client_speaks_websocket_in_node(
    folder: Path, address: str, npm_package: Callable[[str], Path]
) -> None:
    static = folder / "static"
    (static / "package.json").write_text('{"type": "module"}')
    (static / "node_modules").mkdir()
    (static / "node_modules" / "ws").symlink_to(npm_package("ws@8.18.3"))
    (static / "node.js").write_text(NODE)
    done = run("node", "node.js", f"{address}/api", cwd=static)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == SAID | {"who": "sesame"}


def test_the_typescript_client_speaks_websocket_in_a_browser(address: str, chromium: webdriver.Chrome) -> None:
    chromium.get(address)
    said = chromium.execute_async_script(
        "const [url, done] = arguments; import('/static/use.js').then(({ use }) => use(url, {})).then(done, done)",
        f"{address}/api",
    )
    assert said == SAID
    chromium.get_log("browser")  # where lost connections are told of; nobody else is to find them there
