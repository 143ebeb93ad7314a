"""Blueprints: prefixes, names, hooks of their own, nesting."""

from __future__ import annotations

from typing import Any

import pytest

from demijohn import Blueprint, Flask, abort, g, render_template_string, request, url_for


def test_rules_are_below_the_prefix_and_endpoints_below_the_name() -> None:
    bp = Blueprint("shop", __name__, url_prefix="/shop")
    bp.add_url_rule("/<int:item>", "item", lambda item: f"{item} {request.endpoint} {request.blueprint}")
    app = Flask("app")
    app.register_blueprint(bp)

    assert app.test_client().get("/shop/3").text == "3 shop.item shop"
    with app.test_request_context("/shop/3"):
        assert url_for("shop.item", item=4) == "/shop/4"
        assert url_for(".item", item=5) == "/shop/5"


@pytest.mark.parametrize(
    ("prefix", "rule", "url"),
    [
        ("", "/", "/"), ("/", "", "/"), ("/", "/", "/"), ("/foo", "", "/foo"), ("/foo/", "", "/foo/"),
        ("", "/bar", "/bar"), ("/foo/", "/bar", "/foo/bar"), ("/foo/", "bar", "/foo/bar"),
        ("/foo//", "/bar", "/foo/bar"),
    ],
)  # fmt: skip
def test_a_prefix_and_a_rule_are_joined_by_one_slash(prefix: str, rule: str, url: str) -> None:
    bp = Blueprint("bp", __name__, url_prefix=prefix)
    bp.add_url_rule(rule, "view", lambda: "here")
    app = Flask("app")
    app.register_blueprint(bp)

    assert app.test_client().get(url).text == "here"


def test_registration_may_change_prefix_name_and_defaults() -> None:
    bp = Blueprint("bp", __name__, url_prefix="/a", url_defaults={"x": 1})
    bp.add_url_rule("/", "view", lambda x: f"{x} {request.endpoint}")
    app = Flask("app")
    app.register_blueprint(bp)
    app.register_blueprint(bp, url_prefix="/b", url_defaults={"x": 2}, name="other")
    client = app.test_client()

    assert client.get("/a/").text == "1 bp.view"
    assert client.get("/b/").text == "2 other.view"


def test_a_name_is_registered_once() -> None:
    app = Flask("app")
    app.register_blueprint(Blueprint("bp", __name__))

    with pytest.raises(ValueError, match="a different blueprint"):
        app.register_blueprint(Blueprint("bp", __name__), url_prefix="/b")


