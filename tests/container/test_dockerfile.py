"""What `demijohn image` prints, read as a builder would read it."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn.container.context import dockerignore
from demijohn.container.dockerfile import dockerfile
from demijohn.container.project import Project, ProjectError, read_project

HELLO = "from demijohn import Flask\napp = Flask(__name__)\n"


@dataclass
class Instruction:
    name: str
    value: str

    @property
    def exec_form(self) -> list[str]:
        """The arguments of an instruction that runs no shell."""
        value: list[str] = json.loads(self.value)
        return value


def parse(text: str) -> list[list[Instruction]]:
    """Return the instructions of each stage; those before the first FROM come first."""
    stages: list[list[Instruction]] = [[]]
    lines = [line for line in text.splitlines() if not re.match(r"\s*#", line)]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        if not line.strip():
            continue
        name, _, value = line.partition(" ")
        assert re.fullmatch("FROM|ARG|RUN|COPY|WORKDIR|LABEL|ENV|USER|EXPOSE|STOPSIGNAL|HEALTHCHECK|CMD", name), line
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, value.strip()))
    return stages


def values(stage: list[Instruction], name: str) -> list[str]:
    return [instruction.value for instruction in stage if instruction.name == name]


def only(stage: list[Instruction], name: str) -> Instruction:
    found = [instruction for instruction in stage if instruction.name == name]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


# -- the stages -----------------------------------------------------------------------------------


def test_final_stage_runs_the_server_itself_as_a_numeric_user() -> None:
    _, build, final = parse(dockerfile(Project("shop"), "shop:app"))
    assert only(final, "CMD").exec_form == ["demijohn", "serve", "shop:app"]
    assert {"PORT=8000", "container=oci", "DEMIJOHN_READYZ_PATH=/readyz"} <= set(" ".join(values(final, "ENV")).split())
    assert only(final, "USER").value == "10001:10001"
    assert only(final, "EXPOSE").value == "8000"
    assert only(final, "STOPSIGNAL").value == "SIGTERM"
    assert values(build, "CMD") == []


def test_final_stage_runs_no_shell_and_installs_nothing() -> None:
    _, _, final = parse(dockerfile(Project("shop", requirement_files=("requirements.txt",)), "shop:app"))
    assert values(final, "RUN") == []
    assert values(final, "COPY") == ["--from=build /venv /venv", "--from=build /app /app"]


def test_health_check_is_our_own_command_in_exec_form() -> None:
    _, _, final = parse(dockerfile(Project("shop"), "shop:app", port=8080))
    options, _, command = only(final, "HEALTHCHECK").value.partition("CMD ")
    assert json.loads(command) == ["demijohn", "health"]
    assert "--timeout=5s" in options
    assert "PORT=8080" in " ".join(values(final, "ENV")).split()
    assert only(final, "EXPOSE").value == "8080"


def test_both_stages_stand_on_one_base_that_can_be_replaced() -> None:
    start, build, final = parse(dockerfile(Project("shop"), "shop:app", python="3.13"))
    assert values(start, "ARG") == ["PYTHON_IMAGE=python:3.13-slim"]
    assert values(build, "FROM") == ["${PYTHON_IMAGE} AS build"]
    assert values(final, "FROM") == ["${PYTHON_IMAGE}"]


@pytest.mark.parametrize("python", ["3", "3.10", "2.7", "4.0", "3.11; rm", "latest", ""])
def test_python_that_demijohn_does_not_run_on_is_refused(python: str) -> None:
    with pytest.raises(ProjectError, match="not a version of Python"):
        dockerfile(Project("shop"), "shop:app", python=python)


def test_environment_has_no_pip_and_its_bytecode() -> None:
    _, build, _ = parse(dockerfile(Project("shop"), "shop:app"))
    venv, install, application = values(build, "RUN")
    assert venv == "python3 -m venv /tool && python3 -m venv --without-pip /venv"
    assert "compileall" in install
    assert "compileall" in application


def test_dependencies_are_installed_before_the_code_is_copied() -> None:
    _, build, _ = parse(dockerfile(Project("shop", requirement_files=("requirements.txt",)), "shop:app"))
    names = [f"{instruction.name} {instruction.value}" for instruction in build]
    installing = next(i for i, name in enumerate(names) if "-r requirements.txt" in name)
    assert names.index('COPY ["requirements.txt", "requirements.txt"]') < installing < names.index("COPY . .")


def test_secrets_are_mounted_and_never_arguments_or_variables() -> None:
    text = dockerfile(Project("shop", is_package=True), "shop:app")
    for line in text.splitlines():
        if line.startswith(("ARG", "ENV")):
            assert not re.search("PIP|TOKEN|PASSWORD|INDEX", line)
    assert text.count("--mount=type=secret,id=pip,target=/etc/pip.conf") == 2


@given(
    title=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1),
    arguments=st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_no_name_breaks_out_of_its_line(title: str, arguments: list[str]) -> None:
    target = f"shop:create_app({', '.join(map(ascii, arguments))})"
    _, _, final = parse(dockerfile(Project(title), target))
    assert only(final, "CMD").exec_form[-1] == target
    label = only(final, "LABEL").value
    assert re.match(r'org\.opencontainers\.image\.title="(\\.|[^"\\$])*" +org', label)


# -- reading a project ----------------------------------------------------------------------------


def test_requirements_and_what_they_include_are_copied(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text("-r more/base.txt\n-c limits.txt\nnumpy\n")
    (tmp_path / "more" / "base.txt").write_text("--requirement=../again.txt\nDemijohn[async] >= 0.1\n")
    (tmp_path / "limits.txt").write_text("numpy<3\n")
    (tmp_path / "again.txt").write_text("-r requirements.txt\n")
    project = read_project(tmp_path)
    assert project.requirement_files == ("requirements.txt", "more/base.txt", "limits.txt", "again.txt")
    assert project.lists_demijohn
    text = dockerfile(project, "shop:app")
    assert 'COPY ["more/base.txt", "more/base.txt"]' in text
    assert "demijohn==" not in text


def test_requirements_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r ../base.txt\n")
    with pytest.raises(ProjectError, match="outside of this folder"):
        read_project(tmp_path)


@pytest.mark.parametrize("line", ["# demijohn", "demijohn-extras", "numpy", "./demijohn.whl", ""])
def test_demijohn_is_added_where_it_is_not_listed(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"{line}\n")
    assert re.search(r"-r requirements.txt demijohn==\d", dockerfile(read_project(tmp_path), "shop:app"))


def test_pyproject_gives_title_version_and_dependencies(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1.2"\ndependencies = ["demijohn", "numpy>=2"]\n'
    )
    project = read_project(tmp_path)
    listed = ("demijohn", "numpy>=2")
    assert project == Project("shop", "1.2", pyproject_dependencies=True, dependencies=listed, lists_demijohn=True)
    _, build, final = parse(dockerfile(project, "shop:app"))
    assert 'org.opencontainers.image.version="1.2"' in only(final, "LABEL").value
    # The line that lists the dependencies is run here as the builder's shell would run it.
    command = next(run for run in values(build, "RUN") if "tomllib" in run).replace("/tmp/requirements.txt", "listed")
    subprocess.run(command.replace("python3", sys.executable, 1), shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "listed").read_text() == "demijohn\nnumpy>=2\n"


def test_what_uv_has_locked_is_pinned(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\ndependencies = ["demijohn"]\n')
    (tmp_path / "uv.lock").write_text(
        "version = 1\n"
        '[[package]]\nname = "shop"\nversion = "0.1"\nsource = { virtual = "." }\n'
        '[[package]]\nname = "click"\nversion = "8.3.0"\nsource = { registry = "https://index.example/simple" }\n'
        '[[package]]\nname = "numpy"\nversion = "2.2"\nsource = { registry = "https://index.example/simple" }\n'
        '[[package]]\nname = "numpy"\nversion = "2.3"\nsource = { registry = "https://index.example/simple" }\n'
    )
    project = read_project(tmp_path)
    assert project.locked == ("click==8.3.0",)
    _, build, _ = parse(dockerfile(project, "shop:app"))
    command = next(run for run in values(build, "RUN") if "uv.lock" in run).replace("/tmp/constraints.txt", "pins")
    subprocess.run(command.replace("python3", sys.executable, 1), shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "pins").read_text() == "click==8.3.0\n"
    assert any("-c /tmp/constraints.txt" in run for run in values(build, "RUN"))


def test_project_that_is_a_package_is_installed_after_its_dependencies(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "shop"\ndynamic = ["version"]\n'
    )
    _, build, _ = parse(dockerfile(read_project(tmp_path), "shop:app"))
    names = [f"{instruction.name} {instruction.value}" for instruction in build]
    assert names.index("COPY . .") < next(i for i, name in enumerate(names) if name.endswith("check ."))


def test_wheels_of_the_project_are_found_but_not_kept(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    assert not read_project(tmp_path).has_wheels
    (tmp_path / "wheels" / "shop-1.0-py3-none-any.whl").touch()
    _, build, _ = parse(dockerfile(read_project(tmp_path), "shop:app"))
    install, application = values(build, "RUN")[1:]
    assert "--find-links wheels" in install
    assert application.startswith("rm -rf wheels; ")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pyproject.toml", b"[project", "pyproject.toml is not valid TOML"),
        ("pyproject.toml", b"\xff", "pyproject.toml cannot be read"),
        ("requirements.txt", b"\xff", "requirements.txt cannot be read"),
        ("requirements.txt", b"-r nope.txt", "nope.txt cannot be read"),
    ],
)
def test_file_that_cannot_be_read_is_named(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ProjectError, match=re.escape(message)):
        read_project(tmp_path)


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment", "target"),
    [
        ([], {}, ["app:app"]),
        (["hello"], {}, ["hello:app"]),
        (["hello.py"], {}, ["hello:app"]),
        (["factory"], {}, ["factory:create_app()"]),
        (["not_importable_here:application"], {}, ["not_importable_here:application"]),
        (["factory:create('x')"], {}, ["factory:create('x')"]),
        ([], {"FLASK_APP": "hello"}, ["hello:app"]),
        (["src/deep.py"], {}, ["--chdir", "src", "deep:app"]),
    ],
)
def test_app_is_found_as_run_finds_it(
    tmp_path: Path, demijohn: Callable[..., Any], arguments: list[str], environment: dict[str, str], target: list[str]
) -> None:
    (tmp_path / "src").mkdir()
    for name in ("app.py", "hello.py", "src/deep.py"):
        (tmp_path / name).write_text(HELLO)
    (tmp_path / "factory.py").write_text("import demijohn\ndef create_app():\n    return demijohn.Flask('made')\n")
    result = demijohn("image", "dockerfile", *arguments, cwd=tmp_path, **environment)
    assert result.returncode == 0, result.stderr
    _, _, final = parse(result.stdout)
    assert only(final, "CMD").exec_form == ["demijohn", "serve", *target]


def test_command_warns_until_there_is_a_dockerignore(tmp_path: Path, demijohn: Callable[..., Any]) -> None:
    assert "image dockerignore" in demijohn("image", "dockerfile", "app:app", cwd=tmp_path).stderr
    (tmp_path / ".dockerignore").write_text(demijohn("image", "dockerignore", cwd=tmp_path).stdout)
    assert demijohn("image", "dockerfile", "app:app", cwd=tmp_path).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Could not locate a Flask application"),
        (["--python", "2.7", "app:app"], "'2.7' is not a version of Python"),
        (["--port", "0", "app:app"], "0 is not in the range"),
        (["../elsewhere.py:app"], "run this in that folder"),
    ],
)
def test_command_explains_what_is_wrong(
    tmp_path: Path, demijohn: Callable[..., Any], arguments: list[str], message: str
) -> None:
    result = demijohn("image", "dockerfile", *arguments, cwd=tmp_path)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


# -- the .dockerignore and the linter -------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [".git", ".env", "deploy/.env.production", ".venv", "certs/server.key", "pkg/__pycache__", "instance"]
)
def test_secrets_and_environments_stay_out(path: str) -> None:
    assert any(ignores(pattern, path) for pattern in patterns())


@pytest.mark.parametrize(
    "path",
    ["app.py", "requirements.txt", "pyproject.toml", "wheels/demijohn-1.0.whl", "templates/index.html", "README.md"],
)
def test_what_a_build_needs_stays_in(path: str) -> None:
    assert not any(ignores(pattern, path) for pattern in patterns())


def patterns() -> list[str]:
    return [line for line in dockerignore().splitlines() if line and not line.startswith("#")]


def ignores(pattern: str, path: str) -> bool:
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatchcase(part, pattern[3:]) for part in path.split("/"))
    return fnmatch.fnmatchcase(path.split("/")[0], pattern)


PROJECTS = [
    Project("shop"),
    Project("shop", "1.0", ("requirements.txt", "base.txt"), has_wheels=True, lists_demijohn=True),
    Project("shop $HOME", "1.0", pyproject_dependencies=True, is_package=True),
]


@pytest.mark.parametrize("project", PROJECTS, ids=["nothing", "requirements", "package"])
def test_linter_has_nothing_to_say(tmp_path: Path, project: Project) -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    (tmp_path / "Dockerfile").write_text(dockerfile(project, "shop:app"))
    result = subprocess.run([hadolint, "Dockerfile"], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout + result.stderr == ""
