"""HTTPS, with certificates made for the test, and what proxies say first, over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.server.certificates import Authority
from websockets.sync.client import connect as websocket

from demijohn.server.kinds import SettingError
from demijohn.server.loop import Engine
from demijohn.server.settings import Settings, from_values
from demijohn.server.timekeeping import Surroundings
from demijohn.server.tls import TLS, TLSSocket
from demijohn.server.wsgi import WSGIGateway

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")

PATIENCE_S = 30.0
HOST = "shop.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates") / "ours")


@pytest.fixture(scope="module")
def files(authority: Authority) -> tuple[Path, Path]:
    return authority.certificate(HOST)


def client(authority: Authority, **given: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    for name, value in given.items():
        setattr(context, name, value)
    return context


def connect(server: Any, context: ssl.SSLContext, preamble: bytes = b"") -> ssl.SSLSocket:
    sock = server.connect()
    sock.sendall(preamble)
    return context.wrap_socket(sock, server_hostname=HOST)


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exchange(sock: ssl.SSLSocket, data: bytes) -> bytes:
    """Send while answers come, and return all of them. In one thread: two at once break what OpenSSL keeps."""
    sock.setblocking(False)
    unsent = memoryview(data)
    received = bytearray()
    while True:
        if unsent:
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                unsent = unsent[sock.send(unsent) :]
        try:
            part = sock.recv(65536)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            assert any(select.select([sock], [sock] if unsent else [], [], PATIENCE_S))
        else:
            if not part:
                return bytes(received)
            received += part


def unread_bytes(sock: socket.socket) -> int:
    """Return how much of what was sent the server has not read yet (proc(5), /proc/net/tcp)."""
    ports = [f":{name[1]:04X}" for name in (sock.getpeername(), sock.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local, remote, _, queues, *_ = line.split()
        if [local[8:], remote[8:]] == ports:
            return int(queues.partition(":")[2], 16)
    raise AssertionError("the server has closed the connection")


def get(sock: socket.socket, target: str = "/", fields: str = "") -> tuple[int, bytes]:
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n".encode())
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response.status, response.read()


@pytest.fixture
def serve_tls(serve: Callable[..., Any], files: tuple[Path, Path]) -> Callable[..., Any]:
    def start(*flags: str, target: str = "tells:application", **more: Any) -> Any:
        certificate, key = files
        server = serve(target, "--certfile", str(certificate), "--keyfile", str(key), *flags, **more)
        server.wait_until_ready()
        return server

    return start


def environ_at(server: Any, context: ssl.SSLContext, **more: Any) -> dict[str, Any]:
    with connect(server, context, **more) as sock:
        status, content = get(sock, "/environ")
    assert status == 200
    told: dict[str, Any] = json.loads(content)
    return told


def test_requests_come_by_https(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls()
    assert "Listening at: https://" in server.log
    told = environ_at(server, client(authority))
    assert told["wsgi.url_scheme"] == "https"
    assert told["HTTPS"] == "on"
    assert told["SSL_PROTOCOL"] == "TLSv1.3"
    assert told["SSL_CLIENT_VERIFY"] == "NONE"


def test_a_connection_carries_many_requests_and_large_content(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls()
    with connect(server, client(authority)) as sock:
        assert sock.selected_alpn_protocol() is None
        for size in (0, 1, 16384, 16385, 3_000_000):
            content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + content)
            response = http.client.HTTPResponse(sock)
            response.begin()
            assert response.read() == content


def test_what_comes_behind_large_content_in_the_same_records_is_answered(serve_tls: Any, authority: Authority) -> None:
    content = bytes(range(256)) * 8000
    request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    server = serve_tls()
    with connect(server, client(authority)) as sock:
        answers = io.BytesIO(exchange(sock, request * 3 + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    for _ in range(3):
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
        fields = http.client.parse_headers(answers)
        assert answers.read(int(fields["Content-Length"])) == content
    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"


def test_a_file_is_encrypted_too(serve_tls: Any, authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4000)
    server = serve_tls()
    with connect(server, client(authority)) as sock:
        status, content = get(sock, f"/file?{path}")
    assert (status, content) == (200, path.read_bytes())


def test_the_end_of_a_connection_is_said(serve_tls: Any, authority: Authority) -> None:
    """RFC 9112 §9.8: without the alert, an end could be somebody else's doing."""
    context = client(authority)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    server = serve_tls()
    sock = server.connect()
    with context.wrap_socket(sock, server_hostname=HOST, suppress_ragged_eofs=False) as secured:
        secured.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_all(secured).startswith(b"HTTP/1.1 200 ")


