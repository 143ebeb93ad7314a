"""Constraints in `Annotated`, and classes that pydantic or attrs read: held to, named in errors, told in the schema."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import attrs
import pytest

WHY = "the real package is needed: pip install -r requirements-dev.lock"
pydantic = pytest.importorskip("pydantic", reason=WHY)
at = pytest.importorskip("annotated_types", reason=WHY)
jsonschema = pytest.importorskip("jsonschema", reason=WHY)

from demijohn.jsonrpc import InvalidParamsError  # noqa: E402
from demijohn.jsonrpc.encoding import encode  # noqa: E402
from demijohn.jsonrpc.openrpc import document  # noqa: E402
from demijohn.jsonrpc.registry import Method, WrongResult  # noqa: E402
from demijohn.jsonrpc.types.params import (  # noqa: E402
    AllowInfNan,
    Deprecated,
    Example,
    Maximum,
    Minimum,
    MultipleOf,
    Pattern,
    Summary,
)


class Address(pydantic.BaseModel):
    street: str
    number: int = pydantic.Field(ge=1)


class User(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=5)
    address: Address
    friends: list[User] = []  # noqa: RUF012
    secret: str = pydantic.Field(default="", alias="theSecret")


@pydantic.dataclasses.dataclass
class Limits:
    low: int = pydantic.Field(default=1, ge=0)


@dataclass
class Group:
    users: list[User]
    limits: Limits = field(default_factory=Limits)


@dataclass
class Order:
    count: Annotated[int, at.Ge(1)]
    code: Annotated[str, "what the customer calls it"] = "x"


class Row(TypedDict):
    price: Annotated[float, at.Interval(ge=0, lt=100)]


@attrs.define
class Robot:
    name: str = attrs.field(converter=str.upper, validator=attrs.validators.max_len(3))


def taking(hint: Any) -> Method:
    def function(x: Any) -> Any:
        return x

    function.__annotations__ = {"x": hint, "return": hint}
    return Method("m", function)


def schema_of(*hints: Any) -> tuple[list[Any], dict[str, Any]]:
    described = document([taking(hint) for hint in hints], "t", "1", "/")
    schemas = [method["params"][0]["schema"] for method in described["methods"]]
    return schemas, described["components"]["schemas"]


def is_even(value: int) -> bool:
    return value % 2 == 0


ALICE = {"name": "Ann", "address": {"street": "s", "number": 1}}
ACCEPTED: list[tuple[Any, Any, Any]] = [
    (User, ALICE | {"theSecret": "x"}, User(name="Ann", address=Address(street="s", number=1), theSecret="x")),
    (list[Address], [{"street": "s", "number": 2}], [Address(street="s", number=2)]),
    (Address | None, None, None),
    (Limits, {"low": 3}, Limits(3)),
    (Group, {"users": []}, Group([])),
    (pydantic.HttpUrl, "https://example.org/", pydantic.HttpUrl("https://example.org/")),
    (pydantic.PositiveInt, 3, 3),
    (Annotated[int, pydantic.Field(ge=3)], 3, 3),
    (Annotated[str, at.Len(1, 2)], "ab", "ab"),
    (Annotated[list[int], at.MinLen(1)], [1], [1]),
    (Annotated[Decimal, at.Gt(Decimal("1.5"))], "1.6", Decimal("1.6")),
    (Annotated[date, at.Ge(date(2026, 1, 1))], "2026-01-31", date(2026, 1, 31)),
    (Annotated[int, at.MultipleOf(5)], 10, 10),
    (Annotated[int, at.Predicate(is_even)], 4, 4),
    (Annotated[int | None, at.Ge(3)], None, None),
    (Annotated[int, object()], 3, 3),
    (Order, {"count": 1}, Order(1)),
    (Row, {"price": 99.5}, {"price": 99.5}),
    (Robot, {"name": "r2"}, Robot("R2")),
]


@pytest.mark.parametrize(("hint", "value", "expected"), ACCEPTED, ids=lambda value: str(value)[:60])
def test_a_value_that_fits_is_taken_and_fits_its_schema(hint: Any, value: Any, expected: Any) -> None:
    method = taking(hint)
    ((got,), _) = method.bind([value])
    assert got == expected
    (schema,), components = schema_of(hint)
    jsonschema.Draft202012Validator(schema | {"components": {"schemas": components}}).validate(value)
    json.loads(encode(method.check(got)))


REFUSED: list[tuple[Any, Any, str]] = [
    (
        User,
        ALICE | {"friends": [ALICE | {"address": {"street": "s", "number": 0}}]},
        "params.x.friends[0].address.number: Input should be greater than or equal to 1, got 0",
    ),
    (Group, {"users": [{"name": "Ann"}]}, "params.x.users[0].address: Field required"),
    (Limits, {"low": -1}, "params.x.low: Input should be greater than or equal to 0, got -1"),
    (Annotated[str, at.Len(1, 2)], "abc", 'params.x: expected a string of length <= 2, got "abc"'),
    (Annotated[list[int], at.MinLen(1)], [], "params.x: expected an array of length >= 1, got []"),
    (Annotated[Decimal, at.Gt(Decimal("1.5"))], "1.5", 'params.x: expected a value > 1.5, got "1.5"'),
    (
        Annotated[date, at.Ge(date(2026, 1, 1))],
        "2025-01-31",
        'params.x: expected a value >= 2026-01-01, got "2025-01-31"',
    ),
    (Annotated[int, at.MultipleOf(5)], 11, "params.x: expected an integer that's a multiple of 5, got 11"),
    (Annotated[int, at.Predicate(is_even)], 3, "params.x: expected a value for which is_even holds, got 3"),
    (list[Annotated[int, at.Interval(gt=0)]], [1, 0], "params.x[1]: expected an integer >= 1, got 0"),
    (Order, {"count": 0}, "params.x.count: expected an integer >= 1, got 0"),
    (Row, {"price": 100}, "params.x.price: expected a number < 100.0, got 100"),
    (Robot, {"name": "long"}, 'params.x: Length of \'name\' must be <= 3: 4, got {"name":"long"}'),
]


@pytest.mark.parametrize(("hint", "value", "sentence"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_value_that_does_not_fit_is_named_with_its_path(hint: Any, value: Any, sentence: str) -> None:
    with pytest.raises(InvalidParamsError) as caught:
        taking(hint).bind({"x": value})
    assert caught.value.data["message"] == sentence


def test_a_hint_that_pydantic_cannot_read_is_refused_at_registration() -> None:
    with pytest.raises(TypeError, match="the parameter 'x': pydantic cannot read"):
        taking(Annotated[Method, pydantic.Field(ge=3)])


def test_a_result_is_checked_against_the_model() -> None:
    assert taking(Address).check(Address(street="s", number=1))
    with pytest.raises(WrongResult):
        taking(Address).check(3)


def test_descriptions_and_bounds_are_in_the_schema() -> None:
    (order, bounded), components = schema_of(Order, Annotated[Decimal, at.Gt(1), "more than one"])
    assert order == {"$ref": "#/components/schemas/Order"}
    assert components["Order"]["properties"]["count"] == {"type": "integer", "minimum": 1}
    assert components["Order"]["properties"]["code"]["description"] == "what the customer calls it"
    assert bounded["exclusiveMinimum"] == 1
    assert bounded["description"] == "more than one"


def test_statements_of_flask_jsonrpc_are_in_the_schema() -> None:
    hint = Annotated[
        int, Minimum(1), Maximum(5), Summary("how many"), Deprecated(), Pattern("x"), Example("few", 2), AllowInfNan()
    ]
    (schema,), _ = schema_of(hint)
    assert schema == {
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "title": "how many",
        "deprecated": True,
        "pattern": "x",
        "examples": [2],
    }


def test_models_stand_once_in_the_components_and_refer_to_each_other() -> None:
    (user, users), components = schema_of(User, list[User])
    assert user == users["items"] == {"$ref": "#/components/schemas/User"}
    assert components["User"]["properties"]["friends"]["items"] == user
    assert components["User"]["properties"]["address"] == {"$ref": "#/components/schemas/Address"}
    assert set(components) == {"User", "Address"}


def test_classes_of_one_name_have_components_of_their_own() -> None:
    def of_dataclass() -> Any:
        @dataclass
        class Thing:
            a: int

        return Thing

    def of_constructor() -> Any:
        class Thing:
            def __init__(self, b: str | date) -> None: ...

        return Thing

    class Thing(pydantic.BaseModel):
        c: bool

    hints = [of_dataclass(), list[of_constructor()], Thing]
    schemas, components = schema_of(*hints)
    refs = [schemas[0]["$ref"], schemas[1]["items"]["$ref"], schemas[2]["$ref"]]
    named = [components[ref.rpartition("/")[2]] for ref in refs]
    assert [list(schema["properties"]) for schema in named] == [["a"], ["b"], ["c"]]


def test_a_class_that_holds_itself_refers_to_itself() -> None:
    @dataclass
    class Node:
        """A node of a tree."""

        when: date | str
        children: list[Node] = field(default_factory=list)

    (schema,), components = schema_of(Node)
    assert schema == components["Node"]["properties"]["children"]["items"] == {"$ref": "#/components/schemas/Node"}
    assert components["Node"]["description"] == "A node of a tree."


@pytest.mark.parametrize(
    ("step", "value", "wrong"),
    [(5, 10**40, 10**40 + 1), (5, 10**400, 10**400 + 1), (0.1, 1e30, 0.25), (0.1, 0.3, 0.35)],
)
def test_a_multiple_may_be_as_large_as_it_likes(step: float, value: Any, wrong: Any) -> None:
    method = taking(Annotated[type(value), MultipleOf(step)])
    assert method.bind([value]) == ((value,), {})
    with pytest.raises(InvalidParamsError):
        method.bind([wrong])


def test_an_integer_that_no_float_can_hold_is_finite() -> None:
    assert taking(Annotated[int, AllowInfNan(False)]).bind([10**400]) == ((10**400,), {})
