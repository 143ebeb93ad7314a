"""Values held to type hints, with the sentences that Flask-JSONRPC's clients get (they are typeguard's)."""

from __future__ import annotations

import collections
import collections.abc as cabc
import functools
import inspect
import types
import typing as t
from collections.abc import Callable, Iterable

from ..types.types import is_buffer, is_typed_dict

Hint = t.Any

_ITERABLES = (
    *(list, set, frozenset, collections.deque, cabc.Sequence, cabc.MutableSequence),
    *(cabc.Set, cabc.MutableSet, cabc.Collection),
)
_MAPPINGS = (dict, collections.OrderedDict, collections.defaultdict, cabc.Mapping, cabc.MutableMapping)


class _Mismatch(Exception):
    """`where` leads from the value that was checked to the one inside it that is wrong; `what` says how it is."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where


def typechecked(function: Callable[..., t.Any]) -> Callable[..., t.Any]:
    """Return the function with its arguments and its result held to its hints, wherever it is called from.

    What it returns raises TypeError for those that are not. A function that wraps another is left alone: the hints are
    those of the other, and Flask-JSONRPC's tests know that they are not held to.
    """
    if hasattr(function, "__wrapped__"):
        return function
    hints = t.get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    no_hint = object()
    returns = hints.pop("return", no_hint)

    def check_arguments(arguments: tuple[t.Any, ...], named: dict[str, t.Any]) -> None:
        for name, value in signature.bind(*arguments, **named).arguments.items():
            if name in hints:
                check(value, hints[name], f'argument "{name}"')

    def checked_result(result: t.Any) -> t.Any:
        if returns is not no_hint:
            check(result, returns, "the return value")
        return result

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*arguments: t.Any, **named: t.Any) -> t.Any:
            check_arguments(arguments, named)
            return checked_result(await function(*arguments, **named))

        return call_async

    @functools.wraps(function)
    def call(*arguments: t.Any, **named: t.Any) -> t.Any:
        check_arguments(arguments, named)
        return checked_result(function(*arguments, **named))

    return call


def check(value: t.Any, hint: Hint, name: str) -> None:
    """Raise TypeError, which names the value by `name`, when it is not what the hint says."""
    try:
        _check(value, hint)
    except _Mismatch as mismatch:
        kind = "None" if value is None else _name(type(value))
        raise TypeError(f"{mismatch.where}{name} ({kind}) {mismatch.what}") from None


def _check(value: t.Any, hint: Hint) -> None:
    if hasattr(hint, "__supertype__"):
        return _check(value, hint.__supertype__)
    origin: t.Any = t.get_origin(hint)
    arguments = t.get_args(hint)
    if origin in (t.Annotated, t.Final):
        return _check(value, arguments[0])
    if origin in (t.Union, types.UnionType):
        return _check_union(value, arguments)
    if origin is t.Literal:
        if not any(value == known and type(value) is type(known) for known in arguments):
            raise _Mismatch(f"is not any of ({', '.join(map(repr, arguments))})")
        return None
    if hint is None:
        if value is not None:
            raise _Mismatch("is not None")
        return None
    if hint is t.Any or (hint is float and isinstance(value, int)):
        return None
    cls = origin or hint
    if isinstance(cls, type):
        if is_buffer(cls):
            _check_union(value, (bytes, bytearray, memoryview))
        else:
            _check_class(value, dict if is_typed_dict(cls) else cls)
        _check_items(value, cls, arguments)
    return None


def _check_class(value: t.Any, cls: type) -> None:
    if cls is types.NoneType and value is not None:
        raise _Mismatch("is not an instance of NoneType")
    if not isinstance(value, cls):
        raise _Mismatch("is neither float or int" if cls is float else f"is not an instance of {_name(cls)}")


def _check_items(value: t.Any, cls: t.Any, arguments: tuple[Hint, ...]) -> None:
    if cls is tuple and arguments:
        hints: Iterable[Hint] = [arguments[0]] * len(value) if arguments[1:] == (...,) else arguments
        if len(value) != len(list(hints)):
            raise _Mismatch(f"has wrong number of elements (expected {len(arguments)}, got {len(value)} instead)")
        for index, (item, hint) in enumerate(zip(value, hints, strict=True)):
            _check_inside(item, hint, f"item {index} of ")
    elif cls in _ITERABLES and arguments:
        for index, item in enumerate(value):
            _check_inside(item, arguments[0], f"item {index} of ")
    elif cls in _MAPPINGS and len(arguments) == 2:
        for key, item in value.items():
            _check_inside(key, arguments[0], f"key {key!r} of ")
            _check_inside(item, arguments[1], f"value of key {key!r} of ")


def _check_inside(value: t.Any, hint: Hint, where: str) -> None:
    try:
        _check(value, hint)
    except _Mismatch as mismatch:
        raise _Mismatch(mismatch.what, mismatch.where + where) from None


def _check_union(value: t.Any, members: tuple[Hint, ...]) -> None:
    lines = []
    for member in members:
        try:
            return _check(value, member)
        except _Mismatch as mismatch:
            lines.append(f"\n  {_name(member)}: {mismatch.where.removesuffix(' of ')}{mismatch.what}")
    raise _Mismatch(f"did not match any element in the union:{''.join(lines)}")


def _name(hint: Hint) -> str:
    if isinstance(hint, type) and not t.get_args(hint):
        return hint.__qualname__ if hint.__module__ == "builtins" else f"{hint.__module__}.{hint.__qualname__}"
    return str(hint)
