"""The image that another is built on: read from an OCI layout, what `docker save` wrote, or a root file system."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import struct
import tarfile
from collections.abc import Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from .layers import Blob, Cache, Layer, cache_key, compress, file_identity
from .project import ProjectError
from .wheels import Runtime

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open, b"BZ": bz2.open}
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# e_machine of an ELF header: what Go, and so images, call it, and what platform tags do.
_MACHINES = {62: ("amd64", "x86_64"), 183: ("arm64", "aarch64"), 243: ("riscv64", "riscv64"), 22: ("s390x", "s390x")}
_PYTHON = re.compile(r"(usr/local/bin|usr/bin|bin|opt/[^/]+/bin)/python3\.(\d+)")
_LIBRARY = re.compile(r"((?:.*/)?lib/python3\.\d+)/(?:os\.py|(__pycache__/os\.cpython-\d+\.pyc))")
_GLIBC = re.compile(rb"GNU C Library [^\n]*version (\d+)\.(\d+)")
_OLDEST_MINOR = 11


@dataclass(frozen=True, slots=True)
class Base:
    """An image to build on.

    name: what it was asked for by.
    config: its configuration (OCI image specification, config.md).
    """

    name: str
    config: dict[str, Any]
    layers: tuple[Layer, ...]


class BlobSource(Protocol):
    """Where the blobs of an image are: a folder, an archive, a registry."""

    def blob(self, digest: str) -> Blob:
        """Return the blob with that digest. Raises ProjectError when it is not there."""


# -- files ----------------------------------------------------------------------------------------


def read_base_file(path: Path, platform: str, cache: Cache) -> Base:
    """Return the image in a folder or an archive; `platform`, such as "linux/arm64", says which when it has several.

    Raises ProjectError, saying what the file is not.
    """
    if path.is_dir():
        if not (path / "oci-layout").exists():
            raise ProjectError(f"The folder {path} is no OCI layout: it has no file oci-layout.")
        return _read_layout(_Folder(path), (path / "index.json").read_bytes(), str(path), platform, cache)
    try:
        archive = _Archive(_uncompressed(path, cache))
        if archive.has("oci-layout") and archive.has("index.json"):
            return _read_layout(archive, archive.read("index.json"), str(path), platform, cache)
        if archive.has("manifest.json"):
            return _read_saved(archive, str(path), cache)
        return _read_root(path, archive, platform, cache)
    except (OSError, tarfile.TarError, EOFError, lzma.LZMAError, ValueError) as error:
        if isinstance(error, ProjectError):
            raise
        raise ProjectError(f"The base {path} cannot be read as an image or a root file system: {error}.") from None


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def blob(self, digest: str) -> Blob:
        path = self._folder / "blobs" / digest.replace(":", "/")
        try:
            return Blob(digest, path.stat().st_size, str(path))
        except OSError:
            raise ProjectError(f"The OCI layout {self._folder} has no blob {digest}.") from None


class _Archive:
    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(path, "r:") as archive:
            self._members = {member.name.removeprefix("./"): member for member in archive}

    def has(self, name: str) -> bool:
        return name in self._members

    def part(self, name: str, digest: str = "") -> Blob:
        """Return the bytes of a member; older engines store what is equal once, and link to it."""
        member = self._members.get(name)
        if member is None:
            raise ProjectError(f"The archive {self.path} has no {name}, which it names.")
        if member.issym():
            return self.part(os.path.normpath(os.path.join(os.path.dirname(name), member.linkname)), digest)
        if member.islnk():
            return self.part(member.linkname.removeprefix("./"), digest)
        return Blob(digest, member.size, str(self.path), member.offset_data)

    def read(self, name: str) -> bytes:
        return self.part(name).read()

    def blob(self, digest: str) -> Blob:
        return self.part("blobs/" + digest.replace(":", "/"), digest)


def _uncompressed(path: Path, cache: Cache) -> Path:
    """Return the file, or a copy of it unpacked, because parts of it are read out of order."""
    with open(path, "rb") as file:
        magic = file.read(4)
    opener = _OPENERS.get(magic[:2])
    if opener is None:
        if magic == b"\x28\xb5\x2f\xfd":
            raise ProjectError(f"The base {path} is compressed with zstd; unpack it first: zstd -d {path}.")
        return path
    target = cache.file("unpacked-" + cache_key(file_identity(path)))
    if not target.exists():
        with cache.temporary() as work, opener(path) as packed, open(Path(work, "file"), "wb") as unpacked:
            while chunk := packed.read(1 << 20):
                unpacked.write(chunk)
            os.replace(Path(work, "file"), target)
    os.utime(target)
    return target


# -- the three forms ------------------------------------------------------------------------------


def _read_layout(source: BlobSource, index: bytes, name: str, platform: str, cache: Cache) -> Base:
    manifest = choose_manifest(json.loads(index), source, name, platform)
    return base_of_manifest(manifest, source, name, cache)


def choose_manifest(index: dict[str, Any], source: BlobSource, name: str, platform: str) -> dict[str, Any]:
    """Return the manifest for `platform` that an index leads to; a manifest is returned as it is.

    Raises ProjectError when there is none for it.
    """
    if "layers" in index:
        return index
    offered = []
    for descriptor in index.get("manifests", []):
        place = descriptor.get("platform", {})
        offered.append(f"{place.get('os', 'linux')}/{place.get('architecture', '?')}")
        if descriptor.get("mediaType") in _INDEXES or not place or offered[-1] == platform:
            return choose_manifest(json.loads(source.blob(descriptor["digest"]).read()), source, name, platform)
    raise ProjectError(f"The base {name} is not there for {platform}, but for {', '.join(offered) or 'nothing'}.")


def base_of_manifest(manifest: dict[str, Any], source: BlobSource, name: str, cache: Cache) -> Base:
    """Return the image that a manifest describes; its layers are in `source`."""
    config = json.loads(source.blob(manifest["config"]["digest"]).read())
    layers = []
    diff_ids = config.get("rootfs", {}).get("diff_ids", [])
    for descriptor, diff_id in zip(manifest["layers"], diff_ids, strict=True):
        if descriptor["mediaType"].endswith("zstd"):
            raise ProjectError(f"A layer of the base {name} is compressed with zstd, which this build cannot read.")
        blob = source.blob(descriptor["digest"])
        layers.append(Layer(blob, diff_id, _unpacked_bytes(blob, diff_id, cache)))
    return Base(name, config, tuple(layers))


def _unpacked_bytes(blob: Blob, diff_id: str, cache: Cache) -> int:
    if blob.digest == diff_id:
        return blob.size_bytes
    key = "size-" + cache_key(diff_id)
    known = cache.note(key)
    if known is None:
        known = 0
        with Layer(blob, diff_id, 0).unpacked() as file:
            while chunk := file.read(1 << 20):
                known += len(chunk)
        cache.set_note(key, known)
    return int(known)


def _read_saved(archive: _Archive, name: str, cache: Cache) -> Base:
    """Return the image of `docker save`: its manifest.json names the files, and layers are tar archives as they are."""
    images = json.loads(archive.read("manifest.json"))
    if len(images) != 1:
        raise ProjectError(f"The archive {name} has {len(images)} images; save the one to build on alone.")
    config = json.loads(archive.read(images[0]["Config"]))
    layers = []
    for path, diff_id in zip(images[0]["Layers"], config["rootfs"]["diff_ids"], strict=True):
        part = archive.part(path, diff_id)
        if next(part.chunks(), b"")[:2] == b"\x1f\x8b":  # podman and this builder compress them
            part = archive.part(path, f"sha256:{os.path.basename(path)}")
        layers.append(Layer(part, diff_id, _unpacked_bytes(part, diff_id, cache)))
    return Base(name, config, tuple(layers))


def _read_root(path: Path, archive: _Archive, platform: str, cache: Cache) -> Base:
    """Return an image whose only layer is the root file system in an archive."""
    if not any(archive.has(name) for name in ("usr", "bin", "etc", "usr/bin")):
        raise ProjectError(f"The base {path} is neither an image nor a root file system: it has no folder usr.")
    key = "root-" + cache_key(file_identity(path))
    layer = cache.layer(key)
    if layer is None:
        with cache.temporary() as work:
            whole = Blob("", archive.path.stat().st_size, str(archive.path))
            layer = cache.keep(key, compress(whole.chunks(), Path(work, "layer")))
    system, _, architecture = platform.partition("/")
    config = {
        "architecture": architecture,
        "os": system,
        "config": {"Env": [_PATH]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created_by": f"root file system {path.name}"}],
    }
    return Base(str(path), config, (layer,))


# -- what is in it --------------------------------------------------------------------------------


def find_runtime(base: Base, platform: str, cache: Cache) -> Runtime:
    """Return the Python of an image, read from its layers.

    Raises ProjectError when it has none that demijohn runs on, or one for another kind of machine than `platform`.
    """
    key = "runtime-" + cache_key("2", [layer.diff_id for layer in base.layers])
    note = cache.note(key)
    if note is None:
        note = _look_for_runtime(base)
        cache.set_note(key, note)
    architecture = note.pop("architecture")
    if f"linux/{architecture}" != platform:
        raise ProjectError(f"The base {base.name} is for linux/{architecture}, not for {platform}.")
    return Runtime(**{**note, "libc_version": tuple(note["libc_version"])})


def _look_for_runtime(base: Base) -> dict[str, Any]:
    pythons: dict[str, int] = {}  # path -> e_machine; 0 for a link
    libraries: set[str] = set()
    compiled: set[str] = set()
    libc, libc_version = "", (0, 0)
    for layer in base.layers:
        with layer.unpacked() as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if found := _PYTHON.fullmatch(name):
                    if int(found[2]) >= _OLDEST_MINOR:
                        pythons[name] = _machine(_content(archive, member)[:20])
                elif inside := _LIBRARY.fullmatch(name):
                    (compiled if inside[2] else libraries).add(inside[1])
                elif re.fullmatch(r"lib/ld-musl-.*", name):
                    libc, libc_version = "musl", (1, 2)
                elif os.path.basename(name) == "libc.so.6" and member.isfile():
                    libc, libc_version = "glibc", _glibc_version(_content(archive, member))
                elif old := re.fullmatch(r"(?:.*/)?libc-(\d+)\.(\d+)\.so", name):
                    libc, libc_version = "glibc", (int(old[1]), int(old[2]))
    machines = [machine for machine in pythons.values() if machine]
    if not machines or not libc:
        raise ProjectError(
            f"The base {base.name} has no Python 3.{_OLDEST_MINOR} or newer in /usr/local/bin or /usr/bin:"
            " take one that has, such as python:3.13-slim."
        )
    # As PATH has them; the newest where there are several.
    path = min(pythons, key=lambda path: (not path.startswith("usr/local"), -int(path.rpartition(".")[2])))
    architecture, machine = _MACHINES.get(pythons[path] or machines[0], ("an unknown machine", ""))
    version = f"3.{path.rpartition('.')[2]}"
    beside = f"{os.path.dirname(os.path.dirname(path))}/lib/python{version}".lstrip("/")
    library = beside if beside in libraries else f"usr/lib/python{version}"
    runtime = Runtime(f"/{path}", version, machine, libc, libc_version, f"/{library}", library in compiled)
    return asdict(runtime) | {"architecture": architecture}


def extract(base: Base, paths: Set[str], tree: Path) -> None:
    """Write the files of an image that `paths` names, as far as it has them, into `tree`."""
    for layer in base.layers:
        with layer.unpacked() as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in paths and member.isfile():
                    (tree / name).parent.mkdir(parents=True, exist_ok=True)
                    (tree / name).write_bytes(_content(archive, member))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isfile() else None
    return file.read() if file is not None else b""


def _machine(header: bytes) -> int:
    return struct.unpack_from("<H", header, 18)[0] if header[:4] == b"\x7fELF" else 0


def _glibc_version(content: bytes) -> tuple[int, int]:
    found = _GLIBC.search(content)
    return (int(found[1]), int(found[2])) if found else (2, 17)
