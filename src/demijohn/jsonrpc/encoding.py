"""Results to JSON: what Python returns, as bytes that every JSON parser reads.

What JSON has no word for is said in the form in which a parameter of that type is read: dates and times by RFC 3339,
UUID, Decimal and paths as strings, bytes as the UTF-8 text they hold (in a msgspec Struct, as base64), an Enum by its
value, sets and iterators as arrays, objects by their public attributes. NaN and the infinities become null: RFC 8259
section 6 has no word for them. Half of a surrogate pair is refused: section 8.2 leaves open what a receiver makes of
it, and some refuse all that comes with it.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import ModuleType
from typing import Any

import msgspec
import orjson

from .science import writer_of

# Without the last, orjson takes a dataclass's members from its `__dict__`, where msgspec puts no defaults.
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS


class Unserializable(TypeError):
    """A value that cannot be said in JSON; the text names it."""


class BrokenIterator(Exception):
    """An iterator raised an exception of its own, the cause of this one."""


def encode(value: Any) -> bytes:
    """Return `value` as JSON in UTF-8, ended by a newline.

    Raises Unserializable, BrokenIterator, and what attributes of a value raise.
    """
    try:
        return orjson.dumps(value, _simpler_again, _OPTIONS)  # encode_simple, without one more call
    except orjson.JSONEncodeError:
        # Integers over 64 bits, keys that are no strings, lone surrogates, nesting over 254, iterators.
        return _encode_slowly(value)


def encode_simple(value: Any) -> bytes:
    """Do what `encode` does for values without rarities, and without an iterator, which could be gone through once.

    Raises orjson.JSONEncodeError for others.
    """
    return orjson.dumps(value, _simpler_again, _OPTIONS)


def _encode_slowly(value: Any) -> bytes:
    try:
        text = json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode() + b"\n"
    except RecursionError:
        raise Unserializable("it is nested too deeply, or contains itself") from None
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise Unserializable(f"a text in it holds {half!r}, half of a surrogate pair, which is no character") from None
    except (TypeError, ValueError) as error:
        raise Unserializable(str(error)) from error


def _simpler_again(value: Any) -> Any:
    """Return what `_simpler` does, but refuse an iterator."""
    if (members := _members_of(value)) is not None:
        return members
    if isinstance(value, Iterator):
        raise TypeError
    return _simpler(value)


def _simpler(value: Any) -> Any:
    """Return something nearer to JSON that stands for `value`; raise TypeError when nothing does."""
    if (members := _members_of(value)) is not None:
        return members
    if write := writer_of(value):
        return write(value)
    if type(value).__module__.startswith("pydantic") and not hasattr(value, "model_dump_json"):
        return sys.modules["pydantic_core"].to_jsonable_python(value)  # a URL, a secret
    for kinds, simplify in _SIMPLER:
        if isinstance(value, kinds):
            return simplify(value)
    for attribute, simplify in _SIMPLER_BY_ATTRIBUTE:
        if hasattr(value, attribute):
            return simplify(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return _items_of(value)
    return _attributes_of(value)


def _attributes_of(value: Any) -> dict[str, Any]:
    if hasattr(value, "__dict__") and not callable(value) and not isinstance(value, ModuleType | BaseException):
        return {name: item for name, item in vars(value).items() if not name.startswith("_")}
    raise TypeError(f"{type(value).__qualname__} has no form in JSON")


def is_of_plain_class(value: Any) -> bool:
    """Whether nothing but its public attributes stands for a value."""
    kinds = tuple(kind for kinds, _ in _SIMPLER for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
    has_form = (
        is_dataclass(value)
        or writer_of(value) is not None
        or isinstance(value, (*kinds, Mapping, Iterable, int, float))
        or any(hasattr(value, attribute) for attribute, _ in _SIMPLER_BY_ATTRIBUTE)
        or type(value).__module__.startswith("pydantic")
    )
    return hasattr(value, "__dict__") and not has_form


def _items_of(iterable: Iterable[Any]) -> list[Any]:
    try:
        return list(iterable)
    except Exception as error:  # a generator is code of the method's
        raise BrokenIterator(f"{type(error).__name__}: {error}") from error


def _members_of(value: Any) -> dict[str, Any] | None:
    """Return the members of a dataclass's instance that are not its own; None for another value."""
    kind: Any = type(value)
    names = _member_names(kind)
    if names is None:
        return None
    members: dict[str, Any] = getattr(value, "__dict__", {})
    # A list of 100 takes 45 us this way, 110 with all by getattr; orjson alone, which misses some, 10.
    return members if members.keys() == names.keys() else {name: getattr(value, name) for name in names}


@lru_cache(maxsize=1024)
def _member_names(cls: Any) -> dict[str, None] | None:
    """Return the names of a dataclass's members in their order; None for another class."""
    if not is_dataclass(cls):
        return None
    return dict.fromkeys(field.name for field in fields(cls) if not field.name.startswith("_"))


def _text(value: bytes | bytearray | memoryview) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise TypeError("bytes that are no UTF-8 text have no form in JSON: return them as base64") from None


_SIMPLER: list[tuple[Any, Callable[[Any], Any]]] = [
    (float, float),  # of a class of the user's own
    ((bytes, bytearray, memoryview), _text),
    (Decimal, str),
    (os.PathLike, os.fspath),
    (Enum, lambda value: value.value),
    (time, time.isoformat),  # with an offset; one without is known to orjson
    (msgspec.Struct, lambda value: msgspec.to_builtins(value, enc_hook=_simpler_again)),  # which reads bytes as base64
]
_SIMPLER_BY_ATTRIBUTE: list[tuple[str, Callable[[Any], Any]]] = [
    ("model_dump_json", lambda model: json.loads(model.model_dump_json(by_alias=True))),  # pydantic; orjson would round
    ("__attrs_attrs__", lambda value: {field.name: getattr(value, field.name) for field in value.__attrs_attrs__}),
    ("tolist", lambda array: array.tolist()),  # arrays of other libraries
    ("limit_denominator", str),  # fractions.Fraction
    ("max_prefixlen", str),  # addresses and networks of ipaddress
    ("__html__", lambda value: str(value.__html__())),
    ("total_seconds", lambda value: msgspec.to_builtins(value)),  # timedelta, as an ISO 8601 duration
]


def _plain(value: Any) -> Any:
    """Return `value` as what `json.dumps` writes without help."""
    if value is None or isinstance(value, str | bool | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    try:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATACLASS))
    except orjson.JSONEncodeError:
        return _plain(_simpler(value))


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    if type(key) is int:
        return str(key)
    if write := writer_of(key):
        return _key(write(key))
    try:
        ((text, _),) = orjson.loads(orjson.dumps({key: 0}, option=orjson.OPT_NON_STR_KEYS)).items()
    except orjson.JSONEncodeError:
        if isinstance(text := _simpler(key), str):  # a Decimal, a path, an address
            return text
        raise
    return str(text)
