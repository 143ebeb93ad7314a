"""The types of NumPy, pandas, Polars, Pillow and matplotlib: which module here reads and writes them.

They are known by the name of their package, so that none of them is imported by us.
"""

from __future__ import annotations

import typing as t
from enum import Enum
from functools import lru_cache

from . import arrays, frames, pictures
from .converting import Hint

Read = t.Callable[[type, tuple[t.Any, ...], bool], Hint]
Write = t.Callable[[t.Any], t.Any]

_PACKAGES: dict[str, tuple[Read, Write]] = {
    "numpy": (arrays.reader, arrays.simplify),
    "pandas": (frames.reader, frames.simplify_pandas),
    "polars": (frames.reader, frames.simplify_polars),
    "PIL": (pictures.reader, pictures.simplify_image),
    "matplotlib": (pictures.reader, pictures.simplify_figure),
}


def reader_of(cls: type) -> Read | None:
    """Return what compiles a class of one of the packages, or one that derives from it, to a type that reads it."""
    package = _package_of(cls)
    return package and package[0]


def writer_of(value: t.Any) -> Write | None:
    """Return what says `value` nearer to JSON, when its class is of one of the packages or derives from one."""
    cls: t.Any = type(value)
    package = _package_of(cls)
    return package and package[1]


@lru_cache(maxsize=256)
def _package_of(cls: t.Any) -> tuple[Read, Write] | None:
    if issubclass(cls, Enum):  # PIL.Image.Resampling
        return None
    for base in cls.__mro__:
        if package := _PACKAGES.get(base.__module__.partition(".")[0]):
            return package
    return None
