"""The WSGI environ of a request."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any
from wsgiref.validate import check_environ

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn.environ import FileWrapper, environ_of, split_target
from demijohn.message import Origin, RequestHead


def request(
    target: bytes = b"/",
    fields: list[tuple[bytes, bytes]] | None = None,
    content: bytes = b"",
    origin: Origin | None = None,
    method: str = "GET",
) -> RequestHead:
    fields = [(b"host", b"example.org")] if fields is None else fields
    return RequestHead(method, target, (1, 1), fields, origin or Origin(client=("192.0.2.1", 4711)), content)


def environ(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return environ_of(request(*args, **kwargs))


def test_it_has_all_that_pep_3333_asks_for() -> None:
    made = environ(b"/a?b")
    # wsgiref wants streams whose every method it knows; ours are Python's own.
    check_environ({**made, "wsgi.errors": io.StringIO()})
    assert made["REQUEST_METHOD"] == "GET"
    assert made["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert (made["SERVER_NAME"], made["SERVER_PORT"]) == ("127.0.0.1", "80")
    assert (made["REMOTE_ADDR"], made["REMOTE_PORT"]) == ("192.0.2.1", "4711")
    assert made["wsgi.input_terminated"] is True
    assert made["wsgi.file_wrapper"] is FileWrapper


def test_what_one_request_writes_into_its_environ_is_not_in_the_next_one_of_its_connection() -> None:
    origin, fields = Origin(), [(b"host", b"example.org")]
    first = environ_of(request(fields=fields, origin=origin))
    first["HTTP_HOST"] = first["framework.state"] = "changed"
    assert environ(fields=fields, origin=origin)["HTTP_HOST"] == "example.org"
    assert "framework.state" not in environ(fields=fields, origin=origin)


def test_an_authority_in_one_target_is_not_in_the_next_request() -> None:
    origin, fields = Origin(), [(b"host", b"example.org")]
    assert environ(b"http://other.example/", fields, origin=origin)["HTTP_HOST"] == "other.example"
    assert environ(b"/", fields, origin=origin)["HTTP_HOST"] == "example.org"


def test_what_proxies_tell_of_one_request_is_not_in_the_next() -> None:
    origin, fields = Origin(), [(b"host", b"example.org")]
    assert environ(fields=fields, origin=origin)["wsgi.url_scheme"] == "http"
    origin.told = lambda head: replace(origin, scheme="https") if head.target == b"/tls" else origin
    assert environ(b"/tls", fields, origin=origin)["wsgi.url_scheme"] == "https"
    assert environ(b"/", fields, origin=origin)["wsgi.url_scheme"] == "http"


@given(st.lists(st.tuples(st.sampled_from([b"/a", b"/b?c", b"/%20"]), st.booleans()), max_size=6))
def test_an_environ_is_the_same_whatever_came_before_on_the_connection(requests: list[tuple[bytes, bool]]) -> None:
    origin, one, other = Origin(client=("192.0.2.1", 1)), [(b"x-a", b"1")], [(b"x-b", b"2"), (b"x-a", b"3")]
    for target, is_one in requests:
        fields = one if is_one else other
        seen = environ(target, fields, origin=origin)
        alone = environ(target, fields, origin=Origin(client=("192.0.2.1", 1)))
        assert {**seen, "wsgi.input": None} == {**alone, "wsgi.input": None}


def test_it_is_made_once() -> None:
    head = request()
    assert environ_of(head) is environ_of(head)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/a/b?c=d&e", "/a/b", "c=d&e"),
        (b"/a%20b%2Fc?d%20e", "/a b/c", "d%20e"),
        (b"/%C3%A4", "/\xc3\xa4", ""),
        (b"/%zz%4", "/%zz%4", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"//a/b", "//a/b", ""),
        (b"http://h/a?b", "/a", "b"),
        (b"http://h", "/", ""),
        (b"http://h?b", "/", "b"),
        (b"HTTPS://h:1/a://b", "/a://b", ""),
        (b"/a://b/c", "/a://b/c", ""),
        (b"*", "*", ""),
    ],
)
def test_path_and_query_of_the_target(target: bytes, path: str, query: str) -> None:
    made = environ(target)
    assert (made["SCRIPT_NAME"], made["PATH_INFO"], made["QUERY_STRING"]) == ("", path, query)
    assert made["RAW_URI"] == made["REQUEST_URI"] == target.decode()


def test_the_authority_of_the_target_stands_in_for_host() -> None:
    assert environ(b"http://example.com:8080/")["HTTP_HOST"] == "example.com:8080"
    assert environ(b"/")["HTTP_HOST"] == "example.org"
    assert environ(b"http://example.com/", fields=[])["HTTP_HOST"] == "example.com"


def test_fields_become_keys() -> None:
    made = environ(
        fields=[(b"x-name", b"\xe4"), (b"content-type", b"text/plain"), (b"content-length", b"0"), (b"accept", b"a")]
    )
    assert made["HTTP_X_NAME"] == "\xe4"
    assert made["CONTENT_TYPE"] == "text/plain"
    assert made["CONTENT_LENGTH"] == "0"
    assert made["HTTP_ACCEPT"] == "a"
    assert "HTTP_CONTENT_TYPE" not in made
    assert "HTTP_CONTENT_LENGTH" not in made


def test_repeated_fields_are_joined() -> None:
    made = environ(fields=[(b"accept", b"a"), (b"cookie", b"a=1"), (b"accept", b"b"), (b"cookie", b"b=2")])
    assert made["HTTP_ACCEPT"] == "a,b"
    assert made["HTTP_COOKIE"] == "a=1; b=2"


def test_content_can_be_read() -> None:
    made = environ(fields=[(b"content-length", b"5")], content=b"hello")
    assert made["wsgi.input"].read() == b"hello"


def test_spooled_content_can_be_read() -> None:
    head = request(fields=[(b"transfer-encoding", b"chunked")])
    head.content, head.spool = None, io.BytesIO(b"hello")
    made = environ_of(head)
    assert made["CONTENT_LENGTH"] == "5"
    assert made["wsgi.input"].read() == b"hello"


def test_content_that_came_in_chunks_has_a_length() -> None:
    made = environ(fields=[(b"transfer-encoding", b"chunked")], content=b"hello")
    assert made["CONTENT_LENGTH"] == "5"


def test_a_unix_socket_has_no_peer_and_still_a_server_name() -> None:
    made = environ(origin=Origin("https", None, ("/run/app.sock", None)))
    assert (made["SERVER_NAME"], made["SERVER_PORT"], made["REMOTE_ADDR"]) == ("localhost", "443", "")
    assert "REMOTE_PORT" not in made


@given(st.binary())
def test_no_target_raises(target: bytes) -> None:
    authority, path, query = split_target(target)
    assert authority is None or target.startswith(target.partition(b"://")[0] + b"://" + authority)
    assert len(path) + len(query) <= len(target) + 1


def test_a_file_wrapper_gives_the_file_in_blocks_and_closes_it() -> None:
    file = io.BytesIO(b"abcde")
    wrapper = FileWrapper(file, 2)
    assert list(wrapper) == [b"ab", b"cd", b"e"]
    wrapper.close()
    assert file.closed
