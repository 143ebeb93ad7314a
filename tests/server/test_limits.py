"""Requests over their limit: ended one by one, told with their stack, and nobody else harmed."""

from __future__ import annotations

import contextlib
import math
import re
import signal
import threading
from typing import Any

import pytest

from demijohn.helpers import time_limit
from demijohn.message import Origin, RequestHead
from demijohn.server.limits import TimeLimits
from demijohn.server.settings import SettingError, Settings, from_values


def limit_s(target: str, settings: Settings, own_s: float | None = None) -> float:
    class Route:
        wall_s = 0.0
        limit_s = own_s

    return TimeLimits(settings).limit_s(RequestHead("GET", target.encode(), (1, 1), [], Origin()), Route())


def test_a_views_own_limit_counts_most_then_the_longest_path_then_the_one_for_all() -> None:
    settings = from_values({"request_timeout_s": "5", "request_timeouts": ["/a=7", "/a/long=0", "/b=0.5"]}, {})
    limits = [limit_s(target, settings) for target in ("/", "/a/x", "/a/long/y?z", "/b?a")]
    assert limits == [5, 7, math.inf, 0.5]
    assert limit_s("/b", settings, own_s=3) == 3
    assert limit_s("/b", settings, own_s=0) == math.inf


def test_without_a_limit_of_its_own_a_request_may_take_as_long_as_timeout_says() -> None:
    assert limit_s("/", Settings()) == Settings().timeout_s
    assert limit_s("/", Settings(timeout_s=0)) == math.inf
    assert limit_s("/", Settings(request_timeout_s=0)) == math.inf


def test_whoever_wants_another_limit_learns_what_set_it() -> None:
    class Route:
        wall_s = 0.0
        limit_s: float | None = None

    def set_by(target: str, route: Route, **values: Any) -> str:
        head = RequestHead("GET", target.encode(), (1, 1), [], Origin())
        return TimeLimits(from_values(values, {})).set_by(head, route)

    of_a_view = Route()
    of_a_view.limit_s = 3
    assert set_by("/", Route(), request_timeout_s="5") == "--request-timeout"
    assert set_by("/", Route()) == "that of --timeout; --request-timeout and --request-timeout-for set others"
    assert set_by("/a", Route(), request_timeouts=["/a=7"]) == "--request-timeout-for"
    assert set_by("/a", of_a_view, request_timeouts=["/a=7"]) == "the view's own time_limit"


@pytest.mark.parametrize("given", ["/a", "a=5", "/a=", "/a=soon", "/a=-1", "=5"])
def test_a_limit_for_a_path_needs_path_and_seconds(given: str) -> None:
    with pytest.raises(SettingError, match=r"--request-timeout-for must be PATH=SECONDS, such as /reports=120, not"):
        from_values({"request_timeouts": [given]}, {})


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_views_limit_is_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="takes a number of seconds, 0 or more"):
        time_limit(seconds)


# -- of a running server --------------------------------------------------------------------------


def test_a_stuck_request_is_answered_and_told_and_its_late_answer_dropped(serve, gate, in_background) -> None:
    server = serve("limited:app", "--request-timeout", "0.5", "--access-logfile", "-", "--log-level", "info")
    server.wait_until_ready()
    answer = server.get(f"/wait?path={gate.path}")
    assert (answer.status, answer.text) == (504, "The server could not answer the request in time.\n")
    assert answer.headers["Connection"] == "close"
    gate.wait_for_view()
    server.wait_for(
        r"Request timed out: GET /wait has been running for 0\.\d s in demijohn-\d+, its limit is 0\.5 s \("
        r"--request-timeout\)\. .*; 0 more"
    )
    server.wait_for(r'File ".*/limited\.py", line \d+, in wait$')
    server.wait_for(r'File ".*/limited\.py", line \d+, in wait_at_gate$')
    server.wait_for(r'"GET /wait.* HTTP/1\.1" 504 \d+ ')
    assert server.get("/").text == "Hello, World!"
    gate.open()
    server.wait_for("torn down")  # by the thread that was left to itself
    server.wait_for("The late answer to GET /wait is dropped")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count('"GET /wait') == 1
    assert set(re.findall(r'File ".*/(\w+\.py)"', server.log)) == {"limited.py"}  # and nothing of ours


def test_a_stuck_request_of_any_wsgi_application_is_ended(serve, gate) -> None:
    server = serve("plain:application", "--request-timeout", "600", "--request-timeout-for", "/wait=0.3")
    server.wait_until_ready()
    assert server.get(f"/wait?{gate.path}").status == 504
    server.wait_for("in wait_at_gate")
    assert server.get("/").status == 200


