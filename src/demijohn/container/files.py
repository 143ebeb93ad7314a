"""Writing files into a project: all of them or none, and never over what somebody has edited."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .project import ProjectError


def write_files(texts: Mapping[str, str], folder: Path, force: bool) -> dict[str, str]:
    """Write each text to its file in `folder`; return what became of each: "written", "unchanged" or "replaced".

    Raises ProjectError, with nothing written, when a file is there with another text and `force` is false, or when
    one cannot be written.
    """
    fates = {name: _fate(folder / name, text) for name, text in texts.items()}
    in_the_way = [name for name, fate in fates.items() if fate == "replaced"]
    if in_the_way and not force:
        raise ProjectError(
            f"{', '.join(in_the_way)} would be overwritten, and may have been edited: move it away, or say --force."
        )
    prepared: list[tuple[str, Path]] = []
    try:
        for name, text in texts.items():
            if fates[name] != "unchanged":
                with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as file:
                    prepared.append((file.name, folder / name))
                    file.write(text)
                os.chmod(file.name, 0o644)
        for temporary, path in prepared:
            os.replace(temporary, path)
    except OSError as error:
        for temporary, _ in prepared:
            Path(temporary).unlink(missing_ok=True)
        raise ProjectError(f"Nothing can be written into {folder.resolve()}: {error.strerror}.") from None
    return fates


def _fate(path: Path, text: str) -> str:
    try:
        return "unchanged" if path.read_text(encoding="utf-8") == text else "replaced"
    except FileNotFoundError:
        return "written"
    except (OSError, UnicodeDecodeError):
        return "replaced"
