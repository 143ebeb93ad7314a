"""A typed client in Python, from an OpenRPC document: a module that needs nothing but demijohn."""

from __future__ import annotations

import builtins
import json
import keyword
from collections.abc import Callable, Iterator
from typing import Any

from .codegen import Method, Module, Names, Schema, Service, Types, camel, fields_of, identifier, read, refs_in

_HEAD = '''\
"""Client of {title}, written by `demijohn jsonrpc client`: make it anew, rather than change it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, NotRequired, Self, TypeAlias, TypedDict
from uuid import UUID

from demijohn.jsonrpc.client import OMITTED, AsyncClient, Client, RemoteError, given

__all__ = {names}

URL = {url}
'''
# Names that mean something in the module.
_RESERVED = [
    *keyword.kwlist,
    *dir(builtins),
    *("Any", "Literal", "NotRequired", "Self", "TypeAlias", "TypedDict", "UUID", "Decimal", "date", "datetime", "time"),
    *("timedelta", "annotations", "URL", "ERRORS", "OMITTED", "AsyncClient", "Client", "RemoteError", "given"),
]
# Where the names of types come from that a method may be called by: `list` is a likely one.
_HOMES = {
    **dict.fromkeys(("str", "int", "float", "bool", "list", "dict", "tuple"), "builtins"),
    **dict.fromkeys(("date", "datetime", "time", "timedelta"), "datetime"),
    "UUID": "uuid",
    "Decimal": "decimal",
}
_ALSO_TAKEN = ["Any", "Literal", "OMITTED", *(f"{name}_type" for name in _HOMES)]
_LINE = 120  # characters
MORE = ("more",)  # what *args or **kwargs are named in a scope, where a parameter may be called `more`


class _PythonTypes(Types):
    """other_names: what to call types whose own names mean something else there."""

    def __init__(self, service: Service, name: Callable[[str], str], other_names: dict[str, str]) -> None:
        super().__init__(service, name)
        self.other_names = other_names
        self.words = {key: other_names.get(word, word) for key, word in self.words.items()}

    def called(self, word: str) -> str:
        return self.other_names.get(word, word)

    anything = "Any"
    words = {  # noqa: RUF012
        "string": "str",
        "string date-time": "datetime",
        "string date": "date",
        "string time": "time",
        "string duration": "timedelta",
        "string uuid": "UUID",
        "string decimal": "Decimal",
        "integer": "int",
        "number": "float",
        "boolean": "bool",
        "null": "None",
    }

    def one_of(self, values: list[Any]) -> str:
        if all(value is None or type(value) in (str, int, bool) for value in values) and values:
            return f"Literal[{', '.join(_literal(each) if isinstance(each, str) else repr(each) for each in values)}]"
        return self.union([{float: "float"}.get(type(value), self.anything) for value in values] or [self.anything])

    def component(self, name: str) -> str:
        return name

    def tuple_of(self, items: list[str]) -> str:
        return f"{self.called('tuple')}[{', '.join(items) or '()'}]"

    def list_of(self, item: str) -> str:
        return f"{self.called('list')}[{item}]"

    def dict_of(self, value: str) -> str:
        return f"{self.called('dict')}[{self.called('str')}, {value}]"


def python(document: dict[str, Any], url: str | None = None) -> str:
    """Return the module; `url` is where its clients go unless they are told.

    Raises ValueError for what is no OpenRPC document.
    """
    return _Module(read(document), url).text()


