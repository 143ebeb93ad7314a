"""What a docstring tells of parameters, results, errors and examples, in the styles of Google, NumPy and Sphinx."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_SECTIONS = {
    **dict.fromkeys(("args", "arguments", "parameters", "params", "keyword args", "other parameters"), "params"),
    **dict.fromkeys(("returns", "return", "yields"), "returns"),
    **dict.fromkeys(("raises", "exceptions"), "raises"),
    **dict.fromkeys(("example", "examples"), "examples"),
    **dict.fromkeys(("note", "notes", "warning", "warnings", "see also", "references", "todo"), "other"),
}
_GOOGLE = re.compile(r"(?m)^(?P<title>[A-Z][A-Za-z ]+):[ ]*$")
_NUMPY = re.compile(r"(?m)^(?P<title>[A-Z][A-Za-z ]+)\n-{3,}[ ]*$")
_FIELD = re.compile(r"^:(?P<kind>\w+)(?: (?:[^:]+ )?(?P<name>[*\w.]+))?:(?P<text>.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_FIELD_KINDS = {
    **dict.fromkeys(("param", "parameter", "arg", "argument", "key", "keyword"), "params"),
    **dict.fromkeys(("return", "returns"), "returns"),
    **dict.fromkeys(("raise", "raises", "except", "exception"), "raises"),
}
# "name (int, optional): text", "name : int" and a text below, or "Error: text".
_ENTRY = re.compile(r"^(?P<name>\*{0,2}[\w.]+)[ ]*(?:\([^)]*\))?[ ]*(?::[ ]*(?P<text>.*))?$")


@dataclass(slots=True)
class Example:
    """A call that a docstring shows after `>>>`, whose arguments and result are literals; `text` is how it does."""

    text: str
    name: str
    arguments: list[Any]
    named: dict[str, Any]
    result: Any


@dataclass(slots=True)
class Told:
    """What a docstring tells. `params` and `raises` are texts by name."""

    summary: str = ""
    description: str = ""
    params: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    raises: dict[str, str] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)


def read(doc: str | None) -> Told:
    """Return what the docstring `doc` tells."""
    text = inspect.cleandoc(doc or "")
    told = Told(examples=list(_examples(text)))
    for found in _FIELD.finditer(text):
        _add(told, _FIELD_KINDS.get(found["kind"], "other"), {found["name"] or "": _one_line(found["text"])})
    prose, sections = _sections(_FIELD.sub("", text))
    for title, body, is_numpy in sections:
        kind = _SECTIONS[title.lower()]
        if kind == "returns":
            _add(told, kind, {"": _result_text(body, is_numpy)})
        elif kind in ("params", "raises"):
            _add(told, kind, dict(_entries(body, is_numpy)))
        elif kind == "other":
            prose += f"\n\n{title}: {body.strip()}"
    told.summary, told.description = _parted(prose.strip())
    return told


def _parted(prose: str) -> tuple[str, str]:
    """Return the first paragraph as a line, and the rest."""
    summary, _, description = prose.partition("\n\n")
    return _one_line(summary), description.strip()


def _sections(text: str) -> tuple[str, list[tuple[str, str, bool]]]:
    """Return the text before the first section, and (title, body, whether NumPy's) of each."""
    titles = [(found, pattern is _NUMPY) for pattern in (_GOOGLE, _NUMPY) for found in pattern.finditer(text)]
    known = [(found, is_numpy) for found, is_numpy in titles if found["title"].strip().lower() in _SECTIONS]
    known.sort(key=lambda item: item[0].start())
    if not known:
        return text, []
    ends = [found.start() for found, _ in known[1:]] + [len(text)]
    sections = [
        (found["title"].strip(), text[found.end() : end], is_numpy)
        for (found, is_numpy), end in zip(known, ends, strict=True)
    ]
    return text[: known[0][0].start()], sections


def _entries(body: str, is_numpy: bool) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of what a section lists: an entry begins where the lines are indented least."""
    name, lines = "", list[str]()
    for line in inspect.cleandoc(body).split("\n"):
        entry = _ENTRY.match(line) if line[:1].strip() else None
        if entry is None:
            lines.append(line)
            continue
        if name:
            yield name, _one_line("\n".join(lines))
        # With NumPy the type stands after the colon, and the text below.
        name, lines = entry["name"].lstrip("*"), [] if is_numpy else [entry["text"] or ""]
    if name:
        yield name, _one_line("\n".join(lines))


def _result_text(body: str, is_numpy: bool) -> str:
    text = inspect.cleandoc(body)
    _, _, rest = text.partition("\n")
    # NumPy's first line is the type when an indented text follows.
    return _one_line(rest if is_numpy and rest[:1] in " \t" and rest else re.sub(r"^[\w\[\], |.]+: ", "", text))


def _add(told: Told, kind: str, texts: dict[str, str]) -> None:
    if kind == "returns":
        told.returns = told.returns or "".join(texts.values())
    elif kind in ("params", "raises"):
        getattr(told, kind).update((name.lstrip("*"), text) for name, text in texts.items() if name)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _examples(text: str) -> Iterator[Example]:
    try:
        shown = doctest.DocTestParser().get_examples(text)
    except ValueError:  # a docstring that only looks like one
        return
    lines = text.split("\n")
    for example in shown:
        try:
            call = ast.parse(example.source.strip(), mode="eval").body
            if not isinstance(call, ast.Call) or any(keyword.arg is None for keyword in call.keywords):
                continue
            arguments = [ast.literal_eval(argument) for argument in call.args]
            named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            result = ast.literal_eval(example.want) if example.want.strip() else None
        except (ValueError, SyntaxError):
            continue  # not literals: it shows something, but is no example to send
        end = example.lineno + example.source.count("\n") + example.want.count("\n")
        name = ast.unparse(call.func).rpartition(".")[2]
        yield Example("\n".join(lines[example.lineno : end]), name, arguments, named, result)
