"""What a container allows its processes: whether this is one, and its limits of CPU and memory.

Python counts the processors of the machine, also where a control group gives this process a part of one. Both versions
of the kernel's interface are read: cgroup-v2.rst and cgroup-v1/memory.rst of its documentation, cgroups(7).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# What an application with its libraries can need; more workers than fit would be killed one after another.
_WORKER_BYTES = 128 * 1024 * 1024
_MARKS = ("/.dockerenv", "/run/.containerenv")  # made by docker, and by podman
# Version 1 says "no limit" with the largest number of whole pages that fits into 63 bits.
_V1_UNLIMITED_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Limits:
    """What the control groups of a process allow it; None where there is no limit.

    cpus: of processor time, in seconds for each second.
    memory_bytes: before the kernel kills.
    """

    cpus: float | None = None
    memory_bytes: int | None = None


def surroundings() -> Mapping[str, str]:
    """Return the environment of this process, with the variable `container` also where only a file marks one."""
    if "container" not in os.environ and any(map(os.path.exists, _MARKS)):
        return {**os.environ, "container": "oci"}
    return os.environ


def is_container(environ: Mapping[str, str]) -> bool:
    """Whether `environ` is that of a container.

    Container managers set the variable `container` (systemd's container interface), and so do the images that
    demijohn makes; empty, it says that this is none.
    """
    return environ.get("container", environ.get("KUBERNETES_SERVICE_HOST", "")) != ""


def workers_that_fit() -> int:
    """Return one worker for each processor that this process may use, as many as there is memory for; at least one."""
    processors = len(os.sched_getaffinity(0))
    limits = read_limits()
    if limits.cpus is not None:
        processors = min(processors, math.ceil(limits.cpus))
    if limits.memory_bytes is not None:
        processors = min(processors, limits.memory_bytes // _WORKER_BYTES)
    return max(1, processors)


def read_limits(process: Path = Path("/proc/self")) -> Limits:
    """Return the limits of the process that a folder of procfs describes; where they cannot be read there are none."""
    try:
        mounts = (process / "mountinfo").read_text()
        groups = (process / "cgroup").read_text()
    except OSError:
        return Limits()
    cpus = [limit for folder in _folders("cpu", mounts, groups) if (limit := _cpus(folder)) is not None]
    memory = [limit for folder in _folders("memory", mounts, groups) if (limit := _memory(folder)) is not None]
    return Limits(min(cpus, default=None), min(memory, default=None))


def _folders(controller: str, mounts: str, groups: str) -> Iterator[Path]:
    """Yield the folders of the groups that limit the process: its own, and those around it as far as they are seen."""
    for line in mounts.splitlines():
        # proc_pid_mountinfo(5): ID, parent, device, root, mount point, options, ..., "-", type, source, its options
        before, _, after = line.partition(" - ")
        root, mount_point = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        if kind == "cgroup2" or (kind == "cgroup" and controller in options.split(",")):
            path = _group("" if kind == "cgroup2" else controller, groups)
            # In a namespace the group is the root of what is mounted, or its path leads out of what can be seen.
            inside = os.path.relpath(path, root)
            names = [] if inside == "." or inside.startswith("..") else inside.split("/")
            for count in range(len(names), -1, -1):
                yield Path(mount_point, *names[:count])


def _group(controller: str, groups: str) -> str:
    """Return the path of the process's group; `controller` is empty for version 2."""
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"


def _cpus(folder: Path) -> float | None:
    quota, period = (*_words(folder / "cpu.max"), "", "")[:2]
    if not quota:
        quota = "".join(_words(folder / "cpu.cfs_quota_us"))
        period = "".join(_words(folder / "cpu.cfs_period_us"))
    if not (quota.isdecimal() and period.isdecimal()):  # "max", "-1", or no such file
        return None
    return int(quota) / int(period)


def _memory(folder: Path) -> int | None:
    text = "".join(_words(folder / "memory.max")) or "".join(_words(folder / "memory.limit_in_bytes"))
    if not text.isdecimal() or int(text) > _V1_UNLIMITED_BYTES:
        return None
    return int(text)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
