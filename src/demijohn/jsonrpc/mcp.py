"""Methods as tools of language models: the Model Context Protocol over Streamable HTTP (https://modelcontextprotocol.io).

Two eras are spoken at one URL. In revision 2026-07-28 each request says in `params._meta` which revision and abilities
the client has, and in header fields what it calls. In those before, `initialize` agrees on a revision first; what was
agreed is not kept, as nothing here depends on it. Either way a request is a POST and its answer one JSON object: there
are no sessions and no streams, and any worker answers any request.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from ..globals import current_app, request
from ..typing import ResponseReturnValue
from ..wrappers import Response
from . import encoding, protocol
from .docstrings import read
from .openrpc import content_descriptor, title_of, types_of
from .parameters import MissingHint
from .protocol import InvalidParamsError, InvalidRequestError, JSONRPCError, MethodNotFoundError
from .registry import Method
from .schemas import describe_types
from .site import CONTENT_TYPE, JSONRPCSite

STATELESS = "2026-07-28"
#: The revisions that begin with a handshake, the newest last.
HANDSHAKE = ("2025-03-26", "2025-06-18", "2025-11-25")

_META = "io.modelcontextprotocol/"
_CACHED_MS = 60_000  # how long a client may believe that the tools are the same: they change with a deployment
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")

Json = dict[str, Any]


class Fields(Protocol):
    """Header fields: names in any case."""

    def get(self, name: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """How a method is shown to language models: `@jsonrpc.method("Math.add", mcp=Tool(read_only=True))`.

    name: by default that of the method, with `_` for all but letters, digits and hyphens: many models take no others.
    title: for people.
    read_only: it changes nothing.
    destructive: it may change or delete what is there.
    idempotent: calling it again with the same arguments changes nothing more.
    open_world: it deals with more than this application.

    .. versionadded:: 0.1
    """

    name: str | None = None
    title: str | None = None
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None

    def annotations(self) -> Json:
        """Return the hints that were given, in the words of the protocol."""
        hints = {
            "readOnlyHint": self.read_only,
            "destructiveHint": self.destructive,
            "idempotentHint": self.idempotent,
            "openWorldHint": self.open_world,
        }
        return {name: value for name, value in hints.items() if value is not None}


class HeaderMismatch(JSONRPCError):
    """A header field does not say what the content does."""

    code = -32020
    message = "Header mismatch"


class UnsupportedProtocolVersion(JSONRPCError):
    """The client speaks a revision that this server does not."""

    code = -32022
    message = "Unsupported protocol version"


# -- tools --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Published:
    """A method as a tool: where it is called, and what it is told of it."""

    site: JSONRPCSite
    method: Method
    description: Json
    is_wrapped: bool


def published(sites: Iterable[JSONRPCSite]) -> dict[str, Published]:
    """Return the tools of `sites` by name: the methods that were registered with `mcp=`.

    Raises ValueError when two have the same name.
    """
    tools: dict[str, Published] = {}
    for site in sites:
        for method in site.methods:
            if method.tool:
                tool = method.tool if isinstance(method.tool, Tool) else Tool()
                name = tool.name or re.sub(r"[^A-Za-z0-9_-]", "_", method.name)
                if name in tools:
                    raise ValueError(
                        f"The methods {tools[name].method.name!r} and {method.name!r} would both be the tool {name!r}:"
                        " give one of them another name with mcp=Tool(name=...)."
                    )
                tools[name] = _published(site, method, tool, name)
    return tools


def _published(site: JSONRPCSite, method: Method, tool: Tool, name: str) -> Published:
    schemas, components = describe_types(types_of(method))
    *of_params, of_result = schemas
    told = read(method.function.__doc__)
    described = [
        content_descriptor(parameter, schema, told)
        for parameter, schema in zip(method.parameters.named, of_params, strict=True)
    ]
    properties = {
        each["name"]: each["schema"] | ({"description": each["description"]} if "description" in each else {})
        for each in described
    }
    taken = {
        "type": "object",
        "properties": properties,
        "required": [each["name"] for each in described if each["required"]],
        "additionalProperties": method.parameters.more_names is not MissingHint,
    }
    # Before 2026-07-28 structured content is an object, so that anything else is put into one.
    is_wrapped = not _is_object(of_result, components)
    given = {"type": "object", "properties": {"result": of_result}, "required": ["result"]} if is_wrapped else of_result
    description = {
        "name": name,
        "title": tool.title,
        "description": "\n\n".join(filter(None, [told.summary, told.description])) or None,
        "inputSchema": _alone(taken, components),
        "outputSchema": _alone(given, components) | {"type": "object"},
        "annotations": tool.annotations() or None,
    }
    return Published(site, method, {key: value for key, value in description.items() if value is not None}, is_wrapped)


def _is_object(schema: Any, components: Json) -> bool:
    name = schema.get("$ref", "").rpartition("/")[2]
    return bool(components.get(name, schema).get("type") == "object")


def _alone(schema: Json, components: Json) -> Json:
    """Return a schema with what it refers to in `$defs`, and nothing outside of it."""
    defs: Json = {}

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return [moved(item) for item in part]
        if not isinstance(part, dict):
            return part
        if isinstance(ref := part.get("$ref"), str) and ref.startswith("#/components/schemas/"):
            name = ref.rpartition("/")[2]
            if name not in defs:
                defs[name] = {}  # the place is taken before, as it may refer to itself
                defs[name] = moved(components[name])
            return {key: moved(value) for key, value in part.items() if key != "$ref"} | {"$ref": f"#/$defs/{name}"}
        return {key: moved(value) for key, value in part.items()}

    result: Json = moved(schema)
    return result | ({"$defs": defs} if defs else {})


def result_of(tool: Published, content: bytes) -> Json:
    """Return what a model is told of the Response object in `content` that the method answered."""
    response = msgspec.json.decode(content)
    if error := response.get("error"):
        # Told as a result, so that the model reads it and may do better.
        data = error.get("data")
        detail = data.get("message") if isinstance(data, dict) and "message" in data else data
        text = error["message"] + (f": {detail if isinstance(detail, str) else _text(detail)}" if detail else "")
        return {"content": [{"type": "text", "text": text}], "isError": True}
    result = response["result"]
    block = _image(result) or {"type": "text", "text": result if isinstance(result, str) else _text(result)}
    return {
        "content": [block],
        "structuredContent": {"result": result} if tool.is_wrapped else result,
        "isError": False,
    }


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _image(value: Any) -> Json | None:
    """Return the block for a picture: what Pillow's images and matplotlib's figures are in JSON."""
    found = re.match(r"data:(image/[\w.+-]+);base64,", value) if isinstance(value, str) else None
    return found and {"type": "image", "mimeType": found[1], "data": value[found.end() :]}


# -- messages -----------------------------------------------------------------------------------


class Server:
    """Answers messages: no I/O, but what `call` does.

    call: runs a tool with arguments and returns its result.
    """

    def __init__(
        self, tools: Mapping[str, Published], title: str, version: str, call: Callable[[Published, Json], Json]
    ) -> None:
        self.tools = tools
        self.identity = {"name": title, "version": version}
        self.call = call

    def answer(self, message: Any, fields: Fields) -> Json | None:
        """Return the result of a request, None for a notification; `fields` are the header fields of the HTTP request.

        Raises JSONRPCError for what cannot be answered.
        """
        called = protocol.read_call(message)
        params = called.params if isinstance(called.params, dict) else {}
        meta = params.get("_meta")
        declared = meta.get(f"{_META}protocolVersion") if isinstance(meta, dict) else None
        version = fields.get("MCP-Protocol-Version")
        if called.id is protocol.ABSENT:
            return None
        if called.id is None:
            raise InvalidRequestError(data={"message": 'The member "id" must be a string or a number'})
        if declared is not None or version == STATELESS:
            self.check_request(called.method, params, fields)
            return self.stateless(called.method, params)
        if version is not None and version not in HANDSHAKE:
            raise UnsupportedProtocolVersion(data=_supported(version))
        return self.after_handshake(called.method, params)

    @staticmethod
    def check_request(method: str, params: Json, fields: Fields) -> None:
        """Hold a request of the stateless revision to what it must say of itself, in `_meta` and in the header."""
        meta = params.get("_meta")
        meta = meta if isinstance(meta, dict) else {}
        for key in ("protocolVersion", "clientCapabilities"):
            if _META + key not in meta:
                raise InvalidParamsError(data={"message": f"params._meta lacks {_META}{key}"})
        version = meta[f"{_META}protocolVersion"]
        expected = {"MCP-Protocol-Version": version, "Mcp-Method": method}
        if method == "tools/call":
            expected["Mcp-Name"] = params.get("name")
        for name, value in expected.items():
            if _decoded(fields.get(name)) != value:
                raise HeaderMismatch(data={"message": f"the header field {name} does not say what the content does"})
        if version != STATELESS:
            raise UnsupportedProtocolVersion(data=_supported(version))

    def stateless(self, method: str, params: Json) -> Json:
        complete: Json = {"resultType": "complete", "_meta": {f"{_META}serverInfo": self.identity}}
        cached = {"ttlMs": _CACHED_MS, "cacheScope": "private"}
        if method == "server/discover":
            return complete | cached | {"supportedVersions": [STATELESS], "capabilities": {"tools": {}}}
        if method == "tools/list":
            return complete | cached | self.list()
        if method == "tools/call":
            return complete | self.run(params)
        raise MethodNotFoundError(data={"message": f"Method not found: {method}"})

    def after_handshake(self, method: str, params: Json) -> Json:
        if method == "initialize":
            asked = params.get("protocolVersion")
            agreed = asked if asked in HANDSHAKE else HANDSHAKE[-1]
            return {"protocolVersion": agreed, "capabilities": {"tools": {}}, "serverInfo": self.identity}
        if method == "ping":
            return {}
        if method == "tools/list":
            return self.list()
        if method == "tools/call":
            return self.run(params)
        raise MethodNotFoundError(data={"message": f"Method not found: {method}"})

    def list(self) -> Json:
        return {"tools": [tool.description for tool in self.tools.values()]}

    def run(self, params: Json) -> Json:
        name, arguments = params.get("name"), params.get("arguments") or {}
        tool = self.tools.get(name) if isinstance(name, str) else None
        if tool is None:
            raise InvalidParamsError(data={"message": f"Unknown tool: {name}"})
        if not isinstance(arguments, dict):
            raise InvalidParamsError(data={"message": "params.arguments must be an object"})
        return self.call(tool, arguments)


def _supported(requested: Any) -> Json:
    return {"supported": [*HANDSHAKE, STATELESS], "requested": requested}


def _decoded(value: str | None) -> str | None:
    """Return the text of a header field, which may be in base64; None for what cannot be read."""
    encoded = _ENCODED.fullmatch(value or "")
    if encoded is None:
        return value
    try:
        return base64.b64decode(encoded[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


# -- HTTP ---------------------------------------------------------------------------------------


class MCPView:
    """The view of the URL."""

    def __init__(self, sites: Callable[[], list[JSONRPCSite]], version: str) -> None:
        self.sites = sites
        self.version = version
        self._tools: dict[str, Published] | None = None

    @property
    def tools(self) -> dict[str, Published]:
        """The tools, worked out when they are asked for first: methods may be registered until then."""
        if self._tools is None:
            self._tools = published(self.sites())
        return self._tools

    def post(self) -> ResponseReturnValue:
        """Answer a message."""
        if refusal := self.refusal():
            return refusal
        id = None
        try:
            message = protocol.read_content(request.get_data())
            if isinstance(message, list):
                raise InvalidRequestError(data={"message": "There are no batches in MCP: send one message"})
            id = protocol.maybe_id(message)
            server = Server(self.tools, title_of(current_app), self.version, self.call)
            result = server.answer(message, request.headers)
        except JSONRPCError as error:
            return _json(protocol.error_response(id, _error(error)), _STATUS.get(type(error), 400))
        return Response(status=202) if result is None else _json(protocol.response(id, result))

    def refusal(self) -> Response | None:
        """Return the answer to no JSON, and to what a stranger's page may have sent; None for other requests."""
        if request.mimetype != CONTENT_TYPE:
            return _json({"error": f"The content must be {CONTENT_TYPE}"}, 415)
        origin = request.headers.get("Origin")
        if not _may_come_from(origin, request.host):
            current_app.logger.warning(
                "MCP: refused a request of a page at %s to %s: name it in JSONRPC_MCP_ORIGINS if it may",
                origin,
                request.host,
            )
            return _json({"error": "This origin may not call"}, 403)
        return None

    @staticmethod
    def call(tool: Published, arguments: Json) -> Json:
        """Run a tool as a client's call of its method would be."""
        message = {"jsonrpc": "2.0", "id": 0, "method": tool.method.name, "params": arguments}
        response, _, _ = tool.site.handle_dispatch_except(message)
        assert isinstance(response, dict)
        content, _ = tool.site.content_of(response)
        return result_of(tool, content)


