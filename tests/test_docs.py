"""What the documentation says, held against the package."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
from tests.conftest import clean_environment
from tests.docs_page import blocks_of

import demijohn
from demijohn.app import Flask
from demijohn.cli import cli
from demijohn.server.gunicorn_names import ACCEPTED
from demijohn.server.settings import FLAGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
REFERENCE = sorted((DOCS / "reference").glob("*.md"))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# -- code -----------------------------------------------------------------------------------------


def skip_without_its_packages(page: Path) -> None:
    """Skip where a page imports what the lock file installs and is not there."""
    for name in sorted(set(re.findall(r"^import (pandas|matplotlib|numpy|polars)\b", page.read_text(), re.MULTILINE))):
        if find_spec(name) is None:
            pytest.skip(f"the page uses {name}: pip install -r requirements-dev.lock")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page.read_text())], ids=name_of)
def test_the_python_of_a_page_runs_and_gives_what_the_page_says(page: Path, tmp_path: Path) -> None:
    skip_without_its_packages(page)
    command = [sys.executable, "-W", "error", str(ROOT / "tests" / "docs_page.py"), str(page)]
    done = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def with_requests(page: Path) -> bool:
    text = page.read_text()
    return "# file: app.py" in text and "\n$ curl " in text


@pytest.mark.parametrize("page", [page for page in PAGES if with_requests(page)], ids=name_of)
def test_the_application_of_a_page_answers_as_the_page_shows(
    page: Path, tmp_path: Path, free_port: int, start: Callable[..., Any]
) -> None:
    skip_without_its_packages(page)
    text = page.read_text()
    for block in blocks_of(text):
        if block.file is not None:
            block.write(tmp_path)
    server = start("-m", "demijohn", "serve", "-b", f"127.0.0.1:{free_port}", "app:app", cwd=tmp_path)
    server.wait_for("Worker ready")
    for command, printed in shown_requests(text):
        done = subprocess.run(
            shlex.split(
                re.sub(r"127\.0\.0\.1:[58]000", f"127.0.0.1:{free_port}", command.replace("curl", "curl -s", 1))
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout.strip() == printed, command
    assert server.stop() == 0


def shown_requests(page: str) -> Iterator[tuple[str, str]]:
    """Yield each curl command of a page, and what the page says that it prints."""
    for block in blocks_of(page):
        if block.language == "console":
            for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
                if command.startswith("curl "):
                    yield command, printed.strip()


def commands_of(page: str) -> Iterator[list[str]]:
    """Yield the arguments of each `demijohn` that a page tells its reader to type."""
    lines = re.findall(r"^(?:\$ |    )(.*\bdemijohn .*)$", page, re.MULTILINE)
    # In a sentence, `demijohn COMMAND` and `demijohn this|that` stand for several.
    lines += re.findall(r"`((?:python -m )?demijohn [a-z-][^`|]*)`", page)
    for line in lines:
        for part in re.split(r"&& | \| |; ", line):
            words = shlex.split(part.partition(" > ")[0], comments=True)
            while words and "=" in words[0]:
                del words[0]
            if words[:3] == ["python", "-m", "demijohn"]:
                del words[:2]
            if words[:1] == ["demijohn"]:
                yield words[1:]


def own_commands(page: str) -> set[str]:
    """The names of the commands and groups that a page's own code adds."""
    decorated = re.findall(r"cli\.command\((?:\"([\w-]+)\")?.*\)\n(?:@.*\n)*def (\w+)", page)
    groups = re.findall(r"(?:Blueprint\(|AppGroup\(|cli_group=)\"([\w-]+)\"", page)
    return {named or function.replace("_", "-") for named, function in decorated} | set(groups)


@every_page
def test_commands_and_flags_on_a_page_exist(page: Path) -> None:
    text = page.read_text()
    for words in commands_of(text):
        wrong = unknown_word(words, own_commands(text))
        assert wrong is None, f"demijohn {shlex.join(words)}: {wrong}"


# Of `serve`, `health` and `top`, beside the settings of the server.
OTHER_FLAGS = (
    *("--help", "-h", "--timeout", "--dropin", "-c", "--config", "--check-config", "--print-config"),
    *("--once", "--json", "--stacks", "--interval"),  # of `top`
)


def unknown_word(words: list[str], also: set[str]) -> str | None:
    """Return the first word that names a command or a flag there is not; None when all are known."""
    command: click.Command = cli
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            if command.name in ("serve", "health", "top"):
                known = {*OTHER_FLAGS, *(each for flag in FLAGS for each in flag.spellings)}
            else:
                known = {
                    "--help",
                    *(each for option in command.params for each in (*option.opts, *option.secondary_opts)),
                }
            if word.partition("=")[0] not in known:
                return word
            if takes_value(command, word):
                next(rest, None)
        elif isinstance(command, click.Group):
            if word in also or word.isupper():  # COMMAND stands for any
                return None
            if word not in command.commands:
                return word
            command = command.commands[word]
    return None


def takes_value(command: click.Command, word: str) -> bool:
    if command.name == "serve":
        return word in ("-c", "--config") or any(word in flag.spellings and not flag.is_switch for flag in FLAGS)
    return any(
        word in option.opts and isinstance(option, click.Option) and not option.is_flag for option in command.params
    )


# -- links ----------------------------------------------------------------------------------------


def without_code(page: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL))


