"""What type hints mean for the parameters and results of methods, and what clients are told when they do not fit."""

from __future__ import annotations

import collections
import collections.abc as cabc
import functools
import ipaddress
import numbers
import sys
import uuid
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    LiteralString,
    NamedTuple,
    NewType,
    NotRequired,
    TypedDict,
    TypeVar,
)

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn.jsonrpc import InvalidParamsError
from demijohn.jsonrpc.encoding import Unserializable, encode
from demijohn.jsonrpc.openrpc import document
from demijohn.jsonrpc.registry import Method, Registry, WrongResult
from demijohn.jsonrpc.schemas import describe_types
from demijohn.jsonrpc.types.params import Minimum, MinLength


def run(function: Callable[..., Any], params: Any) -> Any:
    """Call `function` as a client would, and return what it returned."""
    arguments, named = Method("m", function).bind(params)
    return function(*arguments, **named)


def refusal(function: Callable[..., Any], params: Any) -> str:
    """Return the sentence with which `params` are refused."""
    with pytest.raises(InvalidParamsError) as caught:
        Method("m", function).bind(params)
    assert caught.value.code == -32602
    return str(caught.value.data["message"])


def taking(hint: Any) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return x

    function.__annotations__ = {"x": hint}
    return function


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Odd(Enum):
    HALF = 1.5


@dataclass
class Item:
    name: str
    price: float = 0


@dataclass
class Order:
    items: list[Item]
    by_name: dict[str, Item] = field(default_factory=dict)


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Dated:
    """Has a field that msgspec alone would not take, so all of it is read by its constructor."""

    when: date | str
    children: list[Dated] = field(default_factory=list)


@dataclass
class Positive:
    n: int
    limit: InitVar[int] = 10
    seen: ClassVar[int] = 0

    def __post_init__(self, limit: int) -> None:
        if not 0 < self.n < limit:
            raise ValueError(f"n must be between 0 and {limit}")


class Movie(TypedDict):
    title: str
    data: NotRequired[bytes]


class Point(NamedTuple):
    x: int
    y: int = 0


@attrs.define
class Robot:
    name: str
    code: bytes = b""


class Plain:
    def __init__(self, name: str, size: int = 1) -> None:
        self.name = name
        self.size = size

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)


class Record(msgspec.Struct):
    a: int


Number = TypeVar("Number", int, float)
UserId = NewType("UserId", int)

