"""Settings: where a server listens and to whom: sockets, TLS, and the proxies whose word counts."""

from __future__ import annotations

from dataclasses import dataclass

from .hooks import HookSettings
from .kinds import (
    ASSIGNMENT,
    CLIENT_CERTIFICATES,
    FIELD_NAME,
    NETWORK,
    PROXY_PROTOCOL,
    SWITCH,
    choice,
    setting,
    text,
    whole,
)

# gunicorn's secure_scheme_headers: what proxies set when the client came by TLS.
SECURE_FIELDS = ("X-FORWARDED-PROTOCOL=ssl", "X-FORWARDED-PROTO=https", "X-FORWARDED-SSL=on")


@dataclass(init=False, repr=False, eq=False, slots=True)
class ConnectionSettings(HookSettings):
    """Where a server listens and to whom: sockets, TLS, and the proxies whose word counts."""

    # -- sockets
    bind: tuple[str, ...] = setting(
        ("127.0.0.1:8000",),
        "-b/--bind",
        text("ADDRESS"),
        "Where to listen: HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N; may be given several times. "
        "Use 0.0.0.0:8000 to be reached from other machines; in a container that is the default.",
        gunicorn="bind",
    )
    backlog: int = setting(
        2048,
        "--backlog",
        whole(1),
        "How many connections may wait to be accepted. The kernel caps it at net.core.somaxconn.",
        gunicorn="backlog",
    )
    worker_connections: int = setting(
        0,
        "--worker-connections",
        whole(0),
        "Most connections of a worker, idle ones too; further ones wait until one ends, or go to another worker. 0: as "
        "many as there are descriptors.",
        gunicorn="worker_connections",
    )
    sendfile: bool = setting(
        True,
        "--no-sendfile",
        SWITCH,
        "Do not let the kernel send files (sendfile), for file systems that cannot.",
        gunicorn="sendfile",
        variables=(("SENDFILE", "{}"),),
    )
    compress: bool = setting(
        False,
        "--compress",
        SWITCH,
        "Compress answers of at least 1 KB that are text, JSON or the like: with gzip, and with zstd and brotli where "
        "Python or packages have them. It costs CPU, so leave it to a proxy that can do it.",
    )
    reuse_port: bool = setting(
        False,
        "--reuse-port",
        SWITCH,
        "Let several servers listen at the same port (SO_REUSEPORT); the kernel spreads connections over them.",
        gunicorn="reuse_port",
    )

    # -- TLS
    certificate: str | None = setting(
        None,
        "--certfile",
        text("FILE"),
        "Serve TLS with the certificates in this file: the server's own first, then those that lead to the root. A "
        "renewed file is noticed within seconds, without a restart.",
        gunicorn="certfile",
    )
    private_key: str | None = setting(
        None,
        "--keyfile",
        text("FILE"),
        "The private key of the certificate; without it, the key is in the file of --certfile.",
        gunicorn="keyfile",
    )
    tls_min_version: str = setting(
        "1.2",
        "--tls-min-version",
        choice("VERSION", "1.2", "1.3"),
        "Oldest version of TLS to speak.",
    )
    ciphers: str | None = setting(
        None,
        "--ciphers",
        text("LIST"),
        "Ciphers for TLS 1.2, as OpenSSL writes them; else those that OpenSSL and Python hold for safe.",
        gunicorn="ciphers",
    )
    client_certificates: str = setting(
        "none",
        "--cert-reqs",
        CLIENT_CERTIFICATES,
        "Whether clients have to show a certificate: none, optional or required (gunicorn's 0, 1 and 2).",
        gunicorn="cert_reqs",
    )
    client_authorities: str | None = setting(
        None,
        "--ca-certs",
        text("FILE"),
        "Certificates of the authorities that vouch for clients' certificates.",
        gunicorn="ca_certs",
    )

    # -- proxies
    proxy_protocol: str = setting(
        "off",
        "--proxy-protocol",
        PROXY_PROTOCOL,
        "Take the address of the client from the header of the PROXY protocol with which connections of "
        "--proxy-allow-from begin: v1 and v2 must be there, auto takes either, or none.",
        gunicorn="proxy_protocol",
    )
    proxy_allow_ips: tuple[str, ...] = setting(
        ("127.0.0.1", "::1"),
        "--proxy-allow-from",
        NETWORK,
        "Addresses and networks of the proxies that speak the PROXY protocol; * for all.",
        gunicorn="proxy_allow_ips",
    )
    forwarded_allow_ips: tuple[str, ...] = setting(
        ("127.0.0.1", "::1"),
        "--forwarded-allow-ips",
        NETWORK,
        "Addresses and networks of the proxies whose X-Forwarded-Proto, and what --forwarded names, is believed; * for "
        "all. Peers on Unix sockets always are.",
        gunicorn="forwarded_allow_ips",
        variables=(("FORWARDED_ALLOW_IPS", "{}"),),
    )
    forwarded: str = setting(
        "off",
        "--forwarded",
        choice("FIELDS", "off", "x-forwarded", "forwarded"),
        "Which fields of those proxies say who the client is and which host it asked for: x-forwarded "
        "(X-Forwarded-For, -Proto and -Host) or forwarded (RFC 7239). Name those that your proxy sets: the others are "
        "the client's words.",
    )
    secure_scheme_headers: tuple[str, ...] = setting(
        SECURE_FIELDS,
        "--secure-scheme-headers",
        ASSIGNMENT,
        "Fields, NAME=VALUE, by which those proxies say that the client came by TLS.",
        gunicorn="secure_scheme_headers",
    )

    header_map: str = setting(
        "drop",
        "--header-map",
        choice("WHAT", "drop", "refuse", "dangerous"),
        "What becomes of fields whose names hold _, as X_User, which an environ cannot tell from X-User: drop them, "
        "refuse the request, or take both for the same, which is dangerous.",
        gunicorn="header_map",
    )
    forwarder_headers: tuple[str, ...] = setting(
        ("SCRIPT_NAME", "PATH_INFO"),
        "--forwarder-headers",
        FIELD_NAME,
        "Fields, of those whose names hold _, that the proxies of --forwarded-allow-ips may set all the same, * for "
        "all. SCRIPT_NAME is the path that the proxy has mounted the application at.",
        gunicorn="forwarder_headers",
    )
