"""What a container allows its processes, read from the files that the kernel shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demijohn.server.cgroups import Limits, is_container, read_limits, workers_that_fit
from demijohn.server.settings import from_values

MB = 1024 * 1024


class Machine:
    """The part of a file system that control groups show a process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = root / "proc"
        self.process.mkdir()

    def mount(self, kind: str, options: str, root: str = "/") -> None:
        """Mount a hierarchy at a folder that is called as its options."""
        with (self.process / "mountinfo").open("a") as mounts:
            mounts.write(f"31 23 0:28 {root} {self.root / options} rw,relatime shared:9 - {kind} {kind} rw,{options}\n")

    def join(self, *lines: str) -> None:
        (self.process / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def say(self, file: str, text: str) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def limits(self) -> Limits:
        return read_limits(self.process)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_2_in_a_namespace(machine: Machine) -> None:
    machine.mount("cgroup2", "unified")
    machine.join("0::/")
    machine.say("unified/cpu.max", "150000 100000")
    machine.say("unified/memory.max", str(256 * MB))
    assert machine.limits() == Limits(1.5, 256 * MB)


def test_version_1_whose_path_is_that_of_the_host(machine: Machine) -> None:
    machine.mount("cgroup", "cpu,cpuacct", root="/docker/1f0c")
    machine.mount("cgroup", "memory", root="/docker/1f0c")
    machine.join("4:memory:/docker/1f0c", "2:cpu,cpuacct:/docker/1f0c", "0::/")
    machine.say("cpu,cpuacct/cpu.cfs_quota_us", "50000")
    machine.say("cpu,cpuacct/cpu.cfs_period_us", "100000")
    machine.say("memory/memory.limit_in_bytes", str(128 * MB))
    assert machine.limits() == Limits(0.5, 128 * MB)


def test_the_narrowest_of_the_groups_around_counts(machine: Machine) -> None:
    machine.mount("cgroup2", "unified")
    machine.join("0::/shop.slice/shop.service")
    machine.say("unified/cpu.max", "max 100000")
    machine.say("unified/shop.slice/cpu.max", "200000 100000")
    machine.say("unified/shop.slice/shop.service/cpu.max", "400000 100000")
    machine.say("unified/shop.slice/memory.max", str(512 * MB))
    machine.say("unified/shop.slice/shop.service/memory.max", "max")
    assert machine.limits() == Limits(2.0, 512 * MB)


def test_both_versions_side_by_side(machine: Machine) -> None:
    machine.mount("cgroup", "memory")
    machine.mount("cgroup2", "unified")
    machine.join("4:memory:/shop", "0::/")
    machine.say("memory/shop/memory.limit_in_bytes", str(64 * MB))
    assert machine.limits() == Limits(None, 64 * MB)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("unified/cpu.max", "max 100000"),
        ("unified/cpu.cfs_quota_us", "-1"),
        ("unified/memory.max", "max"),
        ("unified/memory.limit_in_bytes", "9223372036854771712"),
    ],
)
def test_what_says_no_limit_is_none(machine: Machine, file: str, text: str) -> None:
    machine.mount("cgroup2", "unified")
    machine.join("0::/../..")
    machine.say(file, text)
    assert machine.limits() == Limits()


def test_without_control_groups_there_are_no_limits(tmp_path: Path) -> None:
    assert read_limits(tmp_path) == Limits()


def test_there_is_a_worker_for_each_processor_at_most() -> None:
    assert 1 <= workers_that_fit() <= len(os.sched_getaffinity(0))


# -- the defaults that follow -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "bind"),
    [
        ({}, "127.0.0.1:8000"),
        ({"HOST": "x86_64-conda-linux-gnu"}, "127.0.0.1:8000"),
        ({"PORT": "80"}, "0.0.0.0:80"),
        ({"container": "oci"}, "0.0.0.0:8000"),
        ({"container": "", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "127.0.0.1:8000"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "0.0.0.0:8000"),
        ({"container": "oci", "PORT": "80"}, "0.0.0.0:80"),
        ({"container": "oci", "HOST": "127.0.0.1"}, "127.0.0.1:8000"),
        ({"container": "oci", "HOST": "::", "PORT": "80"}, "[::]:80"),
        ({"container": "oci", "HOST": "::", "DEMIJOHN_BIND": "unix:/s"}, "unix:/s"),
    ],
)
def test_where_the_server_listens(environ: dict[str, str], bind: str) -> None:
    assert from_values({}, environ).bind == (bind,)


def test_only_a_container_decides_the_number_of_workers() -> None:
    assert from_values({}, {}).workers == 1
    assert from_values({}, {"container": "oci"}).workers == workers_that_fit()
    assert from_values({}, {"container": "oci", "WEB_CONCURRENCY": "7"}).workers == 7
    assert from_values({"workers": "5"}, {"container": "oci", "WEB_CONCURRENCY": "7"}).workers == 5


def test_an_empty_variable_says_that_this_is_no_container() -> None:
    assert not is_container({"container": ""})
    assert is_container({"container": "podman"})
