"""Every setting of the server, described once.

The fields of `Settings` are the source: from them come the flags of `demijohn serve` (`FLAGS`), the environment
variables, the check of what was given (`from_values`) and the reference page. They are in that page's order, those of
each group in a class that extends the one before: `hooks.py`, `settings_connections.py`, `settings_workers.py`,
`settings_limits.py`, `settings_logs.py`, and here what remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .cgroups import is_container, surroundings, workers_that_fit
from .kinds import ASSIGNMENT, GROUP, MASK, SWITCH, USER, Flag, matching, setting, text
from .kinds import SettingError as SettingError
from .settings_logs import LogSettings


@dataclass(init=False, repr=False, eq=False, slots=True)
class Settings(LogSettings):
    """What `demijohn serve` runs with. Built by `from_values`, which checks; the constructor trusts its caller."""

    # -- the process
    chdir: str | None = setting(
        None,
        "--chdir",
        text("DIR"),
        "Directory to change to before the application is loaded.",
        gunicorn="chdir",
    )
    python_path: str | None = setting(
        None,
        "--pythonpath",
        text("DIRS"),
        "Directories to look for modules in first, separated by commas.",
        gunicorn="pythonpath",
    )
    environment: tuple[str, ...] = setting(
        (),
        "-e/--env",
        ASSIGNMENT,
        "Set an environment variable before the application is loaded; may be given several times.",
        gunicorn="raw_env",
    )
    executor: str | None = setting(
        None,
        "--executor",
        matching(
            "URL",
            r"(processes|threads)(:[1-9][0-9]*)?|inline|dask://[^/\s]+",
            "processes, processes:4, threads:8, inline or dask://HOST:8786",
        ),
        "Where heavy functions and jobs of the application run: processes or threads of each worker, or a Dask "
        "cluster; `processes` when nothing is said, one for each processor.",
    )
    state: str | None = setting(
        None,
        "--state",
        matching(
            "URL",
            r"memory://|sqlite:///.+|(redis|rediss|unix)://.+",
            "memory://, sqlite:///PATH or redis://HOST:6379/0",
        ),
        "Where the application keeps what its workers share, such as the records of jobs; a file among the system's "
        "temporary ones when nothing is said.",
    )
    pid_file: str | None = setting(
        None,
        "-p/--pid",
        text("FILE"),
        "File to keep the process id of the arbiter in.",
        gunicorn="pidfile",
    )
    user: int | None = setting(
        None,
        "-u/--user",
        USER,
        "User, by name or number, that workers run as, and that Unix sockets and log files belong to. For a server "
        "that root starts.",
        gunicorn="user",
    )
    group: int | None = setting(
        None,
        "-g/--group",
        GROUP,
        "Group, by name or number, that workers run as, and that Unix sockets and log files belong to.",
        gunicorn="group",
    )
    initgroups: bool = setting(
        False,
        "--initgroups",
        SWITCH,
        "Give workers all groups of --user, not --group alone.",
        gunicorn="initgroups",
    )
    umask: int = setting(
        0,
        "-m/--umask",
        MASK,
        "Rights that Unix sockets do not give, as an octal number: 007 keeps others out.",
        gunicorn="umask",
    )
    daemon: bool = setting(
        False,
        "-D/--daemon",
        SWITCH,
        "Leave the terminal and go on in the background. Under systemd, or in a container, leave it off.",
        gunicorn="daemon",
    )
    name: str | None = setting(
        None,
        "-n/--name",
        text("TEXT"),
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
