"""The `demijohn` command: Flask's run, shell and routes with its options and discovery, and what serves and packs.

`serve` and `health` live in `cli_server.py`, and `__main__.py` goes there without passing here.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterable
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource
from werkzeug.serving import is_running_from_reloader, run_simple
from werkzeug.utils import import_string

from . import cli_jobs, cli_jsonrpc, cli_server, cli_top
from .cli_container import deploy_group, image_group
from .commands import (
    AppGroup,
    NoAppException,
    ScriptInfo,
    find_app_by_string,
    find_best_app,
    load_dotenv,
    locate_app,
    pass_script_info,
    prepare_import,
    show_server_banner,
    user_traceback,
    with_appcontext,
)
from .globals import current_app
from .helpers import get_debug_flag, get_load_dotenv

if TYPE_CHECKING:
    import ssl

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .app import Flask

__all__ = [
    "AppGroup",
    "CertParamType",
    "FlaskGroup",
    "NoAppException",
    "ScriptInfo",
    "SeparatedPathType",
    "cli",
    "find_app_by_string",
    "find_best_app",
    "get_load_dotenv",
    "get_version",
    "load_dotenv",
    "locate_app",
    "main",
    "pass_script_info",
    "prepare_import",
    "routes_command",
    "run_command",
    "shell_command",
    "show_server_banner",
    "version_option",
    "with_appcontext",
]

# -- options of the group -----------------------------------------------------------------------


def get_version(ctx: click.Context, param: click.Parameter | None, value: Any) -> None:
    """Print the versions that a bug report should name, and exit; the callback of `--version`."""
    if not value or ctx.resilient_parsing:
        return
    click.echo(
        f"Python {platform.python_version()}\n"
        f"demijohn {importlib.metadata.version('demijohn')}\n"
        f"Flask {_flask_version()}\n"
        f"Werkzeug {importlib.metadata.version('werkzeug')}",
        color=ctx.color,
    )
    ctx.exit()


def _flask_version() -> str:
    """Return the version under which Flask is known here; without any, the line of releases whose API this is."""
    try:
        return importlib.metadata.version("flask")
    except importlib.metadata.PackageNotFoundError:
        return "3.1 (its API; not installed)"


version_option = click.Option(
    ["--version"],
    help="Show the versions of demijohn and what it stands on.",
    expose_value=False,
    callback=get_version,
    is_flag=True,
    is_eager=True,
)


def _set_app(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        ctx.ensure_object(ScriptInfo).app_import_path = value
    return value


# Eager, as --help is, and before it in the list: so `--app x --help` shows the commands of x.
_app_option = click.Option(
    ["-A", "--app"],
    metavar="IMPORT",
    help=(
        "The application or factory to load, as 'module:name'. The module is a dotted name or a file. The name may"
        " be left out when it is 'app', 'application', 'create_app' or 'make_app', and may be 'name(args)' to pass"
        " arguments."
    ),
    is_eager=True,
    expose_value=False,
    callback=_set_app,
)


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> bool | None:
    # Only an option that was given counts; without one FLASK_DEBUG stays as it is. It is set here, and not on the
    # application, because an application factory may ask for it.
    source = ctx.get_parameter_source(param.name or "")
    if source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.PROMPT):
        os.environ["FLASK_DEBUG"] = str(int(value))
        return value
    return None


_debug_option = click.Option(
    ["--debug/--no-debug"],
    help="Set debug mode.",
    expose_value=False,
    callback=_set_debug,
)


def _load_env_files(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _can_import("dotenv"):
        raise click.BadParameter(
            f"{value!r} is read by python-dotenv, which is not installed: pip install python-dotenv.",
            ctx=ctx,
            param=param,
        )
    load_defaults = ctx.ensure_object(ScriptInfo).load_dotenv_defaults
    if value is not None or load_defaults:
        load_dotenv(value, load_defaults=load_defaults)
    return value


def _can_import(module_name: str) -> bool:
    try:
        __import__(module_name)
    except ImportError:
        return False
    return True


# Eager and before --app: the files may set FLASK_APP and what the other options default to.
_env_file_option = click.Option(
    ["-e", "--env-file"],
    type=click.Path(exists=True, dir_okay=False),
    help=(
        "Load environment variables from this file, which counts before '.env' and '.flaskenv'. Variables that are"
        " set already count most. Needs python-dotenv."
    ),
    is_eager=True,
    expose_value=False,
    callback=_load_env_files,
)


class FlaskGroup(AppGroup):
    """A group that also has the commands of the application and of installed plugins.

    add_default_commands: whether it has run, shell and routes.
    create_app: makes the application; without it, one is found as `--app` says.
    add_version_option: whether it has `--version`.
    load_dotenv: whether `.env` and `.flaskenv` set environment variables.
    set_debug_flag: whether the application's debug flag is set from FLASK_DEBUG.
    """

    def __init__(
        self,
        add_default_commands: bool = True,
        create_app: Callable[..., Flask] | None = None,
        add_version_option: bool = True,
        load_dotenv: bool = True,
        set_debug_flag: bool = True,
        **extra: Any,
    ) -> None:
        # Options with callbacks, so that whoever makes such a group keeps its own callback free.
        params = [*(extra.pop("params", None) or ()), _env_file_option, _app_option, _debug_option]
        if add_version_option:
            params.append(version_option)
        context_settings = extra.pop("context_settings", None) or {}
        context_settings.setdefault("auto_envvar_prefix", "FLASK")
        super().__init__(params=params, context_settings=context_settings, **extra)

        self.create_app = create_app
        self.load_dotenv = load_dotenv
        self.set_debug_flag = set_debug_flag
        self._loaded_plugin_commands = False
        if add_default_commands:
            for command in (run_command, shell_command, routes_command):
                self.add_command(command)

    def _load_plugin_commands(self) -> None:
        if not self._loaded_plugin_commands:
            for entry_point in importlib.metadata.entry_points(group="flask.commands"):
                self.add_command(entry_point.load(), entry_point.name)
            self._loaded_plugin_commands = True

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of the group, of a plugin or of the application; for the last its context is set."""
        self._load_plugin_commands()
        # First those that need no application: they must work when it does not load.
        command = super().get_command(ctx, name)
        if command is not None:
            return command
        try:
            app = ctx.ensure_object(ScriptInfo).load_app()
        except NoAppException as error:
            _show_loading_error(f"Error: {error.format_message()}")
            return None
        # Set here and not by the command, so that callbacks of its parameters have it too.
        if not current_app or current_app._get_current_object() is not app:  # type: ignore[attr-defined]
            ctx.with_resource(app.app_context())
        commands: click.Group = app.cli
        return commands.get_command(ctx, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names in order; an application that does not load is reported and the others are listed."""
        self._load_plugin_commands()
        names = set(super().list_commands(ctx))
        try:
            names.update(ctx.ensure_object(ScriptInfo).load_app().cli.list_commands(ctx))
        except NoAppException as error:
            _show_loading_error(f"Error: {error.format_message()}")
        except Exception as error:  # whatever the user's module raises
            _show_loading_error(user_traceback(error))
        return sorted(names)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        # A module that calls app.run() outside of `if __name__ == "__main__"` must not start a server when a
        # command imports it.
        os.environ["FLASK_RUN_FROM_CLI"] = "true"
        if "obj" not in extra and "obj" not in self.context_settings:
            extra["obj"] = ScriptInfo(
                create_app=self.create_app,
                set_debug_flag=self.set_debug_flag,
                load_dotenv_defaults=self.load_dotenv,
            )
        return super().make_context(info_name, args, parent=parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        only_help = len(args) == 1 and args[0] in self.get_help_option_names(ctx)
        if only_help or (not args and self.no_args_is_help):
            # The help is shown before any option is read; FLASK_APP still decides whose commands it lists.
            _env_file_option.handle_parse_result(ctx, {}, [])
            _app_option.handle_parse_result(ctx, {}, [])
        return super().parse_args(ctx, args)


def _show_loading_error(message: str) -> None:
    click.secho(f"{message}\n", err=True, fg="red")


# -- run ----------------------------------------------------------------------------------------


class CertParamType(click.ParamType):  # type: ignore[type-arg]  # generic in newer click alone
    """`--cert`: a file, the word `adhoc`, or where to import an `ssl.SSLContext` from."""

    name = "path"

    def __init__(self) -> None:
        self.path_type = click.Path(exists=True, dir_okay=False, resolve_path=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the file's absolute path, `"adhoc"` or the context.

        Raises click.BadParameter when it is none of them, or cannot be used by this Python.
        """
        ssl_context_class = _ssl_context_class()
        if ssl_context_class is None:
            raise click.BadParameter(
                "This Python was built without SSL support (no module 'ssl'): it cannot serve HTTPS.", ctx, param
            )
        try:
            return self.path_type(value, param, ctx)
        except click.BadParameter:
            name = click.STRING(value, param, ctx)
            if name.lower() == "adhoc":
                if not _can_import("cryptography"):
                    message = "A certificate made for the occasion needs cryptography: pip install cryptography."
                    raise click.BadParameter(message, ctx, param) from None
                return "adhoc"
            imported = import_string(name, silent=True)
            if isinstance(imported, ssl_context_class):
                return imported
            raise


def _ssl_context_class() -> type[ssl.SSLContext] | None:
    try:
        import ssl
    except ImportError:
        return None
    return ssl.SSLContext


def _validate_key(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Make a pair of `--cert` and `--key`; refuse the one without the other, or a key for what has its own."""
    cert = ctx.params.get("cert")
    has_own_key = cert == "adhoc" or not isinstance(cert, str | None)
    if value is None:
        if cert and not has_own_key:
            raise click.BadParameter('Required when using "--cert".', ctx, param)
        return None
    if not cert:
        raise click.BadParameter('"--cert" must also be specified.', ctx, param)
    if has_own_key:
        kind = '"adhoc"' if cert == "adhoc" else "an SSLContext object"
        raise click.BadParameter(f'When "--cert" is {kind}, "--key" is not used.', ctx, param)
    ctx.params["cert"] = cert, value
    return value


class SeparatedPathType(click.Path):
    """Several paths in one value, separated as in PATH."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the list of the paths, each checked."""
        convert = super().convert
        return [convert(item, param, ctx) for item in self.split_envvar_value(value)]


_RUN_EXAMPLES = """
\b
Examples:
  demijohn run --debug
  demijohn --app hello run --port 8080
  demijohn run --cert cert.pem --key key.pem
"""


@click.command("run", short_help="Run a development server.", epilog=_RUN_EXAMPLES)
@click.option("--host", "-h", default="127.0.0.1", help="The interface to bind to.")
@click.option("--port", "-p", default=5000, help="The port to bind to.")
@click.option(
    "--cert",
    type=CertParamType(),
    help="A certificate file, 'adhoc', or the import name of an SSLContext, to use HTTPS.",
    is_eager=True,
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    callback=_validate_key,
    expose_value=False,
    help="The key file that belongs to the certificate file.",
)
@click.option(
    "--reload/--no-reload",
    default=None,
    help="Restart when a file changes. On by default in debug mode.",
)
@click.option(
    "--debugger/--no-debugger",
    default=None,
    help="Show the interactive debugger on errors. On by default in debug mode.",
)
@click.option(
    "--with-threads/--without-threads",
    default=True,
    help="Whether each request has its own thread.",
)
@click.option(
    "--extra-files",
    default=None,
    type=SeparatedPathType(),
    help=f"More files whose change restarts the server, separated by {os.path.pathsep!r}.",
)
@click.option(
    "--exclude-patterns",
    default=None,
    type=SeparatedPathType(),
    help=f"Patterns of files whose change does not restart the server, separated by {os.path.pathsep!r}.",
)
@pass_script_info
def run_command(
    info: ScriptInfo,
    host: str,
    port: int,
    reload: bool | None,
    debugger: bool | None,
    with_threads: bool,
    cert: ssl.SSLContext | tuple[str, str | None] | Literal["adhoc"] | None,
    extra_files: list[str] | None,
    exclude_patterns: list[str] | None,
) -> None:
    """Run a local development server.

    It is for development only; 'demijohn serve' is the one for production. With '--debug' it
    restarts when the code changes and shows errors in the browser.
    """
    app = _load_or_show_error(info)
    debug = get_debug_flag()
    show_server_banner(debug, info.app_import_path)
    if info.target and not is_running_from_reloader():
        click.echo(f" * For production: demijohn serve -b 0.0.0.0:8000 {info.target}")
    run_simple(
        host,
        port,
        app,
        use_reloader=debug if reload is None else reload,
        use_debugger=debug if debugger is None else debugger,
        threaded=with_threads,
        ssl_context=cert,
        extra_files=extra_files,
        exclude_patterns=exclude_patterns,
    )


def _load_or_show_error(info: ScriptInfo) -> WSGIApplication:
    """Return the application; after a reload, when it does not load, one that raises the reason.

    So a typing error does not end the development server: the browser shows it until the file is right.
    """
    try:
        return info.load_app()
    except Exception as error:  # whatever the user's module raises
        if not is_running_from_reloader():
            raise
        click.echo(user_traceback(error), err=True)
        reason = error

    def raise_reason(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise reason from None

    return raise_reason


run_command.params.insert(0, _debug_option)


# -- shell and routes ---------------------------------------------------------------------------


@click.command(
    "shell", short_help="Run a shell in the app context.", epilog="\b\nExample:\n  demijohn --app hello shell"
)
@with_appcontext
def shell_command() -> None:
    """Run an interactive Python shell with the application current.

    The names that shell context processors of the application give are there.
    """
    import code

    names: dict[str, Any] = {}
    startup = os.environ.get("PYTHONSTARTUP")
    if startup and os.path.isfile(startup):
        source = Path(startup).read_text(encoding="utf-8")
        exec(compile(source, startup, "exec"), names)
    names.update(current_app.make_shell_context())

    # Set by site or a start-up script: history and completion. Completion must know this shell's names.
    interactive_hook = getattr(sys, "__interactivehook__", None)
    if interactive_hook is not None:
        _complete_names_of(names)
        interactive_hook()

    code.interact(
        banner=(
            f"Python {sys.version} on {sys.platform}\n"
            f"App: {current_app.import_name}\n"
            f"Instance: {current_app.instance_path}"
        ),
        local=names,
    )


def _complete_names_of(names: dict[str, Any]) -> None:
    try:
        import readline
        from rlcompleter import Completer
    except ImportError:
        # A Python without readline has no completion to set up.
        return
    readline.set_completer(Completer(names).complete)


@click.command(
    "routes",
    short_help="Show the routes for the app.",
    epilog="\b\nExample:\n  demijohn --app hello routes --sort rule",
)
@click.option(
    "--sort",
    "-s",
    type=click.Choice(("endpoint", "methods", "domain", "rule", "match")),
    default="endpoint",
    help="What to sort by; 'match' is the order in which rules are tried for a request.",
)
@click.option("--all-methods", is_flag=True, help="Show HEAD and OPTIONS too.")
@with_appcontext
def routes_command(sort: str, all_methods: bool) -> None:
    """Show all routes with their endpoints and methods."""
    url_map = current_app.url_map
    rules = list(url_map.iter_rules())
    if not rules:
        click.echo("No routes were registered.")
        return

    hidden = set() if all_methods else {"HEAD", "OPTIONS"}
    domains = [(rule.host if url_map.host_matching else rule.subdomain) or "" for rule in rules]
    columns = {
        "endpoint": ("Endpoint", [rule.endpoint for rule in rules]),
        "methods": ("Methods", [", ".join(sorted((rule.methods or set()) - hidden)) for rule in rules]),
        "domain": ("Host" if url_map.host_matching else "Subdomain", domains),
        "rule": ("Rule", [rule.rule for rule in rules]),
    }
    if not any(domains):
        del columns["domain"]
    rows = list(zip(*(values for _, values in columns.values()), strict=True))
    if sort in columns:  # not for "match", the order they are in; nor for a domain that nobody has
        rows.sort(key=itemgetter(list(columns).index(sort)))
    click.echo("\n".join(_table([title for title, _ in columns.values()], rows)))


def _table(titles: list[str], rows: list[tuple[Any, ...]]) -> Iterable[str]:
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
    for row in (titles, ["-" * width for width in widths], *rows):
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))


# -- serve, health and dropin -------------------------------------------------------------------

# What these two take is read by cli_server, which also writes their help.
_PASSED_ON: dict[str, Any] = {
    "context_settings": {"ignore_unknown_options": True, "auto_envvar_prefix": None},
    "add_help_option": False,
}


@click.command("serve", short_help=cli_server.SERVE_HELP, **_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_script_info
def serve_command(info: ScriptInfo, arguments: tuple[str, ...]) -> None:
    sys.exit(cli_server.serve(list(arguments), info.app_import_path))


@click.command("health", short_help=cli_server.HEALTH_HELP, **_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def health_command(arguments: tuple[str, ...]) -> None:
    sys.exit(cli_server.health(list(arguments)))


@click.command("top", short_help=cli_top.TOP_HELP, **_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def top_command(arguments: tuple[str, ...]) -> None:
    sys.exit(cli_top.top(list(arguments)))


@click.group("dropin", epilog="\b\nExamples:\n  demijohn dropin enable\n  demijohn dropin status")
def dropin_group() -> None:
    """Let 'import flask' mean demijohn in this virtual environment."""


@dropin_group.command("enable")
@click.option("--quirks", is_flag=True, help="Answer JSON-RPC as Flask-JSONRPC does where demijohn does better.")
def dropin_enable_command(quirks: bool) -> None:
    """Import demijohn as Flask, in every interpreter of this environment."""
    from .dropin import enable

    try:
        path = enable(quirks)
    except (RuntimeError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Enabled by {path}: 'import flask' means demijohn here. Undo it with 'demijohn dropin disable'.")


@dropin_group.command("disable")
def dropin_disable_command() -> None:
    """Undo 'enable'."""
    from .dropin import disable

    try:
        was_enabled = disable()
    except OSError as error:
        raise click.ClickException(str(error)) from None
    click.echo("Disabled." if was_enabled else "It was not enabled here.")


@dropin_group.command("status")
def dropin_status_command() -> None:
    """Say whether 'import flask' means demijohn in this environment."""
    from .dropin import is_enabled

    click.echo(f"The drop-in is {'enabled' if is_enabled() else 'not enabled'} in {sys.prefix}.")


# -- the command --------------------------------------------------------------------------------


class _DemijohnGroup(FlaskGroup):
    """The commands that Flask has too, and those that need neither an application nor a plugin."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        # A plugin imports flask, which may be there only once `dropin enable` has run.
        if name in _OWN_COMMANDS:
            return _OWN_COMMANDS[name]
        return super().get_command(ctx, name)


cli = _DemijohnGroup(
    name="demijohn",
    help="""\
Develop, serve and pack web applications.

An application is given with '--app', with the FLASK_APP environment variable, or by a 'wsgi.py' or
'app.py' file in the current directory.
""",
    epilog="""
\b
Examples:
  demijohn --app hello run --debug
  demijohn serve -b 0.0.0.0:8000 app:app
  demijohn image build app:app -t shop:1.0
""",
)
_OWN_COMMANDS: dict[str, click.Command] = {
    "serve": serve_command,
    "health": health_command,
    "top": top_command,
    "image": image_group,
    "deploy": deploy_group,
    "dropin": dropin_group,
    "openrpc": cli_jsonrpc.openrpc_command,
    "call": cli_jsonrpc.call_command,
    "jsonrpc": cli_jsonrpc.jsonrpc_group,
    "jobs": cli_jobs.jobs_command,
}
for _command in _OWN_COMMANDS.values():
    cli.add_command(_command)


def main() -> None:
    """Run the command line of this process and exit; errors of the user's code show the user's frames only."""
    try:
        cli.main()
    except Exception as error:  # click has dealt with its own; this is the user's code
        click.echo(user_traceback(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
