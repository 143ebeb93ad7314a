"""The order in which enums, literals and TypedDicts were written: in a schema of `msgspec` it is lost."""

from __future__ import annotations

import typing as t
from enum import Enum, EnumMeta

from .converting import Converted, Hint, Schema
from .resolving import hints_of

# By the title of a schema (None for a Literal) and what it names: the same in the order of its author.
Orders = dict[tuple[str | None, frozenset[t.Any]], list[t.Any]]


def declared_orders(types: t.Iterable[Hint]) -> Orders:
    """Return in which order values and members are named in these compiled types, and in the classes in them."""
    orders: Orders = {}
    seen: set[int] = set()
    waiting = list(types)
    while waiting:
        hint = waiting.pop()
        if id(hint) in seen or isinstance(hint, Converted):
            continue
        seen.add(id(hint))
        arguments = t.get_args(hint)
        if t.get_origin(hint) is t.Literal:
            orders[None, frozenset(arguments)] = list(arguments)
        elif isinstance(hint, EnumMeta):
            _note(orders, hint.__name__, [member.value for member in t.cast("type[Enum]", hint)])
        else:
            waiting += arguments
            waiting += _hints_in(hint, orders)
    return orders


def _hints_in(hint: Hint, orders: Orders) -> t.Iterable[Hint]:
    """Return the hints of a class with fields; nothing for another type."""
    origin: t.Any = t.get_origin(hint)
    cls = origin or hint
    if not isinstance(cls, type) or cls.__module__ in ("builtins", "typing"):
        return ()
    hints = hints_of(cls)
    if t.is_typeddict(cls):
        _note(orders, cls.__name__, list(hints))
    return hints.values()


def _note(orders: Orders, title: str, names: list[t.Any]) -> None:
    orders[title, frozenset(names)] = names


def in_order(schema: t.Any, orders: Orders) -> t.Any:
    """Return a schema, or what holds schemas, with the values of its enums and the members of its objects in order."""
    if isinstance(schema, list):
        return [in_order(item, orders) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ordered = {key: value if key in _VALUES else in_order(value, orders) for key, value in schema.items()}
    for word in ("enum", "properties"):
        if order := _order_of(schema, schema.get(word), orders):
            ordered[word] = order if word == "enum" else {name: ordered[word][name] for name in order}
    return ordered


_VALUES = ("default", "examples", "const")  # they hold values, which look like schemas at times


def _order_of(schema: Schema, names: t.Any, orders: Orders) -> list[t.Any] | None:
    try:
        return orders.get((schema.get("title"), frozenset(names or ())))
    except TypeError:  # values that no Enum or Literal has, or a member of an object that is called `title`
        return None
