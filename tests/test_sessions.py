"""Sessions: what the cookie says, when it is sent, and when caches are told."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import BadData, URLSafeTimedSerializer

import demijohn
from demijohn import Flask, Response, session
from demijohn.json.tag import JSONTag, TaggedJSONSerializer
from demijohn.sessions import (
    NullSession,
    SecureCookieSession,
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
    _set_cookie,
)
from demijohn.signing import SessionSerializer


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "key"
    app.testing = True

    @app.get("/set/<value>")
    def set_(value: str) -> str:
        session["value"] = value
        return ""

    @app.get("/get")
    def get() -> str:
        return str(session.get("value"))

    @app.get("/keys")
    def keys() -> str:
        return str("value" in session)

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return ""

    @app.get("/permanent")
    def permanent() -> str:
        session["value"] = "long"
        session.permanent = True
        return ""

    @app.get("/inside")
    def inside() -> str:
        session["list"] = []
        session.modified = False
        session["list"].append(1)
        return ""

    @app.get("/untouched")
    def untouched() -> str:
        return ""

    return app


def signer(key: str | list[str], salt: str = "cookie-session") -> URLSafeTimedSerializer:
    """What Flask 3.1 signs its cookies with, put together by hand."""
    return URLSafeTimedSerializer(
        key,
        salt=salt,
        serializer=TaggedJSONSerializer(),
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
    )


def cookie_of(response: Any) -> Any:
    return SimpleCookie(response.headers.get("Set-Cookie", "")).get("session")


def get_with(app: Flask, cookie: str) -> str:
    return app.test_client(use_cookies=False).get("/get", headers={"Cookie": f"session={cookie}"}).text


# -- the cookie ---------------------------------------------------------------------------------


def test_the_cookie_is_the_one_flask_signs(app: Flask) -> None:
    cookie = cookie_of(app.test_client().get("/set/1"))
    assert signer("key").loads(cookie.value) == {"value": "1"}


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=60) | st.integers() | st.binary(max_size=9), max_size=6))
def test_the_cookie_is_byte_for_byte_what_flask_signs(content: dict[str, Any]) -> None:
    app = Flask(__name__)
    app.secret_key = "key"
    ours = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    assert ours.dump_payload(content) == signer("key").dump_payload(content)
    # Signed at the same second, the two are one.
    signed = [signer("key").dumps(content), ours.dumps(content), signer("key").dumps(content)]
    assert signed[1] in signed[::2]
    assert ours.loads(signed[0], max_age=60) == signer("key").loads(signed[1], max_age=60) == content


@given(st.text(alphabet="ab:", max_size=30) | st.text(alphabet='a"é', max_size=16))
def test_short_content_is_compressed_only_when_flask_does(text: str) -> None:
    app = Flask(__name__)
    app.secret_key = "key"
    ours = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    for content in (text, {text: 1}, [text, text]):
        assert ours.dump_payload(content) == signer("key").dump_payload(content)


@pytest.mark.parametrize("key", ["key", "k" * 64, "k" * 65])
@pytest.mark.parametrize("key_derivation", ["none", "concat", "django-concat", "hmac"])
def test_keys_of_every_length_and_derivation_sign_as_with_itsdangerous(key: str, key_derivation: str) -> None:
    serializer = TaggedJSONSerializer()
    signing = {"key_derivation": key_derivation, "digest_method": hashlib.sha1}
    theirs = URLSafeTimedSerializer(key, salt="salt", serializer=serializer, signer_kwargs=signing)
    ours = SessionSerializer(key, salt="salt", serializer=serializer, signer_kwargs=signing)
    assert theirs.loads(ours.dumps({"a": 1})) == {"a": 1}
    assert ours.loads(theirs.dumps({"a": 1}), max_age=60) == {"a": 1}


@given(st.data())
def test_a_cookie_that_was_changed_is_refused_as_itsdangerous_does(data: st.DataObject) -> None:
    app = Flask(__name__)
    app.secret_key = "key"
    app.config["SECRET_KEY_FALLBACKS"] = ["older"]
    ours = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    theirs = signer(["older", "key"])
    cookie = signer(data.draw(st.sampled_from(["key", "older", "other"]))).dumps({"a": 1})
    at = data.draw(st.integers(0, len(cookie)))
    cookie = (
        cookie[:at] + data.draw(st.text(alphabet="aA.=-_é", max_size=2)) + cookie[at + data.draw(st.integers(0, 2)) :]
    )
    max_age = data.draw(st.sampled_from([None, -1, 60]))

    def outcome(serializer: URLSafeTimedSerializer) -> str:
        try:
            return repr(serializer.loads(cookie, max_age=max_age))
        except BadData as error:
            return f"{type(error).__name__}: {error}"

    assert outcome(ours) == outcome(theirs)


def test_a_registered_tag_is_asked_for_plain_values_too() -> None:
    class Shouted(JSONTag):
        key = " s"

        def check(self, value: Any) -> bool:
            return isinstance(value, str) and value.isupper()

        def to_json(self, value: Any) -> Any:
            return value.lower()

        def to_python(self, value: Any) -> Any:
            return value.upper()

    serializer = TaggedJSONSerializer()
    serializer.register(Shouted, index=0)
    assert serializer.dumps(["A", "b"]) == '[{" s":"a"},"b"]'
    assert serializer.loads('[{" s":"a"},"b"]') == ["A", "b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":{" t":[1,2]}}', {"a": (1, 2)}),
        ('{"a":{"\\u0020t":[1,2]}}', {"a": (1, 2)}),
        ('{ "a" : { " t" : [ 1 , 2 ] } }', {"a": (1, 2)}),
        (b'{"a":{" t":[1,2]}}', {"a": (1, 2)}),
        (b'{"a":1}', {"a": 1}),
        ('{"a":" t"}', {"a": " t"}),
        ('{"t":[1,2]}', {"t": [1, 2]}),
    ],
)
def test_tags_are_read_however_they_are_written(text: str, value: object) -> None:
    assert TaggedJSONSerializer().loads(text) == value


def test_a_serializer_with_an_untag_of_its_own_is_asked() -> None:
    class Shouting(TaggedJSONSerializer):
        def untag(self, value: dict[str, Any]) -> Any:
            return {key.upper(): inner for key, inner in value.items()}

    assert Shouting().loads('{"a":1}') == {"A": 1}


@pytest.mark.parametrize("told", [None, "Cookie", "cookie", "Accept", "Accept, Cookie", "*"])
def test_caches_are_told_once(app: Flask, told: str | None) -> None:
    @app.get("/told")
    def view() -> Response:
        response = Response(str(session.get("x")))
        if told is not None:
            response.headers["Vary"] = told
        return response

    expected = Response(headers={} if told is None else {"Vary": told})
    expected.vary.add("Cookie")
    assert app.test_client().get("/told").headers["Vary"] == expected.headers["Vary"]


def test_a_cookie_that_flask_signed_is_read(app: Flask) -> None:
    assert get_with(app, signer("key").dumps({"value": (1, b"x")})) == "(1, b'x')"


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "garbage",
        "a.b.c",
        signer("other key").dumps({"value": 1}),
        signer("key", salt="other").dumps({"value": 1}),
        signer("key").dumps({"value": 1})[:-1] + "!",
    ],
)
def test_a_cookie_that_is_not_ours_is_an_empty_session(app: Flask, cookie: str) -> None:
    assert get_with(app, cookie) == "None"


def test_an_old_cookie_is_an_empty_session(app: Flask) -> None:
    cookie = signer("key").dumps({"value": 1})
    assert get_with(app, cookie) == "1"
    app.permanent_session_lifetime = timedelta(seconds=-1)
    assert get_with(app, cookie) == "None"


def test_keys_can_be_rotated(app: Flask) -> None:
    client = app.test_client()
    client.get("/set/old")
    app.secret_key = "newer key"
    app.config["SECRET_KEY_FALLBACKS"] = ["key"]
    assert client.get("/get").text == "old"
    cookie = cookie_of(client.get("/set/new"))
    assert signer("newer key").loads(cookie.value) == {"value": "new"}
    app.config["SECRET_KEY_FALLBACKS"] = None
    assert client.get("/get").text == "new"
    app.secret_key = "newest key"
    assert client.get("/get").text == "None"


def test_the_signing_serializer_is_made_once_for_its_keys(app: Flask) -> None:
    interface = SecureCookieSessionInterface()
    first = interface.get_signing_serializer(app)
    assert interface.get_signing_serializer(app) is first
    app.secret_key = "another"
    second = interface.get_signing_serializer(app)
    assert second is not first
    interface.salt = "pepper"
    third = interface.get_signing_serializer(app)
    assert third is not second
    assert third is not None
    assert third.salt == b"pepper"
    app.secret_key = None
    assert interface.get_signing_serializer(app) is None


def test_a_subclass_can_sign_in_its_own_way(app: Flask) -> None:
    class Strong(SecureCookieSessionInterface):
        digest_method = staticmethod(hashlib.sha256)
        salt = "strong"

    app.session_interface = Strong()
    client = app.test_client()
    cookie = cookie_of(client.get("/set/1"))
    assert client.get("/get").text == "1"
    assert len(cookie.value.rpartition(".")[2]) == 43  # 32 bytes in base 64


def test_attributes_of_the_cookie_are_settings(app: Flask) -> None:
    cookie = app.test_client().get("/set/1").headers["Set-Cookie"]
    assert cookie.endswith("; HttpOnly; Path=/")
    app.config.update(
        SESSION_COOKIE_NAME="s",
        SESSION_COOKIE_DOMAIN="example.com",
        SESSION_COOKIE_PATH="/p",
        SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_PARTITIONED=True,
    )
    response = app.test_client().get("/set/1")
    value, *attributes = response.headers["Set-Cookie"].split("; ")
    assert value.startswith("s=")
    assert set(attributes) == {"Domain=example.com", "Secure", "Path=/p", "SameSite=Strict", "Partitioned"}


@given(
    expires=st.none() | st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(UTC) | st.none()),
    attributes=st.fixed_dictionaries(
        {
            "domain": st.sampled_from([None, "example.com", ".example.com:80", "b\xfccher.example"]),
            "path": st.sampled_from(["/", "/a b;c", "/é"]),
            "secure": st.booleans(),
            "samesite": st.sampled_from([None, "lax", "None"]),
            "partitioned": st.booleans(),
            "httponly": st.booleans(),
        }
    ),
)
def test_the_cookie_is_set_by_the_line_that_set_cookie_writes(
    expires: datetime | None, attributes: dict[str, Any]
) -> None:
    value = signer("key").dumps({"a": 1})
    ours, theirs = Response(), Response()
    _set_cookie(ours, "name", str(value), expires, attributes)
    theirs.set_cookie("name", str(value), expires=expires, **attributes)
    assert list(ours.headers) == list(theirs.headers)


def test_a_cookie_that_browsers_may_drop_is_warned_about(app: Flask) -> None:
    app.config["MAX_COOKIE_SIZE"] = 100
    with pytest.warns(UserWarning, match="'session' cookie is too large"):
        cookie = app.test_client().get(f"/set/{'abcdefghijklmno' * 9}").headers["Set-Cookie"]
    assert len(cookie) > 100
    app.config["MAX_COOKIE_SIZE"] = 0
    assert "session=" in app.test_client().get(f"/set/{'abcdefghijklmno' * 9}").headers["Set-Cookie"]


def test_a_response_sets_the_cookie_in_its_own_way(app: Flask) -> None:
    class Prefixing(Response):
        def set_cookie(self, key: str, *args: Any, **kwargs: Any) -> None:
            super().set_cookie(f"__Host-{key}", *args, **kwargs)

    app.response_class = Prefixing
    assert app.test_client().get("/set/1").headers["Set-Cookie"].startswith("__Host-session=")


def test_the_path_is_the_applications_root_by_default(app: Flask) -> None:
    app.config["APPLICATION_ROOT"] = "/root"
    response = app.test_client().get("/set/1", base_url="http://localhost/root")
    assert "Path=/root" in response.headers["Set-Cookie"]


def test_a_deleted_cookie_has_the_attributes_it_was_set_with(app: Flask) -> None:
    app.config.update(SESSION_COOKIE_PATH="/", SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax")
    cookie = app.test_client().get("/clear").headers["Set-Cookie"]
    assert cookie.startswith("session=; Expires=Thu, 01 Jan 1970")
    assert {"Secure", "SameSite=Lax", "Path=/", "Max-Age=0"} <= set(cookie.split("; "))


def test_a_permanent_session_ends_after_its_lifetime(app: Flask) -> None:
    client = app.test_client()
    client.get("/permanent")
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert cookie.expires is not None
    client.get("/set/2")
    with client.session_transaction() as opened:
        assert opened.permanent
        opened.permanent = False
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert cookie.expires is None


# -- when it is sent, and what caches are told ----------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sends", "varies"),
    [
        ("/untouched", False, False),
        ("/get", False, True),
        ("/keys", False, True),
        ("/set/1", True, True),
        ("/clear", True, True),
        ("/inside", False, True),
    ],
)
def test_the_cookie_is_sent_on_change_and_caches_know_of_use(app: Flask, path: str, sends: bool, varies: bool) -> None:
    client = app.test_client()
    client.get("/set/0")
    response = client.get(path)
    assert ("Set-Cookie" in response.headers) is sends
    assert response.headers.get("Vary") == ("Cookie" if varies else None)


def test_a_permanent_session_is_renewed_by_every_request(app: Flask) -> None:
    client = app.test_client()
    client.get("/permanent")
    response = client.get("/untouched")
    assert cookie_of(response)["expires"]
    assert response.headers["Vary"] == "Cookie"
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False
    response = client.get("/untouched")
    assert "Set-Cookie" not in response.headers
    assert "Vary" not in response.headers


@given(
    content=st.dictionaries(st.text(), st.one_of(st.text(), st.text().map(lambda text: text * 50), st.integers())),
    permanent=st.booleans(),
)
def test_every_permanent_session_is_renewed(content: dict[str, Any], permanent: bool) -> None:
    app = Flask(__name__)
    app.secret_key = "key"
    app.add_url_rule("/", endpoint="untouched", view_func=lambda: "")
    client = app.test_client()
    with client.session_transaction() as opened:
        opened.update(content, _permanent=permanent)
    assert ("Set-Cookie" in client.get("/").headers) is permanent


def test_vary_keeps_what_the_view_said(app: Flask) -> None:
    @app.get("/language")
    def language() -> Response:
        session["value"] = 1
        response = demijohn.make_response("")
        response.vary.add("Accept-Language")
        return response

    assert app.test_client().get("/language").headers["Vary"] == "Accept-Language, Cookie"


# -- without a secret key -------------------------------------------------------------------------


def test_without_a_secret_key_reading_is_empty_and_writing_says_what_is_missing(app: Flask) -> None:
    app.secret_key = None
    response = app.test_client().get("/get")
    assert response.text == "None"
    assert "Vary" not in response.headers
    with pytest.raises(RuntimeError, match="no secret key was set"):
        app.test_client().get("/set/1")


def test_a_null_session_refuses_every_change() -> None:
    session = NullSession()
    changes: list[Any] = [
        lambda: session.update(a=1),
        lambda: session.__setitem__("a", 1),
        lambda: session.__delitem__("a"),
        lambda: session.pop("a", None),
        lambda: session.popitem(),
        lambda: session.setdefault("a", 1),
        lambda: session.clear(),
        lambda: setattr(session, "permanent", True),
    ]
    for change in changes:
        with pytest.raises(RuntimeError, match="secret"):
            change()
    assert not session
    assert session.get("a") is None


# -- sessions and interfaces of one's own -----------------------------------------------------------


def test_a_session_notes_its_own_changes_only() -> None:
    opened = SecureCookieSession({"a": [1]})
    assert not opened.modified
    assert not opened.accessed
    opened["a"].append(2)
    assert not opened.modified
    opened["b"] = 1
    assert opened.modified
    assert not opened.new


def test_a_mapping_of_ones_own_is_saved_every_time() -> None:
    class Plain(dict[str, Any], SessionMixin):
        pass

    assert Plain().modified
    plain = Plain()
    plain.permanent = 1  # type: ignore[assignment]
    assert plain == {"_permanent": True}


class Stored(SecureCookieSession):
    def __init__(self, sid: str, initial: dict[str, Any]) -> None:
        super().__init__(initial)
        self.sid = sid


class StoreInterface(SessionInterface):
    """Sessions on the server, as extensions have them."""

    def __init__(self) -> None:
        self.store: dict[str, dict[str, Any]] = {}

    def open_session(self, app: Flask, request: Any) -> Stored:
        sid = request.cookies.get(self.get_cookie_name(app)) or f"sid{len(self.store)}"
        return Stored(sid, self.store.get(sid, {}))

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        if self.should_set_cookie(app, session):
            self.store[session.sid] = dict(session)
            response.set_cookie(self.get_cookie_name(app), session.sid)


def test_sessions_can_be_kept_elsewhere(app: Flask) -> None:
    interface = app.session_interface = StoreInterface()
    client, other = app.test_client(), app.test_client()
    client.get("/set/a")
    other.get("/set/b")
    assert (client.get("/get").text, other.get("/get").text) == ("a", "b")
    assert interface.store == {"sid0": {"value": "a"}, "sid1": {"value": "b"}}


def test_an_interface_says_which_method_it_lacks(app: Flask) -> None:
    interface = SessionInterface()
    with pytest.raises(NotImplementedError, match="open_session"):
        interface.open_session(app, None)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="save_session"):
        interface.save_session(app, SecureCookieSession(), Response())


@pytest.fixture
def refusing() -> type[SessionInterface]:
    class Refusing(SessionInterface):
        def open_session(self, app: Flask, request: Any) -> None:
            return None

    return Refusing


def test_an_interface_that_opens_no_session_gets_the_null_session(app: Flask, refusing: type[SessionInterface]) -> None:
    app.session_interface = refusing()
    assert app.test_client().get("/get").text == "None"
    with app.test_request_context():
        assert app.session_interface.is_null_session(session._get_current_object())  # type: ignore[attr-defined]
