"""The access log: gunicorn's line, which nothing a client sends can forge."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn.message import Origin, RequestHead, ResponseMessage
from demijohn.server.accesslog import DEFAULT_FORMAT, Answered, compile_format

LINE = re.compile(
    r"(?P<peer>\S+) - (?P<user>\S+) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-) '
    r'"(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
)


def line_for(
    *fields: tuple[bytes, bytes],
    target: bytes = b"/",
    client: tuple[str, int] | None = ("192.0.2.7", 4711),
    content_bytes: int = 13,
) -> str:
    head = RequestHead("GET", target, (1, 1), list(fields), Origin(client=client))
    return compile_format(DEFAULT_FORMAT)(Answered(head, ResponseMessage("200 OK", b"", b""), content_bytes, 0.001))


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


@given(agent=st.binary(), referer=st.binary(), target=st.binary(min_size=1), user=st.binary())
def test_whatever_is_sent_the_line_stays_one_line_with_its_parts(
    agent: bytes, referer: bytes, target: bytes, user: bytes
) -> None:
    authorization = b"Basic " + base64.b64encode(user + b":")
    line = line_for((b"user-agent", agent), (b"referer", referer), (b"authorization", authorization), target=target)
    assert LINE.fullmatch(line)
    assert line.isascii()
    assert line.isprintable()


def test_an_unknown_atom_is_refused() -> None:
    with pytest.raises(ValueError, match=r"%\(Q\)s is not known"):
        compile_format("%(Q)s")
