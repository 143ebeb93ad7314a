"""Requests that other projects test their parsers with, read from their source distributions, and what they expect."""

from __future__ import annotations

import importlib
import re
import sys
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from running import unpack

# In front of a case that has no Host; see `with_host`.
HOST_LINE = b"Host: corpus.test\r\n"
_REQUEST_LINE = re.compile(rb"(?:^|(?<=\n))([!-~]+ [!-~]+ HTTP/1\.1\r\n)")

GUNICORN, LLHTTP, H11, WAITRESS = "gunicorn==27.0.1", "aiohttp==3.14.5", "h11==0.16.0", "waitress==3.0.2"


@dataclass(frozen=True)
class Request:
    """What must be read; None where a corpus does not say. Field names are in lower case."""

    method: str
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...] | None
    content: bytes | None


@dataclass(frozen=True)
class Case:
    """One piece of bytes. `expected` holds the requests in it, or is None when it must be refused.

    limits: settings of ours that stand for those the corpus has.
    """

    corpus: str
    name: str
    data: bytes
    expected: tuple[Request, ...] | None
    limits: dict[str, Any] = field(default_factory=dict)

    def with_host(self) -> bytes:
        """The bytes with a Host in each request (RFC 9112 §3.2), which most cases lack; they are about others."""
        contents = b"".join(request.content or b"" for request in self.expected or ())
        if b"host:" in self.data.lower() or b"HTTP/1.1" in contents:
            return self.data
        return _REQUEST_LINE.sub(rb"\1" + HOST_LINE, self.data)

    @property
    def label(self) -> str:
        return f"{self.corpus}/{self.name}"


def read() -> Iterator[Case]:
    """Yield all cases. Downloads what is not there yet."""
    yield from _gunicorn(unpack(GUNICORN))
    yield from _llhttp(unpack(LLHTTP) / "vendor" / "llhttp" / "test" / "request")
    yield from _h11(unpack(H11))
    yield from _waitress(unpack(WAITRESS))


@contextmanager
def _importable(*folders: Path) -> Iterator[None]:
    """Let modules be imported from these folders, and from no others of the same names afterwards."""
    known = set(sys.modules)
    sys.path[:0] = map(str, folders)
    try:
        yield
    finally:
        del sys.path[: len(folders)]
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(tuple(map(str, folders))):
                del sys.modules[name]


# -- gunicorn: a file of bytes, and beside it a module with what is expected ------------------------------------

_SAME_MEANING = {
    "limit_request_line": "limit_request_line",
    "limit_request_fields": "limit_request_fields",
    "limit_request_field_size": "limit_request_field_size",
    "proxy_protocol": "proxy_protocol",
}


def _gunicorn(top: Path) -> Iterator[Case]:
    with _importable(top, top / "tests"):
        treq = importlib.import_module("treq")
        for path in sorted((top / "tests" / "requests").glob("*/*.http")):
            beside = treq.load_py(str(path.with_suffix(".py")))
            data = treq.request(str(path), []).data
            expected = None
            if path.parent.name == "valid":
                given = beside["request"]
                expected = tuple(map(_of_gunicorn, given if isinstance(given, list) else [given]))
            yield Case("gunicorn", f"{path.parent.name}/{path.stem}", data, expected, _limits_of(beside["cfg"]))


def _of_gunicorn(given: dict[str, Any]) -> Request:
    fields = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in given["headers"])
    return Request(given["method"], given["uri"]["raw"].encode("latin-1"), fields, given["body"] or b"")


def _limits_of(config: Any) -> dict[str, Any]:
    default = type(config)()
    changed = {
        ours: getattr(config, theirs)
        for theirs, ours in _SAME_MEANING.items()
        if getattr(config, theirs) != getattr(default, theirs)
    }
    return {name: sys.maxsize if value == 0 else value for name, value in changed.items()}


# -- llhttp: Markdown with the bytes and the log of the parser ---------------------------------------------------

_BLOCK = re.compile(r"<!-- meta=(\{[^\n]*\}) -->\n+```http\n((?:(?!```).)*)```\n+```log\n((?:(?!```).)*)```", re.DOTALL)
_TYPE = re.compile(r'"type": *"([^"]*)"')
_SPAN = re.compile(r'span\[(method|url|body)\]="(.*)"$')


