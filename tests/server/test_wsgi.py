"""The gateways: what applications may do by PEP 3333, and what becomes of what they must not."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from demijohn.environ import FileWrapper
from demijohn.message import Origin, RequestHead, ResponseMessage
from demijohn.server.native import NativeGateway
from demijohn.server.wsgi import WSGIGateway

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
PLAIN = [("Content-Type", "text/plain")]


def request(target: bytes = b"/", method: str = "GET", content: bytes = b"") -> RequestHead:
    fields = [(b"host", b"example.org"), (b"content-length", b"%d" % len(content))]
    return RequestHead(method, target, (1, 1), fields, Origin(client=("192.0.2.1", 1)), content)


def call(application: Application, head: RequestHead | None = None) -> ResponseMessage:
    gateway = WSGIGateway(application)
    head = head or request()
    gateway.match(head)
    return gateway.handle(head)


def content_of(message: ResponseMessage) -> bytes:
    content = message.content if isinstance(message.content, bytes) else b"".join(message.content)
    if message.close is not None:
        message.close()
    return content


def test_a_validated_application_is_served() -> None:
    @validator
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", PLAIN)
        return [environ["wsgi.input"].read(5), environ["PATH_INFO"].encode()]

    message = call(application, request(b"/a", "POST", b"hello"))
    assert message.status == "200 OK"
    assert message.field_lines == b"Content-Type: text/plain\r\n"
    assert content_of(message) == b"hello/a"


def test_a_list_is_whole_content() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [*PLAIN, ("Content-Length", "6"), ("Connection", "close")])
        return [b"abc", b"", b"def"]

    message = call(application)
    assert message.content == b"abcdef"
    assert message.content_length == 6
    assert b"Connection" not in message.field_lines


class Told(list[str]):
    """An iterable of one part, as frameworks answer, that notes what is done with it."""

    def parts(self, *parts: bytes) -> Iterator[bytes]:
        for part in parts:
            self.append(f"gave {part.decode()}")
            yield part
        self.append("ended")

    def application(self, length: int, *parts: bytes) -> Application:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            start_response("200 OK", [*PLAIN, ("Content-Length", str(length))])
            return Closing(self.parts(*parts), lambda: self.append("closed"))

        return application


class Closing:
    def __init__(self, parts: Iterator[bytes], close: Callable[[], None]) -> None:
        self._parts = parts
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self._parts


def test_a_first_part_that_is_all_there_is_goes_out_before_the_iterable_ends() -> None:
    told = Told()
    message = call(told.application(3, b"", b"abc"))
    assert message.content == b"abc"
    assert told == ["gave ", "gave abc"]
    assert message.close is not None
    message.close()
    assert told == ["gave ", "gave abc", "ended", "closed"]


def test_what_comes_after_all_that_was_declared_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    assert content_of(call(told.application(3, b"abc", b"d", b"e"))) == b"abc"
    assert told == ["gave abc", "gave d", "closed"]
    assert "longer than its Content-Length" in caplog.text


class Held:
    """An iterable that holds its parts, as Django's responses do."""

    def __init__(self, parts: list[Any] | tuple[Any, ...]) -> None:
        self.parts = parts
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts)

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("parts", [[b"abc", b"", b"def"], (b"abcdef",), [], [b""]])
def test_parts_that_are_all_held_go_out_as_one_before_they_are_closed(parts: list[bytes]) -> None:
    held = Held(parts)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return held

    message = call(application)
    assert message.content == b"".join(parts)
    assert not held.closed
    assert content_of(message) == b"".join(parts)
    assert held.closed == 1


def test_what_was_written_goes_out_before_parts_that_are_held() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)(b"written ")
        return Held([b"abc", b"def"])

    assert content_of(call(application)) == b"written abcdef"


def test_held_parts_that_are_no_bytes_are_closed_and_answered_500(caplog: pytest.LogCaptureFixture) -> None:
    held = Held([b"abc", "def"])

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return held

    assert call(application).status.startswith("500")
    assert held.closed == 1
    assert "bytes-like object, str found" in caplog.text


def test_a_first_part_that_is_less_than_was_declared_is_not_all() -> None:
    told = Told()
    message = call(told.application(3, b"ab", b"c"))
    assert content_of(message) == b"abc"
    assert told == ["gave ab", "gave c", "ended", "closed"]


def test_what_is_written_comes_before_what_is_returned() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"a")
        write(b"b")
        return iter([b"c", b"d"])

    assert content_of(call(application)) == b"abcd"


def test_what_is_written_may_be_all() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)(b"a")
        return []

    assert content_of(call(application)) == b"a"


MEGABYTE = bytes(range(256)) * 4096


def test_much_that_is_written_is_not_kept_in_memory() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        for _ in range(3):
            write(MEGABYTE)
        return []

    message = call(application)
    assert isinstance(message.content, FileWrapper)
    assert b"".join(message.content) == MEGABYTE * 3
    assert message.close is not None
    message.close()
    assert message.content.filelike.closed


def test_much_that_is_written_comes_before_what_is_returned() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        write(MEGABYTE)
        write(b"and")
        return [b"", b"more"]

    assert content_of(call(application)) == MEGABYTE + b"andmore"


