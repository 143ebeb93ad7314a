"""Settings: from flags, the environment or the defaults, and checked."""

from __future__ import annotations

import sys

import pytest

from demijohn.server.settings import FLAGS, SettingError, Settings, from_values


def test_without_anything_given_the_defaults_hold() -> None:
    assert from_values({}, {}) == Settings()


def test_a_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    environ = {"WEB_CONCURRENCY": "3", "DEMIJOHN_THREADS": "5"}
    settings = from_values({"workers": "2", "threads": None}, environ)
    assert (settings.workers, settings.threads, settings.backlog) == (2, 5, 2048)


def test_our_own_variable_wins_over_the_one_shared_with_others() -> None:
    assert from_values({}, {"WEB_CONCURRENCY": "3", "DEMIJOHN_WORKERS": "4"}).workers == 4


def test_an_empty_variable_counts_as_not_set() -> None:
    assert from_values({}, {"WEB_CONCURRENCY": ""}).workers == 1


def test_port_means_every_address_of_the_machine() -> None:
    assert from_values({}, {"PORT": "8080"}).bind == ("0.0.0.0:8080",)


def test_bind_may_be_given_several_times() -> None:
    assert from_values({"bind": ["127.0.0.1:1", "unix:/a"]}, {}).bind == ("127.0.0.1:1", "unix:/a")
    assert from_values({}, {"DEMIJOHN_BIND": "127.0.0.1:1,unix:/a"}).bind == ("127.0.0.1:1", "unix:/a")


@pytest.mark.parametrize(("text", "number"), [("65536", 65536), ("64K", 65536), ("10m", 10 * 1024 * 1024), (7, 7)])
def test_sizes_may_be_given_with_a_unit(text: object, number: int) -> None:
    assert from_values({"limit_request_body": text}, {}).limit_request_body == number


def test_a_line_limit_of_zero_is_no_limit_as_in_gunicorn() -> None:
    assert from_values({"limit_request_line": "0"}, {}).limit_request_line == sys.maxsize


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("workers", "0", "-w/--workers must be a whole number, 1 or more, not '0'."),
        ("workers", "two", "-w/--workers must be a whole number, 1 or more, not 'two'."),
        ("timeout_s", "-1", "-t/--timeout must be a number of seconds, 0 or more, not '-1'."),
        ("timeout_s", "nan", "-t/--timeout must be a number of seconds, 0 or more, not 'nan'."),
        ("timeout_s", "inf", "-t/--timeout must be a number of seconds, 0 or more, not 'inf'."),
        ("log_level", "loud", "--log-level must be one of debug, info, warning, error, critical, not 'loud'."),
        ("environment", "A", "-e/--env must be NAME=VALUE, not 'A'."),
        ("bind", "", "-b/--bind must not be empty, not ''."),
        ("body_buffer_bytes", "1T", "--body-buffer must be a number of bytes, such as 65536, 64K or 10M, not '1T'."),
        ("preload", "maybe", "--preload must be true or false, not 'maybe'."),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_flag_in_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingError) as caught:
        from_values({name: value}, {})
    assert str(caught.value) == sentence


def test_a_variable_that_cannot_be_used_is_named() -> None:
    with pytest.raises(SettingError, match=r"^WEB_CONCURRENCY must be a whole number"):
        from_values({}, {"WEB_CONCURRENCY": "auto"})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(SettingError, match="no setting called wrokers"):
        from_values({"wrokers": 2}, {})


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_setting_has_a_flag_of_its_own_a_description_and_a_default_that_passes_its_check(flag) -> None:
    others = {spelling for other in FLAGS if other is not flag for spelling in other.spellings}
    assert not others & set(flag.spellings)
    assert flag.doc.endswith((".", "]"))
    if flag.default not in (None, ()):
        assert getattr(from_values({flag.name: flag.default}, {}), flag.name) == flag.default


def test_help_tells_the_default_with_its_unit() -> None:
    help_of = {flag.name: flag.help for flag in FLAGS}
    assert help_of["keep_alive_s"].endswith("[default: 5 s]")
    assert help_of["body_buffer_bytes"].endswith("[default: 1048576 bytes]")
    assert "default" not in help_of["pid_file"]
