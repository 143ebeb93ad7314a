"""Type hints to checks: what a hint says, compiled once into a type that `msgspec` converts and describes.

`msgspec` knows the builtins, their containers, dataclasses, TypedDict, attrs and its own Struct. What it does not know,
or reads otherwise than we promise, becomes a class of ours with a `convert` (see `_Converted`): bytes as UTF-8 text,
unions of any members, NamedTuple from an array or an object, pydantic models, classes by their constructor.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import inspect
import numbers
import pathlib
import re
import types
import typing as t
from dataclasses import InitVar
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import msgspec
from msgspec.structs import astuple

Hint = t.Any  # what stands after the colon; there is no type for all of them
Schema = dict[str, t.Any]
Describe = t.Callable[[Hint], Schema]

MissingHint = inspect.Parameter.empty


# -- types that msgspec does not know -----------------------------------------------------------


class _Converted(type):
    """The class of types with a reader of their own: `convert(value)` and `schema(describe)`."""

    convert: t.Callable[[t.Any], t.Any]
    schema: t.Callable[[Describe], Schema]

    def __instancecheck__(cls, instance: object) -> bool:
        # msgspec asks whether what `convert` gave is an instance; what that is, only `convert` knows.
        return True


def _converted(name: str, convert: t.Callable[[t.Any], t.Any], schema: t.Callable[[Describe], Schema]) -> _Converted:
    return _Converted(name, (), {"convert": staticmethod(convert), "schema": staticmethod(schema)})


def _convert_by_type(type_: type, value: t.Any) -> t.Any:
    assert isinstance(type_, _Converted)
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
    if origin in (list, set, frozenset, tuple, t.Union, types.UnionType):
        return all(argument is ... or _is_plain(argument) for argument in arguments)
    return origin is t.Literal or type_ in (*_SCALARS, None, types.NoneType, t.Any, list, dict, set, frozenset, tuple)


# -- compiling ----------------------------------------------------------------------------------


def readable(hint: Hint) -> Hint:
    """Return the type to `convert` a parameter with.

    Raises TypeError for a hint that no JSON value can become.
    """
    return _Reader().compile(hint)


def checkable(hint: Hint) -> Hint:
    """Return the type that fits what a method with this return hint may return, or Any when all fits.

    Instances of classes are trusted, iterators are not consumed.
    """
    return _Checker().compile(hint)


_SCALARS = (str, int, float, bool)
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
        return union if _known(union) else _one_of(compiled)

    def literal(self, hint: Hint, values: tuple[t.Any, ...]) -> Hint:
        if all(value is None or type(value) in (str, int) for value in values):
            return hint

        def convert(value: t.Any) -> t.Any:
            for known in values:
                plain = known.value if isinstance(known, Enum) else known
                if value is known or (value == plain and type(value) is type(plain)):
                    return known
            raise ValueError(f"Invalid enum value {value!r}")

        return _converted(
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
        if cls in _SCALARS:
            return cls
        if t.is_typeddict(cls):
            return dict
        is_number = cls.__module__ == "numbers"
        kinds = (cls, int, float, Decimal) if is_number else cls

        def check(value: t.Any) -> t.Any:
            if isinstance(value, kinds):
                return value
            raise ValueError(f"Expected `{cls.__qualname__}`, got `{type(value).__qualname__}`")

        return _converted(cls.__qualname__, check, lambda _: {})


class _Reader(_Compiler):
    """What a client sends."""

    def __init__(self) -> None:
        # Classes whose fields are being compiled, and what stands for them inside themselves.
        self.open: dict[type, Hint] = {}

    def stream(self, arguments: tuple[t.Any, ...]) -> Hint:
        return self.container(list, arguments[:1])

    def class_(self, cls: type, hint: Hint, arguments: tuple[t.Any, ...]) -> Hint:
        if cls in _FORMATTED:
            return _FORMATTED[cls]
        if cls in _SCALARS or cls in (Decimal, UUID, date, timedelta):
            return cls
        if cls in _BYTES:
            return _text_bytes(cls)
        for known, compile_class in _READERS:
            if issubclass(cls, known):
                return compile_class(self, cls, arguments)
        if hasattr(cls, "model_validate"):
            return _pydantic_model(cls)
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
            if has_fields and _known(hint) and all(map(self.is_native, hints_of(cls).values())):
                return hint
            self.open[cls] = later = _converted(cls.__qualname__, _not_yet, lambda _: {"title": cls.__name__})
            compiled = self.typed_dict(cls) if t.is_typeddict(cls) else self.constructed(cls)
            later.convert = staticmethod(lambda value: convert(value, compiled))
            return compiled
        finally:
            self.open.pop(cls, None)

    def is_native(self, hint: Hint) -> bool:
        return not isinstance(hint, InitVar) and not _has_converted(self.compile(hint))

    def typed_dict(self, cls: t.Any) -> Hint:
        fields = {
            name: t.Required[self.compile(hint)] if name in cls.__required_keys__ else t.NotRequired[self.compile(hint)]
            for name, hint in hints_of(cls).items()
        }
        return t.TypedDict(cls.__name__, fields)  # type: ignore[operator]

    def constructed(self, cls: type) -> Hint:
        if inspect.isabstract(cls):
            raise TypeError(f"no JSON value can become {cls!r}: it is abstract")
        parameters = Parameters.of(cls, self)

        def convert(value: t.Any) -> t.Any:
            if not isinstance(value, dict) and not (isinstance(value, list) and issubclass(cls, tuple)):
                raise ValueError(f"Expected `object`, got `{_json_name(value)}`")
            arguments, named = parameters.bind(value)
            return cls(*arguments, **named)

        return _converted(cls.__qualname__, convert, lambda describe: parameters.schema(describe, cls.__name__))


def _not_yet(value: t.Any) -> t.NoReturn:
    raise AssertionError("a class is read before it has been compiled")


def _known(type_: Hint) -> bool:
    """Whether msgspec takes the type."""
    try:
        msgspec.json.Decoder(type_)
    except TypeError:
        return False
    return True


def _has_converted(type_: Hint) -> bool:
    return isinstance(type_, _Converted) or any(map(_has_converted, t.get_args(type_)))


def hints_of(thing: t.Any, localns: dict[str, t.Any] | None = None) -> dict[str, Hint]:
    """Return the resolved hints of a class or function, `Annotated` kept.

    Raises NameError for a name that neither its module nor `localns` has.
    """
    return t.get_type_hints(thing, localns=localns, include_extras=True)


# -- readers for families of classes ------------------------------------------------------------


def _one_of(members: list[Hint]) -> Hint:
    """The union of what msgspec does not take together: the first member that fits, a plain string last."""
    # Every date is a string too: were `str` tried first, nothing else would ever be.
    ordered = sorted(members, key=lambda member: member is str)

    def convert_first(value: t.Any) -> t.Any:
        failures = []
        for member in ordered:
            try:
                return convert(value, member)
            except msgspec.ValidationError as error:
                failures.append(str(error))
        raise ValueError(_nearest(failures))

    return _converted("Union", convert_first, lambda describe: {"anyOf": [describe(member) for member in members]})


def _nearest(failures: list[str]) -> str:
    """Return the failure that came deepest into the value, or all expectations in one sentence."""
    deepest = max(failures, key=lambda text: len(text.rpartition(_AT)[2]) if _AT in text else 0)
    if _AT in deepest:
        return deepest
    expected, got = [], ""
    for text in failures:
        if not (match := _EXPECTED.fullmatch(text)):
            return text
        expected.append(match[1])
        got = match[3]
    return f"Expected `{' | '.join(expected)}`, got `{got}`"


def _text_bytes(cls: t.Any) -> Hint:
    make = bytes if cls is _BUFFER else cls
    return _converted(cls.__name__, lambda value: make(_expect(value, str).encode()), lambda _: {"type": "string"})


def _number(reader: _Reader, cls: type, arguments: tuple[t.Any, ...]) -> Hint:
    if cls is complex:
        raise TypeError("JSON has no complex numbers: take two numbers and make one of them")
    return int if issubclass(cls, numbers.Integral) else int | float


def _enum(reader: _Reader, cls: t.Any, arguments: tuple[t.Any, ...]) -> Hint:
    if _known(cls):
        return cls
    return _converted(cls.__name__, cls, lambda _: {"enum": [member.value for member in cls]})


def _path(reader: _Reader, cls: t.Any, arguments: tuple[t.Any, ...]) -> Hint:
    return _converted(cls.__name__, lambda value: cls(_expect(value, str)), lambda _: {"type": "string"})


def _made_of(kind: t.Any, make: t.Callable[[t.Any, t.Any], t.Any]) -> t.Callable[..., Hint]:
    """A container that is read as `kind` and then made by `make(class, value)`."""

    def compile_class(reader: _Reader, cls: type, arguments: tuple[t.Any, ...]) -> Hint:
        items = reader.container(kind, arguments)
        return _converted(
            cls.__name__, lambda value: make(cls, convert(value, items)), lambda describe: describe(items)
        )

    return compile_class


def _counter(reader: _Reader, cls: type, arguments: tuple[t.Any, ...]) -> Hint:
    return _COUNTED(reader, cls, (arguments[0] if arguments else str, int))


def _pydantic_model(cls: t.Any) -> Hint:
    def convert(value: t.Any) -> t.Any:
        try:
            return cls.model_validate(value)
        except ValueError as error:
            first = error.errors()[0]  # type: ignore[attr-defined]
            where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
            raise ValueError(f"{first['msg']}{_AT}${where}`" if where else first["msg"]) from None

    def schema(describe: Describe) -> Schema:
        return t.cast(Schema, cls.model_json_schema())

    return _converted(cls.__name__, convert, schema)


_BUFFER = getattr(cabc, "Buffer", None)  # since Python 3.12
_BYTES = (bytes, bytearray, memoryview, _BUFFER)
_COUNTED = _made_of(dict, lambda cls, value: cls(value))
_READERS: list[tuple[t.Any, t.Callable[..., Hint]]] = [
    (Enum, _enum),  # before numbers, which an IntEnum is one of
    (numbers.Number, _number),
    (pathlib.PurePath, _path),
    (collections.deque, _made_of(list, lambda cls, value: cls(value))),
    (collections.defaultdict, _made_of(dict, lambda cls, value: cls(None, value))),
    (collections.Counter, _counter),
    (collections.OrderedDict, _COUNTED),
]


def _json_name(value: t.Any) -> str:
    for kind, name in ((bool, "bool"), (str, "str"), (int, "int"), (float, "float"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else type(value).__qualname__


def _expect(value: t.Any, kind: type) -> t.Any:
    if isinstance(value, kind):
        return value
    raise ValueError(f"Expected `{kind.__name__}`, got `{_json_name(value)}`")


# -- parameters ---------------------------------------------------------------------------------


class Parameter:
    """One parameter that can be given by name: its compiled type, and its default unless it is required."""

    __slots__ = ("default", "is_keyword_only", "is_required", "name", "type")

    def __init__(self, parameter: inspect.Parameter, type_: Hint) -> None:
        self.name = parameter.name
        self.type = type_
        self.default = parameter.default
        self.is_required = parameter.default is inspect.Parameter.empty
        self.is_keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY

    def field(self, index: int) -> tuple[str, Hint] | tuple[str, Hint, t.Any]:
        # Not by its own name: that may be `self`, a keyword or a name that Struct keeps for itself.
        if self.is_required:
            return f"p{index}", self.type
        return f"p{index}", self.type, msgspec.field(default_factory=lambda: self.default)


class Parameters:
    """How what a client sends becomes the arguments of a function, worked out once from its signature."""

    def __init__(self, signature: inspect.Signature, hints: dict[str, Hint], reader: _Reader | None = None) -> None:
        reader = reader or _Reader()
        self.named: list[Parameter] = []
        # The compiled types of one of *args and of one of **kwargs; MissingHint without them.
        self.more_positions: Hint = MissingHint
        self.more_names: Hint = MissingHint
        for parameter in signature.parameters.values():
            try:
                type_ = reader.compile(hints.get(parameter.name, MissingHint))
            except TypeError as error:
                raise TypeError(f"the parameter {parameter.name!r}: {error}") from None
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                self.more_positions = type_
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                self.more_names = type_
            else:
                self.named.append(Parameter(parameter, type_))
        self.names = {parameter.name for parameter in self.named}
        self.positional = [parameter for parameter in self.named if not parameter.is_keyword_only]
        self.keyword_only = [parameter.name for parameter in self.named if parameter.is_keyword_only]
        self.none_required = not any(parameter.is_required for parameter in self.named)
        self.by_name = self.struct(self.named, array_like=False)
        self.by_position = self.struct(self.positional, array_like=True)
        self.convert = converter(parameter.type for parameter in self.named)

    @classmethod
    def of(cls, function: t.Any, reader: _Reader | None = None) -> Parameters:
        """Read the signature of a class; raise TypeError when it has none that can be read."""
        try:
            signature = inspect.signature(function)
        except ValueError:
            raise TypeError(f"no JSON value can become {function!r}: its constructor has no signature") from None
        return cls(signature, hints_of(function.__init__) | hints_of(function), reader)

    @staticmethod
    def struct(parameters: list[Parameter], array_like: bool) -> t.Any:
        return msgspec.defstruct(
            "params",
            [parameter.field(index) for index, parameter in enumerate(parameters)],
            rename={f"p{index}": parameter.name for index, parameter in enumerate(parameters)},
            array_like=array_like,
            kw_only=True,
            forbid_unknown_fields=True,
        )

    def bind(self, params: list[t.Any] | dict[str, t.Any]) -> tuple[t.Sequence[t.Any], dict[str, t.Any]]:
        """Return the positional and the keyword arguments to call with, converted and with the defaults filled in.

        Raises msgspec.ValidationError for what does not fit.
        """
        if not params and self.none_required:
            return _NOTHING
        if isinstance(params, list):
            return self.bind_positions(params)
        named: dict[str, t.Any] = {}
        if self.more_names is not MissingHint:
            named = {
                name: _convert_at(f".{name}", value, self.more_names)
                for name, value in params.items()
                if name not in self.names
            }
            params = {name: value for name, value in params.items() if name in self.names}
        values = astuple(self.convert(params, self.by_name))
        if not self.keyword_only:
            return values, named
        count = len(self.positional)
        return values[:count], dict(zip(self.keyword_only, values[count:], strict=True)) | named

    def bind_positions(self, params: list[t.Any]) -> tuple[t.Sequence[t.Any], dict[str, t.Any]]:
        """`bind` for params by position; keyword-only ones keep their defaults."""
        if missing := [p.name for p in self.named if p.is_keyword_only and p.is_required]:
            raise msgspec.ValidationError(f"Object missing required field `{missing[0]}`")
        if self.more_positions is MissingHint:
            return astuple(self.convert(params, self.by_position)), {}
        count = len(self.positional)
        more = [_convert_at(f"[{count + i}]", value, self.more_positions) for i, value in enumerate(params[count:])]
        return (*astuple(self.convert(params[:count], self.by_position)), *more), {}

    def schema(self, describe: Describe, title: str) -> Schema:
        """Return the JSON Schema of params by name."""
        schema: Schema = {"title": title, "type": "object"}
        schema["properties"] = {parameter.name: describe(parameter.type) for parameter in self.named}
        schema["required"] = [parameter.name for parameter in self.named if parameter.is_required]
        if self.more_names is MissingHint:
            schema["additionalProperties"] = False
        return schema


_NOTHING: tuple[t.Sequence[t.Any], dict[str, t.Any]] = ((), {})


def _convert_at(step: str, value: t.Any, type_: Hint) -> t.Any:
    try:
        return convert(value, type_)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{error}{_AT}${step}`") from None


# -- JSON Schema --------------------------------------------------------------------------------


def describe_types(compiled: list[Hint]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return a JSON Schema (draft 2020-12) for each compiled type, and what they refer to in `#/components/schemas`."""
    components: dict[str, Schema] = {}

    def describe(types: list[Hint]) -> list[Schema]:
        schemas, shared = msgspec.json.schema_components(
            types, schema_hook=describe_converted, ref_template="#/components/schemas/{name}"
        )
        components.update(shared)
        return list(schemas)

    def describe_converted(type_: t.Any) -> Schema:
        if not isinstance(type_, _Converted):
            raise NotImplementedError
        return type_.schema(lambda inner: describe([inner])[0])

    return describe(compiled), components


