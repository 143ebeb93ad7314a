"""`settings`: the settings of all applications of the process, as `JSONRPC.init_app` takes them from each config."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from . import global_settings

#: What a `LazySettings` holds before it is first asked.
empty: Final = object()


class Settings:
    """The defaults, then what `fallback_settings` says, then what only the environment has.

    An environment variable counts for a name without a default.
    """

    def __init__(self, fallback_settings: MutableMapping[str, Any] | None = None) -> None:
        for name in dir(global_settings):
            if name.isupper() and not name.startswith("_"):
                setattr(self, name, getattr(global_settings, name))
        for source in (fallback_settings or {}, os.environ):
            for key, value in source.items():
                if global_settings.IS_ENV_KEY(key) and not hasattr(self, global_settings.ENV_TO_CONFIG(key)):
                    setattr(self, global_settings.ENV_TO_CONFIG(key), value)


def new_method_proxy(getter: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that calls `getter` with what the object wraps, which is made when it is not there yet."""

    def method(self: Any, *args: Any) -> Any:
        if self._wrapped is empty:
            self._setup()
        return getter(self._wrapped, *args)

    method._mask_wrapped = False  # type: ignore[attr-defined]
    return method


class LazySettings:
    """Settings that are read when first asked for."""

    _wrapped: Any = empty

    def __init__(self, /, *, fallback_settings: MutableMapping[str, Any] | None = None) -> None:
        self.__dict__["_fallback_settings"] = fallback_settings
        self.__dict__["_wrapped"] = empty

    def _setup(self) -> None:
        self.__dict__["_wrapped"] = Settings(self.__dict__["_fallback_settings"])

    def __getattribute__(self, name: str) -> Any:
        if name == "__getattr__":
            # So that `hasattr` asks what is wrapped, too.
            raise AttributeError(name)
        return super().__getattribute__(name)

    __getattr__ = new_method_proxy(getattr)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_wrapped":
            self.__dict__["_wrapped"] = value
            return
        if self._wrapped is empty:
            self._setup()
        setattr(self._wrapped, name, value)

    def __delattr__(self, name: str) -> None:
        if name == "_wrapped":
            raise TypeError("can't delete _wrapped.")
        if self._wrapped is empty:
            self._setup()
        delattr(self._wrapped, name)


settings = LazySettings()
