"""Where shared state is kept, chosen by a URL: `memory://`, `sqlite:///path`, `redis://host:6379/0`.

A store maps a key to bytes, for a time. Nothing more is asked of it, so that each place can keep its promise:
what was set is there until its time is over, for all who use the same URL, and counting is exact.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

from werkzeug.exceptions import ServiceUnavailable

P = ParamSpec("P")
R = TypeVar("R")

# How long a request waits for Redis before it is told that there is none.
_REDIS_TIMEOUT_S = 1.0
_SQLITE_BUSY_S = 5.0
# How often what is out of date is looked for and dropped, where nobody else does it.
_SWEEP_S = 60.0


class StoreUnavailable(ServiceUnavailable):
    """The store cannot be reached (503). `sentence` says which, why, and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__("What this server keeps its state in cannot be reached. Try again in a moment.")
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class Store(Protocol):
    """Keys and bytes. Every method raises StoreUnavailable when the store cannot be reached."""

    def get(self, key: str) -> bytes | None:
        """Return the value, None when there is none or its time is over."""

    def set(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """Keep a value for `ttl_s` seconds, or for good."""

    def add(self, key: str, value: bytes, ttl_s: float | None = None) -> bool:
        """Keep a value unless there is one; whether it was kept."""

    def delete(self, key: str) -> None:
        """Drop a value, if there is one."""

    def increment(self, key: str, ttl_s: float) -> int:
        """Add one to a count and return it; a new count starts at 1 and is gone after `ttl_s` seconds."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`."""


class MemoryStore:
    """In the memory of this process: for one worker, and for tests."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()
        self._sweep_at = time.monotonic() + _SWEEP_S

    def get(self, key: str) -> bytes | None:
        with self._lock:
            return self._current(key)

    def set(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        with self._lock:
            self._keep(key, value, ttl_s)

    def add(self, key: str, value: bytes, ttl_s: float | None = None) -> bool:
        with self._lock:
            if self._current(key) is not None:
                return False
            self._keep(key, value, ttl_s)
            return True

    def delete(self, key: str) -> None:
        with self._lock:
            self._items.pop(key, None)

    def increment(self, key: str, ttl_s: float) -> int:
        with self._lock:
            current = self._current(key)
            if current is None:
                self._keep(key, b"1", ttl_s)
                return 1
            count = int(current) + 1
            self._items[key] = (b"%d" % count, self._items[key][1])
            return count

    def keys(self, prefix: str) -> list[str]:
        with self._lock:
            now = time.monotonic()
            return [key for key, (_, until) in self._items.items() if key.startswith(prefix) and until > now]

    def _current(self, key: str) -> bytes | None:
        value, until = self._items.get(key, (None, 0.0))
        return value if until > time.monotonic() else None

    def _keep(self, key: str, value: bytes, ttl_s: float | None) -> None:
        now = time.monotonic()
        self._items[key] = (value, now + ttl_s if ttl_s is not None else float("inf"))
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            self._items = {key: item for key, item in self._items.items() if item[1] > now}


def _told(method: Callable[P, R]) -> Callable[P, R]:
    """Turn what a store's library raises into StoreUnavailable."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        store: Any = args[0]
        try:
            return method(*args, **kwargs)
        except store.errors as error:
            raise StoreUnavailable(store.complaint(error)) from error

    return call


class SQLiteStore:
    """In a file, for all processes of this machine. Nothing has to be installed or started for it."""

    errors = (sqlite3.Error, OSError)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._local = threading.local()
        self._sweep_at = 0.0

    def complaint(self, error: Exception) -> str:
        return f"The state file {self._path} cannot be used: {error}. Check its directory and the space on its disk."

    @_told
    def get(self, key: str) -> bytes | None:
        row = self._connection().execute(_SELECT, (key, time.time())).fetchone()
        return None if row is None else bytes(row[0])

    @_told
    def set(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        with self._writing() as cursor:
            cursor.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", (key, value, _until(ttl_s)))

    @_told
    def add(self, key: str, value: bytes, ttl_s: float | None = None) -> bool:
        with self._writing() as cursor:
            cursor.execute("DELETE FROM items WHERE key = ? AND until <= ?", (key, time.time()))
            cursor.execute("INSERT OR IGNORE INTO items VALUES (?, ?, ?)", (key, value, _until(ttl_s)))
            return cursor.rowcount == 1

    @_told
    def delete(self, key: str) -> None:
        with self._writing() as cursor:
            cursor.execute("DELETE FROM items WHERE key = ?", (key,))

    @_told
    def increment(self, key: str, ttl_s: float) -> int:
        with self._writing() as cursor:
            row = cursor.execute(_SELECT, (key, time.time())).fetchone()
            if row is None:
                cursor.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", (key, b"1", _until(ttl_s)))
                return 1
            count = int(row[0]) + 1
            cursor.execute("UPDATE items SET value = ? WHERE key = ?", (b"%d" % count, key))
            return count

    @_told
    def keys(self, prefix: str) -> list[str]:
        # Not LIKE, to which some characters of a key mean more.
        found = self._connection().execute(
            "SELECT key FROM items WHERE substr(key, 1, ?) = ? AND (until IS NULL OR until > ?) ORDER BY key",
            (len(prefix), prefix, time.time()),
        )
        return [key for (key,) in found]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        connection = self._connection()
        now = time.time()
        # Immediate: two that read before they write would else wait for each other.
        cursor = connection.execute("BEGIN IMMEDIATE")
        try:
            if now >= self._sweep_at:
                self._sweep_at = now + _SWEEP_S
                cursor.execute("DELETE FROM items WHERE until <= ?", (now,))
            yield cursor
        except BaseException:
            connection.rollback()
            raise
        connection.commit()

    def _connection(self) -> sqlite3.Connection:
        """Return the connection of this thread, in this process."""
        known = getattr(self._local, "connection", None)
        if known is not None and self._local.pid == os.getpid():
            connection: sqlite3.Connection = known
            return connection
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=_SQLITE_BUSY_S, isolation_level=None)
        with suppress(sqlite3.OperationalError):  # another is just doing so, and it stays with the file
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL) WITHOUT ROWID"
        )
        self._local.connection, self._local.pid = connection, os.getpid()
        return connection


