"""What a generated client is made of, whatever its language: an OpenRPC document, read for its names and its types.

The document may be a stranger's: nothing of it comes into a program but as an identifier, a literal or a comment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]

_REF = "#/components/schemas/"


@dataclass(slots=True)
class Parameter:
    name: str
    schema: Schema
    is_required: bool
    description: str


@dataclass(slots=True)
class Method:
    """A method as a client sees it; `more` is what it takes besides: "positions", "names" or nothing."""

    name: str
    parameters: list[Parameter]
    result: Schema
    doc: list[str]
    is_deprecated: bool
    is_by_position: bool
    more: str

    @property
    def last_name(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def group(self) -> str:
        """What stands before the last point; nothing for a method that stands by itself."""
        return self.name.rpartition(".")[0]


@dataclass(slots=True)
class Error:
    code: int
    message: str


@dataclass(slots=True)
class Service:
    """title: what the client's class is called after. components: schemas by name."""

    title: str
    url: str
    methods: list[Method] = field(default_factory=list)
    components: dict[str, Schema] = field(default_factory=dict)
    errors: list[Error] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """The groups of the methods, each once, in their order; the one without a name first."""
        return sorted(dict.fromkeys(method.group for method in self.methods), key=lambda group: group != "")

    def methods_of(self, group: str) -> list[Method]:
        return [method for method in self.methods if method.group == group]


def read(document: dict[str, Any]) -> Service:
    """Return what an OpenRPC document describes.

    Raises ValueError for what is no such document.
    """
    try:
        methods = [_method(method) for method in document["methods"]]
        servers = document.get("servers") or [{"url": ""}]
        title = str(document["info"]["title"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"this is no OpenRPC document: {type(error).__name__} {error}") from None
    errors = {
        error["code"]: Error(error["code"], str(error.get("message", "")))
        for method in document["methods"]
        for error in method.get("errors", ())
        if isinstance(error.get("code"), int)
    }
    components = document.get("components", {}).get("schemas", {})
    return Service(title, str(servers[0].get("url", "")), methods, components, list(errors.values()))


def _method(method: dict[str, Any]) -> Method:
    parameters = [
        Parameter(
            str(param["name"]),
            param.get("schema", {}),
            bool(param.get("required", False)),
            " ".join(str(param.get("description", "")).split()),
        )
        for param in method.get("params", ())
    ]
    doc = [str(method[part]) for part in ("summary", "description") if method.get(part)]
    more = "names" if method.get("x-more-names") else "positions" if method.get("x-more-positions") else ""
    return Method(
        str(method["name"]),
        parameters,
        method.get("result", {}).get("schema", {}),
        doc,
        bool(method.get("deprecated", False)),
        method.get("paramStructure") == "by-position" or more == "positions",
        more,
    )


# -- names --------------------------------------------------------------------------------------


class Names:
    """Identifiers in one scope: each name, or whatever is named, gets one of its own."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._given: dict[Any, str] = {}

    def of(self, named: Any, wanted: str = "") -> str:
        """Return the identifier for what is named, the same each time: `wanted` or its own name if that is free."""
        if named not in self._given:
            wanted = identifier(wanted or named)
            while wanted in self._taken:
                wanted += "_"
            self._taken.add(wanted)
            self._given[named] = wanted
        return self._given[named]


def identifier(name: str) -> str:
    """Return `name` as an identifier in ASCII, which is one in every language of ours."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_")
    return plain if plain[:1].isalpha() else f"x{plain}"


def camel(text: str) -> str:
    """Return words in one, each with a capital letter: `The cellar is full` is `TheCellarIsFull`."""
    words = re.findall(r"[A-Za-z0-9]+", text)
    return identifier("".join(word[:1].upper() + word[1:] for word in words) or "Unnamed")


class Module:
    """What is written of a service in any language: its names, and the class that clients are called after.

    reserved: identifiers that mean something else there. url: where its clients go unless they are told.
    """

    def __init__(self, service: Service, url: str | None, reserved: Iterable[str]) -> None:
        self.service = service
        self.url = service.url if url is None else url
        self.names = Names(reserved)
        self.title = self.names.of(camel(service.title.removesuffix(" JSON-RPC")))


# -- types --------------------------------------------------------------------------------------


class Types:
    """JSON Schema to the types of a language; subclasses have its words for them."""

    anything: str
    words: dict[str, str]

    def __init__(self, service: Service, name: Callable[[str], str]) -> None:
        self.components = service.components
        self.name = name

    def of(self, schema: Any) -> str:
        """Return the type that a schema describes, `anything` where that cannot be said."""
        if not isinstance(schema, dict):
            return self.anything
        if isinstance(ref := schema.get("$ref"), str):
            known = ref.removeprefix(_REF)
            return self.component(self.name(known)) if known in self.components else self.anything
        if "const" in schema:
            return self.one_of([schema["const"]])
        if isinstance(values := schema.get("enum"), list):
            return self.one_of(values)
        for word in ("anyOf", "oneOf"):
            if isinstance(members := schema.get(word), list):
                return self.union([self.of(member) for member in members])
        if isinstance(members := schema.get("allOf"), list) and len(members) == 1:
            return self.of(members[0])
        kind = schema.get("type")
        if isinstance(kind, list):
            return self.union([self.of(schema | {"type": each}) for each in kind])
        return self.of_type(kind, schema)

    def of_type(self, kind: Any, schema: Schema) -> str:
        if kind == "array":
            items = schema.get("items")
            if isinstance(items, list):
                return self.tuple_of([self.of(item) for item in items])
            return self.list_of(self.of(items))
        if kind == "object":
            values = schema.get("additionalProperties")
            return self.dict_of(self.of(values) if isinstance(values, dict) else self.anything)
        formatted = self.words.get(f"{kind} {schema.get('format')}") if isinstance(kind, str) else None
        return formatted or self.words.get(str(kind), self.anything)

    def union(self, members: list[str]) -> str:
        different = list(dict.fromkeys(members))
        return self.anything if self.anything in different else " | ".join(different)

    def one_of(self, values: list[Any]) -> str:
        raise NotImplementedError

    def component(self, name: str) -> str:
        raise NotImplementedError

    def tuple_of(self, items: list[str]) -> str:
        raise NotImplementedError

    def list_of(self, item: str) -> str:
        raise NotImplementedError

    def dict_of(self, value: str) -> str:
        raise NotImplementedError


def fields_of(schema: Schema) -> list[tuple[str, Schema, bool]] | None:
    """Return (name, schema, whether required) of the members of an object, None for another schema."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or "anyOf" in schema:
        return None
    required = schema.get("required") or ()
    return [(name, member, name in required) for name, member in properties.items()]


def refs_in(schema: Any) -> set[str]:
    """Return the names of the components that a schema refers to."""
    if isinstance(schema, list):
        return {name for item in schema for name in refs_in(item)}
    if not isinstance(schema, dict):
        return set()
    inside = {name for value in schema.values() for name in refs_in(value)}
    ref = schema.get("$ref")
    return inside | {ref.removeprefix(_REF)} if isinstance(ref, str) else inside
