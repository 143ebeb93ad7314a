"""The OpenRPC document of a set of methods: names, parameters and results as JSON Schema (https://spec.open-rpc.org)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .encoding import Unserializable, encode
from .parameters import MissingHint
from .registry import Method
from .schemas import describe_types

VERSION = "1.3.2"


def document(methods: Iterable[Method], title: str, version: str, url: str) -> dict[str, Any]:
    """Return the OpenRPC document of `methods`, which are called at `url`."""
    methods = list(methods)
    types = [type_ for method in methods for type_ in _types(method)]
    schemas, components = describe_types(types)
    described = iter(schemas)
    return {
        "openrpc": VERSION,
        "info": {"title": title, "version": version},
        "servers": [{"name": "here", "url": url}],
        "methods": [_method(method, [next(described) for _ in _types(method)]) for method in methods],
        "components": {"schemas": components},
    }


def _types(method: Method) -> list[Any]:
    return [*(parameter.type for parameter in method.parameters.named), method.result_type]


def _method(method: Method, schemas: list[dict[str, Any]]) -> dict[str, Any]:
    *of_params, of_result = schemas
    parameters = method.parameters
    params = []
    for parameter, schema in zip(parameters.named, of_params, strict=True):
        if not parameter.is_required:
            schema = schema | _default(parameter.default)
        params.append({"name": parameter.name, "required": parameter.is_required, "schema": schema})
    summary, _, description = method.doc.partition("\n")
    takes_positions = not any(p.is_keyword_only and p.is_required for p in parameters.named)
    described: dict[str, Any] = {
        "name": method.name,
        "params": params,
        "paramStructure": "either" if takes_positions else "by-name",
        "result": {"name": "result", "schema": of_result},
    }
    if summary:
        described["summary"] = summary
    if description.strip():
        described["description"] = description.strip()
    # OpenRPC has no word for what *args and **kwargs take.
    if parameters.more_positions is not MissingHint:
        described["x-more-positions"] = True
    if parameters.more_names is not MissingHint:
        described["x-more-names"] = True
    return described


def _default(value: Any) -> dict[str, Any]:
    try:
        return {"default": msgspec.json.decode(encode(value))}
    except Unserializable:
        return {}