# -- what went wrong ----------------------------------------------------------------------------

# msgspec says: "Expected `int`, got `str` - at `$.items[3].price`"; a converter inside another adds its own end.
_AT = " - at `"
_EXPECTED = re.compile(r"Expected `([^`]*)`(.*?)(?:, got (?:`([^`]*)`|(\d+)))?")
_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
    "date": "a date",
    "datetime": "a date and time",
    "time": "a time",
    "duration": "a duration",
    "uuid": "a UUID",
    "decimal": "a decimal number",
}
_FORMATS = {
    "Invalid UUID": "a UUID",
    "Invalid RFC3339 encoded datetime": 'a date and time such as "2026-01-31T12:00:00Z"',
    "Invalid RFC3339 encoded date": 'a date such as "2026-01-31"',
    "Invalid RFC3339 encoded time": 'a time such as "12:00:00"',
    "Invalid ISO8601 duration": 'a duration such as "PT90S"',
    "Invalid decimal string": "a decimal number",
}
_PRIVATE = re.compile("passw|secret|token|credential|api_?key", re.IGNORECASE)
_UNKNOWN: t.Final = object()


def explain(error: msgspec.ValidationError, params: t.Any, parameters: Parameters) -> str:
    """Return one sentence for the client: where in `params`, what was expected there, what was sent.

    `params.items[3].price: expected a number, got "x"`. What was sent is cut at 100 characters and left out where the
    name tells that it is a secret.
    """
    message, *places = str(error).split(_AT)
    in_key = any(place.startswith("key`") for place in places)
    path = "".join(place.removeprefix("key` in `").strip("`").removeprefix("$") for place in reversed(places))
    if not path and isinstance(params, list) and message.startswith("Expected `array` of"):
        return _wrong_count(params, parameters)
    if field := _FIELD.fullmatch(message):
        kind = "member" if path else "parameter"
        what = f'the {kind} "{field[2]}" is missing' if "missing" in field[1] else f'there is no {kind} "{field[2]}"'
        return f"params{path}: {what}"
    path, value = _locate(params, path, message)
    what = ("a key: " if in_key else "") + (_choice(message, path, parameters) or _expectation(message))
    if value is not _UNKNOWN and not in_key and not _PRIVATE.search(path):
        what += f", got {_shown(value)}"
    return f"params{path}: {what}"


