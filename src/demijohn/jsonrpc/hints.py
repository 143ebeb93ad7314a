"""Type hints to checks: what a hint says, compiled once into a type that `msgspec` converts and describes.

What `msgspec` knows stays as it is; for the rest see `families.py`.
"""

from __future__ import annotations

import collections.abc as cabc
import inspect
import types
import typing as t
from dataclasses import InitVar
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import msgspec

from .converting import SCALARS, Hint, convert, converted, has_converted, is_known, json_name
from .families import BYTES, READERS, one_of, pydantic_model, text_bytes
from .parameters import MissingHint, Parameters, hints_of


def readable(hint: Hint) -> Hint:
    """Return the type to `convert` a parameter with.

    Raises TypeError for a hint that no JSON value can become.
    """
    return Reader().compile(hint)


def checkable(hint: Hint) -> Hint:
    """Return the type that fits what a method with this return hint may return, or Any when all fits.

    Instances of classes are trusted, iterators are not consumed.
    """
    return _Checker().compile(hint)


# msgspec names the format only where a time zone is asked for; the page and clients want to know it always.
_FORMATTED: dict[t.Any, t.Any] = {
    datetime: t.Annotated[datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})],
    time: t.Annotated[time, msgspec.Meta(extra_json_schema={"format": "time"})],
}
_CONTAINERS: dict[t.Any, t.Any] = {
    **dict.fromkeys((cabc.Sequence, cabc.MutableSequence, cabc.Collection, cabc.Container, cabc.Reversible), list),
    **dict.fromkeys((cabc.Set, cabc.MutableSet), set),
    **dict.fromkeys((cabc.Mapping, cabc.MutableMapping), dict),
    **{kind: kind for kind in (list, set, frozenset, tuple, dict)},
}
_STREAMS = (
    cabc.Iterable,
    cabc.Iterator,
    cabc.Generator,
    cabc.AsyncIterable,
    cabc.AsyncIterator,
    cabc.AsyncGenerator,
)


class _Compiler:
    """The forms of the type system; subclasses say what a class means."""

    def compile(self, hint: Hint) -> Hint:
        if hint in (t.Any, object, MissingHint, t.NoReturn, t.Never):
            return t.Any
        if hint is None or hint is types.NoneType:
            return None
        if isinstance(hint, t.TypeVar):
            return self.union(hint.__constraints__) if hint.__constraints__ else self.compile(hint.__bound__ or t.Any)
        if isinstance(hint, t.NewType):
            return self.compile(hint.__supertype__)
        if isinstance(hint, InitVar):
            return self.compile(hint.type)
        if hasattr(hint, "__value__"):  # `type Name = ...` of Python 3.12
            return self.compile(hint.__value__)
        return self.form(hint, t.get_origin(hint), t.get_args(hint))

    def form(self, hint: Hint, origin: t.Any, arguments: tuple[t.Any, ...]) -> Hint:
        if origin is t.Annotated:
            return self.annotated(arguments[0], [extra for extra in arguments[1:] if isinstance(extra, msgspec.Meta)])
        if origin in (t.Final, t.ClassVar, t.Required, t.NotRequired):
            return self.compile(arguments[0])
        if origin in (t.Union, types.UnionType):
            return self.union(arguments)
        if origin is t.Literal:
            return self.literal(hint, arguments)
        if (origin or hint) in _CONTAINERS:
            return self.container(_CONTAINERS[origin or hint], arguments)
        if (origin or hint) in _STREAMS:
            return self.stream(arguments)
        if isinstance(origin or hint, type):
            return self.class_(origin or hint, hint, arguments)
        raise TypeError(f"no JSON value can become {hint!r}")

    def annotated(self, hint: Hint, extras: list[msgspec.Meta]) -> Hint:
        compiled = self.compile(hint)
        return t.Annotated[(compiled, *extras)] if extras else compiled

    def union(self, members: t.Iterable[Hint]) -> Hint:
        compiled = [self.compile(member) for member in members]
        if t.Any in compiled:
            return t.Any
        union: Hint = t.Union[tuple(compiled)]  # noqa: UP007
        return union if is_known(union) else one_of(compiled)

    def literal(self, hint: Hint, values: tuple[t.Any, ...]) -> Hint:
        if all(value is None or type(value) in (str, int) for value in values):
            return hint

        def convert(value: t.Any) -> t.Any:
            for known in values:
                plain = known.value if isinstance(known, Enum) else known
                if value is known or (value == plain and type(value) is type(plain)):
                    return known
            raise ValueError(f"Invalid enum value {value!r}")

        return converted(
            "Literal", convert, lambda _: {"enum": [v.value if isinstance(v, Enum) else v for v in values]}
        )

    def container(self, kind: t.Any, arguments: tuple[t.Any, ...]) -> Hint:
        if not arguments:
            return kind
        return kind[tuple(item if item is ... else self.compile(item) for item in arguments)]

    def stream(self, arguments: tuple[t.Any, ...]) -> Hint:
        raise NotImplementedError

    def class_(self, cls: type, hint: Hint, arguments: tuple[t.Any, ...]) -> Hint:
        raise NotImplementedError