@pytest.mark.parametrize("name", ["", "a.b"])
def test_a_name_is_not_empty_and_has_no_dot(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Blueprint(name, __name__)


def test_endpoints_of_a_blueprint_have_no_dot() -> None:
    bp = Blueprint("bp", __name__)

    with pytest.raises(ValueError, match="dot"):
        bp.add_url_rule("/", "a.b", lambda: "")


def test_nothing_is_added_after_registration() -> None:
    bp = Blueprint("bp", __name__)
    Flask("app").register_blueprint(bp)

    with pytest.raises(AssertionError, match="before 'register_blueprint'"):
        bp.add_url_rule("/", "view", lambda: "")


def marking(name: str, calls: list[str]) -> dict[str, Any]:
    return {
        "before_request": lambda: calls.append(f"before {name}"),
        "after_request": lambda response: calls.append(f"after {name}") or response,
        "teardown_request": lambda error: calls.append(f"teardown {name}"),
    }


def test_hooks_of_nested_blueprints_run_from_the_outside_in_and_back() -> None:
    calls: list[str] = []
    app, parent, child = Flask("app"), Blueprint("parent", __name__), Blueprint("child", __name__)
    for owner, name in ((app, "app"), (parent, "parent"), (child, "child")):
        for hook, function in marking(name, calls).items():
            getattr(owner, hook)(function)
    child.add_url_rule("/", "view", lambda: calls.append(str(request.blueprints)) or "")
    parent.register_blueprint(child)
    app.register_blueprint(parent)

    app.test_client().get("/")

    assert calls == [
        "before app", "before parent", "before child", "['parent.child', 'parent']",
        "after child", "after parent", "after app", "teardown child", "teardown parent", "teardown app",
    ]  # fmt: skip


def test_an_error_goes_to_the_innermost_blueprint_that_handles_it() -> None:
    app, parent, child = Flask("app"), Blueprint("parent", __name__), Blueprint("child", __name__, url_prefix="/child")
    for owner, name in ((app, "app"), (parent, "parent"), (child, "child")):
        owner.register_error_handler(403, lambda error, name=name: (name, 403))
    parent.register_error_handler(410, lambda error: ("parent", 410))
    child.add_url_rule("/<int:code>", "view", lambda code: abort(code))
    parent.add_url_rule("/<int:code>", "view", lambda code: abort(code))
    app.add_url_rule("/app/<int:code>", "view", lambda code: abort(code))
    parent.register_blueprint(child)
    app.register_blueprint(parent, url_prefix="/parent")
    client = app.test_client()

    assert client.get("/parent/child/403").text == "child"
    assert client.get("/parent/child/410").text == "parent"
    assert client.get("/parent/403").text == "parent"
    assert client.get("/app/403").text == "app"


@pytest.mark.parametrize(
    ("parent_own", "parent_given", "child_own", "child_given", "url"),
    [
        ("/parent", None, "/child", None, "/parent/child/"),
        (None, "/parent", None, "/child", "/parent/child/"),
        ("/x", "/parent", "/y", "/child", "/parent/child/"),
        (None, None, "/child", None, "/child/"),
        ("/parent", None, None, None, "/parent/"),
    ],
)
def test_prefixes_of_nested_blueprints_add_up(
    parent_own: str | None, parent_given: str | None, child_own: str | None, child_given: str | None, url: str
) -> None:
    app = Flask("app")
    parent = Blueprint("parent", __name__, url_prefix=parent_own)
    child = Blueprint("child", __name__, url_prefix=child_own)
    child.add_url_rule("/", "view", lambda: "here")
    parent.register_blueprint(child, url_prefix=child_given)
    app.register_blueprint(parent, url_prefix=parent_given)

    assert app.test_client().get(url).text == "here"


def test_nested_blueprints_of_a_subdomain() -> None:
    app = Flask("app", subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"
    parent, child = Blueprint("parent", __name__, subdomain="a"), Blueprint("child", __name__, subdomain="b")
    child.add_url_rule("/", "view", lambda: "here")
    parent.register_blueprint(child)
    app.register_blueprint(parent)

    assert app.test_client().get("/", base_url="http://b.a.example.org").text == "here"


def test_a_blueprint_may_speak_for_the_whole_application() -> None:
    app, bp = Flask("app"), Blueprint("bp", __name__)
    bp.before_app_request(lambda: setattr(g, "by", "bp"))
    bp.app_context_processor(lambda: {"from_bp": "context"})
    bp.app_template_filter("shout")(str.upper)
    bp.app_template_test("even")(lambda n: n % 2 == 0)
    bp.app_template_global("two")(lambda: 2)
    bp.app_errorhandler(404)(lambda error: ("not here", 404))
    app.register_blueprint(bp)
    app.add_url_rule(
        "/", "view",
        lambda: render_template_string("{{ g.by|shout }} {{ from_bp }} {{ two() is even }}"),
    )  # fmt: skip
    client = app.test_client()

    assert client.get("/").text == "BP context True"
    assert client.get("/nowhere").text == "not here"


def test_functions_recorded_once_run_at_the_first_registration_only() -> None:
    seen: list[str] = []
    bp = Blueprint("bp", __name__)
    bp.record_once(lambda state: seen.append("once"))
    bp.record(lambda state: seen.append(state.name))
    app = Flask("app")
    app.register_blueprint(bp)
    app.register_blueprint(bp, name="other")

    assert seen == ["once", "bp", "other"]


def test_a_blueprint_has_static_files_of_its_own(tmp_path: Any) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("of the blueprint")
    bp = Blueprint("bp", __name__, static_folder="files", root_path=str(tmp_path), url_prefix="/bp")
    app = Flask("app")
    app.register_blueprint(bp)

    with app.test_client().get("/bp/files/a.txt") as answer:
        assert answer.text == "of the blueprint"


def test_a_blueprint_cannot_nest_itself() -> None:
    bp = Blueprint("bp", __name__)

    with pytest.raises(ValueError, match="itself"):
        bp.register_blueprint(bp)
