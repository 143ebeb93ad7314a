"""A typed client in TypeScript, from an OpenRPC document: a module that needs nothing but `fetch` or `WebSocket`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .codegen import Method, Module, Names, Schema, Service, Types, camel, fields_of, read

# Names that mean something in the module.
_RESERVED = """
break case catch class const continue debugger default delete do else enum export extends false finally for function if
import in instanceof new null return super switch this throw true try typeof var void while with yield let static
implements interface package private protected public await any unknown never Methods Options Call RpcError Promise
Record Array Error RequestInit Response AbortSignal Map Set Date JSON DOMException ReturnType String WebSocket
CallOptions Progress ConnectionLost Message Said Awaited Connection
""".split()  # noqa: SIM905 (as text, it reads as a table of contents)

# What JavaScript itself calls on any object: a method of the service is not to answer it.
_CALLED_BY_THE_LANGUAGE = ["then", "toString", "valueOf", "toJSON"]

_HEAD = """\
// Client of {title}, written by `demijohn jsonrpc client`: make it anew, rather than change it.

/** An error that the server answered. */
export class RpcError extends Error {{
  constructor(readonly code: number, message: string, readonly data?: unknown) {{
    super(message);
    this.name = "RpcError";
  }}
}}

/** A WebSocket could not be opened, or has ended: what was called may have been run. code: with which it was closed. */
export class ConnectionLost extends Error {{
  constructor(message: string, readonly code: number) {{
    super(message);
    this.name = "ConnectionLost";
  }}
}}

/**
 * headers: sent with each request. timeoutMs: how long a call may take, 30 seconds by default; over a WebSocket, from
 * one report of its progress to the next. fetch: sends requests in another way. webSocket: opens a WebSocket in another
 * way, as is needed for headers, which browsers do not send with it.
 */
export interface Options {{
  headers?: Record<string, string>;
  timeoutMs?: number;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  webSocket?: (url: string, headers: Record<string, string>) => WebSocket;
}}

/** How far a call is, in steps of its own. */
export interface Progress {{
  done: number;
  total?: number;
  message?: string;
}}

/**
 * signal: ends the call; over a WebSocket, on the server too. onProgress: called with what the method reports, over a
 * WebSocket. timeoutMs: as in Options, for this call.
 */
export interface CallOptions {{
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  timeoutMs?: number;
}}
"""
_CONNECTION = Path(__file__).with_name("codegen_connection.ts")

_CLASS = """\
/** A call in a batch: a method and its params. */
export type Call = {{ [M in keyof Methods]: [method: M, params: Methods[M]["params"]] }}[keyof Methods];

/** The methods of {title}, at a URL of http or https, or of ws or wss: then over one WebSocket. */
export class {name} {{
  private nextId = 1;
  private connection?: Connection;

  constructor(readonly url: string = {url}, readonly options: Options = {{}}) {{}}
{groups}
  /** Call a method; throws RpcError for an error that the server answered. */
  async call<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    options: CallOptions = {{}},
  ): Promise<Methods[M]["result"]> {{
    const id = this.nextId++;
    const answer = await this.send({{ jsonrpc: "2.0", id, method, params }}, options);
    return this.resultOf(answer, id) as Methods[M]["result"];
  }}

  /** Call a method without an answer. */
  async notify<M extends keyof Methods>(
    method: M,
    params: Methods[M]["params"],
    options: CallOptions = {{}},
  ): Promise<void> {{
    await this.send({{ jsonrpc: "2.0", method, params }}, options);
  }}

  /** Send calls in one message; each result is what the method returned, or an RpcError. */
  async batch(calls: Call[], options: CallOptions = {{}}): Promise<unknown[]> {{
    const requests = calls.map(([method, params]) => {{
      return {{ jsonrpc: "2.0" as const, id: this.nextId++, method, params }};
    }});
    const answer = await this.send(requests, options);
    if (!Array.isArray(answer)) return [this.resultOf(answer, 0)];
    const byId = new Map(answer.map((response: {{ id?: unknown }}) => [response.id, response]));
    return requests.map((request) => {{
      try {{
        return this.resultOf(byId.get(request.id), request.id);
      }} catch (error) {{
        return error;
      }}
    }});
  }}

