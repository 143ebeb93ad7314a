"""The file that tells others the process id of a server."""

from __future__ import annotations

import os

from .settings import SettingError

SUCCESSOR = ".2"  # what the name of the file ends in while the arbiter before this one still runs; as in gunicorn


class PidFile:
    """The pid file of this process."""

    def __init__(self, path: str) -> None:
        """Write it. Raises SettingError when it cannot be written, or names another server that runs."""
        self._path = os.path.abspath(path)
        try:
            other = self._read()
            if other is not None and _is_alive(other):
                raise SettingError(
                    f"Already running with process id {other}, says {path}; stop it, or choose another --pid."
                )
            with open(self._path, "w") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as error:
            raise SettingError(f"The file {path} cannot be written: {error.strerror}.") from None

    def promote(self) -> None:
        """Give the file of a successor the name that its predecessor's had."""
        final = self._path.removesuffix(SUCCESSOR)
        os.replace(self._path, final)
        self._path = final

    def remove(self) -> None:
        """Remove it, unless it is another server's by now."""
        if self._read() == os.getpid():
            os.unlink(self._path)

    def _read(self) -> int | None:
        try:
            with open(self._path) as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()  # in a container the next server often has the number of the last
