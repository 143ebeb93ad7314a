"""Templates: where they are found, what they are given, what is said when one is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader, TemplateNotFound, TemplatesNotFound

from demijohn import (
    Blueprint,
    Flask,
    before_render_template,
    flash,
    g,
    render_template,
    render_template_string,
    request,
    session,
    stream_template,
    stream_template_string,
    template_rendered,
)
from demijohn.templating import DispatchingJinjaLoader, Environment


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("myapp", root_path=str(tmp_path))
    app.testing = True
    app.secret_key = "key"
    write(tmp_path / "templates" / "base.html", "<title>{% block title %}{% endblock %}</title>{{ user }}")
    write(tmp_path / "templates" / "page.html", "{% extends 'base.html' %}{% block title %}{{ title }}{% endblock %}")
    write(tmp_path / "templates" / "plain.txt", "{{ title }}")
    return app


@pytest.fixture
def blueprint(tmp_path: Path) -> Blueprint:
    write(tmp_path / "admin" / "templates" / "admin.html", "admin")
    write(tmp_path / "admin" / "templates" / "page.html", "never: the application's own comes first")
    return Blueprint("admin", "myapp.admin", root_path=str(tmp_path / "admin"), template_folder="templates")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# -- rendering ----------------------------------------------------------------------------------------


def test_templates_inherit_and_html_is_escaped(app: Flask) -> None:
    with app.app_context():
        assert render_template("page.html", title="<b>", user="Ann") == "<title>&lt;b&gt;</title>Ann"
        assert render_template("plain.txt", title="<b>") == "<b>"
        assert render_template_string("{{ t }} {{ t|safe }}", t="<b>") == "&lt;b&gt; <b>"
        assert render_template_string("{% autoescape false %}{{ t }}{% endautoescape %}", t="<b>") == "<b>"


def test_the_first_of_several_templates_that_exists_is_taken(app: Flask) -> None:
    with app.app_context():
        assert render_template(["mine.txt", "plain.txt"], title="found") == "found"
        template = app.jinja_env.get_template("plain.txt")
        assert render_template(template, title="given") == "given"
        with pytest.raises(TemplatesNotFound, match=r"a\.html, b\.html"):
            render_template(["a.html", "b.html"])


def test_templates_know_the_request_and_its_helpers(app: Flask) -> None:
    app.add_url_rule("/user/<name>", endpoint="user")
    app.config["TITLE"] = "Shop"
    with app.test_request_context("/here"):
        g.user = "Ann"
        session["n"] = 1
        flash("saved")
        text = "{{ request.path }} {{ g.user }} {{ session.n }} {{ config.TITLE }} {{ url_for('user', name='x') }}"
        assert render_template_string(text) == "/here Ann 1 Shop /user/x"
        assert render_template_string("{{ get_flashed_messages()|join }}") == "saved"


def test_templates_render_outside_a_request(app: Flask) -> None:
    with app.app_context():
        g.user = "Ann"
        assert render_template_string("{{ g.user }}") == "Ann"
        with pytest.raises(RuntimeError, match="request context"):
            render_template_string("{{ request.path }}")
    with pytest.raises(RuntimeError, match="application context"):
        render_template("page.html")


def test_a_template_imported_without_context_knows_them_too(app: Flask, tmp_path: Path) -> None:
    write(tmp_path / "templates" / "m.html", "{% macro m() %}{{ request.path }} {{ g.user }}{% endmacro %}")
    with app.test_request_context("/here"):
        g.user = "Ann"
        assert render_template_string("{% from 'm.html' import m %}{{ m() }}") == "/here Ann"


def test_listeners_see_the_request_among_the_variables(app: Flask) -> None:
    seen: list[set[str]] = []

    def see(sender: Flask, template: Any, context: dict[str, Any]) -> None:
        seen.append(set(context))

    with app.test_request_context(), template_rendered.connected_to(see, app):
        render_template_string("", user="Ann")
    with app.app_context(), template_rendered.connected_to(see, app):
        render_template_string("")
    assert seen == [{"g", "request", "user"}, {"g"}]


def test_rendering_does_not_count_as_using_the_session(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: render_template_string("{{ request.path }}"))
    app.add_url_rule("/used", endpoint="used", view_func=lambda: render_template_string("{{ session.get('a') }}"))
    assert "Vary" not in app.test_client().get("/").headers
    assert app.test_client().get("/used").headers["Vary"] == "Cookie"


def test_what_the_view_gives_wins_over_context_processors(app: Flask) -> None:
    @app.context_processor
    def defaults() -> dict[str, Any]:
        return {"user": "nobody", "title": "untitled"}

    with app.test_request_context():
        assert render_template("page.html", user="Ann", request="mine") == "<title>untitled</title>Ann"
        assert render_template_string("{{ request }}", request="mine") == "mine"


# -- streaming ----------------------------------------------------------------------------------------


def test_a_stream_makes_its_parts_when_they_are_asked_for(app: Flask) -> None:
    made = []

    def numbers() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    with app.app_context():
        parts = stream_template_string("{% for n in numbers %}{{ n }},{% endfor %}", numbers=numbers())
        assert made == []
        assert next(parts) == "0"
        assert made == [0]
        assert "".join(parts) == ",1,2,"


def test_a_streamed_template_still_has_its_request(app: Flask, tmp_path: Path) -> None:
    write(tmp_path / "templates" / "stream.html", "{{ request.args.name }}{{ session.get('a') }}")
    app.add_url_rule("/", view_func=lambda: stream_template("stream.html"))
    app.add_url_rule("/s", endpoint="s", view_func=lambda: stream_template_string("{{ request.path }}"))
    response = app.test_client().get("/?name=<Ann>")
    assert response.is_streamed
    assert response.text == "&lt;Ann&gt;None"
    assert app.test_client().get("/s").text == "/s"


# -- signals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("render", [render_template_string, lambda *a, **k: "".join(stream_template_string(*a, **k))])
def test_rendering_is_signalled_before_and_after(app: Flask, render: Any) -> None:
    heard: list[Any] = []

    def before(sender: Flask, template: Any, context: dict[str, Any]) -> None:
        heard.append(("before", sender, context["n"]))
        context["n"] = 2

    def after(sender: Flask, template: Any, context: dict[str, Any]) -> None:
        heard.append(("after", sender, context["n"]))

    with (
        app.app_context(),
        before_render_template.connected_to(before, app),
        template_rendered.connected_to(after, app),
    ):
        assert render("{{ n }}", n=1) == "2"
    assert heard == [("before", app, 1), ("after", app, 2)]


# -- loaders ------------------------------------------------------------------------------------------


def test_the_application_is_searched_before_its_blueprints(app: Flask, blueprint: Blueprint) -> None:
    app.register_blueprint(blueprint)
    with app.app_context():
        assert render_template("admin.html") == "admin"
        assert render_template("page.html").startswith("<title>")
    assert set(app.jinja_env.list_templates()) == {"base.html", "page.html", "plain.txt", "admin.html"}


def test_a_missing_template_names_every_place_that_was_searched(
    app: Flask, blueprint: Blueprint, tmp_path: Path
) -> None:
    app.register_blueprint(blueprint)
    with app.app_context(), pytest.raises(TemplateNotFound) as caught:
        render_template("pgae.html")
    message = str(caught.value)
    assert caught.value.name == "pgae.html"
    assert f"{tmp_path / 'templates'} (application 'myapp')" in message
    assert f"{tmp_path / 'admin' / 'templates'} (blueprint 'admin' (myapp.admin))" in message


def test_a_missing_parent_is_the_one_that_is_named(app: Flask, tmp_path: Path) -> None:
    write(tmp_path / "templates" / "child.html", "{% extends 'parent.html' %}")
    with app.app_context(), pytest.raises(TemplateNotFound, match=r"'parent\.html' not found in"):
        render_template("child.html")


def test_an_application_without_template_folders_says_so(tmp_path: Path) -> None:
    app = Flask("myapp", root_path=str(tmp_path), template_folder=None)
    with app.app_context(), pytest.raises(TemplateNotFound, match="neither the application nor a blueprint"):
        render_template("page.html")


def test_loading_is_explained_on_demand(
    app: Flask, blueprint: Blueprint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app.config["EXPLAIN_TEMPLATE_LOADING"] = True
    blueprint.add_url_rule("/missing", view_func=lambda: render_template("missing.html"), endpoint="missing")
    app.register_blueprint(blueprint)
    caplog.set_level(logging.INFO, "myapp")
    with pytest.raises(TemplateNotFound):
        app.test_client().get("/missing")
    text = caplog.records[-1].getMessage()
    for line in (
        "Locating template 'missing.html':",
        "    1: trying loader of application 'myapp'",
        "       class: jinja2.loaders.FileSystemLoader",
        "       encoding: 'utf-8'",
        f"         - {tmp_path / 'templates'}",
        "       -> no match",
        "    2: trying loader of blueprint 'admin' (myapp.admin)",
        "Error: the template could not be found.",
        "  It was looked up from an endpoint that belongs to the blueprint 'admin'.",
    ):
        assert line in text.splitlines()
    with app.app_context():
        assert render_template("page.html") != ""
    text = next(r.getMessage() for r in caplog.records if "'page.html'" in r.getMessage())
    assert f"       -> found ({str(tmp_path / 'templates' / 'page.html')!r})" in text.splitlines()
    assert "Warning: 2 loaders have the template; the first one's is used." in text


def test_loaders_of_ones_own_are_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class App(Flask):
        def create_global_jinja_loader(self) -> Any:
            return DictLoader({"page.html": "from a dict"})

    with App("myapp", root_path=str(tmp_path)).app_context():
        assert render_template("page.html") == "from a dict"

    class WithLoader(Flask):
        jinja_loader = DictLoader({"page.html": "own loader"})  # type: ignore[assignment]

    app = WithLoader("myapp", root_path=str(tmp_path))
    app.config["EXPLAIN_TEMPLATE_LOADING"] = True
    caplog.set_level(logging.INFO, "myapp")
    with app.app_context():
        assert render_template("page.html") == "own loader"
        assert "-> found ('<string>')" in caplog.text
        with pytest.raises(TemplateNotFound, match=r"'x' not found in jinja2\.loaders\.DictLoader"):
            render_template("x")


def test_a_loader_may_choose_where_to_look_by_the_name(app: Flask) -> None:
    class Themed(DispatchingJinjaLoader):
        def _iter_loaders(self, template: str) -> Iterator[Any]:
            if template.startswith("theme/"):
                yield self.app, DictLoader({template: "themed"})
            yield from super()._iter_loaders(template)

    app.jinja_options = {"loader": Themed(app)}
    with app.app_context():
        assert render_template("theme/page.html") == "themed"
        assert render_template("plain.txt", title="t") == "t"


def test_the_environment_can_be_replaced(app: Flask) -> None:
    class Own(Environment):
        pass

    class App(Flask):
        jinja_environment = Own

    own = App("myapp")
    assert type(own.jinja_env) is Own
    assert own.jinja_env.app is own
    assert isinstance(own.jinja_env.loader, DispatchingJinjaLoader)
    assert type(app.jinja_env) is Environment


def test_the_current_request_is_left_alone_by_rendering(app: Flask) -> None:
    with app.test_request_context("/outer"):
        render_template_string("{{ request.path }}")
        assert request.path == "/outer"
