"""docker and podman as programs: which of them works here, and building with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .project import ProjectError

NAMES = ("docker", "podman")
_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers.

    name: "docker" or "podman".
    program: its path.
    """

    name: str
    program: str

    def build(self, context: Path, tag: str, platform: str | None, base: str | None, secrets: list[str]) -> None:
        """Build the Dockerfile in `context`; the engine's own progress is shown. Raises ProjectError when it fails."""
        command = [self.program, "build", "-t", tag, "-f", str(context / "Dockerfile")]
        if self.name == "podman":
            command += ["--format", "docker"]  # the other format has no HEALTHCHECK
        if platform:
            command += ["--platform", platform]
        if base:
            command += ["--build-arg", f"PYTHON_IMAGE={base}"]
        for secret in secrets:
            command += ["--secret", secret]
        # The variable is for engines before 23, which have BuildKit but do not use it unless told to.
        environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run([*command, str(context)], stdout=sys.stderr, stdin=subprocess.DEVNULL, env=environ)
        if done.returncode:
            raise ProjectError(
                f"{self.name} could not build the image; the lines above say why. Without an engine it goes, too:"
                " --engine none."
            )

    def push(self, tag: str) -> None:
        """Push an image by its name. Raises ProjectError when the engine or the registry refuses."""
        done = subprocess.run([self.program, "push", tag], stdout=sys.stderr, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise ProjectError(f"{self.name} could not push {tag}; the lines above say why.")

    def inspect(self, tag: str, template: str) -> str:
        """Return what the engine says of an image, by a template of its `image inspect`; empty when it does not."""
        done = subprocess.run([self.program, "image", "inspect", "--format", template, tag], capture_output=True)
        return done.stdout.decode().strip()


def find_engine(wanted: str) -> Engine | None:
    """Return the engine that `wanted` names, for "auto" one that answers, for "none" none.

    Raises ProjectError when the one that is named does not answer.
    """
    if wanted == "none":
        return None
    for name in NAMES if wanted == "auto" else (wanted,):
        program = shutil.which(name)
        reason = _why_not(program) if program else "is not installed"
        if program and not reason:
            return Engine(name, program)
        if wanted != "auto":
            raise ProjectError(
                f"{name} {reason}: put that right, or build without an engine (--engine none, with --base FILE where no"
                " registry can be reached)."
            )
    return None


def _why_not(program: str) -> str:
    """Return why an engine cannot be used; empty when it answers."""
    try:
        done = _ask(program, "info")
        if done.returncode:
            return "is not running"
        # Its own builder knows no secrets; BuildKit is a plugin since 23, and part of the engine before.
        has_plugin = os.path.basename(program) != "docker" or not _ask(program, "buildx", "version").returncode
        if not has_plugin and _major_version(program) >= 23:
            return "has no buildx plugin, which building needs (docker-buildx of your distribution)"
        return ""
    except subprocess.TimeoutExpired:
        return f"gives no answer within {_ANSWER_S:.0f} s"
    except OSError as error:
        return f"cannot be started ({error.strerror})"


def _ask(program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_S)


def _major_version(program: str) -> int:
    found = re.search(rb"version (\d+)", _ask(program, "--version").stdout)
    return int(found[1]) if found else 0
