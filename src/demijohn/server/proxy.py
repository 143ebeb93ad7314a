"""What stands between client and server says of the client: the PROXY protocol, and fields such as X-Forwarded-For.

Anybody can say these things; only trusted peers are believed, and the settings name them. No I/O here.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast

from ..message import Origin, ProtocolError, RequestHead, is_authority
from .settings import Settings

Address = tuple[str, int]


class Networks:
    """Some networks: `Networks(("10.0.0.0/8", "::1"))`; `"*"` stands for all.

    Raises ValueError for what is neither an address nor a network.
    """

    def __init__(self, given: Iterable[str]) -> None:
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._known: dict[str, bool] = {}
        self.has_all = False
        for text in given:
            if text == "*":
                self.has_all = True
            else:
                self._networks.append(ipaddress.ip_network(text, strict=False))

    def __contains__(self, host: str) -> bool:
        if self.has_all:
            return True
        known = self._known.get(host)
        if known is None:
            known = self._has(host)
            if len(self._known) < 1000:  # peers choose their addresses
                self._known[host] = known
        return known

    def _has(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # what a listener for both families makes of IPv4
        return any((mapped or address) in network for network in self._networks)

    def trusts(self, client: Address | None) -> bool:
        """Whether a peer is one of them. Who may connect to a Unix socket is a question of its permissions."""
        return client is None or client[0] in self


# -- the PROXY protocol ---------------------------------------------------------------------------------------

# haproxy.org/download/3.0/doc/proxy-protocol.txt, "the specification" below.
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PREFIX = b"PROXY "
_LONGEST_LINE_BYTES = 107
_FAMILIES = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}
_TLS_RECORD = 0x20
_HAS_TLS = 0x01


@dataclass(slots=True)
class Told:
    """What a header of the PROXY protocol says. None: nothing, as in the health checks of the proxy itself."""

    client: Address | None = None
    server: Address | None = None
    is_tls: bool = False


class PreambleReader:
    """Reads the header of the PROXY protocol, with which a connection begins.

    told: what it says, once `done`.
    unread: bytes that looked like the begin of such a header and are the begin of a request.
    """

    __slots__ = ("_data", "_mode", "done", "told", "unread")

    def __init__(self, mode: Literal["auto", "v1", "v2"]) -> None:
        """`mode` names the version that must come; with "auto", either may, or none."""
        self._mode = mode
        self._data = b""
        self.done = False
        self.told = Told()
        self.unread = b""

    def receive_data(self, data: bytes) -> int:
        """Return how many of these bytes belong to the header; more are needed unless `done`.

        Raises ProtocolError when there is a malformed one, or none where one must be.
        """
        begin = self._data + data
        if self._mode != "v1" and _begins(begin, _SIGNATURE):
            header_bytes = self._read_binary(begin)
        elif self._mode != "v2" and _begins(begin, _PREFIX):
            header_bytes = self._read_line(begin)
        elif self._mode == "auto":
            self.unread = self._data
            self.done = True
            return 0
        else:
            raise ProtocolError(400, "The connection must begin with a header of the PROXY protocol.")
        if header_bytes is None:
            self._data = begin
            return len(data)
        self.done = True
        return header_bytes - len(self._data)

    def _read_line(self, begin: bytes) -> int | None:
        end = begin.find(b"\r\n", 0, _LONGEST_LINE_BYTES)
        if end < 0:
            if len(begin) >= _LONGEST_LINE_BYTES:
                raise ProtocolError(400, "The PROXY line has no end.")
            return None
        parts = begin[:end].decode("latin-1").split(" ")
        if parts[1:2] != ["UNKNOWN"]:
            self.told = _told_by_line(parts)
        return end + 2

    def _read_binary(self, begin: bytes) -> int | None:
        if len(begin) < 16:
            return None
        version_and_command, family = begin[12:14]
        length = int.from_bytes(begin[14:16], "big")
        if len(begin) < 16 + length:
            return None
        if version_and_command == 0x21:
            self.told = _told_by_bytes(family, begin[16 : 16 + length])
        elif version_and_command != 0x20:
            raise ProtocolError(400, "The header of the PROXY protocol has a version or command that is not known.")
        return 16 + length


def _begins(data: bytes, prefix: bytes) -> bool:
    """Whether `data` begins with `prefix`, as far as it goes."""
    return data[: len(prefix)] == prefix[: len(data)]


def _told_by_line(parts: list[str]) -> Told:
    try:
        _, family_name, client, server, client_port, server_port = parts
        family = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}[family_name]
        for host in (client, server):
            socket.inet_pton(family, host)
        return Told((client, _port(client_port)), (server, _port(server_port)))
    except (KeyError, ValueError, OSError):
        raise ProtocolError(400, "The PROXY line is malformed.") from None


def _port(digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and int(digits) < 65536):
        raise ValueError
    return int(digits)


def _told_by_bytes(family: int, content: bytes) -> Told:
    if family not in _FAMILIES:
        return Told()  # a Unix socket, or nothing that the proxy knew
    kind, size = _FAMILIES[family]
    if len(content) < 2 * size + 4:
        raise ProtocolError(400, "The header of the PROXY protocol is too short for its addresses.")
    client, server = (socket.inet_ntop(kind, content[begin : begin + size]) for begin in (0, size))
    client_port, server_port = struct.unpack_from("!HH", content, 2 * size)
    return Told((client, client_port), (server, server_port), _tells_of_tls(content[2 * size + 4 :]))


def _tells_of_tls(records: bytes) -> bool:
    """Whether one of the records behind the addresses says that the client speaks TLS with the proxy."""
    while len(records) >= 3:
        kind, length = struct.unpack_from("!BH", records)
        if kind == _TLS_RECORD and length:
            return bool(records[3] & _HAS_TLS) if len(records) > 3 else False
        records = records[3 + length :]
    return False


# -- fields of the request ------------------------------------------------------------------------------------

# RFC 7239 §4: parts of an element, whose values may be quoted. Clients may write them: nothing is tried twice.
_PAIR = re.compile(r'(?:^|(?<=;))\s*+([A-Za-z]++)=(?:"((?:[^"\\]|\\.)*+)"|([^\s;,"]*+))\s*+(?:;|$)')
_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*+")++')
_WELL_QUOTED = re.compile(r'(?:[^"]++|"(?:[^"\\]|\\.)*+")*+')
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)|([0-9A-Fa-f:.]+))(?::([0-9]{1,5}))?")


class Forwarding:
    """What trusted proxies say in fields of the requests that they pass on.

    fields: "off": only whether the client came by TLS. "x-forwarded": X-Forwarded-For, -Proto and -Host too.
        "forwarded": the Forwarded field of RFC 7239 instead. A proxy sets one kind and passes the other on, as the
        client sent it: so never both.
    secure: `NAME=VALUE` of each field that says that the client came by TLS.
    """

    def __init__(self, trusted: Networks, fields: str, secure: Iterable[str]) -> None:
        self._trusted = trusted
        self._fields = fields
        self._secure = {
            name.strip().lower().encode(): value.strip().lower().encode()
            for name, _, value in (each.partition("=") for each in secure)
        }

    def origin_of(self, head: RequestHead) -> Origin:
        """Return where a request comes from whose peer is trusted."""
        if self._fields == "forwarded":
            return self._by_forwarded(head)
        origin = self._with_scheme(head)
        return origin if self._fields == "off" else self._by_x_forwarded(head, origin)

    def _with_scheme(self, head: RequestHead) -> Origin:
        said = {value.lower() == self._secure[name] for name, value in head.fields if name in self._secure}
        if not said:
            return head.origin
        # When they disagree, the client may have sent one of them: then it is taken for the lesser.
        scheme = "https" if said == {True} else "http"
        return head.origin if scheme == head.origin.scheme else replace(head.origin, scheme=scheme)

    def _by_x_forwarded(self, head: RequestHead, origin: Origin) -> Origin:
        _, client = self._client(reversed(_list_of(head, b"x-forwarded-for")))
        hosts = _list_of(head, b"x-forwarded-host")
        host = hosts[-1].encode("latin-1") if hosts else None
        return replace(origin, client=client or origin.client, host=host if host and is_authority(host) else None)

    def _by_forwarded(self, head: RequestHead) -> Origin:
        elements = _elements(head)
        number, client = self._client(_pairs(text).get("for", "") for text in reversed(elements))
        if client is None:
            return head.origin
        element = _pairs(elements[-number])
        scheme = element.get("proto", head.origin.scheme).lower()
        host = element.get("host", "").encode("latin-1")
        return replace(
            head.origin,
            client=client,
            scheme=scheme if scheme in ("http", "https") else head.origin.scheme,
            host=host if host and is_authority(host) else None,
        )

    def _client(self, nodes: Iterable[str]) -> tuple[int, Address | None]:
        """Return which of the nodes is the client, counted from 1, and its address; None when there is none.

        nodes: from the last one on. The client is the first that is no proxy of ours; what comes after it was said by
        somebody who is not trusted, and is not looked at, for there may be much of it.
        """
        client = None
        count = 0
        for text in nodes:
            node = _node(text)
            if node is None:
                break
            client = node
            count += 1
            # "*" trusts whoever connects; it says nothing about the proxies before that one.
            if self._trusted.has_all or node[0] not in self._trusted:
                break
        return count, client


def _list_of(head: RequestHead, name: bytes) -> list[str]:
    values = ",".join(value.decode("latin-1") for known, value in head.fields if known == name)
    return [text for part in values.split(",") if (text := part.strip())]


def _elements(head: RequestHead) -> list[str]:
    """Return the elements of all field lines, each line for itself: a quote without its end is no other line's."""
    elements = []
    for text in (value.decode("latin-1") for known, value in head.fields if known == b"forwarded"):
        well_quoted = _WELL_QUOTED.match(text)
        assert well_quoted is not None
        end = well_quoted.end()
        elements += [*_ELEMENT.findall(text[:end]), *filter(None, re.split('[",]', text[end:]))]
    return elements


