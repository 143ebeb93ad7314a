"""Forms with large files, which stay where the server has put them. Werkzeug's parser says what they are."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest
import werkzeug.wrappers.request
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request as WerkzeugRequest

from demijohn.environ import environ_of
from demijohn.forms import FileWithin
from demijohn.message import Origin, RequestHead
from demijohn.routing import Router
from demijohn.wrappers import Request

ROUTE = next(iter(Router(Map([Rule("/upload", endpoint="upload")])).fixed["POST"].values()))
LARGE = 600_000


def spooled(content: bytes) -> BinaryIO:
    spool = tempfile.TemporaryFile()  # noqa: SIM115 (whoever asked closes it)
    spool.write(content)
    spool.seek(0)
    return spool


def head_of(spool: BinaryIO, content_type: str = "multipart/form-data; boundary=B") -> RequestHead:
    length = os.fstat(spool.fileno()).st_size
    fields = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % length)]
    head = RequestHead("POST", b"/upload", (1, 1), fields, Origin())
    head.content, head.spool, head.route, head.arguments = None, spool, ROUTE, {}
    return head


@contextmanager
def request_with(content: bytes, kind: type[Request] = Request) -> Iterator[Request]:
    with spooled(content) as spool:
        request = kind.of_head(head_of(spool))
        yield request
        request.close()


def part(disposition: str, content: bytes) -> bytes:
    return b"\r\n--B\r\nContent-Disposition: form-data; %b\r\n\r\n%b" % (disposition.encode(), content)


def form_with(content: bytes) -> bytes:
    return part('name="file"; filename="a.bin"', content) + b"\r\n--B--\r\n"


@pytest.fixture
def large() -> Any:
    content = os.urandom(1000) * (LARGE // 1000)
    with request_with(form_with(content)) as request:
        file = request.files["file"]
        assert isinstance(file.stream, FileWithin)
        yield file, content


# -- the same as by Werkzeug's parser ---------------------------------------------------------------------


def outcome(request: WerkzeugRequest) -> Any:
    """All that can be seen of a form."""
    try:
        form, files = request.form, request.files
    except RequestEntityTooLarge:
        return "too large"
    seen = [
        (name, file.filename, file.name, list(file.headers), file.stream.tell(), file.read())
        for name, file in files.items(multi=True)
    ]
    kinds = [isinstance(file.stream, tempfile.SpooledTemporaryFile) for file in files.values()]
    request.close()
    return type(form), list(form.items(multi=True)), type(files), seen, kinds, request.stream.read()


def by_both(content: bytes, content_type: str = "multipart/form-data; boundary=B", **limits: Any) -> tuple[Any, Any]:
    found = []
    for make in (Request.of_head, lambda head: WerkzeugRequest(environ_of(head))):
        with spooled(content) as spool:
            request = make(head_of(spool, content_type))
            for name, value in limits.items():
                setattr(request, name, value)
            found.append(outcome(request))
    return found[0], found[1]


class Content:
    """Some bytes, over and over again."""

    def __init__(self, unit: bytes, length: int) -> None:
        self.unit = unit
        self.length = length

    def __bytes__(self) -> bytes:
        return (self.unit * (self.length // len(self.unit) + 1))[: self.length]

    def __repr__(self) -> str:  # what fails is to be read
        return f"Content({self.unit!r}, {self.length})"


line_ends = st.sampled_from([b"\r\n", b"\n", b"\r"])
delimiters = st.builds(
    lambda before, end, after: before + b"--B" + end + after,
    line_ends,
    st.sampled_from([b"", b"", b"", b"--", b"  ", b"-- \t", b"x", b"-"]),
    line_ends,
)
heads = st.builds(
    lambda disposition, more, end: b"Content-Disposition: form-data; " + disposition + more + end,
    st.sampled_from([b'name="a"', b'name="b"; filename="f.txt"', b'filename="g"', b'name="c"; filename=""']),
    st.sampled_from([b"", b"\r\nContent-Type: text/plain; charset=iso-8859-1", b"\r\nX: 1\r\n 2", b"\nX:\xff"]),
    st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\r", b"\r\n"]),
)
# Lengths about the places where the parser stops reading, and about the size from which files are large.
lengths = st.one_of(
    st.integers(0, 100),
    st.builds(lambda at, by: at + by, st.sampled_from([1 << 16, 1 << 17, 1 << 18, 512_000]), st.integers(-300, 300)),
)
contents = st.builds(
    Content,
    st.sampled_from([b"y", b"\r\n", b"\r\n--", b"--B", b"\r\n--Bx", b"\xe4\r", b"0123456789abcdef\n"]),
    lengths,
)
parts = st.tuples(delimiters, heads, contents, contents).map(list)
forms = st.lists(st.one_of(parts, parts, st.lists(st.one_of(delimiters, heads, contents), max_size=3)), max_size=5).map(
    lambda lists: [*itertools.chain(*lists), b"\r\n--B--\r\n"]
)


# Werkzeug's parser leaves the files of a malformed form to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@settings(max_examples=400, deadline=None)
@given(forms, st.sampled_from([0, 70_000, 131_072, 500_000, 10**9]), st.sampled_from([1, 1_000]))
def test_a_form_is_what_werkzeug_makes_of_it(form: list[bytes | Content], memory: int, parts: int) -> None:
    ours, werkzeugs = by_both(b"".join(map(bytes, form)), max_form_memory_size=memory, max_form_parts=parts)
    assert ours == werkzeugs, form


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xe4",
        "application/x-www-form-urlencoded",
        "text/plain",
    ],
)
def test_what_is_no_form_with_files_is_left_to_werkzeug(content_type: str) -> None:
    ours, werkzeugs = by_both(form_with(b"y" * LARGE), content_type)
    assert ours == werkzeugs


def test_content_over_the_limit_is_refused() -> None:
    ours, werkzeugs = by_both(form_with(b"y" * LARGE), max_content_length=LARGE)
    assert ours == werkzeugs == "too large"


def test_delimiters_without_a_line_end_before_them_end_no_file() -> None:
    inside = (b"y" * 70_000 + b"--B--") * 9
    with request_with(form_with(inside)) as request:
        assert request.files["file"].read() == inside


def test_several_large_files_are_told_apart() -> None:
    sent = [bytes([65 + number]) * (LARGE + number) for number in range(3)]
    data = b"".join(part(f'name="f"; filename="{number}"', file) for number, file in enumerate(sent)) + b"\r\n--B--"
    with request_with(data) as request:
        assert [file.read() for file in request.files.getlist("f")] == sent


# -- the application has a say ---------------------------------------------------------------------------------


def files_with(kind: type[Request]) -> tuple[Any, bytes]:
    content = b"z" * LARGE
    with request_with(form_with(content), kind) as request:
        file = request.files["file"]
        return file.stream, file.read()


def test_a_request_class_says_where_files_go() -> None:
    class InMemory(Request):
        def _get_file_stream(self, *args: Any, **kwargs: Any) -> Any:
            return io.BytesIO()

    stream, content = files_with(InMemory)
    assert isinstance(stream, io.BytesIO)
    assert content == b"z" * LARGE


def test_a_request_class_says_who_parses_forms() -> None:
    class Parser(FormDataParser):
        def parse(self, *args: Any, **kwargs: Any) -> Any:
            stream, form, files = super().parse(*args, **kwargs)
            files["file"].filename = "parsed"
            return stream, form, files

    class Parsed(Request):
        form_data_parser_class = Parser

    with request_with(form_with(b"z" * LARGE), Parsed) as request:
        assert request.files["file"].filename == "parsed"


def test_a_replaced_stream_factory_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(werkzeug.wrappers.request, "default_stream_factory", lambda **_: io.BytesIO())
    stream, _ = files_with(Request)
    assert isinstance(stream, io.BytesIO)


def test_input_that_the_application_has_wrapped_is_read_through_it() -> None:
    class Counting(io.RawIOBase):
        def __init__(self, inner: BinaryIO) -> None:
            self.inner = inner
            self.count = 0

        def read(self, size: int = -1) -> bytes:
            data = self.inner.read(size)
            self.count += len(data)
            return data

    data = form_with(b"z" * LARGE)
    with request_with(data) as request:
        counting = request.environ["wsgi.input"] = Counting(request.environ["wsgi.input"])
        assert request.files["file"].read() == b"z" * LARGE
        assert counting.count == len(data)


def test_content_that_was_begun_to_be_read_is_parsed_from_there() -> None:
    with request_with(b"12345" + form_with(b"z" * LARGE)) as request:
        assert request.stream.read(5) == b"12345"
        assert request.files["file"].read() == b"z" * LARGE


def test_content_that_was_kept_is_parsed_again() -> None:
    data = form_with(b"z" * LARGE)
    with request_with(data) as request:
        assert request.get_data() == data
        assert request.files["file"].read() == b"z" * LARGE


# -- a file is a file ------------------------------------------------------------------------------------------


def test_a_large_file_reads_as_any_file(large: Any) -> None:
    file, content = large
    lines = io.BytesIO(content)
    assert file.readline() == lines.readline()
    assert file.readlines(100) == lines.readlines(100)
    assert (file.seek(-10, os.SEEK_END), file.tell()) == (LARGE - 10, LARGE - 10)
    assert (file.read(), file.read()) == (content[-10:], b"")
    file.seek(5)
    buffer = bytearray(7)
    assert (file.stream.readinto(buffer), buffer) == (7, content[5:12])
    file.seek(0)
    assert list(file) == list(io.BytesIO(content))
    assert file.stream.readable()
    assert file.stream.seekable()
    assert file.stream.writable()
    assert file.stream.mode == "rb+"
    file.seek(LARGE + 10)
    assert file.read() == b""
    with pytest.raises(OSError, match="Invalid"):
        file.seek(-1)


def test_a_large_file_is_saved(large: Any, tmp_path: Any) -> None:
    file, content = large
    file.save(tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == content


def test_a_large_file_outlives_the_form_it_came_in() -> None:
    with spooled(form_with(b"z" * LARGE)) as spool:
        file = Request.of_head(head_of(spool)).files["file"]
    assert file.read() == b"z" * LARGE
    file.close()


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda stream: stream.write(b"new"), lambda content: b"new" + content[3:]),
        (lambda stream: stream.writelines([b"n", b"ew"]), lambda content: b"new" + content[3:]),
        (lambda stream: stream.truncate(4), lambda content: content[:4]),
        (lambda stream: stream.truncate(), lambda content: b""),
        (lambda stream: stream.rollover(), lambda content: content),
    ],
)
def test_a_large_file_that_is_changed_becomes_one_of_its_own(
    change: Callable[[Any], object], left: Callable[[bytes], bytes]
) -> None:
    content = bytes(range(200)) * (LARGE // 200)
    other = b"o" * LARGE
    data = part('name="file"; filename="a"', content) + part('name="other"; filename="b"', other) + b"\r\n--B--\r\n"
    with request_with(data) as request:
        file = request.files["file"]
        for _ in range(2):
            change(file.stream)
            file.seek(0)
        assert file.read() == left(content)
        assert request.files["other"].read() == other


def test_the_descriptor_of_a_large_file_is_that_of_a_file_of_its_own(large: Any) -> None:
    file, content = large
    file.seek(3)
    fd = file.stream.fileno()
    assert os.fstat(fd).st_size == LARGE
    assert os.pread(fd, LARGE, 0) == content
    assert (file.tell(), file.read(4)) == (3, content[3:7])


def test_a_large_file_is_copied_by_its_pieces(large: Any) -> None:
    file, content = large
    copy = io.BytesIO()
    shutil.copyfileobj(file.stream, copy)
    assert copy.getvalue() == content


def test_closing_a_request_closes_its_files_and_no_descriptor_is_left() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in itertools.repeat(None, 3):
        with request_with(form_with(b"z" * LARGE)) as request:
            stream = request.files["file"].stream
            request.close()
            assert stream.closed
            with pytest.raises(ValueError, match="closed"):
                stream.read()
    assert descriptors() == before
