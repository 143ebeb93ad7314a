"""Conditions and ranges of requests for files (RFC 9110 §13, §14)."""

from __future__ import annotations

import os
import re
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from demijohn import Flask, Response, request

CONTENT = b"0123456789"
DATE, BEFORE, AFTER = (f"Sat, 01 Aug 2026 12:00:0{second} GMT" for second in (5, 4, 6))
ETAG = "the file's entity tag"  # stands for it below


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "file.txt").write_bytes(CONTENT)
    os.utime(folder / "file.txt", (1785585605.25,) * 2)
    return Flask("files", root_path=str(tmp_path))


def answer(app: Flask, fields: dict[str, str], method: str = "GET") -> tuple[int, bytes, str | None]:
    client = app.test_client()
    with client.get("/static/file.txt") as first:
        assert first.headers["Last-Modified"] == DATE
        told = {name: value.replace(ETAG, first.headers["ETag"]) for name, value in fields.items()}
    with client.open("/static/file.txt", method=method, headers=told) as response:
        return response.status_code, response.data, response.headers.get("Content-Range")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If-Match": ETAG}, 200),
        ({"If-Match": f'"x", {ETAG}'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-Unmodified-Since": DATE}, 200),
        ({"If-Unmodified-Since": AFTER}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": "no date"}, 200),
        ({"If-Match": ETAG, "If-Unmodified-Since": BEFORE}, 200),
        ({"If-Match": '"x"', "If-None-Match": ETAG}, 412),
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": f'"x", {ETAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": DATE}, 200),
        ({"If-None-Match": ETAG, "If-Modified-Since": BEFORE}, 304),
        ({"If-Modified-Since": DATE}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": "no date"}, 200),
    ],
)
@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-4"}], ids=["all of it", "a range"])
def test_conditions_decide_before_ranges(
    app: Flask, fields: dict[str, str], status: int, asked: dict[str, str]
) -> None:
    expected = 206 if asked and status == 200 else status
    assert answer(app, fields | asked)[0] == expected


@pytest.mark.parametrize(
    ("asked", "content", "told"),
    [
        ("bytes=0-4", b"01234", "bytes 0-4/10"),
        ("bytes=5-", b"56789", "bytes 5-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-10", CONTENT, "bytes 0-9/10"),
        ("bytes=-99", CONTENT, "bytes 0-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("Bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=0-1,20-30", b"01", "bytes 0-1/10"),
        ("bytes=,0-1, ,", b"01", "bytes 0-1/10"),
        ("bytes=0-4,2-8", b"012345678", "bytes 0-8/10"),
        ("bytes=4-5,6-,0-3", CONTENT, "bytes 0-9/10"),
        ("bytes=0-,-1", CONTENT, "bytes 0-9/10"),
    ],
)
def test_a_range_is_answered_with_that_part(app: Flask, asked: str, content: bytes, told: str) -> None:
    assert answer(app, {"Range": asked}) == (206, content, told)


@pytest.mark.parametrize(
    "asked",
    ["bytes=10-", "bytes=-0", "bytes=20-30,40-", "bytes=x", "bytes=4-2", "bytes=", "bytes=0-1,x", "bytes=0-1,4-2"],
)
def test_a_range_without_content_is_refused(app: Flask, asked: str) -> None:
    status, _, told = answer(app, {"Range": asked})
    assert (status, told) == (416, "bytes */10")


@pytest.mark.parametrize("asked", ["items=0-4", "bytes=" + ",".join(["0-"] * 500)])
def test_a_range_that_is_not_to_be_honoured_is_ignored(app: Flask, asked: str) -> None:
    assert answer(app, {"Range": asked}) == (200, CONTENT, None)


def test_ranges_are_for_get_alone(app: Flask) -> None:
    assert answer(app, {"Range": "bytes=0-4"}, method="HEAD") == (200, b"", None)


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (ETAG, 206),
        (f"W/{ETAG}", 200),
        ('"x"', 200),
        (DATE, 206),
        (BEFORE, 200),
        (AFTER, 200),
        ("no date", 200),
    ],
)
def test_if_range_holds_for_the_same_content_only(app: Flask, if_range: str, status: int) -> None:
    assert answer(app, {"Range": "bytes=0-4", "If-Range": if_range})[0] == status
    assert answer(app, {"If-Range": if_range})[0] == 200


