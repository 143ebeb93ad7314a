"""The command around jobs: which there are, how one goes on, and its end."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import click

from .commands import ScriptInfo

_TIMEOUT_S = 30.0
_BAR_WIDTH = 30


@click.command(
    "jobs",
    short_help="List jobs, watch one, or cancel it.",
    epilog="""
\b
Examples:
  demijohn jobs                                        those of the application here
  demijohn jobs --state redis://localhost:6379/0
  demijohn jobs http://127.0.0.1:8000/jobs/P34lKhrtxU  watch one until it has ended
  demijohn jobs --cancel http://127.0.0.1:8000/jobs/P34lKhrtxU
""",
)
@click.argument("url", required=False, metavar="[URL]")
@click.option("--state", metavar="URL", help="List the jobs of this store, without loading the application.")
@click.option("--cancel", is_flag=True, help="End the job instead of watching it.")
@click.pass_context
def jobs_command(context: click.Context, url: str | None, state: str | None, cancel: bool) -> None:
    """List the jobs there are, or show how the one at URL goes on. A job that failed gives the exit code 1."""
    if url is None:
        if cancel:
            raise click.UsageError("--cancel needs the URL of a job.")
        _list(context, state)
        return
    try:
        if cancel:
            _show(_ask("DELETE", url))
        else:
            _watch(url)
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"{url} was not answered: {error}.") from None


def _list(context: click.Context, state: str | None) -> None:
    from .heavy.jobs import JobStore, jobs_of
    from .shared.stores import StoreUnavailable, open_store

    try:
        if state is not None:
            store = JobStore(open_store(state))
        else:
            store = jobs_of(context.ensure_object(ScriptInfo).load_app()).store
        records = store.all()
    except (StoreUnavailable, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if not records:
        click.echo("There are no jobs.")
        return
    for record in records:
        age_s = time.time() - record.created
        text = (
            f"{record.id}  {record.state:<9}  {_steps(record.done, record.total):>9}  {age_s:6.0f} s ago  {record.name}"
        )
        click.echo(f"{text}  {record.error or record.message}".rstrip())


def _watch(url: str) -> None:
    """Draw the progress of a job until it has ended."""
    told: dict[str, Any] = {}
    for told in _events(f"{url.rstrip('/')}/events"):
        if sys.stdout.isatty():
            click.echo(f"\r\x1b[K{_line(told)}", nl=False)
        else:
            click.echo(_line(told))
    if sys.stdout.isatty():
        click.echo()
    if not told:
        raise click.ClickException(f"{url} told nothing of a job.")
    _show(told)


def _show(told: dict[str, Any]) -> None:
    """Print how a job stands, and its result."""
    if told["state"] == "failed":
        raise click.ClickException(f"The job failed: {told.get('error', 'it did not say why')}")
    click.echo(json.dumps(told["result"], indent=2) if "result" in told else f"The job is {told['state']}.")


def _line(told: dict[str, Any]) -> str:
    done, total = told.get("done", 0), told.get("total")
    bar = ""
    if total:
        filled = round(_BAR_WIDTH * min(1.0, done / total))
        bar = f"[{'#' * filled}{'-' * (_BAR_WIDTH - filled)}] "
    return f"{told['state']:<9} {bar}{_steps(done, total)} {told.get('message', '')}".rstrip()


def _steps(done: float, total: float | None) -> str:
    return f"{done:g}/{total:g}" if total is not None else f"{done:g}"


def _ask(method: str, url: str) -> dict[str, Any]:
    response = _request(method, url)
    told: dict[str, Any] = json.loads(response.read())
    return told


def _events(url: str) -> Iterator[dict[str, Any]]:
    """Yield the data of the server-sent events of a URL, each of them a line of JSON."""
    for line in _request("GET", url):
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def _request(method: str, url: str) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError(f"{url!r} is no http URL.")
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""))
    response = connection.getresponse()
    if response.status >= 400:
        raise click.ClickException(f"{url} answered {response.status} {response.reason}.")
    return response
