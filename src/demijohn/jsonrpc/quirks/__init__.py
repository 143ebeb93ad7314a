"""Flask-JSONRPC with the behaviour that its own tests pin, where `demijohn.jsonrpc` does better.

`demijohn.dropin.install(quirks=True)` lets `flask_jsonrpc` mean this package. All that differs stands here.
"""

from __future__ import annotations

from .endpoint import JSONRPC, JSONRPCBlueprint, JSONRPCView

__all__ = ["JSONRPC", "JSONRPCBlueprint", "JSONRPCView"]