def _wrong_count(params: list[t.Any], parameters: Parameters) -> str:
    if len(params) > len(parameters.positional):
        return f"params: there are {len(parameters.positional)} parameters, got {len(params)}"
    return f'params: the parameter "{parameters.positional[len(params)].name}" is missing'


def _expectation(message: str) -> str:
    if expected := _EXPECTED.fullmatch(message):
        words = " or ".join(_WORDS.get(name, name) for name in expected[1].split(" | "))
        return f"expected {words}{expected[2]}"
    if message in _FORMATS:
        return f"expected {_FORMATS[message]}"
    return message


def _choice(message: str, path: str, parameters: Parameters) -> str | None:
    """Return the values to choose from, where they are few and stand in the parameter itself."""
    if not message.startswith("Invalid enum value"):
        return None
    for index, parameter in enumerate(parameters.named):
        if path in (f".{parameter.name}", f"[{index}]"):
            (schema,), components = describe_types([parameter.type])
            schema = components.get(schema.get("$ref", "").rpartition("/")[2], schema)
            choices = schema.get("enum", [])
            if 0 < len(choices) <= 10:
                return f"expected {' or '.join(map(_shown, choices))}"
    return "expected one of the values that the method knows"


def _locate(params: t.Any, path: str, message: str) -> tuple[str, t.Any]:
    """Return the path with the member of a mapping named where only one can be meant, and the value it leads to."""
    value, seen = params, ""
    for step in _STEP.finditer(path):
        name, index, any_member = step.groups()
        if any_member and isinstance(value, dict):
            name = _only_member(value, path[step.end() :], message)
        try:
            value = value[int(index)] if index else value[name]
        except (LookupError, TypeError):
            return path, _UNKNOWN
        seen += f"[{index}]" if index else f".{name}"
    return seen, value


def _only_member(members: dict[str, t.Any], rest: str, message: str) -> str | None:
    """Return the one member of the type that msgspec complains about; it does not say which one it was."""
    got = (expected := _EXPECTED.fullmatch(message)) and expected[3]
    names = [name for name, value in members.items() if _json_name(value) == got]
    return names[0] if len(names) == 1 and not rest else None


def _shown(value: t.Any) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (ValueError, RecursionError):
        return _WORDS.get(_json_name(value), "something else")
    return text if len(text) <= 100 else text[:99] + "…"
