"""The classes that JSONRPC and its blueprints use unless others are given."""

from __future__ import annotations

from ..endpoint import JSONRPCView
from ..site import JSONRPCSite

default_jsonrpc_site = JSONRPCSite
default_jsonrpc_site_api = JSONRPCView
