"""Spans, durations and `Server-Timing` of calls: there when asked for, and nothing otherwise."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

WHY = "pip install -r requirements-dev.lock"
pytest.importorskip("opentelemetry.sdk", reason=WHY)
from opentelemetry import metrics, propagate, trace  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402

from demijohn import Flask, abort  # noqa: E402
from demijohn.jsonrpc import JSONRPC, JSONRPCError, RemoteError, quirks, rpc_client  # noqa: E402
from demijohn.jsonrpc.client import AsyncClient  # noqa: E402
from demijohn.jsonrpc.testing import AppTransport  # noqa: E402

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = int("0af7651916cd43dd8448eb211c80319c", 16)


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """What is told of spans; a process has one provider, once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    assert not trace.get_current_span().get_span_context().is_valid, "a span was left open"


def make_app(kind: Any = JSONRPC, **config: Any) -> Flask:
    app = Flask("traced")
    app.config.update(config or {"JSONRPC_OPENTELEMETRY": True})
    jsonrpc = kind(app, "/api")

    @jsonrpc.method("Math.add")
    def add(a: int, b: int = 2) -> int:
        with trace.get_tracer("mine").start_as_current_span("inner"):
            return a + b

    @jsonrpc.method("fail")
    def fail(how: str) -> int:
        if how == "error":
            raise JSONRPCError("The cellar is full", code=7)
        if how == "abort":
            abort(403)
        if how == "result":
            return "no number"  # type: ignore[return-value]
        if how == "exit":
            sys.exit(3)
        raise RuntimeError("the cellar is flooded")

    return app


def post(app: Flask, content: Any, **headers: str) -> Any:
    return app.test_client().post("/api", json=content, headers=headers)


