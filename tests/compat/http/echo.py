"""Answers with what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    said = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["REQUEST_URI"],
        "content": environ["wsgi.input"].read().hex(),
    }
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Method", said["method"])])
    return [json.dumps(said).encode()]