_SELECT = "SELECT value FROM items WHERE key = ? AND (until IS NULL OR until > ?)"


def _until(ttl_s: float | None) -> float | None:
    return None if ttl_s is None else time.time() + ttl_s


class RedisStore:
    """In Redis, or what speaks its protocol (Valkey, KeyDB): for any number of machines.

    A connection that was lost is made anew at the next call; meanwhile each call says within a second that it is gone.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError:
            raise StoreUnavailable(
                "The state is to be kept in Redis, and its client is not installed: pip install 'demijohn[redis]'."
            ) from None
        self.errors = (redis.RedisError, OSError)
        parts = urlsplit(url)  # without the password
        self._where = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
        )

    def complaint(self, error: Exception) -> str:
        return f"Redis at {self._where} cannot be reached: {error}. Start it, or correct the URL of the state."

    @_told
    def get(self, key: str) -> bytes | None:
        value: bytes | None = self._redis.get(key)
        return value

    @_told
    def set(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        self._redis.set(key, value, px=_milliseconds(ttl_s))

    @_told
    def add(self, key: str, value: bytes, ttl_s: float | None = None) -> bool:
        return bool(self._redis.set(key, value, px=_milliseconds(ttl_s), nx=True))

    @_told
    def delete(self, key: str) -> None:
        self._redis.delete(key)

    @_told
    def increment(self, key: str, ttl_s: float) -> int:
        # In one transaction, so that no count stays for good.
        with self._redis.pipeline() as pipeline:
            pipeline.set(key, 0, px=_milliseconds(ttl_s), nx=True)
            pipeline.incr(key)
            return int(pipeline.execute()[1])

    @_told
    def keys(self, prefix: str) -> list[str]:
        escaped = "".join(f"\\{character}" if character in "*?[]\\" else character for character in prefix)
        return sorted(key.decode() for key in self._redis.scan_iter(match=f"{escaped}*", count=1000))


def _milliseconds(ttl_s: float | None) -> int | None:
    return None if ttl_s is None else max(1, round(ttl_s * 1000))


VARIABLE = "DEMIJOHN_STATE"


@functools.cache
def open_store(url: str) -> Store:
    """Return the store a URL names, one for this process. Raises ValueError that says what there is."""
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "sqlite" and parts.path:
        return SQLiteStore(unquote(parts.path))
    if parts.scheme in ("redis", "rediss", "unix"):
        return RedisStore(url)
    raise ValueError(
        f"There is no store {url!r}: it is 'memory://', 'sqlite:///PATH', or 'redis://HOST:PORT/DATABASE'"
        " (rediss:// with TLS, unix:// for a socket)."
    )


def store_url(directory_name: str) -> str:
    """Return the URL of the state: the variable DEMIJOHN_STATE, else a file of this user's in the system's directory
    for temporary files, which all workers of this machine find.
    """
    given = os.environ.get(VARIABLE)
    return given or f"sqlite://{quote(str(_own_directory() / directory_name))}.sqlite3"


def _own_directory() -> Path:
    """Return this user's directory among the temporary files, made when there is none.

    Raises StoreUnavailable for one that is not ours alone: all users may write there, and another may have been first.
    """
    import tempfile  # for its cost

    path = Path(tempfile.gettempdir()) / f"demijohn-{os.getuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StoreUnavailable(
            f"The state is not kept in {path}: it must be a directory that this user owns and no other can use."
            f" Remove it, or say with --state (or {VARIABLE}) where the state is to be."
        )
    return path
