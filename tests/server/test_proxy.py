"""What proxies say of the client, and who is believed."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import splits_of

from demijohn.environ import environ_of
from demijohn.message import Origin, ProtocolError, RequestHead
from demijohn.server.proxy import Entrance, Networks, PreambleReader, Told, queued_s
from demijohn.server.settings import Settings, from_values
from demijohn.server.settings_connections import SECURE_FIELDS

PROXY, CLIENT = ("10.0.0.1", 40000), ("192.0.2.7", 50000)


# -- networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "host", "trusted"),
    [
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("::1",), "::1", True),
        (("*",), "203.0.113.9", True),
        ((), "127.0.0.1", False),
        (("10.0.0.0/8",), "no address", False),
    ],
)
def test_networks_have_the_addresses_in_them(networks: tuple[str, ...], host: str, trusted: bool) -> None:
    for _ in range(2):
        assert (host in Networks(networks)) is trusted


def test_peers_on_a_unix_socket_are_trusted() -> None:
    assert Networks(()).trusts(None)


# -- the PROXY protocol --------------------------------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def binary(content: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(content)) + content


ADDRESSES_4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.9") + struct.pack("!HH", 50000, 443)
ADDRESSES_6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 50000, 443)
)
SERVER = ("10.0.0.9", 443)
TLS_RECORD = b"\x20\0\x05\x01\0\0\0\0"
OTHER_RECORD = b"\x05\0\x02id"

HEADERS = {
    "v1": (b"PROXY TCP4 192.0.2.7 10.0.0.9 50000 443\r\n", Told(CLIENT, SERVER)),
    "v1, IPv6": (b"PROXY TCP6 2001:db8::7 ::1 50000 443\r\n", Told(("2001:db8::7", 50000), ("::1", 443))),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", Told()),
    "v1, unknown, and more": (b"PROXY UNKNOWN a b c d\r\n", Told()),
    "v2": (binary(ADDRESSES_4), Told(CLIENT, SERVER)),
    "v2, IPv6": (binary(ADDRESSES_6, family=0x21), Told(("2001:db8::7", 50000), ("::1", 443))),
    "v2, the proxy's own": (binary(b"", command=0x20, family=0), Told()),
    "v2, a Unix socket": (binary(b"\0" * 216, family=0x31), Told()),
    "v2, by TLS": (binary(ADDRESSES_4 + OTHER_RECORD + TLS_RECORD), Told(CLIENT, SERVER, is_tls=True)),
    "v2, not by TLS": (binary(ADDRESSES_4 + b"\x20\0\x05\0\0\0\0\0"), Told(CLIENT, SERVER)),
    "v2, a record cut short": (binary(ADDRESSES_4 + b"\x20\0\x05"), Told(CLIENT, SERVER)),
}


def read(pieces: list[bytes], mode: Any = "auto") -> tuple[PreambleReader, int]:
    """Return the reader and how much of what came belongs to the header."""
    reader = PreambleReader(mode)
    taken = 0
    for piece in pieces:
        if not reader.done:
            taken += reader.receive_data(piece)
    return reader, taken


@pytest.mark.parametrize(("header", "told"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_tells_the_addresses_however_it_arrives(header: bytes, told: Told) -> None:
    for pieces in ([header + b"GET"], [header[i : i + 1] for i in range(len(header))]):
        reader, taken = read(pieces)
        assert reader.done
        assert reader.told == told
        assert taken == len(header)
        assert reader.unread == b""


@given(st.sampled_from([header for header, _ in HEADERS.values()]).flatmap(lambda h: splits_of(h + b"GET / HTTP/1.1")))
def test_not_a_byte_of_the_request_is_taken(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    _, taken = read(pieces)
    assert data[taken:] == b"GET / HTTP/1.1"


MALFORMED = {
    "no port": b"PROXY TCP4 192.0.2.7 10.0.0.9 50000\r\n",
    "a port too large": b"PROXY TCP4 192.0.2.7 10.0.0.9 65536 443\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.7 10.0.0.9 +1 443\r\n",
    "another family": b"PROXY TCP4 ::1 ::1 1 443\r\n",
    "no address": b"PROXY TCP4 localhost 10.0.0.9 1 443\r\n",
    "two blanks": b"PROXY TCP4  192.0.2.7 10.0.0.9 1 443\r\n",
    "UDP": b"PROXY UDP4 192.0.2.7 10.0.0.9 1 443\r\n",
    "no end": b"PROXY TCP4 " + b"1" * 107,
    "version 3": binary(ADDRESSES_4, command=0x31),
    "an unknown command": binary(ADDRESSES_4, command=0x2F),
    "too short": binary(ADDRESSES_4[:-1]),
}


@pytest.mark.parametrize("header", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_header_is_refused(header: bytes) -> None:
    for pieces in ([header], [header[i : i + 1] for i in range(len(header))]):
        with pytest.raises(ProtocolError):
            read(pieces)


@pytest.mark.parametrize(
    ("mode", "header"),
    [("v1", HEADERS["v2"][0]), ("v2", HEADERS["v1"][0]), ("v1", b"GET / HTTP/1.1\r\n"), ("v2", b"GET / HTTP/1.1\r\n")],
)
def test_the_version_that_is_asked_for_must_come(mode: str, header: bytes) -> None:
    with pytest.raises(ProtocolError):
        read([header], mode)


def test_without_a_header_nothing_is_taken_or_what_was_is_given_back() -> None:
    reader, taken = read([b"POST / HTTP/1.1"])
    assert (reader.done, taken, reader.unread) == (True, 0, b"")
    reader, taken = read([b"P", b"OST / HTTP/1.1"])
    assert (reader.done, taken, reader.unread) == (True, 1, b"P")


@given(st.lists(st.binary(max_size=30) | st.sampled_from([SIGNATURE, b"PROXY TCP4 ", b"\r\n"]), max_size=5))
def test_no_input_raises_anything_else(pieces: list[bytes]) -> None:
    try:
        reader, taken = read(pieces)
    except ProtocolError:
        return
    assert 0 <= taken <= sum(map(len, pieces))
    assert reader.told.client is None or reader.done


# -- fields ----------------------------------------------------------------------------------------------------


def head(peer: tuple[str, int] | None, fields: dict[str, str], **settings: Any) -> RequestHead:
    settings = {"forwarded_allow_ips": ("10.0.0.0/8",), **settings}
    origin = Origin(client=peer)
    Entrance(Settings(**settings)).preamble(origin)
    lines = [(b"host", b"inside")] + [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    return RequestHead("GET", b"/", (1, 1), lines, origin)


def told(peer: tuple[str, int] | None, fields: dict[str, str], **settings: Any) -> tuple[str, str, str]:
    environ = environ_of(head(peer, fields, **settings))
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]


ALL = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example",
    "Forwarded": 'for="[2001:db8::7]:4711";proto=https;host=shop.example',
}
BARE = ("10.0.0.1", "http", "inside")


def test_by_default_a_trusted_proxy_is_believed_about_tls_alone() -> None:
    assert told(PROXY, ALL) == ("10.0.0.1", "https", "inside")
    assert told(None, ALL) == ("", "https", "inside")


@pytest.mark.parametrize("fields", ["off", "x-forwarded", "forwarded"])
def test_nobody_else_is_believed(fields: str) -> None:
    assert told(CLIENT, ALL, forwarded=fields) == ("192.0.2.7", "http", "inside")


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ({}, "http"),
        ({"X-Forwarded-Proto": "HTTPS"}, "https"),
        ({"X-Forwarded-Proto": "http"}, "http"),
        ({"X-Forwarded-Ssl": "on"}, "https"),
        ({"X-Forwarded-Protocol": "ssl"}, "https"),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"}, "http"),
    ],
)
def test_the_scheme_is_what_all_of_the_fields_agree_on(fields: dict[str, str], scheme: str) -> None:
    assert told(PROXY, fields)[1] == scheme


def test_the_fields_for_the_scheme_can_be_chosen() -> None:
    chosen = ("Front-End-Https=on",)
    assert told(PROXY, {"Front-End-Https": "on"}, secure_scheme_headers=chosen)[1] == "https"
    assert told(PROXY, {"X-Forwarded-Proto": "https"}, secure_scheme_headers=chosen)[1] == "http"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.1, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("192.0.2.7, unknown", "10.0.0.1"),
        ("unknown, 10.0.0.2", "10.0.0.2"),
        ("<script>", "10.0.0.1"),
        ("999.0.2.7", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy_of_ours(value: str, client: str) -> None:
    assert told(PROXY, {"X-Forwarded-For": value}, forwarded="x-forwarded")[0] == client
    elements = ", ".join(f'for="{part.strip()}"' for part in value.split(","))
    assert told(PROXY, {"Forwarded": elements}, forwarded="forwarded")[0] == client


def test_whoever_trusts_all_trusts_only_who_connects() -> None:
    fields = {"X-Forwarded-For": "203.0.113.1, 192.0.2.7"}
    assert told(CLIENT, fields, forwarded="x-forwarded", forwarded_allow_ips=("*",))[0] == "192.0.2.7"


def test_x_forwarded_tells_client_scheme_and_host() -> None:
    assert told(PROXY, ALL, forwarded="x-forwarded") == ("192.0.2.7", "https", "shop.example")


def test_forwarded_tells_client_scheme_and_host() -> None:
    fields = {**ALL, "X-Forwarded-Proto": "http"}
    assert told(PROXY, fields, forwarded="forwarded") == ("2001:db8::7", "https", "shop.example")


def test_an_element_before_that_of_the_last_trusted_proxy_counts_for_nothing() -> None:
    fields = {"Forwarded": "for=203.0.113.1;proto=https;host=evil.example, for=192.0.2.7;proto=http"}
    assert told(PROXY, fields, forwarded="forwarded") == ("192.0.2.7", "http", "inside")


@pytest.mark.parametrize("begin", ['for="', 'for="x', 'for="\\', "for=\\", '"', 'by="a;', "for=;,"])
def test_what_a_client_has_left_open_takes_in_nothing_of_what_a_proxy_adds(begin: str) -> None:
    added = 'for="[2001:db8::7]";proto=https'
    request = head(PROXY, {"Forwarded": begin}, forwarded="forwarded")
    request.fields.append((b"forwarded", added.encode()))
    environ = environ_of(request)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("2001:db8::7", "https")
    assert told(PROXY, {"Forwarded": f"{begin}, for=192.0.2.7"}, forwarded="forwarded")[0] == "192.0.2.7"


LONG = ["a", " ", '"', "\\", '\\"', '"\\', "for=", 'for="', ";a=", "1,", ";for=1", "=", "for=1 "]


def test_no_field_of_a_client_takes_long_to_read() -> None:
    program = f"""if True:
        import resource
        from demijohn.environ import environ_of
        from demijohn.message import Origin, RequestHead
        from demijohn.server.proxy import Entrance
        from demijohn.server.settings import Settings
        resource.setrlimit(resource.RLIMIT_CPU, (resource.getrusage(resource.RUSAGE_SELF).ru_utime.__ceil__() + 5, -1))
        for kind in ("forwarded", "x-forwarded"):
            for part in {LONG!r}:
                for name in (b"forwarded", b"x-forwarded-for"):
                    origin = Origin(client=("10.0.0.1", 1))
                    Entrance(Settings(forwarded_allow_ips=("10.0.0.0/8",), forwarded=kind)).preamble(origin)
                    value = (part * 65536)[:65536].encode()
                    fields = [(b"host", b"h"), (name, b"for=\\"" + value), (name, value), (name, b"for=192.0.2.7")]
                    environ_of(RequestHead("GET", b"/", (1, 1), fields, origin))
    """
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("host", ["shop.example/path", "shop.example?", "a b", "a@b"])
def test_a_host_that_is_none_is_not_believed(host: str) -> None:
    assert told(PROXY, {"X-Forwarded-Host": host}, forwarded="x-forwarded")[2] == "inside"
    assert told(PROXY, {"Forwarded": f'for=192.0.2.7;host="{host}"'}, forwarded="forwarded")[2] == "inside"


def test_a_scheme_that_is_none_is_not_believed() -> None:
    assert told(PROXY, {"Forwarded": "for=192.0.2.7;proto=javascript"}, forwarded="forwarded")[1] == "http"


@given(st.text(st.sampled_from('for=;,"\\[]:. 192a-proto'), max_size=40))
def test_whatever_the_fields_say_there_is_an_environ(value: str) -> None:
    for kind in ("x-forwarded", "forwarded"):
        environ = environ_of(head(PROXY, {"Forwarded": value, "X-Forwarded-For": value}, forwarded=kind))
        assert environ["wsgi.url_scheme"] in ("http", "https")


def test_who_the_proxy_protocol_tells_of_is_believed_only_when_trusted() -> None:
    entrance = Entrance(Settings(proxy_protocol="v1", proxy_allow_ips=("10.0.0.1",), forwarded_allow_ips=("10.0.0.1",)))
    origin = Origin(client=PROXY)
    assert entrance.preamble(origin) is not None
    entrance.believe(origin, Told(CLIENT, SERVER, is_tls=True))
    assert (origin.client, origin.server, origin.scheme, origin.told) == (CLIENT, SERVER, "https", None)
    assert entrance.preamble(Origin(client=CLIENT)) is None


# -- settings --------------------------------------------------------------------------------------------------


def test_networks_are_given_as_gunicorn_takes_them() -> None:
    settings = from_values({"forwarded_allow_ips": ["10.0.0.1, 10.1.0.0/16", "*"]}, {})
    assert settings.forwarded_allow_ips == ("10.0.0.1", "10.1.0.0/16", "*")
    assert from_values({"secure_scheme_headers": {"X-A": "b"}}, {}).secure_scheme_headers == ("X-A=b",)
    assert from_values({}, {}).secure_scheme_headers == SECURE_FIELDS
    assert from_values({"proxy_protocol": True}, {}).proxy_protocol == "auto"
    with pytest.raises(ValueError, match=r"must be an address, a network such as 10.0.0.0/8, or \*, not 'proxy'"):
        from_values({"forwarded_allow_ips": ["proxy"]}, {})


# -- the time a request waited -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "waited_s"),
    [
        ("t=1700000000.250", 0.75),
        ("1700000000.250", 0.75),
        ("t=1700000000250", 0.75),
        ("1700000000250000", 0.75),
        ("t=1700000002", 0.0),
        ("t=yesterday", None),
        ("", None),
    ],
)
def test_the_time_since_the_proxy_had_a_request(value: str, waited_s: float | None) -> None:
    request = RequestHead("GET", b"/", (1, 1), [(b"x-request-start", value.encode())], Origin())
    assert queued_s(request, 1700000001.0) == (None if waited_s is None else pytest.approx(waited_s))
