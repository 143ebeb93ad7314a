"""The application under other servers than ours and behind middleware: WSGI as PEP 3333 has it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parent / "apps"
TEXT = (APPS / "deployed.py").read_text()

#: The command of each server, to which the address and the name of an application are added.
SERVERS = {
    "demijohn": ("-m", "demijohn", "serve", "--bind={}"),
    "gunicorn": ("-m", "gunicorn", "--bind={}", "--no-control-socket"),
    "waitress": ("-m", "waitress", "--no-clear-untrusted-proxy-headers", "--listen={}"),  # ProxyFix is to see them
}
READY = {"demijohn": "Worker ready", "gunicorn": "Booting worker", "waitress": "Serving on"}


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Site:
    """A served application, and the process that serves it."""

    port: int
    process: Any

    def ask(self, method: str, target: str, content: bytes | None = None, **headers: str) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, content, fields)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def stop(self) -> str:
        """Stop the server and return all that it printed."""
        self.process.stop()
        output: str = self.process.read_to_the_end()
        return output


@pytest.fixture(params=SERVERS)
def serve(request: pytest.FixtureRequest, start: Callable[..., Any], free_port: int) -> Callable[[str], Site]:
    """Run an application of deployed.py under each of the servers."""

    def start_server(name: str) -> Site:
        arguments = [argument.format(f"127.0.0.1:{free_port}") for argument in SERVERS[request.param]]
        process = start(*arguments, f"deployed:{name}", cwd=APPS, PYTHONPATH=str(APPS))
        process.wait_for(READY[request.param])
        return Site(free_port, process)

    return start_server


# `validated` stops every request in which the application or the server breaks PEP 3333.
@pytest.mark.parametrize("name", ["app", "validated"])
def test_every_kind_of_answer_arrives(serve: Callable[[str], Site], name: str) -> None:
    site = serve(name)

    hello = site.ask("GET", "/")
    assert (hello.status, hello.text, hello.headers["Content-Length"]) == (200, "Hello from shop!", "16")

    head = site.ask("HEAD", "/")
    assert (head.status, head.content, head.headers["Content-Length"]) == (200, b"", "16")

    assert site.ask("POST", "/echo", b'{"a": [1]}', Content_Type="application/json").json == {"json": {"a": [1]}}
    assert site.ask("POST", "/echo", b"{", Content_Type="application/json").status == 400
    assert site.ask("POST", "/echo", b"a=1").status == 415

    form = b"a=1&b=%C3%A9"
    answer = site.ask("POST", "/form", form, Content_Type="application/x-www-form-urlencoded")
    assert answer.json == {"files": {}, "form": {"a": "1", "b": "é"}}

    upload = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\n\r\n'
        + b"line\n" * 40_000
        + b"\r\n--x--\r\n"
    )
    answer = site.ask("POST", "/form", upload, Content_Type="multipart/form-data; boundary=x")
    assert answer.json == {"files": {"f": "line\n" * 40_000}, "form": {}}

    first = site.ask("GET", "/count")
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    assert first.headers["Vary"] == "Cookie"
    assert site.ask("GET", "/count", Cookie=cookie).json == {"count": 2}

    assert site.ask("GET", "/stream").text == "/stream 0\n/stream 1\n/stream 2\n"
    assert site.ask("GET", "/source").text == TEXT
    part = site.ask("GET", "/source", Range="bytes=0-9")
    assert (part.status, part.text) == (206, TEXT[:10])
    etag = site.ask("HEAD", "/source").headers["ETag"]
    assert site.ask("GET", "/source", If_None_Match=etag).status == 304
    assert site.ask("GET", "/nothing").status == 204

    assert site.ask("GET", "/absent").status == 404
    refused = site.ask("DELETE", "/")
    assert (refused.status, set(refused.headers["Allow"].split(", "))) == (405, {"GET", "HEAD", "OPTIONS"})
    failed = site.ask("GET", "/fails")
    assert failed.status == 500
    assert "bug" not in failed.text

    printed = site.stop()
    assert "ValueError: a bug in the application" in printed
    assert printed.count("Traceback") == 1
    assert "without being closed" not in printed


def test_a_trusted_proxy_says_where_the_client_is(serve: Callable[[str], Site]) -> None:
    site = serve("proxied")

    answer = site.ask(
        "GET",
        "/where",
        X_Forwarded_For="203.0.113.9",
        X_Forwarded_Proto="https",
        X_Forwarded_Host="shop.example",
        X_Forwarded_Prefix="/store",
    )

    assert answer.json == {
        "client": "203.0.113.9",
        "link": "https://shop.example/store/",
        "scheme": "https",
        "script": "/store",
        "url": "https://shop.example/store/where",
    }
    # Without a proxy's fields, what the connection says.
    assert site.ask("GET", "/where").json["client"] == "127.0.0.1"


@pytest.mark.parametrize("name", ["mounted", "mounted_inside"])
def test_applications_share_a_site(serve: Callable[[str], Site], name: str) -> None:
    site = serve(name)

    assert site.ask("GET", "/").text == "Hello from shop!"
    assert site.ask("GET", "/api/").text == "Hello from api!"
    where = site.ask("GET", "/api/where").json
    assert (where["script"], where["link"]) == ("/api", f"http://127.0.0.1:{site.port}/api/")
    cookie = site.ask("GET", "/api/count").headers["Set-Cookie"]
    assert "Path=/;" in f"{cookie};"
    assert site.ask("GET", "/api/absent").status == 404


def test_files_lie_beside_an_application(serve: Callable[[str], Site]) -> None:
    site = serve("shared")

    assert site.ask("GET", "/files/deployed.py").text == TEXT
    assert site.ask("GET", "/files/absent.py").status == 404
    assert site.ask("GET", "/").text == "Hello from shop!"
    assert site.ask("POST", "/echo", b"[]", Content_Type="application/json").json == {"json": []}