def _llhttp(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*.md")):
        text = path.read_text()
        for number, block in enumerate(_BLOCK.finditer(text)):
            meta, source, log = block.groups()
            kind = _TYPE.search(meta)
            if kind is None or kind[1] not in ("request", "request-finish") or "pause" in meta or "skipBody" in meta:
                continue  # of a parser that was told to be lenient, or of how it is embedded
            if "${" in source:
                continue  # JavaScript
            title = text[: block.start()].rpartition("\n#")[2].partition("\n")[0].strip("# ").replace(" ", "-")
            yield Case("llhttp", f"{path.stem}/{number:02d}-{title}", _of_markdown(source), _of_log(log))


def _of_markdown(source: str) -> bytes:
    source = re.sub(r"\\\n", "", source.removesuffix("\n")).replace("\n", "\r\n")
    for escape, char in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        source = source.replace(escape, char)
    source = re.sub(r"\\x([0-9a-fA-F]+)", lambda found: chr(int(found[1], 16)), source)
    source = re.sub(r"\\([0-7]{1,3})", lambda found: chr(int(found[1], 8)), source)
    return source.encode()


def _of_log(log: str) -> tuple[Request, ...] | None:
    requests: list[Request] = []
    spans = {"method": "", "url": "", "body": ""}
    for line in log.splitlines():
        if "error code=" in line and "Pause on" not in line:
            return None
        if span := _SPAN.search(line):
            spans[span[1]] += span[2]
        elif "body]=cr" in line:
            spans["body"] += "\r"
        elif "body]=lf" in line:
            spans["body"] += "\n"
        elif line.endswith("message complete"):
            requests.append(Request(spans["method"], spans["url"].encode(), None, spans["body"].encode()))
            spans = dict.fromkeys(spans, "")
    return tuple(requests)


# -- h11 and waitress: what their tests feed to their parsers, recorded ------------------------------------------


def _h11(top: Path) -> Iterator[Case]:
    found: list[Case] = []
    with _importable(top):
        tests: ModuleType = importlib.import_module("h11.tests.test_io")
        reader = tests.READERS[tests.CLIENT, tests.IDLE]
        original = tests.tr

        def record(given: Any, data: bytes, expected: Any) -> None:
            refused = True
            try:
                original(given, data, expected)
                refused = False
            finally:
                if given is reader:
                    name = f"{len(found):02d}-{sys._getframe(1).f_code.co_name}"
                    found.append(Case("h11", name, data, None if refused else (_of_h11(expected),)))

        tests.tr = record
        for name in sorted(vars(tests)):
            if name.startswith(("test_readers", "test_reject", "test_allow")):
                getattr(tests, name)()
    yield from found


def _of_h11(event: Any) -> Request:
    return Request(event.method.decode(), event.target, tuple(map(tuple, event.headers)), b"")


def _waitress(top: Path) -> Iterator[Case]:
    fed: list[tuple[Any, bytearray]] = []
    found: list[Case] = []
    with _importable(top / "src", top):
        parser = importlib.import_module("waitress.parser").HTTPRequestParser
        tests = importlib.import_module("tests.test_parser")
        received, parse_header = parser.received, parser.parse_header
        failures = (tests.ParsingError, importlib.import_module("waitress.parser").TransferEncodingNotImplemented)

        def record(self: Any, data: bytes) -> int:
            consumed: int = received(self, data)
            if not (fed and fed[-1][0] is self):
                fed.append((self, bytearray()))
            fed[-1][1].extend(data[:consumed])
            return consumed

        def record_head(self: Any, head: bytes) -> None:
            if sys._getframe(1).f_code.co_name == "received":
                return parse_header(self, head)
            fed.append((self, bytearray(head.removesuffix(b"\r\n") + b"\r\n\r\n")))
            self.completed = True
            try:
                parse_header(self, head)
            except failures as error:
                self.error = error
                raise

        parser.received, parser.parse_header = record, record_head
        for case in _test_cases(unittest.defaultTestLoader.loadTestsFromModule(tests)):
            fed.clear()
            case.run(unittest.TestResult())
            name = case.id().rpartition(".")[2]
            found += [_of_waitress(f"{name}-{n}", *each) for n, each in enumerate(fed) if each[0].completed and each[1]]
    yield from found


def _test_cases(suite: Any) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _test_cases(each)
        else:
            yield each


def _of_waitress(name: str, parser: Any, data: bytearray) -> Case:
    limits = {"limit_request_head": parser.adj.max_request_header_size + len(HOST_LINE)}
    if parser.adj.max_request_body_size < 1 << 20:
        limits["limit_request_body"] = parser.adj.max_request_body_size
    expected: tuple[Request, ...] | None = ()
    if parser.error:
        expected = None
    elif not parser.empty:
        target = parser.request_uri.encode("latin-1")
        expected = (Request(parser.command, target, None, parser.get_body_stream().read()),)
        if parser.chunked and not parser.body_rcv.completed:
            data += b"0\r\n\r\n"  # the test was of the head alone
    # The version its tests are fond of is none that a server has to take.
    return Case("waitress", name, bytes(data).replace(b"HTTP/8.4", b"HTTP/1.1"), expected, limits)
