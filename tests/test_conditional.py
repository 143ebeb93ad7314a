"""Conditions and ranges of requests for files (RFC 9110 §13, §14)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demijohn import Flask

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
    ],
)
def test_a_range_is_answered_with_that_part(app: Flask, asked: str, content: bytes, told: str) -> None:
    assert answer(app, {"Range": asked}) == (206, content, told)


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=-0", "bytes=20-30,40-", "bytes=x", "bytes=4-2", "bytes="])
def test_a_range_without_content_is_refused(app: Flask, asked: str) -> None:
    status, _, told = answer(app, {"Range": asked})
    assert (status, told) == (416, "bytes */10")


@pytest.mark.parametrize("asked", ["items=0-4", "bytes=0-1,4-5", "bytes=0-1,20-30", "bytes=" + ",".join(["0-"] * 500)])
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
