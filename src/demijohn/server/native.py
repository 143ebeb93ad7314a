"""The gateway to an application that needs no environ in between."""

from __future__ import annotations

from ..message import RequestHead, ResponseMessage, Suspended
from ..typing import NativeApplication, Route
from .wsgi import Route as WSGIRoute
from .wsgi import WSGIGateway, internal_error


class NativeGateway:
    """Calls a `NativeApplication`.

    Whether a request goes the native way is asked for each: methods of the application may be replaced at any time.
    """

    def __init__(self, application: NativeApplication) -> None:
        self._native_match = application.native_match
        self._native_handle = application.native_handle
        self._native_refuses = application.native_refuses
        self._wsgi = WSGIGateway(application)  # type: ignore[arg-type]  # it is callable too, see NativeApplication

    def match(self, head: RequestHead) -> Route:
        route = self._native_match(head)
        if route is None:
            route = head.route = self._wsgi.match(head)
        return route

    def refuses(self, head: RequestHead) -> bool:
        return self._native_refuses(head)

    def handle(self, head: RequestHead) -> ResponseMessage | Suspended:
        if type(head.route) is WSGIRoute:
            return self._wsgi.handle(head)
        try:
            return self._native_handle(head)
        except BaseException:  # SystemExit too: a view's exit code is no verdict on the server
            return internal_error(head)