def anchors_of(page: str) -> set[str]:
    """The anchors that headings get on the web."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_page
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", without_code(page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors_of(linked.read_text()), f"{target}#{anchor} is not there"


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)#\s]+\.md)", without_code(page.read_text()))
        waiting.extend((page.parent / target).resolve() for target in targets if "://" not in target)
    assert set(DOCS.rglob("*.md")) <= seen


# -- the reference --------------------------------------------------------------------------------


def find(name: str) -> Any:
    """Return what a name in the reference stands for: `Flask.route`, `views.View`, `jsonrpc.JSONRPC.method`."""
    first, *rest = name.split(".")
    try:
        found = getattr(demijohn, first)
    except AttributeError:
        found = import_module(f"demijohn.{first}")
    for part in rest:
        found = getattr(found, part)
    return found


def signature_of(thing: Any) -> str:
    """Return the parameters of something callable, without types, as the reference writes them."""
    parameters = []
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        default = parameter.default
        if default is not parameter.empty:
            if isinstance(default, type) or inspect.isroutine(default):
                shown = default.__name__
            else:
                shown = "..." if type(default) is object else repr(default)
            parameter = parameter.replace(default=_Shown(shown))
        parameters.append(parameter.replace(annotation=parameter.empty))
    return str(inspect.Signature(parameters))


class _Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def definitions() -> list[Any]:
    """Each bold name in code in the reference, with its parameters, None where the page gives none."""
    return [
        pytest.param(name, parameters or None, id=f"{page.stem}: {name}")
        for page in REFERENCE
        for name, parameters in re.findall(r"\*\*`([A-Za-z_][\w.]*)(\(.*?\))?`\*\*", page.read_text())
    ]


@pytest.mark.parametrize(("name", "parameters"), definitions())
def test_the_reference_gives_the_parameters_there_are(name: str, parameters: str | None) -> None:
    found = find(name)
    if parameters is not None:
        assert parameters == signature_of(found)
    else:
        assert not inspect.isroutine(found), "it takes parameters"


REFERENCE_TEXT = "\n".join(page.read_text() for page in REFERENCE)


def public(cls: type) -> set[str]:
    """The public names that a class of ours and its bases of ours define."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("demijohn")]
    return {name for base in ours for name in (*vars(base), *vars(base).get("__annotations__", ())) if name[0] != "_"}


def test_every_public_name_is_in_the_reference() -> None:
    names = {*demijohn.__all__, *(f"jsonrpc.{name}" for name in import_module("demijohn.jsonrpc").__all__)}
    assert not {name for name in names if f"`{name}" not in REFERENCE_TEXT}


CLASSES = """
Flask Blueprint Config views.View views.MethodView sessions.SessionInterface sessions.SecureCookieSessionInterface
sessions.SessionMixin testing.FlaskClient testing.FlaskCliRunner json.provider.JSONProvider json.tag.JSONTag
json.tag.TaggedJSONSerializer ctx.AppContext cli.ScriptInfo jsonrpc.JSONRPC jsonrpc.JSONRPCBlueprint
jsonrpc.JSONRPCError
"""


@pytest.mark.parametrize("cls", [find(name) for name in CLASSES.split()])
def test_every_public_attribute_is_in_the_reference(cls: type) -> None:
    missing = {name for name in public(cls) if not re.search(rf"`(\w+\.)*{name}\b", REFERENCE_TEXT)}
    assert not missing


def test_every_configuration_key_is_explained_with_its_default() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^|]+)` \|", page, re.MULTILINE))
    defaults = {key: repr(value).removeprefix("datetime.") for key, value in Flask.default_config.items()}
    assert {key: rows.get(key) for key in defaults} == defaults


def test_every_setting_of_the_server_is_explained_with_its_default() -> None:
    page = (DOCS / "reference" / "server.md").read_text()
    rows = re.findall(r"^\| `(-[^|]*)` \| ([^|]*) \| `(\w+)` \|", page, re.MULTILINE)
    described = {(spellings.replace("` `", " "), default.strip("`"), variable) for spellings, default, variable in rows}
    assert described == {
        (" ".join(flag.spellings), shown_default(flag.default), flag.variables[0][0])
        for flag in FLAGS
        if flag.spellings
    }


def test_every_hook_of_the_server_is_explained() -> None:
    page = (DOCS / "reference" / "server.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)(\([\w, ]+\))` \| ([^|]*) \|$", page, re.MULTILINE))
    assert rows == {(flag.name, flag.metavar, flag.doc) for flag in FLAGS if flag.metavar.startswith("(")}


def test_every_setting_of_gunicorn_is_told_to_its_users() -> None:
    page = (DOCS / "from-gunicorn.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    effective = {
        flag.gunicorn: " ".join(f"`{each}`" for each in flag.spellings) or "in a file only"
        for flag in FLAGS
        if flag.gunicorn
    }
    assert {name: told for name, told in rows.items() if name not in ACCEPTED} == effective
    without = {name: each.note[0].upper() + each.note[1:] for name, each in ACCEPTED.items()}
    assert {name: told for name, told in rows.items() if name in ACCEPTED} == without


def shown_default(default: Any) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ", ".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_module_is_on_the_page_about_the_architecture() -> None:
    words = set(re.findall(r"\w+", (DOCS / "architecture.md").read_text()))
    source = Path(demijohn.__file__).parent
    for path in source.rglob("*.py"):
        folder, *inner = path.relative_to(source).with_suffix("").parts
        # The modules of the server each by its name, those of other packages by the package's.
        name = inner[-1] if folder == "server" else folder
        assert name.startswith("__") or name in words, path.relative_to(source)
