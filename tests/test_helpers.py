"""What views call: streams, responses, URLs, redirects, flashed messages, files; where a module is."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from werkzeug.exceptions import Aborter, HTTPException, ImATeapot, NotFound
from werkzeug.routing import BuildError
from werkzeug.wrappers import Response as WerkzeugResponse

import demijohn
from demijohn import (
    Flask,
    Response,
    abort,
    flash,
    get_flashed_messages,
    get_template_attribute,
    make_response,
    message_flashed,
    redirect,
    request,
    send_file,
    send_from_directory,
    session,
    stream_with_context,
    url_for,
)
from demijohn.helpers import _split_blueprint_path, get_debug_flag, get_load_dotenv, get_root_path


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask(__name__, root_path=str(tmp_path))
    app.testing = True
    app.secret_key = "key"
    return app


# -- flags of the environment -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "debug"), [(None, False), ("", False), ("0", False), ("False", False), ("NO", False), ("1", True)]
)
def test_debug_is_asked_for_by_the_environment(monkeypatch: pytest.MonkeyPatch, value: str | None, debug: bool) -> None:
    monkeypatch.delenv("FLASK_DEBUG", raising=False)
    if value is not None:
        monkeypatch.setenv("FLASK_DEBUG", value)
    assert get_debug_flag() is debug


@pytest.mark.parametrize(
    ("value", "default", "load"),
    [(None, True, True), (None, False, False), ("", False, False), ("1", True, False), ("no", False, True)],
)
def test_dotenv_files_can_be_skipped(
    monkeypatch: pytest.MonkeyPatch, value: str | None, default: bool, load: bool
) -> None:
    monkeypatch.delenv("FLASK_SKIP_DOTENV", raising=False)
    if value is not None:
        monkeypatch.setenv("FLASK_SKIP_DOTENV", value)
    assert get_load_dotenv(default) is load


# -- streams ----------------------------------------------------------------------------------------


def test_the_request_stays_current_while_a_stream_runs(app: Flask) -> None:
    @app.get("/")
    def view() -> Any:
        def parts() -> Iterator[str]:
            yield "Hello "
            yield request.args["name"]

        return stream_with_context(parts())

    @app.get("/decorated")
    def decorated() -> Any:
        session["greeting"] = "Hi "

        @stream_with_context
        def parts(punctuation: str) -> Iterator[str]:
            """Greet."""
            yield session["greeting"]
            yield request.args["name"] + punctuation

        assert parts.__doc__ == "Greet."  # type: ignore[attr-defined]
        return parts("!")  # type: ignore[operator]

    assert app.test_client().get("/?name=Ann").text == "Hello Ann"
    assert app.test_client().get("/decorated?name=Ann").text == "Hi Ann!"


def test_the_parts_of_a_stream_may_be_taken_in_any_thread(app: Flask) -> None:
    """A server goes on with a stream in the thread that is free when its reader has read."""

    def parts() -> Iterator[str]:
        for number in range(3):
            yield f"{request.path} {number}"

    with app.test_request_context("/stream"):
        stream = stream_with_context(parts())
    taken: list[str] = []
    for take in (lambda: taken.extend([next(stream), next(stream)]), lambda: taken.extend(stream)):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
        assert not demijohn.has_request_context()

    assert taken == ["/stream 0", "/stream 1", "/stream 2"]


def test_a_thread_has_no_request_left_between_the_parts_of_a_stream(app: Flask) -> None:
    with app.test_request_context("/stream"):
        stream = stream_with_context(iter(["a", "b"]))

    assert next(stream) == "a"
    assert not demijohn.has_request_context()
    assert not demijohn.has_app_context()
    stream.close()  # type: ignore[attr-defined]


def test_a_stream_that_is_given_up_is_closed(app: Flask) -> None:
    closed = []

    class Parts:
        def __iter__(self) -> Parts:
            return self

        def __next__(self) -> str:
            return request.path

        def close(self) -> None:
            closed.append(request.path)

    @app.get("/endless")
    def view() -> Any:
        return Response(stream_with_context(Parts()))

    response = app.test_client().get("/endless")
    assert next(response.iter_encoded()) == b"/endless"
    response.close()
    assert closed == ["/endless"]
    assert not demijohn.has_request_context()


def test_teardown_runs_again_when_the_stream_ends(app: Flask) -> None:
    """As since Flask 3.1.2: once after the view, once after the stream."""
    events = []
    app.teardown_request(lambda error: events.append("teardown"))

    @app.get("/")
    def view() -> Any:
        def parts() -> Iterator[str]:
            events.append("part")
            yield ""

        return stream_with_context(parts())

    app.test_client().get("/")
    assert events == ["teardown", "part", "teardown"]


def test_a_stream_needs_a_request(app: Flask) -> None:
    with app.app_context(), pytest.raises(RuntimeError, match="'stream_with_context'"):
        stream_with_context(iter(["a"]))


# -- responses --------------------------------------------------------------------------------------


def test_a_response_is_made_of_what_a_view_may_return(app: Flask) -> None:
    class Own(Response):
        pass

    app.response_class = Own
    with app.test_request_context():
        assert (type(make_response()), make_response().get_data()) == (Own, b"")
        assert make_response("text").get_data() == b"text"
        response = make_response("gone", 410, {"X-A": "1"})
        assert (response.status_code, response.headers["X-A"]) == (410, "1")
        assert make_response({"a": 1}).get_json() == {"a": 1}
        assert make_response(response) is response


def test_redirects_use_the_application_when_there_is_one(app: Flask) -> None:
    class Own(Response):
        pass

    app.response_class = Own
    outside = redirect("/there", 303, Response=Response)
    assert (type(outside), outside.status_code, outside.headers["Location"]) == (Response, 303, "/there")
    assert type(redirect("/there")) is WerkzeugResponse
    with app.app_context():
        inside = redirect("/there")
    assert (type(inside), inside.status_code, inside.headers["Location"]) == (Own, 302, "/there")


def test_abort_raises_what_the_application_maps_the_code_to(app: Flask) -> None:
    class Own(HTTPException):
        code = 499

    class App(Flask):
        class aborter_class(Aborter):
            def __init__(self) -> None:
                super().__init__(extra={499: Own})

    with pytest.raises(NotFound, match="no such thing"):
        abort(404, "no such thing")
    with pytest.raises(LookupError):
        abort(499)
    with App(__name__).app_context():
        with pytest.raises(Own):
            abort(499)
        with pytest.raises(ImATeapot):
            abort(418)
        with pytest.raises(HTTPException) as caught:
            abort(Response("as it is", 400))
    assert caught.value.get_response().status_code == 400


# -- URLs ---------------------------------------------------------------------------------------------


def test_urls_are_built_by_the_current_application(app: Flask) -> None:
    app.add_url_rule("/user/<name>", endpoint="user")
    app.add_url_rule("/user/<name>", endpoint="user", methods=["POST"])
    with app.test_request_context():
        assert url_for("user", name="a b", page=2, _anchor="x y") == "/user/a%20b?page=2#x%20y"
        assert url_for("user", name="a", _external=True) == "http://localhost/user/a"
        assert url_for("user", name="a", _scheme="https") == "https://localhost/user/a"
        assert url_for("user", name="a", _method="POST") == "/user/a"
        with pytest.raises(ValueError, match="scheme"):
            url_for("user", name="a", _scheme="https", _external=False)
        with pytest.raises(BuildError, match="user"):
            url_for("usr", name="a")
    with pytest.raises(RuntimeError, match="application context"):
        url_for("user", name="a")


def test_an_application_may_build_urls_its_own_way() -> None:
    class App(Flask):
        def url_for(self, endpoint: str, **options: Any) -> str:
            return f"{endpoint} {sorted(options)}"

    with App(__name__).app_context():
        assert url_for("a", b=1) == "a ['_anchor', '_external', '_method', '_scheme', 'b']"


# -- flashed messages -----------------------------------------------------------------------------------


def test_messages_are_there_for_one_request(app: Flask) -> None:
    @app.post("/")
    def act() -> str:
        flash("saved")
        flash("disk nearly full", "warning")
        return ""

    @app.get("/")
    def show() -> dict[str, Any]:
        first = get_flashed_messages()
        return {
            "plain": first,
            "again": get_flashed_messages(),
            "pairs": get_flashed_messages(with_categories=True),
            "warnings": get_flashed_messages(category_filter=["warning"]),
            "pairs of warnings": get_flashed_messages(True, ["warning"]),
        }

    client = app.test_client()
    client.post("/")
    assert client.get("/").json == {
        "plain": ["saved", "disk nearly full"],
        "again": ["saved", "disk nearly full"],
        "pairs": [["message", "saved"], ["warning", "disk nearly full"]],
        "warnings": ["disk nearly full"],
        "pairs of warnings": [["warning", "disk nearly full"]],
    }
    assert client.get("/").json["plain"] == []  # type: ignore[index]


def test_messages_are_signalled(app: Flask) -> None:
    heard: list[Any] = []

    def hear(sender: Flask, message: str, category: str) -> None:
        heard.append((sender, message, category))

    with app.test_request_context(), message_flashed.connected_to(hear, app):
        flash("hello", "info")
    assert heard == [(app, "hello", "info")]


def test_messages_need_a_request(app: Flask) -> None:
    with app.app_context():
        with pytest.raises(RuntimeError, match="request context"):
            flash("a")
        with pytest.raises(RuntimeError, match="request context"):
            get_flashed_messages()


# -- templates ------------------------------------------------------------------------------------------


def test_a_macro_can_be_called_from_python(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "macros.html").write_text("{% macro hi(name) %}Hi {{ name }}!{% endmacro %}")
    with app.app_context():
        assert get_template_attribute("macros.html", "hi")("<Ann>") == "Hi &lt;Ann&gt;!"
        with pytest.raises(AttributeError):
            get_template_attribute("macros.html", "missing")


# -- files ----------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "report.csv"
    path.write_bytes(b"a,b\n1,2\n")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


def test_a_file_is_sent_with_all_that_caches_need(app: Flask, file: Path) -> None:
    with app.test_request_context():
        response = send_file("report.csv")
        response.direct_passthrough = False
        assert response.get_data() == file.read_bytes()
        assert response.mimetype == "text/csv"
        assert response.last_modified == datetime.fromtimestamp(1_600_000_000, UTC)
        assert response.cache_control.no_cache
        etag = response.headers["ETag"]
        response.close()
    with app.test_request_context(headers={"If-None-Match": etag}):
        response = send_file(file)
        assert response.status_code == 304
        response.close()
    with app.test_request_context(headers={"Range": "bytes=4-"}):
        response = send_file(str(file))
        response.direct_passthrough = False
        assert (response.status_code, response.get_data()) == (206, b"1,2\n")
        response.close()


def test_a_file_is_offered_for_download_under_its_name(app: Flask, file: Path) -> None:
    with app.test_request_context():
        response = send_file(file, as_attachment=True)
        assert response.headers["Content-Disposition"] == "attachment; filename=report.csv"
        response.close()
        response = send_file(
            io.BytesIO(b"1"), mimetype="text/x-own", download_name="ü.txt", etag="e", max_age=5, last_modified=0
        )
        assert response.headers["Content-Disposition"] == "inline; filename=u.txt; filename*=UTF-8''%C3%BC.txt"
        assert (response.mimetype, response.headers["ETag"], response.cache_control.max_age) == ("text/x-own", '"e"', 5)
        response.close()
        with pytest.raises(TypeError, match="MIME type"):
            send_file(io.BytesIO(b"1"))


def test_how_long_files_may_be_kept_is_the_applications_word(file: Path, tmp_path: Path) -> None:
    class App(Flask):
        def get_send_file_max_age(self, filename: str | None) -> int | None:
            return 10 if filename is not None and filename.endswith(".csv") else 20

    app = App(__name__, root_path=str(tmp_path))
    with app.test_request_context():
        for response, age in [
            (send_file("report.csv"), 10),
            (send_file("report.csv", max_age=1), 1),
            (send_from_directory(".", "report.csv"), 10),
            (send_file(io.BytesIO(), mimetype="text/plain"), 20),
        ]:
            assert response.cache_control.max_age == age
            response.close()


def test_the_frontend_server_can_send_the_file(app: Flask, file: Path) -> None:
    app.config["USE_X_SENDFILE"] = True
    with app.test_request_context():
        response = send_file(file)
        assert response.headers["X-Sendfile"] == str(file)
        response.close()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "sub/../../secret", "missing", "sub", "", "a\0b"])
def test_nothing_outside_the_directory_is_sent(app: Flask, tmp_path: Path, path: str) -> None:
    (tmp_path / "public" / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    with app.test_request_context(), pytest.raises(NotFound):
        send_from_directory("public", path)


def test_files_are_sent_in_the_applications_response_class(app: Flask, file: Path) -> None:
    class Own(Response):
        pass

    app.response_class = Own
    with app.test_request_context():
        for response in (send_file(file), send_from_directory(".", "report.csv", as_attachment=True)):
            assert type(response) is Own
            response.close()


# -- where a module is, names of blueprints ---------------------------------------------------------------


def test_the_root_is_the_folder_of_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "package_of_test").mkdir()
    (tmp_path / "package_of_test" / "__init__.py").write_text("")
    (tmp_path / "module_of_test.py").write_text("")
    (tmp_path / "namespace_of_test").mkdir()
    assert get_root_path("package_of_test") == str(tmp_path / "package_of_test")
    assert "package_of_test" not in sys.modules
    assert get_root_path("module_of_test") == str(tmp_path)
    assert get_root_path("no_such_module_anywhere") == os.getcwd()
    monkeypatch.setitem(sys.modules, "namespace_of_test", import_module("namespace_of_test"))
    with pytest.raises(RuntimeError, match="'namespace_of_test': it is a namespace package"):
        get_root_path("namespace_of_test")


def test_the_root_of_a_main_module_without_a_file_is_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert get_root_path("__main__") == os.getcwd()


def test_a_loader_that_sets_the_file_only_when_it_loads_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loader:
        def create_module(self, spec: ModuleSpec) -> None:
            return None

        def exec_module(self, module: ModuleType) -> None:
            module.__file__ = "/somewhere/made_by_test.py"

    class Finder:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
            return ModuleSpec(name, Loader()) if name == "made_by_test" else None  # type: ignore[arg-type]

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    monkeypatch.setitem(sys.modules, "made_by_test", None)
    monkeypatch.delitem(sys.modules, "made_by_test")
    assert get_root_path("made_by_test") == "/somewhere"


def test_a_nested_name_is_split_from_the_inside_out() -> None:
    assert _split_blueprint_path("a.b.c") == ["a.b.c", "a.b", "a"]
    assert _split_blueprint_path("a") == ["a"]
