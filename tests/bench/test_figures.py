"""What the benchmarks of connections, endurance and cores make of their samples."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from bench import connections, endurance, plots
from bench.measure import Cell, Sample
from bench.scenarios import SCENARIOS


def step(requests: int, memory_mb: float) -> endurance.Step:
    return endurance.Step(requests, 20.0, memory_mb)


def test_growth_is_counted_from_the_warm_server_to_the_end() -> None:
    steps = [step(1, 20.0), step(60_000, 24.0), step(120_000, 25.0), step(1_000_000, 25.5)]
    assert endurance.growth_mb(steps) == pytest.approx(0.5)
    assert len(endurance.table(steps)) == 2 + 3


def test_each_kept_connection_is_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answers = threading.Thread(target=answer_until_closed, args=(listener, 3))
        answers.start()
        with connections.kept(listener.getsockname()[1], 3) as kept:
            assert len(kept) == 3
            connections.answered(kept)
        answers.join()


def test_a_kept_connection_that_ends_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with connections.kept(listener.getsockname()[1], 0) as kept:
            sock = socket.create_connection(listener.getsockname())
            listener.accept()[0].close()
            with sock, pytest.raises(connections.LostConnection):
                connections.answered({sock.fileno(): sock})
        assert kept == {}


def answer_until_closed(listener: socket.socket, count: int) -> None:
    served = [listener.accept()[0] for _ in range(count)]
    for _ in range(2):
        for sock in served:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!")
    for sock in served:
        sock.close()


def test_pictures_of_the_same_figures_are_the_same_and_have_no_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the pictures need it: pip install -r requirements-dev.lock")
    monkeypatch.setattr(plots, "IMAGES", tmp_path)
    cells = {
        ("hello", server): Cell([Sample(1000.0, 1.0, 2.0, cost, others=0.0)])
        for server, cost in (("nginx", 10.0), ("demijohn", 19.0), ("gunicorn+Flask", 350.0))
    }
    made = []
    for _ in range(2):
        plots.campaign(SCENARIOS, cells)
        plots.connections([connections.Cost(idle, 1.0, 1.0, 1.0, 20.0, 30.0) for idle in (0, 100)])
        plots.endurance([step(1, 20.0), step(100, 21.0)])
        made.append({path.name: path.read_text() for path in sorted(tmp_path.iterdir())})
    assert list(made[0]) == ["connections.svg", "endurance.svg", "performance.svg"]
    assert made[0] == made[1]
    assert all(">demijohn<" in made[0]["performance.svg"] and "#ffffff" not in text for text in made[0].values())