# The others are 400, as the specification has it for what it gives no other.
_STATUS: dict[type[JSONRPCError], int] = {MethodNotFoundError: 404}


def _error(error: JSONRPCError) -> Json:
    """Return an error object, with what is wrong in its message: it is all that many clients show."""
    detail = error.data.get("message") if isinstance(error.data, dict) else None
    return {
        "code": error.code,
        "message": f"{error.message}: {detail}" if detail else error.message,
        "data": error.data,
    }


def _may_come_from(origin: str | None, host: str) -> bool:
    """Whether a request may be answered, by its Origin and its Host.

    A browser sends Origin with every POST, other clients do not. Host says nothing: a page at evil.example, whose
    name has been made to mean 127.0.0.1 meanwhile (DNS rebinding), sends its own name in both.
    """
    if origin is None:
        return True
    config = current_app.config
    if origin in (config.get("JSONRPC_MCP_ORIGINS") or ()):
        return True
    try:
        page, server = urlsplit(origin).hostname, urlsplit(f"//{host}").hostname
    except ValueError:  # an address that is none
        return False
    if page in _LOOPBACK:
        return server in _LOOPBACK
    # Host is one of TRUSTED_HOSTS where there are any: reading it has made sure of that.
    is_known = bool(config["TRUSTED_HOSTS"]) or server == urlsplit(f"//{config['SERVER_NAME'] or ''}").hostname
    return page is not None and page == server and is_known


def _json(value: Json, status: int = 200) -> Response:
    return Response(encoding.encode(value), status, mimetype=CONTENT_TYPE)
