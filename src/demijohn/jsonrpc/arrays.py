"""NumPy's arrays and scalars, from JSON and back. NumPy is never imported: whoever has an array has done so."""

from __future__ import annotations

import re
import sys
import typing as t

import orjson

from .converting import Describe, Hint, Schema, convert, converted, expect

# The kinds of NumPy's types (numpy.dtype.kind), and what a JSON value of each is. null is a number's NaN.
_ITEMS: dict[str, t.Any] = {
    "b": bool,
    "i": int,
    "u": int,
    "f": float | None,
    "U": str,
    "M": str | None,
    "m": int | None,
}
_ANY_ITEM = bool | int | float | str | None
_NUMBERS = (int, float)
_DEEPEST = 64  # dimensions that NumPy has
_DOUBLE = 8  # bytes


def reader(cls: type, arguments: tuple[t.Any, ...], of_result: bool) -> Hint:
    """Return the type that reads an array or a scalar of NumPy's; `arguments` stand in the brackets of the hint.

    Raises TypeError for what no JSON value can become.
    """
    if issubclass(cls, _numpy().ndarray):
        return _array(cls, *_shape_and_dtype(arguments))
    return _scalar(cls)


def simplify(value: t.Any) -> t.Any:
    """Return what says an array or a scalar of NumPy's in JSON: nested lists; NaT as None; records as dicts.

    orjson takes arrays as they are, but would say 1970 for a NaT.
    """
    numpy = _numpy()
    if type(value) is numpy.ndarray and value.dtype.kind in "biuf" and value.flags.c_contiguous:
        try:
            return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
        except orjson.JSONEncodeError:  # a width that it does not know
            pass
    if value.dtype.kind == "f" and value.dtype.itemsize > _DOUBLE:
        return value.astype(float).tolist()  # tolist() would give NumPy's own numbers
    if value.dtype.names:
        return _records(value)
    if value.dtype.kind in "Mm":
        if isinstance(value, numpy.ma.MaskedArray):
            value = value.filled(numpy.array("NaT", value.dtype))
        texts = numpy.datetime_as_string(value) if value.dtype.kind == "M" else value.astype("int64")
        return numpy.where(numpy.isnat(value), None, texts).tolist()
    return value.tolist()


def _records(value: t.Any) -> t.Any:
    if value.ndim:
        return [_records(item) for item in value]
    return {name: value[name] for name in value.dtype.names}


def _numpy() -> t.Any:
    return sys.modules["numpy"]


def _shape_and_dtype(arguments: tuple[t.Any, ...]) -> tuple[int | None, t.Any]:
    """Return the number of dimensions and the dtype that `ndarray[tuple[int, int], dtype[float64]]` names, or None."""
    shape, dtype = (*arguments, None, None)[:2]
    sizes = t.get_args(shape)
    dimensions = len(sizes) if sizes and ... not in sizes else None
    named = (*t.get_args(dtype), None)[0]
    is_concrete = isinstance(named, type) and named.__module__ == "numpy" and not _is_abstract(named)
    return dimensions, _numpy().dtype(named) if is_concrete else None


def _is_abstract(scalar: type) -> bool:
    return any(base.__module__ == "numpy" for base in t.cast(t.Any, scalar).__subclasses__())


def _array(cls: type, dimensions: int | None, dtype: t.Any) -> Hint:
    item = _item_of(dtype)

    def read(value: t.Any) -> t.Any:
        depth = dimensions or _depth(expect(value, list))
        nested = item
        for _ in range(depth):
            nested = list[nested]  # type: ignore[valid-type]
        return _made(convert(value, nested), dtype).view(cls)

    return converted(cls.__name__, read, lambda describe: _schema(describe(item) if dtype else {}, dimensions))


def _item_of(dtype: t.Any) -> Hint:
    if dtype is None:
        return _ANY_ITEM
    try:
        return _ITEMS[dtype.kind]
    except KeyError:
        raise TypeError(f"no JSON value can become an array of {dtype}") from None


