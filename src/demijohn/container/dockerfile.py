"""The Dockerfile and the .dockerignore of a project.

What is printed is meant to be read, kept in the project and changed by hand. Every line has its reason beside it, so
the reasons are in the text below and not here.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A requirement's name ends where a version, an extra, a marker, a URL or a comment begins (PEP 508).
_REQUIREMENT_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_REQUIREMENT_FILE = re.compile(r"\s*(?:-r|--requirement|-c|--constraint)[\s=]+(\S+)")
_PYTHON_VERSION = re.compile(r"3\.[0-9]+(\.[0-9]+)?")


class ProjectError(ValueError):
    """The project's files cannot be used; the message is one sentence for its developer."""


@dataclass(frozen=True, slots=True)
class Project:
    """What its files say of a project.

    title, version: of pyproject.toml; without them, the folder's name and None.
    requirement_files: requirements.txt and the files it names; empty when there is none.
    pyproject_dependencies: pyproject.toml lists the dependencies, and there is no requirements.txt.
    is_package: pyproject.toml says how the project itself is built, so it is installed, too.
    has_wheels: the folder `wheels` holds distributions that are to be preferred to an index.
    lists_demijohn: demijohn is among the dependencies.
    """

    title: str
    version: str | None = None
    requirement_files: tuple[str, ...] = ()
    pyproject_dependencies: bool = False
    is_package: bool = False
    has_wheels: bool = False
    lists_demijohn: bool = False


def read_project(folder: Path) -> Project:
    """Return what the files in `folder` say.

    Raises ProjectError for a file that cannot be read as what its name says.
    """
    pyproject = _read_pyproject(folder / "pyproject.toml")
    table: dict[str, Any] = pyproject.get("project", {})
    requirement_files = _requirement_files(folder)
    if requirement_files:
        lines = [line for name in requirement_files for line in _read_text(folder / name).splitlines()]
    else:
        lines = table.get("dependencies", [])
    return Project(
        title=table.get("name") or folder.resolve().name,
        version=table.get("version"),
        requirement_files=requirement_files,
        pyproject_dependencies=bool(table) and not requirement_files,
        is_package="build-system" in pyproject and bool(table),
        has_wheels=any((folder / "wheels").glob("*.whl")),
        lists_demijohn=any(_requirement_name(line) == "demijohn" for line in lines),
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path.name} cannot be read: {error}.") from None


def _read_pyproject(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path.name} is not valid TOML: {error}.") from None


def _requirement_files(folder: Path) -> tuple[str, ...]:
    """Return requirements.txt and every file that it, or one of those, includes; relative to `folder`."""
    waiting = ["requirements.txt"] if (folder / "requirements.txt").exists() else []
    found: list[str] = []
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found.append(name)
        for line in _read_text(folder / name).splitlines():
            if included := _REQUIREMENT_FILE.match(line):
                path = (folder / name).parent / included[1]
                waiting.append(_inside(path, folder))
    return tuple(found)


