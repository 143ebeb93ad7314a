"""The access log: gunicorn's line or JSON, which nothing a client sends can forge."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn.environ import environ_of
from demijohn.message import Origin, RequestHead, ResponseMessage
from demijohn.server.accesslog import Answered, compile_format
from demijohn.server.settings import Settings

DEFAULT_FORMAT = Settings().access_log_format
LINE = re.compile(
    r"(?P<peer>\S+) - (?P<user>\S+) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-) '
    r'"(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
)


def answered(
    *fields: tuple[bytes, bytes],
    target: bytes = b"/",
    client: tuple[str, int] | None = ("192.0.2.7", 4711),
    content_bytes: int = 13,
    wall_s: float = 0.001,
    field_lines: bytes = b"",
    is_complete: bool = True,
) -> Answered:
    head = RequestHead("GET", target, (1, 1), list(fields), Origin(client=client))
    return Answered(head, ResponseMessage("200 OK", field_lines, b""), content_bytes, wall_s, is_complete)


def line_for(*fields: tuple[bytes, bytes], line_format: str = DEFAULT_FORMAT, **more: Any) -> str:
    return compile_format(line_format)(answered(*fields, **more))


def test_a_line_is_gunicorns() -> None:
    found = LINE.fullmatch(line_for((b"user-agent", b"curl/8"), (b"referer", b"http://a/"), target=b"/a?b=c"))
    assert found
    assert found.groupdict() == {
        "peer": "192.0.2.7",
        "user": "-",
        "request": "GET /a?b=c HTTP/1.1",
        "status": "200",
        "bytes": "13",
        "referer": "http://a/",
        "agent": "curl/8",
    }


def test_what_is_not_there_is_a_dash() -> None:
    found = LINE.fullmatch(line_for(client=None, content_bytes=0))
    assert found
    assert (found["peer"], found["bytes"], found["referer"], found["agent"]) == ("-", "-", "-", "-")


def test_the_user_of_basic_authentication_is_told_and_never_the_password() -> None:
    line = line_for((b"authorization", b"Basic " + base64.b64encode(b"ann:secret")))
    assert line.startswith("192.0.2.7 - ann [")
    assert "secret" not in line


@pytest.mark.parametrize("value", [b"Bearer abc", b"Basic", b"Basic !", b"Basic " + base64.b64encode(b":x"), b""])
def test_without_a_user_there_is_a_dash(value: bytes) -> None:
    assert line_for((b"authorization", value)).startswith("192.0.2.7 - - [")


@pytest.mark.parametrize(
    ("line_format", "line"),
    [
        ("%(m)s %(U)s %(q)s %(H)s", "GET /a%20b c=d&e HTTP/1.1"),
        ("%(T)s %(M)s %(D)s %(L)s", "1 1250 1250000 1.250000"),
        ("%(T)d|%(M)6d|%(D)012d|%(h)12s|%(h)-12s|", "1|  1250|000001250000|   192.0.2.7|192.0.2.7   |"),
        ("%(b)s %(B)s %(B)d", "- 0 0"),
        ("%(p)s", f"<{os.getpid()}>"),
        ('"%({X-Forwarded-For}i)s" %({missing}i)s', '"1.2.3.4, 5.6.7.8" -'),
        ("%({X-Id}o)s %({Content-Length}o)s %({content-type}o)s", "a7 0 text/plain"),
        ("%({REMOTE_ADDR}e)s %({wsgi.url_scheme}e)s %({nothing}e)s %({wsgi.version}e)s", "192.0.2.7 http - (1, 0)"),
        ("%(X)s 100%%", "- 100%"),
    ],
)
def test_each_atom_says_what_gunicorns_says(line_format: str, line: str) -> None:
    fields = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-for", b"5.6.7.8")]
    more: dict[str, Any] = {"target": b"/a%20b?c=d&e", "wall_s": 1.25, "content_bytes": 0}
    field_lines = b"Content-Type: text/plain\r\nX-ID:  a7\r\n"
    assert line_for(*fields, line_format=line_format, field_lines=field_lines, **more) == line


def test_what_the_application_puts_into_the_environ_can_be_logged() -> None:
    it = answered()
    environ_of(it.head)["shop.customer"] = 'an"n'
    assert compile_format('"%({shop.customer}e)s"')(it) == '"an\\"n"'


@given(
    agent=st.binary(),
    referer=st.binary(),
    target=st.binary(min_size=1),
    user=st.binary(),
    line_format=st.sampled_from([DEFAULT_FORMAT, DEFAULT_FORMAT.replace("%(a)s", "%({user-agent}i)s")]),
)
def test_whatever_is_sent_the_line_stays_one_line_with_its_parts(
    agent: bytes, referer: bytes, target: bytes, user: bytes, line_format: str
) -> None:
    authorization = b"Basic " + base64.b64encode(user + b":")
    fields = [(b"user-agent", agent), (b"referer", referer), (b"authorization", authorization)]
    line = line_for(*fields, target=target, line_format=line_format)
    assert LINE.fullmatch(line)
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("line_format", "sentence"),
    [
        ("%(Z)s", r"%\(Z\)s is not known; there are h, l, u, "),
        ("%({x y}i)s", "is not known"),
        ("%(h)d", r"%\(h\)d wants a number, and h is text: write %\(h\)s"),
        ("%(h)", r"what follows the % in '%\(h\)' is no atom; a % itself is %%"),
        ("100% %(h)s", "is no atom"),
        ("json id", "'id' is no member: write name=atom"),
        ("json id=q7", r"%\(q7\)s is not known"),
    ],
)
def test_a_format_that_cannot_be_is_refused_with_the_reason(line_format: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        compile_format(line_format)


# -- JSON -----------------------------------------------------------------------------------------


def test_json_has_numbers_as_numbers_and_null_for_what_is_not_there() -> None:
    line = line_for((b"user-agent", b"curl/8"), target=b"/a?b", wall_s=0.0012345, line_format="json", is_complete=False)
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", found.pop("time"))
    assert found == {
        "peer": "192.0.2.7",
        "user": None,
        "method": "GET",
        "target": "/a?b",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 13,
        "seconds": 0.001234,
        "complete": False,
        "referer": None,
        "user_agent": "curl/8",
        "pid": os.getpid(),
    }


def test_members_can_be_added_to_json() -> None:
    line = line_for((b"x-request-id", b"7"), line_format='json request_id={x-request-id}i us=D 100%"=b', wall_s=2.0)
    found = json.loads(line)
    assert (found["request_id"], found["us"], found['100%"']) == ("7", 2_000_000, 13)


@given(value=st.binary(), target=st.binary(min_size=1), name=st.text(string.ascii_letters + '%"\\', min_size=1))
def test_whatever_is_sent_json_stays_one_object_with_its_members(value: bytes, target: bytes, name: str) -> None:
    line = line_for((b"x", value), (b"user-agent", value), target=target, line_format=f"json {name}={{x}}i")
    assert line.isascii()
    assert line.isprintable()
    members: list[str] = []
    json.loads(line, object_pairs_hook=lambda pairs: members.extend(key for key, _ in pairs))
    usual = list(json.loads(line_for(line_format="json")))
    assert members == [*usual, *([name] if name not in usual else [])]


# -- of a running server --------------------------------------------------------------------------


@pytest.fixture
def lines_of(serve: Callable[..., Any], tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Serve the application, let `talk` do what it wants with the server, and return the lines of its access log."""

    def run(talk: Callable[[Any], object], *flags: str) -> list[dict[str, Any]]:
        path = tmp_path / "access.log"
        server = serve("plain:application", "--access-logfile", str(path), "--access-logformat", "json", *flags)
        server.wait_until_ready()
        talk(server)
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        return [json.loads(line) for line in path.read_text().splitlines()]

    return run


