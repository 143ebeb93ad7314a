"""`import flask` means demijohn: in a program, in what it starts, in a virtual environment."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import pytest

import demijohn

MODULES = [
    "app", "blueprints", "cli", "config", "ctx", "debughelpers", "globals", "helpers", "json", "json.provider",
    "json.tag", "logging", "sansio", "sansio.app", "sansio.blueprints", "sansio.scaffold", "sessions", "signals",
    "templating", "testing", "typing", "views", "wrappers",
]  # fmt: skip


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, timeout=60)


def dropin(*arguments: str | Path) -> str:
    """Run `python -m demijohn.dropin` and return what it prints."""
    done = run(sys.executable, "-m", "demijohn.dropin", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def script(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(text)
        return path

    return write


def test_a_script_gets_demijohn_for_flask_and_its_own_arguments(script) -> None:
    path = script("import sys, flask; print(flask.Flask.__module__, sys.argv[1:], __name__)")

    assert dropin(path, "a", "-b") == "demijohn.app ['a', '-b'] __main__\n"


def test_a_module_can_be_run_too(script) -> None:
    done = run(sys.executable, "-m", "demijohn.dropin", "-m", "timeit", "-n1", "-r1", "import flask; flask.Flask")

    assert "loop" in done.stdout, done.stderr


def test_every_module_of_flask_is_there_and_is_demijohns(script) -> None:
    path = script(
        "import importlib, flask\n"
        f"for name in {MODULES}:\n"
        "    module = importlib.import_module('flask.' + name)\n"
        "    parent, _, last = ('flask.' + name).rpartition('.')\n"
        "    assert getattr(importlib.import_module(parent), last) is module, name\n"
        "    assert name == 'sansio' or module.__spec__.name.startswith('demijohn.'), name\n"
        "import demijohn.app, flask.app, flask.sansio.app\n"
        "assert flask.app is demijohn.app is flask.sansio.app\n"
        "import flask_jsonrpc, demijohn.jsonrpc\n"
        "assert flask_jsonrpc is demijohn.jsonrpc\n"
        "print('all')"
    )

    assert dropin(path) == "all\n"


def test_a_module_that_flask_has_not_is_missed_under_its_own_name(script) -> None:
    path = script("try:\n    import flask.nope\nexcept ModuleNotFoundError as error:\n    print(error, error.name)")

    assert dropin(path) == "No module named 'flask.nope' flask.nope\n"


def test_importlib_metadata_knows_flask(script) -> None:
    path = script(
        "from importlib.metadata import distribution, entry_points, version\n"
        "print(version('flask'), version('Flask'), version('Flask_JSONRPC'), distribution('flask').metadata['Name'])\n"
        "print([e.value for e in entry_points(group='console_scripts', name='flask')])"
    )

    assert dropin(path) == "3.1.3 3.1.3 4.0.0 flask\n['flask.cli:main']\n"


def test_interpreters_and_commands_started_from_it_are_included(script) -> None:
    path = script(
        "import subprocess, sys\n"
        "run = lambda *c: subprocess.run(c, capture_output=True, text=True).stdout.split()\n"
        "print(run(sys.executable, '-c', 'import flask; print(flask.__name__)'))\n"
        "print(run(sys.executable, '-m', 'flask', '--version')[4:6])\n"
        "print(run('flask', '--version')[4:6])\n"
    )

    assert dropin(path) == "['demijohn']\n['Flask', '3.1.3']\n['Flask', '3.1.3']\n"


def test_a_real_flask_imported_before_is_reported(tmp_path: Path, script) -> None:
    (tmp_path / "flask.py").write_text("")
    done = run(sys.executable, script("import flask, demijohn.dropin; demijohn.dropin.install()"))

    assert done.returncode == 1
    assert "ImportError: 'flask' has been imported already" in done.stderr
    assert str(tmp_path) in done.stderr


def test_flasks_version_is_the_release_whose_api_it_is(script) -> None:
    assert dropin(script("import flask; print(flask.__version__)")) == "3.1.3\n"


def test_installing_twice_is_installing_once(script) -> None:
    path = script(
        "import sys, demijohn.dropin as d\n"
        "n = len(sys.meta_path)\n"
        "d.install()\n"
        "d.install()\n"
        "print(len(sys.meta_path) - n)"
    )

    assert run(sys.executable, path).stdout == "1\n"


def test_the_server_can_serve_an_application_that_imports_flask(start, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import flask\napp = flask.Flask(__name__)\n@app.route('/')\ndef index(): return flask.Flask.__module__\n"
    )
    server = start("-m", "demijohn", "serve", "--dropin", "-b", "127.0.0.1:0", "-w", "1", "shop:app", cwd=tmp_path)
    url = server.wait_for(r"Listening at: (\S+)")[1]
    server.wait_for("Worker ready")

    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"demijohn.app"


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "usage:"), (["-m"], "name of a module"), (["nope.py"], "no file 'nope.py'")]
)
def test_nothing_to_run_is_said_in_a_sentence(arguments: list[str], message: str) -> None:
    done = run(sys.executable, "-m", "demijohn.dropin", *arguments)

    assert done.returncode == 2
    assert message in done.stderr


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a virtual environment that can import what this one can; nothing is downloaded."""
    home = tmp_path / "env"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site / "known.pth").write_text(
        "\n".join(path for path in [str(Path(demijohn.__file__).parents[1]), *sys.path] if path)
    )
    return python


