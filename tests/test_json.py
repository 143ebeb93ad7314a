"""JSON, byte for byte what the standard library's encoder writes with Flask's settings."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
import json
import math
import struct
import uuid
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from werkzeug.http import http_date

import demijohn
from demijohn import Flask, jsonify
from demijohn.json.provider import DefaultJSONProvider, JSONProvider


@pytest.fixture
def app() -> Flask:
    return Flask(__name__)


@pytest.fixture
def provider(app: Flask) -> DefaultJSONProvider:
    assert isinstance(app.json, DefaultJSONProvider)
    return app.json


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None


class Text(str):
    __slots__ = ()

    def __html__(self) -> str:
        return "never written: a str is written as it is"


class Number(int):
    pass


class Widget:
    def __html__(self) -> str:
        return "<b>ä</b>"


class Colour(enum.Enum):
    RED = "red"


Pair = namedtuple("Pair", "a b")


def reference_default(o: Any) -> Any:
    """What Flask's documentation promises for other types, written the plain way."""
    if isinstance(o, datetime.date):
        return http_date(o)
    if isinstance(o, decimal.Decimal | uuid.UUID):
        return str(o)
    if dataclasses.is_dataclass(o) and not isinstance(o, type):
        return dataclasses.asdict(o)
    if hasattr(o, "__html__"):
        return str(o.__html__())
    raise TypeError(f"Object of type {type(o).__name__} is not JSON serializable")


floats = st.one_of(
    st.floats(),
    st.floats(min_value=1e-8, max_value=1e-3),
    st.floats(min_value=1e14, max_value=1e18),
    st.sampled_from([1e-5, 1e-7, 1e16, 1e22, 5e-324, -0.0, 1.7976931348623157e308, math.inf, -math.inf, math.nan]),
)
texts = st.one_of(
    st.text(max_size=20),
    st.text(alphabet='\x00\x1f\x7f\x80"\\/é€😀\ud800\u2028ae0123456789-+.null', max_size=20),
    st.sampled_from(["null", "1e5", "0.00001", "\x7f", "1e-7"]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**65), max_value=2**65),
    floats,
    texts,
    texts.map(Text),
    st.integers().map(Number),
    st.dates(min_value=datetime.date(1900, 1, 1)),
    st.datetimes(min_value=datetime.datetime(1900, 1, 1), timezones=st.none() | st.just(datetime.UTC)),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.builds(Widget),
    texts.map(Markup),
)
keys = st.one_of(texts, texts.map(Text))
odd_keys = st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(odd_keys, inner, max_size=2),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner),
    )


values = st.recursive(scalars, containers, max_leaves=12)


def outcome(write: Any, obj: Any) -> Any:
    """What writing gives: the content, or the type of the error."""
    try:
        return write(obj)
    except Exception as error:  # compared with what the reference raises
        return type(error)


@settings(max_examples=400, deadline=None)
@given(value=values, sort_keys=st.booleans(), ensure_ascii=st.booleans())
@example(value={"é\x7f": 1}, sort_keys=True, ensure_ascii=True)
@example(value={"a": {1: 2, "b": 3}}, sort_keys=True, ensure_ascii=True)
@example(value=[Text("<a>"), Number(3), Pair(1, [2])], sort_keys=False, ensure_ascii=False)
@example(value="\ud83d\ude00\ud800", sort_keys=True, ensure_ascii=True)
def test_content_is_what_the_standard_library_writes(value: Any, sort_keys: bool, ensure_ascii: bool) -> None:
    app = Flask(__name__)
    provider = app.json
    assert isinstance(provider, DefaultJSONProvider)
    provider.sort_keys = sort_keys
    provider.ensure_ascii = ensure_ascii
    options: dict[str, Any] = {
        "default": reference_default,
        "sort_keys": sort_keys,
        "ensure_ascii": ensure_ascii,
    }
    compact = outcome(lambda o: (json.dumps(o, separators=(",", ":"), **options) + "\n").encode(), value)
    assert outcome(provider.dumps_bytes, value) == compact
    assert outcome(lambda o: provider.response(o).get_data(), value) == compact  # type: ignore[attr-defined]
    assert outcome(provider.dumps, value) == outcome(lambda o: json.dumps(o, **options), value)
    provider.compact = False
    indented = outcome(lambda o: (json.dumps(o, indent=2, **options) + "\n").encode(), value)
    assert outcome(provider.dumps_bytes, value) == indented


@settings(max_examples=400, deadline=None)
@given(value=floats)
@example(value=1e-05)
@example(value=1e-07)
@example(value=1e16)
@example(value=math.nan)
def test_a_float_is_spelled_as_python_spells_it(value: float) -> None:
    app = Flask(__name__)
    assert isinstance(app.json, DefaultJSONProvider)
    assert app.json.dumps_bytes([value]) == f"[{json.dumps(value)}]\n".encode()