def exchange(server: Any, data: bytes) -> bytes:
    """Send bytes on a connection of their own and return everything that comes back."""
    with server.connect() as sock:
        sock.sendall(data)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_a_request_that_is_refused_has_its_line_too(lines_of) -> None:
    def talk(server: Any) -> None:
        exchange(server, b"GET /two-hosts HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        exchange(server, b"\x16\x03\x01 hello\r\n\r\n")
        exchange(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\nHost\r\n\r\n")

    lines = lines_of(talk)
    assert [(line["method"], line["target"], line["status"]) for line in lines] == [
        ("GET", "/two-hosts", 400),
        (None, "\x16\x03\x01 hello", 400),
        ("GET", "/", 200),
        (None, "/second", 400),
    ]
    assert all(line["bytes"] > 10 and line["peer"] == "127.0.0.1" for line in lines)


def test_a_request_that_does_not_arrive_in_time_has_its_line_with_the_time_it_took(lines_of) -> None:
    (line,) = lines_of(lambda server: exchange(server, b"GET /slow HTTP/1.1\r\nHo"), "--head-timeout", "0.3")
    assert (line["target"], line["status"]) == ("GET /slow HTTP/1.1", 408)
    assert 0.2 < line["seconds"] < 30


def test_an_answer_that_is_cut_off_has_its_line_and_says_so(lines_of) -> None:
    def talk(server: Any) -> None:
        with server.connect() as sock:
            sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(1000)

    (line,) = lines_of(talk)
    assert (line["target"], line["status"], line["complete"]) == ("/large", 200, False)
    assert line["bytes"] < 50_000_000


def test_answers_of_an_asgi_application_that_are_cut_off_have_their_line(serve, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    server = serve("asgi_plain:application", "--access-logfile", str(path), "--access-logformat", "json")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")
        assert sock.recv(1000)
    while server.get("/take").text != "Disconnected":
        pass
    exchange(server, b"GET /fail?midway HTTP/1.1\r\nHost: h\r\n\r\n")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    flood, midway = (line for line in lines if line["target"] != "/take")
    assert (flood["target"], flood["status"], flood["complete"]) == ("/flood", 200, False)
    assert flood["bytes"] > 0
    assert (midway["target"], midway["status"], midway["bytes"], midway["complete"]) == ("/fail?midway", 200, 5, False)


def test_a_format_that_cannot_be_stops_the_start_with_one_sentence(serve) -> None:
    server = serve("plain:application", "--access-logfile", "-", "--access-logformat", "%(nope)s")
    assert server.wait() == 1
    assert server.log.startswith("Error: --access-logformat cannot be used: %(nope)s is not known; there are h, l, ")
    assert "Traceback" not in server.log
