"""Calls answered as Flask-JSONRPC answers them, where that is not what `demijohn.jsonrpc` does.

Unions of more than one type and methods without a return hint are refused; a missing argument is None and one too many
is left out; whatever TypeError a method raises is "Invalid params"; the text of an exception is told to the client.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from werkzeug.datastructures import Headers

from ...globals import current_app
from ...typing import HeadersValue
from .. import protocol, site
from ..compat.descriptor import JSONRPCServiceDescriptor
from ..compat.encoders import serializable
from ..compat.funcutils import bindfy
from ..protocol import (
    ABSENT,
    Call,
    Id,
    InvalidParamsError,
    InvalidRequestError,
    JSONRPCError,
    MethodNotFoundError,
    ParseError,
    ServerError,
)
from ..registry import Method
from ..site import (
    JSONRPC_DEFAULT_HTTP_HEADERS,
    JSONRPC_DEFAULT_HTTP_STATUS_CODE,
    JSONRPC_VERSION_DEFAULT,
    NO_HEADERS,
    Answer,
    NotificationRefused,
)
from ..types.types import AnnotatedMetadataTypeError, type_checker, type_metadata_checker

__all__ = [
    "JSONRPC_DEFAULT_HTTP_HEADERS",
    "JSONRPC_DEFAULT_HTTP_STATUS_CODE",
    "JSONRPC_VERSION_DEFAULT",
    "JSONRPCSite",
]


class JSONRPCSite(site.JSONRPCSite):
    """A site whose methods are plain functions, described by the attributes that registering left on them."""

    def __init__(self, version: str, path: str | None = None, base_url: str | None = None) -> None:
        self._view_funcs: OrderedDict[str, Callable[..., Any]] = OrderedDict()
        super().__init__(version, path, base_url)
        JSONRPCServiceDescriptor(self)

    @property
    def logger(self) -> logging.Logger:
        if not self._logger.handlers:
            self._logger.addHandler(logging.NullHandler())
        return self._logger

    @logger.setter
    def logger(self, logger: logging.Logger) -> None:
        self._logger = logger

    @property
    def view_funcs(self) -> OrderedDict[str, Callable[..., Any]]:
        return self._view_funcs

    def register(self, name: str, view_func: Callable[..., Any], **options: Any) -> None:  # type: ignore[override]
        self._view_funcs[name] = view_func
        # For the page and its OpenRPC document; calls go by the function's own attributes.
        method = _described(name, view_func)
        method.auth = getattr(view_func, "jsonrpc_options", {}).get("auth")
        self.methods.add(method, reserved=True)

    def register_reserved(self, name: str, view_func: Callable[..., Any]) -> None:
        self.register(name, view_func)

    # -- answering ------------------------------------------------------------------------------

    def batch_dispatch(self, members: list[Any]) -> Answer:
        responses, status, headers = super().batch_dispatch(members)
        return responses or [], status, headers

    def read_content(self, content: bytes, batch_limit: int | None = None) -> Any:
        try:
            return protocol.read_content(content, batch_limit)
        except ParseError:
            raise ParseError(data={"message": f"Invalid JSON: {content!r}"}) from None

    def read_call(self, member: Any) -> Call:
        try:
            return protocol.read_call(member)
        except InvalidRequestError:
            raise InvalidRequestError(data={"message": f"Invalid JSON: {member!r}"}) from None

    def dispatch(self, call: Call) -> Answer:
        view_func, method = self._view_funcs.get(call.method), self.methods.get(call.method)
        if view_func is None or method is None:
            raise MethodNotFoundError(data={"message": f"Method not found: {call.method}"})
        if call.id is ABSENT and not getattr(view_func, "jsonrpc_notification", True):
            raise NotificationRefused(call.method)
        with self._around(call, method):
            result, status, headers = self.make_response(self.handle_view_func(view_func, call.params), view_func)
        if call.id is ABSENT:
            return None, 204, headers
        return protocol.response(call.id, result), status, headers  # type: ignore[arg-type]

    def handle_view_func(self, view_func: Callable[..., Any], params: Any) -> Any:
        """Call a method; what does not fit is InvalidParamsError."""
        if not isinstance(params, list | dict):
            message = f"Parameter structures are by-position (list) or by-name (dict): {params}"
            raise InvalidParamsError(data={"message": message})
        if isinstance(params, list):
            params = dict(zip(getattr(view_func, "jsonrpc_method_params", {}), params, strict=False))
        is_validated = getattr(view_func, "jsonrpc_validate", True)
        try:
            arguments = bindfy(view_func, params)
            if is_validated:
                arguments = type_checker(view_func, arguments)
            return current_app.ensure_sync(view_func)(**arguments)
        except AnnotatedMetadataTypeError as error:
            raise _broken(error) from error
        except TypeError as error:
            current_app.logger.info("JSON-RPC: %s", error, exc_info=error)
            raise InvalidParamsError(data={"message": str(error)}) from error

    def make_response(self, returned: Any, view_func: Callable[..., Any]) -> tuple[Any, int, Any]:
        """Return (result, status, headers) of what a method returned, held to its return hint."""
        result, status, headers = self.unpack_returns(returned)
        hint = getattr(view_func, "jsonrpc_method_return", type(result))
        if getattr(view_func, "jsonrpc_validate", True) and result is not None:
            if hint is None or hint is type(None):
                message = f"return type of {type(result).__qualname__} must be a type; got NoneType instead"
                raise InvalidParamsError(data={"message": message})
            try:
                type_metadata_checker(getattr(hint, "__metadata__", ()), "return", result)
            except AnnotatedMetadataTypeError as error:
                raise _broken(error) from error
        return serializable(result), status, headers

    def unpack_returns(self, returned: Any) -> tuple[Any, int, Any]:
        """Return (value, status, headers) of what a method or a handler returned; every tuple is taken apart."""
        if not isinstance(returned, tuple) or hasattr(returned, "_fields"):
            return returned, 200, {}
        match returned:
            case (value, status, (str(name), str(text))):  # one header field, without a list around it
                return value, status, [(name, text)]
            case (value, status, headers):
                return value, status, headers
            case (value, Headers() | dict() | list() | tuple() as headers):
                return value, 200, headers
            case (value, status):
                return value, status, {}
        # Flask-JSONRPC's tests look for these words.
        message = (
            "the view function did not return a valid response tuple. The tuple must have the form"
            " (body, status, headers), (body, status), or (body, headers)."
        )
        raise ServerError(data={"message": message})

    def error_answer(self, id: Id, error: JSONRPCError, headers: HeadersValue = NO_HEADERS) -> Answer:
        response, status, headers = super().error_answer(id, error, headers)
        return serializable(response), status, headers

    def unexpected(self, call: Call, error: BaseException) -> JSONRPCError:
        answer = super().unexpected(call, error)
        answer.data = {"message": str(error)}
        return answer


def _described(name: str, view_func: Callable[..., Any]) -> Method:
    try:
        return Method(name, view_func)
    except (TypeError, NameError):
        return Method(name, view_func, validate=False)


def _broken(error: AnnotatedMetadataTypeError) -> InvalidParamsError:
    constraint = type(error.annotated).__name__
    data = {"constraint": constraint, "param": error.name, "value": error.value, "message": error.message}
    return InvalidParamsError(data=data)
