"""The test client and the command runner, as tests of applications use them."""

from __future__ import annotations

import io
from typing import Any

import click
import pytest
from werkzeug.test import Client
from werkzeug.test import EnvironBuilder as WerkzeugEnvironBuilder

from demijohn import Flask, Response, current_app, g, has_request_context, redirect, request, session
from demijohn.commands import ScriptInfo
from demijohn.testing import EnvironBuilder, FlaskClient, FlaskCliRunner


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.testing = True
    app.secret_key = "key"

    @app.route("/echo", methods=["GET", "POST"])
    def echo() -> dict[str, Any]:
        return {
            "url": request.url,
            "method": request.method,
            "address": request.remote_addr,
            "agent": request.user_agent.string,
            "json": request.get_json(silent=True),
            "file": request.files["file"].read().decode() if "file" in request.files else None,
        }

    @app.get("/count")
    def count() -> str:
        session["count"] = session.get("count", 0) + 1
        g.count = session["count"]
        return str(session["count"])

    @app.get("/away")
    def away() -> Any:
        session["away"] = True
        return redirect("/count")

    return app


# -- environs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "arguments", "url"),
    [
        ({}, {}, "http://localhost/"),
        ({}, {"path": "/a?b=c"}, "http://localhost/a?b=c"),
        ({}, {"path": "https://example.org/a?b=c"}, "https://example.org/a?b=c"),
        ({}, {"url_scheme": "https", "subdomain": "www"}, "https://www.localhost/"),
        ({}, {"base_url": "https://example.org/root/", "path": "/a"}, "https://example.org/root/a"),
        ({"SERVER_NAME": "shop.test:81"}, {"subdomain": "www"}, "http://www.shop.test:81/"),
        ({"SERVER_NAME": "shop.test"}, {"path": "http://other.test/a"}, "http://other.test/a"),
        ({"APPLICATION_ROOT": "/root", "PREFERRED_URL_SCHEME": "https"}, {"path": "/a"}, "https://localhost/root/a"),
    ],
)
def test_the_configuration_says_where_the_application_is(
    config: dict[str, Any], arguments: dict[str, Any], url: str
) -> None:
    app = Flask(__name__)
    app.config.update(config)
    builder = EnvironBuilder(app, **arguments)
    assert builder.get_request().url == url
    builder.close()
    assert app.test_request_context(**arguments).request.url == url


def test_a_base_url_and_its_parts_exclude_each_other(app: Flask) -> None:
    for part in ({"subdomain": "www"}, {"url_scheme": "https"}):
        with pytest.raises(AssertionError, match="base_url"):
            EnvironBuilder(app, base_url="http://localhost", **part)


def test_json_is_written_as_the_application_writes_it(app: Flask) -> None:
    app.json.sort_keys = False  # type: ignore[attr-defined]
    builder = EnvironBuilder(app, json={"b": 1, "a": 2})
    assert builder.get_request().get_data() == b'{"b": 1, "a": 2}'
    builder.close()


# -- requests -------------------------------------------------------------------------------------------


def test_the_client_sends_what_a_browser_would(app: Flask) -> None:
    client = app.test_client()
    sent = client.post("/echo?q=1", json={"a": 1}, url_scheme="https").json
    assert sent is not None
    assert (sent["url"], sent["method"], sent["json"]) == ("https://localhost/echo?q=1", "POST", {"a": 1})
    assert sent["address"] == "127.0.0.1"
    assert sent["agent"].startswith("Werkzeug/")


def test_what_every_request_starts_with_can_be_set(app: Flask) -> None:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    answer = client.get("/echo", environ_base={"HTTP_USER_AGENT": "mine"}).json
    assert answer is not None
    assert (answer["address"], answer["agent"]) == ("192.0.2.1", "mine")


def test_builders_environs_and_requests_can_be_sent(app: Flask) -> None:
    client = app.test_client()
    builder = WerkzeugEnvironBuilder("/echo", method="POST", data={"file": (io.BytesIO(b"content"), "a.txt")})
    assert client.open(builder).json["file"] == "content"  # type: ignore[index]
    own = EnvironBuilder(app, "/echo")
    assert client.open(own).json["address"] == "127.0.0.1"  # type: ignore[index]
    client.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    assert client.open(own.get_environ()).json["address"] == "192.0.2.1"  # type: ignore[index]
    assert client.open(own.get_request()).json["method"] == "GET"  # type: ignore[index]
    builder.close()
    own.close()


def test_responses_read_json_as_the_application_does(app: Flask) -> None:
    app.json.loads = lambda s, **kwargs: "loaded"  # type: ignore[method-assign]
    assert app.test_client().get("/echo").json == "loaded"


def test_a_client_without_cookies_forgets(app: Flask) -> None:
    client = app.test_client()
    assert [client.get("/count").text for _ in range(2)] == ["1", "2"]
    client = app.test_client(use_cookies=False)
    assert [client.get("/count").text for _ in range(2)] == ["1", "1"]


