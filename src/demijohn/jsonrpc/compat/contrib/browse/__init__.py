"""The page with what Flask-JSONRPC lets applications change of it.

Override the `get_browse_*` methods, or set `FLASK_JSONRPC_BROWSE_*` in the application's config. Generators given to
`register_middleware` run around every request for the page.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import BaseLoader, Environment, FileSystemLoader, TemplateNotFound
from werkzeug.exceptions import NotFound

from .....app import Flask
from .....blueprints import Blueprint
from .....globals import g, request
from .....helpers import send_from_directory
from .....json import jsonify
from .....templating import render_template
from .....typing import ResponseReturnValue
from .....wrappers import Request, Response
from .... import browse
from ....conf import settings
from ....describe import DESCRIBE_METHOD_NAME
from ...encoders import serializable
from ...helpers import Node

Middleware = Callable[[Request], Generator[Any, Any, Any]]

_FOLDER = Path(__file__).parent
# The files of all pages of an application have one address, whatever the number of pages.
_STATIC = "urn:browse.static"


# -- middleware -------------------------------------------------------------------------------------


def register_middleware(name: str) -> Callable[[Middleware], Middleware]:
    """Let the decorated generator run around every request for the page.

    It yields before the request: None or True to go on, False to take no further part, a response to answer with.
    Going on, it may take the response (`response = yield`) and yield another in its place.

    Raises TypeError for what is no generator function.
    """

    def decorator(middleware: Middleware) -> Middleware:
        if not inspect.isgeneratorfunction(middleware):
            raise TypeError(f"the middleware function must be a generator, not {middleware!r}")
        settings.BROWSE_MIDDLEWARE.append((name, middleware))
        return middleware

    return decorator


def _before_request_middleware() -> ResponseReturnValue | None:
    running: dict[str, Any] = {}
    g._jsonrpc_browse_mw = running
    for name, middleware in settings.BROWSE_MIDDLEWARE:
        generator = middleware(request)
        said = next(generator, None)
        if said is False:
            continue
        if said is not None and said is not True:
            return said  # type: ignore[no-any-return]
        running[name] = generator
    return None


def _after_request_middleware(response: Response) -> Any:
    running = g.get("_jsonrpc_browse_mw", {})
    # The one that began first ends last.
    for name in reversed(list(running)):
        generator = running.pop(name)
        try:
            said = generator.send(response)
            if said is None:  # one that yields once before the request and once more to take the response
                said = generator.send(response)
        except StopIteration:
            continue
        if said is not None and said is not True and said is not False:
            return said
    g.pop("_jsonrpc_browse_mw", None)
    return response


def _teardown_request_middleware(exception: BaseException | None) -> None:
    for generator in g.pop("_jsonrpc_browse_mw", {}).values():
        generator.close()


# -- the menu ---------------------------------------------------------------------------------------


def build_package_tree(service_methods: dict[str, Any]) -> dict[str, Any]:
    """Return the menu: methods grouped by their tags, one inside the other, or else by what stands before the dot."""
    root = Node(None)
    for name, method in sorted(service_methods.items()):
        described = serializable(method)
        steps = described.get("tags") or [name.rpartition(".")[0] or name]
        node = root
        for step in steps:
            child = node.find_child(step)
            if child is None:
                child = Node(step)
                node.add_child(child)
            node = child
        node.insert_item(described)
    root.sort()
    return root.to_dict()


class JSONRPCBrowseTemplateLoader(BaseLoader):
    """Templates of the application, and those of the page that it has none of its own for."""

    def __init__(self, app_jinja_loader: BaseLoader, browse_jinja_loader: BaseLoader) -> None:
        self.app_jinja_loader = app_jinja_loader
        self.browse_jinja_loader = browse_jinja_loader

    def get_source(self, environment: Environment, template: str) -> Any:
        try:
            return self.app_jinja_loader.get_source(environment, template)
        except TemplateNotFound:
            return self.browse_jinja_loader.get_source(environment, template)


# -- the page ---------------------------------------------------------------------------------------


class JSONRPCBrowse(browse.JSONRPCBrowse):
    """The page of an application at `url_prefix`, for the sites that are registered with it."""

    template = "browse/index.html"

    @property
    def jsonrpc_sites(self) -> set[Any]:
        return set(self.sites)

    def init_app(self, app: Flask) -> None:
        """Put the page, its files, its parts and its data into an application."""
        super().init_app(app)
        if _STATIC not in app.view_functions:
            app.add_url_rule(f"{self.url_prefix}/static/<path:filename>", _STATIC, self.vf_static)

    def add_rules(self, pages: Blueprint) -> None:
        # The page itself is a template that extends that of `demijohn.jsonrpc.browse`.
        pages.jinja_loader = FileSystemLoader([_FOLDER / "templates", Path(browse.__file__).parent / "templates"])
        pages.add_url_rule("/", "vf_index", self.vf_index)
        pages.add_url_rule("/openrpc.json", "vf_openrpc", self.vf_openrpc)
        pages.add_url_rule("/static/<path:filename>", "static", self.vf_static)
        pages.add_url_rule("/login", "vf_login", self.vf_login)
        pages.add_url_rule("/logout", "vf_logout", self.vf_logout)
        pages.add_url_rule("/packages.json", "vf_json_packages", self.vf_json_packages)
        pages.add_url_rule("/<path:method_name>.json", "vf_json_method", self.vf_json_method)
        for name in ("menu_tree", "dashboard", "field_describe", "response_object"):
            view = getattr(self, f"vf_partials_{name}")
            pages.add_url_rule(f"/partials/{name}.html", f"vf_partials_{name}", view)
        pages.before_request(_before_request_middleware)
        pages.after_request(_after_request_middleware)
        pages.teardown_request(_teardown_request_middleware)

    # -- what applications change ---------------------------------------------------------------

    def get_browse_title(self) -> str:
        return str(settings.BROWSE_TITLE)

    def get_browse_title_url(self) -> str:
        return str(settings.BROWSE_TITLE_URL)

    def get_browse_subtitle(self) -> str:
        return str(settings.BROWSE_SUBTITLE)

    def get_browse_description(self) -> str:
        return str(settings.BROWSE_DESCRIPTION)

    def get_browse_fork_me_button_enabled(self) -> bool:
        return bool(settings.BROWSE_FORK_ME_BUTTON_ENABLED)

    def get_browse_media_css(self) -> dict[str, list[str]]:
        """Return further style sheets by the media they are for: URLs, or names in the application's static folder."""
        return dict(settings.BROWSE_MEDIA_CSS)

    def get_browse_media_js(self) -> list[str]:
        """Return further scripts: URLs, or names in the application's static folder."""
        return list(settings.BROWSE_MEDIA_JS)

    def get_browse_dashboard_menu_name(self) -> str:
        return str(settings.BROWSE_DASHBOARD_MENU_NAME)

    def get_browse_dashboard_partial_template(self) -> str:
        return str(settings.BROWSE_DASHBOARD_PARTIAL_TEMPLATE)

    def get_browse_login_template(self) -> str | None:
        template: str | None = settings.BROWSE_LOGIN_TEMPLATE
        return template

    def get_browse_logout_template(self) -> str | None:
        template: str | None = settings.BROWSE_LOGOUT_TEMPLATE
        return template

    # -- views ----------------------------------------------------------------------------------

    def context(self) -> dict[str, Any]:
        """Return what the templates know."""
        return {
            "pages": self.name,
            "files": _STATIC,
            "title": self.get_browse_title(),
            "title_url": self.get_browse_title_url(),
            "subtitle": self.get_browse_subtitle(),
            "description": self.get_browse_description(),
            "fork_me_button_enabled": self.get_browse_fork_me_button_enabled(),
            "dashboard_menu_name": self.get_browse_dashboard_menu_name(),
            "dashboard_partial_template": self.get_browse_dashboard_partial_template(),
            "login_template": self.get_browse_login_template(),
            "logout_template": self.get_browse_logout_template(),
            "media_css": self.get_browse_media_css(),
            "media_js": self.get_browse_media_js(),
            "servers": [f"{request.root_path}{site.path}" for site in self.sites],
        }

    def vf_index(self) -> Response:
        response = super().vf_index()
        sheets = [sheet for sheets in self.get_browse_media_css().values() for sheet in sheets]
        policy = browse.HEADERS["Content-Security-Policy"]
        for directive, urls in (("script-src", self.get_browse_media_js()), ("style-src", sheets)):
            elsewhere = sorted({f"{url.scheme}://{url.netloc}" for url in map(urlsplit, urls) if url.netloc})
            policy = policy.replace(f"{directive} 'self'", " ".join([f"{directive} 'self'", *elsewhere]))
        response.headers["Content-Security-Policy"] = policy
        return response

    def vf_static(self, filename: str) -> Response:
        """A file of the page, by its own name or the one that it has in Flask-JSONRPC."""
        own = _FOLDER / "static"
        return send_from_directory(own, filename) if (own / filename).is_file() else super().vf_static(filename)

    def vf_login(self) -> ResponseReturnValue:
        template = self.get_browse_login_template()
        return ("Login not configured.", 404) if template is None else render_template(template, **self.context())

    def vf_logout(self) -> ResponseReturnValue:
        template = self.get_browse_logout_template()
        return ("Logout not configured.", 404) if template is None else render_template(template, **self.context())

    def _service_methods_desc(self) -> dict[str, Any]:
        methods: dict[str, Any] = {}
        for site in self.sites:
            methods |= serializable(site.describe())["methods"]
        return {name: method for name, method in methods.items() if name != DESCRIBE_METHOD_NAME}

    def vf_json_packages(self) -> Response:
        methods = self._service_methods_desc()
        return jsonify(build_package_tree(methods) if methods else {})

    def vf_json_method(self, method_name: str) -> Response:
        methods = self._service_methods_desc()
        if method_name not in methods:
            raise NotFound
        return jsonify(methods[method_name])

    def vf_partials_menu_tree(self) -> str:
        tree = build_package_tree(self._service_methods_desc())
        return render_template("browse/partials/menu_tree.html", tree=tree, **self.context())

    def vf_partials_dashboard(self) -> str:
        return render_template(self.get_browse_dashboard_partial_template(), **self.context())

    def vf_partials_field_describe(self) -> str:
        methods = self._service_methods_desc()
        return render_template("browse/partials/field_describe.html", methods=methods, **self.context())

    def vf_partials_response_object(self) -> str:
        return render_template("browse/partials/response_object.html", **self.context())
