"""OpenRPC documents as pydantic models (https://spec.open-rpc.org), with JSON Schema's keywords in `Schema`."""

from __future__ import annotations

import typing as t
from enum import Enum

import pydantic
from pydantic import AliasGenerator, ConfigDict, Field
from pydantic.alias_generators import to_camel

OPENRPC_VERSION_DEFAULT = "1.3.2"


def _said_as(name: str) -> t.Any:
    """A member whose name in JSON is not its own in camel case."""
    return Field(default=None, serialization_alias=name)


class BaseModel(pydantic.BaseModel):
    """Members have Python's names here and OpenRPC's in JSON."""

    model_config = ConfigDict(
        validate_by_alias=True,
        validate_by_name=True,
        arbitrary_types_allowed=True,
        alias_generator=AliasGenerator(serialization_alias=to_camel),
    )


class OAuth2FlowType(Enum):
    AUTHORIZATION_CODE = "authorizationCode"
    CLIENT_CREDENTIALS = "clientCredentials"
    PASSWORD = "password"


class OAuth2Flow(BaseModel):
    type: OAuth2FlowType
    authorization_url: str | None = None
    refresh_url: str | None = None
    token_url: str | None = None
    scopes: dict[str, str] = Field(default_factory=dict)


class OAuth2(BaseModel):
    flows: list[OAuth2Flow]
    type: t.Literal["oauth2"] = "oauth2"
    description: str | None = None


class BearerAuth(BaseModel):
    in_: str = Field(alias="in")
    type: t.Literal["bearer"] = "bearer"
    name: str = "Authorization"
    description: str | None = None
    scopes: dict[str, str] = Field(default_factory=dict)


class APIKeyAuth(BaseModel):
    in_: str = Field(alias="in")
    type: t.Literal["apikey"] = "apikey"
    name: str = "api_key"
    description: str | None = None
    scopes: dict[str, str] = Field(default_factory=dict)


class ParamStructure(Enum):
    BY_NAME = "by-name"
    BY_POSITION = "by-position"
    EITHER = "either"


class SchemaDataType(Enum):
    NULL = "null"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    INTEGER = "integer"
    STRING = "string"

    @staticmethod
    def from_rpc_describe_type(st: str) -> SchemaDataType:
        """Return the type that one of `rpc.describe` is; a number is told as an integer, as Flask-JSONRPC does."""
        return SchemaDataType.INTEGER if st == "Number" else SchemaDataType(st.lower())


class Schema(BaseModel):
    id: str | None = _said_as("$id")
    title: str | None = None
    format: str | None = None
    enum: list[t.Any] | None = None
    type: SchemaDataType | list[SchemaDataType] | None = None
    all_of: list[Schema] | None = None
    any_of: list[Schema] | None = None
    one_of: list[Schema] | None = None
    not_: Schema | None = _said_as("not")
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    properties: dict[str, Schema] | None = None
    pattern_properties: dict[str, Schema] | None = None
    additional_properties: Schema | None = None
    property_names: Schema | None = None
    min_properties: int | None = None
    max_properties: int | None = None
    required: list[str] | None = None
    defs: dict[str, Schema] | None = _said_as("$defs")
    items: Schema | None = None
    prefix_items: list[Schema] | None = None
    contains: Schema | None = None
    min_contains: int | None = None
    max_contains: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool | None = None
    ref: str | None = _said_as("$ref")
    description: str | None = None
    deprecated: bool | None = None
    default: t.Any | None = None
    examples: list[t.Any] | None = None
    read_only: bool | None = None
    write_only: bool | None = None
    const: t.Any | None = None
    dependent_required: dict[str, list[str]] | None = None
    dependent_schemas: dict[str, Schema] | None = None
    if_: Schema | None = _said_as("if")
    then: Schema | None = None
    else_: Schema | None = _said_as("else")
    schema_: str | None = Field(default=None, validation_alias="schema", serialization_alias="$schema")


class Reference(BaseModel):
    ref: str = Field(serialization_alias="$ref")


class ContentDescriptor(BaseModel):
    name: str
    schema_: Schema = Field(alias="schema")
    summary: str | None = None
    description: str | None = None
    required: bool | None = None
    deprecated: bool | None = None


class Contact(BaseModel):
    name: str | None = None
    url: str | None = None
    email: str | None = None


class License(BaseModel):
    name: str
    url: str | None = None


class Info(BaseModel):
    title: str
    version: str
    description: str | None = None
    terms_of_service: str | None = None
    contact: Contact | None = None
    license_: License | None = Field(default=None, alias="license")


class ServerVariable(BaseModel):
    default: str
    enum: list[str] | None = None
    description: str | None = None


class Server(BaseModel):
    url: str
    name: str = "default"
    summary: str | None = None
    description: str | None = None
    variables: dict[str, ServerVariable] | None = None


class Example(BaseModel):
    name: str
    value: t.Any
    summary: str | None = None
    description: str | None = None
    external_value: str | None = None


class ExamplePairing(BaseModel):
    name: str | None = None
    params: list[Example] | None = None
    summary: str | None = None
    description: str | None = None
    result: Example | None = None


class Link(BaseModel):
    name: str
    summary: str | None = None
    description: str | None = None
    method: str | None = None
    params: t.Any | None = None
    server: Server | None = None


class Error(BaseModel):
    code: int
    message: str
    data: t.Any | None = None


class ExternalDocumentation(BaseModel):
    url: str
    description: str | None = None


class Tag(BaseModel):
    name: str
    summary: str | None = None
    description: str | None = None
    external_docs: ExternalDocumentation | None = None


class Components(BaseModel):
    content_descriptors: dict[str, ContentDescriptor] | None = None
    schemas: dict[str, Schema] | None = None
    examples: dict[str, Example] | None = None
    links: dict[str, Link] | None = None
    errors: dict[str, Error] | None = None
    example_pairing_objects: dict[str, ExamplePairing] | None = None
    tags: dict[str, Tag] | None = None
    x_security_schemes: dict[str, OAuth2 | BearerAuth | APIKeyAuth] | None = _said_as("x-security-schemes")


class Method(BaseModel):
    name: str
    params: list[ContentDescriptor]
    result: ContentDescriptor
    tags: list[Tag] | None = None
    summary: str | None = None
    description: str | None = None
    external_docs: ExternalDocumentation | None = None
    deprecated: bool | None = None
    servers: list[Server] | None = None
    errors: list[Error] | None = None
    links: list[Link] | None = None
    param_structure: ParamStructure | None = None
    examples: list[ExamplePairing] | None = None
    x_security: dict[str, list[str]] | None = _said_as("x-security")


class OpenRPCSchema(BaseModel):
    info: Info
    openrpc: str = OPENRPC_VERSION_DEFAULT
    methods: list[Method] = []
    servers: list[Server] | Server = Server(url="localhost")
    components: Components | None = None
    external_docs: ExternalDocumentation | None = None
