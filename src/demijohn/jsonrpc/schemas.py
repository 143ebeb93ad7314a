"""JSON Schema (draft 2020-12) of compiled types."""

from __future__ import annotations

import typing as t

import msgspec

from .converting import Converted, Hint, Schema


def describe_types(compiled: list[Hint]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return a JSON Schema (draft 2020-12) for each compiled type, and what they refer to in `#/components/schemas`."""
    components: dict[str, Schema] = {}

    def describe(types: list[Hint]) -> list[Schema]:
        schemas, shared = msgspec.json.schema_components(
            types, schema_hook=describe_converted, ref_template="#/components/schemas/{name}"
        )
        components.update(shared)
        return list(schemas)

    def describe_converted(type_: t.Any) -> Schema:
        if not isinstance(type_, Converted):
            raise NotImplementedError
        return type_.schema(lambda inner: describe([inner])[0])

    return describe(compiled), components
