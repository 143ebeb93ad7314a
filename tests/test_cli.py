"""The `demijohn` command: how it finds an application, and what each command does."""

from __future__ import annotations

import importlib.metadata
import json
import os
import ssl
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from demijohn import Blueprint, Flask, current_app
from demijohn.cli import (
    AppGroup,
    FlaskGroup,
    NoAppException,
    ScriptInfo,
    find_app_by_string,
    find_best_app,
    load_dotenv,
    locate_app,
    pass_script_info,
    prepare_import,
    run_command,
    with_appcontext,
)
from demijohn.server.settings import FLAGS

HELLO = """\
from demijohn import Flask
app = Flask(__name__)
@app.route("/")
def hello():
    return "Hello, World!"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, empty; modules imported from it are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in ("app", "hello", "shop", "wsgi"):  # whatever other tests imported under these names
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The environment, as it was again after the test; FLASK_ variables are not set."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("FLASK_"):
            del os.environ[name]
    yield os.environ
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def runner(environ: Any) -> CliRunner:
    return CliRunner()


def module_with(**names: Any) -> types.ModuleType:
    module = types.ModuleType("shop")
    vars(module).update(names)
    return module


# -- finding an application in a module -----------------------------------------------------------


def test_app_named_app_is_preferred_to_all_others() -> None:
    module = module_with(other=Flask("other"), application=Flask("application"), app=Flask("app"))
    assert find_best_app(module) is module.app


def test_app_named_application_comes_second() -> None:
    module = module_with(other=Flask("other"), application=Flask("application"))
    assert find_best_app(module) is module.application


def test_only_app_is_found_under_any_name_even_beside_a_factory() -> None:
    module = module_with(shop=Flask("shop"), create_app=lambda: Flask("made"))
    assert find_best_app(module) is module.shop


def test_one_app_with_two_names_is_one_app() -> None:
    shop = Flask("shop")
    assert find_best_app(module_with(shop=shop, alias=shop)) is shop


@pytest.mark.parametrize("name", ["create_app", "make_app"])
def test_factory_is_called(name: str) -> None:
    def factory(**options: Any) -> Flask:
        return Flask("made")

    assert find_best_app(module_with(**{name: factory})).name == "made"


def test_factory_that_needs_arguments_is_not_called_but_named() -> None:
    def create_app(config: str) -> Flask:
        raise AssertionError("must not be called")

    with pytest.raises(NoAppException, match=r"'create_app'.*'shop:create_app\(arguments\)'"):
        find_best_app(module_with(create_app=create_app))


def test_type_error_inside_a_factory_is_the_users_and_passes_through() -> None:
    def create_app() -> Flask:
        raise TypeError("bad config")

    with pytest.raises(TypeError, match="bad config"):
        find_best_app(module_with(create_app=create_app))


def test_decorated_factory_is_judged_by_what_is_called() -> None:
    def create_app(config: str) -> Flask:
        return Flask(config)

    def with_config() -> Flask:
        return create_app("configured")

    with_config.__wrapped__ = create_app  # type: ignore[attr-defined]
    assert find_best_app(module_with(create_app=with_config)).name == "configured"


def test_several_apps_are_listed_and_none_is_taken() -> None:
    with pytest.raises(NoAppException, match=r"several applications: 'one', 'two'\. .*'shop:one'"):
        find_best_app(module_with(one=Flask("one"), two=Flask("two")))


def test_module_without_an_app_is_named() -> None:
    with pytest.raises(NoAppException, match="Module 'shop' has no application"):
        find_best_app(module_with(app="no application"))


literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.tuples(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(args=st.lists(literals), kwargs=st.dictionaries(st.sampled_from(["host", "debug", "ä"]), literals))
def test_factory_gets_exactly_the_literals_that_were_written(args: list[Any], kwargs: dict[str, Any]) -> None:
    got: list[Any] = []

    def create(*args: Any, **kwargs: Any) -> Flask:
        got.append((list(args), kwargs))
        return Flask("made")

    written = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
    assert find_app_by_string(module_with(create=create), f" create ({written}) ").name == "made"
    assert got == [(args, kwargs)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' is neither a name nor a call"),
        ("create(", r"'shop:create\(' gives no application: 'create\(' is neither"),
        ("app.wsgi_app", "is neither a name nor a call"),
        ("a.b()", "'a.b' is called, and only a plain name"),
        ("create(print)", "the argument 'print' is no literal"),
        ("nope", r"the module has no 'nope'\. It has: shop, create_app\(\)"),
        ("create_app(1)", r"'create_app' cannot be called like this, it takes \(\)"),
        ("number", "'shop:number' gives no application: what is there is of type 'int'"),
    ],
)
def test_name_that_leads_to_no_app_is_explained(name: str, message: str) -> None:
    module = module_with(shop=Flask("shop"), create_app=lambda: Flask("made"), number=1)
    with pytest.raises(NoAppException, match=message):
        find_app_by_string(module, name)


# -- finding a module -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "search_path", "name"),
    [
        ("shop.py", ".", "shop"),
        ("shop", ".", "shop"),
        ("src/shop.py", "src", "shop"),
        ("pkg/__init__.py", ".", "pkg"),
        ("pkg/__init__", ".", "pkg"),
        ("pkg/inner/views.py", ".", "pkg.inner.views"),
        ("pkg.inner", ".", "pkg.inner"),
        ("pkg/notes.txt", ".", "pkg.notes.txt"),
    ],
)
def test_path_becomes_a_module_name_and_a_search_path(folder: Path, path: str, search_path: str, name: str) -> None:
    for package in ("pkg", "pkg/inner"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    assert prepare_import(path) == name
    assert sys.path[0] == str((folder / search_path).resolve())
    prepare_import(path)
    assert sys.path.count(sys.path[0]) == 1


def test_module_that_is_not_there_is_named_with_what_is(folder: Path) -> None:
    (folder / "hello.py").write_text(HELLO)
    with pytest.raises(NoAppException, match=r"Could not import 'helo'.*hello\.py"):
        locate_app(prepare_import("helo"), None)
    assert locate_app("helo", None, raise_if_not_found=False) is None


def test_import_that_fails_inside_a_module_is_never_taken_for_a_missing_module(folder: Path) -> None:
    (folder / "shop.py").write_text("import bottles_not_installed\n")
    with pytest.raises(NoAppException, match=r"(?s)While importing 'shop'.*bottles_not_installed"):
        locate_app(prepare_import("shop"), None, raise_if_not_found=False)


@pytest.mark.parametrize("file", ["wsgi.py", "app.py"])
def test_default_files_are_found(folder: Path, environ: Any, file: str) -> None:
    (folder / file).write_text(HELLO)
    info = ScriptInfo()
    assert info.load_app() is info.load_app()
    assert info.target == f"{file[:-3]}:app"


def test_wsgi_py_comes_before_app_py(folder: Path, environ: Any) -> None:
    (folder / "app.py").write_text(HELLO)
    (folder / "wsgi.py").write_text("from app import app as application\n")
    info = ScriptInfo()
    info.load_app()
    assert info.target == "wsgi:application"


@pytest.mark.parametrize("path", ["hello", "hello.py", "hello:app", "hello.py:app"])
def test_app_is_found_by_module_and_by_file(folder: Path, environ: Any, path: str) -> None:
    (folder / "hello.py").write_text(HELLO)
    info = ScriptInfo(app_import_path=path)
    assert info.load_app().name == "hello"
    assert info.target == "hello:app"


# -- commands of an application -------------------------------------------------------------------


def test_command_of_an_app_has_its_context_also_in_callbacks_of_its_parameters(runner: CliRunner) -> None:
    app = Flask("shop")

    @app.cli.command()
    @click.argument("value", callback=lambda ctx, param, value: current_app.name + value)
    def check(value: str) -> None:
        click.echo(f"{value} {current_app.name}")

    result = runner.invoke(FlaskGroup(create_app=lambda: app), ["check", "!"])
    assert result.output == "shop! shop\n"


def test_group_under_a_group_keeps_the_context(runner: CliRunner) -> None:
    @click.group(cls=AppGroup)
    def top() -> None: ...

    @top.group()
    def inner() -> None: ...

    @inner.command()
    def with_context() -> None:
        click.echo(current_app.name)

    @inner.command(with_appcontext=False)
    def without_context() -> None:
        click.echo(bool(current_app))

    info = ScriptInfo(create_app=lambda: Flask("shop"))
    assert runner.invoke(top, ["inner", "with-context"], obj=info).output == "shop\n"
    assert runner.invoke(top, ["inner", "without-context"], obj=info).output == "False\n"


def test_any_click_command_gets_the_context_by_decorator(runner: CliRunner) -> None:
    @click.command()
    @with_appcontext
    def show() -> None:
        click.echo(current_app.name)

    assert runner.invoke(show, obj=ScriptInfo(create_app=lambda: Flask("shop"))).output == "shop\n"


def test_script_info_reaches_a_command_that_asks_for_it(runner: CliRunner) -> None:
    @click.command()
    @pass_script_info
    def show(info: ScriptInfo) -> None:
        click.echo(info.load_app().name)

    assert runner.invoke(show, obj=ScriptInfo(create_app=lambda: Flask("shop"))).output == "shop\n"


def test_commands_of_blueprints_are_grouped_as_they_say(runner: CliRunner) -> None:
    app = Flask("shop")
    for blueprint in (
        Blueprint("plain", "shop"),
        Blueprint("named", "shop", cli_group="called"),
        Blueprint("merged", "shop", cli_group=None),
    ):
        blueprint.cli.command(blueprint.name)(lambda: click.echo(current_app.name))
        app.register_blueprint(blueprint)
    group = FlaskGroup(create_app=lambda: app)
    for arguments in (["plain", "plain"], ["called", "named"], ["merged"]):
        assert runner.invoke(group, arguments).output == "shop\n", arguments


@pytest.mark.parametrize("set_debug_flag", [True, False])
def test_environment_decides_on_debug_unless_the_group_says_otherwise(runner: CliRunner, set_debug_flag: bool) -> None:
    def create_app() -> Flask:
        app = Flask("shop")
        app.debug = True
        return app

    group = FlaskGroup(create_app=create_app, set_debug_flag=set_debug_flag)
    group.command("show")(lambda: click.echo(current_app.debug))
    assert runner.invoke(group, ["show"]).output == f"{not set_debug_flag}\n"


def test_debug_option_counts_more_than_the_environment(runner: CliRunner) -> None:
    group = FlaskGroup(create_app=lambda: Flask("shop"))
    group.command("show")(lambda: click.echo(current_app.debug))
    env = {"FLASK_DEBUG": "1"}
    assert runner.invoke(group, ["show"], env=env).output == "True\n"
    assert runner.invoke(group, ["--no-debug", "show"], env=env).output == "False\n"


def test_help_lists_commands_of_the_app_and_survives_its_errors(runner: CliRunner) -> None:
    app = Flask("shop")
    app.cli.command("restock")(lambda: None)
    assert "restock" in runner.invoke(FlaskGroup(create_app=lambda: app), ["--help"]).stdout

    def broken() -> Flask:
        raise RuntimeError("no database")

    result = runner.invoke(FlaskGroup(create_app=broken), ["--help"])
    assert result.exit_code == 0
    assert "RuntimeError: no database" in result.stderr
    assert "Usage:" in result.stdout


def test_app_option_finds_commands_of_that_app(folder: Path, demijohn: Callable[..., Any]) -> None:
    (folder / "shop.py").write_text(
        "import click\n" + HELLO + "@app.cli.command()\n@click.argument('what')\n"
        "def restock(what):\n    click.echo(f'{app.name} has {what}')\n"
    )
    assert demijohn("--app", "shop", "restock", "corks", cwd=folder).stdout == "shop has corks\n"
    assert demijohn("restock", "corks", cwd=folder, FLASK_APP="shop").stdout == "shop has corks\n"


def test_installed_plugins_add_commands(folder: Path, demijohn: Callable[..., Any]) -> None:
    (folder / "cellar.py").write_text("import click\n@click.command()\ndef count():\n    click.echo('12 bottles')\n")
    info = folder / "cellar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cellar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flask.commands]\ncount = cellar:count\n")
    assert demijohn("count", cwd=folder, PYTHONPATH=str(folder)).stdout == "12 bottles\n"


# -- environment files ----------------------------------------------------------------------------


def test_env_files_are_combined_and_never_override_what_is_set(folder: Path, environ: Any) -> None:
    (folder / ".flaskenv").write_text("DJ_A=flaskenv\nDJ_B=flaskenv\nDJ_C=flaskenv\nDJ_D=flaskenv\n")
    (folder / ".env").write_text("DJ_A=env\nDJ_B=env\nDJ_C=env\n")
    (folder / "given").write_text("DJ_A=given\nDJ_B=given\nDJ_E=火腿\n", encoding="utf-8")
    environ["DJ_A"] = "set"
    assert load_dotenv("given")
    assert [environ["DJ_" + name] for name in "ABCDE"] == ["set", "given", "env", "flaskenv", "火腿"]


def test_env_file_that_is_missing_loads_nothing(folder: Path, environ: Any) -> None:
    before = dict(environ)
    assert not load_dotenv("nope", load_defaults=False)
    assert dict(environ) == before


def test_without_dotenv_the_user_is_told_that_files_wait(
    folder: Path, environ: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    assert not load_dotenv()
    assert capsys.readouterr().err == ""
    (folder / ".env").write_text("DJ_A=env\n")
    assert not load_dotenv()
    assert "Install python-dotenv" in capsys.readouterr().err
    assert "DJ_A" not in environ


def test_app_may_be_named_in_an_env_file(folder: Path, demijohn: Callable[..., Any]) -> None:
    (folder / "hello.py").write_text(HELLO)
    (folder / "production.env").write_text("FLASK_APP=hello\n")
    assert "hello" in demijohn("--env-file", "production.env", "routes", cwd=folder).stdout
    (folder / ".flaskenv").write_text("FLASK_APP=hello\n")
    assert "hello" in demijohn("routes", cwd=folder).stdout
    assert demijohn("routes", cwd=folder, FLASK_SKIP_DOTENV="1").returncode == 2


# -- run ------------------------------------------------------------------------------------------


def test_run_serves_and_says_how_to_serve_in_production(folder: Path, start: Callable[..., Any]) -> None:
    (folder / "hello.py").write_text(HELLO)
    server = start("-m", "demijohn", "--app", "hello", "run", "--port", "0", cwd=folder)
    server.wait_for(r"Serving Flask app 'hello'")
    server.wait_for(r"Debug mode: off")
    server.wait_for(r"demijohn serve -b 0\.0\.0\.0:8000 hello:app")
    url = server.wait_for(r"Running on (http://127\.0\.0\.1:\d+)")[1]
    assert urlopen(url).read() == b"Hello, World!"


def test_run_in_debug_mode_serves_the_new_code_after_a_change(
    folder: Path, start: Callable[..., Any], free_port: int
) -> None:
    (folder / "app.py").write_text(HELLO)
    url = f"http://127.0.0.1:{free_port}"
    server = start("-m", "demijohn", "run", "--debug", "--port", str(free_port), cwd=folder)
    server.wait_for("Debugger PIN")
    assert urlopen(url).read() == b"Hello, World!"
    (folder / "app.py").write_text(HELLO.replace("World", "new World"))
    server.wait_for("Restarting")
    server.wait_for("Debugger PIN")
    assert urlopen(url).read() == b"Hello, new World!"


def test_app_run_without_a_guard_does_not_block_a_command(folder: Path, demijohn: Callable[..., Any]) -> None:
    (folder / "app.py").write_text(HELLO + "app.run()\n")
    result = demijohn("routes", cwd=folder)
    assert "hello" in result.stdout
    assert "Ignoring a call to 'app.run()'" in result.stderr


def test_port_in_use_is_said(folder: Path, demijohn: Callable[..., Any]) -> None:
    (folder / "app.py").write_text(HELLO)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        result = demijohn("run", "--port", str(other.server_port), cwd=folder)
    assert result.returncode == 1
    assert f"Port {other.server_port} is in use" in result.stderr
    assert "Traceback" not in result.stderr


def params_of(*arguments: str) -> dict[str, Any]:
    return run_command.make_context("run", list(arguments)).params


def test_cert_and_key_belong_together_in_either_order() -> None:
    for arguments in (["--cert", __file__, "--key", __file__], ["--key", __file__, "--cert", __file__]):
        assert params_of(*arguments)["cert"] == (__file__, __file__)
    for arguments in (["--cert", __file__], ["--key", __file__], ["--cert", "nope.pem", "--key", __file__]):
        with pytest.raises(click.BadParameter):
            params_of(*arguments)


def test_adhoc_certificate_needs_cryptography_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(click.BadParameter, match="cryptography"):
        params_of("--cert", "adhoc")
    monkeypatch.setitem(sys.modules, "cryptography", types.ModuleType("cryptography"))
    assert params_of("--cert", "adhoc")["cert"] == "adhoc"
    with pytest.raises(click.BadParameter, match='"adhoc", "--key" is not used'):
        params_of("--cert", "adhoc", "--key", __file__)


def test_ssl_context_is_imported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setitem(sys.modules, "Contexts", module_with(Server=context))
    assert params_of("--cert", "Contexts:Server")["cert"] is context
    for name in ("not_there:context", "json"):
        with pytest.raises(click.BadParameter):
            params_of("--cert", name)
    with pytest.raises(click.BadParameter, match="SSLContext object"):
        params_of("--cert", "Contexts:Server", "--key", __file__)


def test_python_without_ssl_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ssl", None)
    with pytest.raises(click.BadParameter, match="SSL support"):
        params_of("--cert", __file__)


def test_paths_and_patterns_are_separated_as_in_path() -> None:
    given_paths = os.pathsep.join(["a.yml", "b.yml"])
    params = params_of("--extra-files", given_paths, "--exclude-patterns", given_paths)
    assert params["extra_files"] == params["exclude_patterns"] == ["a.yml", "b.yml"]


# -- shell, routes, version -----------------------------------------------------------------------


def test_shell_knows_the_app_and_what_its_processors_give(folder: Path, demijohn: Callable[..., Any]) -> None:
    (folder / "app.py").write_text(HELLO + "app.shell_context_processor(lambda: {'bottles': 12})\n")
    (folder / "startup.py").write_text("corks = 13\n")
    code = "print('<', app.name, bottles, corks, '>')\nfrom demijohn import current_app\nprint(current_app.name * 2)\n"
    result = demijohn("shell", cwd=folder, stdin=code, PYTHONSTARTUP="startup.py")
    assert "< app 12 13 >" in result.stdout
    assert "appapp" in result.stdout
    assert "App: app" in result.stderr


@pytest.fixture
def shop() -> Flask:
    app = Flask("shop")
    app.add_url_rule("/get_post/<int:x>", methods=["GET", "POST"], endpoint="yyy_get_post")
    app.add_url_rule("/zzz_post", methods=["POST"], endpoint="aaa_post")
    return app


@pytest.mark.parametrize(
    ("sort", "endpoints"),
    [
        ("endpoint", ["aaa_post", "static", "yyy_get_post"]),
        ("methods", ["static", "yyy_get_post", "aaa_post"]),
        ("rule", ["yyy_get_post", "static", "aaa_post"]),
        ("match", None),
        ("domain", None),
    ],
)
def test_routes_are_sorted_as_asked(runner: CliRunner, shop: Flask, sort: str, endpoints: list[str] | None) -> None:
    result = runner.invoke(FlaskGroup(create_app=lambda: shop), ["routes", "--sort", sort])
    listed = [line.split()[0] for line in result.output.splitlines()[2:]]
    assert listed == (endpoints or [rule.endpoint for rule in shop.url_map.iter_rules()])


def test_routes_form_a_table(runner: CliRunner, shop: Flask) -> None:
    group = FlaskGroup(create_app=lambda: shop)
    assert [line.rstrip() for line in runner.invoke(group, ["routes"]).output.splitlines()] == [
        "Endpoint      Methods    Rule",
        "------------  ---------  -----------------------",
        "aaa_post      POST       /zzz_post",
        "static        GET        /static/<path:filename>",
        "yyy_get_post  GET, POST  /get_post/<int:x>",
    ]
    assert "GET, HEAD, OPTIONS, POST" in runner.invoke(group, ["routes", "--all-methods"]).output


@pytest.mark.parametrize(("option", "title"), [("subdomain", "Subdomain"), ("host", "Host")])
def test_routes_show_domains_where_there_are_any(runner: CliRunner, option: str, title: str) -> None:
    app = Flask("shop", static_folder=None, host_matching=option == "host")
    for name in ("b", "a"):
        app.add_url_rule("/", endpoint=f"at_{name}", **{option: name})
    output = runner.invoke(FlaskGroup(create_app=lambda: app), ["routes", "--sort", "domain"]).output
    assert output.splitlines()[0].split() == ["Endpoint", "Methods", title, "Rule"]
    assert [line.split()[2] for line in output.splitlines()[2:]] == ["a", "b"]


def test_app_without_routes_says_so(runner: CliRunner) -> None:
    group = FlaskGroup(create_app=lambda: Flask("shop", static_folder=None))
    assert runner.invoke(group, ["routes"]).output == "No routes were registered.\n"


def test_version_names_what_a_bug_report_needs(folder: Path, demijohn: Callable[..., Any]) -> None:
    output = demijohn("--version", cwd=folder).stdout
    for name in ("demijohn", "Werkzeug"):
        assert f"{name} {importlib.metadata.version(name)}" in output


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "routes", "shell"])
def test_missing_app_is_one_sentence_and_no_traceback(folder: Path, demijohn: Callable[..., Any], command: str) -> None:
    (folder / "hello.py").write_text(HELLO)
    for arguments in ([command], ["--app", "nope", command]):
        result = demijohn(*arguments, cwd=folder)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
        assert "hello.py" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("source", "last_line"),
    [
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("import nope_nope\n", "ModuleNotFoundError: No module named 'nope_nope'"),
    ],
)
def test_error_in_the_users_module_shows_the_users_frames_only(
    folder: Path, demijohn: Callable[..., Any], source: str, last_line: str
) -> None:
    (folder / "app.py").write_text(source)
    result = demijohn("run", cwd=folder)
    assert result.returncode != 0
    assert result.stderr.rstrip().endswith(last_line)
    files = [line for line in result.stderr.splitlines() if line.startswith('  File "')]
    assert len(files) == 1
    assert "app.py" in files[0]


def test_unknown_command_is_refused(folder: Path, demijohn: Callable[..., Any]) -> None:
    (folder / "app.py").write_text(HELLO)
    result = demijohn("rnu", cwd=folder)
    assert result.returncode == 2
    assert "No such command 'rnu'" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["routes"],
        ["shell"],
        ["serve"],
        ["health"],
        ["image", "dockerfile"],
        ["image", "dockerignore"],
        ["image", "build"],
        ["image", "eject"],
        ["deploy", "compose"],
        ["deploy", "kubernetes"],
        ["deploy", "systemd"],
        ["deploy", "nginx"],
    ],
    ids=" ".join,
)
def test_help_of_every_command_has_an_example(folder: Path, demijohn: Callable[..., Any], command: list[str]) -> None:
    result = demijohn(*command, "--help", cwd=folder)
    assert result.returncode == 0
    assert "example" in result.stdout.lower()
    assert f"demijohn {' '.join(command)}" in result.stdout


# -- serve ----------------------------------------------------------------------------------------


def test_serve_has_every_flag_of_the_settings(folder: Path, demijohn: Callable[..., Any]) -> None:
    output = demijohn("serve", "--help", cwd=folder).stdout
    missing = [spelling for flag in FLAGS for spelling in flag.spellings if spelling not in output]
    assert missing == []


def test_serve_and_health_start_without_the_framework(folder: Path, start: Callable[..., Any]) -> None:
    (folder / "probe.py").write_text(
        "import atexit, json, sys\n"
        "from demijohn.__main__ import main\n"
        "atexit.register(lambda: print('modules:', json.dumps(sorted(sys.modules))))\n"
        "main()\n"
    )
    for arguments in (["serve", "nope:app", "-b", "unix:/nope/nope.sock"], ["health", "http://127.0.0.1:1/"]):
        probe = start("probe.py", *arguments, cwd=folder)
        modules = set(json.loads(probe.wait_for("modules: (.*)")[1]))
        assert "demijohn.cli_server" in modules
        assert modules.isdisjoint({"click", "demijohn.app", "demijohn.cli", "jinja2", "werkzeug"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name the application to serve, for example app:app"),
        (["-w", "none", "app:app"], "-w/--workers must be a whole number"),
        (["--wrokers", "2", "app:app"], "unrecognized arguments: --wrokers"),
    ],
)
def test_serve_explains_what_is_wrong_in_one_sentence(
    folder: Path, demijohn: Callable[..., Any], arguments: list[str], sentence: str
) -> None:
    result = demijohn("serve", *arguments, cwd=folder)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_serve_takes_flags_behind_options_of_the_group_too(folder: Path, demijohn: Callable[..., Any]) -> None:
    result = demijohn("--no-debug", "serve", "-w", "none", "app:app", cwd=folder)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: -w/--workers must be")


@pytest.mark.parametrize("how", ["argument", "option", "environment"])
def test_serve_finds_its_app_as_run_does(folder: Path, start: Callable[..., Any], free_port: int, how: str) -> None:
    (folder / "hello.py").write_text(HELLO)
    serve = ["serve", "-b", f"127.0.0.1:{free_port}"]
    arguments = {
        "argument": [*serve, "hello:app"],
        "option": ["--app", "hello:app", *serve],
        "environment": serve,
    }[how]
    environment = {"FLASK_APP": "hello:app"} if how == "environment" else {}
    server = start("-m", "demijohn", *arguments, cwd=folder, **environment)
    server.wait_for(str(free_port))
    assert urlopen(f"http://127.0.0.1:{free_port}/").read() == b"Hello, World!"
    assert server.stop() == 0


# -- health ---------------------------------------------------------------------------------------


@pytest.fixture
def answering() -> Iterator[str]:
    """The URL of a server that answers `/STATUS` with that status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.strip("/") or 200))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (302, 0), (401, 0), (404, 0), (500, 1), (503, 1)])
def test_health_is_an_answer_under_500(
    folder: Path, demijohn: Callable[..., Any], answering: str, status: int, code: int
) -> None:
    result = demijohn("health", f"{answering}/{status}", cwd=folder)
    assert result.returncode == code
    assert (result.stderr or result.stdout) == f"{answering}/{status} answers {status}\n"


def test_health_without_a_url_asks_the_port_of_the_environment(
    folder: Path, demijohn: Callable[..., Any], answering: str
) -> None:
    assert demijohn("health", cwd=folder, PORT=answering.rpartition(":")[2]).returncode == 0


def test_health_of_nothing_is_one_sentence(folder: Path, demijohn: Callable[..., Any], free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    result = demijohn("health", url, cwd=folder)
    assert result.returncode == 1
    assert result.stderr == f"{url} does not answer: Connection refused\n"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host/", "http://", "http://host:port/"])
def test_health_refuses_what_is_no_url(folder: Path, demijohn: Callable[..., Any], url: str) -> None:
    result = demijohn("health", url, cwd=folder)
    assert result.returncode == 2
    assert "is not a URL that can be asked" in result.stderr
    assert result.stderr.count("\n") == 1
