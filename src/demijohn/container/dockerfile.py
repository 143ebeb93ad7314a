"""The Dockerfile of a project.

What is printed is meant to be read, kept in the project and changed by hand. Every line has its reason beside it, so
the reasons are in the text below and not here.
"""

from __future__ import annotations

import importlib.metadata
import json
import re

from .project import Project, ProjectError

_PYTHON_VERSION = re.compile(r"3\.[0-9]+(\.[0-9]+)?")


# -- the Dockerfile -----------------------------------------------------------------------------

_BUILD = """\
# Made by `demijohn image dockerfile`; yours to keep and to change.
# No "# syntax=" line: building must not depend on one more image.
ARG PYTHON_IMAGE={base}

FROM ${{PYTHON_IMAGE}} AS build
# An ARG of this name is an environment variable of the RUN lines: the same input gives the same bytes.
ARG SOURCE_DATE_EPOCH=0
# The environment gets no pip of its own: what runs in production installs nothing.
RUN python3 -m venv /tool && python3 -m venv --without-pip /venv
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
    /tool/bin/python -m pip --python /venv/bin/python install --disable-pip-version-check {what}"""

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
# `container` tells the server where it is: it listens at all interfaces, with the workers its limits allow.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PORT={port} container=oci
# Pages of the server itself; where the application has its own at these paths, make the variable empty.
ENV DEMIJOHN_LIVEZ_PATH=/livez DEMIJOHN_READYZ_PATH=/readyz
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app
# A number: Kubernetes' runAsNonRoot asks for one, and no account has to be made.
USER 10001:10001
EXPOSE {port}
STOPSIGNAL SIGTERM
# Slim images have no curl. It asks for /livez, or the first page when the server was not told to have that.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \\
    CMD ["demijohn", "health"]
# Exec form: the server is process 1, gets SIGTERM itself and finishes what is in flight.
# Settings: docker run -e WEB_CONCURRENCY=2 -e DEMIJOHN_THREADS=32. A command after the image's name replaces this one.
CMD {command}
"""


def dockerfile(
    project: Project,
    target: str,
    *,
    folder: str = ".",
    python: str = "3.11",
    port: int = 8000,
    base: str | None = None,
) -> str:
    """Return a Dockerfile that serves `target`, `module:name` imported from `folder`, at `port`.

    `base` is the image it stands on; the official one of that version of `python` when None.

    Raises ProjectError when `python` is no version of Python 3 that demijohn runs on.
    """
    if not _PYTHON_VERSION.fullmatch(python) or int(python.split(".")[1]) < 11:
        raise ProjectError(f"{python!r} is not a version of Python that demijohn runs on, such as 3.11 or 3.13.")
    base = base or f"python:{python}-slim"
    build = _BUILD.format(base=base, dependencies=_dependencies(project))
    clean = "rm -rf wheels; " if project.has_wheels else ""
    application = _APPLICATION.format(package=_package(project), clean=clean)
    final = _FINAL.format(
        labels=_labels(project, base),
        port=port,
        command=json.dumps(serve_command(target, folder), ensure_ascii=False),
    )
    return f"{build}{application}\n{final}"


def serve_command(target: str, folder: str) -> list[str]:
    """Return the command of an image that serves `target`, imported from `folder` of the application."""
    return ["demijohn", "serve", *(["--chdir", folder] if folder != "." else []), target]


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
        if project.locked:
            lines += "COPY uv.lock ./\n" + _LIST_LOCK
            what.append("-c /tmp/constraints.txt")
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
# What the lock file has once; pip decides on what it has in several versions for different machines.
_LIST_LOCK = """\
RUN python3 -c 'import tomllib, collections as c; v = c.defaultdict(set); \
[v[p["name"]].add(p["version"]) for p in tomllib.load(open("uv.lock", "rb"))["package"] if "registry" in p["source"]]; \
print(*(f"{n}=={min(s)}" for n, s in v.items() if len(s) == 1), sep="\\n")' > /tmp/constraints.txt
"""


def _labels(project: Project, base: str) -> str:
    labels = {
        "title": project.title,
        "version": project.version,
        "base.name": base if "/" in base else f"docker.io/library/{base}",
    }
    return " \\\n      ".join(
        f"org.opencontainers.image.{name}={_quoted(value)}" for name, value in labels.items() if value
    )


def _quoted(value: str) -> str:
    """Quote for a LABEL, where `$` would begin the name of a variable."""
    return json.dumps(value, ensure_ascii=False).replace("$", "\\$")
