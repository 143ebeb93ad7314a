"""Constraints in `Annotated`: those of msgspec, of annotated-types and of pydantic, held to whatever the type."""

from __future__ import annotations

import dataclasses
import sys
import typing as t
from functools import lru_cache

import msgspec

from .converting import Describe, Hint, Schema, convert, converted, is_known
from .types import params

_STATED: dict[type, str] = {
    params.Summary: "title",
    params.Description: "description",
    params.Deprecated: "deprecated",
    params.Minimum: "minimum",
    params.Maximum: "maximum",
    params.MultipleOf: "multipleOf",
    params.MinLength: "minLength",
    params.MaxLength: "maxLength",
}
# What annotated-types calls them (https://github.com/annotated-types/annotated-types), JSON Schema, and a sentence.
_BOUNDS: dict[str, tuple[str, t.Callable[[t.Any, t.Any], bool], str]] = {
    "gt": ("exclusiveMinimum", lambda value, bound: value > bound, "> {}"),
    "ge": ("minimum", lambda value, bound: value >= bound, ">= {}"),
    "lt": ("exclusiveMaximum", lambda value, bound: value < bound, "< {}"),
    "le": ("maximum", lambda value, bound: value <= bound, "<= {}"),
    "multiple_of": ("multipleOf", lambda value, bound: not value % bound, "that's a multiple of {}"),
    "min_length": ("minLength", lambda value, bound: len(value) >= bound, "of length >= {}"),
    "max_length": ("maxLength", lambda value, bound: len(value) <= bound, "of length <= {}"),
}


def constrained(compiled: Hint, extras: t.Iterable[t.Any], holds_statements: bool) -> Hint:
    """Return the compiled type with what stands beside it in `Annotated`: bounds, predicates, descriptions.

    holds_statements: whether values are held to those of `types.params` too, which a method does for its parameters
    itself, in words of its own.
    What none of them says anything about a value, such as a marker of another library, is left out.
    """
    for extra in extras:
        if holds_statements and _holds_to_something(extra):
            compiled = _that_keeps_to(compiled, extra)
        if (meta := _meta(extra)) is not None:
            annotated = t.Annotated[compiled, meta]
            is_held = isinstance(meta, msgspec.Meta) and is_known(annotated)
            compiled = annotated if is_held else _bounded(compiled, meta)
        elif callable(predicate := getattr(extra, "func", None)) and type(extra).__name__ == "Predicate":
            compiled = _that_holds(compiled, predicate)
    return compiled


def _meta(extra: t.Any) -> msgspec.Meta | None:
    if isinstance(extra, msgspec.Meta):
        return extra
    if isinstance(extra, params.BaseAnnotatedMetadata):
        stated = _stated(extra)
        return msgspec.Meta(extra_json_schema=stated) if stated else None
    if isinstance(extra, str):
        return msgspec.Meta(description=extra)
    if isinstance(text := getattr(extra, "documentation", None), str):  # typing_extensions.Doc
        return msgspec.Meta(description=text)
    if _is_pydantic(extra) or isinstance(extra, type):
        return None
    bounds = {name: value for name in _BOUNDS if (value := getattr(extra, name, None)) is not None}
    if bounds.get("min_length") == 0:
        del bounds["min_length"]
    if not bounds:
        return None
    try:
        return msgspec.Meta(**bounds)
    except (TypeError, ValueError):
        # Bounds of dates or decimals, which msgspec takes none of.
        return _Bounds(bounds)  # type: ignore[return-value]


def _stated(statement: t.Any) -> Schema:
    """Return what one of `types.params` says in JSON Schema."""
    if isinstance(statement, params.Example):
        return {"examples": [statement.value]}
    if isinstance(statement, params.Pattern):
        return {"pattern": getattr(statement.pattern, "pattern", statement.pattern)}
    if (word := _STATED.get(type(statement))) is None:
        return {}
    (value,) = (getattr(statement, field.name) for field in dataclasses.fields(statement))
    return {word: value}


class _Bounds:
    """What stands for a `msgspec.Meta` where bounds are no plain numbers."""

    def __init__(self, bounds: dict[str, t.Any]) -> None:
        vars(self).update(bounds)


