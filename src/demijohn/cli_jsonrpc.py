"""The commands around JSON-RPC: what an application's methods are, clients of them, and single calls."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .commands import ScriptInfo

if TYPE_CHECKING:
    from .jsonrpc import JSONRPCSite, Progress

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


# -- call ---------------------------------------------------------------------------------------

_NAMED = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)


@click.command(
    "call",
    short_help="Call a JSON-RPC method.",
    epilog="""
\b
Examples:
  demijohn call http://127.0.0.1:8000/api Math.add a=1 b=2
  demijohn call http://127.0.0.1:8000/api Math.add 1 2
  demijohn call http://127.0.0.1:8000/api Shop.order items=@items.json note=fragile
  demijohn call -H 'Authorization: Bearer TOKEN' https://example.org/api rpc.discover
  demijohn call ws://127.0.0.1:8000/api Model.train epochs=50

A value is JSON where it can be read as such, else a text; @FILE stands for what is in the file. The result is
printed as JSON. Over a WebSocket (ws:// or wss://) stderr shows how far the call is, and Ctrl-C ends it. The exit
code is 1 when the method answered an error, 2 when there was no answer.
""",
)
@click.argument("url")
@click.argument("method")
@click.argument("params", nargs=-1, metavar="[VALUE | NAME=VALUE]...")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header field to send.")
@click.option("--timeout", type=float, default=30.0, show_default=True, metavar="SECONDS", help="How long to wait.")
@click.option("--notify", is_flag=True, help="Send a notification: there is no answer.")
def call_command(
    url: str, method: str, params: tuple[str, ...], headers: tuple[str, ...], timeout: float, notify: bool
) -> None:
    """Call the JSON-RPC METHOD at URL and print its result."""
    from .jsonrpc.client import Client, RemoteError, TransportError

    try:
        client = Client(url, headers=dict(map(_header, headers)), timeout_s=timeout)
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    progress = _ProgressLine()
    with client:
        try:
            if notify:
                client.notify(method, _params(params))
            else:
                result = client.call(method, _params(params), on_progress=progress.show)
                progress.end()
                click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        except RemoteError as error:
            progress.end()
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except TransportError as error:
            progress.end()
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)


class _ProgressLine:
    """How far a call is, on stderr: one line that changes in a terminal, else a line each."""

    def __init__(self) -> None:
        self._changes = sys.stderr.isatty()
        self._is_begun = False

    def show(self, progress: Progress) -> None:
        steps = f"{progress.done:g}" if progress.total is None else f"{progress.done:g}/{progress.total:g}"
        self._is_begun = True
        text = f"{steps} {progress.message}".rstrip()
        click.echo(f"\r{text}\033[K" if self._changes else text, nl=not self._changes, err=True)

    def end(self) -> None:
        if self._is_begun and self._changes:
            click.echo(err=True)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.UsageError(f"{text!r} is no header field: write it as 'NAME: VALUE'.")
    return name.strip(), value.strip()


def _params(words: tuple[str, ...]) -> list[Any] | dict[str, Any] | None:
    """Return the params that words of the command line are: by name when all are `NAME=VALUE`, else by position."""
    named = [_NAMED.fullmatch(word) for word in words]
    if all(named):
        return {found[1]: _value(found[2]) for found in named if found} or None
    if any(named):
        raise click.UsageError("Give all parameters by position, or all as NAME=VALUE.")
    return [_value(word) for word in words]


def _value(text: str) -> Any:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{text[1:]} cannot be read: {error}") from None
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- clients ------------------------------------------------------------------------------------


@click.group("jsonrpc", short_help="Write clients of JSON-RPC methods.")
def jsonrpc_group() -> None:
    """Write what uses JSON-RPC methods."""


@jsonrpc_group.command(
    "client",
    short_help="Write a typed client.",
    epilog="""
\b
Examples:
  demijohn jsonrpc client app:app > shop_client.py
  demijohn jsonrpc client app:app --language typescript --url https://example.org/api > shop.ts
  demijohn jsonrpc client http://127.0.0.1:8000/api > shop_client.py
""",
)
@click.argument("source", required=False, metavar="[APP | URL]")
@click.option(
    "--language", "-l", type=click.Choice(["python", "typescript"]), default="python", show_default=True,
    help="What to write it in.",
)  # fmt: skip
@_path_option
@click.option("--url", metavar="URL", help="Where the client is to find the methods, unless it is told.")
@click.pass_context
def client_command(
    context: click.Context, source: str | None, language: str, path: str | None, url: str | None
) -> None:
    """Print a typed client of the JSON-RPC methods of APP, or of those that URL tells of in rpc.discover.

    The application is found as 'demijohn run' finds it, unless APP names it.
    """
    from .jsonrpc.codegen_python import python
    from .jsonrpc.codegen_typescript import typescript

    if source and source.startswith(("http://", "https://", "ws://", "wss://")):
        document, url = _discovered(source), url or source
    else:
        document = _document(context, source, path, url)
        if language == "python" and document["servers"][0]["url"].startswith("/"):
            # Where `demijohn serve` listens unless told; a page can do with the path alone.
            url = f"http://127.0.0.1:8000{document['servers'][0]['url']}"
    try:
        text = (python if language == "python" else typescript)(document, url)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(text, nl=False)


def _discovered(url: str) -> dict[str, Any]:
    from .jsonrpc.client import CallError, Client

    try:
        with Client(url) as client:
            document: dict[str, Any] = client.call("rpc.discover")
    except CallError as error:
        raise click.ClickException(str(error)) from None
    return document
