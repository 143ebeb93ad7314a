"""Spans and durations of calls for OpenTelemetry, by its semantic conventions for RPC and JSON-RPC.

https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/. `opentelemetry-api` is imported where this module is, which
is when an application or a client asks for it; without an SDK it does nothing, and costs little.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

try:
    from opentelemetry import context, metrics, propagate, trace
except ImportError as error:
    raise ImportError(
        "Spans of JSON-RPC calls need the package opentelemetry-api: pip install 'demijohn[opentelemetry]'"
    ) from error
from opentelemetry.trace import Span, SpanKind, StatusCode
from werkzeug.exceptions import HTTPException

from ..globals import request
from .ending import as_answered
from .openrpc import DISCOVER_METHOD_NAME
from .protocol import ABSENT, VERSION, Call, InternalError, JSONRPCError, ServerError
from .registry import Registry, WrongResult

_SCOPE = "demijohn.jsonrpc"
# Both are of the conventions: what they call a method that nobody knows, and where its durations are divided.
_UNKNOWN = "_OTHER"
# Of what a client has called something, in a span.
_MOST_CHARACTERS = 100
_BOUNDARIES_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


class ServerTracing:
    """A middleware that makes a span of each call, below the one that is current or the one that the client tells."""

    def __init__(self, methods: Registry) -> None:
        self._methods = methods
        self._tracer = trace.get_tracer(_SCOPE)
        self._durations = _durations("server")

    def __call__(self, call: Call) -> Iterator[None]:
        is_known = self._methods.get(call.method) is not None or call.method == DISCOVER_METHOD_NAME
        attributes = {"rpc.system.name": "jsonrpc", "rpc.method": call.method if is_known else _UNKNOWN}
        unknown = {} if is_known else {"rpc.method_original": call.method[:_MOST_CHARACTERS]}
        more = _identity(call) | unknown
        around = _parent()
        begun = time.perf_counter()
        span = self._tracer.start_span(
            call.method if is_known else "jsonrpc", around, SpanKind.SERVER, attributes | more
        )
        token = context.attach(trace.set_span_in_context(span, around))
        try:
            yield
        except BaseException as error:
            answered = as_answered(error)
            attributes |= _failed(span, _code_of(answered), answered)
            raise
        finally:
            context.detach(token)
            span.end()
            self._durations.record(time.perf_counter() - begun, attributes)


class ClientTracing:
    """Spans of the calls that a client makes, and the header fields that tell the server of them."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer(_SCOPE)
        self._durations = _durations("client")

    @contextmanager
    def span(self, method: str | None = None) -> Iterator[None]:
        """Be inside the span of a call; of a batch when there is no method."""
        attributes = {"rpc.system.name": "jsonrpc"} | ({} if method is None else {"rpc.method": method})
        begun = time.perf_counter()
        span = self._tracer.start_span(
            method or "jsonrpc", None, SpanKind.CLIENT, attributes | {"jsonrpc.protocol.version": VERSION}
        )
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield
        except Exception as error:
            attributes |= _failed(span, getattr(error, "code", None), error)
            raise
        finally:
            context.detach(token)
            span.end()
            self._durations.record(time.perf_counter() - begun, attributes)

    def headers(self) -> dict[str, str]:
        """Return the header fields that tell of the current span."""
        fields: dict[str, str] = {}
        propagate.inject(fields)
        return fields


def _durations(side: str) -> metrics.Histogram:
    return metrics.get_meter(_SCOPE).create_histogram(
        f"rpc.{side}.call.duration",
        unit="s",
        description="Duration of JSON-RPC calls.",
        explicit_bucket_boundaries_advisory=_BOUNDARIES_S,
    )


def _parent() -> context.Context:
    """Return the context that a call is in: the current one if an HTTP span is open, else the one the client tells."""
    if trace.get_current_span().get_span_context().is_valid:
        return context.get_current()
    return propagate.extract(request.headers)


def _identity(call: Call) -> dict[str, str]:
    told = {"jsonrpc.protocol.version": VERSION}
    if call.id is not None and call.id is not ABSENT:
        told["jsonrpc.request.id"] = str(call.id)[:_MOST_CHARACTERS]
    return told


def _code_of(error: BaseException) -> int | None:
    """Return the code that a client is answered for what a method raised; None when it gets no answer of the method."""
    if isinstance(error, JSONRPCError):
        return error.code
    if isinstance(error, WrongResult):
        return InternalError.code
    return ServerError.code if isinstance(error, Exception | SystemExit) else None


def _failed(span: Span, code: int | None, error: BaseException) -> dict[str, str]:
    """Tell the span that the call failed, and return what the durations are told of it."""
    told = {"error.type": type(error).__qualname__ if code is None else str(code)}
    if code is not None:
        told["rpc.response.status_code"] = str(code)
    span.set_attributes(told)
    span.set_status(StatusCode.ERROR, str(error))
    if not isinstance(error, JSONRPCError | HTTPException):
        span.record_exception(error)
    return told
