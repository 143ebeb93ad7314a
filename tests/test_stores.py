"""All stores keep the same promises; what is built on them is shared by whoever uses the same one."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from demijohn import Flask, session
from demijohn.shared import (
    Cache,
    MemoryStore,
    RateLimit,
    SQLiteStore,
    Store,
    StoredSessions,
    StoreUnavailable,
    open_store,
)
from demijohn.shared.ratelimit import parse_rate
from demijohn.shared.stores import store_url


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "sqlite":
        return open_store(f"sqlite://{tmp_path}/deep/down/state.sqlite3")
    return open_store(f"redis://127.0.0.1:{request.getfixturevalue('redis_server').port}/0")


def test_a_store_keeps_bytes_by_key(store: Store) -> None:
    assert store.get("a") is None
    store.set("a", b"1")
    store.set("b*[", b"\0\xff")
    store.set("a", b"2")
    assert (store.get("a"), store.get("b*[")) == (b"2", b"\0\xff")
    assert not store.add("a", b"3")
    assert store.add("c", b"3")
    assert sorted(store.keys("")) == ["a", "b*[", "c"]
    assert store.keys("b*") == ["b*["]
    store.delete("a")
    store.delete("never there")
    assert store.get("a") is None
    assert store.add("a", b"4")


def test_a_value_is_gone_when_its_time_is_over(store: Store) -> None:
    store.set("short", b"1", ttl_s=0.05)
    store.set("long", b"1", ttl_s=1000)
    over = threading.Event()
    while store.get("short") is not None:
        over.wait(0.01)
    assert store.keys("") == ["long"]
    assert store.add("short", b"2", ttl_s=1000)


def test_counting_is_exact_for_all_who_count(store: Store) -> None:
    def count() -> None:
        for _ in range(50):
            store.increment("n", 1000)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.increment("n", 1000) == 201


def test_a_store_that_cannot_be_reached_says_so(tmp_path: Path, free_port: int) -> None:
    port = free_port
    with pytest.raises(StoreUnavailable, match=rf"Redis at 127\.0\.0\.1:{port} cannot be reached: .*refused"):
        open_store(f"redis://:secret@127.0.0.1:{port}/0").get("a")
    (tmp_path / "file").touch()
    (tmp_path / "broken.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailable, match=r"The state file .*broken\.sqlite3 cannot be used"):
        SQLiteStore(tmp_path / "broken.sqlite3").set("a", b"1")
    with pytest.raises(StoreUnavailable, match="Check its directory"):
        SQLiteStore(tmp_path / "file" / "state").set("a", b"1")
    with pytest.raises(ValueError, match="There is no store 'mongo://x'"):
        open_store("mongo://x")


# -- the cache ----------------------------------------------------------------------------------


def test_results_are_kept_by_their_arguments(store: Store) -> None:
    cache = Cache(store)
    calls: list[Any] = []

    @cache.memoize(ttl_s=1000)
    def work(x: int, y: int = 2) -> dict[str, int]:
        calls.append((x, y))
        return {"sum": x + y}

    assert work(1) == work(x=1) == work(1, y=2) == {"sum": 3}
    assert work(2) == {"sum": 4}
    assert calls == [(1, 2), (2, 2)]
    work.forget(1)
    work(1)
    assert calls[2:] == [(1, 2)]


def test_none_is_a_result_too(store: Store) -> None:
    calls: list[int] = []
    work = Cache(store).memoize(ttl_s=1000)(calls.append)
    work(1)
    work(1)
    assert calls == [1]


def test_without_its_store_a_cache_is_empty(free_port: int) -> None:
    cache = Cache(f"redis://127.0.0.1:{free_port}/0")
    cache.set("a", 1, ttl_s=10)
    assert cache.get("a", "nothing") == "nothing"
    with pytest.raises(StoreUnavailable):
        cache.delete("a")


def test_equal_arguments_are_the_same_however_they_came_about(store: Store) -> None:
    work = Cache(store).memoize(ttl_s=1000)(lambda a, b: [a, b])
    text = "paris"
    work(text, text)
    calls: list[str] = []
    work.function = lambda a, b: calls.append(a)
    assert work("".join("paris"), "".join("paris")) == ["paris", "paris"]
    assert calls == []


def test_what_the_cache_cannot_read_any_more_is_made_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(store)
    store.set("cache:a", b"cno_such_module\nGone\n.")
    assert cache.get("a", "nothing") == "nothing"
    assert "cannot be read any more: No module named 'no_such_module'" in caplog.text


# -- the default --------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system's directory for temporary files is meanwhile."""
    monkeypatch.delenv("DEMIJOHN_STATE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_state_is_kept_where_no_other_user_can_look(temporary: Path) -> None:
    url = store_url("shop")
    open_store(url).set("a", b"1")
    (directory,) = temporary.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "shop.sqlite3").exists()
    assert store_url("shop") == url


