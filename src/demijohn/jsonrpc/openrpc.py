"""The OpenRPC document of a set of methods: names, parameters and results as JSON Schema (https://spec.open-rpc.org)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from .docstrings import Example, Told, read
from .encoding import Unserializable
from .parameters import MissingHint
from .protocol import JSONRPCError
from .registry import Method
from .schemas import default_of, describe_types, plain
from .types import methods as statements

VERSION = "1.3.2"
DISCOVER_METHOD_NAME = "rpc.discover"  # the specification's "Service Discovery Method"

Document = dict[str, Any]


def title_of(app: Any) -> str:
    """Return what the documents and the page of an application are headed with."""
    return str(app.config.get("FLASK_JSONRPC_BROWSE_TITLE") or f"{app.name} JSON-RPC")


def document(methods: Iterable[Method], title: str, version: str, url: str) -> Document:
    """Return the OpenRPC document of `methods`, which are called at `url`."""
    methods = list(methods)
    schemas, components = describe_types([type_ for method in methods for type_ in types_of(method)])
    described = iter(schemas)
    return {
        "openrpc": VERSION,
        "info": {"title": title, "version": version},
        "servers": [{"name": "here", "url": url}],
        "methods": [_method(method, [_draft7(next(described)) for _ in types_of(method)]) for method in methods],
        "components": {"schemas": {name: _draft7(schema) for name, schema in components.items()}},
    }


def types_of(method: Method) -> list[Any]:
    """Return the compiled types of a method's parameters, then that of its result."""
    return [*(parameter.type for parameter in method.parameters.named), method.result_type]


def _draft7(schema: Any) -> Any:
    """Return a schema in the words of JSON Schema draft 7, which OpenRPC has chosen: a tuple has other ones there."""
    if isinstance(schema, list):
        return [_draft7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _draft7(value) for key, value in schema.items()}
    if isinstance(schema.get("prefixItems"), list):
        rest = converted.pop("items", True)
        converted |= {"items": converted.pop("prefixItems"), "additionalItems": rest}
    return converted


def _method(method: Method, schemas: list[Document]) -> Document:
    *of_params, of_result = schemas
    told = read(method.function.__doc__)
    parameters = method.parameters
    params = [
        content_descriptor(parameter, schema, told)
        for parameter, schema in zip(parameters.named, of_params, strict=True)
    ]
    takes_positions = not any(p.is_keyword_only and p.is_required for p in parameters.named)
    examples = {shown.text: example for shown in told.examples if (example := _example(method, shown))}
    described: Document = {
        "name": method.name,
        "summary": told.summary,
        "description": _without(told.description, examples),
        "params": params,
        "paramStructure": "either" if takes_positions else "by-name",
        "result": _told({"name": "result", "schema": of_result, "description": told.returns}),
        "errors": [_told(error) for error in _errors(method, told)],
        "examples": list(examples.values()),
        "deprecated": getattr(inspect.unwrap(method.function), "__deprecated__", None) is not None or None,
        # OpenRPC has no word for what *args and **kwargs take.
        "x-more-positions": parameters.more_positions is not MissingHint or None,
        "x-more-names": parameters.more_names is not MissingHint or None,
    }
    stated = _stated(method)
    return _told(described | {name: value for name, value in stated.items() if value})


def content_descriptor(parameter: Any, schema: Document, told: Told) -> Document:
    """Return the OpenRPC description of a parameter."""
    if not parameter.is_required:
        schema = schema | default_of(parameter.default)
    description = told.params.get(parameter.name) or schema.get("description", "")
    return _told(
        {
            "name": parameter.name,
            "description": description,
            "required": parameter.is_required,
            "schema": schema,
            "deprecated": schema.get("deprecated"),
        }
    )


def _told(description: Document) -> Document:
    """Leave out what there is nothing to say of; that there are no params is said."""
    return {name: value for name, value in description.items() if name == "params" or value not in ("", None, [])}


# -- errors and examples ------------------------------------------------------------------------


def _errors(method: Method, told: Told) -> list[Document]:
    """Return the errors that the docstring names, where they are classes that say their code."""
    names: dict[str, Any] = getattr(inspect.unwrap(method.function), "__globals__", {})
    errors = []
    for name, text in told.raises.items():
        error = names.get(name.rpartition(".")[2])
        if isinstance(error, type) and issubclass(error, JSONRPCError):
            errors.append({"code": error.code, "message": error.message or text or error.__name__, "data": error.data})
    return errors


def _example(method: Method, shown: Example) -> Document | None:
    """Return the example pairing of a call in the docstring; None for another function's, or what is no JSON."""
    if shown.name not in (method.function.__name__, method.name.rpartition(".")[2]):
        return None
    positional = [parameter.name for parameter in method.parameters.positional]
    values = [*zip(positional, shown.arguments, strict=False), *shown.named.items()]
    if len(shown.arguments) > len(positional):
        return None
    call = ", ".join(f"{name}={value!r}" for name, value in values)
    try:
        params = [{"name": name, "value": plain(value)} for name, value in values]
        result = {"name": "result", "value": plain(shown.result)}
    except Unserializable:  # bytes that are no text, or `...` in the result
        return None
    return {"name": call or "without parameters", "params": params, "result": result}


def _without(description: str, shown: Iterable[str]) -> str:
    """Return a description without the examples of a docstring: they are told as such."""
    for text in shown:
        description = description.replace(text, "")
    return re.sub(r"\n\s*\n", "\n\n", description).strip()


def _stated(method: Method) -> Document:
    """Return what the statements of a `MethodAnnotated` tell; they count more than the docstring."""
    annotation = getattr(method.function, "jsonrpc_method_annotations", None)
    told: Document = {}
    for statement in getattr(annotation, "__metadata__", ()):
        match statement:
            case statements.Summary(summary):
                told["summary"] = summary
            case statements.Description(description):
                told["description"] = description
            case statements.Deprecated(deprecated):
                told["deprecated"] = deprecated
            case statements.Tag(name, summary, description):
                tag = _told({"name": name, "description": description or summary})
                told.setdefault("tags", []).append(tag)
            case statements.Error(code, message, _, data):
                told.setdefault("errors", []).append(_told({"code": code, "message": message, "data": data}))
            case statements.Example():
                told.setdefault("examples", []).append(_pairing(statement))
    return told


def _pairing(example: statements.Example) -> Document:
    pairing: Document = {"name": example.name, "description": example.description or example.summary}
    pairing["params"] = [_example_object(value) for value in example.params or ()]
    if example.returns is not None:
        pairing["result"] = _example_object(example.returns)
    return _told(pairing)


def _example_object(field: statements.ExampleField) -> Document:
    told = _told({"name": field.name, "summary": field.summary, "description": field.description})
    return told | {"value": plain(field.value)}
