"""How what a client sends becomes the arguments of a function."""

from __future__ import annotations

import inspect
import typing as t

import msgspec
from msgspec.structs import astuple

from .converting import Describe, Hint, Schema, convert_at, converter
from .resolving import hints_of
from .schemas import default_of

MissingHint = inspect.Parameter.empty
Compile = t.Callable[[Hint], Hint]


class Parameter:
    """One parameter that can be given by name: its compiled type, and its default unless it is required."""

    __slots__ = ("default", "is_keyword_only", "is_required", "name", "type")

    def __init__(self, parameter: inspect.Parameter, type_: Hint) -> None:
        self.name = parameter.name
        self.type = type_
        self.default = parameter.default
        self.is_required = parameter.default is inspect.Parameter.empty
        self.is_keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY

    def schema(self, describe: Describe) -> Schema:
        """Return its JSON Schema, with its default."""
        schema = describe(self.type)
        return schema if self.is_required else schema | default_of(self.default)

    def field(self, index: int) -> tuple[str, Hint] | tuple[str, Hint, t.Any]:
        # Not by its own name: that may be `self`, a keyword or a name that Struct keeps for itself.
        if self.is_required:
            return f"p{index}", self.type
        return f"p{index}", self.type, msgspec.field(default_factory=lambda: self.default)


class Parameters:
    """How what a client sends becomes the arguments of a function, worked out once from its signature."""

    def __init__(self, signature: inspect.Signature, hints: dict[str, Hint], compile_hint: Compile) -> None:
        self.named: list[Parameter] = []
        # The compiled types of one of *args and of one of **kwargs; MissingHint without them.
        self.more_positions: Hint = MissingHint
        self.more_names: Hint = MissingHint
        for parameter in signature.parameters.values():
            try:
                type_ = compile_hint(hints.get(parameter.name, MissingHint))
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
    def of(cls, function: t.Any, compile_hint: Compile) -> Parameters:
        """Read the signature of a class; raise TypeError when it has none that can be read."""
        try:
            signature = inspect.signature(function)
        except ValueError:
            raise TypeError(f"no JSON value can become {function!r}: its constructor has no signature") from None
        return cls(signature, hints_of_constructor(function, signature), compile_hint)

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
            return NOTHING
        if isinstance(params, list):
            return self.bind_positions(params)
        named: dict[str, t.Any] = {}
        if self.more_names is not MissingHint:
            named = {
                name: convert_at(f".{name}", value, self.more_names)
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
        more = [convert_at(f"[{count + i}]", value, self.more_positions) for i, value in enumerate(params[count:])]
        return (*astuple(self.convert(params[:count], self.by_position)), *more), {}

    def schema(self, describe: Describe, title: str) -> Schema:
        """Return the JSON Schema of params by name."""
        schema: Schema = {"title": title, "type": "object"}
        schema["properties"] = {parameter.name: parameter.schema(describe) for parameter in self.named}
        schema["required"] = [parameter.name for parameter in self.named if parameter.is_required]
        if self.more_names is MissingHint:
            schema["additionalProperties"] = False
        return schema

    def schema_of_items(self, describe: Describe, title: str, is_complete: bool) -> Schema:
        """Return the JSON Schema of params by position; `is_complete` when those with defaults are there too."""
        required = len(self.named) if is_complete else sum(parameter.is_required for parameter in self.named)
        items = [parameter.schema(describe) for parameter in self.named]
        return {"title": title, "type": "array", "prefixItems": items, "items": False, "minItems": required}


def is_constructor_generated(cls: t.Any) -> bool:
    """Whether the constructor of a class was made from its fields, by dataclasses, attrs or NamedTuple."""
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return True
    own = vars(next(base for base in cls.__mro__ if "__init__" in vars(base)))
    by_dataclass = "__dataclass_params__" in own and bool(own["__dataclass_params__"].init)
    return by_dataclass or ("__attrs_attrs__" in own and "__attrs_init__" not in own)


def hints_of_constructor(cls: t.Any, signature: inspect.Signature) -> dict[str, Hint]:
    """Return the hints of what the constructor of a class takes."""
    if is_constructor_generated(cls):
        # Not those of the constructor itself: it may name what only the module of a base class knows.
        hints = hints_of(cls)
        attributes = getattr(cls, "__attrs_attrs__", ())
        return hints | {each.alias: hints[each.name] for each in attributes if each.name in hints}
    own = [function for function in (cls.__init__, cls.__new__) if inspect.isfunction(function)]
    hints = hints_of(own[0]) if own else {}
    if signature.parameters.keys() <= hints.keys():
        return hints
    return hints_of(cls) | hints


NOTHING: tuple[t.Sequence[t.Any], dict[str, t.Any]] = ((), {})
