"""The application: set up once, then request in, response out.

The class reads in the order of its life: what it is made of, registration, contexts, the stages of a request, the
WSGI callable. Each stage is a method that a subclass or an extension may replace, also late; `fastpath.py` takes the
same stages in fewer steps while none of them is replaced.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, ValuesView
from datetime import timedelta
from functools import cached_property, update_wrapper
from inspect import iscoroutinefunction
from types import FunctionType, TracebackType
from typing import IO, TYPE_CHECKING, Any, AnyStr, NoReturn, TypeVar, cast
from urllib.parse import quote

from werkzeug.datastructures import Headers, ImmutableDict
from werkzeug.exceptions import Aborter, BadRequest, BadRequestKeyError, HTTPException, InternalServerError
from werkzeug.routing import BuildError, Map, MapAdapter, RequestRedirect, RoutingException, Rule
from werkzeug.utils import redirect as _redirect
from werkzeug.wrappers import Response as BaseResponse
from werkzeug.wsgi import get_host

from . import typing as ft
from .config import Config, ConfigAttribute
from .ctx import AppContext, RequestContext, _AppCtxGlobals
from .fastpath import STAGES, FastPath, handling_of, stages_of
from .globals import _cv_app, _cv_request, _unset, g, request, request_ctx, session
from .helpers import get_debug_flag, get_flashed_messages, get_load_dotenv
from .json.provider import DefaultJSONProvider, JSONProvider
from .logging import create_logger
from .routing import UrlMap
from .scaffold import (
    Scaffold,
    T_teardown,
    T_template_filter,
    T_template_global,
    T_template_test,
    chain,
    chain_back,
    default_endpoint,
    find_package,
    setupmethod,
)
from .sessions import SecureCookieSessionInterface, SessionInterface
from .signals import (
    appcontext_tearing_down,
    got_request_exception,
    request_finished,
    request_started,
    request_tearing_down,
)
from .wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from .blueprints import Blueprint
    from .message import RequestHead, ResponseMessage, Suspended
    from .templating import DispatchingJinjaLoader, Environment
    from .testing import FlaskClient, FlaskCliRunner

F = TypeVar("F", bound=Callable[..., Any])
T_shell_context_processor = TypeVar("T_shell_context_processor", bound=ft.ShellContextProcessorCallable)


# RFC 3986 §3.5: what a fragment may hold as it is.
_FRAGMENT_SAFE = "%!#$&'()*+,/:;=?@"


# Werkzeug warns, in the name of the module that calls this, when the host is not below the server name. Warning filters
# are written for the module of Flask's that would call it.
_bind_to_environ: Callable[[Map, WSGIEnvironment, str | None, str | None], MapAdapter] = FunctionType(
    (
        lambda url_map, environ, server_name, subdomain: url_map.bind_to_environ(environ, server_name, subdomain)
    ).__code__,
    {"__name__": "flask.app"},
)


def _seconds_to_timedelta(value: timedelta | int | None) -> timedelta | None:
    return value if value is None or isinstance(value, timedelta) else timedelta(seconds=value)


class _DefaultEnvironment:
    """Stands for `templating.Environment` on the class: importing jinja2 can wait until a template is rendered."""

    def __get__(self, obj: object, owner: type) -> type[Environment]:
        from .templating import Environment

        return Environment


class FormDataRoutingRedirect(AssertionError):
    """In debug mode, a redirect that would make the browser drop the form it sends."""

    def __init__(self, request: Request) -> None:
        redirect = cast(RequestRedirect, request.routing_exception)
        assert request.routing_exception is not None
        super().__init__(
            f"{request.method} {request.url!r} would be redirected to the canonical URL {redirect.new_url!r}, and the"
            " browser would not send its form again. Send the form to that URL, slash included, or route with"
            " strict_slashes=False. This error is raised in debug mode only."
        )


class Flask(Scaffold):
    """A WSGI application, and what is registered on it.

    import_name: usually `__name__`; tells where templates, static files and the instance folder are.
    static_url_path, static_folder, static_host: where static files are, on the web and on disk.
    host_matching, subdomain_matching: whether rules may name a host, or a subdomain of `SERVER_NAME`.
    instance_path, instance_relative_config: a folder beside the code for what is not under version control, and
        whether configuration files are looked for in it.
    """

    request_class: type[Request] = Request
    response_class: type[Response] = Response
    aborter_class: type[Aborter] = Aborter
    if TYPE_CHECKING:
        jinja_environment: type[Environment]
    else:
        jinja_environment = _DefaultEnvironment()
    app_ctx_globals_class: type[_AppCtxGlobals] = _AppCtxGlobals
    config_class: type[Config] = Config
    testing = ConfigAttribute[bool]("TESTING")
    secret_key = ConfigAttribute[str | bytes | None]("SECRET_KEY")
    permanent_session_lifetime = ConfigAttribute[timedelta](
        "PERMANENT_SESSION_LIFETIME",
        get_converter=_seconds_to_timedelta,  # type: ignore[arg-type]
    )
    json_provider_class: type[JSONProvider] = DefaultJSONProvider
    #: Options for the Jinja environment; changed before it is made, so before the first template.
    jinja_options: dict[str, Any] = {}  # noqa: RUF012
    url_rule_class: type[Rule] = Rule
    url_map_class: type[Map] = UrlMap
    test_client_class: type[FlaskClient] | None = None
    test_cli_runner_class: type[FlaskCliRunner] | None = None
    session_interface: SessionInterface = SecureCookieSessionInterface()
    default_config: ImmutableDict[str, Any] = ImmutableDict(
        {
            "DEBUG": None,
            "TESTING": False,
            "PROPAGATE_EXCEPTIONS": None,
            "SECRET_KEY": None,
            "SECRET_KEY_FALLBACKS": None,
            "PERMANENT_SESSION_LIFETIME": timedelta(days=31),
            "USE_X_SENDFILE": False,
            "TRUSTED_HOSTS": None,
            "SERVER_NAME": None,
            "APPLICATION_ROOT": "/",
            "SESSION_COOKIE_NAME": "session",
            "SESSION_COOKIE_DOMAIN": None,
            "SESSION_COOKIE_PATH": None,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SECURE": False,
            "SESSION_COOKIE_PARTITIONED": False,
            "SESSION_COOKIE_SAMESITE": None,
            "SESSION_REFRESH_EACH_REQUEST": True,
            "MAX_CONTENT_LENGTH": None,
            "MAX_FORM_MEMORY_SIZE": 500_000,
            "MAX_FORM_PARTS": 1_000,
            "SEND_FILE_MAX_AGE_DEFAULT": None,
            "TRAP_BAD_REQUEST_ERRORS": None,
            "TRAP_HTTP_EXCEPTIONS": False,
            "EXPLAIN_TEMPLATE_LOADING": False,
            "PREFERRED_URL_SCHEME": "http",
            "TEMPLATES_AUTO_RELOAD": None,
            "MAX_COOKIE_SIZE": 4093,
            "PROVIDE_AUTOMATIC_OPTIONS": True,
        }
    )

    # Whether a stage was replaced on the instance; see __setattr__.
    _stage_replaced = False

    def __init__(
        self,
        import_name: str,
        static_url_path: str | None = None,
        static_folder: str | os.PathLike[str] | None = "static",
        static_host: str | None = None,
        host_matching: bool = False,
        subdomain_matching: bool = False,
        template_folder: str | os.PathLike[str] | None = "templates",
        instance_path: str | None = None,
        instance_relative_config: bool = False,
        root_path: str | None = None,
    ) -> None:
        super().__init__(
            import_name=import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
            root_path=root_path,
        )
        if instance_path is None:
            instance_path = self.auto_find_instance_path()
        elif not os.path.isabs(instance_path):
            raise ValueError(f"The instance path must be absolute, {instance_path!r} is not.")
        self.instance_path = instance_path
        self.config = self.make_config(instance_relative_config)
        self.aborter = self.make_aborter()
        self.json: JSONProvider = self.json_provider_class(self)
        #: Called with (error, endpoint, values) when `url_for` finds no rule.
        self.url_build_error_handlers: list[Callable[[Exception, str, dict[str, Any]], str]] = []
        self.teardown_appcontext_funcs: list[ft.TeardownCallable] = []
        self.shell_context_processors: list[ft.ShellContextProcessorCallable] = []
        #: Dotted name -> blueprint.
        self.blueprints: dict[str, Blueprint] = {}
        #: Where extensions keep their state, by their name.
        self.extensions: dict[str, Any] = {}
        self.url_map = self.url_map_class(host_matching=host_matching)
        self.subdomain_matching = subdomain_matching
        self._got_first_request = False
        self._static_view: ft.RouteCallable | None = None
        if self.has_static_folder:
            self._add_static_route(static_host, host_matching)

    def _add_static_route(self, static_host: str | None, host_matching: bool) -> None:
        if bool(static_host) != host_matching:
            raise AssertionError("Invalid static_host/host_matching combination: give both or none.")
        # The rule must not keep the application alive: tests make many.
        this = weakref.ref(self)
        self._static_view = lambda **arguments: this().send_static_file(**arguments)  # type: ignore[union-attr]
        self.add_url_rule(
            f"{self.static_url_path}/<path:filename>",
            endpoint="static",
            host=static_host,
            view_func=self._static_view,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in STAGES:
            super().__setattr__("_stage_replaced", True)

    def _check_setup_finished(self, f_name: str) -> None:
        if self._got_first_request:
            raise AssertionError(
                f"The setup method '{f_name}' was called after {self.name!r} answered its first request,"
                " so its effect would not be the same for all requests. Do all imports, register all blueprints and"
                " finish all set-up before serving."
            )

    # -- what it is made of -----------------------------------------------------------------------

    @cached_property
    def name(self) -> str:  # type: ignore[override]
        """The import name; for a script, the name of its file."""
        if self.import_name == "__main__":
            path = getattr(sys.modules["__main__"], "__file__", None)
            return "__main__" if path is None else os.path.splitext(os.path.basename(path))[0]
        return self.import_name

    @cached_property
    def logger(self) -> Any:
        """The logger called like the application; see logging.py for where it writes."""
        return create_logger(self)

    @cached_property
    def cli(self) -> Any:
        """The group that `@app.cli.command()` adds to. Made when asked for: click is a slow import."""
        from .commands import AppGroup

        return AppGroup(self.name)

    @cached_property
    def jinja_env(self) -> Environment:
        """The environment that templates are loaded and rendered by, made when first asked for."""
        return self.create_jinja_environment()

    @property
    def debug(self) -> bool:
        """Whether errors are shown and code is reloaded; set by `--debug` or `FLASK_DEBUG`, never in production."""
        return self.config["DEBUG"]  # type: ignore[no-any-return]

    @debug.setter
    def debug(self, value: bool) -> None:
        self.config["DEBUG"] = value
        if self.config["TEMPLATES_AUTO_RELOAD"] is None and "jinja_env" in self.__dict__:
            self.jinja_env.auto_reload = value

    def make_config(self, instance_relative: bool = False) -> Config:
        """Make the configuration out of the defaults; its files are relative to the root or the instance folder."""
        root_path = self.instance_path if instance_relative else self.root_path
        return self.config_class(root_path, {**self.default_config, "DEBUG": get_debug_flag()})

    def make_aborter(self) -> Aborter:
        """Make what `abort` raises exceptions with."""
        return self.aborter_class()

    def auto_find_instance_path(self) -> str:
        """Find the instance folder: beside the package, or under `var` of the prefix it is installed in."""
        prefix, package_path = find_package(self.import_name)
        if prefix is None:
            return os.path.join(package_path, "instance")
        return os.path.join(prefix, "var", f"{self.name}-instance")

    def open_instance_resource(self, resource: str, mode: str = "rb", encoding: str | None = "utf-8") -> IO[AnyStr]:
        """Open a file below the instance folder, in any mode."""
        path = os.path.join(self.instance_path, resource)
        return cast("IO[AnyStr]", open(path, mode) if "b" in mode else open(path, mode, encoding=encoding))

    # -- templates --------------------------------------------------------------------------------

    def create_jinja_environment(self) -> Environment:
        """Make the Jinja environment out of `jinja_options` and the configuration."""
        options = dict(self.jinja_options)
        options.setdefault("autoescape", self.select_jinja_autoescape)
        if "auto_reload" not in options:
            auto_reload = self.config["TEMPLATES_AUTO_RELOAD"]
            options["auto_reload"] = self.debug if auto_reload is None else auto_reload
        environment = self.jinja_environment(self, **options)
        environment.globals.update(
            url_for=self.url_for,
            get_flashed_messages=get_flashed_messages,
            config=self.config,
            # The proxies, for templates imported without context.
            request=request,
            session=session,
            g=g,
        )
        environment.policies["json.dumps_function"] = self.json.dumps
        return environment

    def create_global_jinja_loader(self) -> DispatchingJinjaLoader:
        """Make the loader that looks in the application's folder and in those of its blueprints."""
        from .templating import DispatchingJinjaLoader

        return DispatchingJinjaLoader(self)

    def select_jinja_autoescape(self, filename: str | None) -> bool:
        """Whether a template's values are escaped: for HTML, XML and SVG, and for templates given as a string."""
        return filename is None or filename.endswith((".html", ".htm", ".xml", ".xhtml", ".svg"))

    def update_template_context(self, context: dict[str, Any]) -> None:
        """Add what the context processors give; what the view gave wins."""
        names: Iterable[str | None] = (None, *reversed(request.blueprints)) if request else (None,)
        given = context.copy()
        for processor in chain(self.template_context_processors, names):
            context.update(self.ensure_sync(processor)())
        context.update(given)

    @setupmethod
    def template_filter(self, name: str | None = None) -> Callable[[T_template_filter], T_template_filter]:
        """Make the decorated function a template filter, called `name` or like itself."""

        def decorator(f: T_template_filter) -> T_template_filter:
            self.add_template_filter(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_template_filter(self, f: ft.TemplateFilterCallable, name: str | None = None) -> None:
        """Make `f` a template filter, called `name` or like itself."""
        self.jinja_env.filters[name or f.__name__] = f

    @setupmethod
    def template_test(self, name: str | None = None) -> Callable[[T_template_test], T_template_test]:
        """Make the decorated function a template test (`is ...`), called `name` or like itself."""

        def decorator(f: T_template_test) -> T_template_test:
            self.add_template_test(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_template_test(self, f: ft.TemplateTestCallable, name: str | None = None) -> None:
        """Make `f` a template test (`is ...`), called `name` or like itself."""
        self.jinja_env.tests[name or f.__name__] = f

    @setupmethod
    def template_global(self, name: str | None = None) -> Callable[[T_template_global], T_template_global]:
        """Make the decorated function a template global, called `name` or like itself."""

        def decorator(f: T_template_global) -> T_template_global:
            self.add_template_global(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_template_global(self, f: ft.TemplateGlobalCallable, name: str | None = None) -> None:
        """Make `f` a template global, called `name` or like itself."""
        self.jinja_env.globals[name or f.__name__] = f

    # -- registration -----------------------------------------------------------------------------

    @setupmethod
    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        """Take in a blueprint; `url_prefix`, `subdomain`, `url_defaults`, `name` come before its own."""
        blueprint.register(self, options)

    def iter_blueprints(self) -> ValuesView[Blueprint]:
        """The registered blueprints, in the order of their registration."""
        return self.blueprints.values()

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Answer URLs that match `rule` with a view. See Scaffold.add_url_rule.

        Raises AssertionError when the endpoint has another view already, TypeError for `methods` given as a string.
        """
        if endpoint is None:
            endpoint = default_endpoint(rule, view_func)
        options["endpoint"] = endpoint
        methods = options.pop("methods", None)
        if methods is None:
            methods = getattr(view_func, "methods", None) or ("GET",)
        if isinstance(methods, str):
            raise TypeError(f'Give the methods as a list, methods=["{methods}"], not as the string {methods!r}.')
        methods = {method.upper() for method in methods}
        # Views of classes may ask for methods and automatic OPTIONS by attributes.
        methods.update(getattr(view_func, "required_methods", ()))
        if provide_automatic_options is None:
            provide_automatic_options = getattr(view_func, "provide_automatic_options", None)
        if provide_automatic_options is None:
            provide_automatic_options = "OPTIONS" not in methods and self.config["PROVIDE_AUTOMATIC_OPTIONS"]
            if provide_automatic_options:
                methods.add("OPTIONS")
        rule_obj = self.url_rule_class(rule, methods=methods, **options)
        rule_obj.provide_automatic_options = provide_automatic_options  # type: ignore[attr-defined]
        self.url_map.add(rule_obj)
        if view_func is not None:
            known = self.view_functions.get(endpoint)
            if known is not None and known != view_func:
                raise AssertionError(
                    f"View function mapping is overwriting an existing endpoint function: {endpoint}."
                    " Two views have this name: rename one, or give one an 'endpoint'."
                )
            self.view_functions[endpoint] = view_func

    @setupmethod
    def teardown_appcontext(self, f: T_teardown) -> T_teardown:
        """Call `f(exception or None)` when an application context goes: after each request and each command."""
        self.teardown_appcontext_funcs.append(f)
        return f

    @setupmethod
    def shell_context_processor(self, f: T_shell_context_processor) -> T_shell_context_processor:
        """Add what `f()` returns, a dictionary, to the names in `demijohn shell`."""
        self.shell_context_processors.append(f)
        return f

    def make_shell_context(self) -> dict[str, Any]:
        """Return the names that `demijohn shell` starts with."""
        context = {"app": self, "g": g}
        for processor in self.shell_context_processors:
            context.update(processor())
        return context

    # -- running and testing ----------------------------------------------------------------------

    def run(
        self,
        host: str | None = None,
        port: int | None = None,
        debug: bool | None = None,
        load_dotenv: bool = True,
        **options: Any,
    ) -> None:
        """Serve on this machine while developing, with reloader and debugger in debug mode.

        host, port: 127.0.0.1 and 5000 by default, or as in `SERVER_NAME`. options: werkzeug.serving.run_simple's.
        For production: `demijohn serve`.
        """
        if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
            # The command imports this script, and the script calls run(): the command serves.
            from .commands import say_run_is_ignored

            say_run_is_ignored()
            return
        if get_load_dotenv(load_dotenv):
            from .commands import load_dotenv as load_dotenv_files

            load_dotenv_files()
            if "FLASK_DEBUG" in os.environ:
                self.debug = get_debug_flag()
        if debug is not None:
            self.debug = bool(debug)
        named_host, _, named_port = (self.config["SERVER_NAME"] or "").partition(":")
        if port is None:
            port = int(named_port or 5000)
        options.setdefault("use_reloader", self.debug)
        options.setdefault("use_debugger", self.debug)
        options.setdefault("threaded", True)

        from werkzeug import serving  # for development only

        from .commands import show_server_banner

        show_server_banner(self.debug, self.name)
        try:
            serving.run_simple(host or named_host or "127.0.0.1", port, self, **options)
        finally:
            # Interactive use may change the application and run it again.
            self._got_first_request = False

    def test_client(self, use_cookies: bool = True, **kwargs: Any) -> FlaskClient:
        """Make a client that calls the application without a server."""
        from .testing import FlaskClient  # only tests need it

        cls = self.test_client_class or FlaskClient
        return cls(self, self.response_class, use_cookies=use_cookies, **kwargs)

    def test_cli_runner(self, **kwargs: Any) -> FlaskCliRunner:
        """Make a runner that calls the application's commands."""
        from .testing import FlaskCliRunner  # only tests need it

        cls = self.test_cli_runner_class or FlaskCliRunner
        return cls(self, **kwargs)

    # -- URLs -------------------------------------------------------------------------------------

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Make what matches and builds URLs: for a request, or by `SERVER_NAME`; None when that is not set.

        Raises SecurityError (400) for a host that is not in `TRUSTED_HOSTS`.
        """
        if request is not None:
            trusted_hosts = self.config["TRUSTED_HOSTS"]
            if trusted_hosts is not None:
                request.trusted_hosts = trusted_hosts
            request.host = get_host(request.environ, request.trusted_hosts)
            subdomain = None
            server_name = self.config["SERVER_NAME"]
            if self.url_map.host_matching:
                # Given a server name, Werkzeug would match by it and not by the host that was sent.
                server_name = None
            elif not self.subdomain_matching:
                subdomain = self.url_map.default_subdomain or ""
            return _bind_to_environ(self.url_map, request.environ, server_name, subdomain)
        if self.config["SERVER_NAME"] is not None:
            return self.url_map.bind(
                self.config["SERVER_NAME"],
                script_name=self.config["APPLICATION_ROOT"],
                url_scheme=self.config["PREFERRED_URL_SCHEME"],
            )
        return None

    def url_for(
        self,
        /,
        endpoint: str,
        *,
        _anchor: str | None = None,
        _method: str | None = None,
        _scheme: str | None = None,
        _external: bool | None = None,
        **values: Any,
    ) -> str:
        """Build the URL of an endpoint; values that its rule has no place for become the query.

        _external: with scheme and host; by default outside requests, or when `_scheme` is given.
        Raises BuildError when no rule fits, RuntimeError outside a request without `SERVER_NAME`.
        """
        ctx = _cv_request.get(None)
        if ctx is not None:
            url_adapter = ctx.url_adapter
            if endpoint[:1] == ".":
                blueprint = ctx.request.blueprint
                endpoint = endpoint[1:] if blueprint is None else f"{blueprint}{endpoint}"
            if _external is None:
                _external = _scheme is not None
        else:
            app_context = _cv_app.get(None)
            url_adapter = self.create_url_adapter(None) if app_context is None else app_context.url_adapter
            if _external is None:
                _external = True
        if url_adapter is None:
            raise RuntimeError(
                "Unable to build URLs outside an active request without 'SERVER_NAME' configured."
                " Set it, and 'APPLICATION_ROOT' and 'PREFERRED_URL_SCHEME' where they differ from '/' and 'http'."
            )
        if _scheme is not None and not _external:
            raise ValueError("When specifying '_scheme', '_external' must be True.")
        self.inject_url_defaults(endpoint, values)
        try:
            url = url_adapter.build(endpoint, values, method=_method, url_scheme=_scheme, force_external=_external)
        except BuildError as error:
            values.update(_anchor=_anchor, _method=_method, _scheme=_scheme, _external=_external)
            return self.handle_url_build_error(error, endpoint, values)
        if _anchor is not None:
            url = f"{url}#{quote(_anchor, safe=_FRAGMENT_SAFE)}"
        return url

    def inject_url_defaults(self, endpoint: str, values: dict[str, Any]) -> None:
        """Let the `url_defaults` functions add to the values of a URL that is being built."""
        if not self.url_default_functions:
            return
        names: list[str | None] = [None]
        at = endpoint.find(".")
        while at >= 0:
            names.append(endpoint[:at])
            at = endpoint.find(".", at + 1)
        for function in chain(self.url_default_functions, names):
            function(endpoint, values)

    def handle_url_build_error(self, error: BuildError, endpoint: str, values: dict[str, Any]) -> str:
        """Ask the `url_build_error_handlers` for the URL that `url_for` could not build; raise when none has it."""
        for handler in self.url_build_error_handlers:
            try:
                url = handler(error, endpoint, values)
            except BuildError as other:
                error = other
            else:
                if url is not None:
                    return url
        if error is sys.exc_info()[1]:
            raise
        raise error

    def redirect(self, location: str, code: int = 302) -> BaseResponse:
        """Make a response that sends the client to another URL."""
        return _redirect(location, code=code, Response=self.response_class)

    # -- what computes for long -------------------------------------------------------------------

    def heavy(
        self,
        function: Callable[..., Any] | None = None,
        *,
        deadline_s: float | None = None,
        executor: str | None = None,
    ) -> Any:
        """Have a function run in another process or on a cluster; see `demijohn.heavy.heavy`."""
        from .heavy import heavy  # for its cost

        if function is not None:
            return heavy(function)
        return heavy(deadline_s=deadline_s, executor=executor)

    def job(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register a function as a job: a request to `rule`, POST by default, is answered 202 with where to ask on.

        Its arguments come from the URL, and as JSON object, form or query. It is called on the executor, as heavy
        functions are; `report` and `progress` of `demijohn.heavy` tell how far it is.
        options: as for `add_url_rule`.
        """
        from .heavy.jobs import job_view  # for its cost

        def register(function: F) -> F:
            options.setdefault("methods", ["POST"])
            self.add_url_rule(rule, options.pop("endpoint", None), job_view(self, function), **options)
            return function

        return register

    # -- contexts ---------------------------------------------------------------------------------

    def app_context(self) -> AppContext:
        """Make a context in which this is `current_app`; use it with `with`."""
        return AppContext(self)

    def request_context(self, environ: WSGIEnvironment) -> RequestContext:
        """Make the context of a WSGI request."""
        return RequestContext(self, environ)

    def test_request_context(self, *args: Any, **kwargs: Any) -> RequestContext:
        """Make the context of a made-up request; arguments are those of werkzeug.test.EnvironBuilder."""
        from .testing import EnvironBuilder  # only tests need it

        builder = EnvironBuilder(self, *args, **kwargs)
        try:
            return self.request_context(builder.get_environ())
        finally:
            builder.close()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func`, or for an `async def` what runs it to its end."""
        return self.async_to_sync(func) if iscoroutinefunction(func) else func

    def async_to_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs a coroutine function to its end: on the worker's event loop under
        `demijohn serve`, elsewhere by asgiref.

        Raises RuntimeError without the package asgiref, where it is needed.
        """
        ctx = _cv_app.get(None)
        run = None if ctx is None else ctx._run_coroutine
        if run is not None:
            return update_wrapper(lambda *args, **kwargs: run(func(*args, **kwargs)), func)
        try:
            from asgiref.sync import async_to_sync
        except ImportError:
            raise RuntimeError(
                f"{getattr(func, '__name__', func)!r} is 'async def', and running it needs the package asgiref:"
                " pip install 'demijohn[async]'."
            ) from None
        return async_to_sync(func)

    # -- a request, stage by stage ----------------------------------------------------------------

    def full_dispatch_request(self) -> Response:
        """Run hooks, view and error handlers on the current request."""
        if not self._got_first_request:
            self._got_first_request = True
        try:
            if request_started.receivers:
                request_started.send(self, _async_wrapper=self.ensure_sync)
            rv = self.preprocess_request()
            if rv is None:
                rv = self.dispatch_request()
        except Exception as error:
            rv = self.handle_user_exception(error)
        return self.finalize_request(rv)

    def preprocess_request(self) -> ft.ResponseReturnValue | None:
        """Run what comes before the view; what a hook returns, if not None, is the answer."""
        req = _cv_request.get().request
        names: tuple[str | None, ...] = (None, *reversed(req.blueprints))
        for preprocessor in chain(self.url_value_preprocessors, names):
            preprocessor(req.endpoint, req.view_args)
        for hook in chain(self.before_request_funcs, names):
            rv = self.ensure_sync(hook)()
            if rv is not None:
                return cast(ft.ResponseReturnValue, rv)
        return None

    def dispatch_request(self) -> ft.ResponseReturnValue:
        """Call the view that the URL matched, or raise what matching it raised."""
        req = request_ctx.request
        if req.routing_exception is not None:
            self.raise_routing_exception(req)
        rule = cast(Rule, req.url_rule)
        if getattr(rule, "provide_automatic_options", False) and req.method == "OPTIONS":
            return self.make_default_options_response()
        view = self.ensure_sync(self.view_functions[rule.endpoint])
        return cast(ft.ResponseReturnValue, view(**cast("dict[str, Any]", req.view_args)))

    def raise_routing_exception(self, request: Request) -> NoReturn:
        """Raise what matching the URL raised.

        In debug mode, a redirect that would drop the form that was sent raises an error that says so instead.
        """
        error = request.routing_exception
        assert error is not None
        loses_form = isinstance(error, RequestRedirect) and error.code not in {307, 308}
        if self.debug and loses_form and request.method not in {"GET", "HEAD", "OPTIONS"}:
            raise FormDataRoutingRedirect(request)
        raise error

    def make_default_options_response(self) -> Response:
        """Answer OPTIONS with the methods that the URL allows."""
        adapter = request_ctx.url_adapter
        assert adapter is not None
        response = self.response_class()
        response.allow.update(adapter.allowed_methods())
        return response

    def finalize_request(
        self, rv: ft.ResponseReturnValue | HTTPException, from_error_handler: bool = False
    ) -> Response:
        """Make a response of what a view or a handler returned, and run the hooks on it.

        from_error_handler: a failing hook is logged only: the error being answered comes first.
        """
        response = self.make_response(rv)
        try:
            response = self.process_response(response)
            if request_finished.receivers:
                request_finished.send(self, _async_wrapper=self.ensure_sync, response=response)
        except Exception:
            if not from_error_handler:
                raise
            self.logger.exception("Request finalizing failed with an error while handling an error")
        return response

    def make_response(self, rv: ft.ResponseReturnValue) -> Response:
        """Turn what a view returned into a response.

        A str or bytes is the content, a dict or list is sent as JSON, an iterator is streamed; a tuple adds
        (status), (headers) or (status, headers); any WSGI application is called.

        Raises TypeError for anything else, None in particular.
        """
        status: int | str | None = None
        headers: ft.HeadersValue | None = None
        if isinstance(rv, tuple):
            rv, status, headers = self._unpacked(rv)
        if rv is None:
            raise TypeError(
                f"The view function for {request.endpoint!r} did not return a valid response. The function either"
                " returned None or ended without a return statement. Return a str, bytes, dict, list, Response or a"
                " (body, status, headers) tuple."
            )
        if isinstance(rv, self.response_class):
            response = rv
        elif isinstance(rv, str | bytes | bytearray | Iterator):
            # Given at once, so that headers may choose the content type.
            response = self.response_class(rv, status=status, headers=headers)  # type: ignore[arg-type]
            status = headers = None
        elif isinstance(rv, dict | list):
            response = cast(Response, self.json.response(rv))
        elif isinstance(rv, BaseResponse) or callable(rv):
            response = self._forced_response(rv)
        else:
            raise TypeError(
                f"The view function for {request.endpoint!r} did not return a valid response. The return type must be"
                " a string, dict, list, tuple with headers or status, Response instance, or WSGI callable,"
                f" but it was a {type(rv).__name__}."
            )
        if status is not None:
            if isinstance(status, str | bytes | bytearray):
                response.status = status
            else:
                response.status_code = status
        if headers:
            response.headers.update(headers)
        return response

    def _unpacked(self, rv: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Split a view's tuple into content, status and headers; TypeError when it has another length."""
        if len(rv) == 3:
            return rv
        if len(rv) == 2:
            content, second = rv
            if isinstance(second, Headers | dict | tuple | list):
                return content, None, second
            return content, second, None
        raise TypeError(
            f"The view function for {request.endpoint!r} returned a tuple of {len(rv)}. The tuple must have the form"
            " (body, status, headers), (body, status), or (body, headers)."
        )

    def _forced_response(self, rv: Any) -> Response:
        """Make a response of another response class, or of what a WSGI application answers."""
        try:
            return cast(Response, self.response_class.force_type(rv, request.environ))
        except TypeError as error:
            raise TypeError(
                f"{error}\nThe view function for {request.endpoint!r} did not return a valid response. The return type"
                " must be a string, dict, list, tuple with headers or status, Response instance, or WSGI callable,"
                f" but it was a {type(rv).__name__}."
            ).with_traceback(sys.exc_info()[2]) from None

    def process_response(self, response: Response) -> Response:
        """Run what comes after the view on a response, and save the session in it."""
        ctx = _cv_request.get()
        for this_once in ctx._after_request_functions or ():
            response = self.ensure_sync(this_once)(response)
        if self.after_request_funcs:
            for hook in chain_back(self.after_request_funcs, (*ctx.request.blueprints, None)):
                response = self.ensure_sync(hook)(response)
        ctx.save_session(response)
        return response

    def do_teardown_request(self, exc: BaseException | None = _unset) -> None:
        """Run the teardown functions of the request. Called when its context is popped."""
        if exc is _unset:
            exc = sys.exc_info()[1]
        if self.teardown_request_funcs:
            for function in chain_back(self.teardown_request_funcs, (*_cv_request.get().request.blueprints, None)):
                self.ensure_sync(function)(exc)
        if request_tearing_down.receivers:
            request_tearing_down.send(self, _async_wrapper=self.ensure_sync, exc=exc)

    def do_teardown_appcontext(self, exc: BaseException | None = _unset) -> None:
        """Run the teardown functions of the application's context. Called when it is popped."""
        if exc is _unset:
            exc = sys.exc_info()[1]
        for function in reversed(self.teardown_appcontext_funcs):
            self.ensure_sync(function)(exc)
        if appcontext_tearing_down.receivers:
            appcontext_tearing_down.send(self, _async_wrapper=self.ensure_sync, exc=exc)

    # -- errors -----------------------------------------------------------------------------------

    def _find_error_handler(self, e: Exception, blueprints: list[str]) -> ft.ErrorHandlerCallable | None:
        """Return the most specific handler: by code before by class, by blueprint before the application's."""
        exc_class, code = self._get_exc_class_and_code(type(e))
        for c in (code, None) if code is not None else (None,):
            for name in (*blueprints, None):
                handlers = self.error_handler_spec[name][c]
                if handlers:
                    for cls in exc_class.__mro__:
                        handler = handlers.get(cls)
                        if handler is not None:
                            return handler
        return None

    def trap_http_exception(self, e: Exception) -> bool:
        """Whether an HTTP exception goes to the debugger instead of to the client. `TRAP_HTTP_EXCEPTIONS` and
        `TRAP_BAD_REQUEST_ERRORS` decide; in debug mode a missing key of a form does."""
        if self.config["TRAP_HTTP_EXCEPTIONS"]:
            return True
        trap_bad_request = self.config["TRAP_BAD_REQUEST_ERRORS"]
        if trap_bad_request is None and self.debug and isinstance(e, BadRequestKeyError):
            return True
        return bool(trap_bad_request) and isinstance(e, BadRequest)

    def handle_user_exception(self, e: Exception) -> HTTPException | ft.ResponseReturnValue:
        """Answer an exception raised by a hook or view, by its handler; one without handler is raised again."""
        self._show_missing_key(e)
        if isinstance(e, HTTPException) and not self.trap_http_exception(e):
            return self.handle_http_exception(e)
        handler = self._find_error_handler(e, request.blueprints)
        if handler is None:
            raise
        return cast(ft.ResponseReturnValue, self.ensure_sync(handler)(e))

    def handle_http_exception(self, e: HTTPException) -> HTTPException | ft.ResponseReturnValue:
        """Answer an HTTP exception by its handler, or by itself."""
        # Without a code it stands for a response; a RoutingException is a redirect, no error.
        if e.code is None or isinstance(e, RoutingException):
            return e
        handler = self._find_error_handler(e, request.blueprints)
        if handler is None:
            return e
        return cast(ft.ResponseReturnValue, self.ensure_sync(handler)(e))

    def _handler_of(self, e: Exception) -> Callable[..., Any] | None:
        """Return the handler that `handle_user_exception` calls for an exception; None when it calls none."""
        self._show_missing_key(e)
        is_answer = isinstance(e, HTTPException) and not self.trap_http_exception(e)
        if is_answer and (e.code is None or isinstance(e, RoutingException)):  # type: ignore[attr-defined]
            return None
        return self._find_error_handler(e, request.blueprints)

    def _show_missing_key(self, e: Exception) -> None:
        if isinstance(e, BadRequestKeyError) and (self.debug or self.config["TRAP_BAD_REQUEST_ERRORS"]):
            e.show_exception = True

    def handle_exception(self, e: Exception) -> Response:
        """Answer 500 for an exception that nothing handled: log it, and ask the handler of 500.

        In debug mode and in tests it is raised again (`PROPAGATE_EXCEPTIONS`).
        """
        exc_info = sys.exc_info()
        if got_request_exception.receivers:
            got_request_exception.send(self, _async_wrapper=self.ensure_sync, exception=e)
        propagate = self.config["PROPAGATE_EXCEPTIONS"]
        if propagate is None:
            propagate = self.testing or self.debug
        if propagate:
            if exc_info[1] is e:
                raise
            raise e
        self.log_exception(exc_info)
        server_error: InternalServerError | ft.ResponseReturnValue = InternalServerError(original_exception=e)
        handler = self._find_error_handler(cast(InternalServerError, server_error), request.blueprints)
        if handler is not None:
            server_error = cast(ft.ResponseReturnValue, self.ensure_sync(handler)(server_error))
        return self.finalize_request(server_error, from_error_handler=True)

    def log_exception(self, exc_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None]) -> None:
        """Log the exception that `handle_exception` answers."""
        self.logger.error(f"Exception on {request.path} [{request.method}]", exc_info=exc_info)

    def should_ignore_error(self, error: BaseException | None) -> bool:
        """Whether teardown functions are to be told of no error; for subclasses."""
        return False

    # -- the callable -----------------------------------------------------------------------------

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request. Middleware is wrapped around this: `app.wsgi_app = Middleware(app.wsgi_app)`."""
        ctx = self.request_context(environ)
        error: BaseException | None = None
        try:
            try:
                ctx.push()
                response = self.full_dispatch_request()
            except BaseException as raised:
                error = raised
                if not isinstance(raised, Exception):
                    raise  # to stop the process, as KeyboardInterrupt: no answer
                response = self.handle_exception(raised)
            return response(environ, start_response)
        finally:
            self._leave_request(ctx, environ, error)

    def _leave_request(self, ctx: RequestContext, environ: WSGIEnvironment, error: BaseException | None) -> None:
        """Pop the context of a request, after a debugger or test client that asked for its contexts has them.

        error: what the request raised, handled or not; teardown functions are told unless it is to be ignored.
        """
        keep = environ.get("werkzeug.debug.preserve_context")
        if keep is not None:
            for context in (_cv_app.get(), _cv_request.get()):
                keep(context)
        ignored = error is not None and self.should_ignore_error(error)
        ctx.pop(None if ignored else error)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request through `wsgi_app`, middleware included."""
        return self.wsgi_app(environ, start_response)

    @cached_property
    def _fast_path(self) -> FastPath:
        return FastPath(self, _STOCK_STAGES, _STOCK_HANDLING)

    @property
    def native_match(self) -> Callable[[RequestHead], ft.Route | None]:
        """typing.NativeApplication.native_match"""
        return self._fast_path.match

    @property
    def native_refuses(self) -> Callable[[RequestHead], bool]:
        """typing.NativeApplication.native_refuses"""
        return self._fast_path.refuses

    @property
    def native_handle(self) -> Callable[[RequestHead], ResponseMessage | Suspended]:
        """typing.NativeApplication.native_handle"""
        return self._fast_path.handle


# As they are before anybody can have replaced one.
_STOCK_STAGES = stages_of(Flask)
_STOCK_HANDLING = handling_of(Flask)


# `flask.sansio.app.App`, which extensions annotate with: Flask's application without its I/O. Here it is one class.
App = Flask
