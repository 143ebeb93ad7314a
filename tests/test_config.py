"""Where settings come from, and what is taken."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from demijohn import Config, Flask
from demijohn.config import ConfigAttribute


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path)


def test_only_names_in_upper_case_are_settings(config: Config, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("helper = 6\nANSWER = helper * 7\nMixed = 1\n")
    assert config.from_pyfile("settings.py")
    config.from_mapping({"A": 1, "b": 2}, C=3, d=4)
    config.from_object(type("Defaults", (), {"E": 5, "f": 6}))
    assert config == {"ANSWER": 42, "A": 1, "C": 3, "E": 5}


def test_a_settings_file_knows_where_it_is(config: Config, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("HERE = __file__")
    config.from_pyfile("settings.py")
    assert config["HERE"] == str(tmp_path / "settings.py")


def test_what_a_settings_file_raises_names_its_line(config: Config, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("A = 1\nB = 1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        config.from_pyfile("settings.py")
    assert str(caught.traceback[-1].path) == str(tmp_path / "settings.py")
    assert caught.traceback[-1].lineno == 1
    assert "A" not in config


def test_an_object_can_be_named_by_its_import_name(config: Config) -> None:
    config.from_object("string")
    assert config == {}
    config.from_object("errno")
    assert config["ENOENT"] == 2
    with pytest.raises(ImportError, match="no_such_module"):
        config.from_object("no_such_module.settings")


def test_properties_of_settings_need_an_instance(config: Config) -> None:
    class Settings:
        HOST = "db"

        @property
        def URI(self) -> str:
            return f"postgres://{self.HOST}"

    config.from_object(Settings())
    assert config["URI"] == "postgres://db"


@pytest.mark.parametrize(
    ("name", "content", "load", "text"),
    [
        ("settings.json", '{"KEY": "value", "other": 1}', json.load, True),
        ("settings.toml", 'KEY = "value"\nother = 1\n', tomllib.load, False),
    ],
)
def test_data_files_are_read_by_any_loader(
    config: Config, tmp_path: Path, name: str, content: str, load: object, text: bool
) -> None:
    (tmp_path / name).write_text(content)
    assert config.from_file(name, load=load, text=text)  # type: ignore[arg-type]
    assert config == {"KEY": "value"}


def test_a_missing_file_is_named_unless_it_is_optional(config: Config, tmp_path: Path) -> None:
    assert not config.from_pyfile("missing.py", silent=True)
    assert not config.from_file("missing.json", load=json.load, silent=True)
    assert not config.from_pyfile(tmp_path, silent=True)
    for load in (lambda: config.from_pyfile("missing.py"), lambda: config.from_file("missing.py", load=json.load)):
        with pytest.raises(FileNotFoundError, match=r"Unable to load configuration file .*missing.py"):
            load()


def test_an_unreadable_file_is_no_missing_file(config: Config, tmp_path: Path) -> None:
    (tmp_path / "loop.py").symlink_to("loop.py")
    with pytest.raises(OSError, match="Unable to load configuration file"):
        config.from_pyfile("loop.py", silent=True)


def test_a_variable_can_name_the_file(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.cfg").write_text("KEY = 1")
    monkeypatch.delenv("APP_SETTINGS", raising=False)
    with pytest.raises(RuntimeError, match="'APP_SETTINGS' is not set"):
        config.from_envvar("APP_SETTINGS")
    assert not config.from_envvar("APP_SETTINGS", silent=True)
    monkeypatch.setenv("APP_SETTINGS", "settings.cfg")
    assert config.from_envvar("APP_SETTINGS")
    assert config["KEY"] == 1
    monkeypatch.setenv("APP_SETTINGS", "missing.cfg")
    with pytest.raises(FileNotFoundError):
        config.from_envvar("APP_SETTINGS")
    assert not config.from_envvar("APP_SETTINGS", silent=True)


def test_variables_with_a_prefix_are_read_as_json_or_else_as_text(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("FLASK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLASK_A", "1")
    monkeypatch.setenv("FLASK_B", '{"x": [true, null]}')
    monkeypatch.setenv("FLASK_C", "not json")
    monkeypatch.setenv("OTHER_D", "1")
    assert config.from_prefixed_env()
    assert config == {"A": 1, "B": {"x": [True, None]}, "C": "not json"}
    config.from_prefixed_env("OTHER", loads=str)
    assert config["D"] == "1"


def test_double_underscores_reach_into_dictionaries(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config["DB"] = {"host": "localhost", "pool": {"size": 1}}
    monkeypatch.setenv("TEST_DB__pool__size", "5")
    monkeypatch.setenv("TEST_DB__user", "me")
    monkeypatch.setenv("TEST_NEW__a__b", "1")
    config.from_prefixed_env("TEST")
    assert config["DB"] == {"host": "localhost", "pool": {"size": 5}, "user": "me"}
    assert config["NEW"] == {"a": {"b": 1}}


def test_a_namespace_is_a_set_of_keyword_arguments(config: Config) -> None:
    config.update(STORE_TYPE="fs", STORE_PATH="/var", OTHER=1)
    assert config.get_namespace("STORE_") == {"type": "fs", "path": "/var"}
    assert config.get_namespace("STORE_", lowercase=False) == {"TYPE": "fs", "PATH": "/var"}
    assert config.get_namespace("STORE_", trim_namespace=False) == {"store_type": "fs", "store_path": "/var"}


def test_pairs_are_a_mapping_and_anything_else_is_refused(config: Config) -> None:
    assert config.from_mapping([("A", 1), ("b", 2)])  # type: ignore[arg-type]
    assert config == {"A": 1}
    assert config.from_mapping()
    with pytest.raises(TypeError):
        config.from_mapping(1)  # type: ignore[arg-type]


def test_an_attribute_of_the_application_is_a_setting() -> None:
    class App(Flask):
        limit = ConfigAttribute[int]("LIMIT", get_converter=int)

    app = App(__name__)
    app.config["LIMIT"] = "5"
    assert app.limit == 5
    app.limit = 7
    assert app.config["LIMIT"] == 7
    assert isinstance(App.limit, ConfigAttribute)


def test_a_configuration_shows_what_it_holds(config: Config) -> None:
    config["A"] = 1
    assert repr(config) == "<Config {'A': 1}>"
