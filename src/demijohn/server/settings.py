"""Every setting of the server, described once.

The fields of `Settings` are the source: from them come the flags of `demijohn serve` (`FLAGS`), the environment
variables, the check of what was given (`from_values`) and the reference page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .cgroups import is_container, surroundings, workers_that_fit
from .hooks import HookSettings
from .kinds import (
    ASSIGNMENT,
    BYTES,
    CLASS,
    CLIENT_CERTIFICATES,
    FIELD_NAME,
    GROUP,
    LIMIT,
    MAPPING,
    MASK,
    NETWORK,
    PATH,
    PATH_SECONDS,
    PROXY_PROTOCOL,
    SWITCH,
    USER,
    YES_NO,
    Flag,
    Kind,
    choice,
)
from .kinds import SettingError as SettingError
from .kinds import matching as _matching
from .kinds import seconds as _seconds
from .kinds import setting as _setting
from .kinds import text as _text
from .kinds import whole as _whole

# gunicorn's secure_scheme_headers: what proxies set when the client came by TLS.
SECURE_FIELDS = ("X-FORWARDED-PROTOCOL=ssl", "X-FORWARDED-PROTO=https", "X-FORWARDED-SSL=on")
# syslog(3)
SYSLOG_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *(f"local{number}" for number in range(8)),
)
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(init=False, repr=False, eq=False, frozen=True, slots=True)
class Settings(HookSettings):
    """What `demijohn serve` runs with. Built by `from_values`, which checks; the constructor trusts its caller."""

    # -- sockets
    bind: tuple[str, ...] = _setting(
        ("127.0.0.1:8000",),
        "-b/--bind",
        _text("ADDRESS"),
        "Where to listen: HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N; may be given several times. "
        "Use 0.0.0.0:8000 to be reached from other machines; in a container that is the default.",
        gunicorn="bind",
    )
    backlog: int = _setting(
        2048,
        "--backlog",
        _whole(1),
        "How many connections may wait to be accepted. The kernel caps it at net.core.somaxconn.",
        gunicorn="backlog",
    )
    worker_connections: int = _setting(
        0,
        "--worker-connections",
        _whole(0),
        "Most connections of a worker, idle ones too; further ones wait until one ends, or go to another worker. 0: as "
        "many as there are descriptors.",
        gunicorn="worker_connections",
    )
    sendfile: bool = _setting(
        True,
        "--no-sendfile",
        SWITCH,
        "Do not let the kernel send files (sendfile), for file systems that cannot.",
        gunicorn="sendfile",
        variables=(("SENDFILE", "{}"),),
    )
    compress: bool = _setting(
        False,
        "--compress",
        SWITCH,
        "Compress answers of at least 1 KB that are text, JSON or the like: with gzip, and with zstd and brotli where "
        "Python or packages have them. It costs CPU, so leave it to a proxy that can do it.",
    )
    reuse_port: bool = _setting(
        False,
        "--reuse-port",
        SWITCH,
        "Let several servers listen at the same port (SO_REUSEPORT); the kernel spreads connections over them.",
        gunicorn="reuse_port",
    )

    # -- TLS
    certificate: str | None = _setting(
        None,
        "--certfile",
        _text("FILE"),
        "Serve TLS with the certificates in this file: the server's own first, then those that lead to the root. A "
        "renewed file is noticed within seconds, without a restart.",
        gunicorn="certfile",
    )
    private_key: str | None = _setting(
        None,
        "--keyfile",
        _text("FILE"),
        "The private key of the certificate; without it, the key is in the file of --certfile.",
        gunicorn="keyfile",
    )
    tls_min_version: str = _setting(
        "1.2",
        "--tls-min-version",
        choice("VERSION", "1.2", "1.3"),
        "Oldest version of TLS to speak.",
    )
    ciphers: str | None = _setting(
        None,
        "--ciphers",
        _text("LIST"),
        "Ciphers for TLS 1.2, as OpenSSL writes them; else those that OpenSSL and Python hold for safe.",
        gunicorn="ciphers",
    )
    client_certificates: str = _setting(
        "none",
        "--cert-reqs",
        CLIENT_CERTIFICATES,
        "Whether clients have to show a certificate: none, optional or required (gunicorn's 0, 1 and 2).",
        gunicorn="cert_reqs",
    )
    client_authorities: str | None = _setting(
        None,
        "--ca-certs",
        _text("FILE"),
        "Certificates of the authorities that vouch for clients' certificates.",
        gunicorn="ca_certs",
    )

    # -- proxies
    proxy_protocol: str = _setting(
        "off",
        "--proxy-protocol",
        PROXY_PROTOCOL,
        "Take the address of the client from the header of the PROXY protocol with which connections of "
        "--proxy-allow-from begin: v1 and v2 must be there, auto takes either, or none.",
        gunicorn="proxy_protocol",
    )
    proxy_allow_ips: tuple[str, ...] = _setting(
        ("127.0.0.1", "::1"),
        "--proxy-allow-from",
        NETWORK,
        "Addresses and networks of the proxies that speak the PROXY protocol; * for all.",
        gunicorn="proxy_allow_ips",
    )
    forwarded_allow_ips: tuple[str, ...] = _setting(
        ("127.0.0.1", "::1"),
        "--forwarded-allow-ips",
        NETWORK,
        "Addresses and networks of the proxies whose X-Forwarded-Proto, and what --forwarded names, is believed; * for "
        "all. Peers on Unix sockets always are.",
        gunicorn="forwarded_allow_ips",
        variables=(("FORWARDED_ALLOW_IPS", "{}"),),
    )
    forwarded: str = _setting(
        "off",
        "--forwarded",
        choice("FIELDS", "off", "x-forwarded", "forwarded"),
        "Which fields of those proxies say who the client is and which host it asked for: x-forwarded "
        "(X-Forwarded-For, -Proto and -Host) or forwarded (RFC 7239). Name those that your proxy sets: the others are "
        "the client's words.",
    )
    secure_scheme_headers: tuple[str, ...] = _setting(
        SECURE_FIELDS,
        "--secure-scheme-headers",
        ASSIGNMENT,
        "Fields, NAME=VALUE, by which those proxies say that the client came by TLS.",
        gunicorn="secure_scheme_headers",
    )

    header_map: str = _setting(
        "drop",
        "--header-map",
        choice("WHAT", "drop", "refuse", "dangerous"),
        "What becomes of fields whose names hold _, as X_User, which an environ cannot tell from X-User: drop them, "
        "refuse the request, or take both for the same, which is dangerous.",
        gunicorn="header_map",
    )
    forwarder_headers: tuple[str, ...] = _setting(
        ("SCRIPT_NAME", "PATH_INFO"),
        "--forwarder-headers",
        FIELD_NAME,
        "Fields, of those whose names hold _, that the proxies of --forwarded-allow-ips may set all the same, * for "
        "all. SCRIPT_NAME is the path that the proxy has mounted the application at.",
        gunicorn="forwarder_headers",
    )

    # -- processes and threads
    workers: int = _setting(
        1,
        "-w/--workers",
        _whole(1),
        "Number of worker processes. One for each core is right for most applications; in a container that is the "
        "default, by its limits of CPU and memory.",
        gunicorn="workers",
        variables=(("WEB_CONCURRENCY", "{}"),),
    )
    threads: int = _setting(
        16,
        "--threads",
        _whole(1),
        "Threads of a worker: how many views can wait at the same time. An idle one costs next to nothing; raise it "
        "when views wait for databases or other services, and keep pools of database connections as large.",
        gunicorn="threads",
    )
    preload: bool = _setting(
        False,
        "--preload",
        SWITCH,
        "Load the application once, in a process that workers are forked from, so that they share its memory. SIGHUP "
        "loads new code into another such process.",
        gunicorn="preload_app",
    )
    reload: bool = _setting(
        False,
        "--reload",
        SWITCH,
        "Reload, as SIGHUP does, whenever a file of the program changes. For development.",
        gunicorn="reload",
    )
    reload_extra_files: tuple[str, ...] = _setting(
        (),
        "--reload-extra-file",
        _text("FILE"),
        "One more file, or a pattern of several, that --reload looks after; may be given several times.",
        gunicorn="reload_extra_files",
    )
    switch_interval_s: float = _setting(
        0.005,
        "--switch-interval",
        _seconds(0.00001),
        "How long a thread that computes may keep the interpreter while others wait for it. Lower it when "
        "CPU-bound views delay quick ones; the price is throughput.",
        unit="s",
    )

    # -- the life of workers
    boot_timeout_s: float = _setting(
        300.0,
        "--boot-timeout",
        _seconds(),
        "How long a worker may take to load the application. One that takes longer is ended, and counts as one that "
        "could not boot. 0 turns it off.",
        unit="s",
    )
    max_requests: int = _setting(
        0,
        "--max-requests",
        _whole(0),
        "A worker that has answered so many requests is replaced, against memory that grows; 0: never. Its successor "
        "is ready before it leaves, and only one is replaced at a time.",
        gunicorn="max_requests",
    )
    max_requests_jitter: int = _setting(
        0,
        "--max-requests-jitter",
        _whole(0),
        "Up to so many requests more, by chance for each worker, so that they do not have to be replaced one right "
        "after the other.",
        gunicorn="max_requests_jitter",
    )
    max_memory: int | None = _setting(
        None,
        "--max-memory",
        BYTES,
        "A worker that holds more memory is replaced, as with --max-requests: its requests are finished, and nothing "
        "is lost. Looked at every second; what is shared with other workers counts, too.",
        unit="bytes",
    )
    max_memory_hard: int | None = _setting(
        None,
        "--max-memory-hard",
        BYTES,
        "A worker that holds more memory is ended at once, with the requests inside it, and replaced. For what fills "
        "the memory of the machine before a request is done.",
        unit="bytes",
    )

    # -- ASGI and WebSockets
    interface: str = _setting(
        "auto",
        "--interface",
        choice("INTERFACE", "auto", "wsgi", "asgi"),
        "How the application is called: wsgi, asgi, or auto for what it looks like.",
    )
    asgi_lifespan: str = _setting(
        "auto",
        "--asgi-lifespan",
        choice("MODE", "auto", "on", "off"),
        "Whether an ASGI application is told of start and stop (lifespan): auto asks it once, on refuses to serve one "
        "that does not answer, off does not ask.",
        gunicorn="asgi_lifespan",
    )
    asgi_loop: str = _setting(
        "auto",
        "--asgi-loop",
        choice("LOOP", "auto", "asyncio", "uvloop"),
        "The event loop of coroutines: asyncio's, uvloop's when that is installed, or auto for asyncio's.",
        gunicorn="asgi_loop",
    )
    root_path: str | None = _setting(
        None,
        "--root-path",
        _text("PATH"),
        "Where a proxy has mounted an ASGI application, when it cuts that off: the root_path of its scopes.",
        gunicorn="root_path",
    )
    websocket_max_bytes: int = _setting(
        16 * 1024 * 1024,
        "--websocket-max-message-size",
        BYTES,
        "Largest message of a WebSocket, decompressed; for a larger one the connection is closed with 1009.",
        unit="bytes",
        gunicorn="websocket_max_message_size",
    )
    websocket_ping_interval_s: float = _setting(
        20.0,
        "--websocket-ping-interval",
        _seconds(),
        "How often the peer of a WebSocket is asked whether it is there; one that has not answered by the next time is "
        "given up. 0 turns it off.",
        unit="s",
    )
    websocket_deflate: bool = _setting(
        True,
        "--websocket-deflate",
        YES_NO,
        "Whether messages of WebSockets are compressed when the peer can do it (permessage-deflate).",
    )

    # -- clocks
    timeout_s: float = _setting(
        30.0,
        "-t/--timeout",
        _seconds(),
        "A worker that gives no sign of life for this long is replaced. A busy or waiting view does not count: only "
        "a process that is stopped, or C code that never releases the interpreter. 0 turns it off.",
        unit="s",
        gunicorn="timeout",
    )
    request_timeout_s: float | None = _setting(
        None,
        "--request-timeout",
        _seconds(),
        "How long a view may take to begin its answer. Then the client gets 504, and the log the stack of its thread, "
        "which another replaces. Unless given, it is as long as --timeout; 0 turns it off. What a view has begun to "
        "send may take as long as it needs.",
        unit="s",
    )
    request_timeouts: tuple[tuple[str, float], ...] = _setting(
        (),
        "--request-timeout-for",
        PATH_SECONDS,
        "Another --request-timeout for paths that begin with this; may be given several times, and the longest path "
        "counts. A view of a demijohn application can have its own, with @time_limit(seconds) of demijohn.helpers.",
    )
    queue_timeout_s: float | None = _setting(
        None,
        "--queue-timeout",
        _seconds(),
        "How long a request may wait for a thread while views hold all of them. Then it is answered 503, with "
        "Retry-After, and its view is not called. Unless given, it is as long as --request-timeout; 0 turns it off. "
        "Make it shorter than what waits in front of the server gives up after.",
        unit="s",
    )
    graceful_timeout_s: float = _setting(
        30.0,
        "--graceful-timeout",
        _seconds(),
        "How long requests in flight may take to finish when a worker is asked to stop. Keep it under the time "
        "your container platform waits before it kills.",
        unit="s",
        gunicorn="graceful_timeout",
    )
    drain_delay_s: float = _setting(
        0.0,
        "--drain-delay",
        _seconds(),
        "How long to go on serving after SIGTERM, with --readyz-path already answering 503, so that load balancers can "
        "turn away first. --graceful-timeout begins after it; a second SIGTERM ends it.",
        unit="s",
    )
    keep_alive_s: float = _setting(
        5.0,
        "--keep-alive",
        _seconds(),
        "How long an idle connection stays open; 0 closes it after each answer. Behind a proxy or load balancer that "
        "reuses connections, make it longer than theirs (75 or more), or they meet closed connections.",
        unit="s",
        gunicorn="keepalive",
    )
    head_timeout_s: float = _setting(
        10.0,
        "--head-timeout",
        _seconds(0.001),
        "How long a client may take to send the head of a request.",
        unit="s",
    )
    body_timeout_s: float = _setting(
        30.0,
        "--body-timeout",
        _seconds(0.001),
        "How long a client may take to send the content of a request, with what --min-body-rate adds to it.",
        unit="s",
    )
    min_body_rate: int = _setting(
        240,
        "--min-body-rate",
        _whole(1),
        "How much content earns a client one second more than --body-timeout, or --answer-timeout. A faster upload or "
        "download may take as long as it needs.",
        unit="bytes",
    )
    answer_timeout_s: float = _setting(
        60.0,
        "--answer-timeout",
        _seconds(0.001),
        "How long a client may leave an answer unread before its connection is closed, at a time and in all, with what "
        "--min-body-rate adds to it.",
        unit="s",
    )

    # -- limits
    limit_request_line: int = _setting(
        8190,
        "--limit-request-line",
        LIMIT,
        "Longest request line; a longer one is answered 414. 0: only --limit-request-head counts.",
        unit="bytes",
        gunicorn="limit_request_line",
    )
    limit_request_fields: int = _setting(
        100,
        "--limit-request-fields",
        _whole(1),
        "Most field lines in a request; more are answered 431.",
        gunicorn="limit_request_fields",
    )
    limit_request_field_size: int = _setting(
        8190,
        "--limit-request-field_size",
        LIMIT,
        "Longest field line; a longer one is answered 431. 0: only --limit-request-head counts.",
        unit="bytes",
        gunicorn="limit_request_field_size",
    )
    limit_request_head: int = _setting(
        65536,
        "--limit-request-head",
        BYTES,
        "Largest head of a request, all lines together; a larger one is answered 431.",
        unit="bytes",
    )
    limit_request_body: int | None = _setting(
        None,
        "--limit-request-body",
        BYTES,
        "Largest content of a request; a larger one is answered 413. Without it the application alone decides, "
        "as with MAX_CONTENT_LENGTH.",
        unit="bytes",
    )
    body_buffer_bytes: int = _setting(
        1024 * 1024,
        "--body-buffer",
        BYTES,
        "Content up to this size is kept in memory; more goes to a temporary file.",
        unit="bytes",
    )

    # -- logs
    access_log: str | None = _setting(
        None,
        "--access-logfile",
        _text("FILE"),
        "Where to write one line for each request; - is standard output. Off unless given.",
        gunicorn="accesslog",
    )
    access_log_format: str = _setting(
        '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "--access-logformat",
        _text("FORMAT"),
        "What a line of the access log says: gunicorn's atoms, or json for one object per line, to which name=atom "
        "adds a member.",
        gunicorn="access_log_format",
    )
    error_log: str = _setting(
        "-",
        "--error-logfile/--log-file",
        _text("FILE"),
        "Where the server writes what happens to it; - is standard error.",
        gunicorn="errorlog",
    )
    capture_output: bool = _setting(
        False,
        "--capture-output",
        SWITCH,
        "Send what the application prints, on both streams, to --error-logfile.",
        gunicorn="capture_output",
    )
    logconfig: str | None = _setting(
        None,
        "--log-config",
        _text("FILE"),
        "File that configures Python's logging, in the format of logging.config.fileConfig. What it says of the "
        "loggers gunicorn.error and gunicorn.access is done with the two logs.",
        gunicorn="logconfig",
    )
    logconfig_json: str | None = _setting(
        None,
        "--log-config-json",
        _text("FILE"),
        "The same as JSON, for logging.config.dictConfig; counts more than --log-config.",
        gunicorn="logconfig_json",
    )
    logconfig_dict: Mapping[str, Any] | None = _setting(
        None,
        "",
        MAPPING,
        "The same as a dictionary in a configuration file; counts more than the other two.",
        gunicorn="logconfig_dict",
    )
    syslog: bool = _setting(
        False,
        "--log-syslog",
        SWITCH,
        "Send both logs to syslog, too, as gunicorn.PREFIX.error and gunicorn.PREFIX.access.",
        gunicorn="syslog",
    )
    syslog_addr: str = _setting(
        "udp://localhost:514",
        "--log-syslog-to",
        _text("ADDRESS"),
        "Where syslog is: udp://HOST:PORT, tcp://HOST:PORT, unix://PATH or unix://PATH#stream.",
        gunicorn="syslog_addr",
    )
    syslog_prefix: str | None = _setting(
        None,
        "--log-syslog-prefix",
        _text("TEXT"),
        "What stands for PREFIX in the name syslog is given; --name when it is not given.",
        gunicorn="syslog_prefix",
    )
    syslog_facility: str = _setting(
        "user",
        "--log-syslog-facility",
        choice("NAME", *SYSLOG_FACILITIES),
        "The facility of syslog.",
        gunicorn="syslog_facility",
    )
    disable_redirect_access_to_syslog: bool = _setting(
        False,
        "--disable-redirect-access-to-syslog",
        SWITCH,
        "Send no access log to syslog.",
        gunicorn="disable_redirect_access_to_syslog",
    )
    logger_class: Any = _setting(  # noqa: RUF009 (it describes the field, and gives no shared default)
        None,
        "--logger-class",
        CLASS,
        "A subclass of gunicorn's Logger to log with; gunicorn has to be installed for it.",
        gunicorn="logger_class",
    )
    statsd_host: str | None = _setting(
        None,
        "--statsd-host",
        _matching("ADDRESS", r"unix://.+|[^/\s:]+:\d+|\[[0-9A-Fa-f:.]+\]:\d+", "HOST:PORT or unix://PATH"),
        "Send metrics to a statsd, at HOST:PORT or unix://PATH, under the names that gunicorn gives them.",
        gunicorn="statsd_host",
    )
    statsd_prefix: str | None = _setting(
        None,
        "--statsd-prefix",
        Kind("TEXT", str),
        "What the names of metrics for statsd begin with.",
        gunicorn="statsd_prefix",
    )
    dogstatsd_tags: str | None = _setting(
        None,
        "--dogstatsd-tags",
        Kind("TAGS", str),
        "Tags of all metrics for statsd, separated by commas, as Datadog's takes them.",
        gunicorn="dogstatsd_tags",
    )
    enable_backlog_metric: bool = _setting(
        False,
        "--enable-backlog-metric",
        SWITCH,
        "Tell statsd how many connections wait to be accepted, too, as gunicorn.backlog. Prometheus is told anyway.",
        gunicorn="enable_backlog_metric",
    )
    log_level: str = _setting(
        "info",
        "--log-level",
        choice("LEVEL", *LOG_LEVELS),
        "Least severe message to write: " + ", ".join(LOG_LEVELS) + ".",
        gunicorn="loglevel",
    )

    # -- seen from outside
    status_bind: tuple[str, ...] = _setting(
        (),
        "--status-bind",
        _text("ADDRESS"),
        "Where the arbiter answers /livez, /readyz and /metrics, whatever workers do; written as for --bind, and to "
        "be kept from the outside. May be given several times.",
    )
    control_socket_disable: bool = _setting(
        False,
        "--no-control-socket",
        SWITCH,
        "Do not listen for 'demijohn top', which asks by a socket that only this user and root may use.",
        gunicorn="control_socket_disable",
    )
    livez_path: str | None = _setting(
        None,
        "--livez-path",
        PATH,
        "Where the server itself, not the application, answers that it is alive, even while all threads are busy.",
    )
    readyz_path: str | None = _setting(
        None,
        "--readyz-path",
        PATH,
        "Where the server itself answers whether to send it requests: 503 once it has been asked to stop.",
    )
    metrics_path: str | None = _setting(
        None,
        "--metrics-path",
        PATH,
        "Where the server itself answers with its metrics, those of all workers, for Prometheus. Everybody who reaches "
        "the application can read them there.",
    )

    # -- the process
    chdir: str | None = _setting(
        None,
        "--chdir",
        _text("DIR"),
        "Directory to change to before the application is loaded.",
        gunicorn="chdir",
    )
    python_path: str | None = _setting(
        None,
        "--pythonpath",
        _text("DIRS"),
        "Directories to look for modules in first, separated by commas.",
        gunicorn="pythonpath",
    )
    environment: tuple[str, ...] = _setting(
        (),
        "-e/--env",
        ASSIGNMENT,
        "Set an environment variable before the application is loaded; may be given several times.",
        gunicorn="raw_env",
    )
    executor: str | None = _setting(
        None,
        "--executor",
        _matching(
            "URL",
            r"(processes|threads)(:[1-9][0-9]*)?|inline|dask://[^/\s]+",
            "processes, processes:4, threads:8, inline or dask://HOST:8786",
        ),
        "Where heavy functions and jobs of the application run: processes or threads of each worker, or a Dask "
        "cluster; `processes` when nothing is said, one for each processor.",
    )
    state: str | None = _setting(
        None,
        "--state",
        _matching(
            "URL",
            r"memory://|sqlite:///.+|(redis|rediss|unix)://.+",
            "memory://, sqlite:///PATH or redis://HOST:6379/0",
        ),
        "Where the application keeps what its workers share, such as the records of jobs; a file among the system's "
        "temporary ones when nothing is said.",
    )
    pid_file: str | None = _setting(
        None,
        "-p/--pid",
        _text("FILE"),
        "File to keep the process id of the arbiter in.",
        gunicorn="pidfile",
    )
    user: int | None = _setting(
        None,
        "-u/--user",
        USER,
        "User, by name or number, that workers run as, and that Unix sockets and log files belong to. For a server "
        "that root starts.",
        gunicorn="user",
    )
    group: int | None = _setting(
        None,
        "-g/--group",
        GROUP,
        "Group, by name or number, that workers run as, and that Unix sockets and log files belong to.",
        gunicorn="group",
    )
    initgroups: bool = _setting(
        False,
        "--initgroups",
        SWITCH,
        "Give workers all groups of --user, not --group alone.",
        gunicorn="initgroups",
    )
    umask: int = _setting(
        0,
        "-m/--umask",
        MASK,
        "Rights that Unix sockets do not give, as an octal number: 007 keeps others out.",
        gunicorn="umask",
    )
    daemon: bool = _setting(
        False,
        "-D/--daemon",
        SWITCH,
        "Leave the terminal and go on in the background. Under systemd, or in a container, leave it off.",
        gunicorn="daemon",
    )
    name: str | None = _setting(
        None,
        "-n/--name",
        _text("TEXT"),
        "What ps and top call the processes; useful when several servers run on one machine.",
        gunicorn="proc_name",
    )


def _flag(described: Any) -> Flag:
    multiple = isinstance(described.default, tuple)
    return Flag(name=described.name, default=described.default, multiple=multiple, **described.metadata)


FLAGS: tuple[Flag, ...] = tuple(_flag(described) for described in fields(Settings))


KEYS: dict[str, Flag] = {key: flag for flag in FLAGS for key in flag.keys}
"""The settings by each name that they have in a configuration file."""


# -- from what was given to settings --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """What a file, or a variable with flags in it, gave for a setting, and what to call that place."""

    value: Any
    source: str


class Configuration:
    """Settings under gunicorn's names, as hooks are given them: `server.cfg.workers`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        if name not in KEYS:
            raise AttributeError(f"There is no setting called {name}.")
        value = getattr(self._settings, KEYS[name].name)
        return list(value) if isinstance(value, tuple) else value

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        return {name: getattr(self, name) for name in KEYS}


