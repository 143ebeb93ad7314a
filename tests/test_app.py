"""The application: registration, dispatching, hooks, errors, URLs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug import serving
from werkzeug.exceptions import Forbidden, HTTPException, NotFound
from werkzeug.routing import BuildError

from demijohn import Blueprint, Flask, Response, abort, current_app, g, redirect, request, signals, url_for
from demijohn.testing import FlaskClient


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("app")
    yield app
    app.logger.disabled = False


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


# -- routes ---------------------------------------------------------------------------------------


def test_a_view_answers_the_methods_it_names(app: Flask, client: FlaskClient) -> None:
    @app.route("/", methods=["GET", "POST"])
    def view() -> str:
        return request.method

    assert client.get("/").text == "GET"
    assert client.post("/").text == "POST"
    refused = client.delete("/")
    assert refused.status_code == 405
    assert set(refused.allow) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert client.get("/nowhere").status_code == 404


def test_head_and_options_come_with_get(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/", "view", lambda: "content")

    head = client.head("/")
    assert (head.status_code, head.data, head.content_length) == (200, b"", 7)
    assert set(client.options("/").allow) == {"GET", "HEAD", "OPTIONS"}


def test_automatic_options_can_be_switched_off(app: Flask, client: FlaskClient) -> None:
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.add_url_rule("/", "view", lambda: "content")

    assert client.options("/").status_code == 405


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_each_method_has_a_decorator(app: Flask, client: FlaskClient, method: str) -> None:
    with pytest.raises(TypeError, match="use 'route'"):
        getattr(app, method)("/other", methods=["GET"])

    getattr(app, method)("/")(lambda: "yes")

    assert getattr(client, method)("/").text == "yes"


def test_methods_given_as_a_string_are_refused_with_the_fix(app: Flask) -> None:
    with pytest.raises(TypeError, match=r'methods=\["POST"\]'):
        app.route("/", methods="POST")(lambda: "")


def test_a_rule_without_endpoint_and_view_is_refused_by_name(app: Flask) -> None:
    blueprint = Blueprint("shop", __name__)
    blueprint.add_url_rule("/basket")
    why = "has no name: it was added with neither an endpoint nor a view"
    with pytest.raises(AssertionError, match=f"'/stock' {why}"):
        app.add_url_rule("/stock")
    with pytest.raises(AssertionError, match=f"'/basket' {why}"):
        app.register_blueprint(blueprint)


def test_two_views_of_one_name_are_refused(app: Flask) -> None:
    app.add_url_rule("/a", "same", lambda: "a")

    with pytest.raises(AssertionError, match="same"):
        app.add_url_rule("/b", "same", lambda: "b")


def test_set_up_is_over_at_the_first_request(app: Flask, client: FlaskClient) -> None:
    client.get("/")

    with pytest.raises(AssertionError, match="add_url_rule"):
        app.add_url_rule("/late", "late", lambda: "")


def test_static_files_are_served(tmp_path: Any) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.txt").write_text("a file")
    client = Flask("app", root_path=str(tmp_path)).test_client()

    with client.get("/static/a.txt") as answer:
        assert answer.text == "a file"
    assert client.get("/static/../app.py").status_code == 404


# -- what views return ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "status", "text", "mimetype"),
    [
        ("text", 200, "text", "text/html"),
        (b"bytes", 200, "bytes", "text/html"),
        ({"a": 1}, 200, '{"a":1}\n', "application/json"),
        ([1, 2], 200, "[1,2]\n", "application/json"),
        (("made", 201), 201, "made", "text/html"),
        (({"a": 1}, 201), 201, '{"a":1}\n', "application/json"),
        (("x", {"Content-Type": "text/plain"}), 200, "x", "text/plain"),
        (("x", 202, {"Content-Type": "text/plain"}), 202, "x", "text/plain"),
        (Response("r", 203), 203, "r", "text/html"),
        (iter(["a", "b"]), 200, "ab", "text/html"),
        (NotFound(), 404, None, "text/html"),
    ],
)
def test_what_a_view_may_return(
    app: Flask, client: FlaskClient, returned: Any, status: int, text: str | None, mimetype: str
) -> None:
    app.add_url_rule("/", "view", lambda: returned)

    answer = client.get("/")

    assert (answer.status_code, answer.mimetype) == (status, mimetype)
    assert text is None or answer.text == text


@pytest.mark.parametrize(
    ("returned", "message"),
    [(None, "returned None"), ((1, 2, 3, 4), "tuple of 4"), ({1}, "was a set"), (3, "was a int")],
)
def test_what_a_view_must_not_return_is_named_with_its_endpoint(
    app: Flask, client: FlaskClient, returned: Any, message: str
) -> None:
    app.testing = True
    app.add_url_rule("/", "culprit", lambda: returned)

    with pytest.raises(TypeError, match=message) as raised:
        client.get("/")
    assert "'culprit'" in str(raised.value)


# -- hooks ----------------------------------------------------------------------------------------


def test_hooks_run_around_the_view_in_their_order(app: Flask, client: FlaskClient) -> None:
    calls: list[str] = []
    for name in ("1", "2"):
        app.before_request(lambda name=name: calls.append("before " + name))
        app.after_request(lambda response, name=name: calls.append("after " + name) or response)
        app.teardown_request(lambda error, name=name: calls.append("teardown " + name))
    app.teardown_appcontext(lambda error: calls.append("app teardown"))
    app.add_url_rule("/", "view", lambda: calls.append("view") or "")

    client.get("/")

    assert calls == [
        "before 1", "before 2", "view", "after 2", "after 1", "teardown 2", "teardown 1", "app teardown",
    ]  # fmt: skip


def test_a_hook_that_answers_keeps_the_view_from_running(app: Flask, client: FlaskClient) -> None:
    app.before_request(lambda: ("from the hook", 401))
    app.add_url_rule("/", "view", lambda: pytest.fail("the view was called"))

    assert client.get("/").status_code == 401


def test_teardown_functions_are_told_of_the_error(app: Flask, client: FlaskClient) -> None:
    seen: list[Any] = []
    app.teardown_request(seen.append)
    app.logger.disabled = True
    app.add_url_rule("/", "view", lambda: 1 / 0)

    client.get("/")

    assert [type(error) for error in seen] == [ZeroDivisionError]


def test_g_is_new_for_each_request(app: Flask, client: FlaskClient) -> None:
    def view() -> str:
        g.count = g.get("count", 0) + 1
        return str(g.count)

    app.add_url_rule("/", "view", view)

    assert [client.get("/").text, client.get("/").text] == ["1", "1"]


def test_signals_are_sent_to_those_who_listen(app: Flask, client: FlaskClient) -> None:
    seen: list[str] = []
    listened = ["request_started", "request_finished", "request_tearing_down", "appcontext_pushed",
                "appcontext_tearing_down", "appcontext_popped"]  # fmt: skip
    receivers = {name: (lambda sender, name=name, **rest: seen.append(name)) for name in listened}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, app)
    app.add_url_rule("/", "view", lambda: "")

    client.get("/")

    assert seen == [
        "appcontext_pushed", "request_started", "request_finished", "request_tearing_down",
        "appcontext_tearing_down", "appcontext_popped",
    ]  # fmt: skip


# -- errors ---------------------------------------------------------------------------------------


class Problem(Exception):
    pass


class SubProblem(Problem):
    pass


def raise_(error: BaseException) -> Any:
    raise error


def test_an_exception_goes_to_the_handler_of_its_nearest_class(app: Flask, client: FlaskClient) -> None:
    app.register_error_handler(Exception, lambda error: "any")
    app.register_error_handler(Problem, lambda error: "problem")
    app.add_url_rule("/sub", "sub", lambda: raise_(SubProblem()))
    app.add_url_rule("/other", "other", lambda: raise_(KeyError()))

    assert client.get("/sub").text == "problem"
    assert client.get("/other").text == "any"


def test_a_status_code_goes_to_its_handler_before_that_of_its_class(app: Flask, client: FlaskClient) -> None:
    app.register_error_handler(HTTPException, lambda error: ("http", error.code))
    app.register_error_handler(404, lambda error: ("nothing here", 404))
    app.add_url_rule("/forbidden", "forbidden", lambda: abort(403))

    assert client.get("/nowhere").text == "nothing here"
    assert client.get("/forbidden").text == "http"


def test_an_unhandled_exception_is_a_500_and_a_log_line(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)

    with caplog.at_level(logging.ERROR, "app"):
        answer = client.get("/broken")

    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert [record.getMessage() for record in caplog.records] == ["Exception on /broken [GET]"]
    assert caplog.records[0].exc_info


def test_the_handler_of_500_sees_the_original_exception(app: Flask, client: FlaskClient) -> None:
    app.logger.disabled = True
    app.register_error_handler(500, lambda error: (type(error.original_exception).__name__, 500))
    app.add_url_rule("/", "view", lambda: 1 / 0)

    assert client.get("/").text == "ZeroDivisionError"


@pytest.mark.parametrize("setting", ["TESTING", "DEBUG", "PROPAGATE_EXCEPTIONS"])
def test_an_exception_reaches_the_caller_while_developing(app: Flask, client: FlaskClient, setting: str) -> None:
    app.config[setting] = True
    app.add_url_rule("/", "view", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        client.get("/")


def test_a_missing_form_key_is_named_in_debug_mode_only(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/", "view", lambda: request.form["name"], methods=["POST"])

    assert "name" not in client.post("/").text.split("<p>")[1]
    app.debug = True
    with pytest.raises(KeyError, match="name"):
        client.post("/")


def test_what_is_no_exception_class_or_known_code_has_no_handler(app: Flask) -> None:
    with pytest.raises(TypeError, match="instance"):
        app.register_error_handler(Problem(), lambda error: "")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'list' is not a subclass"):
        app.register_error_handler(list, lambda error: "")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="999"):
        app.register_error_handler(999, lambda error: "")


def test_malformed_json_is_a_400_that_says_where_in_debug_mode_only(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/", "view", lambda: request.get_json(), methods=["POST"])

    plain = client.post("/", data="{", content_type="application/json")
    app.debug = True
    debug = client.post("/", data="{", content_type="application/json")

    assert (plain.status_code, debug.status_code) == (400, 400)
    assert "line 1" not in plain.text
    assert "line 1" in debug.text


def test_a_form_that_a_redirect_would_drop_is_an_error_in_debug_mode(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/", "index", lambda: redirect("/x"), methods=["POST"])
    app.url_map.add(app.url_rule_class("/old", redirect_to="/", endpoint="old", methods=["POST"]))

    assert client.post("/old").status_code == 308


# -- URLs -----------------------------------------------------------------------------------------


@pytest.fixture
def user_url(app: Flask) -> Iterator[Any]:
    app.add_url_rule("/user/<int:number>", "user", lambda number: "")
    with app.test_request_context("/"):
        yield url_for


def test_urls_are_built_from_endpoints(user_url: Any) -> None:
    assert user_url("user", number=3) == "/user/3"
    assert user_url("user", number=3, q="a b") == "/user/3?q=a+b"
    assert user_url("user", number=3, _anchor="x y") == "/user/3#x%20y"
    assert user_url("user", number=3, _external=True) == "http://localhost/user/3"
    assert user_url("user", number=3, _scheme="https", _external=True) == "https://localhost/user/3"
    with pytest.raises(BuildError):
        user_url("nobody")
    with pytest.raises(ValueError, match="_external"):
        user_url("user", number=3, _scheme="https", _external=False)


def test_urls_outside_a_request_need_the_server_name(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: "")
    with app.app_context(), pytest.raises(RuntimeError, match="SERVER_NAME"):
        url_for("index")

    app.config.update(SERVER_NAME="example.org", PREFERRED_URL_SCHEME="https")
    with app.app_context():
        assert url_for("index") == "https://example.org/"


def test_a_url_that_cannot_be_built_is_asked_of_the_handlers(app: Flask) -> None:
    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/elsewhere/{endpoint}")

    with app.test_request_context():
        assert url_for("nobody") == "/elsewhere/nobody"


def test_an_untrusted_host_is_refused(app: Flask, client: FlaskClient) -> None:
    app.config["TRUSTED_HOSTS"] = ["example.org"]
    app.add_url_rule("/", "index", lambda: "")

    assert client.get("/", base_url="http://example.org").status_code == 200
    assert client.get("/", base_url="http://evil.example").status_code == 400


# -- the rest -------------------------------------------------------------------------------------


def test_run_gives_the_application_to_werkzeugs_server(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(serving, "run_simple", lambda *args, **options: given.update(args=args, **options))

    app.run(debug=True)

    assert given["args"] == ("127.0.0.1", 5000, app)
    assert (given["use_reloader"], given["use_debugger"], given["threaded"]) == (True, True, True)


def test_async_views_hooks_and_handlers_run_to_their_end(app: Flask, client: FlaskClient) -> None:
    @app.before_request
    async def before() -> None:
        g.seen = True

    @app.route("/")
    async def view() -> str:
        return f"{g.seen} {current_app.name}"

    @app.route("/broken")
    async def broken() -> str:
        raise Problem

    @app.errorhandler(Problem)
    async def handler(error: Problem) -> str:
        return "handled"

    assert client.get("/").text == "True app"
    assert client.get("/broken").text == "handled"


def test_a_debug_switch_reaches_the_templates_already_made(app: Flask) -> None:
    assert not app.jinja_env.auto_reload
    app.debug = True
    assert app.jinja_env.auto_reload


def test_abort_uses_the_applications_aborter(app: Flask, client: FlaskClient) -> None:
    class Closed(Forbidden):
        description = "closed today"

    app.aborter.mapping[403] = Closed
    app.add_url_rule("/", "index", lambda: abort(403))

    assert "closed today" in client.get("/").text
