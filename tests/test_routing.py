"""The compiled router against the map it is compiled from: it finds the same, or says that the map has to be asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, Rule, Submount

from demijohn.routing import METHODS, Route, Router, UrlMap

SEGMENTS = ["a", "b", "ab", "7", "-7", "1.5", "x-y", "ä", "a b", ""]
VARIABLE = [
    "<x{n}>",
    "<int:x{n}>",
    "<int(signed=True):x{n}>",
    "<int(min=5):x{n}>",
    "<float:x{n}>",
    "<path:x{n}>",
    "<string(length=2):x{n}>",
    "<any(a, b):x{n}>",
    "v<int:x{n}>",
    "<x{n}>-<y{n}>",
]


def rule_texts() -> st.SearchStrategy[str]:
    parts = st.lists(st.sampled_from(["a", "b", "ab", "c", *VARIABLE]), max_size=4)

    def join(drawn: tuple[list[str], bool]) -> str:
        segments, slash = drawn
        text = "/" + "/".join(part.format(n=n) for n, part in enumerate(segments))
        return text + "/" if slash and segments else text

    return st.tuples(parts, st.booleans()).map(join)


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    texts = draw(st.lists(rule_texts(), min_size=1, max_size=8))
    made = []
    for number, text in enumerate(texts):
        options: dict[str, Any] = {"methods": draw(st.sets(st.sampled_from(METHODS), min_size=1, max_size=3))}
        if draw(st.integers(0, 9)) == 0:
            options["strict_slashes"] = False
        if draw(st.integers(0, 9)) == 0:
            options["defaults"] = {"z": 1}
        if draw(st.integers(0, 19)) == 0:
            options["redirect_to"] = "/elsewhere"
        made.append(Rule(text, endpoint=f"e{draw(st.integers(0, number))}", **options))
    return made


paths = st.lists(st.sampled_from(SEGMENTS), max_size=5).map(lambda segments: "/" + "/".join(segments))


def map_says(url_map: Map, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """Return (rule, arguments) of a match; None for all that is no plain match."""
    try:
        rule, arguments = url_map.bind("localhost").match(path, method, return_rule=True)
    except HTTPException:
        return None
    return rule.rule, dict(arguments)


@given(rules=rules(), path=paths, method=st.sampled_from(METHODS))
def test_what_the_router_finds_is_what_the_map_finds(rules: list[Rule], path: str, method: str) -> None:
    url_map = UrlMap(rules)

    found = Router(url_map).match(method, quote(path).encode())

    if found is not None:
        route, arguments = found
        assert map_says(url_map, method, path) == (route.rule.rule, arguments)


@given(target=st.binary(max_size=30))
def test_no_target_makes_the_router_raise(target: bytes) -> None:
    router = Router(UrlMap([Rule("/<int:x>/<path:y>", endpoint="e"), Rule("/a/<z>", endpoint="f")]))

    found = router.match("GET", target)

    assert found is None or isinstance(found[0], Route)


@pytest.mark.parametrize(
    ("rule", "target", "arguments"),
    [
        ("/", b"/", {}),
        ("/", b"/?q=1", {}),
        ("/a/b", b"/a/b", {}),
        ("/u/<int:id>/<name>", b"/u/12/ann?x=/y", {"id": 12, "name": "ann"}),
        ("/p/<path:rest>", b"/p/a/b/c", {"rest": "a/b/c"}),
        ("/s/<s>", b"/s/a%20b", {"s": "a b"}),
        ("/s/<s>", b"/s/%C3%A4", {"s": "ä"}),
        ("/ä", b"/%C3%A4", {}),
        ("/f/<float:x>", b"/f/1.5", {"x": 1.5}),
    ],
)
def test_plain_matches_are_found_without_the_map(rule: str, target: bytes, arguments: dict[str, Any]) -> None:
    found = Router(UrlMap([Rule(rule, endpoint="e")])).match("GET", target)

    assert found is not None
    assert arguments == found[1]


@pytest.mark.parametrize(
    ("rule", "options", "method", "target"),
    [
        ("/a/", {}, "GET", b"/a"),  # redirected
        ("/a", {"strict_slashes": False}, "GET", b"/a/"),  # forgiven
        ("/a/b", {}, "GET", b"/a//b"),  # redirected
        ("/a", {}, "GET", b"//a"),
        ("/a", {"methods": ["POST"]}, "GET", b"/a"),  # 405
        ("/a", {}, "GET", b"/b"),  # 404
        ("/a", {}, "GET", b"http://localhost/a"),  # absolute-form
        ("/a", {"redirect_to": "/b"}, "GET", b"/a"),
        ("/a", {"websocket": True}, "GET", b"/a"),
        ("/<int:x>", {}, "GET", b"/" + b"9" * 5000),
        ("/a", {}, "TRACE", b"/a"),
    ],
)
def test_all_else_is_left_to_the_map(rule: str, options: dict[str, Any], method: str, target: bytes) -> None:
    assert Router(UrlMap([Rule(rule, endpoint="e", **options)])).match(method, target) is None


def test_a_converter_of_the_users_own_is_left_to_the_map() -> None:
    class Twice(BaseConverter):
        pass

    router = Router(UrlMap([Rule("/<twice:x>", endpoint="e")], converters={"twice": Twice}))

    assert router.match("GET", b"/a") is None


def test_a_map_compiles_its_rules_once_and_again_when_one_is_added() -> None:
    url_map = UrlMap([Rule("/a", endpoint="e")])
    router = url_map.compiled()
    assert url_map.compiled() is router
    assert router.match("GET", b"/b/c") is None

    url_map.add(Submount("/b", [Rule("/c", endpoint="f")]))  # type: ignore[arg-type]

    assert url_map.compiled().match("GET", b"/b/c") is not None


def test_parts_of_a_way_that_led_nowhere_are_no_arguments() -> None:
    url_map = UrlMap([Rule("/a/<x>/b", endpoint="first"), Rule("/<y>/<z>/c", endpoint="second")])
    found = url_map.compiled().match("GET", b"/a/1/c")
    assert found is not None
    assert (found[0].endpoint, found[1]) == ("second", {"y": "a", "z": "1"})
