"""`extend_schema` as a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .utils import extend_schema


class OpenRPCExtendSchemaDecoratorMixin:
    """For classes that describe methods."""

    def extend_schema(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Describe the decorated method; see `utils.extend_schema`."""
        return extend_schema(*args, **kwargs)
