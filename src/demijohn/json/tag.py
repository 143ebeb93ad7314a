"""JSON that keeps some types JSON does not know: what the session cookie holds.

A value of such a type is written as an object with one key, the tag: `{" t": [1, 2]}` for a tuple.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from markupsafe import Markup
from werkzeug.http import http_date, parse_date

from . import dumps, loads


class JSONTag:
    """How values of one type are written and read. Subclasses are registered with a `TaggedJSONSerializer`.

    key: the tag. Empty when values need none and only what is inside them is looked at; `tag` must then be overridden.
    """

    __slots__ = ("serializer",)

    key: str = ""

    def __init__(self, serializer: TaggedJSONSerializer) -> None:
        self.serializer = serializer

    def check(self, value: Any) -> bool:
        """Whether `value` is for this tag."""
        raise NotImplementedError

    def to_json(self, value: Any) -> Any:
        """Return what JSON can say in place of `value`."""
        raise NotImplementedError

    def to_python(self, value: Any) -> Any:
        """Return the value that `to_json` was given."""
        raise NotImplementedError

    def tag(self, value: Any) -> dict[str, Any]:
        """Return what `value` is written as, the tag included."""
        return {self.key: self.to_json(value)}


class TagDict(JSONTag):
    """A dictionary whose only key is a tag, so that it is not read as one: the key is written with `__` after it."""

    __slots__ = ()
    key = " di"

    def check(self, value: Any) -> bool:
        return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in self.serializer.tags

    def to_json(self, value: Any) -> Any:
        [(key, inner)] = value.items()
        return {f"{key}__": self.serializer.tag(inner)}

    def to_python(self, value: Any) -> Any:
        [(key, inner)] = value.items()
        return {key[:-2]: inner}


class PassDict(JSONTag):
    """Any other dictionary."""

    __slots__ = ()

    def check(self, value: Any) -> bool:
        return isinstance(value, dict)

    def to_json(self, value: Any) -> Any:
        tag = self.serializer.tag
        return {key: tag(inner) for key, inner in value.items()}

    tag = to_json


class _Items(JSONTag):
    __slots__ = ()

    def to_json(self, value: Any) -> Any:
        return [self.serializer.tag(item) for item in value]


class TagTuple(_Items):
    __slots__ = ()
    key = " t"

    def check(self, value: Any) -> bool:
        return isinstance(value, tuple)

    def to_python(self, value: Any) -> Any:
        return tuple(value)


class PassList(_Items):
    __slots__ = ()

    def check(self, value: Any) -> bool:
        return isinstance(value, list)

    tag = _Items.to_json


class TagBytes(JSONTag):
    """Bytes, in base 64."""

    __slots__ = ()
    key = " b"

    def check(self, value: Any) -> bool:
        return isinstance(value, bytes)

    def to_json(self, value: Any) -> Any:
        return b64encode(value).decode("ascii")

    def to_python(self, value: Any) -> Any:
        return b64decode(value)


class TagMarkup(JSONTag):
    """Whatever has `__html__`; read back as Markup."""

    __slots__ = ()
    key = " m"

    def check(self, value: Any) -> bool:
        return callable(getattr(value, "__html__", None))

    def to_json(self, value: Any) -> Any:
        return str(value.__html__())

    def to_python(self, value: Any) -> Any:
        return Markup(value)


class TagUUID(JSONTag):
    __slots__ = ()
    key = " u"

    def check(self, value: Any) -> bool:
        return isinstance(value, UUID)

    def to_json(self, value: Any) -> Any:
        return value.hex

    def to_python(self, value: Any) -> Any:
        return UUID(value)


class TagDateTime(JSONTag):
    """A date and time, as an HTTP date: read back in UTC, to the second."""

    __slots__ = ()
    key = " d"

    def check(self, value: Any) -> bool:
        return isinstance(value, datetime)

    def to_json(self, value: Any) -> Any:
        return http_date(value)

    def to_python(self, value: Any) -> Any:
        return parse_date(value)


class TaggedJSONSerializer:
    """Writes and reads JSON with tags, as itsdangerous wants its serializers.

    Besides JSON's own types it keeps tuple, bytes, Markup, UUID and datetime; `register` adds more.

    tags: the registered tags by key. order: all registered, in the order they are asked.
    """

    __slots__ = ("order", "tags")

    default_tags: ClassVar[list[type[JSONTag]]] = [
        TagDict,
        PassDict,
        TagTuple,
        PassList,
        TagBytes,
        TagMarkup,
        TagUUID,
        TagDateTime,
    ]

    def __init__(self) -> None:
        self.tags: dict[str, JSONTag] = {}
        self.order: list[JSONTag] = []
        for tag_class in self.default_tags:
            self.register(tag_class)

    def register(self, tag_class: type[JSONTag], force: bool = False, index: int | None = None) -> None:
        """Have values for which the tag's `check` holds written with it.

        force: replace a tag that has the same key.
        index: where in the order it is asked, at the end when None. A special case belongs before the general one.

        Raises KeyError when the key is taken.
        """
        tag = tag_class(self)
        if tag.key:
            if tag.key in self.tags and not force:
                raise KeyError(f"Tag '{tag.key}' is already registered.")
            self.tags[tag.key] = tag
        self.order.insert(len(self.order) if index is None else index, tag)

    def tag(self, value: Any) -> Any:
        """Return what `value` is written as: itself, when no tag is for it."""
        for tag in self.order:
            if tag.check(value):
                return tag.tag(value)
        return value

    def untag(self, value: dict[str, Any]) -> Any:
        """Return the value that an object with one tag for a key stands for, and any other object as it is."""
        if len(value) == 1:
            [(key, inner)] = value.items()
            if key in self.tags:
                return self.tags[key].to_python(inner)
        return value

    def _untag_scan(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.untag({key: self._untag_scan(inner) for key, inner in value.items()})
        if isinstance(value, list):
            return [self._untag_scan(item) for item in value]
        return value

    def dumps(self, value: Any) -> str:
        """Return `value` as compact JSON with tags."""
        return dumps(self.tag(value), separators=(",", ":"))

    def loads(self, value: str) -> Any:
        """Return the value that `dumps` was given."""
        return self._untag_scan(loads(value))