def test_the_client_class_and_its_arguments_are_the_applications(app: Flask) -> None:
    class Own(FlaskClient):
        def __init__(self, *args: Any, token: str = "", **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.token = token

    app.test_client_class = Own
    client = app.test_client(token="t")
    assert isinstance(client, Own)
    assert isinstance(client, Client)
    assert client.token == "t"
    assert client.application is app


# -- contexts that stay ---------------------------------------------------------------------------------


def test_in_a_with_block_the_last_request_stays_current(app: Flask) -> None:
    client = app.test_client()
    with client:
        client.get("/count")
        assert (request.path, session["count"], g.count) == ("/count", 1, 1)
        client.get("/echo?last")
        assert request.query_string == b"last"
        assert "count" not in g
    assert not has_request_context()
    assert not current_app


def test_outside_a_with_block_nothing_stays(app: Flask) -> None:
    app.test_client().get("/count")
    assert not has_request_context()


def test_contexts_that_stayed_are_torn_down_when_they_go(app: Flask) -> None:
    events: list[str] = []
    app.teardown_request(lambda error: events.append("teardown"))
    with app.test_client() as client:
        client.get("/count")
        assert events == ["teardown"]
        assert request.path == "/count"
    assert events == ["teardown", "teardown"]


def test_after_a_redirect_the_last_request_is_the_current_one(app: Flask) -> None:
    with app.test_client() as client:
        response = client.get("/away", follow_redirects=True)
        assert response.text == "1"
        assert request.path == "/count"
        assert session["away"]
        assert session["count"] == 1
    assert not has_request_context()


def test_blocks_of_one_client_do_not_nest(app: Flask) -> None:
    client = app.test_client()
    with client, pytest.raises(RuntimeError, match="nest"), client:
        pass
    with client:
        client.get("/count")
        assert request.path == "/count"


def test_an_error_ends_the_block_and_its_contexts(app: Flask) -> None:
    def look(client: FlaskClient) -> None:
        with client:
            client.get("/count")
            raise LookupError

    with pytest.raises(LookupError):
        look(app.test_client())
    assert not has_request_context()


# -- sessions ---------------------------------------------------------------------------------------------


def test_a_session_can_be_changed_between_requests(app: Flask) -> None:
    client = app.test_client()
    with client.session_transaction() as opened:
        assert "count" not in opened
        opened["count"] = 41
    assert client.get("/count").text == "42"
    with client.session_transaction() as opened:
        assert opened["count"] == 42


def test_a_session_is_opened_for_the_request_it_is_asked_for(app: Flask) -> None:
    app.config.update(SESSION_COOKIE_PATH="/shop", APPLICATION_ROOT="/")
    client = app.test_client()
    with client.session_transaction("/shop/a") as opened:
        opened["count"] = 1
    assert client.get_cookie("session", path="/shop") is not None
    assert client.get("/count").text == "1"


def test_an_error_in_a_transaction_saves_nothing(app: Flask) -> None:
    client = app.test_client()

    def change() -> None:
        with client.session_transaction() as opened:
            opened["count"] = 1
            raise LookupError

    with pytest.raises(LookupError):
        change()
    assert client.get("/count").text == "1"


def test_a_transaction_needs_cookies_and_a_session(app: Flask) -> None:
    with pytest.raises(TypeError, match="Cookies are disabled"), app.test_client(False).session_transaction():
        pass
    app.secret_key = None
    with (
        pytest.raises(RuntimeError, match="Session backend did not open a session"),
        app.test_client().session_transaction(),
    ):
        pass


def test_a_transaction_leaves_the_current_request_current(app: Flask) -> None:
    with app.test_client() as client:
        client.get("/count")
        with client.session_transaction() as opened:
            opened["count"] = 10
            assert request.path == "/count"
        assert request.path == "/count"
        assert client.get("/count").text == "11"


# -- commands -------------------------------------------------------------------------------------------


def test_a_command_runs_with_its_application(app: Flask) -> None:
    @app.cli.command("name")
    @click.argument("words", nargs=-1)
    def name(words: tuple[str, ...]) -> None:
        click.echo(f"{current_app.name} {' '.join(words)}")

    runner = app.test_cli_runner()
    assert runner.invoke(args=["name", "a", "b"]).output == f"{__name__} a b\n"
    assert runner.invoke(args="name a").output == f"{__name__} a\n"
    assert runner.invoke(name, ["c"]).output == f"{__name__} c\n"
    result = runner.invoke(args=["no-such-command"])
    assert result.exit_code != 0
    assert "no-such-command" in result.output


def test_a_command_can_be_given_another_application(app: Flask) -> None:
    other = Flask("other")

    @app.cli.command("name")
    def name() -> None:
        click.echo(current_app.name)

    result = app.test_cli_runner().invoke(args=["name"], obj=ScriptInfo(create_app=lambda: other))
    assert result.output == "other\n"


def test_the_runner_class_is_the_applications(app: Flask) -> None:
    class Own(FlaskCliRunner):
        pass

    app.test_cli_runner_class = Own
    runner = app.test_cli_runner(env={"NAME": "value"})
    assert isinstance(runner, Own)
    assert runner.app is app
    assert runner.env == {"NAME": "value"}


def test_a_response_of_any_wsgi_application_in_front_is_seen(app: Flask) -> None:
    inner = app.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/blocked":
            return Response("blocked", 403)(environ, start_response)
        return inner(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]
    assert app.test_client().get("/blocked").status_code == 403
    assert app.test_client().get("/count").text == "1"
