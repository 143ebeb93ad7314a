"""Building an image: with an engine that is there, or without any, and what is said about it."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .base import Base, find_runtime, read_base_file
from .bytecode import compile_library, compile_tree
from .context import Context, read_context
from .dockerfile import dockerfile
from .engine import Engine
from .image import Image, assemble, write_archive
from .layers import Cache, Layer, cache_key, pack
from .project import Project, ProjectError, read_project
from .registry import Registry, parse_reference, read_base_from_registry
from .wheels import (
    Runtime,
    build_own_wheel,
    build_project_wheel,
    find_wheels,
    make_environment,
    unpack,
)

# Raised when the same input would give another layer.
_RECIPE = 2
_MADE_BY = "demijohn image build"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built.

    root: the folder of the project.
    target: the application, `module:name`; folder: where it is imported from, relative to root.
    tag: the image's name.
    base: what to build on: a file, a folder or a name in a registry; None for python:VERSION-slim.
    platform: such as "linux/arm64"; None for this machine's.
    python: the version of `base` when none is named.
    """

    root: Path
    target: str
    folder: str
    tag: str
    python: str
    port: int = 8000
    base: str | None = None
    platform: str | None = None
    secrets: tuple[str, ...] = ()

    @property
    def is_file_base(self) -> bool:
        """Whether the base is a file or a folder and not a name."""
        name = self.base or ""
        return name.startswith((".", "/", "~")) or ".tar" in name or name.endswith(".tgz") or os.path.exists(name)

    @property
    def base_name(self) -> str:
        return self.base or f"python:{self.python}-slim"


class Progress:
    """Says what is being done, and how long it took. `show` writes a line, and `flash` what is replaced by the next."""

    def __init__(self, show: Callable[[str], None], flash: Callable[[str], None]) -> None:
        self._show = show
        self.flash = flash

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time what is done inside, and say it with what was put into the list."""
        started_s = time.monotonic()
        self.flash(f"{name} ...")
        said: list[str] = []
        yield said
        self._show(f"{name:<14}{', '.join(said)} ({time.monotonic() - started_s:.1f} s)")


def read_order(order: Order) -> tuple[Project, Context]:
    """Return what there is to build; raises ProjectError when something of it is missing or must not be."""
    parse_reference(order.tag)
    project = read_project(order.root)
    if not project.says_what_it_needs:
        raise ProjectError(
            "There is no requirements.txt and no pyproject.toml that says what the application needs: write one, with a"
            " name on each line (for a start: echo demijohn > requirements.txt)."
        )
    return project, read_context(order.root)


def full_tag(tag: str | None, project: Project) -> str:
    """Return the name of an image with its tag; without a name, the project's."""
    if tag is None:
        name = re.sub(r"[^a-z0-9]+", "-", project.title.lower()).strip("-") or "app"
        return f"{name}:{project.version or 'latest'}"
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def archive_name(tag: str) -> str:
    """Return what to call the archive of an image: `shop-1.0.tar` for `registry.example/shop:1.0`."""
    return tag.rpartition("/")[2].replace(":", "-") + ".tar"


def default_cache() -> Cache:
    return Cache(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "demijohn" / "image")


# -- with an engine -------------------------------------------------------------------------------


def build_with_engine(order: Order, engine: Engine, progress: Progress) -> None:
    """Build the Dockerfile of the project, or ours, with an engine. Raises ProjectError."""
    project, context = read_order(order)
    with tempfile.TemporaryDirectory(prefix="demijohn-") as folder:
        stage = Path(folder)
        with progress.step("Context") as said:
            context.copy_to(stage)
            (stage / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
            own = order.root / "Dockerfile"
            if own.exists():
                shutil.copy(own, stage / "Dockerfile")
            else:
                # The demijohn that runs here goes along, because nobody may have published it.
                (stage / "wheels").mkdir(exist_ok=True)
                build_own_wheel(stage / "wheels")
                text = dockerfile(
                    replace(project, has_wheels=True),
                    order.target,
                    folder=order.folder,
                    python=order.python,
                    port=order.port,
                    base=order.base,
                )
                (stage / "Dockerfile").write_text(text)
            said += [f"{len(context.paths)} files", "your Dockerfile" if own.exists() else "a Dockerfile made for it"]
        with progress.step("Image") as said:
            engine.build(stage, order.tag, order.platform, order.base, list(order.secrets))
            said.append(f"built by {engine.name}")


# -- without one ------------------------------------------------------------------------------------


def build_without_engine(order: Order, cache: Cache, progress: Progress, use_cache: bool = True) -> Image:
    """Build an image of layers made here. Raises ProjectError."""
    project, context = read_order(order)
    wanted = order.platform or f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}"
    if not wanted.startswith("linux/") or wanted.count("/") != 1:
        raise ProjectError(f"{wanted!r} is not a platform to build for: name linux/amd64 or linux/arm64.")
    with progress.step("Base") as said:
        base = _read_base(order, wanted, cache)
        runtime = find_runtime(base, wanted, cache)
        said += [order.base_name, f"Python {runtime.version}", wanted]
        said.append(_megabytes(sum(layer.unpacked_bytes for layer in base.layers)))
    with cache.temporary() as work:
        with progress.step("Dependencies") as said:
            dependencies = _dependency_layer(
                project, order.root, base, runtime, cache, Path(work), progress, said, use_cache
            )
        with progress.step("Application") as said:
            application = _application_layer(project, context, runtime, Path(work), cache, said)
        layers = [(dependencies, f"{_MADE_BY}: dependencies"), (application, f"{_MADE_BY}: application")]
        image = assemble(base, layers, project, order.target, order.folder, order.port, order.tag)
    cache.throw_away_old()
    return image


