"""SIGTERM with --drain-delay: load balancers turn away first, then the server stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

LONG = ("--drain-delay", "600", "--readyz-path", "/readyz", "--livez-path", "/livez")


def test_it_is_not_ready_but_serves_until_the_delay_is_over(serve: Callable[..., Any]) -> None:
    server = serve("plain:application", "-w", "2", *LONG)
    server.wait_until_ready(workers=2)
    assert server.get("/readyz").status == 200
    server.send_signal(signal.SIGTERM)
    server.wait_for("Not ready any more; serving for another 600 s")
    for _ in range(8):  # whichever of the workers answers
        assert server.get("/readyz").status == 503
        assert server.get("/").status == 200
    assert server.get("/livez").status == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_worker_that_dies_in_the_delay_is_replaced(serve: Callable[..., Any]) -> None:
    server = serve("plain:application", *LONG)
    (pid,) = server.wait_until_ready()
    server.send_signal(signal.SIGTERM)
    server.wait_for("Not ready any more")
    os.kill(pid, signal.SIGKILL)
    server.wait_for_worker()
    assert server.get("/readyz").status == 503
    server.send_signal(signal.SIGINT)
    assert server.wait() == 0


def test_after_the_delay_what_is_in_flight_is_finished(serve: Callable[..., Any], gate: Any) -> None:
    server = serve("plain:application", "--drain-delay", "0.2")
    server.wait_until_ready()
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(server.get(f"/wait?{gate.path}")))
    asking.start()
    gate.wait_for_view()
    server.send_signal(signal.SIGTERM)
    server.wait_for("Not ready any more")
    with pytest.raises(ConnectionRefusedError):
        server.connect_until_refused()
    gate.open()
    asking.join()
    assert answers[0].status == 200
    assert server.wait() == 0
