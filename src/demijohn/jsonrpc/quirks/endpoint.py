"""`JSONRPC` and its kin with sites that answer as Flask-JSONRPC does, and functions that check types by themselves."""

from __future__ import annotations

import inspect
import logging
import typing as t
from collections.abc import Callable
from typing import Any

from ...app import Flask
from ...json import jsonify
from ...logging import default_handler
from ...typing import ResponseReturnValue
from ...views import MethodView
from ...wrappers import Response
from .. import endpoint, protocol
from ..compat.contrib.browse import JSONRPCBrowse
from ..protocol import JSONRPCError
from .site import JSONRPCSite
from .typecheck import typechecked

__all__ = ["JSONRPC", "JSONRPCBlueprint", "JSONRPCDecoratorMixin", "JSONRPCView"]


class JSONRPCView(MethodView):
    """The view of a site, whose answers the application's JSON provider writes."""

    def __init__(self, jsonrpc_site: JSONRPCSite) -> None:
        self.jsonrpc_site = jsonrpc_site

    def post(self) -> ResponseReturnValue:
        headers: Any
        try:
            response, status, headers = self.jsonrpc_site.dispatch_request()
        except JSONRPCError as error:
            response, status, headers = protocol.error_response(None, error.jsonrpc_format), error.status_code, {}
        if status == 204:
            return Response(status=204, headers=headers)
        answer = jsonify(response)
        answer.status_code = status
        answer.headers.update(headers)
        return answer


class JSONRPCDecoratorMixin(endpoint.JSONRPCDecoratorMixin):
    """Registers functions that hold their arguments and results to their hints, from wherever they are called."""

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger("flask_jsonrpc")

    def method(self, name: str | None = None, annotation: Any = None, **options: Any) -> Callable[..., Any]:
        def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
            known = name or getattr(function, "__name__", "<noname>")
            if _options(options)["validate"] and not _has_hints(function):
                # Flask-JSONRPC's tests look for these words.
                raise ValueError(f"no type annotations present to: {known}")
            return self.register_view_function(function, name, annotation, **options)

        return decorator

    def register_view_function(  # type: ignore[override]
        self, view_func: Callable[..., Any], name: str | None = None, annotation: Any = None, **options: Any
    ) -> Callable[..., Any]:
        endpoint.check_function(view_func)
        if asked := [option for option in _NOT_HERE if options.get(option)]:
            raise ValueError(
                f"{view_func.__qualname__!r} asks for {', '.join(asked)}, which Flask-JSONRPC with its quirks has not:"
                " call demijohn.dropin.install() without quirks=True, or register it with demijohn.jsonrpc.JSONRPC."
            )
        options = _options(options)
        hints = t.get_type_hints(view_func, include_extras=True)
        if not options["validate"]:
            names = [*inspect.signature(view_func).parameters, "return"]
            hints = {known: hints.get(known, Any) for known in names}
        function: Any = typechecked(view_func) if options["validate"] else view_func
        parameters = inspect.signature(view_func).parameters.values()
        function.jsonrpc_method_name = name or view_func.__name__
        function.jsonrpc_method_sig = dict(hints)
        function.jsonrpc_method_return = hints.pop("return", type(None))
        function.jsonrpc_method_params = hints
        function.jsonrpc_method_default_params = {p.name: p.default for p in parameters if p.default is not p.empty}
        function.jsonrpc_method_annotations = annotation
        function.jsonrpc_validate = options["validate"]
        function.jsonrpc_notification = options["notification"]
        function.jsonrpc_options = options
        self.get_jsonrpc_site().register(function.jsonrpc_method_name, function)
        return t.cast(Callable[..., Any], function)


_options = endpoint.method_options
# Options of ours that need a method that is called as we call it. Left out of account, they would be missed too late.
_NOT_HERE = ("heavy", "job", "timeout_s", "mcp")


def _has_hints(function: Callable[..., Any]) -> bool:
    hints = t.get_type_hints(function)
    return all(name in hints for name in inspect.signature(function).parameters)


class JSONRPCBlueprint(JSONRPCDecoratorMixin, endpoint.JSONRPCBlueprint):
    """Methods with a URL of their own."""

    def __init__(
        self,
        name: str,
        import_name: str,
        version: str = "1.0.0",
        jsonrpc_site: type[Any] = JSONRPCSite,
        jsonrpc_site_api: type[Any] = JSONRPCView,
    ) -> None:
        super().__init__(name, import_name, version, jsonrpc_site, jsonrpc_site_api)


class JSONRPC(JSONRPCDecoratorMixin, endpoint.JSONRPC):
    """JSON-RPC at `path` of an application."""

    browse_class = JSONRPCBrowse

    def __init__(
        self,
        app: Flask | None = None,
        path: str = "/api",
        version: str = "1.0.0",
        jsonrpc_site: type[Any] = JSONRPCSite,
        jsonrpc_site_api: type[Any] = JSONRPCView,
        enable_web_browsable_api: bool | None = None,
    ) -> None:
        super().__init__(app, path, version, jsonrpc_site, jsonrpc_site_api, enable_web_browsable_api)

    @property
    def logger(self) -> logging.Logger:
        logger = super().logger
        if not logger.handlers:
            logger.addHandler(default_handler)
        return logger


default_jsonrpc_site = JSONRPCSite
default_jsonrpc_site_api = JSONRPCView
