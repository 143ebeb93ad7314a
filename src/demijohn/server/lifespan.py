"""The lifespan of an ASGI application: what it does before it serves, and after."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .asgi import ASGIGateway, Event

log = logging.getLogger("demijohn.server")

_VERSIONS = {"version": "3.0", "spec_version": "2.0"}


class StartupFailed(Exception):
    """The application cannot serve; the message is what it said."""


class Lifespan:
    """One run of the application with a scope of its own, from before the first request until after the last.

    All methods are for the event loop.
    """

    def __init__(self, gateway: ASGIGateway, is_required: bool) -> None:
        """`is_required`: an application that knows no lifespan cannot serve."""
        self._gateway = gateway
        self._is_required = is_required
        self._state: dict[str, Any] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._answer: asyncio.Future[Event] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Have the application start up. Raises StartupFailed."""
        scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self._state}
        self._task = asyncio.ensure_future(self._gateway.application(scope, self._events.get, self._send))
        try:
            answer = await self._ask("lifespan.startup")
        except Exception as error:  # the application's
            self._task = None
            if self._is_required:
                raise StartupFailed(f"{type(error).__name__}: {error}") from error
            log.info("The application has no lifespan: %s", type(error).__name__)
            return
        if answer is None:
            self._task = None
            if self._is_required:
                raise StartupFailed("the application returned without an answer to lifespan.startup")
        elif answer["type"] == "lifespan.startup.failed":
            raise StartupFailed(answer.get("message") or "it gave no reason")
        else:
            self._gateway.state = self._state

    async def stop(self) -> None:
        """Have the application shut down, when it has started up."""
        if self._task is None or self._task.done():
            return
        try:
            answer = await self._ask("lifespan.shutdown")
        except Exception as error:  # the application's
            log.error("The application failed while it shut down", exc_info=error)
            return
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            log.error("The application could not shut down: %s", answer.get("message") or "it gave no reason")

    async def _ask(self, kind: str) -> Event | None:
        """Return what the application answers; None when it returns without. Raises what it raises."""
        task = self._task
        assert task is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": kind})
        await asyncio.wait((self._answer, task), return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            return self._answer.result()
        task.result()
        return None

    async def _send(self, event: Event) -> None:
        if self._answer is None or self._answer.done():
            raise RuntimeError(f"{event['type']!r} was sent where no answer was due")
        self._answer.set_result(event)
