"""Bytecode, made when an image is built: in the container nobody may write it, so each start would compile anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .base import Base, extract
from .wheels import Runtime

# What serving imports; whatever else an application needs is compiled when it asks for it.
_LIST_MODULES = """
import sys
import demijohn.app, demijohn.cli_server, demijohn.server.arbiter, demijohn.server.native, demijohn.server.settings
names = {name for name in sys.modules if name.partition(".")[0] in sys.stdlib_module_names}
print(*sorted(names), sep="\\n")
"""


def compile_tree(tree: Path, runtime: Runtime, mode: str) -> bool:
    """Compile what is in `tree`, whose root becomes /; False when no Python of the image's version is here.

    `mode` is how bytecode is held against its source: "checked-hash" or "unchecked-hash" (PEP 552).
    """
    python = _python(runtime.version)
    if python is None:
        return False
    # One process and a fixed seed: the order of sets, and what strings are shared, shows in the bytes.
    command = [python, "-B", "-m", "compileall", "-q", "-f", "-j", "1", "--invalidation-mode", mode]
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
    # Packages carry files that are not meant to be compiled: templates of code, syntax of other versions.
    subprocess.run(
        [*command, "-s", str(tree), "-p", "/", str(tree)], env=environ, stdin=subprocess.DEVNULL, capture_output=True
    )
    return True


def _python(version: str) -> str | None:
    """Return an interpreter of that version, if there is one here."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    return shutil.which(f"python{version}")


def compile_library(base: Base, runtime: Runtime, work: Path, tree: Path) -> None:
    """Put bytecode of what serving needs of the standard library into `tree`, where the base has none.

    Debian's packages make it when they are installed; unpacked ones, and the official images of Python, have none.
    On such a base the first answer took 1.1 s, and 0.4 s with it.
    """
    if runtime.library_has_bytecode or _python(runtime.version) is None:
        return
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    sources = work / "library"
    library = runtime.library.removeprefix("/")
    stems = [f"{library}/{name.replace('.', '/')}" for name in done.stdout.split()]
    extract(base, {f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py")}, sources)
    compile_tree(sources, runtime, "unchecked-hash")
    for compiled in sources.rglob("*.pyc"):
        target = tree / compiled.relative_to(sources)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(compiled, target)
