"""Run the Python of one page of the documentation as its reader would: `python docs_page.py PAGE`, in an empty folder.

A block whose first line says `file: NAME` is written to that file; a Python file is then imported, and the tests in a
file called test_*.py are run. Other `python` blocks run one after the other in one namespace, and so do `pycon` blocks,
whose printed results must be those of the page. A block marked `python no-run` only has to compile.
"""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(\w+)( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"[^\n]*\bfile: (\S+)")


@dataclass(slots=True)
class Block:
    """line: of the page, counted from 1, on which `text` begins."""

    language: str
    runs: bool
    text: str
    line: int

    @property
    def file(self) -> Path | None:
        """The file that the block is, below the page's folder."""
        found = _FILE.match(self.text)
        return None if found is None else Path(found[1])

    def write(self, folder: Path) -> None:
        """Write the file that the block is."""
        assert self.file is not None
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text)


def blocks_of(page: str) -> list[Block]:
    return [
        Block(found[1], not found[2], found[3], page.count("\n", 0, found.start(3)) + 1)
        for found in _BLOCK.finditer(page)
    ]


def run_page(path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    sys.path.insert(0, "")
    for block in blocks_of(path.read_text()):
        if not block.runs:
            compile(block.text, f"{path}:{block.line}", "exec")
        elif block.file is not None:
            block.write(Path())
            _import(block.file)
        elif block.language == "python":
            # Blank lines before it, so that a traceback shows the line of the page.
            exec(compile("\n" * (block.line - 1) + block.text, str(path), "exec"), namespace)
        elif block.language == "pycon":
            _check_results(block, path, namespace)


def _import(file: Path) -> None:
    if file.suffix != ".py":
        return
    if file.name.startswith("test_"):
        import pytest

        # Each in a fresh import of the page's modules, and without this project's settings.
        if pytest.main(["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", str(file)]):
            sys.exit(f"{file} failed")
        return
    name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    for known in [module for module in sys.modules if module.partition(".")[0] == name.partition(".")[0]]:
        del sys.modules[known]
    importlib.invalidate_caches()
    importlib.import_module(name)


def _check_results(block: Block, path: Path, namespace: dict[str, Any]) -> None:
    example = doctest.DocTestParser().get_doctest(block.text, {}, path.name, str(path), block.line - 1)
    example.globs = namespace  # the parser would take a copy
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, clear_globs=False)
    if results.failed:
        sys.exit(f"{path}:{block.line}: {results.failed} of {results.attempted} results are not those of the page")


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
