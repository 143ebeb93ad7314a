"""JSON Schema (draft 2020-12) of compiled types."""

from __future__ import annotations

import inspect
import typing as t
from collections.abc import Iterator

import msgspec

from .converting import Converted, Hint, Schema
from .encoding import Unserializable, encode, is_of_plain_class
from .orders import declared_orders, in_order

_ROOT: t.Final = "#/components/schemas/"


def describe_types(compiled: list[Hint]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return a JSON Schema for each compiled type, and what they refer to in `#/components/schemas`."""
    describer = _Describer()
    return describer.describe(compiled), describer.components


class _Describer:
    """The schemas of one document; classes with fields stand in its `components`, each under a name of its own."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self.names: dict[t.Any, str] = {}  # of the classes that msgspec does not describe

    def describe(self, types: list[Hint]) -> list[Schema]:
        # References are bare names until it is known whether another class of the same name has the place.
        schemas, shared = msgspec.json.schema_components(
            types, schema_hook=self.describe_converted, ref_template="{name}"
        )
        orders = declared_orders(types)
        return self.adopt(in_order(list(schemas), orders), in_order(shared, orders))

    def describe_converted(self, type_: t.Any) -> Schema:
        if not isinstance(type_, Converted):
            raise NotImplementedError
        if type_.of is None:
            schema = type_.schema(self.describe_one)
            return self.adopt([schema], schema.pop("$defs"))[0] if "$defs" in schema else schema
        key = type_.of, type_.as_written
        origin: t.Any = t.get_origin(type_.of)
        cls = origin or type_.of
        if key not in self.names:
            name = self.names[key] = self.free_name(cls.__name__)
            # The place is taken before, as a class may hold itself.
            self.components[name] = {}
            self.components[name] = type_.schema(self.describe_one) | _description(cls)
        return {"$ref": _ROOT + self.names[key]}

    def describe_one(self, type_: Hint) -> Schema:
        return self.describe([type_])[0]

    def adopt(self, schemas: list[Schema], shared: dict[str, Schema]) -> list[Schema]:
        """Take `shared` into the components, and return `schemas` with references to where they now are."""
        names = {name: name for name in shared}
        for name, schema in shared.items():
            for free in self.names_like(name):
                names[name] = free
                if self.components.get(free, resolved := _resolved(schema, names)) == resolved:
                    break
        for name, schema in shared.items():
            self.components[names[name]] = _resolved(schema, names)
        return [_resolved(schema, names) for schema in schemas]

    def free_name(self, name: str) -> str:
        return next(free for free in self.names_like(name) if free not in self.components)

    def names_like(self, name: str) -> Iterator[str]:
        return (f"{name}_{number}" if number > 1 else name for number in range(1, len(self.components) + 2))


def default_of(value: t.Any) -> Schema:
    """Return the member that tells the default of a parameter; none for what is made anew each time, or no JSON."""
    # What stands in a signature for `field(default_factory=...)` of dataclasses and attrs.
    if type(value).__name__ in ("_HAS_DEFAULT_FACTORY_CLASS", "_Nothing", "Factory"):
        return {}
    # An object of a plain class may be a client with its password in an attribute: it is nobody's to read.
    if is_of_plain_class(value):
        return {}
    try:
        return {"default": plain(value)}
    except Unserializable:
        return {}


def plain(value: t.Any) -> t.Any:
    """Return what a client gets of `value`.

    Raises Unserializable.
    """
    return msgspec.json.decode(encode(value))


def _resolved(schema: t.Any, names: dict[str, str]) -> t.Any:
    """Return a schema whose bare references lead into the components; what is resolved already stays."""
    if isinstance(schema, list):
        return [_resolved(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    resolved = {key: _resolved(value, names) for key, value in schema.items()}
    if isinstance(name := schema.get("$ref"), str) and name in names:
        resolved["$ref"] = _ROOT + names[name]
    by_tag = schema.get("mapping")
    if isinstance(by_tag, dict) and "propertyName" in schema:  # a discriminator
        resolved["mapping"] = {tag: _ROOT + str(names.get(of, of)) for tag, of in by_tag.items()}
    return resolved


def _description(cls: type) -> Schema:
    doc = inspect.cleandoc(cls.__doc__ or "")
    # A dataclass without a docstring gets its signature as one; a NamedTuple likewise.
    return {"description": doc} if doc and not doc.startswith(f"{cls.__name__}(") else {}
