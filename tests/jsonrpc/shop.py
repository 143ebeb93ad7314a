"""An application whose methods take one of each kind of parameter: the browser tests serve it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC, JSONRPCBlueprint, JSONRPCError

app = Flask("shop")
jsonrpc = JSONRPC(app, "/api", version="2.1.0", enable_web_browsable_api=True)


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Item:
    name: str
    price: float
    tags: list[str] = field(default_factory=list)


@jsonrpc.method("App.index")
def index() -> str:
    """Say welcome.

    This is the method of the first example: it takes nothing and answers a text.
    """
    return "Welcome to JSON-RPC"


@jsonrpc.method("Math.add")
def add(a: int, b: int = 2) -> int:
    """Add two integers, however large."""
    return a + b


@jsonrpc.method("Math.divide")
def divide(a: float, b: float) -> float:
    """Divide a by b."""
    if b == 0:
        raise JSONRPCError("Division by zero", code=1001, data={"message": "b must not be 0"})
    return a / b


@jsonrpc.method("Shop.order")
def order(
    items: list[Item],
    size: Size = Size.SMALL,
    when: date | None = None,
    priority: Literal[1, 2, 3] = 2,
    note: Annotated[str, Meta(max_length=40)] = "",
) -> dict[str, object]:
    """Order some items.

    Returns the total, and what was understood of the rest.
    """
    return {
        "total": sum(item.price for item in items),
        "count": len(items),
        "size": size,
        "when": when,
        "priority": priority,
        "note": note,
        "paid": False,
    }


@jsonrpc.method("Shop.find")
def find(key: UUID | str | int, since: datetime | None = None, labels: dict[str, int] | None = None) -> list[object]:
    """Find orders by number, name or UUID."""
    return [key, since, labels]


@jsonrpc.method("Shop.restock")
def restock(item: Item, urgent: bool = False) -> Item:
    """Put an item back on the shelf."""
    return item


@jsonrpc.method("collect")
def collect(*values: float, **options: str) -> object:
    return [values, options]


@jsonrpc.method("broken")
def broken() -> str:
    """Fail, as methods do."""
    raise RuntimeError("the cellar is flooded")


admin = JSONRPCBlueprint("admin", __name__)


@admin.method("Admin.status")
def status() -> dict[str, bool]:
    """Tell whether all is well."""
    return {"well": True}


def with_admin() -> Flask:
    """Return the application with a second set of methods, at /api/admin."""
    jsonrpc.register_blueprint(app, admin, url_prefix="/admin", enable_web_browsable_api=True)
    return app
