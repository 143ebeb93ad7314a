"""The service description as pydantic models."""

from __future__ import annotations

import typing as t
from collections import OrderedDict

from pydantic.main import BaseModel as PydanticModel


class BaseModel(PydanticModel):
    """What all models here are."""


class Field(BaseModel):
    """A parameter, a member or a result."""

    name: str
    type: str
    summary: str | None = None
    description: str | None = None
    properties: t.Mapping[str, Field] | None = None
    examples: list[t.Any] | None = None
    required: bool | None = None
    deprecated: bool | None = None
    nullable: bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | t.Pattern[str] | None = None
    allow_inf_nan: bool | None = None
    max_digits: int | None = None
    decimal_places: int | None = None


class ExampleField(BaseModel):
    """A value in an example."""

    name: str
    value: t.Any
    summary: str | None = None
    description: str | None = None


class Example(BaseModel):
    """A call and its result."""

    name: str | None = None
    summary: str | None = None
    description: str | None = None
    params: list[ExampleField] | None = None
    returns: ExampleField | None = None


class Error(BaseModel):
    """An error that a method may be answered with."""

    code: int
    message: str
    data: t.Any | None = None
    status_code: int


class Method(BaseModel):
    """A method."""

    name: str
    type: str
    summary: str | None = None
    description: str | None = None
    validation: bool = True
    notification: bool = True
    deprecated: bool | None = None
    params: list[Field] = []  # noqa: RUF012 (pydantic copies it)
    returns: Field
    tags: list[str] | None = None
    errors: list[Error] | None = None
    examples: list[Example] | None = None


class Server(BaseModel):
    """A URL at which the methods are called."""

    url: str
    description: str | None = None


class ServiceDescribe(BaseModel):
    """A site with its methods."""

    id: str
    name: str
    version: str
    title: str | None = None
    description: str | None = None
    servers: list[Server]
    methods: OrderedDict[str, Method]
