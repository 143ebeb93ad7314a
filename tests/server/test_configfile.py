"""Settings from files, from gunicorn's variable, and what is taken without an effect."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demijohn.server.configfile import read_files
from demijohn.server.gunicorn_names import ACCEPTED
from demijohn.server.settings import FLAGS, SettingError, Settings, from_values

APP = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'served']\n"


def settings_of(location: str | None, directory: Path) -> Settings:
    return from_values({}, {}, read_files(location, str(directory)).given)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write files into a directory of their own: `written(gunicorn_conf_py="workers = 2")`."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            stem, _, suffix = name.rpartition("_")
            (tmp_path / f"{stem.replace('_', '.')}.{suffix}").write_text(text)
        return tmp_path

    return write


# -- files ------------------------------------------------------------------------------------------


def test_gunicorns_file_is_read_where_it_stands_with_gunicorns_names(written) -> None:
    directory = written(
        gunicorn_conf_py="import multiprocessing\n"
        "bind = '127.0.0.1:8001, unix:/run/a'\n"
        "workers = min(multiprocessing.cpu_count(), 1) + 1\n"
        "keepalive = 75\npreload_app = True\naccesslog = '-'\nraw_env = ['A=1', 'B=2']\npidfile = None\n"
    )
    settings = settings_of(None, directory)
    assert settings.bind == ("127.0.0.1:8001", "unix:/run/a")
    assert (settings.workers, settings.keep_alive_s, settings.preload) == (2, 75.0, True)
    assert (settings.access_log, settings.environment, settings.pid_file) == ("-", ("A=1", "B=2"), None)


def test_a_file_of_our_own_name_comes_before_gunicorns(written) -> None:
    directory = written(gunicorn_conf_py="workers = 2", demijohn_conf_py="workers = 3")
    assert settings_of(None, directory).workers == 3


def test_the_table_of_pyproject_takes_flags_as_they_are_spelled_and_counts_less_than_a_file(written) -> None:
    directory = written(
        pyproject_toml="[tool.demijohn.serve]\nkeep-alive = 75\ngraceful_timeout = 3\nworkers = 4\nbind = '[::1]:1'\n",
        gunicorn_conf_py="workers = 2",
    )
    settings = settings_of(None, directory)
    assert (settings.keep_alive_s, settings.graceful_timeout_s, settings.workers) == (75.0, 3.0, 2)
    assert settings.bind == ("[::1]:1",)


def test_a_pyproject_of_other_tools_sets_nothing(written) -> None:
    assert settings_of(None, written(pyproject_toml="[tool]\ndemijohn = 3\n")) == Settings()


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_a_file_may_be_named(written, tmp_path: Path, prefix: str) -> None:
    directory = written(gunicorn_conf_py="workers = 2", other_py="workers = 5")
    assert settings_of(f"{prefix}{directory}/other.py", directory).workers == 5


def test_a_module_may_be_named(written, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = written(some_settings_for_a_test_py="workers = 5")
    (directory / "some.settings.for.a.test.py").rename(directory / "some_settings_for_a_test.py")
    monkeypatch.syspath_prepend(directory)
    assert settings_of("python:some_settings_for_a_test", directory).workers == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("workers = 0", r"gunicorn.conf.py: workers must be a whole number, 1 or more, not 0\.$"),
        ("workers = 1 / 0", r"gunicorn.conf.py failed.*: ZeroDivisionError: division by zero\.$"),
        ("def (", r"gunicorn.conf.py failed: .*SyntaxError.*\.$"),
        ("raise SystemExit(3)", r"gunicorn.conf.py failed.*: SystemExit: 3\.$"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_sentence(written, text: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence) as caught:
        settings_of(None, written(gunicorn_conf_py=text))
    assert "\n" not in str(caught.value)


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"There is no configuration file nowhere\.py"):
        read_files("nowhere.py", str(tmp_path))


def test_helpers_in_a_python_file_are_its_own_business(written) -> None:
    directory = written(gunicorn_conf_py="import os\ncores = 4\ndef worker_count():\n    return cores\n_private = 1\n")
    assert read_files(None, str(directory)).notes == []


def test_a_mistyped_name_in_a_python_file_is_noted(written) -> None:
    (note,) = read_files(None, str(written(gunicorn_conf_py="wrokers = 4"))).notes
    assert note.endswith("gunicorn.conf.py: there is no setting called wrokers; did you mean workers?")


def test_every_unknown_name_in_the_table_of_pyproject_is_noted(written) -> None:
    directory = written(pyproject_toml="[tool.demijohn.serve]\nflux = 1\n")
    assert read_files(None, str(directory)).notes == [
        "pyproject.toml [tool.demijohn.serve]: there is no setting called flux, so it has no effect."
    ]


def test_a_setting_without_effect_is_noted_with_what_happens_instead(written) -> None:
    directory = written(gunicorn_conf_py="worker_class = 'gevent'\nspew = False\nworker_tmp_dir = '/dev/shm'\n")
    notes = [note.partition(": ")[2] for note in read_files(None, str(directory)).notes]
    assert notes == [
        f"worker_class has no effect: {ACCEPTED['worker_class'].note}",
        "worker_tmp_dir has no effect: signs of life are given in shared memory, not by a file.",
    ]


def test_no_name_is_both_a_setting_and_one_without_effect() -> None:
    ours = {flag.gunicorn for flag in FLAGS} | {spelling for flag in FLAGS for spelling in flag.spellings}
    assert not ours & {name for each in ACCEPTED.values() for name in (each.name, *each.spellings)}


def test_notes_are_sentences() -> None:
    for each in ACCEPTED.values():
        assert each.note.endswith(".")
        assert each.note_on("something") == f"{each.name} has no effect: {each.note}"
        assert each.note_on(None) is None


# -- as the command sees them ---------------------------------------------------------------------------


def printed_config(demijohn: Callable[..., Any], folder: Path, *arguments: str, **environ: str) -> dict[str, Any]:
    """Return what `--print-config` printed, run as the configuration file that it is."""
    done = demijohn("serve", "--print-config", *arguments, cwd=folder, **environ)
    assert done.returncode == 0, done.stderr
    (folder / "printed.py").write_text(done.stdout)
    return runpy.run_path(str(folder / "printed.py"))


def test_what_counts_more(written, demijohn) -> None:
    folder = written(shop_py=APP, gunicorn_conf_py="workers = 2\nthreads = 2\nbacklog = 2\ntimeout = 2\nlogger = 1\n")
    found = printed_config(
        demijohn,
        folder,
        "shop:app",
        "-w",
        "5",
        DEMIJOHN_WORKERS="4",
        DEMIJOHN_THREADS="4",
        GUNICORN_CMD_ARGS="--workers 3 --threads=3 --backlog 3",
        WEB_CONCURRENCY="1",
        PORT="1111",
    )
    assert [found[name] for name in ("workers", "threads", "backlog", "timeout")] == [5, 4, 3, 2.0]
    assert found["bind"] == ["0.0.0.0:1111"]


def test_a_file_counts_more_than_variables_shared_with_others(written, demijohn) -> None:
    folder = written(shop_py=APP, gunicorn_conf_py="workers = 2\n")
    assert printed_config(demijohn, folder, "shop:app", WEB_CONCURRENCY="7")["workers"] == 2


def test_the_application_may_be_named_by_the_file(written, demijohn) -> None:
    folder = written(shop_py=APP, conf_py="wsgi_app = 'shop:app'\n")
    assert printed_config(demijohn, folder, "-c", "conf.py")["wsgi_app"] == "shop:app"
    assert printed_config(demijohn, folder, GUNICORN_CMD_ARGS="-c conf.py")["wsgi_app"] == "shop:app"
    assert printed_config(demijohn, folder, DEMIJOHN_CONFIG="conf.py")["wsgi_app"] == "shop:app"


def test_the_printed_configuration_gives_the_same_settings_again(written, demijohn) -> None:
    folder = written(shop_py=APP, gunicorn_conf_py="keepalive = 7.5\nbind = ['[::1]:80', 'unix:/a']\nchdir = '.'\n")
    first = demijohn("serve", "--print-config", "shop:app", cwd=folder).stdout
    (folder / "gunicorn.conf.py").write_text(first)
    assert demijohn("serve", "--print-config", cwd=folder).stdout == first


def test_the_kernel_sends_files_unless_told_not_to(written, demijohn) -> None:
    folder = written(shop_py=APP)
    assert printed_config(demijohn, folder, "shop:app")["sendfile"] is True
    assert printed_config(demijohn, folder, "shop:app", "--no-sendfile")["sendfile"] is False
    assert printed_config(demijohn, folder, "shop:app", DEMIJOHN_SENDFILE="false")["sendfile"] is False
    assert printed_config(demijohn, folder, "shop:app", SENDFILE="no")["sendfile"] is False
    written(gunicorn_conf_py="sendfile = False\n")
    assert printed_config(demijohn, folder, "shop:app")["sendfile"] is False


def test_check_config_says_that_all_is_well_by_its_exit_code(written, demijohn) -> None:
    done = demijohn("serve", "--check-config", "shop:app", cwd=written(shop_py=APP))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("files", "status", "sentence"),
    [
        ({"shop_py": "raise RuntimeError('half written')\n"}, 3, "Importing shop failed: RuntimeError: half written"),
        ({"shop_py": APP, "gunicorn_conf_py": "workers = 'many'\n"}, 2, "workers must be a whole number, 1 or more"),
        ({"shop_py": APP, "gunicorn_conf_py": "chdir = '/nowhere'\n"}, 1, "Cannot change to the directory /nowhere"),
    ],
)
def test_check_config_says_what_is_wrong(written, demijohn, files: dict[str, str], status: int, sentence: str) -> None:
    done = demijohn("serve", "--check-config", "shop:app", cwd=written(**files))
    assert done.returncode == status
    assert sentence in done.stderr


def test_flags_of_gunicorn_without_effect_are_taken_and_noted_in_the_log(serve, written) -> None:
    server = serve("shop:app", "-k", "gevent", "--control-socket", "x", "--spew", cwd=written(shop_py=APP))
    server.wait_for(r"\[WARNING\] worker_class has no effect: there is one kind of worker")
    server.wait_for(r"\[WARNING\] control_socket has no effect")
    server.wait_until_ready()
    assert server.get("/").text == "served"
    assert "spew has no effect" in server.log


def test_the_default_worker_class_is_nothing_to_talk_about(demijohn, written) -> None:
    done = demijohn("serve", "--check-config", "-k", "gthread", "shop:app", cwd=written(shop_py=APP))
    assert done.stderr == ""


def test_every_setting_of_gunicorn_is_known() -> None:
    known = pytest.importorskip("gunicorn.config").KNOWN_SETTINGS
    of_the_command = {"config", "wsgi_app", "check_config", "print_config"}
    ours = {flag.gunicorn for flag in FLAGS} | set(ACCEPTED) | of_the_command
    assert {setting.name for setting in known} - ours == set()


def test_every_flag_of_gunicorn_is_taken_with_or_without_a_value_as_there() -> None:
    known = pytest.importorskip("gunicorn.config").KNOWN_SETTINGS
    of_the_command = {"-c", "--config", "--check-config", "--print-config"}
    switches = {spelling for flag in FLAGS if flag.is_switch for spelling in flag.spellings}
    switches |= {spelling for each in ACCEPTED.values() if not each.takes_value for spelling in each.spellings}
    ours = {spelling for flag in FLAGS for spelling in flag.spellings}
    ours |= {spelling for each in ACCEPTED.values() for spelling in each.spellings}
    for setting in known:
        for spelling in setting.cli or ():
            if spelling not in of_the_command:
                assert spelling in ours, spelling
                takes_none = setting.action in ("store_true", "store_false", "store_const")
                assert (spelling in switches) == takes_none, spelling
