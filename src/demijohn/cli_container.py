"""The commands that pack an application: `image` and `deploy`."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .commands import NoAppException, ScriptInfo, pass_script_info, prepare_import

if TYPE_CHECKING:
    from .container.build import Progress
    from .container.deploy import Deployment

F = TypeVar("F", bound=Callable[..., Any])

_FOUND = "The application is found as 'demijohn run' finds it, unless APP names it."


def _target_and_folder(info: ScriptInfo, app: str | None, example: str) -> tuple[str, str]:
    """Return `module:name` and the folder to import it from, relative to this one.

    The application is imported only when its name has to be found. Raises NoAppException when there is none.
    """
    if app:
        info.app_import_path = app
    path, colon, name = (info.app_import_path or "").partition(":")
    if colon:
        target = f"{prepare_import(path)}:{name}"
    else:
        info.load_app()
        if info.target is None:
            raise NoAppException(f"Name the application, for example: {example} app:app")
        target = info.target
    folder = os.path.relpath(sys.path[0])
    if folder.startswith(os.pardir):
        raise NoAppException(f"{target!r} is imported from {sys.path[0]}; run this in that folder.")
    return target, folder


def _require_module(target: str) -> None:
    """Raise NoAppException when there is no module to find the application in; it is not imported for that."""
    module = target.partition(":")[0]
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise NoAppException(
            f"There is no module {module!r} here: name the application as module:name, as in"
            " 'demijohn image build app:app'."
        )


def _explains(function: F) -> F:
    """Decorate a callback: what is wrong with the project is said in one sentence, with exit code 1."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        from .container.project import ProjectError

        try:
            return function(*arguments, **options)
        except ProjectError as error:
            raise click.ClickException(str(error)) from None

    return call  # type: ignore[return-value]


_app_argument = click.argument("app", required=False, metavar="[APP]")
_port_option = click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="The port the server listens at."
)
_python_option = click.option(
    "--python",
    default=f"{sys.version_info.major}.{sys.version_info.minor}",
    show_default=True,
    metavar="VERSION",
    help="The Python of the image.",
)
_force_option = click.option("--force", is_flag=True, help="Overwrite files that are there with another text.")


@click.group("image", short_help="Build a container image of the application.")
def image_group() -> None:
    """Build a container image of the application in this folder, or write what one is built from."""


# -- image build ----------------------------------------------------------------------------------


@image_group.command(
    "build",
    short_help="Build an image, with docker, podman or neither.",
    epilog=f"""
\b
Examples:
  demijohn image build app:app -t my_app_image:0.1
  demijohn image build --engine none --base debian.tar -o shop.tar -t shop:1.0
  demijohn image build -t registry.example/shop:1.0 --push

{_FOUND} What it needs is read from requirements.txt, or from pyproject.toml with what uv.lock pins.
""",
)
@_app_argument
@click.option("-t", "--tag", metavar="NAME:TAG", help="The image's name.  [default: the project's name and version]")
@click.option(
    "--engine",
    type=click.Choice(("auto", "docker", "podman", "none")),
    default="auto",
    show_default=True,
    help="What builds. auto takes docker, else podman, else none; and none where --base is a file, or -o is given.",
)
@click.option("--base", metavar="BASE", help="What to build on.  [default: python:VERSION-slim]")
@click.option("--platform", metavar="OS/ARCH", help="What to build for, such as linux/arm64.  [default: this machine]")
@click.option("-o", "--output", metavar="FILE", help="Where to write the archive, without an engine.")
@click.option("--push", is_flag=True, help="Push the image to the registry that its name begins with.")
@click.option("--no-cache", is_flag=True, help="Find the dependencies anew.")
@click.option(
    "--secret", "secrets", multiple=True, metavar="id=ID,src=FILE", help="Give a build with an engine a secret."
)
@_python_option
@_port_option
@pass_script_info
@_explains
def build_command(
    info: ScriptInfo,
    app: str | None,
    tag: str | None,
    engine: str,
    base: str | None,
    platform: str | None,
    output: str | None,
    push: bool,
    no_cache: bool,
    secrets: tuple[str, ...],
    python: str,
    port: int,
) -> None:
    """Build an image that runs APP with 'demijohn serve'.

    Without an engine, the layers are made here and put on the base: an OCI layout, what 'docker save' wrote, the
    archive of a root file system, or an image of a registry. What comes out is the same, byte for byte, as
    long as what goes in is; 'docker load', 'podman load' and skopeo take it.
    """
    from .container import build as builder
    from .container.context import read_context
    from .container.engine import find_engine
    from .container.project import read_project

    target, folder = _target_and_folder(info, app, "demijohn image build")
    _require_module(target)
    order = builder.Order(
        root=Path.cwd(),
        target=target,
        folder=folder,
        tag=builder.full_tag(tag, read_project(Path.cwd())),
        python=python,
        port=port,
        base=base,
        platform=platform,
        secrets=secrets,
    )
    builder.read_order(order)  # what is wrong with the project is said before an engine is looked for
    found = None if engine == "auto" and (output or order.is_file_base) else find_engine(engine)
    left_out = read_context(order.root).left_out
    progress = _progress()
    if found is not None:
        if output:
            raise click.UsageError(f"{found.name} keeps the image itself: leave -o out, or say --engine none.")
        builder.build_with_engine(order, found, progress)
        if push:
            found.push(order.tag)
        click.echo(builder.summary_of_engine(order, found, left_out))
        return
    if engine == "auto" and not (output or order.is_file_base):
        click.echo("Neither docker nor podman answers, so the image is built without an engine.", err=True)
    image = builder.build_without_engine(order, builder.default_cache(), progress, use_cache=not no_cache)
    archive = Path(output) if output else None if push else Path(builder.archive_name(order.tag))
    if archive is not None:
        builder.save(image, archive)
    if push:
        with progress.step("Push") as said:
            builder.push(image)
            said.append(order.tag)
    click.echo(builder.summary_of_image(image, archive, left_out, port))


