"""The commands around the production server, `serve` and `health`.

They import neither the framework nor click: the arbiter lives as long as the service does, and a health
check starts every few seconds.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .server.settings import Service, Settings

_GUNICORN_ARGUMENTS = "GUNICORN_CMD_ARGS"

SERVE_HELP = "Run the production server."
HEALTH_HELP = "Ask a server whether it answers."

_SERVE_EXAMPLES = """\
examples:
  demijohn serve app:app
  demijohn serve -b 0.0.0.0:8000 -w 2 --threads 16 app:app
  demijohn serve -b unix:/run/shop.sock 'shop:create_app("production")'
  demijohn serve -c gunicorn.conf.py
"""
_HEALTH_EXAMPLES = """\
examples:
  demijohn health
  demijohn health http://127.0.0.1:8000/ready --timeout 2

The exit code is 0 for an answer with a status under 500, else 1. Without a URL, it is $DEMIJOHN_LIVEZ_PATH,
or the first page, at port $PORT, or 8000, of this machine.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say in one sentence what is wrong; the usage, which names every flag, would bury it."""
        self.exit(2, f"Error: {message}. Try '{self.prog} --help'.\n")

    def format_help(self) -> str:
        self.formatter_class = argparse.RawDescriptionHelpFormatter  # as wide as the terminal
        return super().format_help()


def _parser(name: str, description: str, epilog: str) -> _Parser:
    return _Parser(
        prog=f"demijohn {name}",
        description=description,
        epilog=epilog,
        # argparse makes one for each argument that is added; without a width, each asks the terminal.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=80),
    )


# -- serve --------------------------------------------------------------------------------------


def _serve_parser() -> _Parser:
    from .server.gunicorn_names import ACCEPTED
    from .server.settings import FLAGS

    parser = _parser("serve", SERVE_HELP, _SERVE_EXAMPLES)
    parser.usage = "demijohn serve [options] APP"
    parser.add_argument(
        "app",
        nargs="?",
        metavar="APP",
        help="The application: module:name, or module:factory(literals). Any WSGI application will do.",
    )
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="Where settings are: a Python file, or python:MODULE [default: demijohn.conf.py or gunicorn.conf.py, "
        "when it is there]",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="Check the settings, load the application, and say what is wrong; the exit code is 0 when all is well.",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="Check as --check-config does, and print all settings as a configuration file.",
    )
    parser.add_argument(
        "--dropin",
        action="store_true",
        help="Let 'import flask' mean demijohn in the application, and in the programs it starts.",
    )
    for flag in FLAGS:
        if not flag.spellings:
            continue
        text = flag.help.replace("%", "%%")
        if flag.is_switch:
            parser.add_argument(
                *flag.spellings, dest=flag.name, action="store_const", const=not flag.default, help=text
            )
        elif flag.kind.alone is not None:
            alone = flag.kind.alone
            parser.add_argument(
                *flag.spellings, dest=flag.name, nargs="?", const=alone, metavar=flag.metavar, help=text
            )
        else:
            action = "append" if flag.multiple else "store"
            parser.add_argument(*flag.spellings, dest=flag.name, action=action, metavar=flag.metavar, help=text)
    for accepted in ACCEPTED.values():
        if accepted.spellings:
            action = "store" if accepted.takes_value else "store_true"
            parser.add_argument(*accepted.spellings, dest=_TAKEN + accepted.name, action=action, help=argparse.SUPPRESS)
    return parser


_TAKEN = "taken:"


@dataclass(slots=True)
class _Configuration:
    """What to serve, how, and what to tell the operator about the settings given."""

    target: str | None
    settings: Settings
    notes: list[str]
    dropin: bool

    def service(self, parser: _Parser) -> Service:
        """Return what the server is to do; without an application, end with a sentence that says so."""
        from .server.settings import Service

        if not self.target:
            parser.error(f"name the application to serve, for example {_likely_target()}")
        return Service(self.target, self.settings, tuple(self.notes))


def _configuration(options: dict[str, Any], parser: _Parser, app_import_path: str | None) -> _Configuration:
    """Put together what the command line, variables and files say. Raises SettingError."""
    from .server.configfile import read_files
    from .server.gunicorn_names import ACCEPTED
    from .server.settings import FLAGS, Given, from_values

    in_variable = vars(parser.parse_args(shlex.split(os.environ.get(_GUNICORN_ARGUMENTS, ""))))
    location = options["config"] or os.environ.get("DEMIJOHN_CONFIG") or in_variable["config"]
    files = read_files(location)
    names = [flag.name for flag in FLAGS if flag.spellings]
    for name in names:
        if in_variable[name] is not None:
            files.given[name] = Given(in_variable[name], _GUNICORN_ARGUMENTS)
    notes = files.notes
    for accepted in ACCEPTED.values():
        for given in (in_variable, options):
            note = accepted.note_on(given.get(_TAKEN + accepted.name))
            notes += [note] if note else []
    return _Configuration(
        target=options["app"] or in_variable["app"] or files.application or app_import_path,
        settings=from_values({name: options[name] for name in names}, below=files.given),
        notes=notes,
        dropin=options["dropin"] or in_variable["dropin"],
    )


def serve(arguments: list[str], app_import_path: str | None = None) -> int:
    """Run the production server as `arguments` say until it is told to stop; return its exit code.

    `app_import_path` is what to serve when neither the arguments nor a file name it.
    """
    from .server import check
    from .server import serve as run_server
    from .server.settings import SettingError, as_file

    # A configuration file may import what stands beside it, and a module that calls app.run() when it is imported must
    # not start a second server.
    sys.path.insert(0, os.getcwd())
    os.environ["FLASK_RUN_FROM_CLI"] = "true"
    parser = _serve_parser()
    options = vars(parser.parse_args(arguments))
    try:
        configuration = _configuration(options, parser, app_import_path)
    except SettingError as error:
        parser.exit(2, f"Error: {error}\n")
    service = configuration.service(parser)
    if configuration.dropin:
        from .dropin import install, pass_on

        # Here and not in the workers: they are forked from this process, the later ones too.
        install()
        pass_on()
    if options["check_config"] or options["print_config"]:
        for note in configuration.notes:
            print(f"Note: {note}", file=sys.stderr)
        status = check(service)
        if options["print_config"]:
            print(as_file(service), end="")
        return status
    return run_server(service, lambda: _configuration(options, parser, app_import_path).service(parser))


def _likely_target() -> str:
    """Return a target to show as an example, by the files that are there."""
    for file in ("wsgi.py", "app.py"):
        if Path(file).is_file():
            return f"{Path(file).stem}:app"
    return "app:app"


# -- health -------------------------------------------------------------------------------------


def health(arguments: list[str]) -> int:
    """Ask for a page of a running server; return 0 when the status is under 500, else 1 with a sentence why."""
    parser = _parser("health", HEALTH_HELP, _HEALTH_EXAMPLES)
    parser.add_argument(
        "url",
        nargs="?",
        default=f"http://127.0.0.1:{os.environ.get('PORT') or 8000}{os.environ.get('DEMIJOHN_LIVEZ_PATH') or '/'}",
        metavar="URL",
        help="What to ask for [default: %(default)s]",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="How long connecting, and then each read, may take [default: %(default)s]",
    )
    options = parser.parse_args(arguments)
    try:
        status = _status_of(options.url, options.timeout)
    except ValueError as error:
        parser.error(f"{options.url!r} is not a URL that can be asked: {error}")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        print(f"{options.url} does not answer: {reason}", file=sys.stderr)
        return 1
    if status >= 500:
        print(f"{options.url} answers {status}", file=sys.stderr)
        return 1
    print(f"{options.url} answers {status}")
    return 0


def _status_of(url: str, timeout_s: float) -> int:
    """Return the status of the answer to GET `url`; redirects are not followed.

    Raises ValueError for what is no http or https URL, OSError or HTTPException when there is no answer.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must start with http:// or https:// and a host")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        import ssl

        # A server that is asked by its loopback address cannot have a certificate for that name, and nothing
        # secret is sent.
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout_s, context=ssl._create_unverified_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "demijohn-health", "Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()
