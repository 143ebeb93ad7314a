"""The floors of the package, read from its import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "demijohn"

# In reading order: a module imports only modules named before it.
FLOORS = """
sparing message typing environ codings signals globals config logging
json.provider json json.tag
helpers forms byteranges conditional wrappers precompressed signing sessions
shared.stores shared.sessions shared.cache shared.ratelimit shared
reporting
heavy.errors heavy.pool heavy.dask_calls heavy.engines heavy.functions heavy.jobs heavy
routing views templating ctx commands scaffold blueprints staticfiles fastpath app debughelpers testing
jsonrpc.protocol jsonrpc.resolving jsonrpc.types.params jsonrpc.types.methods jsonrpc.types.types jsonrpc.types
jsonrpc.converting jsonrpc.arrays jsonrpc.frames jsonrpc.pictures jsonrpc.science jsonrpc.encoding
jsonrpc.orders jsonrpc.schemas jsonrpc.parameters jsonrpc.families jsonrpc.constraints jsonrpc.hints
jsonrpc.docstrings jsonrpc.explain jsonrpc.registry jsonrpc.openrpc jsonrpc.timing jsonrpc.ending
jsonrpc.telemetry jsonrpc.transport jsonrpc.calls jsonrpc.websocket_transport jsonrpc.client jsonrpc.testing
jsonrpc.codegen jsonrpc.codegen_python jsonrpc.codegen_typescript jsonrpc.browse
jsonrpc.conf.global_settings jsonrpc.conf jsonrpc.describe jsonrpc.together jsonrpc.site jsonrpc.origins
jsonrpc.conversation jsonrpc.mcp jsonrpc.endpoint jsonrpc
jsonrpc.compat.utils jsonrpc.compat.helpers jsonrpc.compat.encoders jsonrpc.compat.funcutils jsonrpc.compat.typing
jsonrpc.compat.descriptor jsonrpc.compat.globals jsonrpc.compat.contrib.browse jsonrpc.compat.contrib.openrpc.typing
jsonrpc.compat.contrib.openrpc.utils jsonrpc.compat.contrib.openrpc.wrappers jsonrpc.compat.contrib.openrpc.methods
jsonrpc.compat.contrib.openrpc jsonrpc.compat.contrib jsonrpc.compat
jsonrpc.quirks.typecheck jsonrpc.quirks.site jsonrpc.quirks.endpoint jsonrpc.quirks
server.cgroups server.kinds server.hooks server.settings_connections server.settings_workers server.settings_limits
server.settings_logs server.settings server.gunicorn_names server.configfile server.proxy
server.accesslog server.logconfig server.log server.pidfile server.process server.slots server.sockets
server.systemd server.tls server.forking server.repetition server.fieldnames server.framing server.request_rules
server.hints
server.http1 server.websocket server.activity server.metrics server.statsd server.wsgi server.native
server.hook_objects server.compression server.asgi server.asgi_websocket server.lifespan server.logger_class
server.loading server.poller server.limits server.leadership server.ownpages server.lending_tls server.lending
server.eventloop server.receiving server.sending server.gathering server.waiting server.connections server.answering
server.timekeeping server.accepting server.loop server.native_engine server.peer server.conversing server.asgi_engine
server.reload server.worker server.report server.control server.children server.upgrade server.zygote server.arbiter
server.launch server
container.project container.context container.layers container.wheels container.dockerfile container.base
container.bytecode container.image container.registry container.engine container.build container.deploy
container.files container
aliased aliasing dropin dropin_site.sitecustomize cli_jobs cli_jsonrpc cli_server cli_top cli_container cli __main__
""".split()  # noqa: SIM905 (as text, it reads as a table of contents)
SERVER_MAY_SEE = ("server", "message", "typing", "environ", "codings", "sparing")
# Upward, inside a function, for their cost: a server or a test client is needed only when asked for.
DEFERRED_UP = {("app", "testing")}


def name_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (module of ours, whether the import is inside a function); what only type checkers see is left out."""
    package = path.relative_to(SRC).parent.parts

    def walk(node: ast.AST, deferred: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            inside = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.Import):
                yield from ((a.name[9:], inside) for a in child.names if a.name.startswith("demijohn."))
            elif isinstance(child, ast.ImportFrom):
                yield from ((target, inside) for target in from_targets(child, package))
            else:
                yield from walk(child, inside)

    return walk(ast.parse(path.read_text()), False)


def from_targets(node: ast.ImportFrom, package: tuple[str, ...]) -> Iterator[str]:
    if node.level:
        base = ".".join((*package[: len(package) - node.level + 1], *filter(None, [node.module])))
    elif node.module and (node.module + ".").startswith("demijohn."):
        base = node.module[9:]
    else:
        return
    for alias in node.names:
        full = f"{base}.{alias.name}" if base else alias.name
        known = full if full in FLOORS else base
        if known:
            yield known


def modules() -> list[Path]:
    return [path for path in sorted(SRC.rglob("*.py")) if path != SRC / "__init__.py"]


def test_imports_point_down() -> None:
    wrong = []
    for path in modules():
        name = name_of(path)
        for target, deferred in imports(path):
            excused = deferred and (name, target) in DEFERRED_UP
            if target != name and FLOORS.index(target) >= FLOORS.index(name) and not excused:
                wrong.append(f"{name} imports {target}")
            if name.split(".")[0] == "server" and target.split(".")[0] not in SERVER_MAY_SEE:
                wrong.append(f"{name} imports {target}: the server must not need the framework")
    assert not wrong, "\n".join(wrong)


def test_every_module_has_a_place_on_the_floors() -> None:
    homeless = [name_of(path) for path in modules() if name_of(path) not in FLOORS]
    assert not homeless, f"give them a place in FLOORS and in docs/architecture.md: {homeless}"
