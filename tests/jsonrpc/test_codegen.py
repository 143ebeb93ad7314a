"""Generated clients: type checkers accept them and find mistakes in their use, and they call a real server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.jsonrpc.conftest import serving
from tests.jsonrpc.generated import client_of, run

from demijohn.jsonrpc import JSONRPCError
from demijohn.jsonrpc.codegen_python import python
from demijohn.jsonrpc.codegen_typescript import typescript
from demijohn.jsonrpc.openrpc import document
from demijohn.jsonrpc.registry import Method

# -- Python -----------------------------------------------------------------------------------------

RIGHT = """\
import asyncio
import sys
from uuid import UUID
from shop_client import AsyncShop, Item, Shop

item: Item = {"name": "a", "price": 1.5}
with Shop(sys.argv[1], timeout_s=20) as shop:
    welcome: str = shop.App.index()
    total: int = shop.Math.add(1) + shop.Math.add(a=1, b=5)
    back: Item = shop.Shop.restock(item, urgent=True)
    found = shop.Shop.find(UUID(int=1), labels={"a": 1})
    order = shop.Shop.order([item], size="large")
    collected = shop.collect(a="x")
    with shop.client.batch() as batch:
        pending = batch.Math.add(2, 2)
    print(welcome, total, back["price"], found[0], order["size"], collected, pending.result())

async def main() -> None:
    async with AsyncShop(sys.argv[1]) as shop:
        total: int = await shop.Math.add(40)
        print(total)

asyncio.run(main())
"""
PRINTED = """\
Welcome to JSON-RPC 9 1.5 00000000-0000-0000-0000-000000000001 large [[], {'a': 'x'}] 4
42
"""
WRONG = """\
from shop_client import AsyncShop, Shop

shop = Shop()
shop.Math.add("x")
shop.Math.add(1, c=2)
shop.Math.nope()
shop.Nope.add(1)
shop.Shop.restock({"name": 1})
shop.Shop.order([], size="medium")
text: str = shop.Math.add(1)
"""


def test_the_python_client_passes_mypy_and_calls(tmp_path: Path, shop_url: str) -> None:
    (tmp_path / "shop_client.py").write_text(client_of("shop:app"))
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    checked = run(*mypy, "shop_client.py", "right.py", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    mistakes = run(*mypy, "wrong.py", cwd=tmp_path).stdout
    lines = {int(line.split(":")[1]) for line in mistakes.splitlines() if ": error:" in line}
    assert lines == set(range(4, 11)), mistakes
    called = run(sys.executable, "right.py", shop_url, cwd=tmp_path)
    assert called.stdout == PRINTED, called.stderr


def test_a_client_is_written_from_a_running_server_too(shop_url: str) -> None:
    from_server = client_of(shop_url)
    assert f'URL = "{shop_url}"' in from_server
    assert from_server.replace(shop_url, "http://127.0.0.1:8000/api") == client_of("shop:app")


def test_no_server_and_no_methods_are_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "demijohn", "jsonrpc", "client"]
    done = run(*command, "http://127.0.0.1:1/api", cwd=tmp_path)
    assert done.returncode == 1
    assert "did not answer" in done.stderr
    (tmp_path / "bare.py").write_text("from demijohn import Flask\napp = Flask(__name__)\n")
    assert "has no JSON-RPC methods" in run(*command, "bare:app", cwd=tmp_path).stderr


class CellarFull(JSONRPCError):
    code = 7
    message = "The cellar is full"


def keep(*values: int) -> int:
    """Keep values.

    Raises:
        CellarFull: when there is no room
    """
    return len(values)


def namespace_of(text: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(compile(text, "generated", "exec"), namespace)
    return namespace


def test_an_error_that_is_told_has_a_class() -> None:
    generated = namespace_of(python(document([Method("keep", keep)], "Cellar", "1", "http://x/")))
    assert generated["ERRORS"] == {7: generated["TheCellarIsFull"]}
    assert generated["TheCellarIsFull"].__doc__ == "The cellar is full"


# -- TypeScript -------------------------------------------------------------------------------------

RIGHT_TS = """\
import { Item, RpcError, Shop } from "./shop.js";

