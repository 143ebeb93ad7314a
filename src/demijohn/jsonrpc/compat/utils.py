"""Decorators of mypyc, which compiles some of Flask-JSONRPC's classes; here they do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C")


def trait(cls: C) -> C:
    """Return the class as it is."""
    return cls


def mypyc_attr(*attrs: str, **kwattrs: object) -> Callable[[C], C]:
    """Return a decorator that returns a class as it is."""

    def decorator(cls: C) -> C:
        return cls

    return decorator
