"""Small helpers of Flask-JSONRPC."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..browse import urn as _urn
from ..types.types import JSONRPCNewType, Object, Types


@dataclass
class Node:
    """A group of methods in the menu of the page, with groups inside it."""

    name: str | None
    items: list[dict[str, Any]] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    def find_child(self, name: str) -> Node | None:
        """Return the child of that name, or None; grandchildren are not looked at."""
        return next((child for child in self.children if child.name == name), None)

    def add_child(self, node: Node) -> None:
        self.children.append(node)

    def insert_item(self, val: dict[str, Any]) -> None:
        self.items.append(val)

    def clean(self) -> None:
        """Take out the groups that hold nothing, at any depth."""
        for child in self.children:
            child.clean()
        self.children = [child for child in self.children if child.items or child.children]

    def sort(self) -> None:
        """Bring the groups into the order of their names, at any depth."""
        self.children.sort(key=lambda child: child.name or "")
        for child in self.children:
            child.sort()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def urn(name: str, *args: Any) -> str:
    """Return an endpoint name: `urn("app", "shop", "/api")` is `urn:app:shop:api`.

    Raises ValueError without a name.
    """
    if not name:
        raise ValueError("name is required")
    return _urn(name, *map(str, args))


def from_python_type(tp: Any, default: JSONRPCNewType | None = Object) -> JSONRPCNewType | None:
    """Return the type that a hint has in JSON, or `default` when none of them is known to."""
    return next((kind for kind in Types if kind.check_type(tp)), default)


def get(obj: Any, path: str, default: Any = None) -> Any:
    """Return the member of nested dicts that a path such as "a.b.c" leads to; a key with dots in it comes first."""
    if not isinstance(obj, dict):
        return default
    if path in obj:
        return obj[path]
    for step in path.split("."):
        if not isinstance(obj, dict) or step not in obj:
            return default
        obj = obj[step]
    return obj
