"""The alias itself: `flask` is `demijohn`, module by module.

Interpreters may import this at each start (`demijohn dropin enable`), so it imports next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import BuiltinImporter, ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.abc import InspectLoader
    from importlib.metadata import Distribution, DistributionFinder
    from types import CodeType
    from typing import Any

#: The releases whose API is implemented, as `importlib.metadata.version` answers.
VERSIONS = {"flask": "3.1.3", "flask-jsonrpc": "4.0.0"}

# Where the name differs by more than its first part.
RENAMED = {
    "flask": "demijohn",
    "flask_jsonrpc": "demijohn.jsonrpc",
    "flask.sansio.app": "demijohn.app",
    "flask.sansio.blueprints": "demijohn.blueprints",
    "flask.sansio.scaffold": "demijohn.scaffold",
    "flask_jsonrpc.exceptions": "demijohn.jsonrpc.protocol",
}
# The modules of Flask-JSONRPC's classes; with `install(quirks=True)` those of `demijohn.jsonrpc.quirks`.
_ENDPOINT = ("flask_jsonrpc.app", "flask_jsonrpc.blueprints", "flask_jsonrpc.views", "flask_jsonrpc.wrappers")
RENAMED |= dict.fromkeys(_ENDPOINT, "demijohn.jsonrpc.endpoint")
_QUIRKS = {
    "flask_jsonrpc": "demijohn.jsonrpc.quirks",
    "flask_jsonrpc.site": "demijohn.jsonrpc.quirks.site",
    "flask_jsonrpc.globals": "demijohn.jsonrpc.quirks.endpoint",
    **dict.fromkeys(_ENDPOINT, "demijohn.jsonrpc.quirks.endpoint"),
}
# What nothing but programs written for Flask-JSONRPC needs.
_COMPAT = ("contrib", "descriptor", "encoders", "funcutils", "globals", "helpers", "typing", "utils")
_NAMESPACE = "flask.sansio"
# Of Flask's modules those that `import flask` loads. Here they are loaded when something of them is asked for.
_LOADED_WITH_FLASK = """
app blueprints cli config ctx globals helpers json json.provider json.tag logging sessions signals templating
typing views wrappers sansio.app sansio.blueprints sansio.scaffold
""".split()  # noqa: SIM905 (as text, it reads as a table of contents)


def real_name(name: str) -> str:
    """Return the name of the demijohn module that a `flask` module is."""
    if name in RENAMED:
        return RENAMED[name]
    root, _, rest = name.partition(".")
    if root == "flask_jsonrpc":
        package = "demijohn.jsonrpc.compat" if rest.partition(".")[0] in _COMPAT else "demijohn.jsonrpc"
        return f"{package}.{rest}"
    return f"{RENAMED[root]}.{rest}"


class _Finder:
    """Finds the modules and the distributions that stand for Flask's, and loads the modules."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}
        self._hooked: set[str] = set()

    # -- modules ----------------------------------------------------------------------------------

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ("flask", "flask_jsonrpc"):
            return None
        if fullname == _NAMESPACE:
            return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]
        real = find_spec(real_name(fullname))
        if real is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        is_package = real.submodule_search_locations is not None
        return ModuleSpec(fullname, self, origin=real.origin, is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if spec.name == _NAMESPACE:
            return ModuleType(spec.name)
        module = import_module(real_name(spec.name))
        self._specs[spec.name] = module.__spec__
        # Tracing agents wrap the loader, to be told when the module is there.
        if spec.loader is not self:  # type: ignore[comparison-overlap]
            self._hooked.add(spec.name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        name = module.__spec__.name
        # The import system has stamped the alias's spec on the module, which has run already: give it back its own.
        if name in self._specs:
            module.__spec__ = self._specs.pop(name)
        if name == "flask":
            self._load_hooked()
        if name in self._hooked:
            module.__name__ = name  # by which their hook knows it: "flask", which stands for nothing else now
        if name == "flask_jsonrpc":
            _add_submodules(module)

    def _load_hooked(self) -> None:
        """Import what somebody waits to be imported with Flask."""
        others = sys.meta_path[: sys.meta_path.index(self)]
        for name in _LOADED_WITH_FLASK:
            name = f"flask.{name}"
            if any(other.find_spec(name, None) is not None for other in others if hasattr(other, "find_spec")):
                import_module(name)

    def get_source(self, fullname: str) -> str | None:
        loader = self._real_loader(fullname)
        return None if loader is None else loader.get_source(real_name(fullname))

    def get_code(self, fullname: str) -> CodeType | None:
        """For `python -m flask`."""
        loader = self._real_loader(fullname)
        return None if loader is None else loader.get_code(real_name(fullname))

    def _real_loader(self, fullname: str) -> InspectLoader | None:
        spec = None if fullname == _NAMESPACE else find_spec(real_name(fullname))
        loader: Any = None if spec is None else spec.loader
        return loader if hasattr(loader, "get_code") else None

    def is_package(self, fullname: str) -> bool:
        spec = self.find_spec(fullname)
        return spec is not None and spec.submodule_search_locations is not None

    # -- distributions ----------------------------------------------------------------------------

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        from .aliased import AliasedDistribution  # importlib.metadata is a slow import, and in use here already

        wanted = getattr(context, "name", None)
        for name, version in VERSIONS.items():
            if wanted is None or _normalized(wanted) == name:
                yield AliasedDistribution(name, version)


def _add_submodules(module: ModuleType) -> None:
    """Let `from flask_jsonrpc import typing` find submodules that are not submodules of what the module really is."""
    known = module.__dict__.get("__getattr__", _unknown)

    def find(name: str) -> Any:
        try:
            return known(name)
        except AttributeError as error:
            try:
                return import_module(f"flask_jsonrpc.{name}")
            except ModuleNotFoundError as missing:
                if missing.name != f"flask_jsonrpc.{name}":
                    raise
            raise error

    module.__getattr__ = find  # type: ignore[method-assign]


def _unknown(name: str) -> Any:
    raise AttributeError(f"module 'flask_jsonrpc' has no attribute {name!r}")


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def is_installed() -> bool:
    """Whether `import flask` means demijohn in this interpreter."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def install(quirks: bool = False) -> None:
    """Let `flask` and `flask_jsonrpc` mean demijohn in this interpreter from here on.

    quirks: whether JSON-RPC is answered as Flask-JSONRPC answers it even where demijohn does better, such as refusing
    `int | str`, or methods without a return hint.
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
    if quirks:
        RENAMED.update(_QUIRKS)
    # Before those that would find Flask itself, and after those that agents have put there to look on.
    places = [sys.meta_path.index(finder) for finder in (BuiltinImporter, PathFinder) if finder in sys.meta_path]
    sys.meta_path.insert(min(places, default=0), _Finder())
    # Extensions compare `flask.__version__` where they do not ask importlib.metadata.
    import_module("demijohn").__version__ = VERSIONS["flask"]  # type: ignore[attr-defined]
