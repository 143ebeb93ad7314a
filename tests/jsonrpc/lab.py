"""An application whose methods are tools of language models: the tests of MCP serve it."""

from __future__ import annotations

from dataclasses import dataclass

from demijohn import Flask, request
from demijohn.jsonrpc import JSONRPC, JSONRPCBlueprint, JSONRPCError, Tool

app = Flask("lab")
jsonrpc = JSONRPC(app, "/api", version="1.2", mcp="/mcp")


@dataclass
class Part:
    name: str
    price: float = 1.0
    parts: list[Part] | None = None


@jsonrpc.method("Math.add", mcp=Tool(title="Add", read_only=True, open_world=False))
def add(a: int, b: int = 2) -> int:
    """Add two integers.

    However large they are.

    Args:
        a: the first
    """
    return a + b


@jsonrpc.method("Shop.restock", mcp=True)
def restock(part: Part) -> Part:
    return part


@jsonrpc.method("fail", mcp=True)
def fail() -> None:
    raise JSONRPCError("The cellar is full", code=7, data={"limit": 3})


@jsonrpc.method("crash", mcp=True)
def crash() -> str:
    raise RuntimeError("the cellar is flooded")


@jsonrpc.method("picture", mcp=Tool(name="draw"))
async def picture() -> str:
    return "data:image/png;base64,iVBORw0KGgo="


@jsonrpc.method("anything", mcp=True)
def anything(**named: object) -> object:
    return [named, request.headers.get("X-Given")]


@jsonrpc.method("hidden")
def hidden() -> int:
    return 1


inner = JSONRPCBlueprint("inner", __name__)


@inner.method("Inner.tell", mcp=True)
def tell() -> str:
    return "from the inside"


jsonrpc.register_blueprint(app, inner, url_prefix="/inner")
