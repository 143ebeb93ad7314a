"""A static file is answered alike the first time, again, and by the long way, whatever becomes of it in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demijohn import Blueprint, Flask, Response, has_request_context, request, send_from_directory, signals
from demijohn.environ import FileWrapper, environ_of
from demijohn.message import Origin, RequestHead, ResponseMessage
from demijohn.sessions import SecureCookieSessionInterface

Answer = tuple[str, dict[str, str], bytes]

NAMES = ("a.txt", "b.html", "größe.txt", "c.tar.gz")


def app_with(folder: Path, on_blueprint: bool = False) -> Flask:
    app = Flask("files", root_path=str(folder), static_folder=None if on_blueprint else "static")
    if on_blueprint:
        app.register_blueprint(
            Blueprint("pages", "files", root_path=str(folder), static_folder="static", url_prefix="/pages")
        )
    return app


def asked(target: str, method: str = "GET", **fields: str) -> RequestHead:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return RequestHead(method, target.encode(), (1, 1), [(b"host", b"localhost"), *lines], Origin())


def natively(app: Flask, head: RequestHead) -> ResponseMessage:
    assert app.native_match(head) is not None
    message = app.native_handle(head)
    assert isinstance(message, ResponseMessage)
    return message


def short_way(app: Flask, head: RequestHead) -> Answer:
    message = natively(app, head)
    content = message.content if isinstance(message.content, bytes) else b"".join(message.content)
    if message.close is not None:
        message.close()
    fields = dict(line.split(": ", 1) for line in message.field_lines.decode("latin-1").split("\r\n")[:-1])
    if message.status[:3] != "304":  # framing is the server's
        fields["Content-Length"] = str(len(content) if message.content_length is None else message.content_length)
    return comparable(message.status, fields, b"" if head.method == "HEAD" else content)


def long_way(app: Flask, head: RequestHead) -> Answer:
    started: list[Any] = []
    parts = app(environ_of(head), lambda *given: started.extend(given))  # type: ignore[arg-type]
    content = b"".join(parts)
    getattr(parts, "close", lambda: None)()
    return comparable(started[0], dict(started[1]), content)


class About(str):
    """A time that equals those of answers given a little earlier or later."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        apart = parsedate_to_datetime(self) - parsedate_to_datetime(str(other))
        return abs(apart) < timedelta(minutes=5)

    def __ne__(self, other: object) -> bool:
        return not self == other


def comparable(status: str, fields: dict[str, str], content: bytes) -> Answer:
    fields.pop("Date", None)  # the server's own says the same
    if "Expires" in fields:
        fields["Expires"] = About(fields["Expires"])
    return status, fields, content


DEEDS: dict[str, Callable[[Path], object]] = {
    "write": lambda path: path.write_bytes(os.urandom(40)),
    "grow": lambda path: path.write_bytes(b"x" * 100_000),
    "empty": lambda path: path.write_bytes(b""),
    "touch": lambda path: os.utime(path, (1_000_000_000, 1_000_000_000)) if path.is_file() else None,
    "remove": lambda path: path.unlink(missing_ok=True),
    "leave": lambda path: None,
}
CONDITIONS = ("none", "etag", "other etag", "both", "since", "range", "two etags")


def condition(kind: str, last: Answer | None) -> dict[str, str]:
    etag = '"x"' if last is None else last[1].get("ETag", '"y"')
    since = "Sun, 09 Sep 2001 01:46:40 GMT" if last is None else last[1].get("Last-Modified", "none")
    return {
        "none": {},
        "etag": {"if_none_match": etag},
        "other etag": {"if_none_match": '"other"'},
        "both": {"if_none_match": etag, "if_modified_since": since},
        "since": {"if_modified_since": since},
        "range": {"range": "bytes=3-9"},
        "two etags": {"if_none_match": f'"other", {etag}'},
    }[kind]


step = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(sorted(DEEDS)),
    st.sampled_from(CONDITIONS),
    st.sampled_from(("GET", "HEAD")),
    st.sampled_from((None, 0, 60_000, timedelta(days=1))),
)


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(step, min_size=2, max_size=12), on_blueprint=st.booleans())
def test_files_are_answered_alike_whatever_becomes_of_them(steps: list[Any], on_blueprint: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (static := Path(directory) / "static").mkdir()
        for name in NAMES:
            (static / name).write_bytes(b"0123456789" * 20)
        app = app_with(Path(directory), on_blueprint)
        prefix = "/pages/static/" if on_blueprint else "/static/"
        last: Answer | None = None
        for name, deed, kind, method, max_age in steps:
            app.config["SEND_FILE_MAX_AGE_DEFAULT"] = max_age
            DEEDS[deed](static / name)
            fields = condition(kind, last)
            answers = [short_way(app, asked(prefix + name, method, **fields)) for _ in range(2)]
            last = long_way(app, asked(prefix + name, method, **fields))
            assert answers == [last, last]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.txt").write_text("as it was")
    return tmp_path


def answered_again(app: Flask, target: str = "/static/a.txt", **fields: str) -> Answer:
    """Return the answer to a request that has been answered before."""
    for _ in range(3):
        answer = short_way(app, asked(target, **fields))
    return answer


def test_a_small_file_is_answered_again_as_one_piece(folder: Path) -> None:
    app = app_with(folder)
    short_way(app, asked("/static/a.txt"))
    assert natively(app, asked("/static/a.txt")).content == b"as it was"


def test_a_client_that_has_the_file_is_told_so_without_a_response_object(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with(folder)
    etag = answered_again(app)[1]["ETag"]
    assert answered_again(app, if_none_match=etag)[0] == "304 NOT MODIFIED"
    monkeypatch.setattr("werkzeug.utils.send_file", None)
    assert answered_again(app, if_none_match=etag)[0] == "304 NOT MODIFIED"
    (folder / "static" / "a.txt").write_text("as it is now")
    monkeypatch.undo()
    assert answered_again(app, if_none_match=etag)[0] == "200 OK"


def test_a_large_file_is_answered_again_as_a_file_that_the_kernel_can_send(folder: Path) -> None:
    (folder / "static" / "a.txt").write_bytes(b"x" * 1_000_000)
    app = app_with(folder)
    short_way(app, asked("/static/a.txt"))
    message = natively(app, asked("/static/a.txt"))
    assert isinstance(message.content, FileWrapper)
    assert message.content_length == 1_000_000
    assert message.close is not None
    message.close()
    assert message.content.filelike.closed


@pytest.mark.parametrize("on", ["class", "instance"])
def test_a_later_max_age_is_asked_for(folder: Path, on: str) -> None:
    class Own(Flask):
        pass

    app = Own("files", root_path=str(folder))
    assert answered_again(app)[1]["Cache-Control"] == "no-cache"
    if on == "class":
        Own.get_send_file_max_age = lambda self, filename: 5  # type: ignore[method-assign]
    else:
        app.get_send_file_max_age = lambda filename: 5  # type: ignore[method-assign]
    assert answered_again(app)[1]["Cache-Control"] == "public, max-age=5"


def test_a_later_send_static_file_is_called(folder: Path) -> None:
    app = app_with(folder)
    answered_again(app)
    app.send_static_file = lambda filename: Response(f"instead of {filename}")  # type: ignore[method-assign]
    assert answered_again(app)[2] == b"instead of a.txt"


def test_a_later_view_is_called(folder: Path) -> None:
    app = app_with(folder)
    answered_again(app)
    app.view_functions["static"] = lambda filename: f"instead of {filename}"
    assert answered_again(app)[2] == b"instead of a.txt"


def test_a_later_static_folder_takes_effect(folder: Path) -> None:
    app = app_with(folder)
    answered_again(app)
    (folder / "other").mkdir()
    (folder / "other" / "a.txt").write_text("of another folder")
    app.static_folder = "other"
    assert answered_again(app)[2] == b"of another folder"


def test_use_x_sendfile_takes_effect(folder: Path) -> None:
    app = app_with(folder)
    answered_again(app)
    app.config["USE_X_SENDFILE"] = True
    assert answered_again(app)[1]["X-Sendfile"] == str(folder / "static" / "a.txt")


def test_hooks_see_and_change_each_answer(folder: Path) -> None:
    app = app_with(folder)
    app.after_request(lambda response: response.headers.set("X-Seen", response.mimetype) or response)
    assert answered_again(app)[1]["X-Seen"] == "text/plain"


OBSERVERS: dict[str, Callable[[Flask, Callable[..., None]], object]] = {
    "before_request": lambda app, note: app.before_request(note),
    "after_request": lambda app, note: app.after_request(lambda response: note() or response),
    "teardown_request": lambda app, note: app.teardown_request(note),
    "teardown_appcontext": lambda app, note: app.teardown_appcontext(note),
    "url_value_preprocessor": lambda app, note: app.url_value_preprocessor(note),
}
SIGNALS = (
    signals.request_started,
    signals.request_finished,
    signals.request_tearing_down,
    signals.appcontext_pushed,
    signals.appcontext_popped,
    signals.appcontext_tearing_down,
)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_whoever_observes_requests_observes_those_of_files(folder: Path, observer: str) -> None:
    app = app_with(folder)
    seen = []
    OBSERVERS[observer](app, lambda *_, **__: seen.append(request.path if has_request_context() else ""))
    for _ in range(4):
        assert short_way(app, asked("/static/a.txt"))[0] == "200 OK"
    assert len(seen) == 4


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_whoever_listens_to_signals_hears_of_requests_for_files(folder: Path, signal: Any) -> None:
    app = app_with(folder)
    answered_again(app)
    heard: list[Flask] = []

    def listen(sender: Flask, **_: Any) -> None:
        heard.append(sender)

    with signal.connected_to(listen, app):
        answered_again(app)
    assert heard == [app] * 3


def test_a_permanent_session_is_refreshed_with_a_file(folder: Path) -> None:
    app = app_with(folder)
    app.secret_key = "for tests"
    signing = SecureCookieSessionInterface().get_signing_serializer(app)
    assert signing is not None
    answered_again(app)
    value = signing.dumps({"_permanent": True})
    assert short_way(app, asked("/static/a.txt", cookie=f"session={value}"))[1]["Set-Cookie"].startswith("session=")
    assert "Set-Cookie" not in short_way(app, asked("/static/a.txt"))[1]


def test_the_first_request_may_be_for_a_file(folder: Path) -> None:
    app = app_with(folder)
    answered_again(app)
    with pytest.raises(AssertionError, match="setup method"):
        app.before_request(lambda: None)


def test_arguments_that_a_preprocessor_changes_are_those_of_one_request(folder: Path) -> None:
    app = app_with(folder)
    seen = []

    @app.url_value_preprocessor
    def change(endpoint: str | None, values: dict[str, Any] | None) -> None:
        assert values is not None
        seen.append(values["filename"])
        values["filename"] = "b.html"

    (folder / "static" / "b.html").write_text("other")
    for _ in range(4):
        assert short_way(app, asked("/static/a.txt"))[2] == b"other"
    assert seen == ["a.txt"] * 4


def test_a_fifo_in_the_place_of_a_file_is_not_found_and_keeps_nobody_waiting(folder: Path) -> None:
    app = app_with(folder)
    answered_again(app)
    (folder / "static" / "a.txt").unlink()
    os.mkfifo(folder / "static" / "a.txt")
    assert answered_again(app)[0] == "404 NOT FOUND"


def test_nothing_outside_the_folder_is_sent(folder: Path) -> None:
    (folder / "secret.txt").write_text("secret")
    app = app_with(folder)
    assert answered_again(app, "/static/..%2fsecret.txt")[0] == "404 NOT FOUND"


def test_files_of_other_views_are_sent_by_them(folder: Path) -> None:
    app = app_with(folder)
    served: list[str] = []

    @app.get("/mine/<path:filename>")
    def mine(filename: str) -> Response:
        served.append(filename)
        return send_from_directory("static", filename)

    assert answered_again(app, "/mine/a.txt")[2] == b"as it was"
    assert served == ["a.txt"] * 3
