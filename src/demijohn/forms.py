"""Forms with large files, whose content the server has put into a temporary file: it stays there.

Werkzeug's parser moves each file into a temporary file of its own, 64 KiB at a time. Here the same decoder sees all of
a form but the inside of large files; where these end is looked for in the file that holds the form, and what the
application is given is a window on that.
bench/bodies.py: a form with one file of 5 MB in 2.0 ms, by Werkzeug's parser in 6.1.
"""

from __future__ import annotations

import io
import mmap
import os
import shutil
from operator import attrgetter, is_
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import werkzeug.wrappers.request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser, MultiPartParser, default_stream_factory
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData, State

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict
    from werkzeug.wrappers import Request

# What Werkzeug's parser reads at a time. Its limits are held against what it has read, so the same is read here.
_BLOCK_BYTES = 1 << 16
# Limits below this may refuse what is read at a time, so they are left to Werkzeug's parser.
_LEAST_FORM_MEMORY_BYTES = 2 * _BLOCK_BYTES
# What is copied at a time into a file of its own.
_COPIED_BYTES = 1 << 18
# Werkzeug keeps files up to this in memory.
_LARGE_FILE_BYTES = 1024 * 500

# What decides how a form is parsed and where its files go. When one is replaced, Werkzeug's parser is called.
_stages_of_request = attrgetter(
    "form_data_parser_class",
    "make_form_data_parser",
    "want_form_data_parsed",
    "stream",
    "_get_file_stream",
    "_get_stream_for_parsing",
)
_stages_of_parser = attrgetter("parse", "start_file_streaming", "get_part_charset", "__init__")
_STOCK_STAGES = (
    *_stages_of_request(werkzeug.wrappers.request.Request),
    FormDataParser.parse,
    default_stream_factory,
    *_stages_of_parser(MultiPartParser),
)


Form = tuple["MultiDict[str, str]", "MultiDict[str, FileStorage]"]


def parse_spooled(request: Request, spool: BinaryIO) -> Form | None:
    """Return fields and files of a form that is the whole content of a file, which is then read to its end.

    None when that is Werkzeug's matter: the application has a say in it, has begun to read, or gets no form at all,
    as it is malformed or breaks a limit. Then nothing has been read.
    """
    memory_bytes = request.max_form_memory_size
    if (
        type(spool) is not io.BufferedRandom
        or request.environ["wsgi.input"] is not spool
        or spool.closed
        or spool.tell()
        or (memory_bytes is not None and memory_bytes < _LEAST_FORM_MEMORY_BYTES)
        or not _is_stock(type(request))
    ):
        return None
    try:
        boundary = request.mimetype_params.get("boundary", "").encode("ascii")
        if not boundary:
            return None
    except UnicodeEncodeError:
        return None
    decoder = MultipartDecoder(boundary, memory_bytes, max_parts=request.max_form_parts)
    form = _SpooledForm(decoder, spool.fileno(), request.content_length)
    try:
        form.parse()
    except (ValueError, RequestEntityTooLarge):
        for _, file in form.files:
            file.close()
        return None
    spool.seek(0, os.SEEK_END)
    kind = request.parameter_storage_class
    return kind(form.fields), kind(form.files)


def _is_stock(request_class: type[Request]) -> bool:
    """Whether forms of such requests are parsed as Werkzeug does it, into files as it makes them."""
    stages = (
        *_stages_of_request(request_class),
        FormDataParser.parse,
        werkzeug.wrappers.request.default_stream_factory,  # type: ignore[attr-defined]
        *_stages_of_parser(MultiPartParser),
    )
    return all(map(is_, stages, _STOCK_STAGES))


