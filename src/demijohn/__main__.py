"""Where `demijohn` and `python -m demijohn` start."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line of this process and exit."""
    # `serve`, `health` and `top` go past click and the framework, which the others need.
    match sys.argv[1:]:
        case ["serve", *arguments]:
            from .sparing import spare_server

            spare_server()
            from .cli_server import serve

            sys.exit(serve(arguments, os.environ.get("FLASK_APP")))
        case ["health", *arguments]:
            from .cli_server import health

            sys.exit(health(arguments))
        case ["top", *arguments]:
            from .cli_top import top

            sys.exit(top(arguments))
        case _:
            from .cli import main

            main()


if __name__ == "__main__":
    main()
