"""What a server makes of its process before it serves: directory, environment, output, name, terminal, owner."""

from __future__ import annotations

import io
import os
import sys
import tempfile

from ..sparing import load_for_workers
from .kinds import SettingError
from .settings import Settings


def prepare(settings: Settings) -> None:
    """Change to the directory, set the variables and the places of modules, and the name. Raises SettingError."""
    if settings.chdir is not None:
        try:
            os.chdir(settings.chdir)
        except OSError as error:
            raise SettingError(f"Cannot change to the directory {settings.chdir}: {error.strerror}.") from None
    for assignment in settings.environment:
        name, _, value = assignment.partition("=")
        os.environ[name] = value
    # Where the application looks for them, which does not know the server's settings.
    for name, url in (("DEMIJOHN_EXECUTOR", settings.executor), ("DEMIJOHN_STATE", settings.state)):
        if url is not None:
            os.environ[name] = url
    extra = settings.python_path.split(",") if settings.python_path is not None else []
    places = [os.path.abspath(directory) for directory in (*extra, os.getcwd())]
    sys.path[:] = [*places, *(place for place in sys.path if place not in places)]
    if settings.name is not None:
        with open("/proc/self/comm", "w") as comm:
            comm.write(settings.name)


def keep_standard_descriptors() -> None:
    """Open those of 0, 1 and 2 that whoever started this process has closed, so that nothing else gets their numbers.

    What is printed, also by C code, would otherwise go into a connection, and what logs to "-" too.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which may be another one
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 (as long as the process)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def use_what_a_container_gives() -> None:
    """Print lines at once, and find a place for large uploads where the root file system is read-only."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when closed
            # The log of a container is a pipe. What a view printed just before the end must not be lost in a buffer.
            stream.reconfigure(line_buffering=True)
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        # Of memory, writable by all, and there in every container (OCI runtime specification, default filesystems).
        tempfile.tempdir = "/dev/shm"


def daemonize() -> None:
    """Go on in a process of its own session, without a terminal; the one that was started exits at once.

    daemon(7): two forks, so that no terminal can become the controlling one again.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)


def change_owner(settings: Settings) -> None:
    """Become the user and the group of the settings, for good. Raises SettingError when this process may not."""
    user, group = settings.user, settings.group
    if os.geteuid() != 0 and user in (None, os.geteuid()) and group in (None, os.getegid()):
        return  # it is, as a worker forked from a process that has become that user (--preload)
    if user not in (None, os.geteuid()) or group not in (None, os.getegid()):
        load_for_workers()
    try:
        if settings.initgroups and user is not None:
            import pwd  # only a server that is started by root gets here

            entry = pwd.getpwuid(user)
            group = entry.pw_gid if group is None else group
            os.initgroups(entry.pw_name, group)
        elif group is not None and os.geteuid() == 0:
            os.setgroups([group])  # the groups of the one who started it give rights, too
        if group is not None and group != os.getegid():
            os.setgid(group)
        if user is not None and user != os.geteuid():
            os.setuid(user)
    except (OSError, KeyError) as error:
        raise SettingError(f"This process cannot run as user {user} and group {group}: {error}.") from None