def test_as_many_requests_as_there_are_threads_may_hang_and_the_next_are_served(serve, gate, in_background) -> None:
    server = serve("limited:app", "--threads", "2", "--request-timeout-for", "/wait=0.5")
    (pid,) = server.wait_until_ready()
    hung = [in_background(server.get, f"/wait?path={gate.path}") for _ in range(2)]
    for _ in hung:
        gate.wait_for_view()
    late = in_background(server.get, f"/reports/wait?path={gate.path}")
    assert [request.result().status for request in hung] == [504, 504]
    # Both of its threads are lost, so it leaves; but only after what it has in hand.
    server.wait_for("As many threads are lost to such requests as there are for views, so the worker is replaced")
    gate.wait_for_view()
    assert server.wait_for_worker() != pid
    gate.open()
    assert late.result().status == 200
    assert server.get("/").status == 200


def test_the_neighbours_of_a_stuck_request_are_unharmed(serve, gate, in_background) -> None:
    server = serve("limited:app", "--request-timeout", "30")
    (pid,) = server.wait_until_ready()
    neighbours = [in_background(server.get, f"/unlimited?path={gate.path}") for _ in range(3)]
    for _ in neighbours:
        gate.wait_for_view()
    assert server.get(f"/short?path={gate.path}").status == 504
    gate.wait_for_view()
    assert "; 3 more are in hand" in server.wait_for("Request timed out: GET /short").string
    gate.open()
    assert [request.result().text for request in neighbours] == ["let through"] * 3
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert f"Worker exiting (pid: {pid})" in server.log


def test_a_request_that_awaits_too_long_is_cancelled(serve, gate, in_background) -> None:
    server = serve("limited:app", "--request-timeout", "0.3")
    server.wait_until_ready()
    answer = server.get(f"/await?path={gate.path}")
    assert (answer.status, answer.text) == (504, "The server could not answer the request in time.\n")
    server.wait_for(r"Request timed out: GET /await has been awaiting for 0\.\d s, its limit is 0\.3 s")
    server.wait_for(r'File ".*/limited\.py", line \d+, in await_gate$')
    server.wait_for("left")
    assert server.get("/").status == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "The application failed" not in server.log


def test_an_answer_that_has_begun_may_take_as_long_as_it_needs(serve, gate, in_background) -> None:
    server = serve("limited:app", "--request-timeout", "0.3")
    server.wait_until_ready()
    stream = in_background(server.get, f"/stream?path={gate.path}")
    gate.wait_for_view()
    assert server.get(f"/short?path={gate.path}").status == 504  # begun later, and over its limit
    gate.open()
    assert (stream.result().status, stream.result().text) == (200, "first\nsecond\n")


def test_a_stream_without_its_first_part_has_not_begun(serve, gate) -> None:
    server = serve("limited:app", "--request-timeout", "0.3")
    server.wait_until_ready()
    assert server.get(f"/stream-late?path={gate.path}").status == 504
    gate.wait_for_view()
    gate.open()
    server.wait_for("The late answer to GET /stream-late is dropped")
    assert server.get("/").status == 200


