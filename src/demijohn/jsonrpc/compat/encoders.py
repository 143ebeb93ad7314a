"""Results as Flask-JSONRPC makes them simple, before the application's JSON provider writes them."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Generator, Mapping
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ...json import jsonify as _jsonify
from ...wrappers import Response

_SEQUENCES = (list, tuple, set, frozenset, deque, Generator)


def serializable(obj: Any) -> Any:
    """Return `obj` made of dicts, lists and what a JSON provider writes; raise UnicodeDecodeError for other bytes."""
    if obj is None or (isinstance(obj, str | bool | int | float | Decimal | UUID) and not isinstance(obj, Enum)):
        return obj
    if isinstance(obj, bytes | bytearray | memoryview):
        return bytes(obj).decode()
    if isinstance(obj, Enum):
        return obj.value
    if isinstance(obj, PurePath):
        return str(obj)
    if isinstance(obj, Mapping):
        return {serializable(key): serializable(value) for key, value in obj.items()}
    if isinstance(obj, _SEQUENCES):
        return [serializable(item) for item in obj]
    if hasattr(obj, "model_dump"):  # pydantic
        return serializable(obj.model_dump(exclude_none=True, by_alias=True))
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return serializable(dataclasses.asdict(obj))
    if hasattr(obj, "__dict__") and not isinstance(obj, type) and not callable(obj):
        return vars(obj)
    return obj


def jsonify(obj: Any) -> Response:
    """Return a response with `obj` as JSON."""
    return _jsonify(serializable(obj))
