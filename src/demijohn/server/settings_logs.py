"""Settings: what a server tells: logs, metrics, and pages about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .kinds import CLASS, MAPPING, PATH, SWITCH, Kind, choice, matching, setting, text
from .settings_limits import LimitSettings

# syslog(3)
SYSLOG_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *(f"local{number}" for number in range(8)),
)
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(init=False, repr=False, eq=False, slots=True)
class LogSettings(LimitSettings):
    """What a server tells: logs, metrics, and pages about itself."""

    # -- logs
    access_log: str | None = setting(
        None,
        "--access-logfile",
        text("FILE"),
        "Where to write one line for each request; - is standard output. Off unless given.",
        gunicorn="accesslog",
    )
    access_log_format: str = setting(
        '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "--access-logformat",
        text("FORMAT"),
        "What a line of the access log says: gunicorn's atoms, or json for one object per line, to which name=atom "
        "adds a member.",
        gunicorn="access_log_format",
    )
    error_log: str = setting(
        "-",
        "--error-logfile/--log-file",
        text("FILE"),
        "Where the server writes what happens to it; - is standard error.",
        gunicorn="errorlog",
    )
    capture_output: bool = setting(
        False,
        "--capture-output",
        SWITCH,
        "Send what the application prints, on both streams, to --error-logfile.",
        gunicorn="capture_output",
    )
    logconfig: str | None = setting(
        None,
        "--log-config",
        text("FILE"),
        "File that configures Python's logging, in the format of logging.config.fileConfig. What it says of the "
        "loggers gunicorn.error and gunicorn.access is done with the two logs.",
        gunicorn="logconfig",
    )
    logconfig_json: str | None = setting(
        None,
        "--log-config-json",
        text("FILE"),
        "The same as JSON, for logging.config.dictConfig; counts more than --log-config.",
        gunicorn="logconfig_json",
    )
    logconfig_dict: Mapping[str, Any] | None = setting(
        None,
        "",
        MAPPING,
        "The same as a dictionary in a configuration file; counts more than the other two.",
        gunicorn="logconfig_dict",
    )
    syslog: bool = setting(
        False,
        "--log-syslog",
        SWITCH,
        "Send both logs to syslog, too, as gunicorn.PREFIX.error and gunicorn.PREFIX.access.",
        gunicorn="syslog",
    )
    syslog_addr: str = setting(
        "udp://localhost:514",
        "--log-syslog-to",
        text("ADDRESS"),
        "Where syslog is: udp://HOST:PORT, tcp://HOST:PORT, unix://PATH or unix://PATH#stream.",
        gunicorn="syslog_addr",
    )
    syslog_prefix: str | None = setting(
        None,
        "--log-syslog-prefix",
        text("TEXT"),
        "What stands for PREFIX in the name syslog is given; --name when it is not given.",
        gunicorn="syslog_prefix",
    )
    syslog_facility: str = setting(
        "user",
        "--log-syslog-facility",
        choice("NAME", *SYSLOG_FACILITIES),
        "The facility of syslog.",
        gunicorn="syslog_facility",
    )
    disable_redirect_access_to_syslog: bool = setting(
        False,
        "--disable-redirect-access-to-syslog",
        SWITCH,
        "Send no access log to syslog.",
        gunicorn="disable_redirect_access_to_syslog",
    )
    logger_class: Any = setting(  # noqa: RUF009 (it describes the field, and gives no shared default)
        None,
        "--logger-class",
        CLASS,
        "A subclass of gunicorn's Logger to log with; gunicorn has to be installed for it.",
        gunicorn="logger_class",
    )
    statsd_host: str | None = setting(
        None,
        "--statsd-host",
        matching("ADDRESS", r"unix://.+|[^/\s:]+:\d+|\[[0-9A-Fa-f:.]+\]:\d+", "HOST:PORT or unix://PATH"),
        "Send metrics to a statsd, at HOST:PORT or unix://PATH, under the names that gunicorn gives them.",
        gunicorn="statsd_host",
    )
    statsd_prefix: str | None = setting(
        None,
        "--statsd-prefix",
        Kind("TEXT", str),
        "What the names of metrics for statsd begin with.",
        gunicorn="statsd_prefix",
    )
    dogstatsd_tags: str | None = setting(
        None,
        "--dogstatsd-tags",
        Kind("TAGS", str),
        "Tags of all metrics for statsd, separated by commas, as Datadog's takes them.",
        gunicorn="dogstatsd_tags",
    )
    enable_backlog_metric: bool = setting(
        False,
        "--enable-backlog-metric",
        SWITCH,
        "Tell statsd how many connections wait to be accepted, too, as gunicorn.backlog. Prometheus is told anyway.",
        gunicorn="enable_backlog_metric",
    )
    log_level: str = setting(
        "info",
        "--log-level",
        choice("LEVEL", *LOG_LEVELS),
        "Least severe message to write: " + ", ".join(LOG_LEVELS) + ".",
        gunicorn="loglevel",
    )

    # -- seen from outside
    status_bind: tuple[str, ...] = setting(
        (),
        "--status-bind",
        text("ADDRESS"),
        "Where the arbiter answers /livez, /readyz and /metrics, whatever workers do; written as for --bind, and to "
        "be kept from the outside. May be given several times.",
    )
    control_socket_disable: bool = setting(
        False,
        "--no-control-socket",
        SWITCH,
        "Do not listen for 'demijohn top', which asks by a socket that only this user and root may use.",
        gunicorn="control_socket_disable",
    )
    livez_path: str | None = setting(
        None,
        "--livez-path",
        PATH,
        "Where the server itself, not the application, answers that it is alive, even while all threads are busy.",
    )
    readyz_path: str | None = setting(
        None,
        "--readyz-path",
        PATH,
        "Where the server itself answers whether to send it requests: 503 once it has been asked to stop.",
    )
    metrics_path: str | None = setting(
        None,
        "--metrics-path",
        PATH,
        "Where the server itself answers with its metrics, those of all workers, for Prometheus. Everybody who reaches "
        "the application can read them there.",
    )
