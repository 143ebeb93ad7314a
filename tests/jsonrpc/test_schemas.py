"""Schemas say what is really taken and answered, in the order in which it was written."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC
from demijohn.jsonrpc.openrpc import document
from demijohn.jsonrpc.registry import Method


class Size(enum.Enum):
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Level(enum.IntEnum):
    HIGH = 3
    LOW = 1


class Options(TypedDict):
    zone: int
    area: Literal["north", "east"]


@dataclass
class Box:
    size: Size
    options: Options
    level: Level = Level.LOW


class Packed(msgspec.Struct):
    content: bytes
    size: Size = Size.SMALL


def described(*functions: Callable[..., Any]) -> dict[str, Any]:
    return document([Method(function.__name__, function) for function in functions], "t", "1", "/")


def answer(function: Callable[..., Any], *params: Any) -> Any:
    app = Flask("schemas")
    JSONRPC(app, "/api").method("m")(function)
    call = {"jsonrpc": "2.0", "id": 1, "method": "m", "params": params}
    return app.test_client().post("/api", json=call).json["result"]


# -- order ------------------------------------------------------------------------------------------


def test_enums_literals_and_typed_dicts_keep_the_order_of_their_author() -> None:
    def function(box: Box, mode: Literal["slow", "fast"], sizes: list[Size] | None = None) -> None: ...

    openrpc = described(function)
    components = openrpc["components"]["schemas"]
    assert components["Size"]["enum"] == ["small", "medium", "large"]
    assert components["Level"]["enum"] == [3, 1]
    assert list(components["Options"]["properties"]) == ["zone", "area"]
    assert components["Options"]["properties"]["area"]["enum"] == ["north", "east"]
    assert openrpc["methods"][0]["params"][1]["schema"]["enum"] == ["slow", "fast"]


def test_an_enum_inside_what_msgspec_does_not_read_keeps_its_order() -> None:
    def function(sizes: dict[str, tuple[Size, bytes]]) -> None: ...  # bytes have a reader of ours

    assert described(function)["components"]["schemas"]["Size"]["enum"] == ["small", "medium", "large"]


def test_a_default_that_looks_like_a_schema_stays_as_it_is() -> None:
    def function(mode: Literal["b", "a"], given: dict[str, list[str]] = {"enum": ["a", "b"]}) -> None: ...  # noqa: B006

    assert described(function)["methods"][0]["params"][1]["schema"]["default"] == {"enum": ["a", "b"]}


def test_members_with_the_names_of_schema_words_are_members() -> None:
    class Odd(TypedDict):
        title: str
        enum: Literal["b", "a"]
        properties: dict[str, int]

    def function(odd: Odd) -> None: ...

    properties = described(function)["components"]["schemas"]["Odd"]["properties"]
    assert list(properties) == ["title", "enum", "properties"]
    assert properties["enum"] == {"enum": ["b", "a"]}


# -- bytes ------------------------------------------------------------------------------------------


def test_bytes_of_a_struct_are_base64_in_both_directions_as_their_schema_says() -> None:
    def function(packed: Packed) -> Packed:
        assert packed.content == b"\xff\x00"
        return packed

    members = described(function)["components"]["schemas"]["Packed"]["properties"]
    assert members["content"] == {"type": "string", "contentEncoding": "base64"}
    assert answer(function, {"content": "/wA="}) == {"content": "/wA=", "size": "small"}


def test_other_bytes_are_text_in_both_directions_as_their_schema_says() -> None:
    def function(content: bytes) -> bytes:
        assert content == "é".encode()
        return content

    assert described(function)["methods"][0]["params"][0]["schema"] == {"type": "string"}
    assert answer(function, "é") == "é"


# -- results of pydantic ------------------------------------------------------------------------------


def test_a_result_of_pydantic_is_described_as_it_is_written_and_once() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pip install -r requirements-dev.lock")

    class Item(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        price: int = pydantic.Field(serialization_alias="cents")

        @pydantic.computed_field  # type: ignore[untyped-decorator]
        @property
        def with_tax(self) -> float:
            return self.price * 1.5

    def first(item: Item) -> Item:
        return item

    def all_of_them() -> list[Item]:
        return []

    openrpc = described(first, all_of_them)
    schemas = openrpc["components"]["schemas"]
    assert {name: sorted(schema["properties"]) for name, schema in schemas.items()} == {
        "Item": ["price"],
        "Item_2": ["cents", "with_tax"],
    }
    by_method = [method["result"]["schema"] for method in openrpc["methods"]]
    assert by_method == [
        {"$ref": "#/components/schemas/Item_2"},
        {"type": "array", "items": {"$ref": "#/components/schemas/Item_2"}},
    ]
    assert answer(first, {"price": 2}) == {"cents": 2, "with_tax": 3.0}


# -- examples -----------------------------------------------------------------------------------------


def test_examples_of_a_docstring_stand_as_examples_and_not_in_the_description() -> None:
    def add(a: int, b: int = 2) -> int:
        """Add two numbers.

        Like so:

        >>> add(1,
        ...     b=3)
        4

        And not so:

        >>> sorted([2, 1])
        [1, 2]
        """
        return a + b

    (method,) = described(add)["methods"]
    assert method["description"] == "Like so:\n\nAnd not so:\n\n>>> sorted([2, 1])\n[1, 2]"
    assert [example["result"]["value"] for example in method["examples"]] == [4]


@pytest.mark.parametrize(
    "example", ['f(b"\\xff")\n    1', "f(1)\n    [1, ...]", "f(1)\n    {1, ...}", "f({1j})\n    1"]
)
def test_an_example_that_json_cannot_say_is_none(example: str) -> None:
    def f(a: Any) -> Any: ...

    f.__doc__ = f"Do it.\n\n    >>> {example}\n"
    (method,) = described(f)["methods"]
    assert "examples" not in method
    assert method["description"].startswith(">>> f(")


def test_members_of_a_model_have_no_titles_that_say_their_names() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pip install -r requirements-dev.lock")
    model = pydantic.create_model(
        "Guest", first_name=(str | None, None), told=(int, pydantic.Field(title="What was told"))
    )

    def function(guest: Any) -> None: ...

    function.__annotations__ = {"guest": model}
    schema = described(function)["components"]["schemas"]["Guest"]
    assert schema["title"] == "Guest"
    assert schema["properties"]["first_name"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert schema["properties"]["told"]["title"] == "What was told"


# -- what is written fits what is told ----------------------------------------------------------------


class Place(NamedTuple):
    """Where a bottle lies."""

    shelf: int
    row: str = "a"


class Nested(NamedTuple):
    place: Place
    others: list[Nested] = []  # noqa: RUF012


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Lying:
    place: Place
    rights: Rights = Rights.READ


CASES = [
    (Place, {"shelf": 1}, [1, "a"]),
    (Place, [1], [1, "a"]),
    (Place, [1, "b"], [1, "b"]),
    (Nested, [[1], [[{"shelf": 2}]]], [[1, "a"], [[[2, "a"], []]]]),
    (Lying, {"place": {"shelf": 1}, "rights": 3}, {"place": [1, "a"], "rights": 3}),
    (Rights, 0, 0),
    (list[Rights], [1, 3], [1, 3]),
    (Size, "small", "small"),
    (Packed, {"content": ""}, {"content": "", "size": "small"}),
]


@pytest.mark.parametrize(("hint", "sent", "answered"), CASES, ids=lambda value: str(value)[:40])
def test_what_is_sent_and_what_is_answered_fit_their_schemas(hint: Any, sent: Any, answered: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install -r requirements-dev.lock")

    def function(x: Any) -> Any:
        return x

    function.__annotations__ = {"x": hint, "return": hint}
    openrpc = described(function)
    (method,) = openrpc["methods"]
    of_param, of_result = method["params"][0]["schema"], method["result"]["schema"]
    jsonschema.Draft7Validator({**of_param, "components": openrpc["components"]}).validate(sent)
    result = answer(function, sent)
    assert result == answered
    jsonschema.Draft7Validator({**of_result, "components": openrpc["components"]}).validate(result)


def test_types_of_pydantic_are_answered_outside_of_models_too() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pip install -r requirements-dev.lock")

    def links() -> Any:
        return [pydantic.TypeAdapter(pydantic.HttpUrl).validate_python("http://a.example/"), pydantic.SecretStr("x")]

    assert answer(links) == ["http://a.example/", "**********"]


def test_a_large_integer_of_a_model_of_pydantic_is_not_rounded() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pip install -r requirements-dev.lock")
    model = pydantic.create_model("Guest", number=(int, 2**70 + 1))
    assert answer(lambda: model()) == {"number": 2**70 + 1}
