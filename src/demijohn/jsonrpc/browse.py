"""The page to try methods in a browser: `/api/browse`.

One HTML page with scripts and a style sheet of our own; it reads the OpenRPC documents of its sites and calls
them as any client would. It loads nothing from elsewhere, and its Content-Security-Policy forbids that it could.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..app import Flask
from ..blueprints import Blueprint
from ..globals import request
from ..helpers import send_from_directory
from ..templating import render_template
from ..wrappers import Response
from .encoding import encode
from .openrpc import document, title_of

if TYPE_CHECKING:
    from .site import JSONRPCSite

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def urn(name: str, *parts: str) -> str:
    """Return the endpoint name of a JSON-RPC view: `urn("app", "shop", "/api/v1")` is `urn:app:shop:api:v1`."""
    pieces = [piece for part in (name, *parts) for piece in part.replace(".", "/").replace(":", "/").split("/")]
    return ":".join(["urn", *filter(None, pieces)]).lower()


class JSONRPCBrowse:
    """The page of an application at `url_prefix`, for the sites that are registered with it."""

    template = "jsonrpc/browse.html"

    def __init__(self, app: Flask | None = None, url_prefix: str = "/api/browse", base_url: str | None = None) -> None:
        self.url_prefix = url_prefix
        self.base_url = base_url
        self.sites: list[JSONRPCSite] = []
        if app is not None:
            self.init_app(app)

    def register_jsonrpc_site(self, site: JSONRPCSite) -> None:
        """Show the methods of a site, those that are registered later too."""
        if site not in self.sites:
            self.sites.append(site)

    def init_app(self, app: Flask) -> None:
        """Put the page, its files and its data into an application."""
        self.title = title_of(app)
        self.name = urn("browse", app.name, self.url_prefix)
        pages = Blueprint(
            self.name,
            __name__,
            url_prefix=self.url_prefix,
            template_folder="templates",
        )
        self.add_rules(pages)
        app.register_blueprint(pages)

    def add_rules(self, pages: Blueprint) -> None:
        """Give the page and what belongs to it their URLs."""
        pages.add_url_rule("", "vf_index", self.vf_index)
        pages.add_url_rule("/", "vf_index", self.vf_index)
        pages.add_url_rule("/openrpc.json", "vf_openrpc", self.vf_openrpc)
        pages.add_url_rule("/static/<path:filename>", "static", self.vf_static)

    # The header fields are set by each view: an after_request hook would cost every request of the application.

    def vf_index(self) -> Response:
        """The page."""
        return _hardened(Response(render_template(self.template, **self.context())))

    def context(self) -> dict[str, Any]:
        """Return what the template knows."""
        return {"title": self.title, "pages": self.name, "files": f"{self.name}.static"}

    def vf_openrpc(self) -> Response:
        """The OpenRPC documents of all sites on the page."""
        # Not by jsonify, which sorts: members stand on the page in the order of their class.
        content = encode([self._document(site) for site in self.sites])
        return _hardened(Response(content, content_type="application/json"))

    def vf_static(self, filename: str) -> Response:
        """The script, the style sheet and the icon."""
        return _hardened(send_from_directory(Path(__file__).parent / "static", filename))

    def _document(self, site: JSONRPCSite) -> dict[str, Any]:
        return document(site.methods, self.title, site.version, f"{request.root_path}{site.path}")


def _hardened(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
