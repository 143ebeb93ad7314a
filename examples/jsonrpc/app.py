from demijohn import Flask
from demijohn.jsonrpc import JSONRPC

app = Flask(__name__)
jsonrpc = JSONRPC(app, "/api", enable_web_browsable_api=True)


@jsonrpc.method("App.index")
def index() -> str:
    return "Welcome to JSON-RPC"


@jsonrpc.method("App.add")
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@jsonrpc.method("App.hello")
def hello(name: str = "World") -> str:
    """Greet someone."""
    return f"Hello, {name}!"
