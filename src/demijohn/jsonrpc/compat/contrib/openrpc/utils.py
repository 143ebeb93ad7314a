"""What a method says of itself in the OpenRPC document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic

from . import typing as st


class BaseModel(pydantic.BaseModel):
    """What all models here are."""


class MethodExtendSchema(BaseModel):
    """Members of a method's description that take the place of those that are read from it."""

    name: str | None = None
    params: list[st.ContentDescriptor] | None = None
    result: st.ContentDescriptor | None = None
    tags: list[st.Tag] | None = None
    summary: str | None = None
    description: str | None = None
    external_docs: st.ExternalDocumentation | None = None
    deprecated: bool | None = None
    servers: list[st.Server] | None = None
    errors: list[st.Error] | None = None
    links: list[st.Link] | None = None
    param_structure: st.ParamStructure | None = None
    examples: list[st.ExamplePairing] | None = None
    x_security: dict[str, list[str]] | None = None


def extend_schema(
    name: str | None = None,
    params: list[st.ContentDescriptor] | None = None,
    tags: list[st.Tag] | None = None,
    summary: str | None = None,
    description: str | None = None,
    external_docs: st.ExternalDocumentation | None = None,
    result: st.ContentDescriptor | None = None,
    deprecated: bool | None = None,
    servers: list[st.Server] | None = None,
    errors: list[st.Error] | None = None,
    links: list[st.Link] | None = None,
    param_structure: st.ParamStructure | None = None,
    examples: list[st.ExamplePairing] | None = None,
    x_security: dict[str, list[str]] | None = None,
) -> Callable[..., Any]:
    """Describe the decorated method, which stays as it is; what is None here is read from the method."""
    given = dict(locals())

    def decorator(function: Any) -> Any:
        function.openrpc_method_schema = MethodExtendSchema(**given)
        return function

    return decorator
