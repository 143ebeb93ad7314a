"""What a parameter or a result must be besides its type, and what is told of it: for `typing.Annotated`.

`Annotated[int, Minimum(1), Maximum(5), Summary("How many")]`. Each class is one statement. Those that hold a value to
something say in `type_check` whether it does; the others describe. Subclass `BaseAnnotatedMetadata` for one's own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

#: What `Required` takes for nothing.
EMPTY_VALUES: tuple[Any, ...] = (None, "", [], (), {})


@dataclass(slots=True)
class Ok:
    """The value keeps to the statement."""

    value: Any


@dataclass(slots=True)
class Err:
    """The value does not; the message says so to the client."""

    message: str


class BaseAnnotatedMetadata:
    """A statement about a parameter or a result."""

    __slots__ = ()

    def type_check(self, name: str, value: Any) -> Ok | Err:
        """Whether `value`, given for the parameter `name`, keeps to the statement."""
        raise NotImplementedError


class DefaultTypeCheckMixin:
    """A statement that only describes."""

    __slots__ = ()

    def type_check(self, name: str, value: Any) -> Ok | Err:
        return Ok(value)


def extract_digits_and_decimals(value: Decimal) -> tuple[int, int]:
    """Return how many digits a number has when it is written without an exponent, and how many behind the point.

    Raises TypeError for NaN and the infinities.
    """
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise TypeError("ensure the value of the parameter is a number")
    if exponent >= 0:
        return (len(digits) + exponent if any(digits) else 1), 0
    # Zeros between the point and the first digit are digits too: 4.08E-10 has twelve.
    return max(len(digits), -exponent), -exponent


def _held(name: str, value: Any, holds: bool, rule: str) -> Ok | Err:
    # The words are part of the answer: those that clients of Flask-JSONRPC get.
    return Ok(value) if holds else Err(f"ensure the value of the parameter {name!r} {rule}")


def _positive(name: str, number: int) -> None:
    if number <= 0:
        raise ValueError(f"invalid `{name}` value. The value must be greater than 0")


# -- descriptions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Summary(DefaultTypeCheckMixin, BaseAnnotatedMetadata):
    """One line on what it is."""

    summary: str


@dataclass(frozen=True, slots=True)
class Description(DefaultTypeCheckMixin, BaseAnnotatedMetadata):
    """More than one line on what it is."""

    description: str


@dataclass(frozen=True, slots=True)
class Properties(DefaultTypeCheckMixin, BaseAnnotatedMetadata):
    """What the members of an object are, by their names; a member that is an object has `Properties` again."""

    annotations: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Example(DefaultTypeCheckMixin, BaseAnnotatedMetadata):
    """A value it may have."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Deprecated(DefaultTypeCheckMixin, BaseAnnotatedMetadata):
    """Whether it should no longer be used."""

    deprecated: bool = True


# -- constraints ----------------------------------------------------------------------------------
# A constraint of size says nothing of null: whether that may be is for `Required`, `Nullable` and the hint to say.


@dataclass(frozen=True, slots=True)
class Required(BaseAnnotatedMetadata):
    """Neither null nor empty."""

    required: bool = True

    def type_check(self, name: str, value: Any) -> Ok | Err:
        empty = any(value is nothing or (type(value) is type(nothing) and value == nothing) for nothing in EMPTY_VALUES)
        return _held(name, value, not (self.required and empty), "is not empty")


@dataclass(frozen=True, slots=True)
class Nullable(BaseAnnotatedMetadata):
    """Whether null may be given."""

    nullable: bool = True

    def type_check(self, name: str, value: Any) -> Ok | Err:
        return Err(f"ensure the parameter {name!r} is not null") if value is None and not self.nullable else Ok(value)


@dataclass(frozen=True, slots=True)
class Maximum(BaseAnnotatedMetadata):
    """At most."""

    maximum: float

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or value <= self.maximum
        return _held(name, value, holds, f"is less than or equal to {self.maximum}")


@dataclass(frozen=True, slots=True)
class Minimum(BaseAnnotatedMetadata):
    """At least."""

    minimum: float

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or value >= self.minimum
        return _held(name, value, holds, f"is greater than or equal to {self.minimum}")


@dataclass(frozen=True, slots=True)
class MultipleOf(BaseAnnotatedMetadata):
    """A multiple of a number."""

    multiple_of: float

    def __post_init__(self) -> None:
        if self.multiple_of <= 0:
            raise ValueError("invalid `multiple_of` value. The value must be greater than 0")

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or (_is_finite(value) and _exact(value) % _exact(self.multiple_of) == 0)
        return _held(name, value, holds, f"is a multiple of {self.multiple_of}")


@dataclass(frozen=True, slots=True)
class MaxLength(BaseAnnotatedMetadata):
    """At most so many characters or items."""

    max_length: int

    def __post_init__(self) -> None:
        _positive("max_length", self.max_length)

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or len(value) <= self.max_length
        return _held(name, value, holds, f"is less than or equal to {self.max_length}")


@dataclass(frozen=True, slots=True)
class MinLength(BaseAnnotatedMetadata):
    """At least so many characters or items."""

    min_length: int

    def __post_init__(self) -> None:
        _positive("min_length", self.min_length)

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or len(value) >= self.min_length
        return _held(name, value, holds, f"is greater than or equal to {self.min_length}")


@dataclass(frozen=True, slots=True)
class Pattern(BaseAnnotatedMetadata):
    """A string that begins with what the regular expression matches (`re.match`)."""

    pattern: re.Pattern[str] | str

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or re.match(self.pattern, value) is not None
        return _held(name, value, holds, f"matches the valid pattern {self.pattern!r}")


@dataclass(frozen=True, slots=True)
class AllowInfNan(BaseAnnotatedMetadata):
    """Whether a number may be infinite or not a number."""

    allow_inf_nan: bool = True

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or self.allow_inf_nan or _is_finite(value)
        return _held(name, value, holds, "is not infinity, negative infinity, or NaN")


@dataclass(frozen=True, slots=True)
class MaxDigits(BaseAnnotatedMetadata):
    """At most so many digits, those behind the point included, and zeros that lead not."""

    max_digits: int

    def __post_init__(self) -> None:
        _positive("max_digits", self.max_digits)

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or _significant(value) <= self.max_digits
        return _held(name, value, holds, f"has a maximum of {self.max_digits} digits")


@dataclass(frozen=True, slots=True)
class DecimalPlaces(BaseAnnotatedMetadata):
    """At most so many digits behind the point."""

    decimal_places: int

    def __post_init__(self) -> None:
        _positive("decimal_places", self.decimal_places)

    def type_check(self, name: str, value: Any) -> Ok | Err:
        holds = value is None or _digits(value)[1] <= self.decimal_places
        return _held(name, value, holds, f"has a maximum of {self.decimal_places} decimal places")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int) or math.isfinite(value)  # an int may be too large for a float


def _exact(value: Any) -> Fraction:
    # As the numbers are written: in binary 0.3 is no multiple of 0.1. Decimal would divide 28 digits, not more.
    return Fraction(value if isinstance(value, int) else str(value))


def _significant(value: Any) -> int:
    number = Decimal(str(value))
    total, decimals = extract_digits_and_decimals(number)
    return len(number.as_tuple().digits) if decimals else total


def _digits(value: Any) -> tuple[int, int]:
    return extract_digits_and_decimals(Decimal(str(value)))
