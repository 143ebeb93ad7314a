"""Layers of an image: folders packed so that the same content gives the same bytes, and where the bytes are kept."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from .project import ProjectError

OCI = "application/vnd.oci.image."
_CHUNK_BYTES = 1 << 20
_LEVEL = 6
# For what has no time of its own. Zip files cannot hold an earlier one.
_MADE_S = 315532800  # 1980-01-01
_KEPT_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes by their digest (`sha256:...`), and the part of a file that holds them."""

    digest: str
    size_bytes: int
    path: str
    offset: int = 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces."""
        left = self.size_bytes
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk

    def read(self) -> bytes:
        return b"".join(self.chunks())


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as an image's manifest and configuration name it.

    diff_id: the digest of the tar archive, unpacked.
    unpacked_bytes: the size of that archive.
    """

    blob: Blob
    diff_id: str
    unpacked_bytes: int

    @property
    def is_compressed(self) -> bool:
        return self.blob.digest != self.diff_id

    @property
    def media_type(self) -> str:
        return f"{OCI}layer.v1.tar{'+gzip' if self.is_compressed else ''}"

    def unpacked(self) -> io.BufferedIOBase:
        """Open the tar archive."""
        raw = file_of(self.blob.chunks())
        return gzip.GzipFile(fileobj=raw) if self.is_compressed else raw


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._rest or next(self._chunks, b"")
        count = min(len(data), len(buffer))
        buffer[:count] = data[:count]
        self._rest = data[count:]
        return count


def file_of(chunks: Iterator[bytes]) -> io.BufferedReader:
    """Return a file of the pieces that an iterator yields."""
    return io.BufferedReader(_Chunks(chunks), _CHUNK_BYTES)


# -- packing --------------------------------------------------------------------------------------


class _Sink:
    """A file for a tar archive that is compressed and digested on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)  # a gzip header without a time
        self.packed, self.unpacked = hashlib.sha256(), hashlib.sha256()
        self.packed_bytes = self.unpacked_bytes = 0

    def write(self, data: bytes) -> int:
        self.unpacked.update(data)
        self.unpacked_bytes += len(data)
        self._put(self._compressor.compress(data))
        return len(data)

    def finish(self) -> None:
        self._put(self._compressor.flush())

    def _put(self, data: bytes) -> None:
        self.packed.update(data)
        self.packed_bytes += len(data)
        self._file.write(data)

    def layer(self, path: Path) -> Layer:
        blob = Blob(f"sha256:{self.packed.hexdigest()}", self.packed_bytes, str(path))
        return Layer(blob, f"sha256:{self.unpacked.hexdigest()}", self.unpacked_bytes)


def compress(chunks: Iterator[bytes], target: Path) -> Layer:
    """Write a tar archive to `target` as a layer."""
    with open(target, "wb") as file:
        sink = _Sink(file)
        for chunk in chunks:
            sink.write(chunk)
        sink.finish()
    return sink.layer(target)


def pack(tree: Path, target: Path) -> Layer:
    """Write the folder `tree` to `target` as a layer, everything in it owned by root.

    Files keep their times, up to SOURCE_DATE_EPOCH where that is set (reproducible-builds.org); folders, and the
    bytecode that was made just now, get one that is always the same.
    """
    latest_s = _source_date_epoch_s()
    with open(target, "wb") as file:
        sink = _Sink(file)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
            for path in sorted(tree.rglob("*"), key=lambda path: path.relative_to(tree).parts):
                _add(archive, path, path.relative_to(tree).as_posix(), latest_s)
        sink.finish()
    return sink.layer(target)


def _add(archive: tarfile.TarFile, path: Path, name: str, latest_s: float) -> None:
    member = tarfile.TarInfo(name)
    member.mtime = _MADE_S
    if path.is_symlink():
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
        archive.addfile(member)
    elif path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    else:
        status = path.stat()
        # Everybody may read it, because the user in the container is not the one who owns it.
        member.mode = 0o755 if status.st_mode & 0o100 else 0o644
        member.size = status.st_size
        if path.parent.name != "__pycache__":
            member.mtime = int(min(status.st_mtime, latest_s))
        with open(path, "rb") as content:
            archive.addfile(member, content)


def _source_date_epoch_s() -> float:
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return float("inf")
    if not text.isdecimal():
        raise ProjectError(f"SOURCE_DATE_EPOCH must be a number of seconds, not {text!r}.")
    return int(text)


def mark_as_made(path: Path, when_s: int = _MADE_S) -> None:
    """Give a file a time that is always the same, or the one it came with."""
    os.utime(path, (when_s, when_s))


# -- what is kept between builds ------------------------------------------------------------------


class Cache:
    """A folder with layers and notes of earlier builds; what was not used for a month goes."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`. Raises ProjectError when it cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProjectError(f"The cache {folder} cannot be made: {error.strerror}; set XDG_CACHE_HOME.") from None

    def file(self, name: str) -> Path:
        """Return where a file of that name is, or would be."""
        return self._folder / name

    def temporary(self) -> tempfile.TemporaryDirectory[str]:
        """Make a folder to work in, on the same file system."""
        return tempfile.TemporaryDirectory(prefix="work-", dir=self._folder)

    def note(self, key: str) -> Any:
        """Return what was noted under `key`, else None."""
        try:
            path = self.file(f"{key}.json")
            os.utime(path)
            return json.loads(path.read_bytes())
        except (OSError, ValueError):  # never made, thrown away, or cut short by a full disk
            return None

    def set_note(self, key: str, value: Any) -> None:
        with self.temporary() as folder:
            Path(folder, "note").write_text(json.dumps(value))
            os.replace(Path(folder, "note"), self.file(f"{key}.json"))

    def layer(self, key: str) -> Layer | None:
        """Return the layer kept under `key`, else None."""
        note = self.note(key)
        if note is None or not self.file(key).exists():
            return None
        os.utime(self.file(key))
        return Layer(**{**note, "blob": Blob(**note["blob"])})

    def keep(self, key: str, layer: Layer) -> Layer:
        """Keep a layer, whose file is moved into the cache."""
        os.replace(layer.blob.path, self.file(key))
        kept = Layer(
            Blob(layer.blob.digest, layer.blob.size_bytes, str(self.file(key))), layer.diff_id, layer.unpacked_bytes
        )
        self.set_note(key, asdict(kept))
        return kept

    def throw_away_old(self) -> None:
        oldest_s = time.time() - _KEPT_S
        for path in self._folder.iterdir():
            try:
                if path.stat().st_mtime < oldest_s:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except FileNotFoundError:
                continue  # another build was quicker


def cache_key(*parts: object) -> str:
    """Return a name for what follows from `parts` alone."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]


def file_identity(path: Path) -> list[object]:
    """Return what changes when a file does, without reading it."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