def _bounded(inner: Hint, meta: t.Any) -> Hint:
    """A type whose value is compared after it has been read; null passes, as there is nothing to compare."""
    bounds = {name: value for name in _BOUNDS if (value := getattr(meta, name, None)) is not None}

    def read(value: t.Any) -> t.Any:
        made = convert(value, inner)
        for name, bound in bounds.items():
            _, holds, words = _BOUNDS[name]
            if made is not None and not holds(made, bound):
                raise ValueError(f"Expected `value` {words.format(bound)}")
        return made

    def schema(describe: Describe) -> Schema:
        described = describe(inner)
        numbers = {_BOUNDS[name][0]: bound for name, bound in bounds.items() if type(bound) in (int, float)}
        if described.get("type") == "array":
            numbers = {key.replace("Length", "Items"): bound for key, bound in numbers.items()}
        if description := getattr(meta, "description", None):
            numbers["description"] = description
        return described | numbers

    return converted(getattr(inner, "__name__", "value"), read, schema)


def _holds_to_something(extra: t.Any) -> bool:
    return isinstance(extra, params.BaseAnnotatedMetadata) and not isinstance(extra, params.DefaultTypeCheckMixin)


def _that_keeps_to(inner: Hint, statement: params.BaseAnnotatedMetadata) -> Hint:
    def read(value: t.Any) -> t.Any:
        verdict = statement.type_check("value", convert(value, inner))
        if isinstance(verdict, params.Err):
            raise ValueError(verdict.message)
        return verdict.value

    return converted(getattr(inner, "__name__", "value"), read, lambda describe: describe(inner))


def _that_holds(inner: Hint, predicate: t.Callable[[t.Any], bool]) -> Hint:
    def read(value: t.Any) -> t.Any:
        made = convert(value, inner)
        if not predicate(made):
            raise ValueError(f"Expected `value` for which {getattr(predicate, '__name__', predicate)!s} holds")
        return made

    return converted(getattr(inner, "__name__", "value"), read, lambda describe: describe(inner))


# -- pydantic -----------------------------------------------------------------------------------


def is_for_pydantic(hint: Hint, extras: t.Iterable[t.Any] = ()) -> bool:
    """Whether pydantic is to read the type: a class that it knows how to, or one with its constraints beside it."""
    # A model has both, one of its types the first, one of its dataclasses the second.
    known = hasattr(hint, "__get_pydantic_core_schema__") or hasattr(hint, "__pydantic_validator__")
    # A class may be ready for pydantic where nobody uses it.
    return (known and "pydantic" in sys.modules) or any(map(_is_pydantic, extras))


def has_constraints(hint: Hint) -> bool:
    """Whether something in the hint stands in `Annotated` that means a constraint to us and nothing to msgspec."""
    if isinstance(hint, t.NewType):
        return has_constraints(hint.__supertype__)
    if hasattr(hint, "__value__"):  # `type Name = ...` of Python 3.12
        return has_constraints(hint.__value__)
    extras = getattr(hint, "__metadata__", ())
    is_foreign = any(not isinstance(extra, msgspec.Meta) and _says_something(extra) for extra in extras)
    return is_foreign or any(map(has_constraints, t.get_args(hint)))


def _says_something(extra: t.Any) -> bool:
    is_known = type(extra).__name__ == "Predicate" or _meta(extra) is not None
    return is_known or _is_pydantic(extra) or _holds_to_something(extra)


def _is_pydantic(extra: t.Any) -> bool:
    return type(extra).__module__.partition(".")[0] == "pydantic"


@lru_cache(maxsize=1)
def _generator() -> t.Any:
    """Return pydantic's writer of schemas, without titles for members: "First Name" says no more than `first_name`."""
    generator: t.Any = sys.modules["pydantic.json_schema"].GenerateJsonSchema
    return type("Untitled", (generator,), {"field_title_should_be_set": lambda self, schema: False})


def by_pydantic(hint: Hint, of_result: bool = False) -> Hint:
    """Return the type that pydantic reads; `of_result` describes what it writes, which may have other members.

    Raises TypeError when it cannot.
    """
    pydantic = sys.modules["pydantic"]
    try:
        adapter = pydantic.TypeAdapter(hint)
    except pydantic.PydanticUserError as error:
        raise TypeError(f"pydantic cannot read {hint!r}: {error.message}") from None
    name = getattr(hint, "__name__", "value")

    def read(value: t.Any) -> t.Any:
        try:
            return adapter.validate_python(value)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
            raise ValueError(f"{first['msg']} - at `${where}`" if where else first["msg"]) from None

    def schema(describe: Describe) -> Schema:
        mode = "serialization" if of_result else "validation"
        described: Schema = adapter.json_schema(ref_template="{model}", mode=mode, schema_generator=_generator())
        if described.get("type") != "object" or "$ref" in described:
            return described
        # A model that nothing refers to stands in the components too, as every class with fields does.
        return {"$ref": name, "$defs": described.pop("$defs", {}) | {name: described}}

    return converted(name, read, schema)
