"""What a server makes of its process: whom it belongs to, who may connect, and the terminal."""

from __future__ import annotations

import os
import re
import select
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


WHO = """
import os

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getuid()} {os.getgid()} {sorted(os.getgroups())}".encode()]
"""


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder with an application that anybody may read; pytest's own are private."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "who.py").write_text(WHO)
        yield Path(folder)


@as_root
def test_workers_run_as_the_user_and_the_group_and_the_arbiter_stays_who_it_is(serve, public_folder: Path) -> None:
    server = serve("who:app", "-u", "nobody", "-g", str(NOBODY), cwd=public_folder)
    server.wait_until_ready()
    assert server.get("/").text == f"{NOBODY} {NOBODY} [{NOBODY}]"
    assert os.stat(f"/proc/{server.pid}").st_uid == 0


@as_root
def test_workers_have_all_groups_of_their_user_when_told_to(serve, public_folder: Path) -> None:
    server = serve("who:app", "-u", "nobody", "--initgroups", cwd=public_folder)
    server.wait_until_ready()
    assert server.get("/").text == f"{NOBODY} {NOBODY} {sorted(os.getgrouplist('nobody', NOBODY))}"


@as_root
@pytest.mark.parametrize("initgroups", [(), ("--initgroups",)], ids=["group", "groups"])
def test_a_preloaded_application_is_loaded_as_the_user(serve, public_folder: Path, initgroups: tuple[str, ...]) -> None:
    with (public_folder / "who.py").open("a") as file:
        file.write("\nprint('loaded by user', os.getuid(), flush=True)\n")
    server = serve("who:app", "-u", "nobody", "-g", str(NOBODY), "--preload", *initgroups, cwd=public_folder)
    server.wait_until_ready()
    assert f"loaded by user {NOBODY}" in server.log
    assert server.get("/").text.startswith(f"{NOBODY} {NOBODY} ")


@as_root
def test_sockets_and_log_files_belong_to_the_user(serve, tmp_path: Path, public_folder: Path) -> None:
    path, log = tmp_path / "socket", tmp_path / "access.log"
    server = serve("who:app", "-u", "nobody", "--access-logfile", str(log), bind=f"unix:{path}", cwd=public_folder)
    server.wait_until_ready()
    assert (path.stat().st_uid, log.stat().st_uid) == (NOBODY, NOBODY)


def test_a_user_there_is_not_is_refused_before_anything_starts(serve) -> None:
    server = serve("plain:application", "--user", "no such user")
    assert server.wait() == 2
    assert server.log == (
        "Error: -u/--user must be a user of this machine, or the number of one, not 'no such user'.\n"
    )


@pytest.mark.parametrize(("mask", "mode"), [((), 0o777), (("--umask", "007"), 0o770), (("-m", "0o77"), 0o700)])
def test_the_mask_takes_rights_from_unix_sockets(serve, tmp_path: Path, mask: tuple[str, ...], mode: int) -> None:
    path = tmp_path / "socket"
    serve("plain:application", *mask, bind=f"unix:{path}").wait_until_ready()
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_two_servers_share_a_port_when_both_say_so(serve, free_port: int) -> None:
    flags = ("plain:application", "--reuse-port")
    first, second = (serve(*flags, bind=f"127.0.0.1:{free_port}") for _ in range(2))
    answering = {first.wait_until_ready()[0], second.wait_until_ready()[0]}
    seen: set[int] = set()
    while seen != answering:
        seen.add(int(first.get("/pid").text))
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 0
    assert second.get("/").status == 200


def test_a_daemon_leaves_its_terminal_and_goes_on(serve, tmp_path: Path, process_is_gone) -> None:
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    server = serve(
        "plain:application",
        "--daemon",
        "--pid",
        str(pid_file),
        "--log-file",
        str(log),
        bind=f"unix:{tmp_path}/socket",
    )
    assert server.wait() == 0
    server.address = str(tmp_path / "socket")
    assert server.get("/").text == "Hello, World!"
    pid = int(pid_file.read_text())
    try:
        assert os.getsid(pid) not in (os.getsid(0), server.pid)
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    finally:
        os.kill(pid, signal.SIGTERM)
        process_is_gone(pid)
    assert re.search(rf"\[{pid}\] \[INFO\] Stopped", log.read_text())


def test_a_worker_that_has_all_its_connections_takes_the_next_when_one_ends(serve) -> None:
    server = serve("plain:application", "--worker-connections", "2", "--head-timeout", "60")
    server.wait_until_ready()
    first, second, third = server.connect(), server.connect(), server.connect()
    with first, second, third:
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for sock in (first, second):
            sock.sendall(request)
            assert b"Hello" in sock.recv(4096)
        third.sendall(request)
        assert select.select([third], [], [], 0.2)[0] == []
        first.close()
        assert b"Hello" in third.recv(4096)
