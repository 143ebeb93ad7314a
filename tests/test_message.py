"""What an application may answer, before it becomes bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn.message import BadResponse, response_message, response_message_of_bytes


@pytest.mark.parametrize(
    "status", ["", "20", "2000 OK", "abc OK", "٢٠٠ ok", "200\r\nX: y", "200 a\0b", "200 a\tb", "299 €uro"]
)
def test_a_status_that_would_break_the_message_is_refused(status: str) -> None:
    with pytest.raises(BadResponse, match="status"):
        response_message(status, [], b"")


@pytest.mark.parametrize("status", ["200 OK", "200", "299 Très bien"])
def test_a_reason_is_free_text(status: str) -> None:
    assert response_message(status, [], b"").status == status


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nY: b"), ("X", "a\nb"), ("X", "\0"), ("X Y", "a"), ("", "a"), ("X:", "a"), ("X", "€")],
)
def test_a_field_that_would_break_the_message_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadResponse):
        response_message("200 OK", [(name, value)], b"")


def test_framing_is_left_to_the_server() -> None:
    headers = [("Content-Length", "3"), ("Connection", "close"), ("Transfer-Encoding", "chunked"), ("X", "y")]

    message = response_message("200 OK", headers, [b"abc"])

    assert (message.field_lines, message.content_length) == (b"X: y\r\n", 3)


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_whatever_is_answered_is_refused_or_made_of_whole_lines(status: str, headers: list[tuple[str, str]]) -> None:
    try:
        message = response_message(status, headers, b"")
    except BadResponse:
        return
    message.status.encode("latin-1")
    lines = message.field_lines.split(b"\r\n")
    assert lines.pop() == b""
    assert all(b":" in line and b"\n" not in line and b"\r" not in line for line in lines)


def test_a_field_is_encoded_alike_each_time() -> None:
    for _ in range(2):
        message = response_message("200 OK", [("X-A", "1"), ("Set-Cookie", "a=b"), ("Content-Length", "3")], b"abc")
        assert (message.field_lines, message.content_length) == (b"X-A: 1\r\nSet-Cookie: a=b\r\n", 3)
        message = response_message("200 OK", [("Server", "mine"), ("Connection", "close"), ("x-a", "1")], b"")
        assert (message.field_lines, message.own_fields) == (b"Server: mine\r\nx-a: 1\r\n", frozenset({b"server"}))


def test_pairs_may_be_lists_and_values_that_are_equal_may_look_different() -> None:
    for value in ("1", 1, True, 1.0):
        pairs: list[Any] = [("X-Equal", value), ["X-Equal", value]]
        assert response_message("200 OK", pairs, b"").field_lines == f"X-Equal: {value}\r\n".encode() * 2


def test_more_lines_than_are_kept_are_encoded_all_the_same() -> None:
    for number in range(3000):
        assert response_message("200 OK", [("X-N", str(number))], b"").field_lines == b"X-N: %d\r\n" % number


# -- as ASGI has them --------------------------------------------------------------------------------


@given(st.text(), st.lists(st.tuples(st.binary(), st.binary()), max_size=3))
def test_whatever_is_answered_in_bytes_is_refused_or_made_of_whole_lines(
    status: str, headers: list[tuple[bytes, bytes]]
) -> None:
    try:
        message = response_message_of_bytes(status, headers, b"")
    except BadResponse:
        return
    message.status.encode("latin-1")
    lines = message.field_lines.split(b"\r\n")
    assert lines.pop() == b""
    assert all(b":" in line and b"\n" not in line and b"\r" not in line for line in lines)


@given(st.lists(st.tuples(st.sampled_from([b"x-a", b"X-A", b"date"]), st.sampled_from([b"1", b"2", b"1\r\n"]))))
def test_fields_of_bytes_are_encoded_or_refused_alike_each_time(headers: list[tuple[bytes, bytes]]) -> None:
    for _ in range(2):
        if any(b"\n" in value for _, value in headers):
            with pytest.raises(BadResponse, match="CR, LF, NUL"):
                response_message_of_bytes("200 OK", headers, b"")
        else:
            message = response_message_of_bytes("200 OK", headers, b"")
            assert message.field_lines == b"".join(b"%b: %b\r\n" % pair for pair in headers)
            assert message.own_fields == {name for name, _ in headers if name == b"date"}


def test_fields_of_bytes_may_be_lists_and_of_other_types_that_hold_bytes() -> None:
    for kind in (bytes, bytearray, memoryview):
        pairs: list[Any] = [(b"x-kind", kind(b"1")), [b"x-kind", kind(b"1")]]
        assert response_message_of_bytes("200 OK", pairs, b"").field_lines == b"x-kind: 1\r\n" * 2
    assert response_message("200 OK", [("x-kind", "1")], b"").field_lines == b"x-kind: 1\r\n"


@pytest.mark.parametrize("char", [chr(code) for code in (*range(9), *range(10, 32), 127)])
def test_a_field_value_holds_no_control_character_but_the_tab(char: str) -> None:
    with pytest.raises(BadResponse, match="control character"):
        response_message("200 OK", [("X-A", f"a{char}b")], b"")
    with pytest.raises(BadResponse, match="control character"):
        response_message_of_bytes("200 OK", [(b"x-a", f"a{char}b".encode())], b"")


def test_a_field_value_may_hold_tabs_and_characters_of_iso_8859_1() -> None:
    assert response_message("200 OK", [("X-A", "a\tb\xe4\x80")], b"").field_lines == b"X-A: a\tb\xe4\x80\r\n"
    assert response_message_of_bytes("200 OK", [(b"x-a", b"a\tb\xe4\x80")], b"").field_lines == b"x-a: a\tb\xe4\x80\r\n"


def test_two_content_lengths_have_to_be_the_same() -> None:
    assert response_message("200 OK", [("Content-Length", "3")] * 2, b"abc").content_length == 3
    assert response_message_of_bytes("200 OK", [(b"content-length", b"3")] * 2, b"abc").content_length == 3
    with pytest.raises(BadResponse, match="two Content-Lengths, 3 and 4"):
        response_message("200 OK", [("Content-Length", "3"), ("Content-Length", "4")], b"abc")
    with pytest.raises(BadResponse, match="two Content-Lengths, 3 and 4"):
        response_message_of_bytes("200 OK", [(b"content-length", b"3"), (b"content-length", b"4")], b"abc")
