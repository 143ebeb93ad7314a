"""Type hints to checks: what a hint says, compiled once into a type that `msgspec` converts and describes.

What `msgspec` knows stays as it is; for the rest see `families.py`.
"""

from __future__ import annotations

import collections.abc as cabc
import inspect
import sys
import types
import typing as t
from contextlib import contextmanager
from dataclasses import KW_ONLY, InitVar
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import msgspec

from .constraints import by_pydantic, constrained, has_constraints, is_for_pydantic
from .converting import (
    SCALARS,
    Describe,
    Hint,
    Schema,
    convert,
    converted,
    has_converted,
    is_known,
    json_name,
)
from .families import BYTES, READERS, by_key, maybe_text, one_of, text_bytes
from .frames import Orient, frame, oriented
from .parameters import MissingHint, Parameters, is_constructor_generated
from .resolving import hints_of
from .science import reader_of

Read = t.Callable[[t.Any], t.Any]
Describing = t.Callable[[Describe], Schema]


def readable(hint: Hint) -> Hint:
    """Return the type to `convert` a parameter with.

    Raises TypeError for a hint that no JSON value can become.
    """
    return Reader(stated=hint).compile(hint)


def describable(hint: Hint) -> Hint:
    """Return the type that describes a result with this hint, Any when the hint does not tell."""
    try:
        return Reader(of_result=True).compile(hint)
    except TypeError:
        return t.Any


def shaping(hint: Hint) -> t.Callable[[t.Any], t.Any] | None:
    """Return what gives a result the form that its hint asks for: `Annotated[DataFrame, Orient.SPLIT]`."""
    forms = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Orient)]
    if forms:
        return oriented(forms[0])
    origin: t.Any = t.get_origin(hint)
    is_union = origin in (t.Union, types.UnionType)
    return next(filter(None, map(shaping, t.get_args(hint))), None) if is_union else None


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
        if hint is t.LiteralString:
            return str
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
            return self.annotated(hint, arguments[0], arguments[1:])
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

    def annotated(self, hint: Hint, inner: Hint, extras: tuple[t.Any, ...]) -> Hint:
        raise NotImplementedError

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

    def annotated(self, hint: Hint, inner: Hint, extras: tuple[t.Any, ...]) -> Hint:
        return self.compile(inner)

    def class_(self, cls: type, hint: Hint, arguments: tuple[t.Any, ...]) -> Hint:
        if cls in SCALARS:
            return cls
        if hasattr(cls, "__get_pydantic_core_schema__") and not hasattr(cls, "__pydantic_validator__"):
            return t.Any  # EmailStr is a class, and what it stands for is a str
        if t.is_typeddict(cls):
            return dict
        if cls.__module__ == "numpy" and cls.__name__ != "ndarray":
            return readable(cls)  # Python's own number says the same as one of NumPy's
        is_number = cls.__module__ == "numbers"
        kinds = (cls, int, float, Decimal) if is_number else cls

        def check(value: t.Any) -> t.Any:
            if isinstance(value, kinds):
                return value
            raise ValueError(f"Expected `{cls.__qualname__}`, got `{type(value).__qualname__}`")

        return converted(cls.__qualname__, check, lambda _: {})


