"""Views written as classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import pytest

from demijohn import Flask, request
from demijohn.views import MethodView, View


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.testing = True
    return app


def test_a_class_answers_with_the_variables_of_the_url(app: Flask) -> None:
    class Greet(View):
        methods: ClassVar = ["GET", "POST"]

        def __init__(self, word: str) -> None:
            self.word = word

        def dispatch_request(self, name: str) -> str:  # type: ignore[override]
            return f"{self.word}, {name}! ({request.method})"

    app.add_url_rule("/<name>", view_func=Greet.as_view("greet", "Hello"))
    app.add_url_rule("/bye/<name>", view_func=Greet.as_view("bye", word="Bye"))
    client = app.test_client()
    assert client.get("/Ann").text == "Hello, Ann! (GET)"
    assert client.post("/bye/Ann").text == "Bye, Ann! (POST)"
    assert client.put("/Ann").status_code == 405


def test_the_function_tells_what_it_was_made_of() -> None:
    class Page(View):
        """Shows a page."""

        methods: ClassVar = ["POST"]
        provide_automatic_options = False

    function: Any = Page.as_view("page")
    assert (function.__name__, function.__doc__, function.__module__) == ("page", "Shows a page.", __name__)
    assert (function.view_class, function.methods, function.provide_automatic_options) == (Page, ["POST"], False)


def test_a_view_without_dispatch_request_says_so(app: Flask) -> None:
    app.add_url_rule("/", view_func=View.as_view("empty"))
    with pytest.raises(NotImplementedError, match="View needs a method 'dispatch_request'"):
        app.test_client().get("/")


@pytest.mark.parametrize(("every", "answers"), [(True, ["1", "1"]), (False, ["1", "2"])])
def test_an_instance_serves_one_request_or_all(app: Flask, every: bool, answers: list[str]) -> None:
    class Counter(View):
        init_every_request = every
        count = 0

        def dispatch_request(self) -> str:
            self.count += 1
            return str(self.count)

    app.add_url_rule("/", view_func=Counter.as_view("counter"))
    client = app.test_client()
    assert [client.get("/").text, client.get("/").text] == answers


def test_decorators_go_around_each_other_first_one_innermost(app: Flask) -> None:
    def around(letter: str) -> Callable[..., Any]:
        def decorator(f: Callable[..., Any]) -> Callable[..., Any]:
            seen.append((letter, f.__name__))

            def wrapper(*args: Any, **kwargs: Any) -> str:
                return f"{letter}({f(*args, **kwargs)})"

            return wraps(f)(wrapper)

        return decorator

    seen: list[tuple[str, str]] = []

    class Page(View):
        decorators: ClassVar = [around("a"), around("b")]

        def dispatch_request(self) -> str:
            return "page"

    function: Any = Page.as_view("page")
    app.add_url_rule("/", view_func=function)
    assert app.test_client().get("/").text == "b(a(page))"
    assert seen == [("a", "page"), ("b", "page")]
    assert function.view_class is Page


def test_each_http_method_has_its_own_function(app: Flask) -> None:
    class Item(MethodView):
        def get(self, key: int) -> str:
            return f"got {key}"

        def delete(self, key: int) -> str:
            return f"deleted {key}"

    app.add_url_rule("/<int:key>", view_func=Item.as_view("item"))
    client = app.test_client()
    assert client.get("/1").text == "got 1"
    assert client.delete("/1").text == "deleted 1"
    response = client.post("/1")
    assert response.status_code == 405
    assert set(response.allow) == {"GET", "HEAD", "OPTIONS", "DELETE"}
    assert set(client.options("/1").allow) == {"GET", "HEAD", "OPTIONS", "DELETE"}


def test_head_is_get_without_content_unless_defined(app: Flask) -> None:
    class Plain(MethodView):
        def get(self) -> str:
            return "content"

    class Own(Plain):
        def head(self) -> tuple[str, dict[str, str]]:
            return "", {"X-Head": "own"}

    app.add_url_rule("/plain", view_func=Plain.as_view("plain"))
    app.add_url_rule("/own", view_func=Own.as_view("own"))
    head = app.test_client().head("/plain")
    assert (head.status_code, head.data, head.content_length) == (200, b"", 7)
    assert app.test_client().head("/own").headers["X-Head"] == "own"


def test_methods_are_inherited_and_may_be_taken_away() -> None:
    class Reads(MethodView):
        def get(self) -> str:
            return ""

    class Writes(MethodView):
        methods: ClassVar = ["PUT", "POST"]

        def put(self) -> str:
            return ""

    class Both(Reads, Writes):
        def patch(self) -> str:
            return ""

    class Fewer(Both):
        methods: ClassVar = ["GET"]

    assert Reads.methods == {"GET"}
    assert Both.methods == {"GET", "PUT", "POST", "PATCH"}
    assert Fewer.methods == ["GET"]
    assert MethodView.methods is None


def test_an_allowed_method_without_a_function_is_a_mistake_of_ours(app: Flask) -> None:
    class Item(MethodView):
        methods: ClassVar = ["GET", "PROPFIND"]

        def get(self) -> str:
            return ""

        def propfind(self) -> str:
            return "found"

        trace = None

    app.add_url_rule("/", view_func=Item.as_view("item"))
    app.add_url_rule("/trace", view_func=Item.as_view("trace"), methods=["TRACE"])
    assert app.test_client().open("/", method="PROPFIND").text == "found"
    with pytest.raises(AssertionError, match="Unimplemented method 'TRACE'"):
        app.test_client().open("/trace", method="TRACE")


def test_methods_of_a_class_may_be_coroutines(app: Flask) -> None:
    class Slow(MethodView):
        async def get(self) -> str:
            return request.path

    class SlowView(View):
        init_every_request = False

        async def dispatch_request(self) -> str:  # type: ignore[override]
            return "view"

    app.add_url_rule("/slow", view_func=Slow.as_view("slow"))
    app.add_url_rule("/view", view_func=SlowView.as_view("view"))
    assert app.test_client().get("/slow").text == "/slow"
    assert app.test_client().get("/view").text == "view"
