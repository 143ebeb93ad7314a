"""Steps of several calls at a time."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC
from demijohn.jsonrpc.together import Steps, together

variable: ContextVar[str] = ContextVar("variable")


def run(steps: Steps[Any]) -> Any:
    """Do what a server does: wait for what is yielded, and go on with what became of it."""
    with asyncio.Runner() as runner:
        coroutine = next(steps)
        while True:
            try:
                try:
                    value = None if coroutine is None else runner.run(coroutine)
                except BaseException as error:
                    coroutine = steps.throw(error)
                else:
                    coroutine = steps.send(value)
            except StopIteration as end:
                return end.value


def test_answers_come_in_the_order_of_the_steps_whichever_ended_first() -> None:
    ended = []

    async def wait(n: int) -> int:
        for _ in range(10 - n):
            await asyncio.sleep(0)
        ended.append(n)
        return n

    def steps(n: int) -> Steps[int]:
        result = yield wait(n)
        yield None
        return int(result) * 10

    assert run(together([steps(1), steps(5), steps(3)])) == [10, 50, 30]
    assert ended == [5, 3, 1]


def test_a_failure_is_that_of_its_steps_alone() -> None:
    async def fail(n: int) -> int:
        await asyncio.sleep(0)
        return 1 // n

    def steps(n: int) -> Steps[str]:
        try:
            return f"result {(yield fail(n))}"
        except ZeroDivisionError:
            yield None
            return "failed"

    assert run(together([steps(0), steps(1), steps(0)])) == ["failed", "result 1", "failed"]


def test_what_one_sets_in_its_context_others_do_not_see() -> None:
    async def read() -> str:
        await asyncio.sleep(0)
        return variable.get()

    def steps(value: str) -> Steps[tuple[str, str]]:
        variable.set(value)
        awaited = yield read()
        yield None
        return awaited, variable.get()

    assert run(together([steps("a"), steps("b")])) == [("a", "a"), ("b", "b")]
    assert variable.get("nothing") == "nothing"


def test_who_closes_the_whole_ends_every_one_of_them() -> None:
    ended = []

    async def forever() -> None:
        await asyncio.Event().wait()

    def steps(n: int) -> Steps[None]:
        try:
            yield forever()
        finally:
            ended.append(n)

    whole = together([steps(1), steps(2)])
    coroutine = next(whole)
    assert coroutine is not None
    coroutine.close()  # as a server does whose client has gone
    whole.close()
    assert ended == [1, 2]


def test_steps_that_need_not_wait_are_done_at_once() -> None:
    def steps() -> Steps[int]:
        return 1
        yield

    assert run_without_waiting(together([steps(), steps()])) == [1, 1]
    assert run_without_waiting(together([])) == []


def run_without_waiting(steps: Steps[Any]) -> Any:
    with pytest.raises(StopIteration) as end:
        next(steps)
    return end.value.value


@pytest.mark.parametrize(("given", "kept"), [(3, 3), (1, 1), (0, 1), (None, 10)])
def test_how_many_wait_together_is_a_setting(given: int | None, kept: int) -> None:
    app = Flask("crowd")
    if given is not None:
        app.config["JSONRPC_BATCH_CONCURRENCY"] = given
    assert JSONRPC(app, "/api").get_jsonrpc_site().batch_concurrency == kept