def _read_base(order: Order, wanted: str, cache: Cache) -> Base:
    if order.is_file_base:
        path = Path(order.base_name).expanduser()
        if not path.exists():
            raise ProjectError(f"The base {path} does not exist: correct the path, or name an image of a registry.")
        return read_base_file(path, wanted, cache)
    try:
        return read_base_from_registry(order.base_name, wanted, cache)
    except ProjectError as error:
        raise ProjectError(
            f"The base {order.base_name} cannot be had ({str(error).rstrip('.')}): name another with --base, an image"
            " of a registry or a file (an OCI layout, an archive of docker save, a root file system)."
        ) from None


def _dependency_layer(
    project: Project,
    root: Path,
    base: Base,
    runtime: Runtime,
    cache: Cache,
    work: Path,
    progress: Progress,
    said: list[str],
    use_cache: bool,
) -> Layer:
    # Of a base without bytecode, some of its library is compiled here.
    stands_on = [] if runtime.library_has_bytecode else [each.diff_id for each in base.layers]
    key = "dependencies-" + cache_key(_dependency_key(project, root, runtime, work), stands_on)
    known = cache.layer(key) if use_cache else None
    if known is not None:
        said += ["unchanged", _megabytes(known.unpacked_bytes)]
        return known
    tree = work / "dependencies"
    make_environment(tree, runtime)
    wheels = find_wheels(project, root, runtime, work, lambda name: progress.flash(f"Dependencies  {name}"))
    for wheel in wheels:
        unpack(wheel, tree, runtime)
    compiled = compile_tree(tree, runtime, "unchecked-hash")
    compile_library(base, runtime, work, tree)
    layer = cache.keep(key, pack(tree, work / "dependencies.layer"))
    said += [f"{len(wheels)} wheels", "" if compiled else _no_bytecode(runtime), _megabytes(layer.unpacked_bytes)]
    said[:] = filter(None, said)
    return layer


def _dependency_key(project: Project, root: Path, runtime: Runtime, work: Path) -> str:
    """Return what the layer of the dependencies follows from."""
    files = [(root / name).read_text(encoding="utf-8") for name in project.requirement_files]
    wheels = sorted((root / "wheels").glob("*.whl")) if project.has_wheels else []
    (work / "key").mkdir()
    own = build_own_wheel(work / "key")
    contents = [cache_key(path.read_bytes().hex()) for path in (own, *wheels)]
    indexes = [os.environ.get(name) for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "SOURCE_DATE_EPOCH")]
    return cache_key(_RECIPE, files, project.dependencies, project.locked, contents, runtime, indexes)


def _no_bytecode(runtime: Runtime) -> str:
    return f"no bytecode, because there is no python{runtime.version} here"


def _application_layer(
    project: Project, context: Context, runtime: Runtime, work: Path, cache: Cache, said: list[str]
) -> Layer:
    tree = work / "application"
    (tree / "app").mkdir(parents=True)
    context.copy_to(tree / "app")
    shutil.rmtree(tree / "app/wheels", ignore_errors=True)
    if project.is_package:
        wheel = build_project_wheel(context.folder, work)
        unpack(wheel, tree, runtime)
        said.append(wheel.name)
    compiled = compile_tree(tree, runtime, "checked-hash")
    layer = pack(tree, work / "application.layer")
    said += [f"{len(context.paths)} files", "" if compiled else _no_bytecode(runtime), _megabytes(layer.unpacked_bytes)]
    said[:] = filter(None, said)
    return cache.keep("application-" + cache_key(layer.diff_id), layer)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def save(image: Image, target: Path) -> None:
    """Write the archive of an image. Raises ProjectError when there is no place for it."""
    try:
        write_archive(image, target)
    except OSError as error:
        raise ProjectError(f"{target} cannot be written: {error.strerror}; name another place with -o.") from None


def push(image: Image) -> None:
    """Push an image to the registry its name begins with. Raises ProjectError when that refuses."""
    Registry(parse_reference(image.reference)).push(image)


# -- the summary ------------------------------------------------------------------------------------


def summary_of_image(image: Image, archive: Path | None, left_out: tuple[str, ...], port: int) -> str:
    """Return what to tell of an image that was built without an engine."""
    rows = [
        ("image", image.reference),
        ("size", f"{_megabytes(image.unpacked_bytes)} in {len(image.layers)} layers"),
        ("id", image.image_id),
        ("digest", image.digest),
    ]
    if left_out:
        rows.append(_left_out(left_out, "docker"))
    run = f"docker run -p {port}:{port} -d {image.reference}"
    if archive is not None:
        rows.append(("file", f"{archive} ({_megabytes(archive.stat().st_size)})"))
        run = f"docker load -i {shlex.quote(str(archive))} && {run}"
    rows.append(("run it", run))
    return _table(rows)


def summary_of_engine(order: Order, engine: Engine, left_out: tuple[str, ...]) -> str:
    """Return what to tell of an image that an engine has built."""
    rows = [("image", order.tag)]
    size = engine.inspect(order.tag, "{{.Size}}")
    layers = engine.inspect(order.tag, "{{len .RootFS.Layers}}")
    if size.isdecimal():
        rows.append(("size", f"{_megabytes(int(size))} in {layers} layers"))
    rows.append(("id", engine.inspect(order.tag, "{{.Id}}")))
    if left_out:
        rows.append(_left_out(left_out, engine.name))
    rows.append(("run it", f"{engine.name} run -p {order.port}:{order.port} -d {order.tag}"))
    return _table(rows)


def _left_out(secrets: tuple[str, ...], engine: str) -> tuple[str, str]:
    return "left out", f"{', '.join(secrets)} (give secrets when it runs: {engine} run --env-file .env)"


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name:<10}{value}" for name, value in rows)
