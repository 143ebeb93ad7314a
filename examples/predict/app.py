"""One function, published as a view, as a JSON-RPC method and as a job."""

import model

from demijohn import Flask, render_template
from demijohn.heavy import heavy, progress
from demijohn.jsonrpc import JSONRPC

app = Flask(__name__)
jsonrpc = JSONRPC(app, "/api", enable_web_browsable_api=True)


@jsonrpc.method("Model.predict")
@heavy(deadline_s=30)
def predict(x: float) -> float:
    """What the model says of x."""
    return round(model.evaluate(x), 6)


@app.get("/predict/<float:x>")
def predict_view(x: float) -> dict[str, float]:
    return {"x": x, "y": predict(x)}


@app.job("/scan")
def scan(start: float = 0.0, step: float = 0.1, steps: int = 30) -> dict[str, float]:
    """Look for the largest value, point after point."""
    points = [start + step * number for number in range(steps)]
    values = {x: predict(x) for x in progress(points)}
    best = max(values, key=lambda x: values[x])
    return {"x": best, "y": values[best]}


@app.get("/")
def index() -> str:
    return render_template("index.html")
