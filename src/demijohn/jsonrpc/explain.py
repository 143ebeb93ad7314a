"""What went wrong with parameters, in one sentence for the client."""

from __future__ import annotations

import re
import typing as t

import msgspec

from .converting import AT, EXPECTED, json_name
from .parameters import Parameters
from .schemas import describe_types

_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
    "date": "a date",
    "datetime": "a date and time",
    "time": "a time",
    "duration": "a duration",
    "uuid": "a UUID",
    "decimal": "a decimal number",
    "value": "a value",
}
_FORMATS = {
    "Invalid UUID": "a UUID",
    "Invalid RFC3339 encoded datetime": 'a date and time such as "2026-01-31T12:00:00Z"',
    "Invalid RFC3339 encoded date": 'a date such as "2026-01-31"',
    "Invalid RFC3339 encoded time": 'a time such as "12:00:00"',
    "Invalid ISO8601 duration": 'a duration such as "PT90S"',
    "Invalid decimal string": "a decimal number",
}
_PRIVATE = re.compile("passw|secret|token|credential|api_?key", re.IGNORECASE)
_UNKNOWN: t.Final = object()


def explain(error: msgspec.ValidationError, params: t.Any, parameters: Parameters) -> str:
    """Return one sentence for the client: where in `params`, what was expected there, what was sent.

    `params.items[3].price: expected a number, got "x"`. What was sent is cut at 100 characters and left out where the
    name tells that it is a secret.
    """
    message, *places = str(error).split(AT)
    in_key = any(place.startswith("key`") for place in places)
    path = "".join(place.removeprefix("key` in `").strip("`").removeprefix("$") for place in reversed(places))
    if not path and isinstance(params, list) and message.startswith("Expected `array` of"):
        return _wrong_count(params, parameters)
    if field := _FIELD.fullmatch(message):
        kind = "member" if path else "parameter"
        what = f'the {kind} "{field[2]}" is missing' if "missing" in field[1] else f'there is no {kind} "{field[2]}"'
        return f"params{path}: {what}"
    path, value = _locate(params, path, message)
    what = ("a key: " if in_key else "") + (_choice(message, path, parameters) or _expectation(message))
    if value is not _UNKNOWN and not in_key and not _PRIVATE.search(path) and not _holds_secret(value):
        what += f", got {_shown(value)}"
    return f"params{path}: {what}"


def _wrong_count(params: list[t.Any], parameters: Parameters) -> str:
    if len(params) > len(parameters.positional):
        count = len(parameters.positional)
        return f"params: there {'is 1 parameter' if count == 1 else f'are {count} parameters'}, got {len(params)}"
    return f'params: the parameter "{parameters.positional[len(params)].name}" is missing'


def _expectation(message: str) -> str:
    if expected := EXPECTED.fullmatch(message):
        words = " or ".join(_WORDS.get(name, name) for name in expected[1].split(" | "))
        return f"expected {words}{expected[2]}"
    if message in _FORMATS:
        return f"expected {_FORMATS[message]}"
    return message.replace("Expected", "expected", 1) if message.startswith("Expected ") else message


def _choice(message: str, path: str, parameters: Parameters) -> str | None:
    """Return the values to choose from, where they are few and stand in the parameter itself."""
    if not message.startswith("Invalid enum value"):
        return None
    for index, parameter in enumerate(parameters.named):
        if path in (f".{parameter.name}", f"[{index}]"):
            (schema,), components = describe_types([parameter.type])
            schema = components.get(schema.get("$ref", "").rpartition("/")[2], schema)
            choices = schema.get("enum", [])
            if 0 < len(choices) <= 10:
                return f"expected {' or '.join(map(_shown, choices))}"
    return "expected one of the values that the method knows"


def _locate(params: t.Any, path: str, message: str) -> tuple[str, t.Any]:
    """Return the path with the member of a mapping named where only one can be meant, and the value it leads to."""
    value, seen = params, ""
    for step in _STEP.finditer(path):
        name, index, any_member = step.groups()
        if any_member and isinstance(value, dict):
            name = _only_member(value, path[step.end() :], message)
        try:
            value = value[int(index)] if index else value[name]
        except (LookupError, TypeError, ValueError):  # the last for a name that looks like an index of 5000 digits
            return path, _UNKNOWN
        seen += f"[{index}]" if index else f".{name}"
    return seen, value


def _only_member(members: dict[str, t.Any], rest: str, message: str) -> str | None:
    """Return the one member of the type that msgspec complains about; it does not say which one it was."""
    got = (expected := EXPECTED.fullmatch(message)) and expected[3]
    names = [name for name, value in members.items() if json_name(value) == got]
    return names[0] if len(names) == 1 and not rest else None


def _holds_secret(value: t.Any) -> bool:
    """Whether a member of what was sent is called as secrets are."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if any(map(_PRIVATE.search, each)):
                return True
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return False


def _shown(value: t.Any) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (ValueError, RecursionError):
        return _WORDS.get(json_name(value), "something else")
    return text if len(text) <= 100 else text[:99] + "…"
