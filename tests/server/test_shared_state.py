"""Two servers behind one nginx, and what they share in Redis."""

from __future__ import annotations

import http.client
import http.cookies
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  upstream servers {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://servers; proxy_set_header X-Forwarded-For $remote_addr; }}
  }}
}}
"""


class Client:
    """Somebody with a browser: it keeps its cookie."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""

    def get(self, target: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", target, headers={"Cookie": self._cookie} if self._cookie else {})
            response = connection.getresponse()
            for line in response.headers.get_all("Set-Cookie", []):
                for name, morsel in http.cookies.SimpleCookie(line).items():
                    self._cookie = f"{name}={morsel.value}"
            return response.status, response.read().decode()
        finally:
            connection.close()


@pytest.fixture
def servers(serve: Callable[..., Any], redis_server: Any) -> list[Any]:
    state = f"redis://127.0.0.1:{redis_server.port}/0"
    servers = [serve("heavy_work:app", "--state", state, STATE=state) for _ in range(2)]
    for server in servers:
        server.worker = server.wait_until_ready()[0]
    return servers


@pytest.fixture
def client(servers: list[Any], program: Callable[..., Any], free_port: int, tmp_path: Path) -> Client:
    addresses = " ".join("server {}:{} max_fails=0;".format(*server.address) for server in servers)
    config = tmp_path / "nginx.conf"
    path = os.environ["PATH"] + ":/usr/sbin"
    if shutil.which("nginx", path=path) is None:
        pytest.skip("nginx is not installed, so this is NOT TESTED here")
    config.write_text(NGINX.format(directory=tmp_path, servers=addresses, port=free_port))
    return Client(program("nginx", "-p", str(tmp_path), "-c", str(config), port=free_port, path=path).port)


def test_two_servers_serve_one_session_and_one_rate_limit(servers: list[Any], client: Client) -> None:
    answers = [json.loads(client.get("/count")[1]) for _ in range(8)]
    assert [answer["count"] for answer in answers] == list(range(1, 9))
    assert {answer["pid"] for answer in answers} == {server.worker for server in servers}
    assert [client.get("/limited")[0] for _ in range(5)] == [200, 200, 200, 429, 429]


def test_redis_may_stop_and_come_back(servers: list[Any], client: Client, redis_server: Any) -> None:
    for _ in range(3):
        client.get("/count")
    redis_server.stop()
    for _ in range(4):
        status, page = client.get("/count")
        assert (status, "cannot be reached" in page) == (503, True)
        assert client.get("/") == (200, "hello")
        assert client.get("/limited")[0] == 200  # as documented: it allows, and says so in the log
    servers[0].wait_for("A session could not be read: Redis at 127.0.0.1")
    servers[0].wait_for("A request was let pass without being counted")

    redis_server.start()
    answers = [json.loads(client.get("/count")[1]) for _ in range(2)]
    assert [answer["count"] for answer in answers] == [4, 5]
    assert {answer["pid"] for answer in answers} == {server.worker for server in servers}  # no worker has died
