"""The production HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import Settings


def serve(target: str, settings: Settings, *, notes: Sequence[str] = ()) -> int:
    """Serve the application that `target` names until a signal ends it; return the exit status. See `arbiter.serve`."""
    # Inside, for its cost: who asks for the settings alone, as `demijohn serve --help` does, needs no engine.
    from . import arbiter

    return arbiter.serve(target, settings, notes=notes)


def check(target: str, settings: Settings) -> int:
    """Load the application as `serve` would; return 0, or the exit status `serve` would have. See `arbiter.check`."""
    from . import arbiter  # as above

    return arbiter.check(target, settings)
