"""`rpc.discover`: the OpenRPC document of sites, made of what `rpc.describe` says and `extend_schema` adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...encoders import serializable
from . import typing as st
from .utils import MethodExtendSchema, extend_schema

OPENRPC_DISCOVER_METHOD_NAME = "rpc.discover"
OPENRPC_DISCOVER_SERVICE_METHOD_TYPE = "method"

_META_SCHEMA = "https://raw.githubusercontent.com/open-rpc/meta-schema/master/schema.json"


def openrpc_discover_method(
    jsonrpc_sites: list[Any], *, openrpc_schema: st.OpenRPCSchema | None = None
) -> Callable[..., st.OpenRPCSchema]:
    """Return the function of `rpc.discover` for the methods of these sites, the first of which it is called at.

    openrpc_schema: what stands around the methods; by default, a title and the address of the first site.
    """

    def discover() -> st.OpenRPCSchema:
        first = jsonrpc_sites[0]
        around = openrpc_schema or st.OpenRPCSchema(
            info=st.Info(title=first.name, version="0.0.1"),
            servers=st.Server(url=first.base_url or first.path or "localhost"),
        )
        return around.model_copy(update={"methods": _methods(jsonrpc_sites)})

    return extend_schema(  # type: ignore[no-any-return]
        name=OPENRPC_DISCOVER_METHOD_NAME,
        description="Returns an OpenRPC schema as a description of this service",
        params=[],
        result=st.ContentDescriptor(name="OpenRPC Schema", schema=st.Schema(ref=_META_SCHEMA)),
    )(discover)


def _methods(sites: list[Any]) -> list[st.Method]:
    methods: dict[str, st.Method] = {}
    for site in sites:
        described = serializable(site.describe())["methods"]
        for name, function in site.view_funcs.items():
            extension: Any = getattr(function, "openrpc_method_schema", MethodExtendSchema())
            methods.setdefault(name, _method(described[name], extension))
    return list(methods.values())


def _method(described: dict[str, Any], extension: MethodExtendSchema) -> st.Method:
    members = {
        "name": described["name"],
        "description": described.get("description"),
        "params": [_content(field) for field in described["params"]],
        "result": _content(described["returns"]),
    }
    said = {name: getattr(extension, name) for name in type(extension).model_fields}
    return st.Method(**members | {name: value for name, value in said.items() if value is not None})


def _content(field: dict[str, Any]) -> st.ContentDescriptor:
    kind = st.SchemaDataType.from_rpc_describe_type(field["type"])
    return st.ContentDescriptor(name=field["name"], required=field.get("required"), schema=st.Schema(type=kind))
