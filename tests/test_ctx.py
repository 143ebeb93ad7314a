"""Contexts: what is current, where, and for how long."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import pytest

from demijohn import (
    Flask,
    after_this_request,
    copy_current_request_context,
    current_app,
    g,
    has_app_context,
    has_request_context,
    request,
    session,
)
from demijohn.globals import app_ctx, request_ctx


@pytest.fixture
def app() -> Flask:
    app = Flask("app")
    app.secret_key = "for tests"
    return app


def test_nothing_is_current_outside() -> None:
    assert not has_app_context()
    assert not has_request_context()
    for proxy, advice in ((current_app, "app_context"), (g, "app_context"), (request, "test_request_context")):
        with pytest.raises(RuntimeError, match=advice):
            proxy._get_current_object()


def test_contexts_nest_and_come_back(app: Flask) -> None:
    other = Flask("other")
    with app.app_context():
        g.name = "outer"
        with other.app_context():
            assert current_app.name == "other"
            assert "name" not in g
        assert current_app.name == "app"
        assert g.name == "outer"


def test_a_request_brings_a_context_of_its_application(app: Flask) -> None:
    with app.test_request_context("/path?x=1"):
        assert current_app._get_current_object() is app  # type: ignore[attr-defined]
        assert request.path == "/path"
        assert request.args["x"] == "1"
    assert not has_app_context()


def test_a_request_within_its_applications_context_shares_it(app: Flask) -> None:
    with app.app_context(), app.test_request_context():
        g.shared = 1
        inner = app_ctx._get_current_object()  # type: ignore[attr-defined]
        assert inner.g.shared == 1


def test_teardown_runs_at_the_last_pop_with_the_error(app: Flask) -> None:
    seen: list[Any] = []
    app.teardown_appcontext(seen.append)
    with pytest.raises(ZeroDivisionError), app.app_context() as ctx, ctx:
        1 / 0  # noqa: B018

    assert [type(error) for error in seen] == [ZeroDivisionError]


def test_contexts_popped_out_of_order_are_reported(app: Flask) -> None:
    outer, inner = app.app_context(), app.app_context()
    outer.push()
    inner.push()
    try:
        with pytest.raises(AssertionError, match="not the current one"):
            outer.pop()
    finally:
        # What was current before the wrong pop is current again.
        inner._cv_tokens.clear()
    assert not has_app_context()


def test_contexts_take_attributes_and_weak_references(app: Flask) -> None:
    ctx = app.app_context()
    ctx.of_an_extension = 1  # type: ignore[attr-defined]
    assert weakref.ref(ctx)() is ctx
    with app.test_request_context() as request_context:
        request_context.of_an_extension = 2  # type: ignore[attr-defined]
        assert request_ctx.of_an_extension == 2  # type: ignore[attr-defined]


def test_g_is_a_namespace() -> None:
    with Flask("app").app_context():
        g.a = 1
        assert "a" in g
        assert list(g) == ["a"]
        assert (g.get("a"), g.get("b", 2), g.setdefault("c", 3)) == (1, 2, 3)
        assert (g.pop("a"), g.pop("a", 9)) == (1, 9)
        with pytest.raises(KeyError):
            g.pop("a")
        with pytest.raises(AttributeError, match="'nope'"):
            g.nope  # noqa: B018
        with pytest.raises(AttributeError, match="'nope'"):
            del g.nope
        assert "app" in repr(g)


def test_a_function_can_take_the_request_into_another_thread(app: Flask) -> None:
    answers: list[str] = []

    def view() -> str:
        session["who"] = "me"

        @copy_current_request_context
        def work() -> None:
            answers.append(f"{request.path} {session['who']} {current_app.name}")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return ""

    app.add_url_rule("/view", "view", view)
    app.test_client().get("/view")

    assert answers == ["/view me app"]


def test_after_this_request_changes_one_answer_only(app: Flask) -> None:
    def view() -> str:
        if "mark" in request.args:
            after_this_request(lambda response: response.headers.add("X-Mark", "1") or response)
        return ""

    app.add_url_rule("/", "view", view)
    client = app.test_client()

    assert "X-Mark" in client.get("/?mark").headers
    assert "X-Mark" not in client.get("/").headers
    for function in (after_this_request, copy_current_request_context):
        with pytest.raises(RuntimeError, match=function.__name__):
            function(lambda *args: None)


def test_the_session_is_marked_as_accessed_by_use_only(app: Flask) -> None:
    with app.test_request_context():
        assert not request_ctx._session.accessed
        session.get("x")
        assert request_ctx._session.accessed
