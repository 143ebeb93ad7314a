"""Data frames and series of pandas and Polars, from JSON and back.

Neither is imported here: whoever has a frame has done so. A frame is an array of records (`[{"a": 1}, {"a": 2}]`), an
object of columns (`{"a": [1, 2]}`) or split into `{"columns": ["a"], "data": [[1], [2]]}`; a missing value is null.
"""

from __future__ import annotations

import sys
import typing as t
from enum import Enum

import msgspec

from .converting import Describe, Hint, Schema, convert, converted, json_name

Columns = dict[str, list[t.Any]]


class Orient(Enum):
    """How a data frame stands in JSON: `Annotated[DataFrame, Orient.SPLIT]`.

    .. versionadded:: 0.1
    """

    RECORDS = "records"
    COLUMNS = "columns"
    SPLIT = "split"


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """A frame whose names and values are apart."""

    columns: list[str]
    data: list[list[t.Any]]
    index: list[t.Any] | None = None


_FORMS: dict[Orient, t.Any] = {Orient.RECORDS: list[dict[str, t.Any]], Orient.COLUMNS: Columns, Orient.SPLIT: Split}


# -- reading ------------------------------------------------------------------------------------


def reader(cls: type, arguments: tuple[t.Any, ...], of_result: bool) -> Hint:
    """Return the type that reads a frame or a series.

    Raises TypeError for the other classes of pandas and Polars.
    """
    module = sys.modules["pandas" if _is_of_pandas(cls) else "polars"]
    if issubclass(cls, module.DataFrame):
        return frame(cls)
    if issubclass(cls, module.Series):
        return _series(cls, module)
    if module.__name__ == "polars" and issubclass(cls, module.LazyFrame):
        return frame(module.DataFrame, lambda made: made.lazy())
    if module.__name__ == "pandas" and issubclass(cls, module.Index):
        return _made_of(cls, list[t.Any], cls)
    if cls.__name__ == "Timestamp":
        return _made_of(cls, str, cls, {"type": "string", "format": "date-time"})
    raise TypeError(f"no JSON value can become {cls!r}")


def frame(cls: t.Any, finish: t.Callable[[t.Any], t.Any] = lambda made: made, only: Orient | None = None) -> Hint:
    """Return the type that reads a frame in any of its forms, or in the `only` one there is to be."""
    make = _pandas_frame if _is_of_pandas(cls) else _polars_frame

    def read(value: t.Any) -> t.Any:
        form = only or _form_of(value)
        columns, index = _columns(convert(value, _FORMS[form]))
        return finish(make(cls, columns, index))

    def schema(describe: Describe) -> Schema:
        forms = [only] if only else list(Orient)
        described = [_schema_of(form) for form in forms]
        return described[0] if only else {"title": cls.__name__, "anyOf": described}

    return converted(cls.__name__, read, schema)


def _is_of_pandas(cls: type) -> bool:
    return any(base.__module__.partition(".")[0] == "pandas" for base in cls.__mro__)


def _schema_of(form: Orient) -> Schema:
    if form is Orient.RECORDS:
        return {"type": "array", "items": {"type": "object"}}
    if form is Orient.COLUMNS:
        return {"type": "object", "additionalProperties": {"type": "array"}}
    properties = {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"type": "array", "items": {"type": "array"}},
        "index": {"type": ["array", "null"]},
    }
    return {"type": "object", "properties": properties, "required": ["columns", "data"], "additionalProperties": False}


def _form_of(value: t.Any) -> Orient:
    if isinstance(value, list):
        return Orient.RECORDS
    if not isinstance(value, dict):
        raise ValueError(f"Expected `array | object`, got `{json_name(value)}`")
    # A frame with columns of these very names is said as records.
    is_split = "columns" in value and "data" in value and value.keys() <= {"columns", "data", "index"}
    return Orient.SPLIT if is_split else Orient.COLUMNS


def _columns(form: list[dict[str, t.Any]] | Columns | Split) -> tuple[Columns, list[t.Any] | None]:
    """Return the columns by name, all of one length, and the index if one was sent."""
    if isinstance(form, list):
        names = dict.fromkeys(name for record in form for name in record)
        return {name: [record.get(name) for record in form] for name in names}, None
    if isinstance(form, dict):
        lengths = {name: len(values) for name, values in form.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"Expected columns of one length, not {', '.join(f'{n}: {k}' for n, k in lengths.items())}"
            )
        return form, None
    if len(set(form.columns)) < len(form.columns):
        raise ValueError("Expected columns of different names")
    for number, row in enumerate(form.data):
        if len(row) != len(form.columns):
            raise ValueError(f"Expected {len(form.columns)} values in each row, not {len(row)} in row {number}")
    if form.index is not None and len(form.index) != len(form.data):
        raise ValueError(f"Expected {len(form.data)} values in the index, not {len(form.index)}")
    rows = zip(*form.data, strict=True) if form.data else ([] for _ in form.columns)
    return {name: list(values) for name, values in zip(form.columns, rows, strict=True)}, form.index


