"""Blueprints: routes, hooks and files that an application takes in as one."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import update_wrapper
from typing import IO, TYPE_CHECKING, Any, AnyStr

from . import typing as ft
from .scaffold import (
    Scaffold,
    T_after_request,
    T_before_request,
    T_error_handler,
    T_teardown,
    T_template_context_processor,
    T_template_filter,
    T_template_global,
    T_template_test,
    T_url_defaults,
    T_url_value_preprocessor,
    _sentinel,
    default_endpoint,
    setupmethod,
)

if TYPE_CHECKING:
    from .app import Flask

_Registry = dict[ft.AppOrBlueprintKey, list[Any]]
DeferredSetupFunction = Callable[["BlueprintSetupState"], None]


class BlueprintSetupState:
    """One registration of a blueprint on an application: where it goes, and under which name.

    Given to the functions that were recorded.
    """

    def __init__(self, blueprint: Blueprint, app: Flask, options: Any, first_registration: bool) -> None:
        self.app = app
        self.blueprint = blueprint
        self.options = options
        #: False when the blueprint was registered before, on this application or another.
        self.first_registration = first_registration
        self.subdomain: str | None = _given(options.get("subdomain"), blueprint.subdomain)
        self.url_prefix: str | None = _given(options.get("url_prefix"), blueprint.url_prefix)
        self.name: str = options.get("name", blueprint.name)
        self.name_prefix: str = options.get("name_prefix", "")
        self.url_defaults: dict[str, Any] = {**blueprint.url_values_defaults, **dict(options.get("url_defaults", ()))}

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        **options: Any,
    ) -> None:
        """Add a rule of the blueprint to the application, prefix, name and defaults in front."""
        if self.url_prefix is not None:
            rule = "/".join((self.url_prefix.rstrip("/"), rule.lstrip("/"))) if rule else self.url_prefix
        options.setdefault("subdomain", self.subdomain)
        if endpoint is None:
            endpoint = default_endpoint(rule, view_func)
        defaults = self.url_defaults
        if "defaults" in options:
            defaults = {**defaults, **options.pop("defaults")}
        self.app.add_url_rule(
            rule,
            f"{self.name_prefix}.{self.name}.{endpoint}".lstrip("."),
            view_func,
            defaults=defaults,
            **options,
        )


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


class Blueprint(Scaffold):
    """Routes, hooks, templates and static files to be registered on an application, once or several times.

    name: put before each endpoint; without dots.
    import_name: usually `__name__`; tells where its files are.
    url_prefix, subdomain, url_defaults: for all its rules; `register_blueprint` may say otherwise.
    """

    _got_registered_once = False

    def __init__(
        self,
        name: str,
        import_name: str,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        url_prefix: str | None = None,
        subdomain: str | None = None,
        url_defaults: dict[str, Any] | None = None,
        root_path: str | None = None,
        cli_group: str | None = _sentinel,
    ) -> None:
        super().__init__(
            import_name=import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
            root_path=root_path,
        )
        if not name:
            raise ValueError("A blueprint needs a name: its endpoints begin with it.")
        if "." in name:
            raise ValueError(f"The name of a blueprint has no dot, {name!r} has: dots separate nested blueprints.")
        self.name = name
        self.url_prefix = url_prefix
        self.subdomain = subdomain
        self.deferred_functions: list[DeferredSetupFunction] = []
        self.url_values_defaults: dict[str, Any] = {} if url_defaults is None else url_defaults
        self.cli_group = cli_group
        self._blueprints: list[tuple[Blueprint, dict[str, Any]]] = []

    def _check_setup_finished(self, f_name: str) -> None:
        if self._got_registered_once:
            raise AssertionError(
                f"'{f_name}' was called on the blueprint {self.name!r} after it was registered, so the application"
                " would not see it. Call it before 'register_blueprint': do all imports, and all set-up of the"
                " blueprint, first."
            )

    # -- recording --------------------------------------------------------------------------------

    @setupmethod
    def record(self, func: DeferredSetupFunction) -> None:
        """Call `func(state)` at each registration."""
        self.deferred_functions.append(func)

    @setupmethod
    def record_once(self, func: DeferredSetupFunction) -> None:
        """Call `func(state)` at the first registration only."""

        def wrapper(state: BlueprintSetupState) -> None:
            if state.first_registration:
                func(state)

        self.record(update_wrapper(wrapper, func))

    def open_resource(self, resource: str, mode: str = "rb", encoding: str | None = "utf-8") -> IO[AnyStr]:
        """Open a file below `root_path` for reading; text modes take UTF-8 unless told otherwise."""
        return super().open_resource(resource, mode, encoding)

    def make_setup_state(
        self, app: Flask, options: dict[str, Any], first_registration: bool = False
    ) -> BlueprintSetupState:
        """Make what the recorded functions are given; override to give them something else."""
        return BlueprintSetupState(self, app, options, first_registration)

    @setupmethod
    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        """Nest a blueprint in this one; the options come before its own."""
        if blueprint is self:
            raise ValueError(f"The blueprint {self.name!r} cannot be registered on itself.")
        self._blueprints.append((blueprint, options))

    # -- registration -----------------------------------------------------------------------------

    def register(self, app: Flask, options: dict[str, Any]) -> None:
        """Take this blueprint, and those nested in it, into an application. Called by `register_blueprint`.

        Raises ValueError when the name is taken.
        """
        name_prefix = options.get("name_prefix", "")
        self_name = options.get("name", self.name)
        name = f"{name_prefix}.{self_name}".lstrip(".")
        if name in app.blueprints:
            same = app.blueprints[name] is self
            raise ValueError(
                f"The name {name!r} is already registered for {'this' if same else 'a different'} blueprint"
                f"{'' if same else f' {app.blueprints[name]!r}'}."
                " Give another with register_blueprint(..., name='...')."
            )
        first_bp_registration = not any(bp is self for bp in app.blueprints.values())
        first_name_registration = name not in app.blueprints
        app.blueprints[name] = self
        self._got_registered_once = True
        state = self.make_setup_state(app, options, first_bp_registration)

        if self.has_static_folder:
            state.add_url_rule(
                f"{self.static_url_path}/<path:filename>",
                view_func=self.send_static_file,
                endpoint="static",
            )
        if first_bp_registration or first_name_registration:
            self._merge_blueprint_funcs(app, name)
        for deferred in self.deferred_functions:
            deferred(state)
        self._register_commands(app, options, name)
        for blueprint, own_options in self._blueprints:
            blueprint.register(app, _nested_options(blueprint, own_options, state, name))

    def _register_commands(self, app: Flask, options: dict[str, Any], name: str) -> None:
        # Without a command nobody needs click.
        if "cli" not in self.__dict__ or not self.cli.commands:
            return
        cli_group = options.get("cli_group", self.cli_group)
        if cli_group is None:
            app.cli.commands.update(self.cli.commands)
        else:
            self.cli.name = name if cli_group is _sentinel else cli_group
            app.cli.add_command(self.cli)

    def _merge_blueprint_funcs(self, app: Flask, name: str) -> None:
        """Put the hooks and handlers of this blueprint into the application's registries, under its name there."""

        def full_name(key: ft.AppOrBlueprintKey) -> str:
            return name if key is None else f"{name}.{key}"

        for key, by_code in self.error_handler_spec.items():
            target = app.error_handler_spec[full_name(key)]
            for code, handlers in by_code.items():
                target.setdefault(code, {}).update(handlers)
        for endpoint, view in self.view_functions.items():
            app.view_functions[endpoint] = view
        own_and_apps: tuple[tuple[_Registry, _Registry], ...] = (
            (self.before_request_funcs, app.before_request_funcs),
            (self.after_request_funcs, app.after_request_funcs),
            (self.teardown_request_funcs, app.teardown_request_funcs),
            (self.url_default_functions, app.url_default_functions),
            (self.url_value_preprocessors, app.url_value_preprocessors),
            (self.template_context_processors, app.template_context_processors),
        )  # fmt: skip
        for own, apps in own_and_apps:
            for key, functions in own.items():
                if functions:
                    apps.setdefault(full_name(key), []).extend(functions)

    @setupmethod
    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: ft.RouteCallable | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Answer URLs that match `rule`, below the prefix, with a view. See Flask.add_url_rule.

        Raises ValueError for a dot in the endpoint or in the name of the view.
        """
        if endpoint and "." in endpoint:
            raise ValueError(f"The endpoint {endpoint!r} of a blueprint may not contain a dot '.' character.")
        if view_func and hasattr(view_func, "__name__") and "." in view_func.__name__:
            raise ValueError(f"The name {view_func.__name__!r} of a view may not contain a dot '.' character.")
        self.record(
            lambda state: state.add_url_rule(
                rule, endpoint, view_func, provide_automatic_options=provide_automatic_options, **options
            )
        )

    # -- for the whole application ----------------------------------------------------------------

    @setupmethod
    def app_template_filter(self, name: str | None = None) -> Callable[[T_template_filter], T_template_filter]:
        """Make the decorated function a filter of all templates."""

        def decorator(f: T_template_filter) -> T_template_filter:
            self.add_app_template_filter(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_app_template_filter(self, f: ft.TemplateFilterCallable, name: str | None = None) -> None:
        """Make `f` a filter of all templates."""
        self.record_once(lambda state: state.app.add_template_filter(f, name=name))

    @setupmethod
    def app_template_test(self, name: str | None = None) -> Callable[[T_template_test], T_template_test]:
        """Make the decorated function a test (`is ...`) of all templates."""

        def decorator(f: T_template_test) -> T_template_test:
            self.add_app_template_test(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_app_template_test(self, f: ft.TemplateTestCallable, name: str | None = None) -> None:
        """Make `f` a test (`is ...`) of all templates."""
        self.record_once(lambda state: state.app.add_template_test(f, name=name))

    @setupmethod
    def app_template_global(self, name: str | None = None) -> Callable[[T_template_global], T_template_global]:
        """Make the decorated function a global of all templates."""

        def decorator(f: T_template_global) -> T_template_global:
            self.add_app_template_global(f, name=name)
            return f

        return decorator

    @setupmethod
    def add_app_template_global(self, f: ft.TemplateGlobalCallable, name: str | None = None) -> None:
        """Make `f` a global of all templates."""
        self.record_once(lambda state: state.app.add_template_global(f, name=name))

    @setupmethod
    def before_app_request(self, f: T_before_request) -> T_before_request:
        """Like `before_request`, for all requests of the application."""
        self.record_once(lambda state: state.app.before_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def after_app_request(self, f: T_after_request) -> T_after_request:
        """Like `after_request`, for all requests of the application."""
        self.record_once(lambda state: state.app.after_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def teardown_app_request(self, f: T_teardown) -> T_teardown:
        """Like `teardown_request`, for all requests of the application."""
        self.record_once(lambda state: state.app.teardown_request_funcs.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_context_processor(self, f: T_template_context_processor) -> T_template_context_processor:
        """Like `context_processor`, for all templates of the application."""
        self.record_once(lambda state: state.app.template_context_processors.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_errorhandler(self, code: type[Exception] | int) -> Callable[[T_error_handler], T_error_handler]:
        """Like `errorhandler`, for all requests of the application."""

        def decorator(f: T_error_handler) -> T_error_handler:
            self.record_once(lambda state: state.app.register_error_handler(code, f))
            return f

        return decorator

    @setupmethod
    def app_url_value_preprocessor(self, f: T_url_value_preprocessor) -> T_url_value_preprocessor:
        """Like `url_value_preprocessor`, for all requests of the application."""
        self.record_once(lambda state: state.app.url_value_preprocessors.setdefault(None, []).append(f))
        return f

    @setupmethod
    def app_url_defaults(self, f: T_url_defaults) -> T_url_defaults:
        """Like `url_defaults`, for all URLs of the application."""
        self.record_once(lambda state: state.app.url_default_functions.setdefault(None, []).append(f))
        return f


def _nested_options(
    blueprint: Blueprint, own: dict[str, Any], parent: BlueprintSetupState, parent_name: str
) -> dict[str, Any]:
    """Work out where a nested blueprint goes: below its parent's prefix, in its parent's subdomain."""
    options = own.copy()
    prefix = _given(options.get("url_prefix"), blueprint.url_prefix)
    if parent.url_prefix is not None and prefix is not None:
        prefix = parent.url_prefix.rstrip("/") + "/" + prefix.lstrip("/")
    options["url_prefix"] = _given(prefix, parent.url_prefix)
    subdomain = _given(options.get("subdomain"), blueprint.subdomain)
    if parent.subdomain is not None:
        subdomain = parent.subdomain if subdomain is None else f"{subdomain}.{parent.subdomain}"
    if subdomain is not None:
        options["subdomain"] = subdomain
    options["name_prefix"] = parent_name
    return options


__all__ = ["Blueprint", "BlueprintSetupState", "DeferredSetupFunction"]