class Reader(_Compiler):
    """What a client sends.

    of_result: whether what is sent is the result of a method.
    stated: the hint whose statements of `types.params` somebody else holds values to.
    """

    def __init__(self, of_result: bool = False, stated: Hint = None) -> None:
        self.of_result = of_result
        self.stated = stated
        self.variables: dict[t.Any, Hint] = {}  # what the type variables of the class that is being read stand for
        self.made: dict[Hint, Hint] = {}  # readers of classes, which may hold themselves
        self.native: dict[Hint, bool] = {}  # whether msgspec reads a class, and all in it, as we do

    def compile(self, hint: Hint) -> Hint:
        if isinstance(hint, t.TypeVar) and hint in self.variables:
            return super().compile(self.variables[hint])
        return super().compile(hint)

    def annotated(self, hint: Hint, inner: Hint, extras: tuple[t.Any, ...]) -> Hint:
        if is_for_pydantic(inner, extras):
            return by_pydantic(hint, self.of_result)
        if forms := [extra for extra in extras if isinstance(extra, Orient)]:
            if members := [member for member in t.get_args(inner) if member is not types.NoneType]:
                return self.union([t.Annotated[members[0], forms[0]], None])  # a frame, or None
            return frame(inner, only=forms[0])
        return constrained(self.compile(inner), extras, holds_statements=hint is not self.stated)

    def union(self, members: t.Iterable[Hint]) -> Hint:
        members = list(members)
        if any(getattr(member, "__module__", "").startswith("numpy._typing") for member in members):
            return self.compile(sys.modules["numpy"].ndarray)  # numpy.typing.ArrayLike
        return super().union(members)

    def stream(self, arguments: tuple[t.Any, ...]) -> Hint:
        return self.container(list, arguments[:1])

    def container(self, kind: t.Any, arguments: tuple[t.Any, ...]) -> Hint:
        if kind is dict and arguments and has_converted(key := self.compile(arguments[0])):
            return by_key(key, self.compile(arguments[1]))  # msgspec would leave such keys as they are
        return super().container(kind, arguments)

    def class_(self, cls: type, hint: Hint, arguments: tuple[t.Any, ...]) -> Hint:
        if cls in _FORMATTED:
            return _FORMATTED[cls]
        if cls in SCALARS or cls in (Decimal, UUID, date, timedelta):
            return cls
        if cls in BYTES:
            return text_bytes(cls)
        if read := reader_of(cls):
            return read(cls, arguments, self.of_result)
        if text := maybe_text(cls):
            return text
        for known, compile_class in READERS:
            if issubclass(cls, known):
                return compile_class(self, cls, arguments)
        if is_for_pydantic(cls):
            return by_pydantic(hint, self.of_result)
        return self.structure(cls, hint)

    def structure(self, cls: type, hint: Hint) -> Hint:
        """Compile a class with fields: as it is when msgspec reads every field as we do, else by its constructor."""
        if issubclass(cls, msgspec.Struct):
            return hint
        hint = self.specialized(hint)
        if hint in self.made:
            return self.made[hint]
        if self.is_native(hint):
            return hint
        self.made[hint] = own = converted(cls.__qualname__, _not_yet, _not_yet, of=hint)
        make = self.typed_dict if t.is_typeddict(cls) else self.constructed
        with self.inside(hint):
            read, schema = make(cls)
        own.convert, own.schema = staticmethod(read), staticmethod(schema)
        own.as_written = self.of_result and issubclass(cls, tuple)
        return own

    def specialized(self, hint: Hint) -> Hint:
        """Return the hint of a generic class with what the type variables in it stand for here."""
        parameters = getattr(hint, "__parameters__", ()) if t.get_origin(hint) else ()
        return hint[tuple(self.variables.get(each, each) for each in parameters)] if parameters else hint

    @contextmanager
    def inside(self, hint: Hint) -> t.Iterator[None]:
        """Have the type variables of a generic class stand for what is in the brackets of its hint."""
        outside = self.variables
        names = getattr(t.get_origin(hint), "__parameters__", ())
        self.variables = dict(zip(names, t.get_args(hint), strict=False))
        try:
            yield
        finally:
            self.variables = outside

    def is_native(self, hint: Hint) -> bool:
        if hint not in self.native:
            self.survey(hint)
        return self.native[hint]

    def survey(self, hint: Hint) -> None:
        """Find out of a class, and of those that it leads to, which msgspec reads as we do.

        Each is looked at once: in classes that hold one another there are too many paths to follow each.
        """
        leads_to: dict[Hint, t.Collection[Hint]] = {}
        natives: set[Hint] = set()
        waiting = [hint]
        while waiting:
            if (hint := waiting.pop()) in leads_to:
                continue
            scout = _Scout(self.of_result)
            if scout.finds_native(hint):
                natives.add(hint)
            leads_to[hint] = scout.met
            waiting += scout.met
        while others := {each for each in natives if not natives.issuperset(leads_to[each])}:
            natives -= others
        self.native |= {each: each in natives for each in leads_to}

    def typed_dict(self, cls: t.Any) -> tuple[Read, Describing]:
        hints = hints_of(cls)
        fields = {name: self.compile(hint) for name, hint in hints.items()}
        # Under `from __future__ import annotations` the class itself does not see NotRequired.
        marked = {name: t.get_origin(hint) for name, hint in hints.items()}
        required = {
            name
            for name, mark in marked.items()
            if mark is t.Required or (mark is not t.NotRequired and name in cls.__required_keys__)
        }
        compiled = t.TypedDict(cls.__name__, {  # type: ignore[misc]
            name: t.Required[type_] if name in required else t.NotRequired[type_] for name, type_ in fields.items()
        })  # fmt: skip

        def schema(describe: Describe) -> Schema:
            properties = {name: describe(type_) for name, type_ in fields.items()}
            return {
                "title": cls.__name__,
                "type": "object",
                "properties": properties,
                "required": sorted(required),
            }

        return lambda value: convert(value, compiled), schema

    def constructed(self, cls: type) -> tuple[Read, Describing]:
        if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
            raise TypeError(f"no JSON value can become {cls!r}: it is abstract")
        parameters = Parameters.of(cls, self.compile)

        def read(value: t.Any) -> t.Any:
            if not isinstance(value, dict) and not (isinstance(value, list) and issubclass(cls, tuple)):
                raise ValueError(f"Expected `object`, got `{json_name(value)}`")
            arguments, named = parameters.bind(value)
            return cls(*arguments, **named)

        def schema(describe: Describe) -> Schema:
            by_name = parameters.schema(describe, cls.__name__)
            if not issubclass(cls, tuple):
                return by_name
            as_array = parameters.schema_of_items(describe, cls.__name__, is_complete=self.of_result)
            return as_array if self.of_result else {"title": cls.__name__, "anyOf": [by_name, as_array]}

        return read, schema


