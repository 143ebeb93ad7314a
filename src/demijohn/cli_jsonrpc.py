"""The commands around JSON-RPC: what an application's methods are, clients of them, and single calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .commands import ScriptInfo

if TYPE_CHECKING:
    from .jsonrpc import JSONRPCSite

_path_option = click.option(
    "--path", metavar="PATH", help="The URL path of the methods, where the application has them at several."
)


@click.command(
    "openrpc",
    short_help="Print the OpenRPC document of an application.",
    epilog="""
\b
Examples:
  demijohn openrpc app:app > openrpc.json
  demijohn openrpc app:app --path /api/admin
""",
)
@click.argument("app", required=False, metavar="[APP]")
@_path_option
@click.option("--url", metavar="URL", help="The address to name as that of the methods [default: their path]")
@click.pass_context
def openrpc_command(context: click.Context, app: str | None, path: str | None, url: str | None) -> None:
    """Print what the JSON-RPC methods of APP are, as OpenRPC.

    The application is found as 'demijohn run' finds it, unless APP names it.
    """
    click.echo(json.dumps(_document(context, app, path, url), indent=2, ensure_ascii=False))


def _document(context: click.Context, app: str | None, path: str | None, url: str | None) -> dict[str, Any]:
    """Return the OpenRPC document of an application's methods at `path`."""
    from .jsonrpc import openrpc

    info = context.ensure_object(ScriptInfo)
    if app:
        info.app_import_path = app
    application = info.load_app()
    site = _site(application.extensions.get("demijohn.jsonrpc", []), path)
    title = openrpc.title_of(application)
    return openrpc.document(site.methods, title, site.version, url or site.base_url or site.path or "/")


def _site(sites: list[JSONRPCSite], path: str | None) -> JSONRPCSite:
    found = [site for site in sites if path in (None, site.path)]
    if len(found) == 1:
        return found[0]
    paths = ", ".join(str(site.path) for site in sites)
    if not sites:
        raise click.ClickException("The application has no JSON-RPC methods: JSONRPC(app) gives it a place for them.")
    if path is None:
        raise click.ClickException(f"The application has methods at {paths}: choose with --path.")
    raise click.ClickException(f"The application has no methods at {path}, but at {paths}.")
