"""Arguments as Flask-JSONRPC makes them of JSON values."""

from __future__ import annotations

import collections
import collections.abc as cabc
import inspect
import types
import typing as t
from decimal import Decimal
from enum import Enum

from ..types.types import is_buffer, is_typed_dict

Hint = t.Any

_BYTES = {bytes: bytes, bytearray: bytearray, memoryview: memoryview}
_SEQUENCES: dict[t.Any, t.Callable[..., t.Any]] = {
    **dict.fromkeys((list, cabc.Sequence, cabc.MutableSequence, cabc.Collection), list),
    **dict.fromkeys((set, cabc.Set, cabc.MutableSet), set),
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_MAPPINGS: dict[t.Any, t.Callable[..., t.Any]] = {
    **dict.fromkeys((dict, cabc.Mapping, cabc.MutableMapping), dict),
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: lambda items: collections.defaultdict(None, items),
}


def loads(param_type: Hint, param_value: t.Any) -> t.Any:
    """Return `param_value`, which JSON gave, as the hint says; what the hint says nothing of is left as it is.

    Raises TypeError for a union of more than one type and None, and for what a constructor refuses.
    """
    if param_value is None or hasattr(param_type, "__supertype__"):
        return param_value if param_value is None else loads(param_type.__supertype__, param_value)
    origin: t.Any = t.get_origin(param_type)
    arguments = t.get_args(param_type)
    if origin in (t.Annotated, t.Final):
        return loads(arguments[0], param_value)
    if origin in (t.Union, types.UnionType):
        return loads(_only_member(arguments), param_value)
    if origin is tuple and isinstance(param_value, list | tuple):
        return _tuple(arguments, param_value)
    if origin in _SEQUENCES and arguments and isinstance(param_value, list | tuple | set | frozenset):
        return _SEQUENCES[origin](loads(arguments[0], item) for item in param_value)
    if origin in _MAPPINGS and isinstance(param_value, dict):
        key, value = arguments
        return _MAPPINGS[origin]((loads(key, k), loads(value, v)) for k, v in param_value.items())
    if isinstance(param_type, type) and origin is None:
        return _of_class(param_type, param_value)
    return param_value


def _only_member(members: tuple[Hint, ...]) -> Hint:
    others = [member for member in members if member is not types.NoneType]
    if len(others) > 1:
        # Flask-JSONRPC's tests look for these words.
        raise TypeError(
            "the only type of union that is supported is: typing.Union[T, None] or typing.Optional[T]"
        ) from None
    return others[0]


def _tuple(items: tuple[Hint, ...], value: t.Any) -> t.Any:
    if len(items) == 2 and items[1] is ...:
        return tuple(loads(items[0], item) for item in value)
    hints = (*items, *[t.Any] * (len(value) - len(items)))
    return tuple(loads(hint, item) for hint, item in zip(hints, value, strict=False))


def _of_class(cls: t.Any, value: t.Any) -> t.Any:
    if is_buffer(cls):
        return value.encode() if isinstance(value, str) else value
    if cls in _BYTES:
        return _BYTES[cls](value.encode()) if isinstance(value, str) else value
    if cls is Decimal or issubclass(cls, Enum):
        return cls(str(value) if cls is Decimal else value)
    if hasattr(cls, "model_validate"):
        try:
            return cls(**value) if isinstance(value, dict) else value
        except ValueError as error:
            raise TypeError(str(error)) from error
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        hints = t.get_type_hints(cls, include_extras=True)
        return cls(**{name: loads(hints.get(name, t.Any), item) for name, item in value.items()})
    if cls.__module__ == "builtins" or is_typed_dict(cls) or not isinstance(value, dict):
        return value
    if not inspect.isfunction(cls.__init__) or cls in _MAPPINGS or cls in _SEQUENCES:
        return value
    hints = t.get_type_hints(cls.__init__, include_extras=True)
    return cls(**{name: loads(hints.get(name, t.Any), item) for name, item in value.items()})


def bindfy(view_func: t.Callable[..., t.Any], params: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a method's arguments by their names: what was not sent is its default or None, the rest is left out."""
    hints: dict[str, Hint] = getattr(view_func, "jsonrpc_method_params", {})
    defaults: dict[str, t.Any] = getattr(view_func, "jsonrpc_method_default_params", {})
    return {
        name: defaults.get(name) if params.get(name) is None else loads(hint, params[name])
        for name, hint in hints.items()
    }
