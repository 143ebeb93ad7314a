"""Another application of this folder, with a view that tells what its worker has called (bench/calls.py)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any

import sitecustomize  # bench/counting, which is on PYTHONPATH when this is served


def calls() -> list[sitecustomize.Event]:
    events = list(sitecustomize.events)
    sitecustomize.events.clear()
    return events


def with_calls(application: Any) -> Any:
    """Return the application with one more page. Where it knows no routes, that is one call more for each request."""
    if hasattr(application, "route"):
        application.route("/calls")(calls)
        return application
    if iscoroutinefunction(application) or iscoroutinefunction(type(application).__call__):
        return asgi_with_calls(application)
    return wsgi_with_calls(application)


def asgi_with_calls(application: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") != "/calls":
            await application(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(calls()).encode()})

    return app


def wsgi_with_calls(application: Any) -> Callable[..., Any]:
    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/calls":
            return application(environ, start_response)
        start_response("200 OK", [])
        return [json.dumps(calls()).encode()]

    return app


module, _, attribute = os.environ["BENCH_COUNTED"].partition(":")
app = with_calls(getattr(import_module(module), attribute))
