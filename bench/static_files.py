"""Time what an application does for a static file, without a server: `python -m bench.static_files`.

Each line is the best of several batches, in microseconds of CPU time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from demijohn import Flask
from demijohn.message import Origin, RequestHead, ResponseMessage

CALLS = 1_000
BATCHES = 15


def cpu_us(step: Callable[[], object]) -> float:
    step()
    step()
    best = float("inf")
    for _ in range(BATCHES):
        begun = time.process_time()
        for _ in range(CALLS):
            step()
        best = min(best, time.process_time() - begun)
    return best / CALLS * 1e6


def head(*fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead("GET", b"/static/file.txt", (1, 1), [(b"host", b"localhost"), *fields], Origin())


def answer(app: Flask, request: RequestHead) -> ResponseMessage:
    app.native_match(request)
    request.environ = None
    message = app.native_handle(request)
    assert isinstance(message, ResponseMessage)
    if message.close is not None:
        message.close()
    return message


def compare(app: Flask, size: int) -> None:
    view = app.view_functions["static"]
    lines = answer(app, head()).field_lines.decode().splitlines()
    has_it = head((b"if-none-match", next(line[6:] for line in lines if line.startswith("ETag: ")).encode()))
    for name, function in (("", view), (", by the view", lambda filename: view(filename=filename))):
        app.view_functions["static"] = function
        print(f"{cpu_us(lambda: answer(app, head())):8.2f} us  {size} bytes{name}")
        print(f"{cpu_us(lambda: answer(app, has_it)):8.2f} us  304 for {size} bytes{name}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "static").mkdir()
        for size in (10_240, 1_048_576):
            (Path(folder) / "static" / "file.txt").write_bytes(b"x" * size)
            app = Flask("bench", root_path=folder)
            compare(app, size)


if __name__ == "__main__":
    main()
