"""What is stated of methods and parameters besides their types: what it describes, and what it holds values to."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC
from demijohn.jsonrpc.types import methods, params
from demijohn.jsonrpc.types.params import Err, Ok
from demijohn.jsonrpc.types.types import Array, Boolean, Null, Number, Object, String, Types, to_dict


@pytest.fixture
def jsonrpc() -> JSONRPC:
    return JSONRPC(Flask("shop"), "/api")


def answer(jsonrpc: JSONRPC, method: str, *arguments: Any, **named: Any) -> dict[str, Any]:
    """Return the Response object of a call."""
    site = jsonrpc.get_jsonrpc_site()
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(arguments) or named}
    app = Flask("calls")
    app.config["DEBUG"] = False
    with app.test_request_context("/", method="POST", json=call):
        response, _, _ = site.dispatch_request()
    assert isinstance(response, dict)
    return response


def description(jsonrpc: JSONRPC, method: str) -> Any:
    return answer(jsonrpc, "rpc.describe")["result"]["methods"][method]


# -- rpc.describe -----------------------------------------------------------------------------------


def test_every_site_describes_its_methods(jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("Shop.add")
    def add(name: str, count: int = 1, tags: list[str] | None = None) -> dict[str, int]:
        """Put things into the cart."""
        return {name: count}

    service = answer(jsonrpc, "rpc.describe")["result"]
    assert service["id"] == f"urn:uuid:{jsonrpc.get_jsonrpc_site().uuid}"
    assert (service["name"], service["version"], service["servers"]) == ("Flask-JSONRPC", "1.0.0", [{"url": "/api"}])
    assert list(service["methods"]) == ["rpc.describe", "Shop.add"]
    assert service["methods"]["Shop.add"] == {
        "name": "Shop.add",
        "type": "method",
        "description": "Put things into the cart.",
        "validation": True,
        "notification": True,
        "params": [
            {"name": "name", "type": "String"},
            {"name": "count", "type": "Number"},
            {"name": "tags", "type": "Array"},
        ],
        "returns": {"name": "default", "type": "Object"},
    }


def test_what_a_method_is_annotated_with_is_described(jsonrpc: JSONRPC) -> None:
    annotation = methods.MethodAnnotated[
        methods.Summary("Adds"),
        methods.Description("Adds two numbers"),
        methods.Deprecated(),
        methods.Tag("sums"),
        methods.Tag("numbers"),
        methods.Error(1, "Too large", status_code=422, data={"limit": 9}),
        methods.Example(
            "small", params=[methods.ExampleField("a", 1)], returns=methods.ExampleField("sum", None, summary="none")
        ),
    ]

    @jsonrpc.method("Sums.add", annotation)
    def add(a: int, b: int = 0) -> int:
        """Not told: the annotation says more."""
        return a + b

    described = description(jsonrpc, "Sums.add")
    assert described["summary"] == "Adds"
    assert described["description"] == "Adds two numbers"
    assert described["deprecated"] is True
    assert described["tags"] == ["sums", "numbers"]
    assert described["errors"] == [{"code": 1, "message": "Too large", "status_code": 422, "data": {"limit": 9}}]
    assert described["examples"] == [
        {
            "name": "small",
            "params": [{"name": "a", "value": 1}],
            "returns": {"name": "sum", "summary": "none", "value": None},
        }
    ]


@dataclass
class Label:
    text: str
    colours: list[str]


@dataclass
class Bottle:
    litres: float
    label: Label
    prices: dict[str, Label]


def test_members_of_classes_are_described(jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("Cellar.add")
    def add(bottle: Bottle) -> Bottle:
        return bottle

    label = {"text": {"name": "text", "type": "String"}, "colours": {"name": "colours", "type": "Array"}}
    assert description(jsonrpc, "Cellar.add")["params"] == [
        {
            "name": "bottle",
            "type": "Object",
            "properties": {
                "litres": {"name": "litres", "type": "Number"},
                "label": {"name": "label", "type": "Object", "properties": label},
                "prices": {"name": "prices", "type": "Object"},
            },
        }
    ]


def test_what_a_parameter_is_annotated_with_is_described(jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("Cellar.find")
    def find(
        name: Annotated[str, params.Summary("What it is called"), params.MaxLength(9), params.Example("red", "Merlot")],
        box: Annotated[dict[str, Any], params.Properties({"size": params.Properties({"x": Annotated[int, "metres"]})})],
    ) -> None:
        pass

    assert description(jsonrpc, "Cellar.find")["params"] == [
        {
            "name": "name",
            "type": "String",
            "summary": "What it is called",
            "max_length": 9,
            "examples": ["Merlot"],
        },
        {
            "name": "box",
            "type": "Object",
            "properties": {
                "size": {"name": "size", "type": "Object", "properties": {"x": {"name": "x", "type": "Number"}}}
            },
        },
    ]


def test_a_class_inside_itself_can_be_described() -> None:
    def depth(members: Any) -> int:
        return 1 + depth(members["next"]) if isinstance(members, dict) else 0

    assert depth(to_dict(Node, max_level=3)) == 4


class Node:
    value: int
    next: Node


@pytest.mark.parametrize(
    ("hint", "kind"),
    [
        (int | float, Number),
        (str | None, String),
        (list[int], Array),
        (dict[str, int], Object),
        (bool, Boolean),
        (None, Null),
        (Any, Object),
        (Annotated[int, "n"], Number),
    ],
)
def test_a_hint_is_one_type_of_json(hint: Any, kind: Any) -> None:
    assert [each for each in Types if each.check_type(hint)] == [kind]


def test_an_annotation_can_be_extended_compared_and_pickled() -> None:
    first = methods.MethodAnnotated[methods.Summary("a")]
    both = type(first)(first, (methods.Tag("t"),))
    assert both == methods.MethodAnnotated[methods.Summary("a"), methods.Tag("t")] != first
    assert pickle.loads(pickle.dumps(both)) == both
    assert len({both, methods.MethodAnnotated[methods.Summary("a"), methods.Tag("t")]}) == 1


# -- constraints ------------------------------------------------------------------------------------


def test_params_are_held_to_what_is_stated_of_them(jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("Cellar.take")
    def take(
        count: Annotated[int, params.Minimum(1), params.Maximum(6)] = 1,
        *,
        name: Annotated[str, params.Pattern(r"[A-Z]")] = "Merlot",
    ) -> int:
        return count

    assert answer(jsonrpc, "Cellar.take", 6)["result"] == 6
    assert answer(jsonrpc, "Cellar.take", 7)["error"] == {
        "name": "InvalidParamsError",
        "code": -32602,
        "message": "Invalid params",
        "data": {
            "constraint": "Maximum",
            "param": "count",
            "value": 7,
            "message": "ensure the value of the parameter 'count' is less than or equal to 6",
        },
    }
    assert answer(jsonrpc, "Cellar.take", count=2, name="merlot")["error"]["data"]["constraint"] == "Pattern"


def test_without_validation_nothing_is_held_to_anything(jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("Cellar.any", validate=False)
    def take(count: Annotated[int, params.Minimum(1)]) -> Annotated[int, params.Minimum(1)]:
        return count

    assert answer(jsonrpc, "Cellar.any", 0)["result"] == 0


def test_a_result_that_breaks_what_is_stated_of_it_is_an_internal_error(jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("Cellar.count")
    def count() -> Annotated[int, params.Minimum(0)]:
        return -1

    assert answer(jsonrpc, "Cellar.count")["error"]["code"] == -32603


def test_a_statement_of_ones_own_is_held_to(jsonrpc: JSONRPC) -> None:
    class Even(params.BaseAnnotatedMetadata):
        def type_check(self, name: str, value: Any) -> Ok | Err:
            return Err(f"{name} is odd") if value % 2 else Ok(value)

    @jsonrpc.method("Cellar.pair")
    def pair(count: Annotated[int, Even()]) -> int:
        return count

    assert answer(jsonrpc, "Cellar.pair", 2)["result"] == 2
    assert answer(jsonrpc, "Cellar.pair", 3)["error"]["data"]["message"] == "count is odd"


@pytest.mark.parametrize(
    ("statement", "good", "bad"),
    [
        (params.Required(), [0, False, "x", [0]], [None, "", [], {}]),
        (params.Required(False), [None, ""], []),
        (params.Nullable(False), [0, ""], [None]),
        (params.Nullable(), [None], []),
        (params.Minimum(2), [2, 3.5, None], [1.9]),
        (params.Maximum(2), [2, -1, None], [2.1]),
        (params.MultipleOf(0.1), [0.3, 1, None], [0.35]),
        (params.MinLength(2), ["ab", [1, 2], None], ["a", []]),
        (params.MaxLength(2), ["ab", [], None], ["abc"]),
        (params.Pattern("a+$"), ["aa", None], ["b", "ab"]),
        (params.AllowInfNan(False), [1.5, None], [math.nan, math.inf, -math.inf]),
        (params.AllowInfNan(), [math.nan], []),
        (params.MaxDigits(3), [1.23, Decimal("100"), 0.0001, None], [1234, Decimal("1e3"), 12.34]),
        (params.DecimalPlaces(2), [1.23, Decimal("1e9"), None], [1.234]),
    ],
)
def test_a_constraint_takes_what_fits_and_refuses_the_rest(statement: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if statement.type_check("p", value) != Ok(value)] == []
    assert [value for value in bad if not isinstance(statement.type_check("p", value), Err)] == []


@pytest.mark.parametrize(
    "statement", [params.MultipleOf, params.MinLength, params.MaxLength, params.MaxDigits, params.DecimalPlaces]
)
def test_a_constraint_that_nothing_could_fit_is_refused(statement: Any) -> None:
    with pytest.raises(ValueError, match="must be greater than 0"):
        statement(-1)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_digits_are_counted_as_they_are_written(number: Decimal) -> None:
    total, decimals = params.extract_digits_and_decimals(number)
    whole, _, fraction = f"{number.copy_abs():f}".partition(".")
    assert decimals == len(fraction)
    assert total <= len(whole) + len(fraction)
