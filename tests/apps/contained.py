"""An application that tells what the container around it allows; tests/container asks it."""

from __future__ import annotations

import os
import subprocess
import sys

from demijohn import Flask, request

app = Flask(__name__)


@app.get("/")
def index():
    return {"pid": os.getpid(), "parent": os.getppid(), "user": os.getuid()}


@app.get("/wait")
def wait():
    """Say at one pipe that the view is inside, and wait at another."""
    with open("/gate/inside", "w"):
        pass
    with open("/gate/go") as go:
        return go.read()


@app.get("/eat/<int:megabytes>")
def eat(megabytes):
    return str(len(bytearray(megabytes << 20)))


@app.get("/write")
def write():
    try:
        with open("/app/written", "w"):
            return "written"
    except OSError as error:
        return str(error.strerror)


@app.post("/upload")
def upload():
    return str(len(request.get_data()))


@app.get("/print")
def say():
    print("printed by a view")
    return "printed"


@app.get("/orphan")
def orphan():
    """Leave a child behind whose parent is gone; return its process id."""
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '']).pid)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@app.get("/exists/<int:pid>")
def exists(pid):
    return str(os.path.exists(f"/proc/{pid}"))
