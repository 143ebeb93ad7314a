"""The JSON of the session cookie: types JSON does not know come back as they were."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from demijohn.json.tag import JSONTag, TaggedJSONSerializer

tags = [" t", " b", " m", " u", " d", " di"]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.text().map(Markup),
    st.uuids(),
    st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)).map(
        lambda d: d.replace(microsecond=0, fold=0)
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.sampled_from(tags), st.just(" t__")), inner, max_size=2),
    ),
    max_leaves=8,
)


@given(values)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    serializer = TaggedJSONSerializer()
    back = serializer.loads(serializer.dumps(value))
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ((1, [2, (3,)]), {" t": [1, [2, {" t": [3]}]]}),
        (b"\xff", {" b": "/w=="}),
        (Markup("<b>"), {" m": "<b>"}),
        (UUID(int=1), {" u": "00000000000000000000000000000001"}),
        (datetime(2020, 1, 1, tzinfo=UTC), {" d": "Wed, 01 Jan 2020 00:00:00 GMT"}),
        ({" t": "x"}, {" di": {" t__": "x"}}),
        ({" t": "x", "a": 1}, {" t": "x", "a": 1}),
    ],
)
def test_the_format_is_the_one_cookies_have(value: Any, written: Any) -> None:
    text = TaggedJSONSerializer().dumps(value)
    assert json.loads(text) == written
    assert ": " not in text.replace("00:00:00", "")


def test_an_unknown_tag_is_data() -> None:
    assert TaggedJSONSerializer().loads('{" x": 1}') == {" x": 1}


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


class TagCelsius(JSONTag):
    __slots__ = ()
    key = " C"

    def check(self, value: Any) -> bool:
        return isinstance(value, Celsius)

    def to_json(self, value: Any) -> Any:
        return value.degrees

    def to_python(self, value: Any) -> Any:
        return Celsius(value)


def test_a_tag_of_ones_own_can_be_registered_once() -> None:
    serializer = TaggedJSONSerializer()
    serializer.register(TagCelsius)
    assert serializer.loads(serializer.dumps([Celsius(21.5)]))[0].degrees == 21.5
    with pytest.raises(KeyError, match="' C' is already registered"):
        serializer.register(TagCelsius)
    serializer.register(TagCelsius, force=True, index=0)
    assert isinstance(serializer.order[0], TagCelsius)
    assert serializer.tags[" C"] is serializer.order[0]


def test_a_special_case_goes_before_the_general_one() -> None:
    class TagEmptyDict(JSONTag):
        __slots__ = ()
        key = " e"

        def check(self, value: Any) -> bool:
            return value == {}

        def to_json(self, value: Any) -> Any:
            return 0

        def to_python(self, value: Any) -> Any:
            return {}

    serializer = TaggedJSONSerializer()
    serializer.register(TagEmptyDict)
    assert serializer.dumps({}) == "{}"
    first = TaggedJSONSerializer()
    first.register(TagEmptyDict, index=0)
    assert first.dumps([{}]) == '[{" e":0}]'


def test_a_tag_must_say_all_three_things() -> None:
    tag = JSONTag(TaggedJSONSerializer())
    for method in (tag.check, tag.to_json, tag.to_python):
        with pytest.raises(NotImplementedError):
            method(1)
