import os

from demijohn import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"hello": "from a container", "user": os.getuid()}