def _pandas_frame(cls: t.Any, columns: Columns, index: list[t.Any] | None) -> t.Any:
    return cls(columns, index=index)


def _polars_frame(cls: t.Any, columns: Columns, index: list[t.Any] | None) -> t.Any:
    return cls({name: _polars_values(name, values) for name, values in columns.items()})


def _polars_values(name: str, values: list[t.Any]) -> t.Any:
    polars = sys.modules["polars"]
    if any(type(value) is float for value in values):
        # 1 is a number to JSON as 1.5 is; Polars would refuse the two in one column.
        values = [float(value) if type(value) is int else value for value in values]
    try:
        return polars.Series(name, values)
    except (TypeError, OverflowError, polars.exceptions.PolarsError):
        raise ValueError(f"Expected values of one type in the column {name!r}") from None


def _series(cls: t.Any, module: t.Any) -> Hint:
    if module.__name__ == "polars":
        return _made_of(cls, list[t.Any], lambda values: _polars_values("", values))
    return _made_of(cls, list[t.Any] | dict[str, t.Any], cls)


def _made_of(cls: t.Any, form: Hint, make: t.Callable[[t.Any], t.Any], schema: Schema | None = None) -> Hint:
    return converted(cls.__name__, lambda value: make(convert(value, form)), lambda describe: schema or describe(form))


# -- writing ------------------------------------------------------------------------------------


def oriented(form: Orient) -> t.Callable[[t.Any], t.Any]:
    """Return what says a frame in that form."""

    def write(value: t.Any) -> t.Any:
        is_frame = hasattr(type(value), "columns")  # of a LazyFrame itself, it would be asked for at a price
        return _frame(value, form) if is_frame else value

    return write


def simplify_pandas(value: t.Any) -> t.Any:
    """Return what says a thing of pandas' in JSON: a frame as records, a Series as an array or, by index, an object.

    Raises TypeError when that would lose values.
    """
    pandas = sys.modules["pandas"]
    if value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, pandas.DataFrame):
        return _frame(value, Orient.RECORDS)
    if isinstance(value, pandas.Series):
        return _values(value) if not _means_something(value.index) else _object(value)
    if isinstance(value, pandas.Index) or hasattr(value, "__array__"):
        return _values(pandas.Series(value))
    if hasattr(value, "isoformat"):  # Timestamp, Timedelta
        return value.isoformat()
    if isinstance(value, pandas.Period | pandas.Interval | pandas.tseries.offsets.BaseOffset):
        return str(value)
    raise TypeError(f"{type(value).__qualname__} has no form in JSON")  # a GroupBy that was not summed up


def simplify_polars(value: t.Any) -> t.Any:
    """Return what says a frame or a Series of Polars' in JSON."""
    polars = sys.modules["polars"]
    if isinstance(value, polars.DataFrame | polars.LazyFrame):
        return _frame(value, Orient.RECORDS)
    if isinstance(value, polars.Series):
        return value.to_list()
    raise TypeError(f"{type(value).__qualname__} has no form in JSON")


def _frame(value: t.Any, form: Orient) -> t.Any:
    """Return a frame of pandas' or Polars' in that form."""
    if _is_of_pandas(type(value)):
        columns = _pandas_columns(value, form)
    else:
        eager = value.collect() if hasattr(value, "collect") else value
        columns = [(series.name, series.to_list()) for series in eager.get_columns()]
    names = [name for name, _ in columns]
    rows = zip(*(values for _, values in columns), strict=True)
    if form is Orient.SPLIT:
        return {"columns": names, "data": [list(row) for row in rows]}
    if len(set(names)) < len(names):
        raise TypeError(f"columns of one name ({', '.join(names)}) have no form in JSON but Orient.SPLIT")
    if form is Orient.COLUMNS:
        return dict(columns)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _pandas_columns(value: t.Any, form: Orient) -> list[tuple[str, list[t.Any]]]:
    # An index of plain numbers says where rows once stood; any other is data.
    told = value.reset_index() if _means_something(value.index) else value
    return [(str(name), _values(told.iloc[:, number])) for number, name in enumerate(told.columns)]


def _means_something(index: t.Any) -> bool:
    is_numbered = getattr(index.dtype, "kind", "") in "iu" and index.nlevels == 1
    return any(name is not None for name in index.names) or not (is_numbered or len(index) == 0)


def _values(series: t.Any) -> list[t.Any]:
    if getattr(series.dtype, "kind", "") in "biuf" and series.dtype.__class__.__module__.startswith("numpy"):
        return list(series.tolist())  # NaN becomes null where every float does
    return list(series.astype(object).where(series.notna(), None).tolist())


def _object(series: t.Any) -> dict[str, t.Any]:
    names = [str(name) for name in series.index]
    if len(set(names)) < len(names):
        raise TypeError(
            "a Series whose index has a value twice has no form in JSON: return .tolist() or .reset_index()"
        )
    return dict(zip(names, _values(series), strict=True))
