"""The production HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Service


def serve(service: Service, reread: Callable[[], Service] | None = None) -> int:
    """Serve an application until a signal ends it; return the exit status. See `launch.serve`."""
    # Inside, for its cost: who asks for the settings alone, as `demijohn serve --help` does, needs no engine.
    from . import launch

    return launch.serve(service, reread)


def check(service: Service) -> int:
    """Load the application as `serve` would; return 0, or the exit status `serve` would have. See `launch.check`."""
    from . import launch  # as above

    return launch.check(service)
