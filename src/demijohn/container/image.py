"""The image itself: its configuration, its manifest, and the one archive that docker, podman and skopeo take."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .base import Base
from .dockerfile import serve_command
from .layers import OCI, Blob, Layer, file_of
from .project import Project

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is built but nowhere yet. `config` and `manifest` are the JSON texts that digests are made of."""

    reference: str
    config: bytes
    manifest: bytes
    layers: tuple[Layer, ...]

    @property
    def image_id(self) -> str:
        """What `docker images --no-trunc` shows."""
        return digest_of(self.config)

    @property
    def digest(self) -> str:
        """What a registry calls it."""
        return digest_of(self.manifest)

    @property
    def unpacked_bytes(self) -> int:
        """What it takes on the disk of who runs it."""
        return sum(layer.unpacked_bytes for layer in self.layers)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def assemble(
    base: Base, layers: Iterable[tuple[Layer, str]], project: Project, target: str, folder: str, port: int, tag: str
) -> Image:
    """Return the image of `layers`, each with what made it, on `base`, that serves `target` at `port`."""
    added = list(layers)
    everything = (*base.layers, *(layer for layer, _ in added))
    created = _created()
    history = base.config.get("history", [])
    if len([entry for entry in history if not entry.get("empty_layer")]) != len(base.layers):
        history = [{"created_by": "base"} for _ in base.layers]  # it must tell of each layer or of none
    config = {
        "created": created,
        "architecture": base.config["architecture"],
        "os": base.config["os"],
        "config": _run_config(base, project, target, folder, port),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in everything]},
        "history": [*history, *({"created": created, "created_by": made_by} for _, made_by in added)],
    }
    if "variant" in base.config:
        config["variant"] = base.config["variant"]
    config_bytes = _json(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}manifest.v1+json",
        "config": _descriptor(f"{OCI}config.v1+json", digest_of(config_bytes), len(config_bytes)),
        "layers": [_descriptor(each.media_type, each.blob.digest, each.blob.size_bytes) for each in everything],
    }
    return Image(tag, config_bytes, _json(manifest), everything)


def _created() -> str:
    epoch_s = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _run_config(base: Base, project: Project, target: str, folder: str, port: int) -> dict[str, Any]:
    """Return what an engine needs to run it: the last stage of the Dockerfile, said in JSON."""
    inherited = base.config.get("config", {})
    variables = dict(line.split("=", 1) for line in inherited.get("Env") or [])
    variables["PATH"] = "/venv/bin:" + variables.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    variables |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PORT": str(port), "container": "oci"}
    variables |= {"DEMIJOHN_LIVEZ_PATH": "/livez", "DEMIJOHN_READYZ_PATH": "/readyz"}
    labels = {"title": project.title, "version": project.version, "base.name": os.path.basename(base.name)}
    return {
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Cmd": serve_command(target, folder),
        "WorkingDir": "/app",
        "User": "10001:10001",
        "ExposedPorts": {f"{port}/tcp": {}},
        "StopSignal": "SIGTERM",
        "Labels": (inherited.get("Labels") or {})
        | {f"org.opencontainers.image.{name}": value for name, value in labels.items() if value},
        # Not of the OCI specification, but docker and podman read it from the configuration.
        "Healthcheck": {
            "Test": ["CMD", "demijohn", "health"],
            "Interval": 10 * _SECOND_NS,
            "Timeout": 5 * _SECOND_NS,
            "StartPeriod": 10 * _SECOND_NS,
            "Retries": 3,
        },
    }


def _descriptor(media_type: str, digest: str, size_bytes: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size_bytes}


# -- the archive ------------------------------------------------------------------------------------


def write_archive(image: Image, target: Path) -> None:
    """Write an OCI layout that `docker load` takes too; nothing is there until it is whole. Raises OSError."""
    folder = target.parent
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{target.name}.", delete=False) as file:
        try:
            with tarfile.open(fileobj=file, mode="w") as archive:
                _write_members(archive, image)
            os.chmod(file.name, 0o644)
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise


def _write_members(archive: tarfile.TarFile, image: Image) -> None:
    name, _, tag = image.reference.rpartition(":")
    entry = _descriptor(f"{OCI}manifest.v1+json", image.digest, len(image.manifest)) | {
        "annotations": {
            "io.containerd.image.name": full_name(image.reference),
            "org.opencontainers.image.ref.name": tag,
        }
    }
    blobs = {each.blob.digest: each.blob for each in image.layers}
    saved = {
        "Config": _blob_path(image.image_id),
        "RepoTags": [f"{name}:{tag}"],
        "Layers": [_blob_path(each.blob.digest) for each in image.layers],
    }
    _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    _add(archive, "index.json", _json({"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json", "manifests": [entry]}))
    _add(archive, "manifest.json", _json([saved]))
    _add(archive, _blob_path(image.image_id), image.config)
    _add(archive, _blob_path(image.digest), image.manifest)
    for digest in sorted(blobs):
        _add(archive, _blob_path(digest), blobs[digest])


def full_name(reference: str) -> str:
    """Return a reference with the registry that docker means when none is named."""
    first = reference.partition("/")[0]
    if "/" not in reference:
        return f"docker.io/library/{reference}"
    return reference if names_registry(first) else f"docker.io/{reference}"


def names_registry(part: str) -> bool:
    """Whether the first part of a reference names a registry: it has a dot or a port, or is localhost."""
    return "." in part or ":" in part or part == "localhost"


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, content: bytes | Blob) -> None:
    member = tarfile.TarInfo(name)
    member.mode = 0o644
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    else:
        member.size = content.size_bytes
        archive.addfile(member, file_of(content.chunks()))