  /** Close the WebSocket, if there is one: calls that are under way fail, and the next call opens another. */
  close(): void {{
    this.connection?.close();
    this.connection = undefined;
  }}

  private resultOf(response: unknown, id: number): unknown {{
    const {{ error, result, ...rest }} = (response ?? {{}}) as {{
      id?: unknown;
      result?: unknown;
      error?: {{ code: number; message: string; data?: unknown }};
    }};
    if (error) throw new RpcError(error.code, error.message, error.data);
    if (rest.id !== id) throw new Error(`${{this.url}} answered another call than ${{id}}`);
    return result;
  }}

  private async send(content: Message | Message[], options: CallOptions): Promise<unknown> {{
    const timeoutMs = options.timeoutMs ?? this.options.timeoutMs ?? 30000;
    if (!/^wss?:/i.test(this.url)) return this.post(content, timeoutMs, options.signal);
    if (!this.connection || this.connection.isOver) this.connection = new Connection(this.open());
    return this.connection.send(content, timeoutMs, options);
  }}

  private open(): WebSocket {{
    const {{ headers, webSocket }} = this.options;
    if (webSocket) return webSocket(this.url, headers ?? {{}});
    if (headers) throw new Error("WebSockets are opened without headers here: say in options.webSocket how with them");
    return new WebSocket(this.url);
  }}

