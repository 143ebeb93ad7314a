"""Results that are kept for a while, for all processes that share a store."""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import pickle
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, cast

from .stores import Store, StoreUnavailable, open_store

log = logging.getLogger("demijohn.server.state")

P = ParamSpec("P")
R = TypeVar("R")

_MISSING: Any = object()


class Cache:
    """Values by key, and results by their function's arguments.

    Values are pickled: whoever can write to the store can run code here, so it must be the application's own. A store
    that cannot be reached is a cache with nothing in it: the work is done again, and the log says so.
    """

    def __init__(self, store: Store | str, prefix: str = "cache:") -> None:
        self.store: Store = open_store(store) if isinstance(store, str) else store
        self._prefix = prefix

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default`."""
        try:
            content = self.store.get(self._prefix + key)
        except StoreUnavailable as error:
            log.warning("Nothing could be taken from the cache: %s", error)
            return default
        if content is None:
            return default
        try:
            return pickle.loads(content)
        except Exception as error:  # what it was made from may have changed since: any error is possible
            log.warning("What the cache has of %r cannot be read any more: %s", key, error)
            return default

    def set(self, key: str, value: Any, ttl_s: float) -> None:
        """Keep a value for some seconds."""
        content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        try:
            self.store.set(self._prefix + key, content, ttl_s)
        except StoreUnavailable as error:
            log.warning("Nothing could be put into the cache: %s", error)

    def delete(self, key: str) -> None:
        """Drop a value. Raises StoreUnavailable: an old value must not be taken for a current one unnoticed."""
        self.store.delete(self._prefix + key)

    def memoize(self, ttl_s: float) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Keep what a function returns, for each set of arguments, for some seconds.

            @cache.memoize(ttl_s=60)
            def forecast(city: str) -> dict[str, float]: ...

        The arguments must be such that pickling equal ones gives equal bytes: numbers, text, tuples of them.
        """
        return lambda function: Memoized(self, function, ttl_s)


class Memoized(Generic[P, R]):
    """A function whose results are kept. Made by `Cache.memoize`."""

    __qualname__: str

    def __init__(self, cache: Cache, function: Callable[P, R], ttl_s: float) -> None:
        update_wrapper(self, function)
        self.function = function
        self._cache = cache
        self._ttl_s = ttl_s
        self._signature = inspect.signature(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        key = self._key(*args, **kwargs)
        value = self._cache.get(key, _MISSING)
        if value is _MISSING:
            value = self.function(*args, **kwargs)
            self._cache.set(key, value, self._ttl_s)
        return cast(R, value)

    def forget(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Drop what is kept for these arguments."""
        self._cache.delete(self._key(*args, **kwargs))

    def _key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        content = io.BytesIO()
        pickler = pickle.Pickler(content, protocol=5)
        pickler.fast = True  # else two equal strings are written otherwise than one string twice
        # By name, so that f(1) and f(x=1) are one.
        pickler.dump(tuple(sorted(bound.arguments.items())))
        return f"{self.__module__}.{self.__qualname__}:{hashlib.sha256(content.getvalue()).hexdigest()}"
