"""Found first by the interpreters that a program under `python -m demijohn.dropin` starts."""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

import demijohn.aliasing

demijohn.aliasing.install()

# The environment's own sitecustomize, which this one hides.
_elsewhere = [folder for folder in sys.path if os.path.abspath(folder) != os.path.dirname(__file__)]
_spec = PathFinder.find_spec("sitecustomize", _elsewhere)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(module_from_spec(_spec))