ACCEPTED: list[tuple[Any, Any, Any]] = [
    (ipaddress.IPv4Address, "127.0.0.1", ipaddress.IPv4Address("127.0.0.1")),
    (ipaddress.IPv6Address | None, "::1", ipaddress.IPv6Address("::1")),
    (list[ipaddress.IPv4Network], ["10.0.0.0/8"], [ipaddress.IPv4Network("10.0.0.0/8")]),
    (Fraction, "1/3", Fraction(1, 3)),
    (Any, [1, "a", None], [1, "a", None]),
    (object, {"a": 1}, {"a": 1}),
    (int, 5, 5),
    (int, 10**30, 10**30),
    (float, 1.5, 1.5),
    (float, 5, 5.0),
    (str, "é", "é"),
    (bool, True, True),
    (None, None, None),
    (int | None, None, None),
    (int | str, "x", "x"),
    (int | str, 1, 1),
    (list, [1, "a"], [1, "a"]),
    (dict, {"a": 1}, {"a": 1}),
    (list[int], [1, 2], [1, 2]),
    (dict[str, list[float]], {"a": [1]}, {"a": [1.0]}),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
    (set[int], [1, 1, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset("a")),
    (cabc.Sequence[int], [1], [1]),
    (cabc.Iterable[int], [1], [1]),
    (cabc.Iterator[int], [1], [1]),
    (cabc.Mapping[str, int], {"a": 1}, {"a": 1}),
    (cabc.Set[int], [1], {1}),
    (collections.deque[int], [1], collections.deque([1])),
    (collections.OrderedDict[str, int], {"a": 1}, collections.OrderedDict(a=1)),
    (collections.defaultdict[str, int], {"a": 1}, collections.defaultdict(None, a=1)),
    (collections.Counter[str], {"a": 1}, collections.Counter("a")),
    (bytes, "é", "é".encode()),
    (bytearray, "a", bytearray(b"a")),
    (Decimal, 1.1, Decimal("1.1")),
    (Decimal, "1.10", Decimal("1.10")),
    (numbers.Number, 1.5, 1.5),
    (Path, "/tmp", Path("/tmp")),
    (uuid.UUID, "00000000-0000-0000-0000-000000000001", uuid.UUID(int=1)),
    (datetime, "2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    (date, "2026-01-31", date(2026, 1, 31)),
    (timedelta, "PT90S", timedelta(seconds=90)),
    (Colour, "red", Colour.RED),
    (Level, 2, Level.HIGH),
    (Odd, 1.5, Odd.HALF),
    (Literal["a", 1, None], None, None),
    (Literal[True, "x"], True, True),
    (Final[str], "x", "x"),
    (Annotated[int, msgspec.Meta(ge=3)], 3, 3),
    (Annotated[int, "a note"], 3, 3),
    (Number, 1.5, 1.5),
    (UserId, 3, 3),
    (Item, {"name": "a"}, Item("a")),
    (Order, {"items": [{"name": "a", "price": 1}]}, Order([Item("a", 1.0)])),
    (Tree, {"value": 1, "children": [{"value": 2}]}, Tree(1, [Tree(2)])),
    (Dated, {"when": "2026-01-31", "children": [{"when": "soon"}]}, Dated(date(2026, 1, 31), [Dated("soon")])),
    (Movie, {"title": "M", "data": "x"}, {"title": "M", "data": b"x"}),
    (Point, {"x": 1}, Point(1)),
    (Point, [1, 2], Point(1, 2)),
    (Robot, {"name": "a", "code": "é"}, Robot("a", "é".encode())),
    (Plain, {"name": "a"}, Plain("a")),
    (Record, {"a": 1}, Record(1)),
    (list[Plain | int], [{"name": "a"}, 2], [Plain("a"), 2]),
    (datetime | str, "2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    (datetime | str, "tomorrow", "tomorrow"),
    (bytes | None, None, None),
    (Item | Point | list[str], ["a"], ["a"]),
    (dict[str, int | list[Colour] | Item], {"a": ["red"]}, {"a": [Colour.RED]}),
]


@pytest.mark.parametrize(("hint", "value", "expected"), ACCEPTED, ids=lambda value: str(value)[:50])
def test_a_value_that_fits_becomes_what_the_hint_says(hint: Any, value: Any, expected: Any) -> None:
    for params in ([value], {"x": value}):
        got = run(taking(hint), params)
        assert got == expected
        assert type(got) is type(expected)


REFUSED: list[tuple[Any, Any, str]] = [
    (int, "1", 'params.x: expected an integer, got "1"'),
    (int, 1.0, "params.x: expected an integer, got 1.0"),
    (int, True, "params.x: expected an integer, got true"),
    (float, "x", 'params.x: expected a number, got "x"'),
    (str, 1, "params.x: expected a string, got 1"),
    (bool, 1, "params.x: expected true or false, got 1"),
    (str, None, "params.x: expected a string, got null"),
    (None, 0, "params.x: expected null, got 0"),
    (int | None, "x", 'params.x: expected an integer or null, got "x"'),
    (int | str, [], "params.x: expected an integer or a string, got []"),
    (list[int], {}, "params.x: expected an array, got {}"),
    (list[int], [1, "a"], 'params.x[1]: expected an integer, got "a"'),
    (dict[str, float], {"a": 1, "b": "x"}, 'params.x.b: expected a number, got "x"'),
    (dict[str, float], {"a": "y", "b": "x"}, "params.x[...]: expected a number"),
    (dict[int, str], {"a": "b"}, "params.x: a key: expected an integer"),
    (tuple[int, str], [1], "params.x: expected an array of length 2, got [1]"),
    (bytes, 3, "params.x: expected a string, got 3"),
    (uuid.UUID, "x", 'params.x: expected a UUID, got "x"'),
    (date, "x", 'params.x: expected a date such as "2026-01-31", got "x"'),
    (datetime, "x", 'params.x: expected a date and time such as "2026-01-31T12:00:00Z", got "x"'),
    (Decimal, "x", 'params.x: expected a decimal number, got "x"'),
    (Colour, "green", 'params.x: expected "red" or "blue", got "green"'),
    (Literal[1, 2], 3, "params.x: expected 1 or 2, got 3"),
    (Literal["a", True], 1, 'params.x: expected "a" or true, got 1'),
    (Annotated[int, msgspec.Meta(ge=3)], 2, "params.x: expected an integer >= 3, got 2"),
    (Annotated[str, msgspec.Meta(max_length=2)], "abc", 'params.x: expected a string of length <= 2, got "abc"'),
    (Item, {"price": 1}, 'params.x: the member "name" is missing'),
    (Item, [], "params.x: expected an object, got []"),
    (
        Order,
        {"items": [{"name": "a"}, {"name": "b", "price": "x"}]},
        'params.x.items[1].price: expected a number, got "x"',
    ),
    (Dated, {"when": "a", "children": [{"when": 3}]}, "params.x.children[0].when: expected a date or a string, got 3"),
    (Point, {"x": 1, "z": 2}, 'params.x: there is no member "z"'),
    (Plain, {"name": 1}, "params.x.name: expected a string, got 1"),
    (Positive, {"n": 20}, 'params.x: n must be between 0 and 10, got {"n":20}'),
    (collections.deque[int], [1, "a"], 'params.x[1]: expected an integer, got "a"'),
    (Point, {"x": 1, "z\n": 2}, 'params.x: there is no member "z\n"'),
    (ipaddress.IPv4Address, "300.0.0.1", 'params.x: Invalid IPv4Address, got "300.0.0.1"'),
    (ipaddress.IPv6Network, 3, "params.x: expected a string, got 3"),
    (Fraction, "1/0", 'params.x: Invalid Fraction, got "1/0"'),
    (list[Plain | int], [{"name": 1}], "params.x[0].name: expected a string, got 1"),
]


@pytest.mark.parametrize(("hint", "value", "sentence"), REFUSED, ids=lambda value: str(value)[:50])
def test_a_value_that_does_not_fit_is_named_with_its_path(hint: Any, value: Any, sentence: str) -> None:
    assert refusal(taking(hint), {"x": value}) == sentence
    assert refusal(taking(hint), [value]) == sentence.replace("params.x", "params[0]", 1)


def test_a_long_value_is_cut_in_the_sentence() -> None:
    assert len(refusal(taking(int), ["x" * 5000])) < 200


@pytest.mark.parametrize("name", ["password", "api_key", "access_token"])
def test_a_secret_is_left_out_of_the_sentence(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def function({name}: int): ...", namespace)
    assert refusal(namespace["function"], {name: "hunter2"}) == f"params.{name}: expected an integer"


# -- how arguments are given ----------------------------------------------------------------------


def test_arguments_are_given_by_position_or_by_name() -> None:
    def function(a: int, b: int = 2) -> tuple[int, int]:
        return a, b

    assert run(function, [1]) == run(function, {"a": 1}) == (1, 2)
    assert run(function, [1, 3]) == run(function, {"b": 3, "a": 1}) == (1, 3)


def test_missing_and_unknown_arguments_are_named() -> None:
    def function(a: int, b: int, c: int = 0) -> None: ...

    assert refusal(function, {"a": 1}) == 'params: the parameter "b" is missing'
    assert refusal(function, [1]) == 'params: the parameter "b" is missing'
    assert refusal(function, {}) == refusal(function, []) == 'params: the parameter "a" is missing'
    assert refusal(function, {"a": 1, "b": 2, "d": 3}) == 'params: there is no parameter "d"'
    assert refusal(function, [1, 2, 3, 4]) == "params: there are 3 parameters, got 4"


def test_a_method_without_parameters_takes_none() -> None:
    assert refusal(lambda: None, [1]) == "params: there are 0 parameters, got 1"
    assert refusal(lambda a: None, [1, 2]) == "params: there is 1 parameter, got 2"
    assert refusal(lambda: None, {"a": 1}) == 'params: there is no parameter "a"'


def test_a_method_without_annotations_takes_anything() -> None:
    def function(a, b=2):  # type: ignore[no-untyped-def]
        return a, b

    assert run(function, [[1, None]]) == ([1, None], 2)
    assert refusal(function, []) == 'params: the parameter "a" is missing'


def test_star_arguments_take_the_rest_and_are_checked() -> None:
    def function(a: int, *more: int, **named: str) -> Any:
        return a, more, named

    assert run(function, [1, 2, 3]) == (1, (2, 3), {})
    assert run(function, {"a": 1, "x": "y"}) == (1, (), {"x": "y"})
    assert refusal(function, [1, 2, "x"]) == 'params[2]: expected an integer, got "x"'
    assert refusal(function, {"a": 1, "x": 2}) == "params.x: expected a string, got 2"


def test_positional_only_parameters_have_names_for_clients() -> None:
    def function(a: int, /, b: int) -> Any:
        return a, b

    assert run(function, [1, 2]) == run(function, {"a": 1, "b": 2}) == (1, 2)


def test_keyword_only_parameters_are_given_by_name() -> None:
    def function(a: int, *, b: int, c: int = 3) -> Any:
        return a, b, c

    assert run(function, {"a": 1, "b": 2}) == (1, 2, 3)
    assert refusal(function, [1]) == 'params: the parameter "b" is missing'


def test_parameters_may_have_any_name() -> None:
    def function(self: int, cls: int = 1, p0: int = 2, __post_init__: int = 3) -> Any:
        return self, cls, p0, __post_init__

    assert run(function, {"self": 0, "__post_init__": 4}) == (0, 1, 2, 4)


def test_a_default_is_the_very_object_that_python_would_use() -> None:
    kept: list[int] = []

    def function(a: int, into: list[int] = kept) -> Any:
        return into

    assert run(function, [1]) is kept
    assert run(function, {"a": 1}) is kept


def test_a_decorated_function_is_checked_by_its_own_hints() -> None:
    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) + 1

        return wrapper

    @decorator
    def function(a: int) -> int:
        return a

    assert run(function, [1]) == 2
    assert refusal(function, ["x"]) == 'params[0]: expected an integer, got "x"'


def test_hints_may_name_classes_of_the_function_around() -> None:
    @dataclass
    class Local:
        a: int

    def function(x: Local) -> Local:
        return x

    assert run(function, [{"a": 1}]) == Local(1)


def test_a_hint_that_is_nowhere_is_reported_at_registration_with_its_place() -> None:
    def function(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError, match=r"function \(.*test_registry.py:\d+\) has a type hint .*'Nowhere'"):
        Method("m", function)


@pytest.mark.parametrize("hint", [complex, Callable[[], int], type, cabc.Sized])
def test_a_hint_that_no_json_can_become_is_refused_at_registration(hint: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot be the method 'm': the parameter 'x': "):
        Method("m", taking(hint))


def test_without_validation_arguments_are_only_counted_and_named() -> None:
    def function(a: int) -> int:
        return a

    method = Method("m", function, validate=False)
    assert method.bind(["x"]) == (("x",), {})
    method.check("x")
    with pytest.raises(InvalidParamsError):
        method.bind([])


@given(st.lists(st.integers()), st.dictionaries(st.text(st.characters(codec="ascii")), st.floats(allow_nan=False)))
def test_positions_and_names_come_to_the_same(numbers_: list[int], named: dict[str, float]) -> None:
    def function(a: list[int], b: dict[str, float]) -> Any:
        return a, b

    assert run(function, [numbers_, named]) == run(function, {"a": numbers_, "b": named}) == (numbers_, named)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_is_sent_is_taken_or_refused_with_a_sentence(value: Any) -> None:
    def function(x: Order | dict[str, Tree] | list[int | Dated]) -> None: ...

    method = Method("m", function)
    for params in ([value], {"x": value}, {"y": value}):
        sentence = ""
        try:
            method.bind(params)
        except InvalidParamsError as error:
            sentence = error.data["message"]
        assert not sentence or sentence.startswith("params")


# -- results ----------------------------------------------------------------------------------------

RIGHT: list[tuple[Any, Any]] = [
    (int, 3),
    (float, 3),
    (str, "x"),
    (None, None),
    (int | None, None),
    (list[int], [1]),
    (list[int], (1, 2)),
    (cabc.Iterator[int], iter([1])),
    (Item, Item("a")),
    (list[Item], [Item("a")]),
    (dict[str, Item | None], {"a": None}),
    (Movie, {"title": "M"}),
    (Positive, Positive(3)),
    (datetime | str, "x"),
    (bytes, b"x"),
    (numbers.Number, Decimal(1)),
    (set[int], {1}),
    (tuple[int, str], (1, "a")),
    (list[tuple[Item, int]], [(Item("a"), 1)]),
    (Level, Level.LOW),
    (int, Level.LOW),
    (Any, object()),
]
WRONG: list[tuple[Any, Any]] = [
    (int, "x"),
    (int, None),
    (None, 3),
    (list[int], [1, "x"]),
    (list[Item], [Item("a"), {"name": "b"}]),
    (Item, Plain("a")),
    (datetime | str, 3),
    (dict[str, int], {"a": "x"}),
]


@pytest.mark.parametrize(("hint", "value"), RIGHT, ids=lambda value: str(value)[:50])
def test_a_result_that_fits_its_hint_passes(hint: Any, value: Any) -> None:
    returning(hint).check(value)


@pytest.mark.parametrize(("hint", "value"), WRONG, ids=lambda value: str(value)[:50])
def test_a_result_that_does_not_fit_its_hint_is_refused(hint: Any, value: Any) -> None:
    with pytest.raises(WrongResult, match=r"the method 'm' returned .* its return hint"):
        returning(hint).check(value)


def test_a_result_without_a_hint_is_never_refused() -> None:
    Method("m", lambda: 3).check(object())


def test_checking_a_result_does_not_consume_it() -> None:
    numbers_ = (n for n in [1, 2])
    returning(cabc.Iterator[int]).check(numbers_)
    assert list(numbers_) == [1, 2]


def returning(hint: Any) -> Method:
    def function() -> Any: ...

    function.__annotations__ = {"return": hint}
    return Method("m", function)


# -- encoding ---------------------------------------------------------------------------------------

SAID: list[tuple[Any, bytes]] = [
    ({"b": 1, "a": 2}, b'{"b":1,"a":2}'),
    (float("nan"), b"null"),
    ([float("inf"), 2**65, float("nan")], b"[null,36893488147419103232,null]"),
    (2**100, str(2**100).encode()),
    ({1: "a", None: "b", Colour.RED: "c", 2**64: "d"}, b'{"1":"a","null":"b","red":"c","18446744073709551616":"d"}'),
    ({1.5: "a", date(2026, 1, 31): "b"}, b'{"1.5":"a","2026-01-31":"b"}'),
    (["é", 2**70], '["é",1180591620717411303424]'.encode()),
    ("é", '"é"'.encode()),
    (b"text", b'"text"'),
    (bytearray(b"text"), b'"text"'),
    (Decimal("1.10"), b'"1.10"'),
    (datetime(2026, 1, 31, 12, tzinfo=UTC), b'"2026-01-31T12:00:00+00:00"'),
    (timedelta(seconds=90), b'"PT90S"'),
    (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
    (Path("/tmp"), b'"/tmp"'),
    ({3}, b"[3]"),
    (collections.deque([1]), b"[1]"),
    ((n for n in [1, 2]), b"[1,2]"),
    ((n for n in [1, 2**70]), b"[1,1180591620717411303424]"),
    (range(3), b"[0,1,2]"),
    ({"a": 1}.keys(), b'["a"]'),
    (collections.ChainMap({"a": 1}), b'{"a":1}'),
    (Colour.RED, b'"red"'),
    (Point(1, 2), b"[1,2]"),
    (Item("a", 1.5), b'{"name":"a","price":1.5}'),
    (msgspec.convert({"name": "a"}, Item), b'{"name":"a","price":0}'),
    ({2**70: msgspec.convert({"name": "a"}, Item)}, b'{"1180591620717411303424":{"name":"a","price":0}}'),
    (Item("a", 2**70), b'{"name":"a","price":1180591620717411303424}'),
    (Robot("a", b"x"), b'{"name":"a","code":"x"}'),
    (Record(1), b'{"a":1}'),
    (Plain("a"), b'{"name":"a","size":1}'),
    ([Plain("a"), {Level.HIGH: {1}}], b'[{"name":"a","size":1},{"2":[1]}]'),
]


@pytest.mark.parametrize(("value", "expected"), SAID, ids=lambda value: repr(value)[:50])
def test_results_are_said_in_json(value: Any, expected: bytes) -> None:
    assert encode(value) == expected + b"\n"


def test_what_json_cannot_say_is_named() -> None:
    itself: list[Any] = []
    itself.append(itself)
    for value in (object(), print, pytest, ValueError("x"), 1j, b"\xff", itself, {(1, 2): 3}, 10**5000):
        with pytest.raises(Unserializable):
            encode([value])
    with pytest.raises(Unserializable, match="object has no form in JSON"):
        encode(object())
    for value in ("a\ud800", {"\udfff": 1}, [2**70, "\ud800"]):
        with pytest.raises(Unserializable, match="half of a surrogate pair, which is no character"):
            encode([value])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.decimals(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    )
)
def test_what_is_said_can_be_read_by_a_strict_parser(value: Any) -> None:
    content = encode(value)
    if b"\\ud" not in content:
        msgspec.json.decode(content)


# -- the registry, and what it tells -------------------------------------------------------------------


def test_a_name_of_the_specification_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="reserved"):
        Registry().add(Method("rpc.mine", lambda: None))


def test_a_second_method_of_a_name_takes_the_place_of_the_first_with_a_warning() -> None:
    registry = Registry()
    registry.add(Method("m", lambda: 1))
    second = Method("m", lambda: 2)
    with pytest.warns(UserWarning, match=r"replaces .* as the method 'm'"):
        registry.add(second)
    assert list(registry) == [second]
    assert registry.get("m") is second


def test_the_document_describes_parameters_and_results_in_json_schema() -> None:
    def order(
        items: list[Item], colour: Colour = Colour.RED, when: datetime | None = None, *more: int
    ) -> dict[str, int]:
        """Order some items.

        Longer text.
        """
        return {}

    described = document([Method("Shop.order", order)], "Shop", "1.2", "/api")
    assert described["info"] == {"title": "Shop", "version": "1.2"}
    (method,) = described["methods"]
    assert (method["name"], method["summary"], method["description"]) == (
        "Shop.order",
        "Order some items.",
        "Longer text.",
    )
    assert method["paramStructure"] == "either"
    assert method["x-more-positions"] is True
    items, colour, at = method["params"]
    assert items == {
        "name": "items",
        "required": True,
        "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
    }
    assert (colour["required"], colour["schema"]["default"]) == (False, "red")
    assert at["schema"]["anyOf"] == [{"type": "string", "format": "date-time"}, {"type": "null"}]
    assert method["result"]["schema"] == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert described["components"]["schemas"]["Item"]["required"] == ["name"]
    assert described["components"]["schemas"]["Colour"]["enum"] == ["red", "blue"]


@pytest.mark.parametrize(("hint", "value", "expected"), ACCEPTED, ids=lambda value: str(value)[:50])
def test_every_hint_has_a_schema(hint: Any, value: Any, expected: Any) -> None:
    (parameter,) = Method("m", taking(hint)).parameters.named
    (schema,), _ = describe_types([parameter.type])
    assert isinstance(schema, dict)


# -- what would cost the server more than an answer ---------------------------------------------------


@pytest.mark.parametrize("text", ["1e1000000000", "1E5/3", "1" * 1001], ids=lambda text: text[:12])
def test_a_fraction_whose_digits_would_fill_the_memory_is_refused(text: str) -> None:
    assert refusal(taking(Fraction), [text]).startswith("params[0]: Invalid Fraction, got ")


def test_an_address_may_have_an_e_in_it() -> None:
    assert run(taking(ipaddress.IPv6Address), ["::1e5"]) == ipaddress.IPv6Address("::1e5")


def test_a_name_that_looks_like_an_index_is_refused_in_words() -> None:
    def function(**named: str) -> None: ...

    assert refusal(function, {f"[{'9' * 5000}]": 1}).endswith(": expected a string")


def test_a_secret_inside_of_what_was_sent_is_left_out_of_the_sentence() -> None:
    @dataclass
    class Login:
        user: str
        password: str

        def __post_init__(self) -> None:
            raise ValueError("the password is too short")

    for value in ({"user": "a", "password": "hunter2"}, [[{"logins": {"api_key": "hunter2"}}]]):
        assert "hunter2" not in refusal(taking(Login), [value])


def test_what_an_object_holds_that_is_a_default_is_not_told() -> None:
    class Service:
        def __init__(self) -> None:
            self.token = "hunter2"

    def function(a: int, service: Any = Service(), where: Path = Path("/tmp"), who: Item = Item("x")) -> None: ...  # noqa: B008

    (method,) = document([Method("m", function)], "t", "1", "/")["methods"]
    assert [param["schema"].get("default") for param in method["params"]] == [
        None,
        None,
        "/tmp",
        {"name": "x", "price": 0},
    ]


# -- what hints say that is easily misread -----------------------------------------------------------

T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Labelled(Generic[T]):
    inner: Box[T]
    when: date | str = "soon"


class Crate(TypedDict, Generic[T]):
    content: T


class Parsed:
    when: date  # what it is made of is a text

    def __init__(self, when: str) -> None:
        self.when = date.fromisoformat(when)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)


class Made:
    value: int

    def __new__(cls, value: int) -> Made:
        made = super().__new__(cls)
        made.value = value
        return made


class Bottles(int):
    pass


class Litres(float):
    pass


@dataclass
class Keyed:
    _: KW_ONLY
    a: int = 1
    log: ClassVar[Callable[..., None]] = print


@dataclass
class Summed:
    price: int
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.price * 2


@dataclass(init=False)
class Guarded:
    n: int

    def __init__(self, n: int) -> None:
        if n < 0:
            raise ValueError("n is negative")
        self.n = n


@attrs.define
class GuardedRobot:
    n: int

    def __init__(self, n: int) -> None:
        if n < 0:
            raise ValueError("n is negative")
        self.__attrs_init__(n)


Plural = NewType("Plural", Annotated[int, Minimum(2)])


@dataclass
class Ordered:
    count: Plural


MISREAD: list[tuple[Any, Any, Any]] = [
    (Box[bytes], {"content": "é"}, Box("é".encode())),
    (Box[Path], {"content": "/tmp"}, Box(Path("/tmp"))),
    (Labelled[date], {"inner": {"content": "2026-01-31"}}, Labelled(Box(date(2026, 1, 31)))),
    (Crate[bytes], {"content": "é"}, {"content": "é".encode()}),
    (Parsed, {"when": "2026-01-31"}, Parsed("2026-01-31")),
    (Bottles, 3, Bottles(3)),
    (Litres, 1.5, Litres(1.5)),
    (Keyed, {"a": 2}, Keyed(a=2)),
    (Movie, {"title": "M"}, {"title": "M"}),
    (Summed, {"price": 2}, Summed(2)),
    (LiteralString, "x", "x"),
    (str | bytes, "é", "é"),
    (bytes | str, "é", "é".encode()),
    (Annotated[str, "a note"] | date, "2026-01-31", date(2026, 1, 31)),
    (float | int | Path, 2**60 + 1, 2**60 + 1),
    (dict[Path, int], {"/tmp": 1}, {Path("/tmp"): 1}),
    (dict[bytes, int], {"é": 1}, {"é".encode(): 1}),
    (dict[Decimal, int], {"1.10": 1}, {Decimal("1.10"): 1}),
    (dict[timedelta, int], {"PT90S": 1}, {timedelta(seconds=90): 1}),
    (dict[ipaddress.IPv4Address, int], {"127.0.0.1": 1}, {ipaddress.IPv4Address("127.0.0.1"): 1}),
]


@pytest.mark.parametrize(("hint", "value", "expected"), MISREAD, ids=lambda value: str(value)[:50])
def test_a_hint_means_what_python_means_by_it_and_its_value_can_be_said(hint: Any, value: Any, expected: Any) -> None:
    got = run(taking(hint), [value])
    assert got == expected
    assert type(got) is type(expected)
    assert returning(hint).check(got) == got
    said = msgspec.json.decode(encode(got))
    assert said == value or value.items() <= said.items()


@pytest.mark.parametrize(
    ("hint", "value", "sentence"),
    [
        (Box[bytes], {"content": 3}, "params[0].content: expected a string, got 3"),
        (Labelled[int], {"inner": {"content": "x"}}, 'params[0].inner.content: expected an integer, got "x"'),
        (Made, {"value": "x"}, 'params[0].value: expected an integer, got "x"'),
        (Summed, {"price": 2, "total": 0}, 'params[0]: there is no member "total"'),
        (Guarded, {"n": -1}, 'params[0]: n is negative, got {"n":-1}'),
        (GuardedRobot, {"n": -1}, 'params[0]: n is negative, got {"n":-1}'),
        (dict[ipaddress.IPv4Address, int], {"x": 1}, "params[0]: a key: Invalid IPv4Address"),
        (set, [[1]], "params: expected a set without arrays and objects in it, got [[[1]]]"),
        (set[Any], [{}], "params: expected a set without arrays and objects in it, got [[{}]]"),
        (
            Ordered,
            {"count": 1},
            "params[0].count: ensure the value of the parameter 'value' is greater than or equal to 2, got 1",
        ),
        (
            list[Annotated[int, Minimum(1)]],
            [0],
            "params[0][0]: ensure the value of the parameter 'value' is greater than or equal to 1, got 0",
        ),
        (
            Annotated[int, Minimum(1)] | None,
            0,
            "params[0]: ensure the value of the parameter 'value' is greater than or equal to 1, got 0",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_does_not_fit_such_a_hint_is_refused(hint: Any, value: Any, sentence: str) -> None:
    assert refusal(taking(hint), [value]) == sentence


def test_what_is_stated_of_star_arguments_holds_for_each() -> None:
    def function(*more: Annotated[int, Minimum(1)], **named: Annotated[str, MinLength(2)]) -> Any:
        return more, named

    assert run(function, [1, 2]) == ((1, 2), {})
    assert "'more' is greater than or equal to 1" in refusal(function, [1, 0])
    assert "'a' is greater than or equal to 2" in refusal(function, {"a": "x"})


def test_generic_classes_are_described_for_what_is_in_the_brackets() -> None:
    def function(a: Labelled[int], b: Labelled[bool]) -> None: ...

    (method,) = (described := document([Method("m", function)], "t", "1", "/"))["methods"]
    schemas = described["components"]["schemas"]
    inner = [schemas[param["schema"]["$ref"].rpartition("/")[2]]["properties"]["inner"] for param in method["params"]]
    contents = [schemas[schema["$ref"].rpartition("/")[2]]["properties"]["content"] for schema in inner]
    assert contents == [{"type": "integer"}, {"type": "boolean"}]


def test_a_dataclass_may_derive_from_one_whose_hints_only_its_module_knows() -> None:
    base = ModuleType("base")
    sys.modules["base"] = base
    lines = [
        "from __future__ import annotations",
        "from dataclasses import dataclass",
        "from datetime import date as D",
    ]
    exec("\n".join([*lines, "@dataclass", "class Base:", "    when: D | str"]), vars(base))
    try:
        derived = dataclass(type("Derived", (base.Base,), {"__annotations__": {"n": int}, "n": 0}))
        assert run(taking(derived), [{"when": "2026-01-31"}]) == derived(date(2026, 1, 31))
    finally:
        del sys.modules["base"]


def test_classes_that_all_hold_one_another_are_read_without_following_each_path() -> None:
    names = [f"Node{number}" for number in range(14)]
    nodes = ModuleType("nodes")
    sys.modules["nodes"] = nodes
    members = "\n".join(f"    m_{name}: {name} | None = None" for name in names)
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    exec(
        head + "".join(f"@dataclass\nclass {name}:\n{members}\n    code: bytes = b''\n" for name in names), vars(nodes)
    )
    try:
        # Along each path there would be 14! of them.
        got = run(taking(nodes.Node0), [{"m_Node1": {"m_Node0": {"code": "é"}}}])
    finally:
        del sys.modules["nodes"]
    assert got.m_Node1.m_Node0.code == "é".encode()