  private async post(content: unknown, timeoutMs: number, signal?: AbortSignal): Promise<unknown> {{
    const send = this.options.fetch ?? ((url: string, init: RequestInit) => fetch(url, init));
    const inTime = AbortSignal.timeout(timeoutMs);
    const response = await send(this.url, {{
      method: "POST",
      headers: {{ ...this.options.headers, "Content-Type": "application/json", Accept: "application/json" }},
      body: JSON.stringify(content),
      signal: signal ? AbortSignal.any([signal, inTime]) : inTime,
    }});
    const text = await response.text();
    if (!text && response.ok) return undefined;
    try {{
      return JSON.parse(text);
    }} catch {{
      throw new Error(`${{this.url}} answered ${{response.status}} with something else than JSON`);
    }}
  }}
}}
"""


class _TypeScriptTypes(Types):
    anything = "unknown"
    words = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}  # noqa: RUF012

    def one_of(self, values: list[Any]) -> str:
        return " | ".join(json.dumps(value) for value in values) or self.anything

    def component(self, name: str) -> str:
        return name

    def tuple_of(self, items: list[str]) -> str:
        return f"[{', '.join(items)}]"

    def list_of(self, item: str) -> str:
        return f"{item}[]" if re.fullmatch(r"[\w\[\]]+", item) else f"({item})[]"

    def dict_of(self, value: str) -> str:
        return f"Record<string, {value}>"


def typescript(document: dict[str, Any], url: str | None = None) -> str:
    """Return the module; `url` is where its clients go unless they are told.

    Raises ValueError for what is no OpenRPC document.
    """
    return _Module(read(document), url).text()


class _Module(Module):
    def __init__(self, service: Service, url: str | None) -> None:
        super().__init__(service, url, _RESERVED)
        self.types = _TypeScriptTypes(service, lambda name: self.names.of(("schema", name), camel(name)))

    def text(self) -> str:
        title = _prose(self.service.title)
        parts = [
            _HEAD.format(title=title),
            *(self.component(name, schema) for name, schema in self.service.components.items()),
            self.methods(),
            _CONNECTION.read_text(),
            _CLASS.format(title=title, name=self.title, url=json.dumps(self.url), groups=self.groups()),
        ]
        return "\n".join(parts)

    def component(self, name: str, schema: Schema) -> str:
        own = self.types.name(name)
        comment = _comment([str(schema.get("description", ""))], "")
        fields = fields_of(schema)
        if fields is None:
            return f"{comment}export type {own} = {self.types.of(schema)};\n"
        lines = [
            f"  {json.dumps(field)}{'' if required else '?'}: {self.types.of(member)};"
            for field, member, required in fields
        ]
        return "\n".join([f"{comment}export interface {own} {{", *lines, "}\n"])

    def methods(self) -> str:
        lines = [
            f"  {json.dumps(method.name)}: {{ params: {self.params(method)}; result: {self.types.of(method.result)} }};"
            for method in self.service.methods
        ]
        head = ["/** The params and the result of each method. */", "export interface Methods {"]
        return "\n".join([*head, *lines, "}\n"])

    def params(self, method: Method) -> str:
        if method.is_by_position:
            types = [
                self.types.of(parameter.schema) if parameter.is_required else f"({self.types.of(parameter.schema)})?"
                for parameter in method.parameters
            ]
            return f"[{', '.join(types + (['...unknown[]'] if method.more else []))}]"
        fields = [
            f"{json.dumps(parameter.name)}{'' if parameter.is_required else '?'}: {self.types.of(parameter.schema)}"
            for parameter in method.parameters
        ]
        if method.more == "names":
            fields.append("[name: string]: unknown")
        return f"{{ {'; '.join(fields)} }}" if fields else "Record<string, never>"

    def groups(self) -> str:
        own = ["url", "options", "call", "notify", "batch", "close", "constructor"]
        own += ["send", "open", "post", "resultOf", "nextId", "connection"]
        scope = Names([*own, *_CALLED_BY_THE_LANGUAGE])
        parts = []
        for group in self.service.groups:
            methods = self.service.methods_of(group)
            if group:
                inner = Names(_CALLED_BY_THE_LANGUAGE)
                members = [self.method(method, f"    {inner.of(method.last_name)}: ") + "," for method in methods]
                parts.append("\n".join([f"  readonly {scope.of(('group', group), group)} = {{", *members, "  };"]))
            else:
                parts += [self.method(method, f"  {scope.of(method.name)} = ") + ";" for method in methods]
        return "".join(f"\n{part}\n" for part in parts)

    def method(self, method: Method, start: str) -> str:
        """Return a method as an arrow function, after the name and the sign in `start`."""
        margin = " " * (len(start) - len(start.lstrip()))
        notes = [f"@param params.{p.name} {p.description}" for p in method.parameters if p.description]
        comment = _comment([*method.doc, *notes, *(["@deprecated"] if method.is_deprecated else [])], margin)
        name = json.dumps(method.name)
        may_be_left_out = not any(parameter.is_required for parameter in method.parameters)
        # `{}` would be no default: it has a `constructor`, and a parameter may be called so.
        optional, given = ("?", f'params as Methods[{name}]["params"]') if may_be_left_out else ("", "params")
        return "\n".join(
            [
                f"{comment}{start}(",
                f'{margin}  params{optional}: Methods[{name}]["params"],',
                f"{margin}  options?: CallOptions,",
                f'{margin}): Promise<Methods[{name}]["result"]> =>',
                f"{margin}  this.call({name}, {given}, options)",
            ]
        )


def _prose(text: str) -> str:
    return re.sub(r"[\r\n\u2028\u2029]+", " ", text).replace("*/", "* /")  # each of these ends a comment after `//`


def _comment(paragraphs: list[str], margin: str) -> str:
    lines = [line.strip() for paragraph in paragraphs for line in paragraph.strip().replace("*/", "* /").split("\n")]
    lines = [line for line in lines if line]
    if not lines:
        return ""
    if len(lines) == 1:
        return f"{margin}/** {lines[0]} */\n"
    return "".join([f"{margin}/**\n", *(f"{margin} * {line}\n" for line in lines), f"{margin} */\n"])