def _pairs(element: str) -> dict[str, str]:
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for name, quoted, plain in _PAIR.findall(element)
    }


def _node(text: str) -> Address | None:
    """Return host and port of a node (RFC 7239 §6); port 0 when it has none. None for one that is no address."""
    found = _NODE.fullmatch(text)
    if found is None:
        return None
    host = found[1] or found[2] or found[3]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return host, int(found[4] or 0)


# -- both -----------------------------------------------------------------------------------------------------


class Entrance:
    """What is asked and believed of whoever connects."""

    def __init__(self, settings: Settings) -> None:
        self._mode = cast(Literal["off", "auto", "v1", "v2"], settings.proxy_protocol)
        self._speak_first = Networks(settings.proxy_allow_ips)
        self._trusted = Networks(settings.forwarded_allow_ips)
        self._forwarding = Forwarding(self._trusted, settings.forwarded, settings.secure_scheme_headers)

    def preamble(self, origin: Origin) -> PreambleReader | None:
        """Return a reader for the PROXY protocol, when this peer speaks it; else None.

        Fields of a peer that is trusted are believed from now on.
        """
        if self._trusted.trusts(origin.client):
            origin.told = self._forwarding.origin_of
        if self._mode == "off" or not self._speak_first.trusts(origin.client):
            return None
        return PreambleReader(self._mode)

    def believe(self, origin: Origin, told: Told) -> None:
        """Take over what the PROXY protocol says. The fields of the request are then the client's own."""
        if told.client is not None and told.server is not None:
            origin.client, origin.server = told.client, told.server
            if not self._trusted.trusts(told.client):
                origin.told = None
        if told.is_tls:
            origin.scheme = "https"


# -- the time a request waited --------------------------------------------------------------------------------


def request_start(value: bytes) -> float | None:
    """Return the time that an X-Request-Start field tells, in seconds since the epoch; None when it tells none.

    Proxies write it in seconds (nginx: `t=1764000000.123`), milliseconds (Heroku) or microseconds (Apache: `t=...`).
    """
    try:
        number = float(value.removeprefix(b"t="))
    except ValueError:
        return None
    for unit in (1.0, 1e3, 1e6, 1e9):
        if 1e9 <= number / unit < 1e10:  # the years 2001 to 2286
            return number / unit
    return None


def queued_s(head: RequestHead, arrived_s: float) -> float | None:
    """Return how long a request waited between its proxy and here, in seconds; None when the proxy does not tell.

    arrived_s: when it was here, in seconds since the epoch.
    """
    begun = request_start(head.field(b"x-request-start") or b"")
    return None if begun is None else max(0.0, arrived_s - begun)
