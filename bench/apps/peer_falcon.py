"""The pages with Falcon, a WSGI framework known for its speed."""

from __future__ import annotations

import falcon
from work_data import BIG


class Hello:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.content_type = falcon.MEDIA_HTML
        response.text = "Hello, World!"


class JSON:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = {"message": "Hello, World!", "count": 3, "ok": True, "items": [1, 2, 3]}


class User:
    def on_get(self, request: falcon.Request, response: falcon.Response, id: int, name: str) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.text = f"{name} is number {id} and asks for {request.get_param('q')}"


class Echo:
    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = request.get_media()


class Big:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = BIG


app = falcon.App()
app.add_route("/", Hello())
app.add_route("/json", JSON())
app.add_route("/user/{id:int}/{name}", User())
app.add_route("/echo", Echo())
app.add_route("/big", Big())
