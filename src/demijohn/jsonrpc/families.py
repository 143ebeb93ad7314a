"""Readers for families of classes that `msgspec` does not know, or reads otherwise than we promise."""

from __future__ import annotations

import collections
import collections.abc as cabc
import numbers
import pathlib
import re
import typing as t
from decimal import Decimal
from enum import Enum, Flag

import msgspec

from .converting import AT, EXPECTED, Hint, convert, converted, expect, is_known


class Compiler(t.Protocol):
    """What compiles the hints that stand in the brackets of a class."""

    def container(self, kind: t.Any, arguments: tuple[t.Any, ...]) -> Hint: ...


def one_of(members: list[Hint]) -> Hint:
    """The union of what msgspec does not take together: the first member that fits, a plain string last."""
    # Every date is a string too: were `str` tried first, nothing else would ever be. Bytes are read from any string,
    # so that of the two the one that was written first counts. A float would round a large integer.
    has_int = int in members
    ordered = sorted(members, key=lambda member: (_takes_any_text(member), has_int and member is float))

    def convert_first(value: t.Any) -> t.Any:
        failures = []
        for member in ordered:
            try:
                return convert(value, member)
            except msgspec.ValidationError as error:
                failures.append(str(error))
        raise ValueError(_nearest(failures))

    return converted("Union", convert_first, lambda describe: {"anyOf": [describe(member) for member in members]})


def _takes_any_text(member: Hint) -> bool:
    origin: t.Any = t.get_origin(member)
    plain = t.get_args(member)[0] if origin is t.Annotated else member
    return plain is str or (isinstance(plain, type) and getattr(plain, "takes_any_text", False))


def _nearest(failures: list[str]) -> str:
    """Return the failure that came deepest into the value, or all expectations in one sentence."""
    deepest = max(failures, key=lambda text: len(text.rpartition(AT)[2]) if AT in text else 0)
    if AT in deepest:
        return deepest
    expected, got = [], ""
    for text in failures:
        if not (match := EXPECTED.fullmatch(text)):
            return text
        expected.append(match[1])
        got = match[3]
    return f"Expected `{' | '.join(expected)}`, got `{got}`"


def by_key(key: Hint, item: Hint) -> Hint:
    """An object whose keys have a reader of ours."""

    def read(value: t.Any) -> t.Any:
        return {_key(name, key): made for name, made in convert(value, dict[str, item]).items()}

    return converted("dict", read, lambda describe: describe(dict[str, item]))


def _key(name: str, key: Hint) -> t.Any:
    try:
        return convert(name, key)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{error}{AT}key` in `$`") from None


def text_bytes(cls: t.Any) -> Hint:
    make = bytes if cls is _BUFFER else cls
    made = converted(cls.__name__, lambda value: make(expect(value, str).encode()), lambda _: {"type": "string"})
    made.takes_any_text = True
    return made


# Classes of the standard library whose constructors read what `str` writes, and what JSON Schema calls it.
_TEXTS = {
    "fractions.Fraction": None,
    "ipaddress.IPv4Address": "ipv4",
    "ipaddress.IPv6Address": "ipv6",
    **dict.fromkeys(f"ipaddress.IPv{version}{kind}" for version in (4, 6) for kind in ("Network", "Interface")),
}


_EXPONENT = re.compile(r"[eE]")  # Fraction would write the digits of "1e1000000000" out; `str` writes none with one
_LONGEST = 1000  # characters


def maybe_text(cls: t.Any) -> Hint | None:
    """Return what reads a class that is a text in JSON; None for another class."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    if name not in _TEXTS:
        return None

    def read(value: t.Any) -> t.Any:
        if len(expect(value, str)) > _LONGEST or (name == "fractions.Fraction" and _EXPONENT.search(value)):
            raise ValueError(f"Invalid {cls.__name__}")
        try:
            return cls(value)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"Invalid {cls.__name__}") from None

    schema = {"type": "string"} | ({"format": known} if (known := _TEXTS[name]) else {})
    return converted(cls.__name__, read, lambda _: dict(schema))


def _number(reader: Compiler, cls: type, arguments: tuple[t.Any, ...]) -> Hint:
    if issubclass(cls, complex):
        raise TypeError("JSON has no complex numbers: take two numbers and make one of them")
    kind: t.Any = int if issubclass(cls, numbers.Integral) else int | float
    if cls.__module__ in ("builtins", "numbers"):
        return kind
    kind = Decimal if issubclass(cls, Decimal) else kind
    make: t.Any = cls  # a class of the user's own that derives from a number
    return converted(cls.__name__, lambda value: make(convert(value, kind)), lambda describe: describe(kind))


def _enum(reader: Compiler, cls: t.Any, arguments: tuple[t.Any, ...]) -> Hint:
    if issubclass(cls, Flag):  # its members may be added up
        return converted(cls.__name__, lambda value: cls(expect(value, int)), lambda _: {"type": "integer"})
    if is_known(cls):
        return cls
    return converted(cls.__name__, cls, lambda _: {"enum": [member.value for member in cls]})


def _path(reader: Compiler, cls: t.Any, arguments: tuple[t.Any, ...]) -> Hint:
    return converted(cls.__name__, lambda value: cls(expect(value, str)), lambda _: {"type": "string"})


def _made_of(kind: t.Any, make: t.Callable[[t.Any, t.Any], t.Any]) -> t.Callable[..., Hint]:
    """A container that is read as `kind` and then made by `make(class, value)`."""

    def compile_class(reader: Compiler, cls: type, arguments: tuple[t.Any, ...]) -> Hint:
        items = reader.container(kind, arguments)
        return converted(cls.__name__, lambda value: make(cls, convert(value, items)), lambda describe: describe(items))

    return compile_class


def _counter(reader: Compiler, cls: type, arguments: tuple[t.Any, ...]) -> Hint:
    return _COUNTED(reader, cls, (arguments[0] if arguments else str, int))


_BUFFER = getattr(cabc, "Buffer", None)  # since Python 3.12
BYTES = (bytes, bytearray, memoryview, _BUFFER)
_COUNTED = _made_of(dict, lambda cls, value: cls(value))
READERS: list[tuple[t.Any, t.Callable[..., Hint]]] = [
    (Enum, _enum),  # before numbers, which an IntEnum is one of
    (numbers.Number, _number),
    (pathlib.PurePath, _path),
    (collections.deque, _made_of(list, lambda cls, value: cls(value))),
    (collections.defaultdict, _made_of(dict, lambda cls, value: cls(None, value))),
    (collections.Counter, _counter),
    (collections.OrderedDict, _COUNTED),
]
