"""`import demijohn` costs little and gives every name of Flask's."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import demijohn

# The names and submodules that `import flask` gives in Flask 3.1.
_NAMES = """
Blueprint Config Flask Request Response abort after_this_request appcontext_popped appcontext_pushed
appcontext_tearing_down before_render_template copy_current_request_context current_app flash g get_flashed_messages
get_template_attribute got_request_exception has_app_context has_request_context json jsonify make_response
message_flashed redirect render_template render_template_string request request_finished request_started
request_tearing_down send_file send_from_directory session stream_template stream_template_string stream_with_context
template_rendered url_for
"""
_MODULES = """
app blueprints cli config ctx globals helpers json logging sessions signals templating typing wrappers
"""
FLASK_NAMES, FLASK_MODULES = set(_NAMES.split()), set(_MODULES.split())


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def names_for_type_checkers() -> dict[str, str]:
    """Name -> module, as `if TYPE_CHECKING:` imports them."""
    tree = ast.parse(Path(str(demijohn.__file__)).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    return {
        alias.name: node.module or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def test_type_checkers_see_what_the_table_gives() -> None:
    table = {**demijohn._MODULE_OF, "json": "json"}  # type: ignore[attr-defined]
    assert names_for_type_checkers() == table
    assert sorted(demijohn.__all__) == sorted(table)


@pytest.mark.parametrize("name", sorted(FLASK_NAMES))
def test_every_name_of_flask_is_there(name: str) -> None:
    value = getattr(demijohn, name)
    module = import_module(f"demijohn.{names_for_type_checkers()[name]}")
    assert value is (module if name == "json" else getattr(module, name))
    assert vars(demijohn)[name] is value


def test_these_are_all_names() -> None:
    assert set(demijohn.__all__) == FLASK_NAMES


def test_submodules_are_attributes_without_being_imported_first() -> None:
    for name in [*FLASK_MODULES, "testing", "views"]:
        printed = run(f"import demijohn; print(demijohn.{name}.__name__)")
        assert printed == f"demijohn.{name}"


def test_a_star_import_gives_the_names() -> None:
    assert run("from demijohn import *; print(Flask.__name__, request is not None, 'globals' in dir())").split() == [
        "Flask",
        "True",
        "False",
    ]


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'demijohn' has no attribute 'Markup'"):
        demijohn.Markup  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'escape'"):
        from demijohn import escape  # type: ignore[attr-defined]  # noqa: F401


def test_dir_shows_names_that_were_not_asked_for_yet() -> None:
    printed = run("import demijohn; print(*dir(demijohn))").split()
    assert FLASK_NAMES | FLASK_MODULES | {"__version__"} <= set(printed)


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert demijohn.__version__ == version("demijohn")


def test_the_package_alone_imports_nothing_of_the_framework() -> None:
    code = "import sys, demijohn; print(*sorted(m for m in sys.modules if m.startswith(('demijohn', 'werkzeug'))))"
    assert run(code) == "demijohn"


def test_an_application_without_templates_commands_and_json_does_not_import_their_libraries() -> None:
    code = """
import sys
import demijohn
app = demijohn.Flask("app")
app.add_url_rule("/", endpoint="index", view_func=lambda: "hello")
assert b"hello" in app({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "a", "SERVER_PORT": "80",
    "wsgi.url_scheme": "http"}, lambda *a: None)
print(*sorted({"jinja2", "click", "orjson", "asyncio", "werkzeug.debug"} & set(sys.modules)))
"""
    assert run(code) == ""


def test_werkzeugs_server_and_client_are_imported_only_when_asked_for() -> None:
    code = """
import sys
from demijohn import Flask
app = Flask("app")
heavy = {"werkzeug.serving", "werkzeug.test", "http.server", "http.client", "ssl"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import werkzeug
assert werkzeug.exceptions.NotFound.code == 404
from werkzeug import Client, Request
assert "werkzeug.serving" in sys.modules
assert Client is werkzeug.test.Client and Request is werkzeug.wrappers.Request
assert werkzeug.run_simple is werkzeug.serving.run_simple
try:
    werkzeug.nonsense
except AttributeError as error:
    print(error)
"""
    assert run(code) == "module 'werkzeug' has no attribute 'nonsense'"


def test_werkzeugs_server_can_be_reached_by_attribute() -> None:
    code = "import demijohn; demijohn.Flask; import werkzeug; print(werkzeug.serving.run_simple.__name__)"
    assert run(code) == "run_simple"


def test_a_star_import_of_werkzeug_is_complete() -> None:
    assert run("import demijohn; demijohn.Flask\nfrom werkzeug import *; print(run_simple.__name__)") == "run_simple"


def test_werkzeug_is_left_alone_when_it_was_there_first() -> None:
    code = "import werkzeug, sys, demijohn; demijohn.Flask; print(sys.modules['werkzeug'] is werkzeug)"
    assert run(code) == "True"
