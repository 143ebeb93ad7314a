"""`OpenRPC(app, jsonrpc)`: `rpc.discover` with what `extend_schema` says of methods."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .....app import Flask
from ....endpoint import JSONRPC
from ...encoders import serializable
from .methods import OPENRPC_DISCOVER_METHOD_NAME, openrpc_discover_method
from .typing import OpenRPCSchema
from .wrappers import OpenRPCExtendSchemaDecoratorMixin

__all__ = ["OPENRPC_DISCOVER_METHOD_NAME", "OpenRPC"]


class OpenRPC(OpenRPCExtendSchemaDecoratorMixin):
    """Adds `rpc.discover` to an application's methods, and to those of each of its blueprints."""

    def __init__(
        self,
        app: Flask | None = None,
        jsonrpc_app: JSONRPC | None = None,
        *,
        openrpc_schema: OpenRPCSchema | None = None,
    ) -> None:
        self.jsonrpc_app = jsonrpc_app
        self.openrpc_schema = openrpc_schema
        if app is not None and jsonrpc_app is not None:
            self.init_app(app, jsonrpc_app)

    def init_app(self, app: Flask, jsonrpc_app: JSONRPC) -> None:
        """Register the method; blueprints must have been registered before."""
        site = jsonrpc_app.get_jsonrpc_site()
        blueprints = [blueprint.get_jsonrpc_site() for blueprint in jsonrpc_app.jsonrpc_apps]
        for sites in ([site, *blueprints], *[[each] for each in blueprints]):
            discover = openrpc_discover_method(sites, openrpc_schema=self.openrpc_schema)
            sites[0].register_reserved(OPENRPC_DISCOVER_METHOD_NAME, _without_nulls(discover))


def _without_nulls(discover: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(discover)
    def document() -> Any:
        return serializable(discover())

    return document