class _Checker(_Compiler):
    """What a method returns: containers are looked into, instances of classes are trusted."""

    def stream(self, arguments: tuple[t.Any, ...]) -> Hint:
        return t.Any

    def annotated(self, hint: Hint, extras: list[msgspec.Meta]) -> Hint:
        return self.compile(hint)

    def class_(self, cls: type, hint: Hint, arguments: tuple[t.Any, ...]) -> Hint:
        if cls in SCALARS:
            return cls
        if t.is_typeddict(cls):
            return dict
        is_number = cls.__module__ == "numbers"
        kinds = (cls, int, float, Decimal) if is_number else cls

        def check(value: t.Any) -> t.Any:
            if isinstance(value, kinds):
                return value
            raise ValueError(f"Expected `{cls.__qualname__}`, got `{type(value).__qualname__}`")

        return converted(cls.__qualname__, check, lambda _: {})


class Reader(_Compiler):
    """What a client sends."""

    def __init__(self) -> None:
        # Classes whose fields are being compiled, and what stands for them inside themselves.
        self.open: dict[type, Hint] = {}

    def stream(self, arguments: tuple[t.Any, ...]) -> Hint:
        return self.container(list, arguments[:1])

    def class_(self, cls: type, hint: Hint, arguments: tuple[t.Any, ...]) -> Hint:
        if cls in _FORMATTED:
            return _FORMATTED[cls]
        if cls in SCALARS or cls in (Decimal, UUID, date, timedelta):
            return cls
        if cls in BYTES:
            return text_bytes(cls)
        for known, compile_class in READERS:
            if issubclass(cls, known):
                return compile_class(self, cls, arguments)
        if hasattr(cls, "model_validate"):
            return pydantic_model(cls)
        return self.structure(cls, hint)

    def structure(self, cls: type, hint: Hint) -> Hint:
        """Compile a class with fields: as it is when msgspec reads every field as we do, else by its constructor."""
        if cls in self.open:
            return self.open[cls]
        if issubclass(cls, msgspec.Struct):
            return hint
        try:
            self.open[cls] = hint
            has_fields = hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__") or t.is_typeddict(cls)
            if has_fields and is_known(hint) and all(map(self.is_native, hints_of(cls).values())):
                return hint
            self.open[cls] = later = converted(cls.__qualname__, _not_yet, lambda _: {"title": cls.__name__})
            compiled = self.typed_dict(cls) if t.is_typeddict(cls) else self.constructed(cls)
            later.convert = staticmethod(lambda value: convert(value, compiled))
            return compiled
        finally:
            self.open.pop(cls, None)

    def is_native(self, hint: Hint) -> bool:
        return not isinstance(hint, InitVar) and not has_converted(self.compile(hint))

    def typed_dict(self, cls: t.Any) -> Hint:
        fields = {
            name: t.Required[self.compile(hint)] if name in cls.__required_keys__ else t.NotRequired[self.compile(hint)]
            for name, hint in hints_of(cls).items()
        }
        return t.TypedDict(cls.__name__, fields)  # type: ignore[operator]

    def constructed(self, cls: type) -> Hint:
        if inspect.isabstract(cls):
            raise TypeError(f"no JSON value can become {cls!r}: it is abstract")
        parameters = Parameters.of(cls, self.compile)

        def convert(value: t.Any) -> t.Any:
            if not isinstance(value, dict) and not (isinstance(value, list) and issubclass(cls, tuple)):
                raise ValueError(f"Expected `object`, got `{json_name(value)}`")
            arguments, named = parameters.bind(value)
            return cls(*arguments, **named)

        return converted(cls.__qualname__, convert, lambda describe: parameters.schema(describe, cls.__name__))


def _not_yet(value: t.Any) -> t.NoReturn:
    raise AssertionError("a class is read before it has been compiled")
