"""The errors that debug mode explains, under the module name Flask's users know them by."""

from __future__ import annotations

from .app import FormDataRoutingRedirect
from .wrappers import DebugFilesKeyError

__all__ = ["DebugFilesKeyError", "FormDataRoutingRedirect"]
