"""Which files of a project enter its image: what .dockerignore says, and never a secret."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .project import ProjectError

_IGNORED = """\
# Made by `demijohn image`: what must not enter an image.
# Secrets
**/.env
**/.env.*
**/.flaskenv
**/*.pem
**/*.key
# Version control, environments, caches
.git
.github
.gitignore
**/.venv
**/venv
**/__pycache__
**/*.pyc
**/.mypy_cache
**/.pytest_cache
**/.ruff_cache
**/node_modules
# Databases and uploads of development
instance
# What describes images and where they run
Dockerfile*
.dockerignore
compose*.yaml
kubernetes.yaml
*.service
*.nginx.conf
*.tar
"""


def dockerignore() -> str:
    """Return a .dockerignore: without one, `COPY . .` takes secrets and whole environments along."""
    return _IGNORED


# -- secrets ------------------------------------------------------------------------------------

_SECRET_NAMES = (
    ".env", ".env.*", ".flaskenv", ".netrc", ".pgpass", ".pypirc", ".npmrc", ".git-credentials", ".htpasswd",
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx",
)  # fmt: skip
_TEMPLATE_NAMES = (".env.example", ".env.sample", ".env.template", ".env.dist")
_SECRET_FOLDERS = {".aws", ".ssh", ".gnupg", ".docker", ".kube"}
# A certificate may lie in a .pem, a private key may not; and the keys of cloud accounts are JSON.
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_LOOKED_INTO = (".pem", ".json", ".txt", ".cfg", ".toml", ".yaml", ".yml")
_LOOKED_BYTES = 65536


def is_secret(path: str, folder: Path) -> bool:
    """Whether the file `path` of `folder` is one that must not be handed out, by its name or by a key in it."""
    *folders, name = path.split("/")
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in _TEMPLATE_NAMES):
        return False
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in _SECRET_NAMES) or _SECRET_FOLDERS & set(folders):
        return True
    if not name.endswith(_LOOKED_INTO):
        return False
    with open(folder / path, "rb") as file:
        return _PRIVATE_KEY.search(file.read(_LOOKED_BYTES)) is not None


# -- .dockerignore --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pattern:
    expression: re.Pattern[str]
    lets_in: bool  # it began with "!"


class Ignore:
    """The patterns of a .dockerignore; the last one that matches decides (Dockerfile reference, ".dockerignore")."""

    def __init__(self, text: str) -> None:
        lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines() if not line.startswith("#"))
        self._patterns = [_read_pattern(line) for line in lines if line not in ("", "!")]
        self.lets_some_in = any(pattern.lets_in for pattern in self._patterns)

    def __call__(self, path: str) -> bool:
        """Whether `path`, relative and with slashes, stays out."""
        return self._decision(path) is False

    def names(self, path: str) -> bool:
        """Whether a pattern with `!` is what lets `path` in: it was meant."""
        return self._decision(path) is True

    def _decision(self, path: str) -> bool | None:
        """Return whether the last pattern that matches lets `path` in; None without any."""
        parts = path.split("/")
        ways = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        for pattern in reversed(self._patterns):
            if any(pattern.expression.fullmatch(way) for way in ways):
                return pattern.lets_in
        return None


def _read_pattern(line: str) -> _Pattern:
    lets_in = line.startswith("!")
    path = os.path.normpath(line.removeprefix("!").strip()).lstrip("/")
    return _Pattern(re.compile(_expression(path), re.DOTALL), lets_in)


def _expression(pattern: str) -> str:
    """Return the regular expression for a pattern of Go's filepath.Match, with `**` for any number of folders."""
    tokens = re.findall(r"\*\*/?|\*|\?|\[\^?[^\]]+\]|\\.|[^*?\[\\]+|.", pattern, re.DOTALL)
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meanings.get(token) or _literal(token) for token in tokens)


def _literal(token: str) -> str:
    if token.startswith("[") and token.endswith("]") and len(token) > 2:
        return token
    return re.escape(token[1:] if len(token) == 2 and token[0] == "\\" else token)


# -- the files ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """The files of a project that enter an image.

    folder: where they are.
    paths: of files and symbolic links, relative to it, with slashes, sorted.
    left_out: secrets that were found and stay out.
    """

    folder: Path
    paths: tuple[str, ...]
    left_out: tuple[str, ...]

    def copy_to(self, target: Path) -> None:
        """Copy the files, with their permissions and times. Raises ProjectError for one that cannot be read."""
        for path in self.paths:
            copy = target / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                _copy(self.folder / path, copy)
            except OSError as error:
                raise ProjectError(f"{path} cannot be read: {error.strerror}. Let .dockerignore name it.") from None


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    status = source.stat()
    with open(source, "rb") as reading, open(target, "wb") as writing:
        while os.sendfile(writing.fileno(), reading.fileno(), None, 1 << 24):
            pass
    os.chmod(target, status.st_mode & 0o777)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def read_context(folder: Path) -> Context:
    """Return what of `folder` enters an image.

    Without a .dockerignore, ours counts. Raises ProjectError for a secret that a .dockerignore does not keep out.
    """
    try:
        text: str | None = (folder / ".dockerignore").read_text(encoding="utf-8")
    except FileNotFoundError:
        text = None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f".dockerignore cannot be read: {error}.") from None
    ignore = Ignore(_IGNORED if text is None else text)
    paths = sorted(_files(folder, ignore))
    secrets = [path for path in paths if not ignore.names(path) and is_secret(path, folder)]
    if secrets and text is not None:
        raise ProjectError(
            f"{', '.join(secrets)} must not enter an image, whose readers could take it out again: add a line to"
            f" .dockerignore (or '!{secrets[0]}' if it is meant), and give secrets when it runs, as with"
            " docker run --env-file."
        )
    named = [path for path in os.listdir(folder) if ignore(path) and is_secret(path, folder)]
    kept = tuple(path for path in paths if path not in secrets)
    return Context(folder, kept, tuple(sorted({*secrets, *named})))


def _files(folder: Path, ignore: Ignore) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        inside = "" if where == str(folder) else os.path.relpath(where, folder) + "/"
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        # A folder that stays out is not looked into, unless a pattern with ! may let some of it in.
        folders[:] = [
            name for name in folders if name not in links and (ignore.lets_some_in or not ignore(inside + name))
        ]
        for name in (*files, *links):
            path = inside + name
            if not ignore(path) and (os.path.isfile(os.path.join(where, name)) or name in links):
                yield path