def _depth(value: t.Any) -> int:
    """Return how deep lists are nested, by the first item of each."""
    depth = 0
    while isinstance(value, list) and depth < _DEEPEST:
        depth += 1
        value = value[0] if value else None
    return depth


def _made(items: list[t.Any], dtype: t.Any) -> t.Any:
    numpy = _numpy()
    if dtype is not None and dtype.kind == "M":
        items = _in_utc(items)
    try:
        with numpy.errstate(over="raise"):
            array = numpy.array(items, dtype)
    except FloatingPointError:
        raise ValueError(f"Expected numbers that fit {dtype}") from None
    except OverflowError:
        raise ValueError(f"Expected numbers that fit {dtype}") from None
    except ValueError as error:
        # NumPy words this for programmers; what it means for JSON is one thing or the other.
        ragged = "inhomogeneous" in str(error)
        raise ValueError("Expected rows of one length" if ragged else f"Expected values of {dtype}") from None
    if dtype is None and array.dtype.kind in "OU":
        kept = numpy.array(items, object)
        if all(item is None or type(item) in _NUMBERS for item in kept.flat):
            try:
                return kept.astype(float)
            except OverflowError:
                raise ValueError("Expected numbers that fit float64") from None
        # NumPy would make "1" of a 1 that stands beside a string.
        return array if all(type(item) is str for item in kept.flat) else kept
    return array


_OFFSET = re.compile(r"(.*T.*)(?:Z|([+-])(\d\d):?(\d\d))", re.IGNORECASE)


def _in_utc(item: t.Any) -> t.Any:
    """Return a date and time with an offset as that of UTC, in lists too: datetime64 has none."""
    if isinstance(item, list):
        return [_in_utc(each) for each in item]
    if not isinstance(item, str) or not (found := _OFFSET.fullmatch(item)):
        return item
    naive, sign, hours, minutes = found.groups()
    offset = int(hours or 0) * 60 + int(minutes or 0)
    made = _numpy().datetime64(naive) - _numpy().timedelta64(-offset if sign == "-" else offset, "m")
    return str(made)


def _schema(item: Schema, dimensions: int | None) -> Schema:
    if dimensions is None:
        return {"type": "array", "items": {"anyOf": [item, {"type": "array"}]}} if item else {"type": "array"}
    for _ in range(dimensions):
        item = {"type": "array", "items": item}
    return item


def _scalar(cls: t.Any) -> Hint:
    numpy = _numpy()
    if issubclass(cls, numpy.timedelta64):  # which derives from the integers
        raise TypeError(f"no JSON value can become {cls!r}")
    for base, kind in ((numpy.integer, int), (numpy.floating, float), (numpy.bool_, bool), (numpy.str_, str)):
        if issubclass(cls, base):
            return _number(cls, kind) if not _is_abstract(cls) else kind
    if issubclass(cls, numpy.datetime64):
        return converted(cls.__name__, _date, lambda describe: {"type": ["string", "null"], "format": "date-time"})
    if cls is numpy.number or cls is numpy.generic:
        return int | float
    raise TypeError(f"no JSON value can become {cls!r}")


def _number(cls: t.Any, kind: type) -> Hint:
    def read(value: t.Any) -> t.Any:
        try:
            with _numpy().errstate(over="raise"):
                return cls(convert(value, kind))
        except (OverflowError, FloatingPointError):
            raise ValueError(f"Expected a number that fits {cls.__name__}") from None

    def schema(describe: Describe) -> Schema:
        if kind is not int:
            return describe(kind)
        limits = _numpy().iinfo(cls)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}

    return converted(cls.__name__, read, schema)


def _date(value: t.Any) -> t.Any:
    if value is None:
        return _numpy().datetime64("NaT")
    try:
        return _numpy().datetime64(_in_utc(expect(value, str)))
    except ValueError:
        raise ValueError("Invalid RFC3339 encoded datetime") from None
