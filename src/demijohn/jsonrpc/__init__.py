"""JSON-RPC 2.0 for demijohn applications, with the names of Flask-JSONRPC; each is imported when first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..reporting import progress as progress
    from ..reporting import report as report
    from .browse import JSONRPCBrowse as JSONRPCBrowse
    from .client import AsyncClient as AsyncClient
    from .client import Client as Client
    from .client import RemoteError as RemoteError
    from .client import TransportError as TransportError
    from .endpoint import JSONRPC as JSONRPC
    from .endpoint import JSONRPCBlueprint as JSONRPCBlueprint
    from .endpoint import JSONRPCView as JSONRPCView
    from .frames import Orient as Orient
    from .mcp import Tool as Tool
    from .protocol import InternalError as InternalError
    from .protocol import InvalidParamsError as InvalidParamsError
    from .protocol import InvalidRequestError as InvalidRequestError
    from .protocol import JSONRPCError as JSONRPCError
    from .protocol import MethodNotFoundError as MethodNotFoundError
    from .protocol import ParseError as ParseError
    from .protocol import RequestCancelled as RequestCancelled
    from .protocol import ServerError as ServerError
    from .site import JSONRPCSite as JSONRPCSite
    from .testing import rpc_client as rpc_client
    from .websocket_transport import Progress as Progress

_MODULES = {
    "AsyncClient": "client",
    "Client": "client",
    "JSONRPC": "endpoint",
    "JSONRPCBlueprint": "endpoint",
    "JSONRPCBrowse": "browse",
    "JSONRPCError": "protocol",
    "JSONRPCSite": "site",
    "JSONRPCView": "endpoint",
    "InternalError": "protocol",
    "InvalidParamsError": "protocol",
    "InvalidRequestError": "protocol",
    "MethodNotFoundError": "protocol",
    "Orient": "frames",
    "ParseError": "protocol",
    "Progress": "websocket_transport",
    "RemoteError": "client",
    "RequestCancelled": "protocol",
    "ServerError": "protocol",
    "Tool": "mcp",
    "TransportError": "client",
    "progress": ".reporting",
    "report": ".reporting",
    "rpc_client": "testing",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    setattr(import_module(__name__), name, value)
    return value


def __dir__() -> list[str]:
    return sorted(_MODULES)