class _SpooledForm:
    """One form being parsed. `_position` is how far the decoder has been given it."""

    def __init__(self, decoder: MultipartDecoder, fd: int, content_length: int | None) -> None:
        self._decoder = decoder
        self._fd = fd
        self._content_length = content_length
        self._position = 0
        self._parser = MultiPartParser(max_form_memory_size=decoder.max_form_memory_size)
        self.fields: list[tuple[str, str]] = []
        self.files: list[tuple[str, FileStorage]] = []

    def parse(self) -> None:
        """Find all fields and files. Raises ValueError and RequestEntityTooLarge as Werkzeug's parser does."""
        decoder = self._decoder
        part: _Part | None = None
        while True:
            # To the end of the block that Werkzeug's parser would read.
            block = os.pread(self._fd, _BLOCK_BYTES - self._position % _BLOCK_BYTES, self._position)
            self._position += len(block)
            decoder.receive_data(block or None)
            while not isinstance(event := decoder.next_event(), NeedData):
                if isinstance(event, Epilogue):
                    return
                if isinstance(event, Field | File):
                    part = _Part(event)
                elif isinstance(event, Data):
                    assert part is not None
                    self._take(part, event)
            if part is not None and part.is_file and decoder.state is State.DATA:
                self._skip(part)

    def _take(self, part: _Part, data: Data) -> None:
        limit = self._decoder.max_form_memory_size
        if part.is_file:
            if not part.end:  # a part has a head, so its content does not begin at 0
                part.begin = part.end = self._position - len(self._decoder.buffer) - len(data.data)
                part.first = data.data
            part.end += len(data.data)
        else:
            part.pieces.append(data.data)
            part.end += len(data.data)
            if limit is not None and part.end > limit:
                raise RequestEntityTooLarge
        if not data.more_data:
            self._finish(part)

    def _skip(self, part: _Part) -> None:
        """Go on where the delimiter may be that ends the file. Raises ValueError when there is none.

        What the decoder holds back, as it may be the begin of one, is looked at again.
        """
        decoder = self._decoder
        begin = self._position - len(decoder.buffer)
        found = self._find(b"--" + decoder.boundary, begin)
        # The line end before it, which may be two characters, belongs to the delimiter.
        skipped_to = found - 2
        if skipped_to > self._position:
            decoder.buffer.clear()
            part.end = self._position = skipped_to

    def _find(self, what: bytes, begin: int) -> int:
        """Return where in the form `what` comes next. Raises ValueError when it does not."""
        # bench/bodies.py: a form with one file of 5 MB in 2.0 ms; in 2.4 when it is read for this, 256 KB at a time.
        with mmap.mmap(self._fd, 0, prot=mmap.PROT_READ) as content:
            found = content.find(what, begin)
        if found < 0:
            raise ValueError("The end of a file is missing")
        return found

    def _finish(self, part: _Part) -> None:
        head = part.head
        if not part.is_file:
            charset = self._parser.get_part_charset(head.headers)
            self.fields.append((head.name, b"".join(part.pieces).decode(charset, "replace")))
            return
        size = part.end - part.begin
        stream: IO[bytes]
        if size > _LARGE_FILE_BYTES:
            stream = cast("IO[bytes]", FileWithin(self._fd, part.begin, part.end))
        else:
            stream = self._parser.start_file_streaming(cast(File, head), self._content_length)
            stream.write(part.first if len(part.first) == size else os.pread(self._fd, size, part.begin))
            stream.seek(0)
        filename = cast(File, head).filename
        self.files.append((head.name, FileStorage(stream, filename, head.name, headers=head.headers)))


class _Part:
    """One part of a form.

    begin, end: of a file, where in the form its content stands; of a field, `end` is how long it is.
    first, pieces: what the decoder gave of a file first, and all that it gave of a field.
    """

    __slots__ = ("begin", "end", "first", "head", "is_file", "pieces")

    def __init__(self, head: Field | File) -> None:
        self.head = head
        self.is_file = isinstance(head, File)
        self.begin = self.end = 0
        self.first = b""
        self.pieces: list[bytes] = []


class _Window(io.RawIOBase):
    """A part of a file, to be read."""

    def __init__(self, fd: int, begin: int, end: int) -> None:
        self._fd = os.dup(fd)  # the other file may be closed first
        self._begin = begin
        self._size = end - begin
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._size - self._position)
        count = os.preadv(self._fd, [memoryview(buffer)[:left]], self._begin + self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + (0, self._position, self._size)[whence]
        if position < 0:
            raise OSError(22, "Invalid argument")  # as a file does
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class FileWithin(SpooledTemporaryFile[bytes]):
    """A large file that was sent, as Werkzeug gives it, but a window on the form for as long as it is only read.

    When it is written to, or its descriptor is asked for, it becomes a temporary file of its own.
    """

    def __init__(self, fd: int, begin: int, end: int) -> None:
        super().__init__(max_size=_LARGE_FILE_BYTES, mode="rb+")
        # The documented place of what is behind such a file.
        self._file: IO[bytes] = cast("IO[bytes]", io.BufferedReader(_Window(fd, begin, end), _BLOCK_BYTES))

    def rollover(self) -> None:
        window = self._file
        if isinstance(window, io.BufferedReader):
            position = window.tell()
            window.seek(0)
            self._file = TemporaryFile(mode="rb+")  # noqa: SIM115 (it is closed with this one)
            shutil.copyfileobj(window, self._file, _COPIED_BYTES)
            self._file.seek(position)
            self._rolled = True
            window.close()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.rollover()
        return super().write(data)

    def writelines(self, lines: Any) -> None:
        self.rollover()
        super().writelines(lines)

    def truncate(self, size: int | None = None) -> Any:
        self.rollover()
        return super().truncate(size)