def test_a_virtual_environment_can_be_switched(python: Path) -> None:
    without = run(python, "-c", "import flask").returncode

    enabled = run(python, "-m", "demijohn", "dropin", "enable")
    assert enabled.returncode == 0, enabled.stderr
    assert run(python, "-c", "import flask; print(flask.__name__)").stdout == "demijohn\n"
    assert "Flask 3.1.3" in run(python.with_name("flask"), "--version").stdout
    assert "enabled" in run(python, "-m", "demijohn", "dropin", "status").stdout

    assert run(python, "-m", "demijohn", "dropin", "disable").returncode == 0
    assert run(python, "-c", "import flask").returncode == without == 1
    assert not (python.with_name("flask")).exists()
    assert "not enabled" in run(python, "-m", "demijohn", "dropin", "status").stdout


def test_a_plugin_that_needs_flask_does_not_keep_it_from_being_enabled(python: Path) -> None:
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site / "plugin.py").write_text("import click, flask\n@click.command()\ndef greet(): click.echo(flask.__name__)\n")
    information = site / "plugin-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[flask.commands]\ngreet = plugin:greet\n")

    assert run(python, "-m", "demijohn", "dropin", "enable").returncode == 0
    assert run(python, "-m", "flask", "greet").stdout == "demijohn\n"
    assert run(python, "-m", "demijohn", "greet").stdout == "demijohn\n"


def test_a_type_checker_takes_flask_for_demijohn_while_that_is_enabled(python: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import flask, flask_jsonrpc\n"
        "from flask.json.provider import JSONProvider\n"
        "from flask.sansio.app import App\n"
        "from flask.typing import ResponseReturnValue\n"
        "from flask.wrappers import Response\n"
        "reveal_type(flask.Flask('x').test_client())\n"
        "reveal_type(flask.json.dumps)\n"
        "reveal_type(flask_jsonrpc.JSONRPC)\n"
        "reveal_type([JSONProvider, Response])\n"
        "flask.Flask(import_nam='x')\n"
    )
    mypy = (sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path}", "--python-executable", python)

    run(python, "-m", "demijohn", "dropin", "enable")
    enabled = run(*mypy, program).stdout
    assert 'Revealed type is "demijohn.testing.FlaskClient"' in enabled
    assert "demijohn.jsonrpc" in enabled
    assert 'Unexpected keyword argument "import_nam" for "Flask"' in enabled
    assert "import-not-found" not in enabled
    assert "has no attribute" not in enabled

    run(python, "-m", "demijohn", "dropin", "disable")
    assert "import-not-found" in run(*mypy, program).stdout


WATCH = """
import importlib.util, sys

# As wrapt.when_imported, which the agents of Datadog and New Relic use: they are told by the name of the module.
class Watch:
    def __init__(self, *names):
        self.names, self.asked, self.seen = names, set(), []
    def find_spec(self, name, path=None, target=None):
        if name not in self.names or name in self.asked:
            return None
        self.asked.add(name)
        try:
            spec = importlib.util.find_spec(name)
            spec.loader = Loader(spec.loader, self)
            return spec
        finally:
            self.asked.discard(name)

class Loader:
    def __init__(self, loader, watch):
        self.loader, self.watch = loader, watch
    def __getattr__(self, name):
        return getattr(self.loader, name)
    def create_module(self, spec):
        return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        self.watch.seen.append(module.__name__)
"""


@pytest.mark.parametrize("agent_is_first", [True, False])
def test_agents_that_wait_for_modules_of_flask_are_told(script, agent_is_first: bool) -> None:
    watching = "watch = Watch('flask', 'flask.app', 'flask.sansio.scaffold', 'flask.nope')\n"
    watching += "sys.meta_path.insert(0, watch)\n"
    installing = "import demijohn.dropin\ndemijohn.dropin.install()\n"
    first, second = (watching, installing) if agent_is_first else (installing, watching)
    path = script(
        f"{WATCH}{first}{second}"
        "import flask, demijohn.app, demijohn.scaffold\n"
        "print(*watch.seen)\n"
        "assert flask is sys.modules['demijohn'] and flask.app is demijohn.app\n"
        "assert flask.sansio.scaffold is demijohn.scaffold\n"
        "assert flask.Flask is demijohn.app.Flask and flask.views.__name__ == 'demijohn.views'\n"
    )

    done = run(sys.executable, path)
    assert done.stdout == "flask.app flask.sansio.scaffold flask\n", done.stderr