nulls = st.recursive(
    st.one_of(st.none(), floats, st.integers(), st.booleans(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=3), inner, max_size=5)),
    max_leaves=15,
)


@settings(max_examples=400, deadline=None)
@given(value=nulls)
@example(value=[None, math.inf])
@example(value=[None, -math.inf])
@example(value=[None, -math.nan])
@example(value=[None, struct.unpack("<d", b"\1\2\3\4\5\6\xf7\xff")[0]])
@example(value=[None, struct.unpack("<d", b"\1\2\3\4\5\6\xff\x7f")[0]])
def test_none_and_not_a_number_are_told_apart(value: Any) -> None:
    app = Flask(__name__)
    assert isinstance(app.json, DefaultJSONProvider)
    written = json.dumps({"v": value, "n": None}, sort_keys=True, separators=(",", ":"))
    assert app.json.dumps_bytes({"v": value, "n": None}) == f"{written}\n".encode()


def read_outcome(read: Any, text: str | bytes) -> str:
    try:
        return repr(read(text))
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


@given(
    st.recursive(st.text() | st.integers() | st.floats() | st.none() | st.booleans(), containers, max_leaves=10).map(
        lambda value: json.dumps(value, default=repr, skipkeys=True)
    )
    | st.text(alphabet='0123456789-+.eE[]{},:" \\u\ud800', max_size=30)
    | st.integers(-(1 << 70), 1 << 70).map(str),
    st.sampled_from(["str", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"]),
)
@example("1e400", "str")
@example("18446744073709551616", "str")
@example("-9223372036854775809", "utf-8")
@example("[NaN, -Infinity]", "utf-8")
@example('"\\ud800"', "str")
@example('{"a": 1, "a": 2}', "utf-8")
@example("[" * 3, "utf-8")
@example("9" * 5000, "utf-8")
@example("-0", "utf-8")
@example('"\x7f\u2028"', "utf-8")
def test_content_is_read_as_the_standard_library_reads_it(text: str, encoding: str) -> None:
    content = text if encoding == "str" else text.encode(encoding, "surrogatepass")
    provider = DefaultJSONProvider(Flask(__name__))
    assert read_outcome(provider.loads, content) == read_outcome(json.loads, content)


def test_an_enum_is_written_as_its_value_on_every_way(provider: DefaultJSONProvider) -> None:
    assert provider.dumps({"c": Colour.RED}) == '{"c": "red"}'
    assert provider.dumps_bytes({"c": Colour.RED}) == b'{"c":"red"}\n'
    assert provider.dumps_bytes({"c": Colour.RED, "n": None}) == b'{"c":"red","n":null}\n'


def test_what_json_cannot_say_is_named(provider: DefaultJSONProvider) -> None:
    with pytest.raises(TypeError, match="Object of type set is not JSON serializable"):
        provider.dumps({1})
    with pytest.raises(TypeError, match="Object of type type is not JSON serializable"):
        provider.dumps(Point)


def test_a_circle_is_refused_and_leaves_nothing_behind(provider: DefaultJSONProvider) -> None:
    circle: list[Any] = []
    circle.append(circle)
    for _ in range(2):
        with pytest.raises(ValueError, match="Circular"):
            provider.dumps_bytes(circle)
    circle.clear()
    assert provider.dumps_bytes(circle) == b"[]\n"


def test_responses_are_indented_in_debug_mode_unless_compact_says_otherwise(app: Flask) -> None:
    with app.app_context():
        assert jsonify(a=[1]).get_data() == b'{"a":[1]}\n'
        app.debug = True
        assert jsonify(a=[1]).get_data() == b'{\n  "a": [\n    1\n  ]\n}\n'
        app.json.compact = True  # type: ignore[attr-defined]
        assert jsonify(a=[1]).get_data() == b'{"a":[1]}\n'
        app.debug = False
        app.json.compact = False  # type: ignore[attr-defined]
        assert jsonify(a=1).get_data() == b'{\n  "a": 1\n}\n'


def test_jsonify_takes_one_value_or_several_or_names(app: Flask) -> None:
    with app.app_context():
        assert jsonify().get_data() == b"null\n"
        assert jsonify([1]).get_data() == b"[1]\n"
        assert jsonify(1, "b").get_data() == b'[1,"b"]\n'
        assert jsonify(b=2, a=1).get_data() == b'{"a":1,"b":2}\n'
        assert jsonify(1).mimetype == "application/json"
        app.json.mimetype = "application/vnd.api+json"  # type: ignore[attr-defined]
        assert jsonify(1).mimetype == "application/vnd.api+json"
        with pytest.raises(TypeError, match="either args or kwargs, and got 1 of the first together with a"):
            jsonify(1, a=2)


def test_settings_of_an_instance_take_effect_at_once(provider: DefaultJSONProvider) -> None:
    assert provider.dumps({"b": "é", "a": 1}) == '{"a": 1, "b": "\\u00e9"}'
    assert provider.dumps_bytes({"b": 1, "a": 2}) == b'{"a":2,"b":1}\n'
    provider.sort_keys = False
    provider.ensure_ascii = False
    assert provider.dumps({"b": "é", "a": 1}) == '{"b": "é", "a": 1}'
    assert provider.dumps_bytes({"b": "é", "a": 2}) == '{"b":"é","a":2}\n'.encode()
    provider.default = lambda o: f"<{type(o).__name__}>"
    assert provider.dumps_bytes([{1}, datetime.date(2020, 1, 1), Colour.RED]) == b'["<set>","<date>","<Colour>"]\n'
    assert provider.dumps({1}) == '"<set>"'


def test_content_goes_through_a_dumps_that_was_replaced(
    provider: DefaultJSONProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loud(DefaultJSONProvider):
        def dumps(self, obj: Any, **kwargs: Any) -> str:
            return super().dumps(obj, **kwargs).upper()

    class App(Flask):
        json_provider_class = Loud

    loud = App(__name__)
    assert loud.json.dumps_bytes({"a": 1}) == b'{"A":1}\n'  # type: ignore[attr-defined]
    monkeypatch.setattr(provider, "dumps", lambda obj, **kwargs: "instance")
    assert provider.dumps_bytes({}) == b"instance\n"
    monkeypatch.undo()
    monkeypatch.setattr(DefaultJSONProvider, "dumps", lambda self, obj, **kwargs: "class")
    assert provider.dumps_bytes({}) == b"class\n"


def test_a_provider_of_ones_own_needs_dumps_and_loads_only() -> None:
    class Reversed(JSONProvider):
        def dumps(self, obj: Any, **kwargs: Any) -> str:
            return json.dumps(obj)[::-1]

        def loads(self, s: str | bytes, **kwargs: Any) -> Any:
            return json.loads(s[::-1])

    app = Flask(__name__)
    app.json = Reversed(app)

    @app.post("/")
    def echo() -> Any:
        return demijohn.request.get_json()

    with app.app_context():
        assert jsonify([1, 2]).get_data() == b"]2 ,1["
        file = io.StringIO()
        demijohn.json.dump({"a": 1}, file)
        assert file.getvalue() == '}1 :"a"{'
        file.seek(0)
        assert demijohn.json.load(file) == {"a": 1}
    assert app.test_client().post("/", data='}1 :"a"{', content_type="application/json").get_data() == b'}1 :"a"{'


def test_a_provider_without_dumps_says_so(app: Flask) -> None:
    provider = JSONProvider(app)
    with pytest.raises(NotImplementedError):
        provider.dumps(1)
    with pytest.raises(NotImplementedError):
        provider.loads("1")


def test_module_functions_work_without_an_application() -> None:
    point = Point(1, uuid.UUID(int=0))
    assert json.loads(demijohn.json.dumps(point)) == {"x": 1, "y": "00000000-0000-0000-0000-000000000000"}
    assert demijohn.json.dumps({"b": 1, "a": 2}) == '{"b": 1, "a": 2}'
    assert demijohn.json.loads(b'{"a": NaN}', parse_constant=str) == {"a": "NaN"}
    file = io.StringIO()
    demijohn.json.dump([point.x], file, indent=1)
    file.seek(0)
    assert demijohn.json.load(file) == [1]


def test_module_functions_use_the_current_application(app: Flask) -> None:
    with app.app_context():
        assert demijohn.json.dumps({"b": 1, "a": 2}) == '{"a": 2, "b": 1}'
        assert demijohn.json.dumps({"b": 1, "a": 2}, sort_keys=False) == '{"b": 1, "a": 2}'
        assert demijohn.json.dumps({"a": 1}, indent=1) == '{\n "a": 1\n}'
        assert demijohn.json.loads('{"a": 1, "a": 2}') == {"a": 2}


def test_templates_write_json_as_the_application_does(app: Flask) -> None:
    with app.app_context():
        text = demijohn.render_template_string("{{ v|tojson }}", v={"b": "</script>", "a": datetime.date(2021, 2, 1)})
    assert text == '{"a": "Mon, 01 Feb 2021 00:00:00 GMT", "b": "\\u003c/script\\u003e"}'
