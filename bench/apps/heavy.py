"""A plain view, and one that computes elsewhere."""

import time

from demijohn import Flask
from demijohn.heavy import heavy

app = Flask(__name__)


@heavy
def spin(seconds: float) -> float:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return seconds


@app.get("/")
def hello() -> str:
    return "Hello, World!"


@app.get("/spin/<float:seconds>")
def spin_view(seconds: float) -> dict[str, float]:
    return {"seconds": spin(seconds)}
