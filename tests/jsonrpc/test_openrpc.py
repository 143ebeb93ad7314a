"""The OpenRPC document: what it tells, that it is one, and how it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="pip install -r requirements-dev.lock")
import referencing  # noqa: E402 (comes with jsonschema)

from demijohn import Flask  # noqa: E402
from demijohn.jsonrpc import JSONRPC, JSONRPCBlueprint, JSONRPCError  # noqa: E402
from demijohn.jsonrpc.docstrings import read  # noqa: E402
from demijohn.jsonrpc.openrpc import document  # noqa: E402
from demijohn.jsonrpc.registry import Method  # noqa: E402
from demijohn.jsonrpc.types import methods as told  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import shop  # noqa: E402

sys.path.pop(0)

OPENRPC = "@open-rpc/spec@1.4.1"
JSON_SCHEMA = "@json-schema-tools/meta-schema@1.8.0"


class CellarFull(JSONRPCError):
    code = 7
    message = "The cellar is full"


@dataclass
class Bottle:
    """What wine is kept in."""

    name: str
    year: Annotated[int, "of the harvest"] = 2020
    place: tuple[int, str] = (0, "")


def store(bottles: list[Bottle], shelf: int = 1, *, label: str | None = None) -> dict[str, int]:
    """Put bottles on a shelf.

    They are counted, too.

    Args:
        bottles: what to store,
            lying down
        shelf (int, optional): counted from the door

    Returns:
        dict: how many lie on each shelf

    Raises:
        CellarFull: when there is no room
        ValueError: never

    Examples:
        >>> store([{"name": "Merlot"}], shelf=2)
        {'2': 1}
        >>> other(1)
        3
        >>> store(unknown)
    """
    return {}


def copied(function: types.FunctionType) -> types.FunctionType:
    """What statements can be made about and leave the other as it is."""
    copy = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    copy.__kwdefaults__, copy.__annotations__, copy.__doc__ = (
        function.__kwdefaults__, function.__annotations__, function.__doc__
    )  # fmt: skip
    return copy


def described(function: Callable[..., Any], name: str = "Cellar.store") -> dict[str, Any]:
    (method,) = document([Method(name, function)], "Cellar", "1", "/api")["methods"]
    return method


@pytest.fixture(scope="module", params=["1_3", "1_4"])
def validate(request: pytest.FixtureRequest, npm_package: Callable[[str], Path]) -> Callable[[dict[str, Any]], None]:
    """Return what holds a document to the official schema of one version of OpenRPC."""
    schema = json.loads((npm_package(OPENRPC) / "dist" / request.param / "schema.json").read_text())
    draft7 = json.loads((npm_package(JSON_SCHEMA) / "schema.json").read_text())
    known = referencing.Registry().with_contents(
        [(uri, draft7) for uri in ("https://meta.json-schema.tools", "https://meta.json-schema.tools/")],
        default_specification=referencing.jsonschema.DRAFT7,
    )
    validator = jsonschema.Draft7Validator(schema, registry=known)

    def check(openrpc: dict[str, Any]) -> None:
        validator.validate(openrpc | ({"openrpc": "1.4.1"} if request.param == "1_4" else {}))

    return check


def test_a_document_is_valid_by_the_official_schema(validate: Callable[[dict[str, Any]], None]) -> None:
    annotated = told.MethodAnnotated[
        told.Summary("Stores"),
        told.Tag("cellar", "What is below"),
        told.Error(8, "Broken", data={"why": "it fell"}),
        told.Deprecated(),
        told.Example("one", params=[told.ExampleField("bottles", [])], returns=told.ExampleField("result", {})),
    ]
    app = Flask("cellar")
    jsonrpc = JSONRPC(app, "/api")
    jsonrpc.method("Cellar.store", annotated)(copied(store))
    jsonrpc.method("Cellar.nothing")(lambda *args, **kwargs: None)
    answer = app.test_client().post("/api", json={"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}).json
    validate(answer["result"])
    validate(document(shop.jsonrpc.get_jsonrpc_site().methods, "Shop", "2.1", "/api"))
    with pytest.raises(jsonschema.ValidationError):
        validate(answer["result"] | {"methods": [{"name": "no params"}]})


def test_types_of_other_packages_make_a_valid_document(validate: Callable[[dict[str, Any]], None]) -> None:
    why = "pip install -r requirements-dev.lock"
    np = pytest.importorskip("numpy", reason=why)
    pd = pytest.importorskip("pandas", reason=why)
    pydantic = pytest.importorskip("pydantic", reason=why)
    image = pytest.importorskip("PIL.Image", reason=why)
    model = pydantic.create_model("Model", a=(int, pydantic.Field(ge=1)), b=(list[str], []))

    def function(array: Any, frame: Any, model: Any, image: Any = None) -> Any: ...

    hints = {"array": np.ndarray[tuple[int, int], np.dtype[np.int8]], "frame": pd.DataFrame, "model": model}
    function.__annotations__ = hints | {"image": image.Image | None, "return": dict[str, pd.Series]}
    validate(document([Method("m", function)], "t", "1", "/"))


def test_the_docstring_is_told_of_the_method_its_parameters_and_its_result() -> None:
    method = described(store)
    assert method["summary"] == "Put bottles on a shelf."
    assert method["description"] == "They are counted, too."
    assert [(param["name"], param["required"], param.get("description")) for param in method["params"]] == [
        ("bottles", True, "what to store, lying down"),
        ("shelf", False, "counted from the door"),
        ("label", False, None),
    ]
    assert method["result"]["description"] == "how many lie on each shelf"
    assert method["errors"] == [{"code": 7, "message": "The cellar is full"}]
    assert method["examples"] == [
        {
            "name": "bottles=[{'name': 'Merlot'}], shelf=2",
            "params": [{"name": "bottles", "value": [{"name": "Merlot"}]}, {"name": "shelf", "value": 2}],
            "result": {"name": "result", "value": {"2": 1}},
        }
    ]


def test_a_class_is_described_with_its_fields() -> None:
    openrpc = document([Method("m", store)], "t", "1", "/")
    bottle = openrpc["components"]["schemas"]["Bottle"]
    assert openrpc["methods"][0]["params"][0]["schema"]["items"] == {"$ref": "#/components/schemas/Bottle"}
    assert bottle["description"] == "What wine is kept in."
    assert bottle["properties"]["year"] == {"type": "integer", "default": 2020, "description": "of the harvest"}
    # A tuple in the words of draft 7, which OpenRPC's schemas are.
    assert bottle["properties"]["place"]["items"] == [{"type": "integer"}, {"type": "string"}]
    assert bottle["properties"]["place"]["additionalItems"] is False


def test_the_examples_of_a_document_fit_its_schemas() -> None:
    openrpc = document([Method("m", store)], "t", "1", "/")
    (method,) = openrpc["methods"]
    schemas = {param["name"]: param["schema"] for param in method["params"]}
    for param in method["examples"][0]["params"]:
        schema = schemas[param["name"]] | {"components": openrpc["components"]}
        jsonschema.Draft7Validator(schema).validate(param["value"])


def test_a_deprecated_function_is_told_to_be_so() -> None:
    def old() -> None: ...

    assert "deprecated" not in described(old)
    old.__deprecated__ = "use new"  # type: ignore[attr-defined]  # as warnings.deprecated of Python 3.13 does
    assert described(old)["deprecated"] is True


def test_statements_count_more_than_the_docstring() -> None:
    function: Any = copied(store)
    function.jsonrpc_method_annotations = told.MethodAnnotated[told.Summary("Other"), told.Error(1, "x"), told.Tag("a")]
    method = described(function)
    assert method["summary"] == "Other"
    assert method["description"] == "They are counted, too."
    assert method["errors"] == [{"code": 1, "message": "x"}]
    assert method["tags"] == [{"name": "a"}]


NUMPY = """Do it.

    Parameters
    ----------
    a : int
        The first.
    b : str, optional
        The second,
        in two lines.

    Returns
    -------
    float
        What comes out.

    Raises
    ------
    KeyError
        When it is not there.

    Notes
    -----
    Slow.
    """
SPHINX = """Do it.

    :param a: The first.
    :param str b: The second,
        in two lines.
    :returns: What comes out.
    :raises KeyError: When it is not there.
    """
GOOGLE = """Do it.

    Args:
        a (int): The first.
        b: The second,
            in two lines.

    Returns:
        What comes out.

    Raises:
        KeyError: When it is not there.
    """


@pytest.mark.parametrize("doc", [NUMPY, SPHINX, GOOGLE], ids=["numpy", "sphinx", "google"])
def test_docstrings_are_read_in_the_three_common_styles(doc: str) -> None:
    got = read(doc)
    assert got.summary == "Do it."
    assert got.params == {"a": "The first.", "b": "The second, in two lines."}
    assert got.returns == "What comes out."
    assert got.raises == {"KeyError": "When it is not there."}
    assert got.description == ("Notes: Slow." if doc is NUMPY else "")


@pytest.mark.parametrize(
    "doc", [None, "", "\n", ">>> (", "Args:", "Args:\n  x", ":param:", "A\n---\n", ">>> f(**x)\n1"]
)
def test_any_docstring_can_be_read(doc: str | None) -> None:
    assert isinstance(read(doc).summary, str)


def test_a_text_with_colons_is_no_section() -> None:
    got = read("Do this.\n\nBeware:\n    it bites.")
    assert got.description == "Beware:\n    it bites."


def test_each_url_tells_its_own_methods_and_where_they_are() -> None:
    app = Flask("cellar")
    jsonrpc = JSONRPC(app, "/api", version="3.0")
    jsonrpc.method("a")(lambda: 1)
    blueprint = JSONRPCBlueprint("inner", __name__)
    blueprint.method("b")(lambda: 1)
    jsonrpc.register_blueprint(app, blueprint, url_prefix="/inner")
    client = app.test_client()
    call = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}
    outer, inner = (client.post(path, json=call).json["result"] for path in ("/api", "/api/inner"))
    assert outer["info"] == {"title": "cellar JSON-RPC", "version": "3.0"}
    assert [method["name"] for method in outer["methods"]] == ["a"]
    assert [method["name"] for method in inner["methods"]] == ["b"]
    assert [each["servers"][0]["url"] for each in (outer, inner)] == [
        "http://localhost/api",
        "http://localhost/api/inner",
    ]


def test_discovery_takes_no_params() -> None:
    app = Flask("cellar")
    JSONRPC(app, "/api")
    call = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": [1]}
    assert app.test_client().post("/api", json=call).json["error"]["code"] == -32602


# -- the command --------------------------------------------------------------------------------------


def openrpc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demijohn", "openrpc", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_prints_the_document_of_an_application() -> None:
    done = openrpc("shop:app", "--url", "https://shop.example/api")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["servers"] == [{"name": "here", "url": "https://shop.example/api"}]
    assert printed["methods"] == document(shop.jsonrpc.get_jsonrpc_site().methods, "", "", "")["methods"]


def test_the_command_tells_what_to_choose_from() -> None:
    assert openrpc("shop:with_admin()").stderr == (
        "Error: The application has methods at /api, /api/admin: choose with --path.\n"
    )
    assert "no methods at /x, but at /api, /api/admin" in openrpc("shop:with_admin()", "--path", "/x").stderr
    assert (
        json.loads(openrpc("shop:with_admin()", "--path", "/api/admin").stdout)["methods"][0]["name"] == "Admin.status"
    )
