"""`import flask` means demijohn.

`install()` does it for the running interpreter. `python -m demijohn.dropin script.py` does it for a program and the
interpreters it starts, `demijohn dropin enable` for a whole virtual environment.

Each `flask` module is the demijohn module of the same name: the same object, so `isinstance`, patches and pickles agree
whichever name was used. `importlib.metadata` answers for Flask too, as extensions ask it for versions.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from importlib import import_module
from pathlib import Path

from .aliasing import RENAMED, VERSIONS, install, is_installed, real_name

__all__ = ["VERSIONS", "disable", "enable", "install", "is_enabled", "is_installed", "main", "pass_on"]

# What interpreters started from here find first on their path: it installs the alias there.
_SITE = Path(__file__).parent / "dropin_site"
_PTH = "demijohn_dropin.pth"


# -- for interpreters started from here -------------------------------------------------------------


def pass_on() -> None:
    """Let interpreters started from here, and the command `flask`, mean demijohn too: by the environment."""
    for variable, folder in (("PYTHONPATH", _SITE), ("PATH", _SITE / "bin")):
        known = os.environ.get(variable)
        if str(folder) not in (known or "").split(os.pathsep):
            os.environ[variable] = os.pathsep.join(filter(None, [str(folder), known]))
    os.environ["DEMIJOHN_PYTHON"] = sys.executable


# -- for a virtual environment ------------------------------------------------------------------------


def _site_packages() -> Path:
    """The folder whose .pth files this environment's interpreters read."""
    import sysconfig  # here for its cost: only `enable` and its kin ask

    return Path(sysconfig.get_path("purelib"))


# A type checker runs no import hook. It finds these stubs by their name (PEP 561).
_STUBS = {
    "flask": (
        "app blueprints cli config ctx debughelpers globals helpers json json.provider json.tag logging sansio.app"
        " sansio.blueprints sansio.scaffold sessions signals templating testing typing views wrappers"
    ),
    "flask_jsonrpc": "",
}


def _stub_folders() -> list[Path]:
    return [_site_packages() / f"{root}-stubs" for root in _STUBS]


def _write_stubs() -> None:
    """Let type checkers take each `flask` module for the demijohn module that it is."""
    for (root, modules), folder in zip(_STUBS.items(), _stub_folders(), strict=True):
        names = import_module(RENAMED[root]).__all__
        lines = [f"from {RENAMED[root]} import {name} as {name}\n" for name in names]
        folder.mkdir(exist_ok=True)
        (folder / "__init__.pyi").write_text("".join(lines))
        packages = {name.rpartition(".")[0] for name in modules.split()}
        for name in modules.split():
            path = folder.joinpath(*name.split("."), *(["__init__"] if name in packages else [])).with_suffix(".pyi")
            path.parent.mkdir(exist_ok=True)
            (path.parent / "__init__.pyi").touch()
            path.write_text(f"from {real_name(f'{root}.{name}')} import *\n")


def enable(quirks: bool = False) -> Path:
    """Let every interpreter and type checker of this environment take demijohn for Flask; `quirks` is as in `install`.

    Return the file that says so to the interpreters.

    Raises RuntimeError outside a virtual environment, where other programs would be changed too.
    """
    if sys.prefix == sys.base_prefix:
        raise RuntimeError(
            f"{sys.executable} belongs to no virtual environment, and other programs may use it."
            " Make one with 'python3 -m venv .venv' and enable the drop-in there."
        )
    path = _site_packages() / _PTH
    path.write_text(f"import demijohn.aliasing; demijohn.aliasing.install({'quirks=True' if quirks else ''})\n")
    _write_stubs()
    command = Path(sys.executable).parent / "flask"
    if not command.exists():
        command.write_text(f"#!{sys.executable}\nimport sys\nfrom flask.cli import main\nsys.exit(main())\n")
        command.chmod(0o755)
        (_site_packages() / _PTH).with_suffix(".command").write_text(f"{command}\n")
    return path


def disable() -> bool:
    """Undo `enable`. False when it was not enabled."""
    path = _site_packages() / _PTH
    note = path.with_suffix(".command")
    if note.exists():
        Path(note.read_text().strip()).unlink(missing_ok=True)
        note.unlink()
    for folder in _stub_folders():
        shutil.rmtree(folder, ignore_errors=True)
    enabled = path.exists()
    path.unlink(missing_ok=True)
    return enabled


def is_enabled() -> bool:
    """Whether this environment imports demijohn as Flask."""
    return (_site_packages() / _PTH).exists()


# -- python -m demijohn.dropin --------------------------------------------------------------------------

_USAGE = """\
usage: python -m demijohn.dropin SCRIPT [ARGUMENT ...]
       python -m demijohn.dropin -m MODULE [ARGUMENT ...]

Run a program in which 'import flask' means demijohn. The interpreters it starts are included.

examples:
  python -m demijohn.dropin app.py
  python -m demijohn.dropin -m pytest tests
"""


def main(arguments: list[str]) -> int:
    """Run a script or a module with the alias in place; return the exit code when there is nothing to run."""
    match arguments:
        case [] | ["-h" | "--help", *_]:
            print(_USAGE, end="", file=sys.stdout if arguments else sys.stderr)
            return 0 if arguments else 2
        case ["-m"]:
            print("Error: -m needs the name of a module.", file=sys.stderr)
            return 2
        case ["-m", module, *rest]:
            _prepare([module, *rest])
            sys.path[0] = os.getcwd()
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [script, *rest]:
            if not Path(script).exists():
                print(f"Error: there is no file {script!r}.", file=sys.stderr)
                return 2
            _prepare([script, *rest])
            sys.path[0] = str(Path(script).resolve().parent)
            runpy.run_path(script, run_name="__main__")
    return 0


def _prepare(argv: list[str]) -> None:
    install()
    pass_on()
    sys.argv = argv


if __name__ == "__main__":
    # This module runs as __main__; the program must see the one that it can import.
    from demijohn import dropin

    sys.exit(dropin.main(sys.argv[1:]))