const shop = new Shop(process.argv[2], { timeoutMs: 20000 });
const item: Item = { name: "a", price: 1.5 };
const total: number = (await shop.Math.add({ a: 1 })) + (await shop.call("Math.add", { a: 1, b: 5 }));
const back: Item = await shop.Shop.restock({ item, urgent: true });
const collected = await shop.collect({ a: "x" });
let caught = "";
try {
  await shop.Math.divide({ a: 1, b: 0 });
} catch (error) {
  if (error instanceof RpcError) caught = `${error.code} ${error.message} ${JSON.stringify(error.data)}`;
}
await shop.notify("broken", {});
const [three, failed] = await shop.batch([["Math.add", { a: 1, b: 2 }], ["Math.divide", { a: 1, b: 0 }]]);
console.log(await shop.App.index(), total, back.price, JSON.stringify(collected), caught);
console.log(three, failed instanceof RpcError);
"""
PRINTED_TS = """\
Welcome to JSON-RPC 9 1.5 [[],{"a":"x"}] 1001 Division by zero {"message":"b must not be 0"}
3 true
"""
WRONG_TS = """\
import { Shop } from "./shop.js";
const shop = new Shop();
await shop.Math.add({ a: "x" });
await shop.Math.add({ a: 1, c: 2 });
await shop.Math.add({});
await (shop.Math as any).nope() + shop.Nope.add({ a: 1 });
await shop.Shop.order({ items: [], size: "medium" });
const text: string = await shop.Math.add({ a: 1 });
await shop.call("Math.nope", {});
"""
PROCESS = "declare const process: { argv: string[] };\n"


def test_the_typescript_client_passes_tsc_and_calls(tmp_path: Path, shop_url: str, tsc: list[str]) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "shop.ts").write_text(client_of("shop:app", "--language", "typescript"))
    (tmp_path / "process.d.ts").write_text(PROCESS)
    (tmp_path / "right.ts").write_text(RIGHT_TS)
    (tmp_path / "wrong.ts").write_text(WRONG_TS)
    checked = run(*tsc, "right.ts", "process.d.ts", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    mistakes = run(*tsc, "--noEmit", "wrong.ts", cwd=tmp_path).stdout
    lines = {int(line.split("(")[1].split(",")[0]) for line in mistakes.splitlines() if line.startswith("wrong.ts")}
    assert lines == set(range(3, 10)), mistakes
    called = run("node", "right.js", shop_url, cwd=tmp_path)
    assert called.stdout == PRINTED_TS, called.stderr


# -- names that mean something ------------------------------------------------------------------------

WORDS = """\
import datetime
import enum
from typing import NamedTuple

import msgspec
from demijohn import Flask
from demijohn.jsonrpc import JSONRPC

app = Flask("words")
jsonrpc = JSONRPC(app, "/api")


class Trip(msgspec.Struct, rename={"from_": "from", "class_": "class"}):
    from_: str
    class_: int = 2


@jsonrpc.method("constructor")
def construct(constructor: int = 1, toString: int = 2, self: int = 3, *, more: int = 4, **others: int) -> int:
    return constructor + toString + self + more + sum(others.values())


@jsonrpc.method("class.import")
def travel(trip: Trip, result: int = 0, then: int = 0) -> Trip:
    return trip


@jsonrpc.method("then")
def then() -> str:
    return "then"


@jsonrpc.method("Trips.list")
def trips(date: datetime.date, int: int = 1, given: int = 0) -> list[datetime.date]:
    return [date] * int


class Kind(enum.Enum):
    SEA = "sea"
    AIR = "air"


class Stop(NamedTuple):
    place: str
    kind: Kind = Kind.SEA


@jsonrpc.method("Trips.kind")
def kind(kind: Kind, stop: Stop) -> dict[str, Kind]:
    return {stop.place: kind}


