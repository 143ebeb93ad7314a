"""Answers that are compressed on their way out, and static files that were compressed beforehand."""

from __future__ import annotations

import gzip
import http.client
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from demijohn.codings import choose

APPS = Path(__file__).parents[1] / "apps"
TEXT = b"The same line again and again.\n" * 200
TARGETS = ("compressing:app", "compressing:wsgi", "compressing:asgi")
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


class Client:
    """Asks a server, each time on a connection of its own."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def ask(self, target: str, accept: str | None, method: str = "GET", **fields: str) -> tuple[Any, bytes]:
        connection = http.client.HTTPConnection("testserver")
        connection.sock = self._server.connect()
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            if accept is not None:
                fields["Accept-Encoding"] = accept
            for name, value in fields.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def as_told(self, accept: str = "gzip", **fields: str) -> Any:
        """Ask for an answer with these fields."""
        return self.ask("/as?" + urlencode({name.replace("_", "-"): value for name, value in fields.items()}), accept)[
            0
        ]


@pytest.fixture
def client_of(serve: Callable[..., Any]) -> Callable[..., Client]:
    def start(target: str = "compressing:app", *flags: str, **options: Any) -> Client:
        server = serve(target, *flags, **options)
        server.wait_until_ready()
        return Client(server)

    return start


# -- the choice ---------------------------------------------------------------------------------------

ALL = ("zstd", "br", "gzip")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0.9", "gzip"),
        ("gzip;q=0.8 , br ; q=0.9", "br"),
        ("*", "zstd"),
        ("*, zstd;q=0", "br"),
        ("gzip, *;q=0", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=0, *", "zstd"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.000", "identity"),
        ("gzip;q=2", "identity"),
        ("gzip;q=nan", "identity"),
        ("gzip;q=", "identity"),
        ("deflate", "identity"),
        ("*;q=0", "identity"),
        (",, ;q=1", "identity"),
    ],
)
def test_what_the_client_weighs_most_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose(accept, ALL) == chosen


@given(st.text(st.sampled_from("gzipbrstd*;=,q.01 \tx")))
def test_whatever_is_asked_for_there_is_an_answer(accept: str) -> None:
    assert choose(accept, ALL) in (*ALL, "identity")


def test_what_there_is_not_is_not_chosen() -> None:
    assert choose("br, gzip;q=0.1", ("gzip",)) == "gzip"
    assert choose("br", ()) == "identity"


# -- compression by the server --------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_answers_are_compressed_as_the_client_asks(client_of: Callable[..., Client], target: str) -> None:
    client = client_of(target, "--compress")
    for coding, decode in DECODERS.items():
        response, content = client.ask("/text", f"{coding}, unknown")
        assert (response.headers["Content-Encoding"], response.headers["Vary"]) == (coding, "Accept-Encoding")
        assert int(response.headers["Content-Length"]) == len(content) < len(TEXT) / 10
        assert decode(content) == TEXT
        head, nothing = client.ask("/text", coding, "HEAD")
        assert nothing == b""
        assert (head.headers["Content-Encoding"], head.headers["Vary"]) == (coding, "Accept-Encoding")
        assert "Content-Length" not in head.headers
    for accept in (None, "identity", "gzip;q=0"):
        response, content = client.ask("/text", accept)
        assert content == TEXT
        assert "Content-Encoding" not in response.headers
        assert response.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_compressed_unless_asked_for_at_the_start(client_of: Callable[..., Client], target: str) -> None:
    response, content = client_of(target).ask("/text", "gzip")
    assert content == TEXT
    assert {"Content-Encoding", "Vary"}.isdisjoint(response.headers)


@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("target", TARGETS)
def test_each_part_of_a_stream_can_be_read_when_it_was_made(
    serve: Callable[..., Any], gate: Any, target: str, coding: str
) -> None:
    server = serve(target, "--compress")
    server.wait_until_ready()
    decode = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
    }[coding]()
    connection = http.client.HTTPConnection("testserver")
    connection.sock = server.connect()
    try:
        connection.request("GET", f"/parts?gate={quote(str(gate.path))}", headers={"Accept-Encoding": coding})
        response = connection.getresponse()
        assert response.headers["Content-Encoding"] == coding
        assert response.headers["Transfer-Encoding"] == "chunked"
        text = b""
        while text != b"first part\n":
            part = response.read1()
            assert part, "the content ended before its first part could be read"
            text += decode(part)
        gate.wait_for_view()
        gate.open()
        assert decode(response.read()) == b"second part\n"
    finally:
        connection.close()


@pytest.mark.parametrize("target", TARGETS)
def test_a_stream_that_ends_early_is_not_taken_for_complete(client_of: Callable[..., Client], target: str) -> None:
    with pytest.raises(http.client.IncompleteRead):
        client_of(target, "--compress").ask("/cut", "gzip")


def test_what_an_event_loop_answers_is_compressed(client_of: Callable[..., Client]) -> None:
    response, content = client_of("compressing:app", "--compress").ask("/async", "br")
    assert response.headers["Content-Encoding"] == "br"
    assert json.loads(brotli.decompress(content)) == {"lines": [TEXT.decode()] * 100}


@pytest.mark.parametrize("coding", DECODERS)
def test_large_answers_are_compressed_in_blocks(client_of: Callable[..., Client], coding: str) -> None:
    response, content = client_of("compressing:app", "--compress").ask("/large", coding)
    assert DECODERS[coding](content) == TEXT * 100
    assert "Content-Length" not in response.headers


def test_some_answers_are_left_as_they_are(client_of: Callable[..., Client]) -> None:
    client = client_of("compressing:app", "--compress")
    assert client.as_told().headers["Content-Encoding"] == "gzip"
    for media_type in ("application/problem+json", "image/svg+xml", "application/json; charset=utf-8", "Text/CSS"):
        assert client.as_told(Content_Type=media_type).headers["Content-Encoding"] == "gzip"
    for status in ("201", "404", "500"):
        assert client.as_told(status=status).headers["Content-Encoding"] == "gzip"
    for fields in (
        {"Content_Type": "image/png"},
        {"Content_Type": "text/event-stream; charset=utf-8"},
        {"Content_Type": "application/octet-stream"},
        {"Content_Encoding": "deflate"},
        {"Content_Encoding": "identity"},
        {"Cache_Control": "public, No-Transform"},
        {"Content_Digest": "sha-256=:x:"},
        {"short": "1"},
        {"status": "206", "Content_Range": "bytes 0-6199/9000"},
        {"status": "206"},
    ):
        response = client.as_told(**fields)
        assert response.headers["Content-Encoding"] == fields.get("Content_Encoding"), fields
        assert "Vary" not in response.headers


def test_entity_tags_become_weak_and_stay_good_for_conditions(client_of: Callable[..., Client]) -> None:
    client = client_of("compressing:app", "--compress")
    plain, _ = client.ask("/tagged", None)
    assert (plain.headers["ETag"], plain.headers["Accept-Ranges"]) == ('"one"', "bytes")
    coded, _ = client.ask("/tagged", "gzip")
    assert coded.headers["ETag"] == 'W/"one"'
    assert coded.headers.get_all("Vary") == ["Cookie", "Accept-Encoding"]
    assert "Accept-Ranges" not in coded.headers
    for tag in ('W/"one"', '"one"'):
        response, content = client.ask("/tagged", "gzip", If_None_Match=tag)
        assert (response.status, response.headers["ETag"], content) == (304, tag, b"")


def test_ranges_are_of_the_content_as_it_is(client_of: Callable[..., Client]) -> None:
    response, content = client_of("compressing:app", "--compress").ask("/tagged", "gzip", Range="bytes=0-7")
    assert (response.status, content) == (206, TEXT[:8])
    assert "Content-Encoding" not in response.headers


def test_only_what_is_installed_is_offered(client_of: Callable[..., Client], tmp_path: Path) -> None:
    for name in ("brotli", "zstandard"):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    client = client_of("compressing:app", "--compress", PYTHONPATH=str(tmp_path))
    expected = "zstd" if sys.version_info >= (3, 14) else "gzip"
    assert client.ask("/text", "zstd, br, gzip")[0].headers["Content-Encoding"] == expected


# -- copies of static files ----------------------------------------------------------------------------------

CSS = b"body { margin: 2em }\n" * 300
COPIES = {"br": brotli.compress(CSS), "zstd": zstandard.compress(CSS), "gzip": gzip.compress(CSS)}
SWITCHED_ON = """
from demijohn import Flask
app = Flask(__name__)
app.config["STATIC_PRECOMPRESSED"] = True
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60
plain = Flask(__name__)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    static.mkdir()
    (static / "app.css").write_bytes(CSS)
    for suffix, coding in ((".br", "br"), (".zst", "zstd"), (".gz", "gzip")):
        (static / f"app.css{suffix}").write_bytes(COPIES[coding])
    (static / "alone.css").write_bytes(CSS)
    (static / "gone.css.gz").write_bytes(COPIES["gzip"])
    (tmp_path / "secret.css").write_bytes(CSS)
    (tmp_path / "secret.css.gz").write_bytes(COPIES["gzip"])
    (tmp_path / "site_with_copies.py").write_text(SWITCHED_ON)
    return tmp_path


