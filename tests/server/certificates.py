"""Certificates for tests, made by the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Authority:
    """Signs certificates. Its own is in `file`."""

    folder: Path
    name: str = "Test authority"

    @property
    def file(self) -> Path:
        return self.folder / "authority.pem"

    def __post_init__(self) -> None:
        self.folder.mkdir()
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", f"/CN={self.name}", "-keyout", str(self.folder / "authority.key"), "-out", str(self.file)),
        )

    def certificate(self, name: str) -> tuple[Path, Path]:
        """Return the files of a new certificate for `name`, which is a host or a person, and of its key."""
        certificate, key, request = (self.folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/O=Tests/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", "2", "-copy_extensions", "copy", "-CAcreateserial"),
            *("-CA", str(self.file), "-CAkey", str(self.folder / "authority.key"), "-out", str(certificate)),
        )
        return certificate, key


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