@jsonrpc.method("Trips.stop")
def stop(kind: Kind) -> Stop:
    return Stop("Bonn", kind)


@jsonrpc.method("Trips.str")
def days(days: list[int]) -> dict[str, int]:
    return {"sum": sum(days)}
"""
WORDS_PY = """\
import sys
from datetime import date
from words_client import Kind, Trip, Words

with Words(sys.argv[1], timeout_s=20) as words:
    trip: Trip = words.class_.import_({"from": "Bonn"})
    print(words.constructor(), words.constructor(constructor=5, more=5, **{"import": 1}), trip["class"], words.then())
    dates: list[date] = words.Trips.list(date=date(2026, 1, 2), int=2)
    counted: dict[str, int] = words.Trips.str([1, 2])
    stopped: tuple[str, Kind] = words.Trips.stop("air")
    print(*dates, counted, words.Trips.kind("air", ("Bonn", "sea")), stopped)
"""
WORDS_TS = """\
import { Trip, Words } from "./words.js";

const words = await (async () => new Words(process.argv[2], { timeoutMs: 20000 }))();
const trip: Trip = await words.class.import({ trip: { from: "Bonn" } });
const sum = await words.constructor_({ constructor: 5, toString: 2, more: 5, import: 1 } as any);
console.log(await words.constructor_(), sum, trip.class, await words.then_());
"""


@pytest.fixture
def words_url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "words.py").write_text(WORDS)
    with serving("words:app", tmp_path) as address:
        yield f"{address}/api"


def test_names_that_mean_something_in_python_are_given_another(tmp_path: Path, words_url: str) -> None:
    (tmp_path / "words_client.py").write_text(client_of(words_url))
    (tmp_path / "use.py").write_text(WORDS_PY)
    checked = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", "use.py", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    called = run(sys.executable, "use.py", words_url, cwd=tmp_path)
    printed = "10 16 2 then\n2026-01-02 2026-01-02 {'sum': 3} {'Bonn': 'air'} ('Bonn', 'air')\n"
    assert called.stdout == printed, called.stderr


def test_names_that_mean_something_in_javascript_are_given_another(
    tmp_path: Path, words_url: str, tsc: list[str]
) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "words.ts").write_text(client_of(words_url, "--language", "typescript"))
    (tmp_path / "process.d.ts").write_text(PROCESS)
    (tmp_path / "use.ts").write_text(WORDS_TS)
    checked = run(*tsc, "use.ts", "process.d.ts", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    called = run("node", "use.js", words_url, cwd=tmp_path)
    assert called.stdout == "10 16 2 then\n", called.stderr


# -- documents of strangers -------------------------------------------------------------------------

NASTY = [
    '"""',
    "\\",
    "*/ evil() /*",
    "'; evil(); '",
    "\n",
    "\r\nevil()\n",
    "class",
    "self",
    "",
    "1",
    "é",
    "__init__",
    "a-b",
    "a b",
    "a_b",
]
NASTY += [
    "result",
    "client",
    "more",
    "given",
    "call",
    "${evil()}",
    "`",
    "#",
    "{}",
    "{title}",
    "Any",
    "int",
    "x" * 200,
]
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string", "default": name} for name in NASTY},
    "required": NASTY[:3],
}
STRANGE = {
    "openrpc": "1.3.2",
    "info": {"title": '"""\nevil()\n*/', "version": "1"},
    "servers": [{"url": '"; evil(); "'}],
    "methods": [
        {
            "name": name,
            "summary": name,
            "description": f'{name}"""\nevil()',
            "params": [
                {
                    "name": param,
                    "description": name,
                    "required": param == "a",
                    "schema": {"$ref": f"#/components/schemas/{param}"},
                }
                for param in NASTY
            ],
            "result": {"name": "r", "schema": {"enum": NASTY}},
            "errors": [{"code": number, "message": name}],
        }
        for number, name in enumerate([*NASTY, *(f"g.{name}" for name in NASTY), *(f"{name}.g" for name in NASTY)])
    ],
    "components": {"schemas": {name: SCHEMA if number % 2 else {"const": name} for number, name in enumerate(NASTY)}},
}


