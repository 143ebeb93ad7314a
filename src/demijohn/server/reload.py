"""`--reload`: a thread in each worker looks whether files of the program have changed, and asks for a reload.

The rest is what SIGHUP does anywhere: new code that does not boot leaves the old serving.
"""

from __future__ import annotations

import glob
import os
import sys
import threading
from collections.abc import Callable, Iterator

from .log import log

_LOOK_EVERY_S = 0.5


class Reloader:
    """Looks after the files of all imported modules, and after others."""

    def __init__(self, extra_files: tuple[str, ...], on_change: Callable[[], object]) -> None:
        """`extra_files` may be patterns; `on_change` is called after each change, in a thread of its own."""
        self._extra_files = extra_files
        self._on_change = on_change
        self._seen = dict(self._files())

    def start(self) -> None:
        threading.Thread(target=self._run, name="reloader", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK_EVERY_S):
            changed = self.changed()
            if changed is not None:
                log.info("%s has changed: reloading", changed)
                self._on_change()

    def changed(self) -> str | None:
        """Return a file that was written or removed since the last call, or is new among the extra ones; else None."""
        now = dict(self._files())
        before, self._seen = self._seen, now
        for path, mtime_ns in now.items():
            if before.get(path, mtime_ns) != mtime_ns:
                return path
        gone_or_new = before.keys() - now.keys() | {path for path in self._extra() if path not in before}
        return min(gone_or_new, default=None)

    def _files(self) -> Iterator[tuple[str, int]]:
        for path in (*self._of_modules(), *self._extra()):
            try:
                yield path, os.stat(path).st_mtime_ns
            except OSError:
                continue  # it is gone, or inside an archive

    def _of_modules(self) -> Iterator[str]:
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str):
                yield path

    def _extra(self) -> Iterator[str]:
        for pattern in self._extra_files:
            yield from glob.iglob(pattern, recursive=True)