def test_what_is_written_between_parts_comes_between_them() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"a")
        yield b"b"
        write(b"c")
        yield b"d"
        write(b"e")

    assert content_of(call(application)) == b"abcde"


def test_only_bytes_can_be_written() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)("text")
        return []

    assert call(application).status == "500 Internal Server Error"


def test_a_generator_may_start_its_response_with_its_first_part() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        yield b""
        start_response("201 Created", PLAIN)
        yield b"a"
        yield b"b"

    message = call(application)
    assert message.status == "201 Created"
    assert content_of(message) == b"ab"


def test_later_parts_are_made_when_they_are_asked_for() -> None:
    made = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        for part in (b"a", b"b", b"c"):
            made.append(part)
            yield part

    message = call(application)
    assert made == [b"a"]
    assert content_of(message) == b"abc"


def test_an_error_before_the_first_part_replaces_the_response() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("X-First", "yes")])
        try:
            raise ValueError("late")
        except ValueError:
            start_response("503 Service Unavailable", PLAIN, sys.exc_info())
        return [b"sorry"]

    message = call(application)
    assert message.status == "503 Service Unavailable"
    assert message.field_lines == b"Content-Type: text/plain\r\n"


def test_an_error_after_the_first_part_comes_back_from_start_response() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"a"
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Oh No", PLAIN, sys.exc_info())

    message = call(application)
    assert message.status == "200 OK"
    with pytest.raises(ValueError, match="late"):
        content_of(message)


def test_close_is_left_to_the_server() -> None:
    class Closing(list[bytes]):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    content = Closing([b"a"])

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return content

    message = call(application)
    assert content.closed == 0
    assert content_of(message) == b"a"
    assert content.closed == 1


def test_a_file_wrapper_reaches_the_server_as_it_is() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"abc"), 2)
        return wrapped

    message = call(application)
    assert isinstance(message.content, FileWrapper)
    assert content_of(message) == b"abc"


def raises(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise ValueError("a secret")


def exits(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    sys.exit(3)


def forgets(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return [b"a"]


def starts_twice(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"a"]


def splits(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("A", "b\r\nSet-Cookie: c")])
    return [b"a"]


def says_nonsense(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("OK", PLAIN)
    return [b"a"]


def gives_text(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", PLAIN)
    return ["text"]


def yields_text(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", PLAIN)
    yield "text"


def returns_none(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", PLAIN)


@pytest.mark.parametrize(
    "application",
    [raises, exits, forgets, starts_twice, splits, says_nonsense, gives_text, yields_text, returns_none],
)
def test_an_application_that_fails_is_answered_for_and_logged(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    message = call(application, request(b"/fails?a"))
    assert message.status == "500 Internal Server Error"
    assert b"secret" not in content_of(message)
    (record,) = caplog.records
    assert record.getMessage() == "The application failed on GET /fails?a"
    assert record.exc_info is not None


def test_a_response_that_cannot_be_sent_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    class Closing(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("A", "b\n")])
        return Closing([b"a"])

    assert call(application).status == "500 Internal Server Error"
    assert closed == [True]


# -- routes ------------------------------------------------------------------------------------------------


def test_a_path_keeps_its_route_whatever_the_query() -> None:
    gateway = WSGIGateway(forgets)
    assert gateway.match(request(b"/a?b")) is gateway.match(request(b"/a?c"))
    assert gateway.match(request(b"/a")) is not gateway.match(request(b"/b"))


def test_a_new_path_is_expected_to_take_as_long_as_the_last_new_one() -> None:
    gateway = WSGIGateway(forgets)
    gateway.match(request(b"/user/1")).wall_s = 0.5
    assert gateway.match(request(b"/user/2")).wall_s == 0.5


def test_routes_do_not_grow_with_what_peers_ask_for() -> None:
    gateway = WSGIGateway(forgets)
    routes = {id(gateway.match(request(b"/%d" % number))) for number in range(5000)}
    assert len(routes) > 1
    assert len(gateway._routes) <= 1024


# -- the native gateway ------------------------------------------------------------------------------------------


class Native:
    """Answers /native without an environ, the rest by WSGI."""

    class Route:
        wall_s = 0.0

    route = Route()

    def native_match(self, head: RequestHead) -> Route | None:
        if not head.target.startswith(b"/native"):
            return None
        head.route = self.route
        return self.route

    def native_refuses(self, head: RequestHead) -> bool:
        return False

    def native_handle(self, head: RequestHead) -> ResponseMessage:
        if head.target == b"/native/exit":
            sys.exit(4)
        return ResponseMessage("200 OK", b"", b"native")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return [b"wsgi " + environ["PATH_INFO"].encode()]


def native_answer(target: bytes) -> ResponseMessage:
    gateway = NativeGateway(Native())
    head = request(target)
    gateway.match(head)
    return gateway.handle(head)


def test_a_native_application_gets_the_request_itself() -> None:
    assert content_of(native_answer(b"/native")) == b"native"


def test_what_a_native_application_does_not_match_comes_to_it_by_wsgi() -> None:
    assert content_of(native_answer(b"/other")) == b"wsgi /other"


def test_what_a_native_application_lets_out_is_answered_for_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert native_answer(b"/native/exit").status == "500 Internal Server Error"
    assert [record.getMessage() for record in caplog.records] == ["The application failed on GET /native/exit"]