def _inside(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise ProjectError(f"{path} is outside of this folder, so a build cannot copy it.") from None


def _requirement_name(line: str) -> str:
    """Return the normalised name that a requirement is for (PEP 503), empty when it has none."""
    match = _REQUIREMENT_NAME.match(line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""


# -- the Dockerfile -----------------------------------------------------------------------------

_BUILD = """\
# Made by `demijohn image dockerfile`; yours to keep and to change.
# No "# syntax=" line: building must not depend on one more image.
ARG PYTHON_IMAGE={base}

FROM ${{PYTHON_IMAGE}} AS build
# An ARG of this name is an environment variable of the RUN lines: the same input gives the same bytes.
ARG SOURCE_DATE_EPOCH=0
# The environment gets no pip of its own: what runs in production installs nothing.
RUN python3 -m venv --without-pip /venv
WORKDIR /app
{dependencies}"""

_DEPENDENCIES = """\
# Before the application, so that a change of its code alone installs nothing again. The secrets are optional and
# enter no layer: a CA bundle, and a pip.conf for a private index.
#   docker build --secret id=ca,src=ca.pem --secret id=pip,src=pip.conf .
{install} \\
 && {{ /venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /venv \\
      || echo "the files named above have no bytecode"; }}
"""

_INSTALL = """\
RUN --mount=type=cache,target=/root/.cache/pip \\
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \\
    --mount=type=secret,id=pip,target=/etc/pip.conf \\
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi; \\
    python3 -m pip --python /venv/bin/python install --disable-pip-version-check {what}"""

_APPLICATION = """\
COPY . .
{package}# Bytecode now, because the user below may not write; checked, because code may be mounted over it.
RUN {clean}/venv/bin/python -m compileall -q -j 0 --invalidation-mode checked-hash . \\
 || echo "the files named above have no bytecode"
"""

_PACKAGE = """\
# The project is a package itself.
{install}
"""

_FINAL = """\
FROM ${{PYTHON_IMAGE}}
LABEL {labels}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app
# A number: Kubernetes' runAsNonRoot asks for one, and no account has to be made.
USER 10001:10001
EXPOSE {port}
STOPSIGNAL SIGTERM
# Slim images have no curl. Any answer under 500 counts; name a path of yours if the first page is slow.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \\
    CMD {health}
# Exec form: the server is process 1, gets SIGTERM itself and finishes what is in flight.
# Processes and threads: docker run -e WEB_CONCURRENCY=2 -e DEMIJOHN_THREADS=32.
CMD {command}
"""


def dockerfile(project: Project, target: str, *, folder: str = ".", python: str = "3.11", port: int = 8000) -> str:
    """Return a Dockerfile that serves `target`, `module:name` imported from `folder`, at `port`.

    Raises ProjectError when `python` is no version of Python 3 that demijohn runs on.
    """
    if not _PYTHON_VERSION.fullmatch(python) or int(python.split(".")[1]) < 11:
        raise ProjectError(f"{python!r} is not a version of Python that demijohn runs on, such as 3.11 or 3.13.")
    base = f"python:{python}-slim"
    serve = ["demijohn", "serve", "-b", f"0.0.0.0:{port}"]
    if folder != ".":
        serve += ["--chdir", folder]
    build = _BUILD.format(base=base, dependencies=_dependencies(project))
    clean = "rm -rf wheels; " if project.has_wheels else ""
    application = _APPLICATION.format(package=_package(project), clean=clean)
    final = _FINAL.format(
        labels=_labels(project, base),
        port=port,
        health=json.dumps(["demijohn", "health", f"http://127.0.0.1:{port}/"]),
        command=json.dumps([*serve, target], ensure_ascii=False),
    )
    return f"{build}{application}\n{final}"


def _dependencies(project: Project) -> str:
    """Return the lines that install what the project needs into /venv."""
    lines = ""
    what = ["--no-compile", *_wheels(project)]
    if project.has_wheels:
        lines += "COPY wheels wheels\n"
    if project.requirement_files:
        lines += "".join(f"COPY {json.dumps([name, name], ensure_ascii=False)}\n" for name in project.requirement_files)
        what.append("-r requirements.txt")
    elif project.pyproject_dependencies:
        lines += "COPY pyproject.toml ./\n" + _LIST_PYPROJECT
        what.append("-r /tmp/requirements.txt")
    if not project.lists_demijohn:
        what.append(f"demijohn=={importlib.metadata.version('demijohn')}")
    return lines + _DEPENDENCIES.format(install=_INSTALL.format(what=" ".join(what)))


def _package(project: Project) -> str:
    """Return the lines that install the project itself, with dependencies that only its build knows."""
    if not project.is_package:
        return ""
    return _PACKAGE.format(install=_INSTALL.format(what=" ".join([*_wheels(project), "."])))


def _wheels(project: Project) -> list[str]:
    return ["--find-links", "wheels"] if project.has_wheels else []


_LIST_PYPROJECT = """\
RUN python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"].get("dependencies", []), \
sep="\\n")' > /tmp/requirements.txt
"""


def _labels(project: Project, base: str) -> str:
    labels = {"title": project.title, "version": project.version, "base.name": f"docker.io/library/{base}"}
    return " \\\n      ".join(
        f"org.opencontainers.image.{name}={_quoted(value)}" for name, value in labels.items() if value
    )


def _quoted(value: str) -> str:
    """Quote for a LABEL, where `$` would begin the name of a variable."""
    return json.dumps(value, ensure_ascii=False).replace("$", "\\$")


# -- the .dockerignore --------------------------------------------------------------------------

_IGNORED = """\
# Made by `demijohn image dockerignore`: what must not enter an image.
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
# What describes images
Dockerfile*
.dockerignore
compose*.yaml
*.tar
"""


def dockerignore() -> str:
    """Return a .dockerignore: without one, `COPY . .` takes secrets and whole environments along."""
    return _IGNORED