def _progress() -> Progress:
    from .container.build import Progress

    # A line that is replaced would only fill a log.
    is_terminal = sys.stderr.isatty()

    def show(line: str) -> None:
        click.echo(f"\r\x1b[K{line}" if is_terminal else line, err=True)

    def flash(line: str) -> None:
        if is_terminal:
            click.echo(f"\r\x1b[K{line[:100]}", err=True, nl=False)

    return Progress(show, flash)


# -- image eject, dockerfile, dockerignore ------------------------------------------------------------


@image_group.command(
    "eject",
    short_help="Write Dockerfile and .dockerignore into this folder.",
    epilog=f"""
\b
Examples:
  demijohn image eject
  demijohn image eject --python 3.12 --port 8080 'shop:create_app()'

{_FOUND}
""",
)
@_app_argument
@_python_option
@_port_option
@_force_option
@pass_script_info
@_explains
def eject_command(info: ScriptInfo, app: str | None, python: str, port: int, force: bool) -> None:
    """Write the Dockerfile and the .dockerignore that 'build' works with, to keep and to change.

    From then on, 'demijohn image build' with an engine uses them. A file that was edited is not overwritten.
    """
    from .container.context import dockerignore
    from .container.dockerfile import dockerfile
    from .container.project import read_project
    from .container.wheels import build_own_wheel, comes_from_index

    target, folder = _target_and_folder(info, app, "demijohn image eject")
    project = read_project(Path())
    brings_wheel = not comes_from_index() and not any(Path("wheels").glob("demijohn-*.whl"))
    if brings_wheel:
        project = dataclasses.replace(project, has_wheels=True)
    text = dockerfile(project, target, folder=folder, python=python, port=port)
    _write({"Dockerfile": text, ".dockerignore": dockerignore()}, force)
    if brings_wheel:
        Path("wheels").mkdir(exist_ok=True)
        click.echo(f"{build_own_wheel(Path('wheels'))}: written, because this demijohn is not from a package index")
    click.echo("Build with it: demijohn image build, or docker build -t NAME:TAG .")


def _write(texts: Mapping[str, str], force: bool) -> None:
    """Write files here and say what became of each. Raises ProjectError."""
    from .container.files import write_files

    for name, fate in write_files(texts, Path(), force).items():
        click.echo(f"{name}: {fate}")


@image_group.command(
    "dockerfile",
    short_help="Print a Dockerfile.",
    epilog=f"""
\b
Examples:
  demijohn image dockerfile > Dockerfile
  demijohn image dockerfile --python 3.12 --port 8080 'shop:create_app()' > Dockerfile

{_FOUND}
""",
)
@_app_argument
@_python_option
@_port_option
@pass_script_info
@_explains
def dockerfile_command(info: ScriptInfo, app: str | None, python: str, port: int) -> None:
    """Print a Dockerfile that runs APP with 'demijohn serve'.

    It installs what requirements.txt or pyproject.toml lists, and runs as a user without rights.
    """
    from .container.dockerfile import dockerfile
    from .container.project import read_project

    target, folder = _target_and_folder(info, app, "demijohn image dockerfile")
    click.echo(dockerfile(read_project(Path()), target, folder=folder, python=python, port=port), nl=False)
    if not Path(".dockerignore").exists():
        click.echo(
            "There is no .dockerignore here, so .git, .env and virtual environments would enter the image."
            " Make one: demijohn image dockerignore > .dockerignore",
            err=True,
        )


