"""What `rpc.describe` answers: a site's methods in the words of Flask-JSONRPC's service description.

`openrpc` describes the same by a standard, and in more detail.
"""

from __future__ import annotations

import inspect
import typing as t
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Protocol
from uuid import UUID

from .types import methods, params
from .types.types import Array, Object, Types, propertify

DESCRIBE_METHOD_NAME = "rpc.describe"
DESCRIBE_SERVICE_METHOD_TYPE = "method"
SUMMARY = "RPC Describe"
DESCRIPTION = "Service description for JSON-RPC 2.0"

Description = dict[str, Any]


class Site(Protocol):
    """What is described."""

    name: str
    version: str
    uuid: UUID
    path: str | None
    base_url: str | None

    @property
    def view_funcs(self) -> Mapping[str, Callable[..., Any]]: ...


class ServiceDescribe(t.TypedDict):
    """What `rpc.describe` returns."""

    id: str
    name: str
    version: str
    servers: list[dict[str, str]]
    methods: dict[str, dict[str, Any]]


class Descriptor:
    """Describes a site; members that there is nothing to say of are left out."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def service(self) -> Description:
        """Return the service description."""
        site = self.site
        return {
            "id": f"urn:uuid:{site.uuid}",
            "name": site.name,
            "version": site.version,
            "servers": [{"url": site.base_url or site.path or ""}],
            "methods": {name: self.method(name, function) for name, function in site.view_funcs.items()},
        }

    def method(self, name: str, function: Callable[..., Any]) -> Description:
        """Return the description of a method, from what registering left on its function."""
        annotation = getattr(function, "jsonrpc_method_annotations", None)
        hints = getattr(function, "jsonrpc_method_params", {})
        told = _told_of_method(annotation.__metadata__ if annotation is not None else ())
        described = {
            "name": name,
            "type": DESCRIBE_SERVICE_METHOD_TYPE,
            "description": self.doc(function),
            "validation": getattr(function, "jsonrpc_validate", True),
            "notification": getattr(function, "jsonrpc_notification", True),
            "params": [self.field(parameter, hint) for parameter, hint in hints.items()],
            "returns": self.field("default", getattr(function, "jsonrpc_method_return", None)),
        }
        return _said(described | told)

    def doc(self, function: Callable[..., Any]) -> str | None:
        """Return the docstring, dedented, without blank lines around it."""
        return inspect.getdoc(function)

    def field(self, name: str, hint: Any) -> Description:
        """Return the description of a parameter, a member or a result."""
        statements: tuple[Any, ...] = getattr(hint, "__metadata__", ())
        base = t.get_args(hint)[0] if statements else hint
        known = next((kind for kind in Types if kind.check_type(base)), None)
        field: Description = {"name": name, "type": str(known or Object)}
        if known is None:
            field["properties"] = self.members(self.properties(base))
        for statement in statements:
            field |= self._told(statement)
        examples = [statement.value for statement in statements if isinstance(statement, params.Example)]
        return _said(field | {"examples": examples or None})

    def _told(self, statement: Any) -> Description:
        if isinstance(statement, params.Properties):
            return {"properties": self.members(statement.annotations)}
        is_told = isinstance(statement, params.BaseAnnotatedMetadata) and not isinstance(statement, params.Example)
        if is_told and is_dataclass(statement):
            return {field.name: getattr(statement, field.name) for field in fields(statement)}
        return {}

    def properties(self, hint: Any) -> Any:
        """Return the members of a class by their names, or what else `propertify` gives."""
        return propertify(hint).annotations

    def members(self, annotations: Any) -> Description | None:
        """Return the descriptions of an object's members by their names, or None when nothing is known of them."""
        if not isinstance(annotations, dict) or not annotations:
            return None
        return {name: self.member(name, annotation) for name, annotation in annotations.items()}

    def member(self, name: str, annotation: Any) -> Description:
        if isinstance(annotation, params.Properties):
            return _said({"name": name, "type": str(Object), "properties": self.members(annotation.annotations)})
        if isinstance(annotation, dict | list):
            return _said(self.nested(name, annotation))
        return self.field(name, annotation)

    def nested(self, name: str, members: Any) -> Description:
        """Return the description of a member that has members of its own: those of a class, or a list's items."""
        if isinstance(members, list):
            return {"name": name, "type": str(Array)}
        if any(key.startswith("<JSONRPCType:") for key in members):
            return {"name": name, "type": str(Object)}
        return {"name": name, "type": str(Object), "properties": self.members(members)}


def _told_of_method(statements: tuple[Any, ...]) -> Description:
    told: Description = {}
    for statement in statements:
        match statement:
            case methods.Summary(summary):
                told["summary"] = summary
            case methods.Description(description):
                told["description"] = description
            case methods.Deprecated(deprecated):
                told["deprecated"] = deprecated
            case methods.Tag(name):
                told.setdefault("tags", []).append(name)
            case methods.Error(code, message, status_code, data):
                error = {"code": code, "message": message, "data": data, "status_code": status_code}
                told.setdefault("errors", []).append(_said(error))
            case methods.Example():
                told.setdefault("examples", []).append(_example(statement))
    return told


def _example(example: methods.Example) -> Description:
    described: Description = {name: getattr(example, name) for name in ("name", "summary", "description")}
    if example.params is not None:
        described["params"] = [_example_field(field) for field in example.params]
    if example.returns is not None:
        described["returns"] = _example_field(example.returns)
    return _said(described)


def _example_field(field: methods.ExampleField) -> Description:
    return _said({name: getattr(field, name) for name in ("name", "summary", "description")}) | {"value": field.value}


def _said(description: Description) -> Description:
    return {name: value for name, value in description.items() if value is not None}


def annotate(function: Any, returns: Any) -> Any:
    """Leave on the function of `rpc.describe` what registering leaves on others, and return it."""
    function.jsonrpc_method_name = DESCRIBE_METHOD_NAME
    function.jsonrpc_method_sig = {"return": returns}
    function.jsonrpc_method_return = returns
    function.jsonrpc_method_params = {}
    function.jsonrpc_method_annotations = methods.MethodAnnotated[
        methods.Summary(SUMMARY),
        methods.Description(DESCRIPTION),
        methods.Validate(False),
        methods.Notification(False),
    ]
    function.jsonrpc_validate = False
    function.jsonrpc_notification = False
    function.jsonrpc_options = {"notification": False, "validate": False}
    return function