def parts_of(response: Any) -> list[tuple[str | None, str | None, bytes]]:
    """The media type, the range and the content of each part of a `multipart/byteranges`."""
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + response.data)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    parts: Any = message.get_payload()
    return [(part["Content-Type"], part["Content-Range"], part.get_payload(decode=True)) for part in parts]


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("bytes=0-1,4-5", [("0-1", b"01"), ("4-5", b"45")]),
        ("bytes=8-,0-0", [("8-9", b"89"), ("0-0", b"0")]),
        ("bytes=-2, 0-2, 1-3", [("8-9", b"89"), ("0-3", b"0123")]),
        ("bytes=0-0,2-2,-1,30-", [("0-0", b"0"), ("2-2", b"2"), ("9-9", b"9")]),
    ],
)
def test_several_ranges_are_answered_in_parts_in_the_order_asked_for(
    app: Flask, asked: str, parts: list[tuple[str, bytes]]
) -> None:
    with app.test_client().get("/static/file.txt", headers={"Range": asked}) as response:
        assert response.status_code == 206
        assert "Content-Range" not in response.headers
        assert response.headers["Content-Length"] == str(len(response.data))
        expected = [("text/plain; charset=utf-8", f"bytes {told}/10", content) for told, content in parts]
        assert parts_of(response) == expected


def test_several_ranges_of_content_in_memory(app: Flask) -> None:
    @app.get("/memory")
    def memory() -> Response:
        response = Response(CONTENT, mimetype="application/x-digits")
        return response.make_conditional(request, accept_ranges=True, complete_length=len(CONTENT))

    with app.test_client().get("/memory", headers={"Range": "bytes=1-2,7-"}) as response:
        found = [("application/x-digits", "bytes 1-2/10", b"12"), ("application/x-digits", "bytes 7-9/10", b"789")]
        assert (response.status_code, parts_of(response)) == (206, found)


def test_several_ranges_of_what_cannot_be_read_from_anywhere_are_ignored(app: Flask) -> None:
    @app.get("/stream")
    def stream() -> Response:
        response = Response(iter([CONTENT]), mimetype="application/x-digits", direct_passthrough=True)
        return response.make_conditional(request, accept_ranges=True, complete_length=len(CONTENT))

    response = app.test_client().get("/stream", headers={"Range": "bytes=1-2,7-"})
    assert (response.status_code, response.data) == (200, CONTENT)


def test_a_condition_that_fails_decides_before_several_ranges(app: Flask) -> None:
    assert answer(app, {"Range": "bytes=0-1,4-5", "If-None-Match": "*"}) == (304, b"", None)
    assert answer(app, {"Range": "bytes=0-1,4-5", "If-Range": '"x"'}) == (200, CONTENT, None)


places = st.integers(0, 45)


@given(
    st.binary(min_size=1, max_size=40),
    st.lists(st.tuples(places, places), min_size=1, max_size=16),
)
def test_each_byte_asked_for_is_in_one_part(content: bytes, asked: list[tuple[int, int]]) -> None:
    app = Flask(__name__)
    field = "bytes=" + ",".join(f"{min(each)}-{max(each)}" for each in asked)
    with app.test_request_context(headers={"Range": field}):
        response = Response(content, mimetype="text/plain")
        wanted = {at for each in asked for at in range(min(each), max(each) + 1) if at < len(content)}
        if not wanted:
            with pytest.raises(RequestedRangeNotSatisfiable):
                response.make_conditional(request, accept_ranges=True, complete_length=len(content))
            return
        response.make_conditional(request, accept_ranges=True, complete_length=len(content))
    assert response.status_code == 206
    told = response.headers.get("Content-Range")
    parts = [(told, response.data)] if told else [part[1:] for part in parts_of(response)]
    sent: list[int] = []
    for place, data in parts:
        begin, end = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/\d+", place or "").groups())  # type: ignore[union-attr]
        assert data == content[begin : end + 1]
        sent += range(begin, end + 1)
    assert sorted(sent) == sorted(wanted)
