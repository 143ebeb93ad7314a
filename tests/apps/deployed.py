"""One application, bare and behind the middleware that deployments put around it; test_deployment.py asks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.middleware.shared_data import SharedDataMiddleware

from demijohn import Flask, Response, request, send_file, session, stream_with_context, url_for


def make_app(name: str = "shop") -> Flask:
    app = Flask(name, root_path=str(Path(__file__).parent), static_folder=None)
    app.secret_key = "not for production"

    @app.get("/")
    def hello() -> str:
        return f"Hello from {name}!"

    @app.get("/where")
    def where() -> dict[str, Any]:
        return {
            "url": request.url,
            "scheme": request.scheme,
            "client": request.remote_addr,
            "script": request.script_root,
            "link": url_for("hello", _external=True),
        }

    @app.post("/echo")
    def echo() -> dict[str, Any]:
        return {"json": request.get_json()}

    @app.post("/form")
    def form() -> dict[str, Any]:
        return {"form": request.form, "files": {name: file.read().decode() for name, file in request.files.items()}}

    @app.get("/count")
    def count() -> dict[str, int]:
        session["count"] = session.get("count", 0) + 1
        return {"count": session["count"]}

    @app.get("/stream")
    def stream() -> Any:
        @stream_with_context
        def lines() -> Iterator[str]:
            for number in range(3):
                yield f"{request.path} {number}\n"

        return lines()

    @app.get("/source")
    def source() -> Any:
        return send_file(__file__, mimetype="text/plain", conditional=True)

    @app.get("/nothing")
    def nothing() -> Response:
        response = Response(status=204)
        del response.headers["Content-Type"]  # Flask leaves it, and wsgiref.validate says there must be none
        return response

    @app.get("/fails")
    def fails() -> str:
        raise ValueError("a bug in the application")

    return app


app = make_app()


def validated(environ: dict[str, Any], start_response: Any) -> Any:
    """The application, where a request in which it or the server breaks PEP 3333 ends with an AssertionError."""
    # With this extension Werkzeug reads to the end, without a size. PEP 3333 allows that, but the validator does not.
    environ.pop("wsgi.input_terminated", None)
    return validator(app)(environ, start_response)


proxied = make_app()
proxied.wsgi_app = ProxyFix(proxied.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]

mounted = DispatcherMiddleware(make_app(), {"/api": make_app("api")})
shared = SharedDataMiddleware(make_app(), {"/files": str(Path(__file__).parent)})

mounted_inside = make_app()
mounted_inside.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
    mounted_inside.wsgi_app, {"/api": make_app("api")}
)