def test_a_stream_that_fails_does_not_end_as_if_it_were_complete(serve_tls: Any, authority: Authority) -> None:
    context = client(authority)
    server = serve_tls()
    sock = server.connect()
    with context.wrap_socket(sock, server_hostname=HOST, suppress_ragged_eofs=False) as secured:
        secured.sendall(b"GET /fails HTTP/1.0\r\n\r\n")
        with pytest.raises(OSError):  # reset
            read_all(secured)


def test_a_handshake_that_is_not_finished_delays_nobody(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls("--threads", "1", "--head-timeout", "1")
    silent = [server.connect() for _ in range(20)]
    for sock in silent:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01")
    with connect(server, client(authority)) as sock:
        assert get(sock)[0] == 200
    for sock in silent:  # each is given up after its time
        assert sock.recv(1) == b""
        sock.close()


def test_http_without_tls_is_told_so(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls()
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    with connect(server, client(authority)) as sock:
        assert get(sock)[0] == 200


def test_garbage_ends_only_its_own_connection(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls()
    with server.connect() as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello")
        read_all(sock)
    server.wait_for(r"TLS with 127\.0\.0\.1 failed: ")
    with connect(server, client(authority)) as sock:
        assert get(sock)[0] == 200


def test_old_versions_are_refused(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls("--tls-min-version", "1.3")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(server, client(authority, maximum_version=ssl.TLSVersion.TLSv1_2))
    with connect(server, client(authority)) as sock:
        assert sock.version() == "TLSv1.3"


def test_ciphers_can_be_chosen(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls("--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384")
    with connect(server, client(authority, maximum_version=ssl.TLSVersion.TLSv1_2)) as sock:
        assert sock.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"  # type: ignore[index]


def test_clients_have_to_show_a_certificate_that_counts(serve_tls: Any, authority: Authority, tmp_path: Path) -> None:
    server = serve_tls("--ca-certs", str(authority.file), "--cert-reqs", "2")
    known = client(authority)
    known.load_cert_chain(*authority.certificate("alice"))
    told = environ_at(server, known)
    assert told["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert told["SSL_CLIENT_S_DN"] == "CN=alice,O=Tests"
    assert told["SSL_CLIENT_I_DN"] == "CN=Test authority"
    assert told["SSL_CLIENT_CERT"].startswith("-----BEGIN CERTIFICATE-----")

    stranger = client(authority)
    stranger.load_cert_chain(*Authority(tmp_path / "theirs", "Somebody else").certificate("mallory"))
    for context in (client(authority), stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)), connect(server, context) as sock:
            get(sock)


def test_a_certificate_can_be_asked_for_and_not_shown(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls("--ca-certs", str(authority.file), "--cert-reqs", "optional")
    assert environ_at(server, client(authority))["SSL_CLIENT_VERIFY"] == "NONE"


def serial_shown(server: Any, authority: Authority) -> Any:
    with connect(server, client(authority)) as sock:
        return sock.getpeercert()["serialNumber"]  # type: ignore[index]


def test_a_renewed_certificate_is_served_without_a_restart(
    serve: Any, authority: Authority, files: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(files[0], certificate)
    shutil.copy(files[1], key)
    server = serve("tells:application", "--certfile", str(certificate), "--keyfile", str(key))
    server.wait_until_ready()
    kept = connect(server, client(authority))
    before = serial_shown(server, authority)

    new_certificate, new_key = authority.certificate("shop.example")
    shutil.copy(new_certificate, certificate)  # the key does not fit now
    server.wait_for("The files of TLS have changed and cannot be used, so the old ones go on")
    assert serial_shown(server, authority) == before

    shutil.copy(new_key, key)
    server.wait_for("Serving TLS with the renewed ")
    assert serial_shown(server, authority) != before
    assert get(kept)[0] == 200
    kept.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"certificate": "missing.pem"}, "TLS cannot be served with missing.pem: No such file or directory."),
        ({"client_certificates": "required"}, "--cert-reqs needs --ca-certs"),
        ({"ciphers": "NONE-SUCH"}, "No cipher can be selected"),
        ({"private_key": "ENCRYPTED"}, "the key is encrypted, and a server cannot be asked for its password"),
        ({"private_key": "OTHER"}, "key values mismatch"),
    ],
)
def test_what_cannot_be_served_is_said_before_serving(
    settings: dict[str, str], sentence: str, files: tuple[Path, Path], authority: Authority, tmp_path: Path
) -> None:
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "ec", "-in", str(files[1]), "-aes256", "-passout", "pass:secret", "-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    other = authority.certificate("other.example")[1]
    paths = {"ENCRYPTED": str(encrypted), "OTHER": str(other)}
    given = {"certificate": str(files[0]), "private_key": str(files[1])}
    given |= {name: paths.get(value, value) for name, value in settings.items()}
    if settings.get("certificate"):
        del given["private_key"]
    with pytest.raises(SettingError, match=sentence):
        TLS(Settings(**given))  # type: ignore[arg-type]


def test_a_key_alone_is_said_to_lack_its_certificate(serve: Any, files: tuple[Path, Path]) -> None:
    server = serve("tells:application", "--keyfile", str(files[1]))
    assert server.wait() == 1
    assert "--keyfile needs --certfile" in server.log


@pytest.mark.parametrize(
    ("given", "value"), [(0, "none"), ("1", "optional"), (ssl.CERT_REQUIRED, "required"), ("Optional", "optional")]
)
def test_gunicorns_ways_to_ask_for_certificates_are_known(given: Any, value: str) -> None:
    assert from_values({"client_certificates": given}, {}).client_certificates == value


# -- the PROXY protocol ------------------------------------------------------------------------------------------

LINE = b"PROXY TCP4 192.0.2.7 10.0.0.9 50000 443\r\n"
BINARY = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + socket.inet_aton("192.0.2.7")
    + socket.inet_aton("10.0.0.9")
    + struct.pack("!HH", 50000, 443)
)


@pytest.mark.parametrize("header", [LINE, BINARY])
def test_a_proxy_says_who_connects_before_tls_and_before_http(
    serve_tls: Any, serve: Any, authority: Authority, header: bytes
) -> None:
    told = environ_at(serve_tls("--proxy-protocol", "auto"), client(authority), preamble=header)
    assert (told["REMOTE_ADDR"], told["REMOTE_PORT"], told["wsgi.url_scheme"]) == ("192.0.2.7", "50000", "https")

    server = serve("tells:application", "--proxy-protocol", "auto")
    server.wait_until_ready()
    with server.connect() as sock:
        for byte in header:
            sock.sendall(bytes([byte]))
        told = json.loads(get(sock, "/environ")[1])
        assert (told["REMOTE_ADDR"], told["REMOTE_PORT"]) == ("192.0.2.7", "50000")
        assert get(sock)[0] == 200


def test_a_connection_without_the_header_is_refused_or_served_as_is_set(serve: Any) -> None:
    server = serve("tells:application", "--proxy-protocol", "v1")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400 ")
    server.wait_for("Refused a request of 127.0.0.1: 400 The connection must begin with a header")

    server = serve("tells:application", "--proxy-protocol", "--threads", "4")
    server.wait_until_ready()
    with server.connect() as sock:
        for piece in (b"P", b"OST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"):
            sock.sendall(piece)
        assert read_all(sock).endswith(b"\r\n\r\nhi")


def test_what_begins_like_the_header_of_a_proxy_and_is_no_handshake_is_refused(serve_tls: Any) -> None:
    server = serve_tls("--proxy-protocol", "auto")
    with server.connect() as sock:
        sock.sendall(b"P")
        # Not together with the letter before: that has to be taken for the begin of a header.
        while unread_bytes(sock):
            pass
        sock.sendall(b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400 ")
    server.wait_for("The connection must begin with a TLS handshake")


class SlowTLS(TLS):
    """TLS that comes to a connection only when its peer is gone, and says when it waits for that."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.waits = threading.Event()

    def wrap(self, sock: socket.socket) -> TLSSocket:
        self.waits.set()
        gone = select.poll()
        gone.register(sock, 0)
        assert gone.poll(1000 * PATIENCE_S)
        return super().wrap(sock)


def test_a_peer_that_goes_between_its_header_and_tls_is_no_fault_of_the_servers(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(proxy_protocol="auto", certificate=str(files[0]), private_key=str(files[1]))
    tls = SlowTLS(settings)
    gateway = WSGIGateway(lambda environ, start_response: [])
    listener = socket.create_server(("127.0.0.1", 0))
    engine = Engine([listener], gateway, settings, Surroundings(tls=tls))
    thread = threading.Thread(target=engine.run)
    thread.start()
    with socket.create_connection(listener.getsockname()) as sock:
        sock.sendall(LINE)
        assert tls.waits.wait(PATIENCE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    engine.drain()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    listener.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_nobody_else_may_say_who_connects(serve: Any) -> None:
    server = serve("tells:application", "--proxy-protocol", "auto", "--proxy-allow-from", "10.0.0.0/8")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(LINE + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 501 ")


def test_a_header_that_does_not_come_is_waited_for_no_longer_than_a_head(serve: Any) -> None:
    server = serve("tells:application", "--proxy-protocol", "v1", "--head-timeout", "0.5", "--threads", "1")
    server.wait_until_ready()
    with server.connect() as silent, server.connect() as begun, server.connect() as sock:
        begun.sendall(b"PROXY ")
        sock.sendall(LINE)
        assert get(sock)[0] == 200
        assert read_all(silent) == read_all(begun) == b""


def test_the_access_log_names_the_client_and_how_long_the_request_waited(serve: Any) -> None:
    server = serve(
        "tells:application",
        *("--forwarded", "x-forwarded", "--access-logfile", "-", "--access-logformat", "%(h)s waited %(Q)s"),
    )
    server.wait_until_ready()
    with server.connect() as sock:
        get(sock, "/", "X-Forwarded-For: 192.0.2.7\r\nX-Request-Start: t=1000000000.0\r\n")
        get(sock, "/", "X-Forwarded-For: 192.0.2.8\r\n")
    server.wait_for(r"192\.0\.2\.7 waited \d{9}\.\d+")
    server.wait_for(r"192\.0\.2\.8 waited -")


def taken_over(server: Any, authority: Authority, path: str) -> ssl.SSLSocket:
    sock = connect(server, client(authority))
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return sock


def test_a_view_that_takes_the_connection_over_speaks_tls(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls(target="lending:app")
    with taken_over(server, authority, "/echo") as sock:
        sock.sendall(b"secret")
        assert sock.recv(100) == b"SECRET"
        sock.sendall(b".")
        assert read_all(sock) == b""


def test_two_threads_of_a_view_may_use_the_connection_it_has_taken_over(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls(target="lending:app")
    with taken_over(server, authority, "/both") as sock:
        came = sock.recv(1000)  # goes out while the thread of the view waits for something to read
        sock.setblocking(False)
        left, deadline = memoryview(b"y" * 4_000_000), time.monotonic() + PATIENCE_S
        while b"." not in came:
            assert time.monotonic() < deadline
            select.select([sock], [sock] if left else [], [], 1.0)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                came = came[-100:] + sock.recv(100_000)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                left = left[sock.send(left[:10_000]) :] if left else left
        sock.setblocking(True)
        came += read_all(sock)
    assert came[came.index(b".") :] == b".4000000"


def test_a_connection_taken_over_waits_for_the_peer_as_it_is_told(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls(target="lending:app")
    with taken_over(server, authority, "/patience") as sock, sock.makefile("rb") as file:
        assert file.readline() == b"TimeoutError BlockingIOError\n"
        sock.sendall(b"a line\n")
        assert file.read() == b"A LINE\n"


def test_the_hook_ssl_context_has_the_last_word(serve_tls: Any, authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "conf.py"
    path.write_text(
        "import ssl\n"
        "def ssl_context(config, default_ssl_context_factory):\n"
        "    context = default_ssl_context_factory()\n"
        "    context.maximum_version = ssl.TLSVersion.TLSv1_2 if config.certfile else None\n"
        "    return context\n"
    )
    server = serve_tls("-c", str(path))
    assert environ_at(server, client(authority))["SSL_PROTOCOL"] == "TLSv1.2"


def test_a_hook_that_returns_no_context_stops_the_start(serve: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "conf.py"
    path.write_text("def ssl_context(config, default_ssl_context_factory):\n    return None\n")
    server = serve("tells:application", "-c", str(path), "--certfile", str(files[0]), "--keyfile", str(files[1]))
    assert server.wait() == 1
    assert "the hook ssl_context returned no SSLContext" in server.log


# -- ASGI --------------------------------------------------------------------------------------------------------


def test_an_asgi_application_is_told_of_tls_and_of_the_client(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls("--forwarded", "x-forwarded", target="asgi_plain:application")
    fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: shop.example\r\n"
    with connect(server, client(authority)) as sock:
        scope = json.loads(get(sock, "/scope/%C3%A9", fields)[1])
    assert scope["scheme"] == "https"
    assert scope["client"] == ["192.0.2.7", 0]
    assert [value for name, value in scope["headers"] if name == "host"] == ["shop.example"]


def test_a_websocket_speaks_tls(serve_tls: Any, authority: Authority) -> None:
    server = serve_tls(target="asgi_plain:application")
    with websocket("wss://shop.example/ws", sock=server.connect(), ssl=client(authority)) as peer:
        for message in ("hello", "x" * 100_000):
            peer.send(message)
            assert peer.recv(PATIENCE_S) == message
