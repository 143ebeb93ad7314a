"""Programs written for Flask-JSONRPC: its names under the alias, its quirks when asked for, its extras."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from demijohn import Flask, Response
from demijohn.jsonrpc import JSONRPC
from demijohn.jsonrpc.compat import encoders, funcutils, helpers
from demijohn.jsonrpc.compat.contrib import browse as contrib_browse
from demijohn.jsonrpc.compat.contrib.browse import JSONRPCBrowse, register_middleware
from demijohn.jsonrpc.compat.contrib.openrpc import OpenRPC
from demijohn.jsonrpc.compat.contrib.openrpc import typing as st
from demijohn.jsonrpc.conf import settings
from demijohn.jsonrpc.quirks.typecheck import typechecked

# Every module of Flask-JSONRPC 4.0 with what programs and its own tests import from it.
NAMES = {
    "": "JSONRPC JSONRPCView JSONRPCBlueprint",
    "app": "JSONRPC",
    "blueprints": "JSONRPCBlueprint",
    "conf": "settings Settings LazySettings empty new_method_proxy global_settings",
    "conf.global_settings": "DEFAULT_JSONRPC_METHOD_VALIDATE BROWSE_TITLE BROWSE_MIDDLEWARE",
    "contrib.browse": "JSONRPCBrowse JSONRPCBrowseTemplateLoader register_middleware build_package_tree",
    "contrib.openrpc": "OpenRPC OPENRPC_DISCOVER_METHOD_NAME typing",
    "contrib.openrpc.methods": "openrpc_discover_method OPENRPC_DISCOVER_SERVICE_METHOD_TYPE",
    "contrib.openrpc.typing": "OpenRPCSchema Info Schema SchemaDataType ContentDescriptor OAuth2 Components",
    "contrib.openrpc.utils": "extend_schema MethodExtendSchema",
    "contrib.openrpc.wrappers": "OpenRPCExtendSchemaDecoratorMixin",
    "descriptor": "JSONRPCServiceDescriptor JSONRPC_DESCRIBE_METHOD_NAME JSONRPC_DESCRIBE_SERVICE_METHOD_TYPE",
    "encoders": "serializable jsonify",
    "exceptions": "JSONRPCError ParseError InvalidRequestError MethodNotFoundError InvalidParamsError ServerError",
    "funcutils": "loads bindfy",
    "globals": "default_jsonrpc_site default_jsonrpc_site_api",
    "helpers": "Node urn from_python_type get",
    "site": "JSONRPCSite JSONRPC_VERSION_DEFAULT JSONRPC_DEFAULT_HTTP_HEADERS JSONRPC_DEFAULT_HTTP_STATUS_CODE",
    "types.methods": "MethodAnnotated MethodAnnotatedType Summary Tag Error Example ExampleField Validate",
    "types.params": "Summary Properties Required Minimum MaxDigits BaseAnnotatedMetadata EMPTY_VALUES Ok Err",
    "types.types": "String Number Types JSONRPCNewType type_checker propertify to_dict AnnotatedMetadataTypeError",
    "typing": "Field Method Server ServiceDescribe",
    "utils": "trait mypyc_attr",
    "views": "JSONRPCView",
    "wrappers": "JSONRPCDecoratorMixin",
}
INSTALL = "import demijohn.dropin; demijohn.dropin.install(quirks={})\n"
PROGRAM = """
import json
from flask import Flask
from flask_jsonrpc import JSONRPC

app = Flask(__name__)
jsonrpc = JSONRPC(app, "/api")


@jsonrpc.method("App.index")
def index():
    return "Welcome to Flask JSON-RPC"


@jsonrpc.method("App.either")
def either(value: int | str) -> int | str:
    return value


