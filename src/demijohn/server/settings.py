"""Every setting of the server, described once.

The fields of `Settings` are the source: from them come the flags of `demijohn serve` (`FLAGS`), the environment
variables, the check of what was given (`from_values`) and the reference page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .cgroups import is_container, surroundings, workers_that_fit

_KILO = 1024
_SIZES = {"k": _KILO, "m": _KILO**2, "g": _KILO**3}
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


class SettingError(ValueError):
    """A setting has a value the server cannot use; the message is one sentence for whoever started it."""


# -- the kinds of values ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: how help texts call it, and how text becomes one.

    `parse` takes text or a value that has the type already; it raises ValueError with what the value must be.
    """

    metavar: str
    parse: Callable[[Any], Any]


def _whole(minimum: int) -> Kind:
    def parse(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = minimum - 1
        if number < minimum:
            raise ValueError(f"must be a whole number, {minimum} or more")
        return number

    return Kind("INT", parse)


def _seconds(minimum: float = 0.0) -> Kind:
    def parse(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not minimum <= number < float("inf"):
            raise ValueError(f"must be a number of seconds, {minimum:g} or more")
        return number

    return Kind("SECONDS", parse)


def _parse_bytes(value: Any) -> int:
    text = str(value).strip().lower()
    unit = _SIZES.get(text[-1:], 1)
    digits = text[:-1] if unit > 1 else text
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError("must be a number of bytes, such as 65536, 64K or 10M")
    return int(digits) * unit


def _parse_limit(value: Any) -> int:
    return _parse_bytes(value) or sys.maxsize


def _parse_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must not be empty")
    return value


def _parse_switch(value: Any) -> bool:
    truth = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return truth[str(value).lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _parse_level(value: Any) -> str:
    if not isinstance(value, str) or value.lower() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return value.lower()


def _parse_environment(value: Any) -> str:
    if not isinstance(value, str) or value.find("=") < 1:
        raise ValueError("must be NAME=VALUE")
    return value


BYTES = Kind("BYTES", _parse_bytes)
LIMIT = Kind("BYTES", _parse_limit)
SWITCH = Kind("", _parse_switch)
LEVEL = Kind("LEVEL", _parse_level)


def _text(metavar: str) -> Kind:
    return Kind(metavar, _parse_text)


# -- how a setting is described -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flag:
    """One setting as a command line sees it.

    name: the attribute of `Settings`, and the key `from_values` takes.
    spellings: `("-w", "--workers")`.
    multiple: it may be given several times; its value is a tuple.
    variables: environment variables that set it, and the text their value stands in; the first that is set wins.
    gunicorn: gunicorn's name for it, empty when it has none.
    """

    name: str
    spellings: tuple[str, ...]
    kind: Kind
    default: Any
    multiple: bool
    unit: str
    gunicorn: str
    variables: tuple[tuple[str, str], ...]
    doc: str

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value on the command line."""
        return self.kind is SWITCH

    @property
    def metavar(self) -> str:
        return self.kind.metavar

    @property
    def help(self) -> str:
        """The description with the default, for `--help`."""
        if self.is_switch or self.default is None or self.default == ():
            return self.doc
        texts = self.default if self.multiple else (self.default,)
        shown = ", ".join(f"{text:g}" if isinstance(text, float) else str(text) for text in texts)
        return f"{self.doc} [default: {shown}{' ' + self.unit if self.unit else ''}]"


def _setting(
    default: Any,
    spellings: str,
    kind: Kind,
    doc: str,
    *,
    unit: str = "",
    gunicorn: str = "",
    variables: tuple[tuple[str, str], ...] = (),
) -> Any:
    long_spelling = next(spelling for spelling in spellings.split("/") if spelling.startswith("--"))
    own_variable = "DEMIJOHN_" + long_spelling[2:].replace("-", "_").upper()
    return field(
        default=default,
        metadata={
            "spellings": tuple(spellings.split("/")),
            "kind": kind,
            "doc": doc,
            "unit": unit,
            "gunicorn": gunicorn,
            "variables": ((own_variable, "{}"), *variables),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
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
        "Load the application once, before forking, so workers share its memory. SIGHUP then cannot load new code.",
        gunicorn="preload_app",
    )
    switch_interval_s: float = _setting(
        0.005,
        "--switch-interval",
        _seconds(0.00001),
        "How long a thread that computes may keep the interpreter while others wait for it. Lower it when "
        "CPU-bound views delay quick ones; the price is throughput.",
        unit="s",
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
    graceful_timeout_s: float = _setting(
        30.0,
        "--graceful-timeout",
        _seconds(),
        "How long requests in flight may take to finish when a worker is asked to stop. Keep it under the time "
        "your container platform waits before it kills.",
        unit="s",
        gunicorn="graceful_timeout",
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
        "How much content earns a client one second more than --body-timeout. A faster upload may take as long as it "
        "needs.",
        unit="bytes",
    )
    answer_timeout_s: float = _setting(
        60.0,
        "--answer-timeout",
        _seconds(0.001),
        "How long a client may leave an answer unread before its connection is closed.",
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
    log_level: str = _setting(
        "info",
        "--log-level",
        LEVEL,
        "Least severe message to write: " + ", ".join(LOG_LEVELS) + ".",
        gunicorn="loglevel",
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
        Kind("NAME=VALUE", _parse_environment),
        "Set an environment variable before the application is loaded; may be given several times.",
        gunicorn="raw_env",
    )
    pid_file: str | None = _setting(
        None,
        "-p/--pid",
        _text("FILE"),
        "File to keep the process id of the arbiter in.",
        gunicorn="pidfile",
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


# -- from what was given to settings --------------------------------------------------------------


def from_values(values: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings for `values` (by `Flag.name`), else the environment's, else the defaults that hold here.

    None and an empty tuple mean "not given". `environ` is the process's when None.

    Raises SettingError, naming the flag or the variable, for a value that cannot be used or an unknown name.
    """
    environ = surroundings() if environ is None else environ
    unknown = set(values) - {flag.name for flag in FLAGS}
    if unknown:
        raise SettingError(f"There is no setting called {', '.join(sorted(unknown))}.")
    checked = {}
    for flag in FLAGS:
        given = values.get(flag.name)
        if given is not None and given != ():
            checked[flag.name] = _checked(flag, given, "/".join(flag.spellings))
        else:
            for variable, template in flag.variables:
                if environ.get(variable):
                    text = template.format(environ[variable])
                    checked[flag.name] = _checked(flag, text.split(",") if flag.multiple else text, variable)
                    break
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


def _checked(flag: Flag, given: Any, source: str) -> Any:
    """Parse what `source` gave for `flag`."""
    given_each = ([given] if isinstance(given, str) else list(given)) if flag.multiple else [given]
    parsed = []
    for value in given_each:
        try:
            parsed.append(flag.kind.parse(value))
        except ValueError as error:
            raise SettingError(f"{source} {error}, not {value!r}.") from None
    return tuple(parsed) if flag.multiple else parsed[0]