def test_what_a_strange_document_says_is_never_run_in_python() -> None:
    with_evil = {"evil": lambda: pytest.fail("it was run")}
    text = python(STRANGE)
    exec(compile(text, "generated", "exec"), {"__name__": "generated"} | with_evil)


def test_what_a_strange_document_says_is_never_run_in_typescript(tmp_path: Path, tsc: list[str]) -> None:
    (tmp_path / "strange.ts").write_text(typescript(STRANGE))
    checked = run(*tsc, "strange.ts", cwd=tmp_path)
    # A call of `evil`, which nothing declares, would be an error.
    assert checked.returncode == 0, checked.stdout[:3000]


@pytest.mark.parametrize("end", ["\r", "\u2028", "\u2029"], ids=ascii)
def test_no_character_that_ends_a_line_ends_a_comment_in_typescript(end: str) -> None:
    written = typescript(STRANGE | {"info": {"title": f"Cellar{end}evil()", "version": "1"}})
    assert "Cellar evil()" in written
    assert f"{end}evil()" not in written


def test_a_null_character_leaves_the_python_client_a_program() -> None:
    text = python(STRANGE | {"info": {"title": "Cel\0lar", "version": "1"}})
    compile(text, "generated", "exec")


def test_groups_and_parameters_that_come_to_the_same_name_are_kept_apart(tmp_path: Path, tsc: list[str]) -> None:
    names = [
        "more",
        "More",
        "constructor",
        "toString",
        "given",
        "OMITTED",
        "returns",
        "list",
        "int",
        "int_type",
        "Thing",
    ]
    params = [{"name": name, "required": False, "schema": {"type": "integer"}} for name in names]
    thing = {"name": "r", "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}}
    methods = [
        {"name": name, "params": params, "result": thing, **more}
        for number, word in enumerate(names)
        for more in ({"x-more-names": True}, {"x-more-positions": True}, {})[number % 3 :][:1]
        for name in (word, f"A.{word}", f"{word}.a")
    ]
    thing_schema = {"type": "object", "properties": {name: {"type": "integer"} for name in names}}
    openrpc = {
        "info": {"title": "Same"},
        "methods": methods,
        "components": {"schemas": {"Thing": thing_schema, "list": {"type": "integer"}}},
    }
    (tmp_path / "same.py").write_text(python(openrpc))
    (tmp_path / "same.ts").write_text(typescript(openrpc))
    checked = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", "same.py", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    compiled = run(*tsc, "--noEmit", "same.ts", cwd=tmp_path)
    assert compiled.returncode == 0, compiled.stdout[:3000]


@pytest.mark.parametrize("value", [{}, {"methods": 1}, {"methods": [{}]}, {"methods": [], "info": None}])
def test_what_is_no_document_is_refused(value: Any) -> None:
    for write in (python, typescript):
        with pytest.raises(ValueError, match="this is no OpenRPC document"):
            write(value)


def test_a_client_of_any_schema_is_written() -> None:
    schemas: list[Any] = [
        True,
        False,
        {},
        {"type": ["string", "null"]},
        {"allOf": [{"type": "integer"}]},
        {"$ref": "#/x"},
    ]
    schemas += [
        {"items": [{"type": "integer"}], "type": "array"},
        {"type": "nonsense"},
        {"enum": []},
        {"enum": [1.5, {}]},
    ]
    methods = [
        {"name": f"m{number}", "params": [], "result": {"name": "r", "schema": schema}}
        for number, schema in enumerate(schemas)
    ]
    text = python({"info": {"title": "t"}, "methods": methods, "components": {"schemas": {}}})
    namespace_of(text)
    assert "def m3(self) -> str | None:" in text
    assert "def m4(self) -> int:" in text
    assert "def m6(self) -> tuple[int]:" in text
