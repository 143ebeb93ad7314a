"""Fields whose names hold `_`, and the path that a proxy mounts an application at."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demijohn.message import Fields, ProtocolError
from demijohn.server.fieldnames import settle
from demijohn.server.settings import SettingError, Settings, from_values

FIELDS: Fields = [(b"x_user", b"evil"), (b"x-user", b"good"), (b"remote_user", b"eve"), (b"script_name", b"/shop")]


@pytest.mark.parametrize(
    ("given", "is_trusted", "names", "script_name"),
    [
        ({}, False, ["x-user"], b""),
        ({}, True, ["x-user"], b"/shop"),
        ({"forwarder_headers": ("REMOTE_USER",)}, True, ["x-user", "remote_user"], b""),
        ({"forwarder_headers": ("REMOTE_USER",)}, False, ["x-user"], b""),
        ({"forwarder_headers": ("*",)}, True, ["x_user", "x-user", "remote_user"], b"/shop"),
        ({"header_map": "dangerous"}, False, ["x_user", "x-user", "remote_user", "script_name"], b""),
    ],
)
def test_names_with_underscores_are_taken_from_whom_the_settings_say(
    given: dict[str, Any], is_trusted: bool, names: list[str], script_name: bytes
) -> None:
    fields, told = settle(FIELDS, Settings(**given), is_trusted=is_trusted)
    assert ([name.decode() for name, _ in fields], told) == (names, script_name)


def test_they_can_be_refused_but_for_those_that_a_proxy_may_set() -> None:
    policy = Settings(header_map="refuse")
    with pytest.raises(ProtocolError, match="underscore"):
        settle([(b"x_user", b"evil")], policy, is_trusted=True)
    assert settle([(b"script_name", b"/a")], policy, is_trusted=True) == ([], b"/a")


def test_the_settings_are_gunicorns() -> None:
    settings = from_values({"header_map": "refuse", "forwarder_headers": "script_name,REMOTE_USER"}, {})
    assert (settings.header_map, settings.forwarder_headers) == ("refuse", ("SCRIPT_NAME", "REMOTE_USER"))
    with pytest.raises(SettingError, match="must be one of drop, refuse, dangerous"):
        from_values({"header_map": "keep"}, {})


# -- over sockets ---------------------------------------------------------------------------------------------

NATIVE = """
from demijohn import Flask, redirect, request, url_for

app = Flask(__name__)

@app.get("/")
@app.get("/<path:path>")
def show(path=""):
    url = url_for("show", path="x")
    return {"path": request.path, "root": request.script_root, "url": url, "user": str(request.headers)}

@app.get("/leave")
def leave():
    return redirect(url_for("show"))
"""
ASGI = """
import json

async def app(scope, receive, send):
    names = [name.decode() for name, _ in scope["headers"] if b"user" in name]
    content = json.dumps({"path": scope["path"], "root": scope["root_path"], "names": names}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": content})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(NATIVE)
    (tmp_path / "web.py").write_text(ASGI)
    return tmp_path


def ask(server: Any, *requests: tuple[str, dict[str, str]]) -> list[tuple[int, Any]]:
    """Return the answers to requests on one connection."""
    connection = http.client.HTTPConnection("testserver")
    connection.sock = server.connect()
    answers = []
    for target, fields in requests:
        connection.request("GET", target, headers=fields)
        response = connection.getresponse()
        content = response.read()
        answers.append(
            (response.status, json.loads(content) if response.status == 200 else response.headers["Location"])
        )
        if response.headers["Connection"] == "close":
            break
    connection.close()
    return answers


def test_a_proxy_mounts_an_application_at_a_path(serve: Callable[..., Any], folder: Path) -> None:
    server = serve("shop:app", "--access-logfile", "-", cwd=folder)
    server.wait_until_ready()
    mounted = {"Script_Name": "/shop"}
    first, again, plain, left = ask(
        server, ("/shop/a", mounted), ("/shop/a", mounted), ("/shop/a", {}), ("/shop/leave", mounted)
    )
    assert first == again
    assert first[0] == 200
    assert (first[1]["path"], first[1]["root"], first[1]["url"]) == ("/a", "/shop", "/shop/x")
    assert (plain[1]["path"], plain[1]["root"], plain[1]["url"]) == ("/shop/a", "", "/x")
    assert left == (302, "/shop/")
    server.wait_for('"GET /shop/a HTTP/1.1" 200')
    assert ask(server, ("/shopping", mounted)) == [(404, None)]
    assert ask(server, ("/shop?a=b", mounted)) == [(308, "http://testserver/shop/?a=b")]


def test_nobody_else_mounts_anything(serve: Callable[..., Any], folder: Path) -> None:
    server = serve("shop:app", "--forwarded-allow-ips", "10.0.0.0/8", cwd=folder)
    server.wait_until_ready()
    ((_, seen),) = ask(server, ("/shop/a", {"SCRIPT_NAME": "/shop", "X_User": "eve"}))
    assert (seen["path"], seen["root"]) == ("/shop/a", "")
    assert "eve" not in seen["user"]


def test_a_variable_mounts_an_application_at_a_path(serve: Callable[..., Any], folder: Path) -> None:
    server = serve("shop:app", "-e", "SCRIPT_NAME=/shop", cwd=folder)
    server.wait_until_ready()
    seen, other = ask(server, ("/shop/a", {}), ("/a", {}))
    assert (seen[1]["path"], seen[1]["root"]) == ("/a", "/shop")
    assert other == (404, None)


def test_an_asgi_application_is_told_where_it_is_mounted(serve: Callable[..., Any], folder: Path) -> None:
    server = serve("web:app", cwd=folder)
    server.wait_until_ready()
    ((_, seen),) = ask(server, ("/shop/a", {"SCRIPT_NAME": "/shop", "X_User": "eve", "X-User": "bob"}))
    assert seen == {"path": "/shop/a", "root": "/shop", "names": ["x-user"]}


def test_a_request_with_such_a_name_can_be_refused(serve: Callable[..., Any], folder: Path) -> None:
    server = serve("shop:app", "--header-map", "refuse", cwd=folder)
    server.wait_until_ready()
    assert ask(server, ("/", {"X_User": "eve"}), ("/", {})) == [(400, None)]