for method, params in (("App.index", []), ("App.either", [1])):
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    print(json.dumps(app.test_client().post("/api", json=call).json))
"""


def program(tmp_path: Path, text: str) -> str:
    """Return what a program prints."""
    path = tmp_path / "program.py"
    path.write_text(text)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the alias --------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [False, True])
def test_every_module_of_flask_jsonrpc_is_there_with_its_names(tmp_path: Path, quirks: bool) -> None:
    text = (
        f"import importlib\nfor module, names in {NAMES!r}.items():\n"
        "    found = importlib.import_module('.'.join(filter(None, ['flask_jsonrpc', module])))\n"
        "    missing = [name for name in names.split() if not hasattr(found, name)]\n"
        "    assert not missing, (module, missing)\n"
        "from flask_jsonrpc import typing, conf, contrib, helpers, site\n"
        "assert site.JSONRPCSite.__module__.startswith('demijohn.')\n"
        "import flask_jsonrpc\n"
        "assert not hasattr(flask_jsonrpc, 'nope')\n"
        "try:\n    import flask_jsonrpc.nope\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    assert program(tmp_path, INSTALL.format(quirks) + text) == "flask_jsonrpc.nope\n"


def test_by_default_methods_need_no_hints_and_unions_are_taken(tmp_path: Path) -> None:
    first, second = program(tmp_path, INSTALL.format(False) + PROGRAM).splitlines()
    assert json.loads(first)["result"] == "Welcome to Flask JSON-RPC"
    assert json.loads(second)["result"] == 1


def test_with_quirks_methods_without_return_hint_and_unions_are_refused(tmp_path: Path) -> None:
    first, second = program(tmp_path, INSTALL.format(True) + PROGRAM).splitlines()
    assert json.loads(first)["error"]["data"] == {"message": "return type of str must be a type; got NoneType instead"}
    assert json.loads(second)["error"]["data"] == {
        "message": "the only type of union that is supported is: typing.Union[T, None] or typing.Optional[T]"
    }


# -- types held to by functions themselves ------------------------------------------------------------


@dataclass
class Bottle:
    name: str


@pytest.mark.parametrize(
    ("hint", "value", "sentence"),
    [
        (int, "a", 'argument "x" (str) is not an instance of int'),
        (int, None, 'argument "x" (None) is not an instance of int'),
        (float, "a", 'argument "x" (str) is neither float or int'),
        (type(None), 1, 'argument "x" (int) is not an instance of NoneType'),
        (list[int], [1, "a"], 'item 1 of argument "x" (list) is not an instance of int'),
        (dict[str, float], {"a": "b"}, "value of key 'a' of argument \"x\" (dict) is neither float or int"),
        (tuple[int, str], (1,), 'argument "x" (tuple) has wrong number of elements (expected 2, got 1 instead)'),
        (Literal[1, 2], True, 'argument "x" (bool) is not any of (1, 2)'),
        (Bottle, {}, f'argument "x" (dict) is not an instance of {__name__}.Bottle'),
        (Annotated[int, "n"], "a", 'argument "x" (str) is not an instance of int'),
        (
            int | None,
            "a",
            """argument "x" (str) did not match any element in the union:
  int: is not an instance of int
  NoneType: is not an instance of NoneType""",
        ),
    ],
)
def test_a_checked_function_refuses_what_does_not_fit(hint: Any, value: Any, sentence: str) -> None:
    def function(x):
        return x

    function.__annotations__ = {"x": hint}
    with pytest.raises(TypeError) as raised:
        typechecked(function)(value)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int, True), (float, 1), (Any, "a"), (list[Any], [1, "a"]), (tuple[int, ...], (1, 2)), (int | None, None)],
)
def test_a_checked_function_takes_what_fits(hint: Any, value: Any) -> None:
    def function(x):
        return x

    function.__annotations__ = {"x": hint, "return": hint}
    assert typechecked(function)(value) == value


def test_a_checked_coroutine_function_stays_one() -> None:
    async def function(x: int) -> str:
        return x  # type: ignore[return-value]

    with pytest.raises(TypeError, match="the return value \\(int\\) is not an instance of str"):
        asyncio.run(typechecked(function)(1))


# -- arguments and results by themselves --------------------------------------------------------------


def test_arguments_are_loaded_by_their_hints() -> None:
    def method(bottle: Bottle, tags: set[str], note: str = "none") -> None: ...

    method.jsonrpc_method_params = {"bottle": Bottle, "tags": set[str], "note": str}  # type: ignore[attr-defined]
    method.jsonrpc_method_default_params = {"note": "none"}  # type: ignore[attr-defined]
    bound = funcutils.bindfy(method, {"bottle": {"name": "a"}, "note": None, "other": 1})
    assert bound == {"bottle": Bottle("a"), "tags": None, "note": "none"}


def test_results_are_made_simple() -> None:
    assert encoders.serializable({"a": Bottle("x"), "b": {1}, "c": b"d", "e": (Path("/f"),)}) == {
        "a": {"name": "x"},
        "b": [1],
        "c": "d",
        "e": ["/f"],
    }


def test_members_are_found_by_their_path() -> None:
    assert helpers.get({"a": {"b": 1}, "a.c": 2}, "a.b") == 1
    assert helpers.get({"a": {"b": 1}, "a.c": 2}, "a.c") == 2
    assert helpers.get({"a": 1}, "a.b", "nothing") == "nothing"


# -- the page -----------------------------------------------------------------------------------------


@pytest.fixture
def no_middleware() -> Iterator[None]:
    before = list(settings.BROWSE_MIDDLEWARE)
    settings.BROWSE_MIDDLEWARE[:] = []
    yield
    settings.BROWSE_MIDDLEWARE[:] = before


class Cellar(JSONRPCBrowse):
    def get_browse_title(self) -> str:
        return "The cellar"

    def get_browse_media_js(self) -> list[str]:
        return ["cellar.js", "https://example.com/more.js"]

    def get_browse_media_css(self) -> dict[str, list[str]]:
        return {"print": ["/paper.css"]}

    def get_browse_login_template(self) -> str | None:
        return "login.html"


@pytest.fixture
def app(tmp_path: Path, no_middleware: None) -> Flask:
    templates = tmp_path / "templates" / "browse" / "partials"
    templates.mkdir(parents=True)
    (tmp_path / "templates" / "login.html").write_text("<p>Log in to {{ title }}</p>")
    app = Flask("cellar", root_path=str(tmp_path))
    jsonrpc = JSONRPC(app, "/api")

    @jsonrpc.method("Cellar.count")
    def count(of: str) -> int:
        """How many there are."""
        return 1

    Cellar(app).register_jsonrpc_site(jsonrpc.get_jsonrpc_site())
    return app


def test_the_page_is_what_the_application_makes_of_it(app: Flask) -> None:
    page = app.test_client().get("/api/browse/")
    assert "<title>The cellar | An interactive web browsable API for Flask JSON-RPC services</title>" in page.text
    assert 'src="/static/cellar.js"' in page.text
    assert 'src="https://example.com/more.js"' in page.text
    assert 'media="print" href="/paper.css"' in page.text
    assert "script-src 'self' https://example.com;" in page.headers["Content-Security-Policy"]
    assert app.test_client().get("/api/browse/login").text == "<p>Log in to The cellar</p>"
    assert app.test_client().get("/api/browse/logout").status_code == 404


def test_the_page_tells_its_methods_as_a_tree(app: Flask) -> None:
    client = app.test_client()
    count = {
        "name": "Cellar.count",
        "type": "method",
        "description": "How many there are.",
        "validation": True,
        "notification": True,
        "params": [{"name": "of", "type": "String"}],
        "returns": {"name": "default", "type": "Number"},
    }
    group = {"name": "Cellar", "items": [count], "children": []}
    assert client.get("/api/browse/packages.json").json == {"name": None, "items": [], "children": [group]}
    assert client.get("/api/browse/Cellar.count.json").json == count
    assert client.get("/api/browse/Cellar.nope.json").status_code == 404


@pytest.mark.parametrize("part", ["menu_tree", "dashboard", "field_describe", "response_object"])
def test_a_part_of_the_page_can_be_the_applications_own(app: Flask, tmp_path: Path, part: str) -> None:
    assert app.test_client().get(f"/api/browse/partials/{part}.html").status_code == 200
    app.jinja_env.cache = None
    (tmp_path / "templates" / "browse" / "partials" / f"{part}.html").write_text("mine")
    assert app.test_client().get(f"/api/browse/partials/{part}.html").text == "mine"


def test_the_pages_files_are_there(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/api/browse/").text
    for name in ("browse.js", "browse.css", "icon.svg"):
        assert f"/api/browse/static/{name}" in page
        with client.get(f"/api/browse/static/{name}") as file:
            assert file.status_code == 200
    with client.get("/api/browse/static/js/main.js") as file:
        assert 'import "../browse.js"' in file.text


def test_a_middleware_runs_around_the_page_and_nothing_else(app: Flask) -> None:
    seen = []

    @register_middleware("log")
    def log(request):
        seen.append(request.path)
        response = yield
        response.headers["X-Seen"] = "yes"

    assert app.test_client().get("/api/browse/packages.json").headers["X-Seen"] == "yes"
    assert "X-Seen" not in app.test_client().get("/nothing").headers
    assert seen == ["/api/browse/packages.json"]


def test_a_middleware_may_answer_before_or_instead(app: Flask) -> None:
    @register_middleware("gate")
    def gate(request):
        if "key" not in request.args:
            yield Response("no", status=403)
        response = yield True
        yield Response("instead") if response.status_code == 200 else False

    assert app.test_client().get("/api/browse/").status_code == 403
    assert app.test_client().get("/api/browse/?key=1").text == "instead"


def test_a_middleware_is_a_generator() -> None:
    with pytest.raises(TypeError, match="must be a generator"):
        register_middleware("none")(lambda request: None)  # type: ignore[arg-type, return-value]


def test_methods_are_grouped_by_their_tags() -> None:
    def method(name: str, *tags: str) -> dict[str, Any]:
        return {"name": name, "tags": list(tags)}

    tree = contrib_browse.build_package_tree(
        {"b.x": method("b.x"), "a.y": method("a.y", "t", "u"), "a.z": method("a.z", "t")}
    )
    assert [child["name"] for child in tree["children"]] == ["b", "t"]
    assert tree["children"][1]["items"] == [method("a.z", "t")]
    assert tree["children"][1]["children"][0]["items"] == [method("a.y", "t", "u")]


# -- rpc.discover with what extend_schema says ----------------------------------------------------------


def test_the_openrpc_document_says_what_a_method_is_extended_with() -> None:
    app = Flask("cellar")
    jsonrpc = JSONRPC(app, "/api")
    info = st.Info(title="Cellar", version="2", terms_of_service="none")
    openrpc = OpenRPC(app, jsonrpc, openrpc_schema=st.OpenRPCSchema(info=info, servers=[st.Server(url="/api")]))

    @openrpc.extend_schema(summary="Counts", tags=[st.Tag(name="numbers")])
    @jsonrpc.method("Cellar.count")
    def count(of: str) -> int:
        return 1

    call = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}
    document = app.test_client().post("/api", json=call).get_json()["result"]
    assert document["info"] == {"title": "Cellar", "version": "2", "termsOfService": "none"}
    (described,) = (method for method in document["methods"] if method["name"] == "Cellar.count")
    assert (described["summary"], described["tags"]) == ("Counts", [{"name": "numbers"}])
    assert described["params"] == [{"name": "of", "schema": {"type": "string"}}]