@image_group.command(
    "dockerignore",
    short_help="Print a .dockerignore.",
    epilog="\b\nExample:\n  demijohn image dockerignore > .dockerignore",
)
def dockerignore_command() -> None:
    """Print what to keep out of an image: secrets, version control, environments, caches."""
    from .container.context import dockerignore

    click.echo(dockerignore(), nl=False)


# -- deploy -------------------------------------------------------------------------------------------

_name_option = click.option("--name", metavar="NAME", help="What to call the service.  [default: the project's name]")
_tag_option = click.option("-t", "--tag", metavar="NAME:TAG", help="The image.  [default: as 'image build' calls it]")


@click.group("deploy", short_help="Write what runs the application elsewhere.")
def deploy_group() -> None:
    """Write what compose, Kubernetes, systemd or nginx need to run the application.

    A file that is there with another text is not overwritten, unless you say --force.
    """


@deploy_group.command(
    "compose", short_help="Write a compose.yaml.", epilog="\b\nExample:\n  demijohn deploy compose -t my_app_image:0.1"
)
@_name_option
@_tag_option
@_port_option
@_force_option
@_explains
def compose_command(name: str | None, tag: str | None, port: int, force: bool) -> None:
    """Write a compose.yaml that runs the image with a read-only root, limits, and time to stop."""
    from .container.deploy import compose

    _write({"compose.yaml": compose(_deployment(name, tag, port))}, force)
    click.echo("Run it with: docker compose up -d")


@deploy_group.command(
    "kubernetes",
    short_help="Write a kubernetes.yaml.",
    epilog="\b\nExample:\n  demijohn deploy kubernetes -t registry.example/shop:1.0 --replicas 3",
)
@_name_option
@_tag_option
@click.option("--replicas", type=click.IntRange(1, 1000), default=2, show_default=True, help="How many pods at least.")
@_port_option
@_force_option
@_explains
def kubernetes_command(name: str | None, tag: str | None, replicas: int, port: int, force: bool) -> None:
    """Write a kubernetes.yaml: Deployment, ConfigMap, Service, PodDisruptionBudget, HorizontalPodAutoscaler."""
    from .container.deploy import kubernetes

    _write({"kubernetes.yaml": kubernetes(_deployment(name, tag, port, replicas))}, force)
    click.echo("Run it with: kubectl apply -f kubernetes.yaml")


@deploy_group.command(
    "systemd",
    short_help="Write a unit for systemd.",
    epilog=f"\b\nExample:\n  demijohn deploy systemd app:app\n\n{_FOUND}",
)
@_app_argument
@_name_option
@_port_option
@_force_option
@pass_script_info
@_explains
def systemd_command(info: ScriptInfo, app: str | None, name: str | None, port: int, force: bool) -> None:
    """Write a unit that runs APP from this folder and this virtual environment, without a container."""
    from .container.deploy import systemd
    from .container.dockerfile import serve_command
    from .container.project import read_project

    target, folder = _target_and_folder(info, app, "demijohn deploy systemd")
    deployment = _deployment(name, None, port)
    program = os.path.join(sys.prefix, "bin", "demijohn")
    arguments = serve_command(target, folder)[2:]
    unit = systemd(deployment, read_project(Path()), program, os.getcwd(), arguments)
    _write({f"{deployment.name}.service": unit}, force)
    click.echo("Its first lines say where it goes.")


@deploy_group.command(
    "nginx", short_help="Write a site for nginx.", epilog="\b\nExample:\n  demijohn deploy nginx --port 8000"
)
@_name_option
@_port_option
@_force_option
@_explains
def nginx_command(name: str | None, port: int, force: bool) -> None:
    """Write a site for nginx that passes everything to the server at PORT of the same machine."""
    from .container.deploy import nginx

    deployment = _deployment(name, None, port)
    _write({f"{deployment.name}.nginx.conf": nginx(deployment)}, force)
    click.echo("Its first lines say where it goes.")


def _deployment(name: str | None, tag: str | None, port: int, replicas: int = 2) -> Deployment:
    """Return what the files of this folder's project are about. Raises ProjectError."""
    from .container.build import full_tag
    from .container.deploy import Deployment, service_name
    from .container.project import ProjectError, read_project
    from .container.registry import parse_reference

    project = read_project(Path())
    name = name or service_name(project)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise ProjectError(f"{name!r} cannot name a service: take small letters, digits and hyphens, as in my-app.")
    image = full_tag(tag, project)
    parse_reference(image)
    has_dockerfile, has_env_file = Path("Dockerfile").exists(), Path(".env").exists()
    return Deployment(name, image, port, replicas, has_dockerfile, has_env_file)
