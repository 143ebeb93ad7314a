"""The production HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import Settings


def serve(target: str, settings: Settings) -> int:
    """Serve the application that `target` names until a signal ends it; return the exit status. See `arbiter.serve`."""
    # Inside, for its cost: who asks for the settings alone, as `demijohn serve --help` does, needs no engine.
    from . import arbiter

    return arbiter.serve(target, settings)