@pytest.fixture
def files(client_of: Callable[..., Client], site: Path) -> Client:
    return client_of("site_with_copies:app", cwd=site)


def test_the_copy_that_the_client_wants_is_sent(files: Client) -> None:
    tags = set()
    # Twice, and the file itself first: what was answered before has no say.
    for accept, coding in [
        (None, None),
        ("gzip", "gzip"),
        ("br;q=0.5, zstd", "zstd"),
        ("*", "br"),
        ("gzip;q=0", None),
    ] * 2:
        response, content = files.ask("/static/app.css", accept)
        assert response.status == 200
        assert content == (COPIES[coding] if coding else CSS)
        assert response.headers["Content-Encoding"] == coding
        assert response.headers["Content-Type"] == "text/css; charset=utf-8"
        assert response.headers["Content-Disposition"] == "inline; filename=app.css"
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Cache-Control"] == "public, max-age=60"
        assert int(response.headers["Content-Length"]) == len(content)
        tags.add(response.headers["ETag"])
        head, nothing = files.ask("/static/app.css", accept, "HEAD")
        assert nothing == b""
        for name in ("Content-Length", "Content-Encoding", "ETag", "Vary"):
            assert head.headers[name] == response.headers[name]
    assert len(tags) == 4


def test_conditions_and_ranges_are_about_the_copy(files: Client) -> None:
    coded, _ = files.ask("/static/app.css", "gzip")
    plain, _ = files.ask("/static/app.css", None)
    for response, accept, other in ((coded, "gzip", plain), (plain, None, coded)):
        tag = response.headers["ETag"]
        again, content = files.ask("/static/app.css", accept, If_None_Match=tag)
        assert (again.status, content) == (304, b"")
        assert (again.headers["ETag"], again.headers["Vary"]) == (tag, "Accept-Encoding")
        assert files.ask("/static/app.css", accept, If_None_Match=other.headers["ETag"])[0].status == 200
    part, content = files.ask("/static/app.css", "gzip", Range="bytes=2-9", If_Range=coded.headers["ETag"])
    assert (part.status, content) == (206, COPIES["gzip"][2:10])
    assert part.headers["Content-Range"] == f"bytes 2-9/{len(COPIES['gzip'])}"
    assert (part.headers["Content-Encoding"], part.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert files.ask("/static/app.css", "gzip", Range="bytes=99999-")[0].status == 416


def test_without_copies_files_are_sent_as_ever(files: Client) -> None:
    response, content = files.ask("/static/alone.css", "gzip, br")
    assert content == CSS
    assert {"Content-Encoding", "Vary"}.isdisjoint(response.headers)
    assert files.ask("/static/gone.css", "gzip")[0].status == 404
    assert files.ask("/static/../secret.css", "gzip")[0].status == 404
    assert files.ask("/static/%2e%2e/secret.css", "gzip")[0].status == 404
    # A copy by its own name is what it always was.
    response, content = files.ask("/static/app.css.gz", "gzip")
    assert (response.headers["Content-Encoding"], content) == ("gzip", COPIES["gzip"])


def test_copies_are_not_looked_at_unless_the_application_says_so(client_of: Callable[..., Client], site: Path) -> None:
    response, content = client_of("site_with_copies:plain", cwd=site).ask("/static/app.css", "gzip, br")
    assert content == CSS
    assert {"Content-Encoding", "Vary"}.isdisjoint(response.headers)


def test_a_copy_is_not_compressed_again_and_a_file_without_one_is(client_of: Callable[..., Client], site: Path) -> None:
    client = client_of("site_with_copies:app", "--compress", cwd=site)
    response, content = client.ask("/static/app.css", "gzip")
    assert (content, response.headers.get_all("Vary")) == (COPIES["gzip"], ["Accept-Encoding"])
    assert not response.headers["ETag"].startswith("W/")
    response, content = client.ask("/static/alone.css", "gzip")
    assert (response.headers["Content-Encoding"], gzip.decompress(content)) == ("gzip", CSS)
    assert response.headers["ETag"].startswith("W/")
