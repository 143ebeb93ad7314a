"""Methods that await, each with a span of OpenTelemetry; `/spans` tells which are below which."""

from __future__ import annotations

import asyncio
from typing import Any

from awaiting import at_gate
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

app = Flask(__name__)
app.config.update(JSONRPC_OPENTELEMETRY=True, JSONRPC_SERVER_TIMING=True)
jsonrpc = JSONRPC(app, "/api", websocket=True)
meeting = asyncio.Barrier(3)


@jsonrpc.method()
async def meet(name: str) -> str:
    """Answer when three are here."""
    with trace.get_tracer("app").start_as_current_span(name):
        await meeting.wait()
        return name


@jsonrpc.method()
async def wait(path: str) -> None:
    async with at_gate(path):
        pass


@app.route("/codes")
def codes() -> list[Any]:
    return [(span.attributes or {}).get("rpc.response.status_code") for span in exporter.get_finished_spans()]


@app.route("/spans")
def spans() -> list[Any]:
    done = exporter.get_finished_spans()
    names = {span.context.span_id: (span.attributes or {}).get("jsonrpc.request.id", span.name) for span in done}
    return sorted([names[span.context.span_id], names.get(span.parent.span_id)] for span in done if span.parent)
