"""What is told of a method besides its name, its signature and its docstring.

`@jsonrpc.method("App.add", MethodAnnotated[Summary("Add two numbers"), Tag("sums"), Error(1, "Too large")])`. All of it
describes; nothing of it changes what a method does.
"""

from __future__ import annotations

import operator
import typing as t
from dataclasses import dataclass


class BaseMethodAnnotatedOrigin:
    """What `MethodAnnotated` annotates: a method."""

    __slots__ = ()


class BaseMethodAnnotatedMetadata:
    """A statement about a method."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Summary(BaseMethodAnnotatedMetadata):
    """One line on what it does."""

    summary: str


@dataclass(frozen=True, slots=True)
class Description(BaseMethodAnnotatedMetadata):
    """More than one line on what it does, instead of the docstring."""

    description: str


@dataclass(frozen=True, slots=True)
class Validate(BaseMethodAnnotatedMetadata):
    """What is told of whether hints are held to; the option `validate` decides."""

    validate: bool = True


@dataclass(frozen=True, slots=True)
class Notification(BaseMethodAnnotatedMetadata):
    """What is told of whether it may be a notification; the option `notification` decides."""

    notification: bool = True


@dataclass(frozen=True, slots=True)
class Deprecated(BaseMethodAnnotatedMetadata):
    """Whether it should no longer be called."""

    deprecated: bool = True


@dataclass(frozen=True, slots=True)
class Tag(BaseMethodAnnotatedMetadata):
    """A group it belongs to."""

    name: str
    summary: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Error(BaseMethodAnnotatedMetadata):
    """An error it may be answered with."""

    code: int
    message: str
    status_code: int = 500
    data: t.Any = None


@dataclass(frozen=True, slots=True)
class ExampleField(BaseMethodAnnotatedMetadata):
    """The value of a parameter, or the result, in an example."""

    name: str
    value: t.Any
    summary: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Example(BaseMethodAnnotatedMetadata):
    """A call and its result."""

    name: str
    summary: str | None = None
    description: str | None = None
    params: list[ExampleField] | None = None
    returns: ExampleField | None = None


_T = t.TypeVar("_T")


class _MethodAnnotated(t.Generic[_T]):
    """The class whose aliases carry statements."""

    def __class_getitem__(cls, item: t.Any) -> t.Any:
        origin, *metadata = item
        return _MethodAnnotatedAlias(origin, tuple(metadata))


class _MethodAnnotatedAlias(t._GenericAlias, _root=True):  # type: ignore[name-defined, call-arg, misc]
    """Statements about a method, in their order: `metadata`."""

    __metadata__: tuple[t.Any, ...]

    def __init__(self, origin: t.Any, metadata: tuple[t.Any, ...]) -> None:
        if isinstance(origin, _MethodAnnotatedAlias):
            metadata = (*origin.__metadata__, *metadata)
            origin = origin.__origin__
        super().__init__(origin, origin, name="MethodAnnotated")
        self.__metadata__ = metadata

    @property
    def origin(self) -> t.Any:
        return self.__origin__

    @property
    def metadata(self) -> tuple[t.Any, ...]:
        return self.__metadata__

    def __repr__(self) -> str:
        origin = f"{self.__origin__.__module__}.{self.__origin__.__qualname__}"
        # Flask-JSONRPC's tests look for the name it has there.
        return f"flask_jsonrpc.types.methods._MethodAnnotated[{', '.join([origin, *map(repr, self.__metadata__)])}]"

    def __reduce__(self) -> t.Any:
        return operator.getitem, (_MethodAnnotated, (self.__origin__, *self.__metadata__))

    def __eq__(self, other: object) -> t.Any:
        if not isinstance(other, _MethodAnnotatedAlias):
            return NotImplemented
        return (self.__origin__, self.__metadata__) == (other.__origin__, other.__metadata__)

    def __hash__(self) -> int:
        return hash((self.__origin__, self.__metadata__))


MethodAnnotatedType = _MethodAnnotatedAlias


class _MethodAnnotatedProxy:
    """`MethodAnnotated[...]`: the statements without the class that they are about."""

    def __getitem__(self, metadata: t.Any) -> _MethodAnnotatedAlias:
        return _MethodAnnotatedAlias(
            BaseMethodAnnotatedOrigin, metadata if isinstance(metadata, tuple) else (metadata,)
        )


MethodAnnotated = _MethodAnnotatedProxy()
