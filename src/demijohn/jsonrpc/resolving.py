"""Type hints as the things that they name, also where these are known inside a function alone."""

from __future__ import annotations

import sys
import types
import typing as t
from contextlib import suppress

_FOUND: t.Final = "__jsonrpc_hints__"


def hints_of(thing: t.Any) -> dict[str, t.Any]:
    """Return the resolved hints of a class or function, `Annotated` kept.

    Names of a function around it are found while that one runs, and known from then on. Raises NameError for a name
    that is nowhere.
    """
    try:
        return t.get_type_hints(thing, include_extras=True)
    except NameError:
        if known := vars(thing).get(_FOUND):
            return t.cast("dict[str, t.Any]", known)
        frame: types.FrameType | None = sys._getframe(1)
    # `from __future__ import annotations` and a class inside create_app(): only the running frame knows it.
    while frame is not None:
        try:
            found = t.get_type_hints(thing, localns=frame.f_locals, include_extras=True)
        except NameError as error:
            last, frame = error, frame.f_back
        else:
            setattr(thing, _FOUND, found)  # that function will have ended when documents are asked for
            return found
    raise last


def resolve_within(hint: t.Any) -> None:
    """Resolve the hints of all classes of a running function that a hint leads to, for when it has ended."""
    seen: set[int] = set()
    waiting = [hint]
    while waiting:
        hint = waiting.pop()
        if id(hint) in seen:
            continue
        seen.add(id(hint))
        waiting += t.get_args(hint)
        cls = t.get_origin(hint) or hint
        if isinstance(cls, type) and "<locals>" in cls.__qualname__:
            # A class that derives from a library's has hints that only type checkers can read, and maybe nobody does.
            with suppress(NameError):
                waiting += hints_of(cls).values()