def call(method: str, *params: Any, id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def of_calls(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]


# -- spans ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [JSONRPC, quirks.JSONRPC], ids=["", "quirks"])
def test_a_call_has_a_span_below_that_of_the_client(spans: InMemorySpanExporter, kind: Any) -> None:
    assert post(make_app(kind), call("Math.add", 1, id="x"), traceparent=PARENT).json["result"] == 3
    inner, span = spans.get_finished_spans()
    assert (span.name, span.kind, span.status.status_code) == ("Math.add", SpanKind.SERVER, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "rpc.system.name": "jsonrpc",
        "rpc.method": "Math.add",
        "jsonrpc.protocol.version": "2.0",
        "jsonrpc.request.id": "x",
    }
    assert span.parent is not None
    assert (span.parent.trace_id, format(span.parent.span_id, "x")) == (TRACE, "b7ad6b7169203331")
    assert inner.parent is not None
    assert inner.parent.span_id == span.context.span_id


def test_what_an_instrumentation_of_http_has_opened_is_the_parent(spans: InMemorySpanExporter) -> None:
    app = make_app()
    with trace.get_tracer("http").start_as_current_span("POST /api") as http:
        assert post(app, call("Math.add", 1), traceparent=PARENT).status_code == 200
    (span,) = of_calls(spans)
    assert span.parent is not None
    assert span.parent.span_id == http.get_span_context().span_id


@pytest.mark.parametrize(
    ("sent", "code", "recorded"),
    [
        (call("fail", "error"), 7, 0),
        (call("fail", "abort"), -32000, 0),
        (call("fail", "result"), -32603, 1),
        (call("fail", "exception"), -32000, 1),
        (call("fail", "exit"), -32000, 1),
        (call("fail", 1), -32602, 0),
    ],
    ids=["error", "abort", "wrong result", "exception", "exit", "wrong params"],
)
def test_a_call_that_fails_says_so(spans: InMemorySpanExporter, sent: Any, code: int, recorded: int) -> None:
    assert post(make_app(), sent).json["error"]["code"] == code
    (span,) = of_calls(spans)
    attributes = span.attributes or {}
    assert (attributes["rpc.response.status_code"], attributes["error.type"]) == (str(code), str(code))
    assert span.status.status_code is StatusCode.ERROR
    assert len(span.events) == recorded


def test_a_method_that_nobody_knows_does_not_name_the_span(spans: InMemorySpanExporter) -> None:
    post(make_app(), call("x" * 5000, id=None))
    (span,) = of_calls(spans)
    attributes = span.attributes or {}
    assert (span.name, attributes["rpc.method"], attributes["error.type"]) == ("jsonrpc", "_OTHER", "-32601")
    assert attributes["rpc.method_original"] == "x" * 100
    assert "jsonrpc.request.id" not in attributes


def test_of_a_long_id_the_span_has_the_beginning(spans: InMemorySpanExporter) -> None:
    assert post(make_app(), call("Math.add", 1, id="x" * 5000)).json["id"] == "x" * 5000
    (span,) = of_calls(spans)
    assert (span.attributes or {})["jsonrpc.request.id"] == "x" * 100


def test_each_call_of_a_batch_has_a_span_of_its_own(spans: InMemorySpanExporter) -> None:
    post(make_app(), [call("Math.add", 1), call("fail", "x", id=2), call("rpc.discover", id=3)], traceparent=PARENT)
    assert [span.name for span in of_calls(spans)] == ["Math.add", "fail", "rpc.discover"]
    assert {span.context.trace_id for span in of_calls(spans)} == {TRACE}


def test_two_applications_of_the_same_methods_make_one_span(spans: InMemorySpanExporter) -> None:
    app, other = make_app(), Flask("other")
    other.config["JSONRPC_OPENTELEMETRY"] = True
    jsonrpc = JSONRPC(app, "/again")
    jsonrpc.register(lambda: 1, "one")
    jsonrpc.init_app(other)
    assert other.test_client().post("/again", json=call("one")).json["result"] == 1
    assert len(of_calls(spans)) == 1


def test_durations_are_counted_by_method_and_error(spans: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
    post(make_app(), [call("Math.add", 1), call("Math.add", 1), call("fail", "error"), call("nope" * 100)])
    data = reader.get_metrics_data()
    assert data is not None
    ((metric,),) = [scope.metrics for resource in data.resource_metrics for scope in resource.scope_metrics]
    assert (metric.name, metric.unit) == ("rpc.server.call.duration", "s")
    counts = {
        (point.attributes["rpc.method"], point.attributes.get("error.type")): point.count
        for point in metric.data.data_points
    }
    assert counts[("Math.add", None)] >= 2
    assert counts[("fail", "7")] >= 1
    assert counts[("_OTHER", "-32601")] >= 1
    assert metric.data.data_points[0].explicit_bounds[0] == 0.005


# -- clients ----------------------------------------------------------------------------------------


def test_a_client_tells_the_server_of_its_span(spans: InMemorySpanExporter) -> None:
    with rpc_client(make_app(), tracing=True) as client:
        assert client.Math.add(1) == 3
        with pytest.raises(RemoteError):
            client.fail("error")
        with client.batch() as batch:
            batch.Math.add(1)
            batch.Math.add(2)
        client.notify("Math.add", [1])
    by_id = {span.context.span_id: span for span in spans.get_finished_spans()}
    made = [span for span in by_id.values() if span.kind is SpanKind.CLIENT]
    assert [span.name for span in made] == ["Math.add", "fail", "jsonrpc", "Math.add"]
    assert (made[1].attributes or {})["rpc.response.status_code"] == "7"
    parents = [by_id[span.parent.span_id].name for span in of_calls(spans) if span.parent]
    assert parents == ["Math.add", "fail", "jsonrpc", "jsonrpc", "Math.add"]


def test_an_asynchronous_client_does_so_too(spans: InMemorySpanExporter) -> None:
    class Transport(AppTransport):
        async def send(self, *arguments: Any) -> Any:  # type: ignore[override]
            return super().send(*arguments)

        async def close(self) -> None:  # type: ignore[override]
            pass

    async def main() -> None:
        async with AsyncClient(
            "http://localhost/api", tracing=True, transport=Transport(make_app().test_client(), "/api")
        ) as client:
            assert await client.Math.add(1) == 3

    asyncio.run(main())
    served, made = (span for span in spans.get_finished_spans() if span.kind is not SpanKind.INTERNAL)
    assert served.parent is not None
    assert served.parent.span_id == made.context.span_id


def test_propagation_is_what_the_process_has_set() -> None:
    assert "traceparent" in propagate.get_global_textmap().fields


# -- Server-Timing ----------------------------------------------------------------------------------

METRIC = r'[\w.]+(?:;desc="\d+ calls")?;dur=\d+\.\d{3}'


def test_server_timing_tells_how_long_each_method_took_and_the_batch() -> None:
    app = make_app(JSONRPC_SERVER_TIMING=True)
    (one,) = post(app, call("Math.add", 1)).headers.getlist("Server-Timing")
    assert re.fullmatch(r"Math\.add;dur=\d+\.\d{3}", one)
    batch = [call("Math.add", 1), call("Math.add", 1), call("fail", "x"), call('";evil\r\n'), call("rpc.discover")]
    (several,) = post(app, batch).headers.getlist("Server-Timing")
    parts = several.split(", ")
    assert all(re.fullmatch(METRIC, part) for part in parts), several
    assert {part.rpartition(";")[0] for part in parts} == {
        'batch;desc="5 calls"', 'Math.add;desc="2 calls"', "fail", "unknown", "rpc.discover"
    }  # fmt: skip
    assert parts[0].startswith("batch;")


def test_notifications_are_timed_and_other_answers_have_no_field() -> None:
    app = make_app(JSONRPC_SERVER_TIMING=True)
    app.add_url_rule("/", view_func=lambda: "hello")
    silent = post(app, {"jsonrpc": "2.0", "method": "Math.add", "params": [1]})
    assert silent.status_code == 204
    assert "Math.add" in silent.headers["Server-Timing"]
    assert "Server-Timing" not in app.test_client().get("/").headers
    assert "Server-Timing" not in post(app, []).headers


def test_the_field_stays_short_whatever_a_batch_calls() -> None:
    app = Flask("many")
    app.config["JSONRPC_SERVER_TIMING"] = True
    jsonrpc = JSONRPC(app, "/api")
    for number in range(100):
        jsonrpc.register(lambda: None, f"method {number}")
    value = post(app, [call(f"method {number}") for number in range(100)]).headers["Server-Timing"]
    assert value.count(",") == 20
    assert 'batch;desc="100 calls"' in value
    assert "method_" in value


# -- nothing unless asked -----------------------------------------------------------------------------

PLAIN = """
import sys
from demijohn import Flask
from demijohn.jsonrpc import JSONRPC
from demijohn.jsonrpc.client import Client
app = Flask(__name__)
jsonrpc = JSONRPC(app, "/api")
jsonrpc.register(lambda: 1, "one")
answer = app.test_client().post("/api", json={"jsonrpc": "2.0", "id": 1, "method": "one"})
assert answer.json["result"] == 1 and "Server-Timing" not in answer.headers
Client("http://localhost/api")
print([name for name in sys.modules if name.startswith("opentelemetry")], jsonrpc.jsonrpc_site.middlewares)
"""
MISSING = """
import sys
sys.modules["opentelemetry"] = None
from demijohn import Flask
from demijohn.jsonrpc import JSONRPC
app = Flask(__name__)
app.config["JSONRPC_OPENTELEMETRY"] = True
JSONRPC(app, "/api")
"""


def test_nothing_is_imported_unless_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[] []\n", done.stderr


def test_who_asks_without_the_package_is_told_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "ImportError: Spans of JSON-RPC calls need the package opentelemetry-api" in done.stderr


# -- limits of rate -----------------------------------------------------------------------------------


def test_a_method_that_is_limited_answers_429_and_when_to_come_again() -> None:
    from demijohn.shared import RateLimit

    app = Flask("limited")
    jsonrpc = JSONRPC(app, "/api")
    limit = RateLimit("memory://")

    @jsonrpc.method("search")
    @limit("2/day")
    def search(name: str) -> str:
        return name

    def few(call: Any) -> bool:
        limit.hit(call.method, most=1, period_s=86400)
        return True

    jsonrpc.register(lambda: "ordered", "order", auth=few)
    assert [post(app, call("search", "a")).json["result"] for _ in range(2)] == ["a", "a"]
    refused = post(app, call("search", "a"))
    assert (refused.status_code, refused.json["error"]["data"]["status"]) == (429, 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 86401
    in_batch = post(app, [call("order"), call("order", id=2), call("search", "b", id=3)])
    assert in_batch.status_code == 200
    assert [json.dumps(answer.get("error", {}).get("message")) for answer in in_batch.json] == [
        "null", '"Too Many Requests"', '"Too Many Requests"'
    ]  # fmt: skip


def test_an_http_error_keeps_its_header_fields() -> None:
    from werkzeug.datastructures import WWWAuthenticate
    from werkzeug.exceptions import Unauthorized

    app = Flask("guarded")

    def refuse(call: Any) -> bool:
        raise Unauthorized(www_authenticate=WWWAuthenticate("bearer"))

    JSONRPC(app, "/api").register(lambda: 1, "one", auth=refuse)
    answer = post(app, call("one"))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.content_type == "application/json"
