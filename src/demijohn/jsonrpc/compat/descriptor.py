"""`rpc.describe` of a site as pydantic models."""

from __future__ import annotations

import textwrap
import typing as t
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

from .. import describe
from ..describe import DESCRIBE_METHOD_NAME as JSONRPC_DESCRIBE_METHOD_NAME
from ..describe import DESCRIBE_SERVICE_METHOD_TYPE as JSONRPC_DESCRIBE_SERVICE_METHOD_TYPE
from ..types.types import Null
from . import typing as fjt

__all__ = ["JSONRPC_DESCRIBE_METHOD_NAME", "JSONRPC_DESCRIBE_SERVICE_METHOD_TYPE", "JSONRPCServiceDescriptor"]


class _Descriptor(describe.Descriptor):
    """Describes as Flask-JSONRPC does: three quirks, which its tests know."""

    def doc(self, function: Callable[..., Any]) -> str | None:
        # The docstring as Python 3.13 has it: dedented, with the blank lines around it.
        first, newline, rest = (function.__doc__ or "").partition("\n")
        return f"{first}{newline}{textwrap.dedent(rest)}" or None

    def properties(self, hint: Any) -> Any:
        # Of a dataclass only what it adds to its bases.
        properties = super().properties(hint)
        hint = next((member for member in t.get_args(hint) if member is not type(None)), hint)
        own = hint.__annotations__ if is_dataclass(hint) else properties
        return {name: properties[name] for name in properties if name in own} if isinstance(properties, dict) else None

    def nested(self, name: str, members: Any) -> describe.Description:
        # What has members and stands in a class is Null.
        return {"name": name, "type": str(Null)}


class JSONRPCServiceDescriptor:
    """Registers `rpc.describe` with a site; `describe` is its function."""

    describe: Callable[[], fjt.ServiceDescribe]

    def __init__(self, jsonrpc_site: Any) -> None:
        self.jsonrpc_site = jsonrpc_site
        self.register(jsonrpc_site)

    def service_describe(self) -> fjt.ServiceDescribe:
        """Return the service description."""
        return fjt.ServiceDescribe.model_validate(_Descriptor(self.jsonrpc_site).service())

    def register(self, jsonrpc_site: Any) -> None:
        def rpc_describe() -> fjt.ServiceDescribe:
            return self.service_describe()

        self.describe = describe.annotate(rpc_describe, t.Annotated[fjt.ServiceDescribe, None])
        jsonrpc_site.register(JSONRPC_DESCRIBE_METHOD_NAME, self.describe)
        jsonrpc_site.describe = self.describe
