"""What an image costs: its size, building it, building it again after an edit, and the first answer of a container.

    sudo .venv/bin/python -m bench.image      with .tools/bases (tests/container/make_bases) and docker

Wall time; the first answer is counted from the return of `docker run -d`, in which the process has just been started.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.container.engine import Engine, free_port, running_engine

ROOT = Path(__file__).parents[1]
BASES = ROOT / ".tools/bases"
RUNS = 5


def build(project: Path, engine: Engine, *arguments: str) -> tuple[float, str]:
    """Return how long a build took in s, and its summary."""
    started_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "demijohn", "image", "build", "app:app", *arguments],
        cwd=project,
        env={**engine.environ, "XDG_CACHE_HOME": str(project.parent)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return time.monotonic() - started_s, done.stdout


def first_answer_s(engine: Engine, image: str) -> float:
    port = free_port()
    name = engine.run("run", "-d", "-p", f"127.0.0.1:{port}:8000", image)
    started_s = time.monotonic()
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except OSError:
            time.sleep(0.005)
        else:
            break
    taken_s = time.monotonic() - started_s
    engine.run("rm", "-f", name)
    return taken_s


def edit(project: Path) -> None:
    with (project / "app.py").open("a") as app:
        app.write(f"# {time.monotonic()}\n")


def main() -> None:
    with running_engine() as engine, tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "shop")
        project.mkdir()
        (project / "app.py").write_bytes((ROOT / "examples/container/app.py").read_bytes())
        (project / "requirements.txt").write_text("demijohn\n")
        engine.run("import", "-c", 'CMD ["python3"]', str(BASES / "debian.tar"), "debian-python:bench")
        authority = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
        ways = {
            "without an engine": ("-t", "bench:1", "--base", str(BASES / "slim.tar"), "-o", "image.tar"),
            "docker": (
                *("-t", "bench:2", "--engine", "docker", "--base", "debian-python:bench"),
                *("--secret", f"id=ca,src={authority}"),
            ),
        }
        for way, arguments in ways.items():
            cold_s, _ = build(project, engine, *arguments)
            again_s = []
            for _ in range(RUNS):
                edit(project)
                taken_s, summary = build(project, engine, *arguments)
                again_s.append(taken_s)
            if way != "docker":
                engine.run("load", "-i", str(project / "image.tar"))
            size = re.search(r"^size +(.*)$", summary, re.MULTILINE)
            answers_s = [first_answer_s(engine, arguments[1]) for _ in range(RUNS)]
            print(
                f"{way:18} size {size[1] if size else '?'}; cold {cold_s:.1f} s; after an edit"
                f" {statistics.median(again_s):.2f} s; first answer {statistics.median(answers_s):.2f} s"
                f" (load {os.getloadavg()[0]:.1f})"
            )


if __name__ == "__main__":
    main()
