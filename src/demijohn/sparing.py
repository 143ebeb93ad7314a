"""Import Werkzeug's modules without its development server and its test client.

`werkzeug/__init__.py` imports both, and with them the standard library's HTTP server and client and TLS, which an
application needs neither to be imported nor to be served.
bench/imports.py: with this, `import demijohn; demijohn.Flask` takes 85 ms of CPU; without it 108; `flask.Flask` 134.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any


def spare_werkzeug() -> None:
    """Put the package `werkzeug` in place without running its `__init__`, unless it was imported already.

    Its modules are imported as ever. What only `__init__` defines is there when asked for: then it is run.
    """
    spec = find_spec("werkzeug") if "werkzeug" not in sys.modules else None
    if spec is None or spec.loader is None:
        return
    package = module_from_spec(spec)
    loader = spec.loader

    def attribute(name: str) -> Any:
        """Find what the package does not have yet (PEP 562)."""
        if find_spec(f"werkzeug.{name}") is not None:
            return import_module(f"werkzeug.{name}")
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = attribute  # type: ignore[method-assign]
    sys.modules["werkzeug"] = package