def test_a_stream_that_goes_on_when_its_peer_has_read_is_ended_at_no_limit(serve, gate, in_background) -> None:
    """The thread that sends it on has answered others before; those are not concerned either."""
    server = serve("limited:app", "-w", "1", "--threads", "1", "--request-timeout", "0.3")
    server.wait_until_ready()
    with server.connect() as reader, contextlib.ExitStack() as stack:
        reader.sendall(f"GET /stream-large?path={gate.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert reader.recv(1) == b"H"
        others = [stack.enter_context(server.connect()) for _ in range(8)]
        for other in others:  # by whichever of the threads
            other.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert other.recv(1000).startswith(b"HTTP/1.1 200 ")
        stream = in_background(lambda: b"".join(iter(lambda: reader.recv(1 << 20), b"")))
        gate.wait_for_view()
        assert server.get(f"/short?path={gate.path}").status == 504  # begun later, and over its limit
        gate.open()
        assert stream.result().endswith(b"second\n\r\n0\r\n\r\n")
        for other in others:
            other.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert other.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert "timed out: GET /stream-large" not in server.log


def test_requests_that_come_out_in_time_are_never_touched(serve, gate, in_background) -> None:
    """Views that come out just when their limit is over are answered once, whichever way it goes."""
    server = serve("limited:app", "--request-timeout", "0.05", "--threads", "4", "--access-logfile", "-")
    server.wait_until_ready()
    statuses = []
    for _ in range(20):
        request = in_background(server.get, f"/wait?path={gate.path}")
        gate.wait_for_view()
        gate.open()
        statuses.append(request.result().status)
    assert set(statuses) <= {200, 504}
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    logged = [int(status) for status in re.findall(r'"GET /wait.*?" (\d+) ', server.log)]
    assert sorted(logged) == sorted(statuses)


def test_what_a_lost_thread_has_answered_still_counts(serve, gate) -> None:
    server = serve("limited:app", "-w", "1", "--request-timeout-for", "/wait=0.2", "--max-requests", "4")
    server.wait_until_ready()
    for _ in range(3):
        assert server.get("/").status == 200
    assert server.get(f"/wait?path={gate.path}").status == 504
    assert server.get("/").status == 200
    server.wait_for(r"has answered 4 requests and is replaced")


def test_requests_that_time_out_are_counted(serve, gate) -> None:
    server = serve("limited:app", "--request-timeout", "0.2", "--metrics-path", "/metrics")
    server.wait_until_ready()
    assert server.get(f"/wait?path={gate.path}").status == 504
    text: Any = server.get("/metrics").text
    assert "demijohn_requests_timed_out_total 1" in text
    assert 'demijohn_request_duration_seconds_count{method="GET",status="5xx"} 1' in text


# -- of an ASGI application -------------------------------------------------------------------------


def test_a_request_of_an_asgi_application_that_takes_too_long_is_cancelled(serve, gate) -> None:
    flags = ("--request-timeout-for", "/wait=0.3", "--access-logfile", "-")
    server = serve("asgi_plain:application", "-w", "1", *flags)
    server.wait_until_ready()
    answer = server.get(f"/wait?{gate.path}")
    assert (answer.status, answer.text) == (504, "The server could not answer the request in time.\n")
    gate.wait_for_view()
    server.wait_for(r"Request timed out: GET /wait has been awaiting for 0\.\d s, its limit is 0\.3 s")
    server.wait_for(r'File ".*/asgi_plain\.py", line \d+, in wait$')
    server.wait_for(r'"GET /wait.* 504 ')
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "CancelledError" not in server.log


def test_content_that_arrives_slowly_is_not_counted_against_the_application(serve) -> None:
    server = serve("asgi_plain:application", "-w", "1", "--request-timeout", "0.5")
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabc")
        assert server.get("/").status == 200
        threading.Event().wait(1.2)  # longer than the limit: that is what is tried
        sock.sendall(b"def")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("content_bytes", [200_000, 10])
def test_an_application_that_never_asks_for_its_content_is_ended_too(serve, gate, content_bytes: int) -> None:
    flags = ("--request-timeout-for", "/wait=0.3", "--body-timeout", "0.3")
    server = serve("asgi_plain:application", "-w", "1", *flags)
    server.wait_until_ready()
    with server.connect() as sock:
        sock.sendall(f"POST /wait?{gate.path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".encode())
        gate.wait_for_view()
        sock.sendall(b"x" * content_bytes)
        # When it is the peer that holds back the rest, it is told so.
        assert sock.recv(1000).startswith(b"HTTP/1.1 504 " if content_bytes > 65536 else b"HTTP/1.1 408 ")
    server.wait_for("Request timed out: POST /wait has been awaiting")
    assert server.get("/").status == 200


# -- requests that wait for a thread ------------------------------------------------------------------


def test_a_request_may_wait_for_a_thread_for_as_long_as_a_view_may_take() -> None:
    def queue_s(**values: str) -> float:
        return TimeLimits(from_values(values, {})).queue_s

    assert queue_s() == Settings().timeout_s
    assert queue_s(request_timeout_s="7") == 7
    assert queue_s(request_timeout_s="7", queue_timeout_s="2") == 2
    assert queue_s(queue_timeout_s="0") == queue_s(timeout_s="0") == math.inf


@pytest.mark.parametrize(("target", "path"), [("limited:app", "/unlimited?path="), ("plain:application", "/wait?")])
def test_a_request_that_no_thread_is_free_for_is_answered_503_and_its_neighbours_are_not(
    serve, gate, in_background, target: str, path: str
) -> None:
    flags = ("--threads", "2", "--queue-timeout", "0.4", "--request-timeout", "0", "--metrics-path", "/metrics")
    server = serve(target, *flags, "--access-logfile", "-")
    server.wait_until_ready()
    inside = []
    for _ in range(2):
        inside.append(in_background(server.get, path + str(gate.path)))
        gate.wait_for_view()
    late = [in_background(server.get, path + str(gate.path)) for _ in range(4)]
    for answer in [request.result() for request in late]:
        assert (answer.status, answer.text) == (503, "The server is too busy to answer the request.\n")
        assert answer.headers["Retry-After"] == "5"
        assert answer.headers["Connection"] == "close"
    server.wait_for(
        r"\[WARNING\] Requests waited for a thread for longer than 0\.4 s \(--queue-timeout\): \d, the first GET "
        + path.partition("?")[0]
    )
    server.wait_for(r'"GET .* HTTP/1\.1" 503 \d+ ')
    assert "demijohn_requests_shed_total 4\n" in server.get("/metrics").text
    gate.open()
    assert [request.result().status for request in inside] == [200] * 2
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
