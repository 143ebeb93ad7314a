"""Request and Response."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

from demijohn import Flask, Request, Response, request
from demijohn.message import Origin, RequestHead
from demijohn.wrappers import DebugFilesKeyError, lazy


def native_request(target: bytes = b"/", content: bytes = b"", *fields: tuple[bytes, bytes]) -> Request:
    head = RequestHead("POST", target, (1, 1), [(b"host", b"example.org"), *fields], Origin(), content)
    head.route = type("R", (), {"rule": None})
    return Request.of_head(head)


query_text = st.text(alphabet="ab=&;%+2äx ", max_size=20).map(lambda text: text.encode())


@given(query=query_text)
@example(b"=&")
@example(b"=1&&=2&")
def test_args_are_what_werkzeug_reads(query: bytes) -> None:
    environ = {**EnvironBuilder("/").get_environ(), "QUERY_STRING": query.decode("latin-1")}

    expected = WerkzeugRequest(environ).args

    assert list(expected.items(multi=True)) == list(Request(environ).args.items(multi=True))
    assert expected == native_request(b"/?" + query).args


ATTRIBUTES = [
    "method", "scheme", "server", "root_path", "path", "query_string", "remote_addr", "full_path", "url", "base_url",
    "host", "host_url", "url_root", "is_secure", "content_type", "mimetype", "content_length", "is_json", "cookies",
    "accept_mimetypes", "user_agent", "access_route", "range", "authorization", "want_form_data_parsed",
]  # fmt: skip


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_lazy_attributes_have_werkzeugs_values(name: str) -> None:
    environ = EnvironBuilder(
        "/ä/b",
        base_url="https://example.org:8443/root",
        method="PUT",
        query_string="a=1&b=%20",
        data=b"{}",
        content_type="application/json",
        headers={"Cookie": "c=d", "User-Agent": "tests"},
    ).get_environ()

    assert str(getattr(WerkzeugRequest(environ), name)) == str(getattr(Request(environ), name))


def test_a_request_is_werkzeugs_kind_of_request() -> None:
    assert isinstance(native_request(), WerkzeugRequest)
    assert isinstance(Response("x"), WerkzeugResponse)


def json_outcomes(request: WerkzeugRequest, calls: list[dict[str, bool]]) -> list[Any]:
    """What `get_json` gives or raises, called again and again: some of it is kept."""
    outcomes: list[Any] = []
    for options in calls:
        try:
            outcomes.append(request.get_json(**options))
        except HTTPException as error:
            outcomes.append(error.code)
    return outcomes


@given(
    content=st.sampled_from([b'{"a": [1, null]}', b"null", b"{", b"", b"\xff", '"ä"'.encode("utf-16")]),
    content_type=st.sampled_from(
        [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON",
            "application/a+json",
            "text/plain",
            "",
        ]
    ),
    calls=st.lists(
        st.fixed_dictionaries({}, optional={"force": st.booleans(), "silent": st.booleans()}), min_size=1, max_size=4
    ),
)
@example(content=b"{", content_type="application/json", calls=[{"silent": True}, {}, {"silent": True}])
def test_get_json_gives_what_werkzeugs_does(content: bytes, content_type: str, calls: list[dict[str, bool]]) -> None:
    environ = EnvironBuilder("/", method="POST", data=content, content_type=content_type).get_environ()
    native = native_request(b"/", content, (b"content-type", content_type.encode()))

    assert json_outcomes(native, calls) == json_outcomes(WerkzeugRequest(environ), calls)


def test_get_json_keeps_what_it_read_when_it_may() -> None:
    sent = native_request(b"/", b"[]", (b"content-type", b"application/json"))

    assert sent.get_json(cache=False) is not sent.get_json(cache=False)
    assert sent.get_json() is sent.get_json() is sent.json


def test_a_native_request_makes_its_environ_when_asked() -> None:
    made = native_request(b"/a%20b?q=1", b"", (b"x-own", b"1"))
    assert "environ" not in made.__dict__

    assert made.environ["PATH_INFO"] == "/a b"
    assert made.environ["werkzeug.request"] is made
    assert made.headers["X-Own"] == "1"
    assert made.path == "/a b"


def test_content_can_be_read_twice_and_then_parsed() -> None:
    made = native_request(
        b"/", b"a=1", (b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"3")
    )

    assert made.get_data() == b"a=1"
    assert made.get_data(as_text=True) == "a=1"
    assert made.form["a"] == "1"


@pytest.fixture
def app() -> Flask:
    app = Flask("app")
    app.add_url_rule("/", "view", lambda: request.get_data(), methods=["POST"])
    return app


def test_more_content_than_the_limit_is_answered_413(app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 3
    client = app.test_client()

    assert client.post("/", data=b"123").status_code == 200
    assert client.post("/", data=b"1234").status_code == 413


def test_a_request_may_set_its_own_limit(app: Flask) -> None:
    def limited() -> Any:
        request.max_content_length = 2
        return request.get_data()

    app.view_functions["view"] = limited

    assert app.test_client().post("/", data=b"123").status_code == 413


def test_a_file_missing_because_of_the_enctype_says_so_in_debug_mode(app: Flask) -> None:
    app.debug = True
    app.view_functions["view"] = lambda: request.files["photo"].filename

    with pytest.raises(DebugFilesKeyError, match="enctype"):
        app.test_client().post("/", data={"photo": "me.png"})


@given(content=st.binary(max_size=50), content_type=st.sampled_from(["text/html; charset=utf-8", "application/json"]))
def test_a_response_made_of_content_is_like_one_from_the_constructor(content: bytes, content_type: str) -> None:
    expected = Response(content, content_type=content_type)

    actual = Response.of_content(content, content_type)

    assert list(expected.headers) == list(actual.headers)
    assert expected.get_data() == actual.get_data()
    assert (expected.status, expected.status_code, expected.is_streamed) == (
        actual.status,
        actual.status_code,
        actual.is_streamed,
    )
    assert expected.direct_passthrough == actual.direct_passthrough
    expected.set_cookie("a", "b")
    actual.set_cookie("a", "b")
    assert list(expected.headers) == list(actual.headers)


def test_a_lazy_attribute_is_computed_once_and_can_be_set() -> None:
    class Thing:
        count = 0

        @lazy
        def value(self) -> int:
            self.count += 1
            return self.count

    thing = Thing()
    assert (thing.value, thing.value) == (1, 1)
    thing.value = 7  # type: ignore[misc]
    assert thing.value == 7