@pytest.mark.parametrize("trap", ["writable", "link", "theirs"])
def test_a_directory_that_another_user_prepared_is_refused(temporary: Path, trap: str) -> None:
    directory = temporary / f"demijohn-{os.getuid()}"
    if trap == "link":
        (temporary / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to(temporary / "elsewhere")
    else:
        directory.mkdir(mode=0o700)
    if trap == "writable":
        directory.chmod(0o777)
    if trap == "theirs":
        if os.getuid() != 0:
            pytest.skip("only root can give a directory to another user, so this is NOT TESTED here")
        os.chown(directory, 65534, 65534)
    with pytest.raises(StoreUnavailable, match="must be a directory that this user owns"):
        store_url("shop")


# -- rate limits ----------------------------------------------------------------------------------


def test_a_rate_limit_refuses_what_is_too_much(store: Store) -> None:
    app = Flask("app")
    limit = RateLimit(store)

    @app.get("/")
    @limit("2/day", key=lambda: "one key")
    def view() -> str:
        return "ok"

    @app.get("/later")
    @limit("2 per day")
    async def later() -> str:
        return "ok"

    client = app.test_client()
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/")
    assert "No more than 2 requests in 86400 seconds" in refused.text
    assert 1 <= int(refused.headers["Retry-After"]) <= 86401
    assert [client.get("/later").status_code for _ in range(3)] == [200, 200, 429]


def test_without_its_store_a_rate_limit_allows_or_refuses(free_port: int) -> None:
    gone = f"redis://127.0.0.1:{free_port}/0"
    for on_unavailable, status in (("allow", 200), ("refuse", 503)):
        app = Flask("app")
        app.get("/")(RateLimit(gone, on_unavailable=on_unavailable)("1/day")(lambda: "ok"))
        assert app.test_client().get("/").status_code == status


@pytest.mark.parametrize(
    ("text", "rate"), [("10/minute", (10, 60)), ("1 per 2 hours", (1, 7200)), ("5/15 seconds", (5, 15))]
)
def test_rates_are_written_as_people_say_them(text: str, rate: tuple[int, int]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "0/minute", "ten/minute", "10/fortnight", "1/0 hours"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate(text)


# -- sessions ---------------------------------------------------------------------------------------


def shop(store: Store | str) -> Flask:
    app = Flask("shop")
    app.secret_key = "for tests"
    app.session_interface = StoredSessions(store)

    @app.get("/set/<value>")
    def set_value(value: str) -> str:
        session["value"] = value
        return "set"

    @app.get("/get")
    def get_value() -> str:
        return str(session.get("value"))

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return "cleared"

    @app.get("/login")
    def login() -> str:
        session.regenerate()  # type: ignore[attr-defined]
        return "in"

    @app.get("/unused")
    def unused() -> str:
        return "fine"

    return app


def test_the_content_of_a_session_stays_in_its_store(store: Store) -> None:
    app = shop(store)
    client = app.test_client()
    assert client.get("/get").headers.get("Set-Cookie") is None
    answer = client.get("/set/secret")
    assert "secret" not in answer.headers["Set-Cookie"]
    assert "Cookie" in answer.headers["Vary"]
    assert client.get("/get").text == "secret"
    assert len(store.keys("session:")) == 1

    other = app.test_client()
    other.set_cookie("session", "forged")
    assert other.get("/get").text == "None"

    answer = client.get("/clear")
    assert "Expires=Thu, 01 Jan 1970" in answer.headers["Set-Cookie"]
    assert store.keys("session:") == []
    assert client.get("/get").text == "None"


def test_a_session_goes_on_under_another_name(store: Store) -> None:
    client = shop(store).test_client()
    client.get("/set/kept")
    (before,) = store.keys("session:")
    client.get("/login")
    (after,) = store.keys("session:")
    assert before != after
    assert client.get("/get").text == "kept"


def test_a_session_that_is_over_is_a_new_one(store: Store) -> None:
    client = shop(store).test_client()
    client.get("/set/old")
    (name,) = store.keys("session:")
    store.delete(name)
    assert client.get("/get").text == "None"
    client.get("/set/new")
    assert store.keys("session:") != [name]
    assert client.get("/get").text == "new"


def test_a_permanent_session_is_renewed_when_it_is_used(store: Store) -> None:
    app = shop(store)
    client = app.test_client()
    with client.session_transaction() as kept:
        kept.permanent = True
        kept["value"] = 1
    assert "Set-Cookie" in client.get("/get").headers
    assert "Set-Cookie" not in client.get("/unused").headers


def test_without_its_store_only_requests_that_use_the_session_fail(
    redis_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop(f"redis://127.0.0.1:{redis_server.port}/0")
    client = app.test_client()
    client.get("/set/a")
    redis_server.stop()

    assert client.get("/unused").status_code == 200
    assert client.get("/get").status_code == 503
    assert client.get("/set/b").status_code == 503
    refused = app.test_client().get("/set/c")
    assert (refused.status_code, "cannot be reached" in refused.text) == (503, True)
    assert "Set-Cookie" not in refused.headers
    assert "A session could not be saved: Redis at" in caplog.text

    redis_server.start()
    assert client.get("/set/d").status_code == 200
    assert client.get("/get").text == "d"


def test_without_a_secret_key_there_are_no_sessions(store: Store) -> None:
    app = shop(store)
    app.secret_key = None
    app.testing = True
    with pytest.raises(RuntimeError, match="secret key"):
        app.test_client().get("/set/a")
