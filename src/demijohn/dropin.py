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
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

#: The releases whose API is implemented, as `importlib.metadata.version` answers.
VERSIONS = {"flask": "3.1.3", "flask-jsonrpc": "4.0.0"}

# Where the name differs by more than its first part.
_RENAMED = {
    "flask": "demijohn",
    "flask_jsonrpc": "demijohn.jsonrpc",
    "flask.sansio.app": "demijohn.app",
    "flask.sansio.blueprints": "demijohn.blueprints",
    "flask.sansio.scaffold": "demijohn.scaffold",
}
_NAMESPACE = "flask.sansio"

# What interpreters started from here find first on their path: it installs the alias there.
_SITE = Path(__file__).parent / "dropin_site"
_PTH = "demijohn_dropin.pth"


def _real_name(name: str) -> str:
    """Return the name of the demijohn module that a `flask` module is."""
    if name in _RENAMED:
        return _RENAMED[name]
    root, _, rest = name.partition(".")
    return f"{_RENAMED[root]}.{rest}"


class _Finder(MetaPathFinder, InspectLoader):
    """Finds the modules and the distributions that stand for Flask's, and loads the modules."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    # -- modules ----------------------------------------------------------------------------------

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ("flask", "flask_jsonrpc"):
            return None
        if fullname == _NAMESPACE:
            return ModuleSpec(fullname, self, is_package=True)
        real = find_spec(_real_name(fullname))
        if real is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return ModuleSpec(fullname, self, origin=real.origin, is_package=real.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if spec.name == _NAMESPACE:
            return ModuleType(spec.name)
        module = import_module(_real_name(spec.name))
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has stamped the alias's spec on the module, which has run already: give it back its own.
        assert module.__spec__ is not None
        if module.__spec__.name in self._specs:
            module.__spec__ = self._specs.pop(module.__spec__.name)

    def get_source(self, fullname: str) -> str | None:
        loader = self._real_loader(fullname)
        return None if loader is None else loader.get_source(_real_name(fullname))

    def get_code(self, fullname: str) -> CodeType | None:
        """For `python -m flask`."""
        loader = self._real_loader(fullname)
        return None if loader is None else loader.get_code(_real_name(fullname))

    def _real_loader(self, fullname: str) -> InspectLoader | None:
        spec = None if fullname == _NAMESPACE else find_spec(_real_name(fullname))
        return spec.loader if spec is not None and isinstance(spec.loader, InspectLoader) else None

    # -- distributions ----------------------------------------------------------------------------

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        wanted = getattr(context, "name", None)
        for name, version in VERSIONS.items():
            if wanted is None or _normalized(wanted) == name:
                yield _Distribution(name, version)


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


class _Distribution(Distribution):
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


def is_installed() -> bool:
    """Whether `import flask` means demijohn in this interpreter."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def install() -> None:
    """Let `flask` and `flask_jsonrpc` mean demijohn in this interpreter from here on.

    Raises ImportError when the real one has been imported already: half an alias would be worse than none.
    """
    if is_installed():
        return
    for name in ("flask", "flask_jsonrpc"):
        module = sys.modules.get(name)
        if module is not None:
            raise ImportError(
                f"{name!r} has been imported already, from {getattr(module, '__file__', None)}, and what holds on to it"
                " would not change. Call demijohn.dropin.install() first, or start the program with"
                " 'python -m demijohn.dropin'.",
                name=name,
            )
    sys.meta_path.insert(0, _Finder())
    # Extensions compare `flask.__version__` where they do not ask importlib.metadata.
    import_module("demijohn").__version__ = VERSIONS["flask"]  # type: ignore[attr-defined]


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
        names = import_module(_RENAMED[root]).__all__
        lines = [f"from {_RENAMED[root]} import {name} as {name}\n" for name in names]
        folder.mkdir(exist_ok=True)
        (folder / "__init__.pyi").write_text("".join(lines))
        packages = {name.rpartition(".")[0] for name in modules.split()}
        for name in modules.split():
            path = folder.joinpath(*name.split("."), *(["__init__"] if name in packages else [])).with_suffix(".pyi")
            path.parent.mkdir(exist_ok=True)
            (path.parent / "__init__.pyi").touch()
            path.write_text(f"from {_real_name(f'{root}.{name}')} import *\n")


def enable() -> Path:
    """Let every interpreter and type checker of this environment take demijohn for Flask.

    Return the file that says so to the interpreters.

    Raises RuntimeError outside a virtual environment, where other programs would be changed too.
    """
    if sys.prefix == sys.base_prefix:
        raise RuntimeError(
            f"{sys.executable} belongs to no virtual environment, and other programs may use it."
            " Make one with 'python3 -m venv .venv' and enable the drop-in there."
        )
    path = _site_packages() / _PTH
    path.write_text("import demijohn.dropin; demijohn.dropin.install()\n")
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
