"""Ranges of files, over a socket."""

from __future__ import annotations

from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

APP = """
from demijohn import Flask, send_file

app = Flask(__name__)


@app.get("/file")
def file():
    return send_file("large.bin")
"""
CONTENT = b"".join(b"%07d\n" % number for number in range(50_000))


@pytest.fixture
def files(serve: Any, tmp_path: Path) -> Any:
    (tmp_path / "files.py").write_text(APP)
    (tmp_path / "large.bin").write_bytes(CONTENT)
    server = serve("files:app", cwd=tmp_path)
    server.wait_until_ready()
    return server


@pytest.mark.parametrize(
    ("asked", "begin", "end"), [("0-0", 0, 1), ("300000-", 300_000, 400_000), ("-9", 399_991, 400_000)]
)
def test_a_range_of_a_file(files: Any, asked: str, begin: int, end: int) -> None:
    answer = files.get("/file", Range=f"bytes={asked}")
    assert answer.status == 206
    assert answer.text.encode() == CONTENT[begin:end]


def test_several_ranges_of_a_file(files: Any) -> None:
    answer = files.get("/file", Range="bytes=399990-,8-15,100000-299999")
    assert answer.status == 206
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n"
    parts: Any = BytesParser().parsebytes((head + answer.text).encode()).get_payload()
    assert [part["Content-Range"] for part in parts] == [
        "bytes 399990-399999/400000",
        "bytes 8-15/400000",
        "bytes 100000-299999/400000",
    ]
    found = [part.get_payload(decode=True) for part in parts]
    assert found == [CONTENT[399_990:], CONTENT[8:16], CONTENT[100_000:300_000]]
