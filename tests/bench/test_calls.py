"""How recorded calls are shown."""

from __future__ import annotations

from bench.calls import Call, functions, summary, tree


def calls(*events: str, thread: int = 1) -> list[Call]:
    """ "+f" is a call of f, "-f" its return, a microsecond apart."""
    return [
        Call(
            number * 1000,
            thread,
            "call" if event[0] == "+" else "return",
            event[1:],
            f"/x/site-packages/{event[1:]}.py:1",
        )
        for number, event in enumerate(events)
    ]


def test_callees_are_indented_under_their_callers() -> None:
    lines = tree(calls("+a", "+b", "-b", "+c", "-c", "-a"))
    assert [line.partition("thread 0  ")[2] for line in lines] == ["a  a.py:1", "  b  b.py:1", "  c  c.py:1"]


def test_returns_from_before_the_window_do_not_hide_the_outermost_call() -> None:
    lines = tree(calls("-poll", "+a", "-a", "-loop", "+b"))
    assert [line.partition("thread 0  ")[2] for line in lines] == ["  a  a.py:1", "b  b.py:1"]


def test_functions_are_counted_per_request() -> None:
    requests = [calls("+a", "-a", "+b", "-b"), calls("+a", "-a")]
    assert functions(requests) == ["   1.00  a  a.py:1", "   0.50  b  b.py:1"]
    assert summary([], requests).startswith("2 calls for one request (1 to 2), 0 in")
