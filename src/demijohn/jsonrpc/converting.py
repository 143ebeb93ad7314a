"""Types with a reader of their own, and what converts a JSON value to any compiled type.

`msgspec` knows the builtins, their containers, dataclasses, TypedDict, attrs and its own Struct. What it does not know,
or reads otherwise than we promise, becomes a `Converted` class.
"""

from __future__ import annotations

import re
import types
import typing as t

import msgspec

Hint = t.Any  # what stands after the colon; there is no type for all of them
Schema = dict[str, t.Any]
Describe = t.Callable[[Hint], Schema]

SCALARS = (str, int, float, bool)
# msgspec says: "Expected `int`, got `str` - at `$.items[3].price`"; a converter inside another adds its own end.
AT: t.Final = " - at `"
EXPECTED: t.Final = re.compile(r"Expected `([^`]*)`(.*?)(?:, got (?:`([^`]*)`|(\d+)))?")


class Converted(type):
    """The class of types with a reader of their own: `convert(value)` and `schema(describe)`.

    of: the class with fields that it reads, or the hint of a generic one; None for what needs no name in a document.
    as_written: whether the schema is that of a result where it is another than that of a parameter.
    takes_any_text: whether every string fits.
    """

    convert: t.Callable[[t.Any], t.Any]
    schema: t.Callable[[Describe], Schema]
    of: Hint | None
    as_written: bool
    takes_any_text: bool = False

    def __instancecheck__(cls, instance: object) -> bool:
        # msgspec asks whether what `convert` gave is an instance; what that is, only `convert` knows.
        return True


def converted(
    name: str, convert: t.Callable[[t.Any], t.Any], schema: t.Callable[[Describe], Schema], of: Hint | None = None
) -> Converted:
    """Return a type that `convert` reads; it raises ValueError for what does not fit."""
    return Converted(
        name, (), {"convert": staticmethod(convert), "schema": staticmethod(schema), "of": of, "as_written": False}
    )


def _convert_by_type(type_: type, value: t.Any) -> t.Any:
    assert isinstance(type_, Converted)
    try:
        return type_.convert(value)
    except msgspec.ValidationError as error:
        # From a conversion inside this one: msgspec adds where it was to any ValueError but its own.
        raise ValueError(str(error)) from None


def convert(value: t.Any, type_: Hint) -> t.Any:
    """Return `value`, which JSON gave, as the compiled `type_`.

    Raises msgspec.ValidationError; `explain` makes a sentence of it.
    """
    try:
        return msgspec.convert(value, type_, str_keys=True, dec_hook=_convert_by_type)
    except RecursionError:
        raise msgspec.ValidationError("Nested too deeply") from None
    except TypeError as error:
        if not str(error).startswith("unhashable type"):
            raise
        raise msgspec.ValidationError("Expected a set without arrays and objects in it") from None


def converter(types: t.Iterable[Hint]) -> t.Callable[[t.Any, Hint], t.Any]:
    """Return what converts values to these compiled types: `convert`, or msgspec's alone where that says the same.

    bench/jsonrpc_calls.py: App.typed takes 0.8 us less without the two keyword arguments.
    """
    return msgspec.convert if all(map(_is_plain, types)) else convert


def _is_plain(type_: Hint) -> bool:
    """Whether converting to the type needs neither a reader of ours nor keys that are no strings."""
    origin: t.Any = t.get_origin(type_)
    arguments = t.get_args(type_)
    if origin is dict:
        return arguments[0] is str and _is_plain(arguments[1])
    if origin in (list, tuple, t.Union, types.UnionType):
        return all(argument is ... or _is_plain(argument) for argument in arguments)
    if origin in (set, frozenset):  # others may have to be refused as what no set can hold
        return arguments[0] in SCALARS
    return origin is t.Literal or type_ in (*SCALARS, None, types.NoneType, t.Any, list, dict, tuple)


def convert_at(step: str, value: t.Any, type_: Hint) -> t.Any:
    """`convert` a part of what was sent; what does not fit is said to be at `step`, such as `.name` or `[3]`."""
    try:
        return convert(value, type_)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{error}{AT}${step}`") from None


def json_name(value: t.Any) -> str:
    """Return what messages call the type of a JSON value."""
    for kind, name in ((bool, "bool"), (str, "str"), (int, "int"), (float, "float"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else type(value).__qualname__


def expect(value: t.Any, kind: type) -> t.Any:
    """Return `value` if it is of that kind, else raise ValueError in msgspec's words."""
    if isinstance(value, kind):
        return value
    raise ValueError(f"Expected `{json_name(kind())}`, got `{json_name(value)}`")


def is_known(type_: Hint) -> bool:
    """Whether msgspec takes the type."""
    try:
        msgspec.json.Decoder(type_)
    except (TypeError, NameError):  # the second for what `hints_of` finds where msgspec does not look
        return False
    return True


def has_converted(type_: Hint) -> bool:
    """Whether the type, or one in it, has a reader of its own."""
    return isinstance(type_, Converted) or any(map(has_converted, t.get_args(type_)))
