"""Two applications that differ in the number of their routes alone: does finding one cost more among many?"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import demijohn as web
else:
    web = import_module(os.environ["BENCH_FRAMEWORK"])


def item(id: int) -> str:
    return f"item {id}"


def application(sections: int, items: int) -> web.Flask:
    """Return an application with `sections` blueprints of `items` routes each."""
    app = web.Flask(__name__)
    for section in range(sections):
        blueprint = web.Blueprint(f"section{section}", __name__, url_prefix=f"/section{section}")
        for number in range(items):
            blueprint.add_url_rule(f"/item{number}/<int:id>", f"item{number}", item)
        app.register_blueprint(blueprint)
    return app


few = application(sections=1, items=5)
many = application(sections=10, items=50)
huge = application(sections=100, items=50) if os.environ.get("BENCH_SCENARIO") == "routes5000" else None