class _Module(Module):
    def __init__(self, service: Service, url: str | None) -> None:
        super().__init__(service, url, _RESERVED)
        self.other_names: dict[str, str] = {}
        self.types = self.types_beside([], [])
        # What no method or parameter is called, as it is written where they are known.
        self.taken = [*keyword.kwlist, *_ALSO_TAKEN, *map(self.types.name, service.components)]
        self.errors = {error.code: self.names.of(error.code, camel(error.message)) for error in service.errors}

    def types_beside(self, methods: list[Method], names: list[str]) -> _PythonTypes:
        """Return the types as they are written in a class with these methods, under these names."""
        parameters = [identifier(parameter.name) for method in methods for parameter in method.parameters]
        hidden = {
            name: self.names.of(("hidden", name), f"{name}_type") for name in [*names, *parameters] if name in _HOMES
        }
        self.other_names |= hidden
        return _PythonTypes(self.service, lambda name: self.names.of(("schema", name), camel(name)), hidden)

    def text(self) -> str:
        errors = ", ".join(f"{code}: {name}" for code, name in self.errors.items())
        parts = [
            *self.components(),
            *(self.error(code, name) for code, name in self.errors.items()),
            f"ERRORS: dict[int, type[RemoteError]] = {{{errors}}}",
        ]
        for prefix in ("", "Async"):
            parts += [self.group(group, prefix) for group in self.service.groups if group]
            parts.append(self.client(prefix))
        imports = [f"from {_HOMES[name]} import {name} as {other}" for name, other in sorted(self.other_names.items())]
        names = sorted({self.title, f"Async{self.title}"})
        head = _HEAD.format(title=_prose(self.service.title), names=json.dumps(names), url=_literal(self.url))
        head = head.replace("\nfrom datetime", "\n".join(["", *imports, "from datetime"]), 1)
        return head + "".join(f"\n\n{part}\n" for part in parts)

    # -- types ----------------------------------------------------------------------------------

    def components(self) -> Iterator[str]:
        """Yield classes, whose hints are resolved when they are asked for; then other types, after what is in them."""
        waiting = {name: schema for name, schema in self.service.components.items() if fields_of(schema) is None}
        for name, schema in self.service.components.items():
            if (fields := fields_of(schema)) is not None:
                yield self.class_(self.types.name(name), schema, fields)
        while waiting:
            ready = [name for name, schema in waiting.items() if not refs_in(schema) & waiting.keys()]
            for name in ready or list(waiting):
                type_ = self.types.of(waiting.pop(name))
                # What is left over holds itself: as a text it can be written, and read by type checkers.
                yield f"{self.types.name(name)}: TypeAlias = {type_ if ready else repr(type_)}"

    def class_(self, own: str, schema: Schema, fields: list[tuple[str, Schema, bool]]) -> str:
        hints = [
            (field, self.types.of(member) if required else f"NotRequired[{self.types.of(member)}]")
            for field, member, required in fields
        ]
        if all(field.isidentifier() and not keyword.iskeyword(field) for field, _ in hints):
            lines = [f"    {field}: {hint}" for field, hint in hints]
            doc = _docstring([str(schema.get("description", ""))], 4)
            return "\n".join([f"class {own}(TypedDict):", *doc, *(lines or ["    pass"])])
        members = ", ".join(f"{_literal(field)}: {_literal(hint)}" for field, hint in hints)
        return f"{own} = TypedDict({_literal(own)}, {{{members}}})"

    def error(self, code: int, name: str) -> str:
        (message,) = (error.message for error in self.service.errors if error.code == code)
        return "\n".join([f"class {name}(RemoteError):", *(_docstring([message], 4) or ["    pass"])])

    # -- classes --------------------------------------------------------------------------------

    def group(self, group: str, prefix: str) -> str:
        name = self.group_name(group, prefix)
        lines = [
            f"class {name}:",
            f"    def __init__(self, client: {prefix}Client) -> None:",
            "        self._client = client",
        ]
        scope = Names([*self.taken, "_client"])
        methods = self.service.methods_of(group)
        types = self.types_beside(methods, [scope.of(method.last_name) for method in methods])
        for method in methods:
            lines += ["", *self.method(method, scope.of(method.last_name), prefix, "self._client", types)]
        return "\n".join(lines)

    def group_name(self, group: str, prefix: str) -> str:
        return self.names.of(("group", prefix, group), f"{prefix}{camel(group)}Methods")

    def client(self, prefix: str) -> str:
        is_async = "async " if prefix else ""
        a = "a" if prefix else ""
        awaited = "await " if prefix else ""
        scope = Names([*self.taken, "client"])
        groups = [
            f"        self.{scope.of(('group', group), group)} = {self.group_name(group, prefix)}(self.client)"
            for group in self.service.groups
            if group
        ]
        lines = [
            f"class {prefix}{self.title}:",
            f'    """The methods of {_prose(self.service.title)}; `options` are those of `{prefix}Client`."""',
            "",
            "    def __init__(self, url: str = URL, **options: Any) -> None:",
            f"        self.client = {prefix}Client(url, errors=ERRORS, **options)",
            *groups,
        ]
        methods = self.service.methods_of("")
        types = self.types_beside(methods, [scope.of(method.name) for method in methods])
        for method in methods:
            lines += ["", *self.method(method, scope.of(method.name), prefix, "self.client", types)]
        lines += [
            "",
            f"    {is_async}def __{a}enter__(self) -> Self:",
            "        return self",
            "",
            f"    {is_async}def __{a}exit__(self, *_: object) -> None:",
            f"        {awaited}self.client.close()",
        ]
        return "\n".join(lines)

    def method(self, method: Method, name: str, prefix: str, client: str, types: _PythonTypes) -> Iterator[str]:
        scope = Names([*self.taken, "self", "result", "given"])
        returns = types.of(method.result)
        awaited, is_async = ("await ", "async ") if prefix else ("", "")
        arguments = [_literal(method.name)]
        if method.parameters or method.more:
            arguments.append(self.params(method, scope))
        if returns not in ("Any", "None"):
            arguments.append(f"returns={returns}")
        yield from _wrapped(f"    {is_async}def {name}(", self.declared(method, scope, types), f") -> {returns}:")
        yield from _docstring([*method.doc, *self.notes(method)], 8)
        yield from _wrapped(f"        result: {returns} = {awaited}{client}.call(", arguments, ")")
        yield "        return result"

    def declared(self, method: Method, scope: Names, types: _PythonTypes) -> list[str]:
        """Return the parameters of the function; those that may be left out come last, as Python wants it."""
        declared = ["self"]
        for parameter in sorted(method.parameters, key=lambda parameter: not parameter.is_required):
            default = "" if parameter.is_required else " = OMITTED"
            declared.append(f"{scope.of(parameter.name)}: {types.of(parameter.schema)}{default}")
        if method.is_by_position and method.parameters:
            declared.append("/")  # none can be left out before one that is given
        if method.more:
            declared.append(f"{'**' if method.more == 'names' else '*'}{scope.of(MORE, 'more')}: Any")
        return declared

    def params(self, method: Method, scope: Names) -> str:
        values = ", ".join(f"{_literal(each.name)}: {scope.of(each.name)}" for each in method.parameters)
        if method.is_by_position:
            more = [f"*{scope.of(MORE, 'more')}"] if method.more else []
            return f"[{', '.join([f'*given({{{values}}}).values()', *more])}]"
        return f"given({{{values}}})" + (f" | {scope.of(MORE, 'more')}" if method.more else "")

    def notes(self, method: Method) -> Iterator[str]:
        if method.is_deprecated:
            yield "Deprecated."
        lines = []
        for parameter in method.parameters:
            default = (
                [f"by default {json.dumps(parameter.schema['default'], ensure_ascii=False)}"]
                if "default" in parameter.schema
                else []
            )
            if told := "; ".join(filter(None, [parameter.description, *default])):
                lines.append(f"{parameter.name}: {told}")
        yield "\n".join(lines)


def _wrapped(start: str, items: list[str], end: str) -> list[str]:
    """Return what stands in brackets on a line, or each item on its own where that would be too long."""
    line = f"{start}{', '.join(items)}{end}"
    if len(line) <= _LINE:
        return [line]
    margin = " " * (len(start) - len(start.lstrip()))
    return [start, *(f"{margin}    {item}," for item in items), f"{margin}{end}"]


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _prose(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"""', "'''").replace("\r", "")
    return plain.replace("\0", "")  # a program that holds one is none


def _docstring(paragraphs: list[str], indent: int) -> list[str]:
    text = _prose("\n\n".join(paragraph.strip() for paragraph in paragraphs if paragraph.strip()))
    if not text:
        return []
    margin = " " * indent
    if text.endswith('"'):
        text += " "
    lines = [f"{margin}{line}".rstrip() for line in text.split("\n")]
    lines[0] = f'{margin}"""{lines[0].strip()}'
    if len(lines) == 1:
        return [f'{lines[0]}"""']
    return [*lines, f'{margin}"""']