@dataclass(frozen=True, slots=True)
class Service:
    """What to serve, and how.

    target: names the application, see `loading.load`.
    notes: sentences for the operator on settings that have no effect.
    """

    target: str
    settings: Settings
    notes: tuple[str, ...] = ()


def from_values(
    values: Mapping[str, Any], environ: Mapping[str, str] | None = None, below: Mapping[str, Given] | None = None
) -> Settings:
    """Return the settings for what was given, by `Flag.name`; None and an empty tuple mean "not given".

    What counts most first: `values` (of the command line), our own variables in `environ` (the process's when None),
    `below` (of files), variables we share with others, such as PORT, and the defaults.

    Raises SettingError, naming the flag, the variable or the file, for a value that cannot be used or an unknown name.
    """
    environ = surroundings() if environ is None else environ
    below = below or {}
    unknown = (set(values) | set(below)) - {flag.name for flag in FLAGS}
    if unknown:
        raise SettingError(f"There is no setting called {', '.join(sorted(unknown))}.")
    checked = {}
    for flag in FLAGS:
        given = _given(flag, values, environ, below)
        if given is not None:
            checked[flag.name] = flag.checked(given.value, given.source)
    return Settings(**{**_defaults_here(environ), **checked})


def _defaults_here(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what counts instead of the defaults where PORT is set, or in a container.

    A container is reached from outside or not at all. HOST counts in one alone, because elsewhere it means other
    things: conda's compilers set it.
    """
    contained = is_container(environ)
    if not contained and not environ.get("PORT"):
        return {}
    host = (contained and environ.get("HOST")) or "0.0.0.0"
    host = f"[{host}]" if ":" in host else host
    bind = (f"{host}:{environ.get('PORT') or 8000}",)
    return {"bind": bind, "workers": workers_that_fit()} if contained else {"bind": bind}


def _given(
    flag: Flag, values: Mapping[str, Any], environ: Mapping[str, str], below: Mapping[str, Given]
) -> Given | None:
    value = values.get(flag.name)
    if value is not None and value != ():
        return Given(value, "/".join(flag.spellings))
    own, shared = flag.variables[:1], flag.variables[1:]
    in_file = below.get(flag.name)
    for variable, template in own:
        if environ.get(variable):
            return Given(template.format(environ[variable]), variable)
    if in_file is not None and in_file.value is not None:
        return in_file
    for variable, template in shared:
        if environ.get(variable):
            return Given(template.format(environ[variable]), variable)
    return None


def as_file(service: Service) -> str:
    """Return the configuration file, in Python, that says what `service` says; hooks are comments."""
    lines = [f"wsgi_app = {service.target!r}"]
    for flag in FLAGS:
        value = getattr(service.settings, flag.name)
        if value is None or callable(value):
            written = f"# {flag.key} = {getattr(value, '__qualname__', None)}"
        else:
            written = f"{flag.key} = {list(value) if flag.multiple else value!r}"
        unit = f"  # {flag.unit}" if flag.unit else ""
        lines.append(written + unit)
    return "\n".join(lines) + "\n"
