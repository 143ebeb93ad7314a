"""Runs tests that expect a server: starts `demijohn serve APPLICATION` in a folder, and pytest beside it.

usage: live.py FOLDER APPLICATION [ARGUMENT OF PYTEST ...]; `API_URL` in the environment of the tests tells where it is.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing

BOOT_LIMIT_S = 60


def main() -> int:
    folder, application, *arguments = sys.argv[1:]
    # Listening already, and handed over: no moment in which somebody else could take the port.
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        descriptor = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "demijohn", "serve", "--bind", f"fd://{descriptor}", application],
            cwd=folder,
            pass_fds=[descriptor],
        )
        try:
            port = listener.getsockname()[1]
            wait_for_answer(port)
            environ = os.environ | {"API_URL": f"http://127.0.0.1:{port}/api"}
            return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environ).returncode
        finally:
            server.terminate()
            server.wait(BOOT_LIMIT_S)


def wait_for_answer(port: int) -> None:
    """Return when the server answers; the listener is there before it, so the request waits in its backlog."""
    with socket.create_connection(("127.0.0.1", port), timeout=BOOT_LIMIT_S) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.recv(1)


if __name__ == "__main__":
    sys.exit(main())