class _Scout(Reader):
    """Looks into one class: `met` are the classes with fields that its own fields lead to."""

    def __init__(self, of_result: bool) -> None:
        super().__init__(of_result)
        self.met: dict[Hint, None] = {}

    def structure(self, cls: type, hint: Hint) -> Hint:
        hint = self.specialized(hint)
        if not issubclass(cls, msgspec.Struct):
            self.met[hint] = None
        return hint

    def finds_native(self, hint: Hint) -> bool:
        """Whether msgspec reads all fields as we do that are of no class with fields."""
        origin: t.Any = t.get_origin(hint)
        cls = origin or hint
        if not (_has_fields(cls, self.of_result) and is_known(hint)):
            return False
        with self.inside(hint):
            return all(map(self.reads_as_msgspec, hints_of(cls).values()))

    def reads_as_msgspec(self, hint: Hint) -> bool:
        origin: t.Any = t.get_origin(hint)
        if hint is KW_ONLY or origin is t.ClassVar:  # no fields
            return True
        if isinstance(hint, InitVar) or has_constraints(hint):
            return False
        return not has_converted(self.compile(hint))


def _has_fields(cls: t.Any, of_result: bool) -> bool:
    """Whether msgspec makes instances of the class as its constructor would: it calls none, and no converters of attrs.

    Of a result it matters only that they have the fields.
    """
    if t.is_typeddict(cls):
        return True
    attributes = getattr(cls, "__attrs_attrs__", None)
    fields = cls.__dataclass_fields__.values() if attributes is None and hasattr(cls, "__dataclass_fields__") else ()
    if not attributes and not fields:
        return False
    if of_result:
        return True
    if any(attribute.converter or not attribute.init for attribute in attributes or ()):
        return False
    return is_constructor_generated(cls) and all(field.init for field in fields)


def _not_yet(value: t.Any) -> t.NoReturn:
    raise AssertionError("a class is read before it has been compiled")
