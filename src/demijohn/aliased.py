"""What `importlib.metadata` is told of the distributions that demijohn stands in for."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path
from typing import Any


class AliasedDistribution(Distribution):
    """The metadata of what demijohn stands in for."""

    def __init__(self, name: str, version: str) -> None:
        self._name = name
        self._version = version

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {self._version}\nSummary: demijohn\n"
        if filename == "entry_points.txt" and self._name == "flask":
            return "[console_scripts]\nflask = flask.cli:main\n"
        return None

    def locate_file(self, path: Any) -> Any:
        return Path(__file__).parent / path
