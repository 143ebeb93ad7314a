"""Applications of Falcon and of Pyramid."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
from pyramid.config import Configurator
from pyramid.response import Response


class Item:
    def on_get(self, request: falcon.Request, response: falcon.Response, number: int) -> None:
        response.media = {"number": number, "name": request.get_param("name")}

    def on_post(self, request: falcon.Request, response: falcon.Response, number: int) -> None:
        response.media = {"size": len(request.bounded_stream.read())}


class AwaitedItem:
    async def on_get(self, request: Any, response: Any, number: int) -> None:
        response.media = {"number": number, "name": request.get_param("name")}

    async def on_post(self, request: Any, response: Any, number: int) -> None:
        response.media = {"size": len(await request.stream.read())}


falcon_wsgi = falcon.App()
falcon_wsgi.add_route("/items/{number:int}", Item())
falcon_asgi = falcon.asgi.App()
falcon_asgi.add_route("/items/{number:int}", AwaitedItem())


def item(request: Any) -> Any:
    if request.method == "POST":
        return {"size": len(request.body)}
    return {"number": int(request.matchdict["number"]), "name": request.GET.get("name")}


def fail(request: Any) -> Response:
    raise ZeroDivisionError("nobody handles this")


def make_pyramid() -> Any:
    with Configurator() as config:
        config.add_route("item", "/items/{number}")
        config.add_view(item, route_name="item", renderer="json")
        config.add_route("fail", "/fail")
        config.add_view(fail, route_name="fail")
        return config.make_wsgi_app()
