"""JSON as the current application writes and reads it; without one, by the same rules with the default settings."""

from __future__ import annotations

import json as _json
from typing import IO, TYPE_CHECKING, Any, AnyStr

from ..globals import _cv_app, current_app
from .provider import _default

if TYPE_CHECKING:
    from ..wrappers import Response


def dumps(obj: Any, **kwargs: Any) -> str:
    """Return `obj` as JSON, by `current_app.json.dumps` or else by `json.dumps`, which get `kwargs`."""
    app = _cv_app.app()
    if app is not None:
        return app.json.dumps(obj, **kwargs)
    kwargs.setdefault("default", _default)
    return _json.dumps(obj, **kwargs)


def dump(obj: Any, fp: IO[str], **kwargs: Any) -> None:
    """Write `obj` as JSON to a file opened for text, by `current_app.json.dump` or else by `json.dump`."""
    app = _cv_app.app()
    if app is not None:
        app.json.dump(obj, fp, **kwargs)
    else:
        kwargs.setdefault("default", _default)
        _json.dump(obj, fp, **kwargs)


def loads(s: str | bytes, **kwargs: Any) -> Any:
    """Return what the JSON `s` says, by `current_app.json.loads` or else by `json.loads`."""
    app = _cv_app.app()
    return _json.loads(s, **kwargs) if app is None else app.json.loads(s, **kwargs)


def load(fp: IO[AnyStr], **kwargs: Any) -> Any:
    """Return what the JSON in a file says, by `current_app.json.load` or else by `json.load`."""
    app = _cv_app.app()
    return _json.load(fp, **kwargs) if app is None else app.json.load(fp, **kwargs)


def jsonify(*args: Any, **kwargs: Any) -> Response:
    """Make a JSON response of one value, of several as a list, or of keyword arguments as an object.

    That is `current_app.json.response`. Raises TypeError for positional and keyword arguments together.
    """
    app = _cv_app.app() or current_app  # which says what is missing
    return app.json.response(*args, **kwargs)  # type: ignore[return-value]
