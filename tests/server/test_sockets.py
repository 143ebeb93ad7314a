"""Listeners: what an address means, and what is said when it cannot be used."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
from pathlib import Path

import pytest

from demijohn.server.settings import SettingError, Settings
from demijohn.server.sockets import open_listener, open_listeners, parse_host_and_port


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:8000", "127.0.0.1", 8000),
        ("localhost", "localhost", 8000),
        (":80", "0.0.0.0", 80),
        ("[::1]:81", "::1", 81),
        ("[::]", "::", 8000),
        ("tcp://0.0.0.0:1", "0.0.0.0", 1),
        ("example.test:65535", "example.test", 65535),
    ],
)
def test_host_and_port_of_an_address(address: str, host: str, port: int) -> None:
    assert parse_host_and_port(address) == (host, port)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("8000", "say also where, as in 127.0.0.1:8000 or 0.0.0.0:8000"),
        ("::1:8000", "an IPv6 address is written [::1]:8000"),
        ("[::1", "an IPv6 address is written [::1]:8000"),
        ("[::1]8000", "an IPv6 address is written [::1]:8000"),
        ("localhost:http", "'http' is not a port number"),
        ("localhost:65536", "'65536' is not a port number"),
        ("fd://x", "'x' is not the number of a descriptor"),
        ("fd://999", "the descriptor is not an open socket"),
        ("192.0.2.1:0", "this machine does not have that address"),
        ("unix:/nowhere/at/all", "No such file or directory"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_with_the_reason(address: str, reason: str) -> None:
    with pytest.raises(SettingError) as caught:
        open_listener(address, Settings(backlog=1))
    assert str(caught.value) == f"Cannot listen on {address}: {reason}."


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SettingError, match=f"^Cannot listen on {address}: another process listens there; stop it"):
            open_listener(address, Settings(backlog=1))


def test_when_one_address_fails_none_stays_open(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="'http' is not a port number"):
        open_listeners(Settings(bind=(f"unix:{tmp_path}/socket", "localhost:http")))
    assert not os.path.exists(tmp_path / "socket")


def test_a_listener_tells_where_it_can_be_reached(tmp_path: Path) -> None:
    for address, family in (("127.0.0.1:0", socket.AF_INET), (f"unix:{tmp_path}/socket", socket.AF_UNIX)):
        listener = open_listener(address, Settings(backlog=1))
        try:
            where = listener.url().removeprefix("unix:").removeprefix("http://127.0.0.1:")
            with socket.socket(family) as client:
                client.connect(where if family == socket.AF_UNIX else ("127.0.0.1", int(where)))
        finally:
            listener.turn_newcomers_away()
            listener.close()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_is_written_in_brackets() -> None:
    listener = open_listener("[::1]:0", Settings(backlog=1))
    try:
        assert listener.url().startswith("http://[::1]:")
    finally:
        listener.close()


def test_accepting_from_a_listener_never_blocks() -> None:
    listener = open_listener("127.0.0.1:0", Settings(backlog=1))
    try:
        with pytest.raises(BlockingIOError):
            listener.socket.accept()
    finally:
        listener.close()


def test_anyone_who_may_enter_the_directory_may_connect_to_a_unix_socket(tmp_path: Path) -> None:
    listener = open_listener(f"unix:{tmp_path}/socket", Settings(backlog=1))
    try:
        assert stat.S_IMODE(os.stat(tmp_path / "socket").st_mode) == 0o777
    finally:
        listener.close()


def test_the_unix_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    open_listener(f"unix:{tmp_path}/socket", Settings(backlog=1)).close()
    assert os.path.exists(tmp_path / "socket")
    listener = open_listener(f"unix:{tmp_path}/socket", Settings(backlog=1))
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
    finally:
        listener.close()


def test_the_unix_socket_of_a_running_server_is_left_alone(tmp_path: Path) -> None:
    running = open_listener(f"unix:{tmp_path}/socket", Settings(backlog=1))
    try:
        with pytest.raises(SettingError, match="another process listens there"):
            open_listener(f"unix:{tmp_path}/socket", Settings(backlog=1))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
    finally:
        running.close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("dear diary")
    with pytest.raises(SettingError, match="a file that is no socket has this name"):
        open_listener(f"unix:{tmp_path}/notes", Settings(backlog=1))
    assert (tmp_path / "notes").read_text() == "dear diary"


def test_the_path_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = open_listener(f"unix:{path}", Settings(backlog=1))
    # The name may be reused, the inode number too unless the first socket's file still has it.
    os.rename(path, tmp_path / "old")
    second = open_listener(f"unix:{path}", Settings(backlog=1))
    first.turn_newcomers_away()
    assert path.exists()
    second.turn_newcomers_away()
    assert not path.exists()
    first.close()
    second.close()


def test_an_inherited_descriptor_is_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        listener = open_listener(f"fd://{inherited.fileno()}", Settings(backlog=1))
        try:
            assert listener.socket.getsockname() == inherited.getsockname()
        finally:
            listener.close()
        with socket.create_connection(inherited.getsockname()):
            pass  # the original is still open


def test_an_inherited_descriptor_has_to_be_a_stream_socket() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inherited,
        pytest.raises(SettingError, match="the descriptor is not a stream socket"),
    ):
        open_listener(f"fd://{inherited.fileno()}", Settings(backlog=1))


def may_attach_filters() -> bool:
    """Whether the kernel lets this process attach a filter to a socket; some containers do not."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xFFFF))  # BPF: keep all
    try:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(program)))  # SO_ATTACH_FILTER
    except OSError:
        return False
    return True


@pytest.mark.skipif(not may_attach_filters(), reason="this process may not attach filters to sockets")
def test_who_waits_is_accepted_after_newcomers_are_turned_away() -> None:
    listener = open_listener("127.0.0.1:0", Settings(backlog=5))
    with socket.socket() as waiting, socket.socket() as late:
        waiting.connect(listener.socket.getsockname())
        listener.turn_newcomers_away()
        late.setblocking(False)
        late.connect_ex(listener.socket.getsockname())
        accepted, peer = listener.socket.accept()
        with accepted:
            assert peer == waiting.getsockname()
            waiting.sendall(b"still served")
            assert accepted.recv(100) == b"still served"
        with pytest.raises(BlockingIOError):
            listener.socket.accept()
        address = listener.socket.getsockname()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


def test_the_owner_of_an_inherited_descriptor_goes_on_getting_newcomers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        listener = open_listener(f"fd://{inherited.fileno()}", Settings(backlog=5))
        listener.turn_newcomers_away()
        listener.close()
        with socket.create_connection(inherited.getsockname()):
            inherited.accept()[0].close()
