"""Templates: the Jinja environment of an application, and rendering with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import BaseLoader, Template, TemplateNotFound
from jinja2 import Environment as BaseEnvironment

from .globals import _cv_request, current_app
from .helpers import _default_template_ctx_processor as _default_template_ctx_processor
from .helpers import stream_with_context
from .signals import before_render_template, template_rendered

if TYPE_CHECKING:
    from .app import Flask
    from .scaffold import Scaffold

Source = tuple[str, str | None, Callable[[], bool] | None]  # text, file name, whether it is up to date


class Environment(BaseEnvironment):
    """A Jinja environment that loads from the folders of an application and its blueprints, unless told otherwise.

    app: the application. options: jinja2.Environment's.
    """

    def __init__(self, app: Flask, **options: Any) -> None:
        if "loader" not in options:
            options["loader"] = app.create_global_jinja_loader()
        super().__init__(**options)
        self.app = app


class Attempt(NamedTuple):
    """A loader asked for a template: whose it is, and what it had."""

    owner: Scaffold
    loader: BaseLoader
    source: Source | None


class DispatchingJinjaLoader(BaseLoader):
    """Looks for templates where the application keeps them, then where its blueprints do, in order of registration."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def get_source(self, environment: BaseEnvironment, template: str) -> Source:
        """Return a template's text, file name and a function that tells whether it still is up to date.

        With `EXPLAIN_TEMPLATE_LOADING` every place is tried and the log says what each had.

        Raises TemplateNotFound, whose message names the places.
        """
        explain = self.app.config["EXPLAIN_TEMPLATE_LOADING"]
        attempts = []
        for owner, loader in self._iter_loaders(template):
            attempt = Attempt(owner, loader, _source_from(loader, environment, template))
            if attempt.source is not None and not explain:
                return attempt.source
            attempts.append(attempt)
        if explain:
            self.app.logger.info(explanation(self.app, template, attempts))
            for attempt in attempts:
                if attempt.source is not None:
                    return attempt.source
        raise TemplateNotFound(template, _not_found(self.app, template, attempts))

    def _iter_loaders(self, template: str) -> Iterator[tuple[Scaffold, BaseLoader]]:
        """Yield who has a loader, and the loader; an extension's subclass may choose by the template's name."""
        for owner in (self.app, *self.app.iter_blueprints()):
            if owner.jinja_loader is not None:
                yield owner, owner.jinja_loader

    def list_templates(self) -> list[str]:
        """Return the names of all templates there are."""
        return list({name for _, loader in self._iter_loaders("") for name in loader.list_templates()})


def _source_from(loader: BaseLoader, environment: BaseEnvironment, template: str) -> Source | None:
    try:
        return loader.get_source(environment, template)
    except TemplateNotFound:
        return None


def _owner_name(app: Flask, owner: Scaffold) -> str:
    if owner is app:
        return f"application {owner.import_name!r}"
    return f"blueprint {owner.name!r} ({owner.import_name})"


def _not_found(app: Flask, template: str, attempts: list[Attempt]) -> str:
    if not attempts:
        return f"{template!r} not found: neither the application nor a blueprint has a template folder."
    places = [f"{place} ({_owner_name(app, owner)})" for owner, loader, _ in attempts for place in _places(loader)]
    return f"{template!r} not found in {', '.join(places)}"


def _places(loader: BaseLoader) -> Iterable[str]:
    return getattr(loader, "searchpath", None) or [f"{type(loader).__module__}.{type(loader).__name__}"]


def explanation(app: Flask, template: str, attempts: list[Attempt]) -> str:
    """Say where a template was looked for and what was there, one loader after the other.

    Flask's tests look for the words of the loaders' lines, of the error and of the advice.
    """
    tried = (line for number, attempt in enumerate(attempts, start=1) for line in _tried(app, number, attempt))
    found = sum(attempt.source is not None for attempt in attempts)
    return "\n".join([f"Locating template {template!r}:", *tried, *_verdict(found)])


def _tried(app: Flask, number: int, attempt: Attempt) -> Iterator[str]:
    yield f"{number:5}: trying loader of {_owner_name(app, attempt.owner)}"
    for line in _described(attempt.loader):
        yield f"       {line}"
    if attempt.source is None:
        yield "       -> no match"
    else:
        _, file_name, _ = attempt.source
        yield f"       -> found ({file_name or '<string>'!r})"


def _verdict(found: int) -> Iterator[str]:
    if found == 1:
        return
    if found:
        yield f"Warning: {found} loaders have the template; the first one's is used."
    else:
        yield "Error: the template could not be found."
    context = _cv_request.get(None)
    blueprint = None if context is None else context.request.blueprint
    if blueprint is not None:
        yield f"  It was looked up from an endpoint that belongs to the blueprint {blueprint!r}."
        yield "  Templates of a blueprint are best kept in a folder of its name, below its template folder."
        yield "  See https://flask.palletsprojects.com/blueprints/#templates"


def _described(loader: BaseLoader) -> Iterator[str]:
    yield f"class: {type(loader).__module__}.{type(loader).__name__}"
    for name, value in sorted(vars(loader).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            yield f"{name}:"
            yield from (f"  - {item}" for item in value)
        elif isinstance(value, str | int | float | bool):
            yield f"{name}: {value!r}"


def _render(app: Flask, template: Template, context: dict[str, Any]) -> str:
    app.update_template_context(context)
    if before_render_template.receivers:
        before_render_template.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)
    text = template.render(context)
    if template_rendered.receivers:
        template_rendered.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)
    return text


def _stream(app: Flask, template: Template, context: dict[str, Any]) -> Iterator[str]:
    app.update_template_context(context)
    if before_render_template.receivers:
        before_render_template.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)

    def parts() -> Iterator[str]:
        yield from template.generate(context)
        if template_rendered.receivers:
            template_rendered.send(app, _async_wrapper=app.ensure_sync, template=template, context=context)

    # The context of a request ends with its view, and the template may need it until its last part.
    return stream_with_context(parts()) if _cv_request.get(None) is not None else parts()


def render_template(template_name_or_list: str | Template | list[str | Template], **context: Any) -> str:
    """Return what a template makes of the variables in `context`.

    template_name_or_list: its name, or several, of which the first that exists is taken.

    Raises jinja2.TemplateNotFound, whose message names the folders that were searched.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return _render(app, app.jinja_env.get_or_select_template(template_name_or_list), context)


def render_template_string(source: str, **context: Any) -> str:
    """Return what the template `source` makes of the variables in `context`; its values are escaped as in HTML."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return _render(app, app.jinja_env.from_string(source), context)


def stream_template(template_name_or_list: str | Template | list[str | Template], **context: Any) -> Iterator[str]:
    """Return the parts of what `render_template` returns, made as they are asked for; a view can return them."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return _stream(app, app.jinja_env.get_or_select_template(template_name_or_list), context)


def stream_template_string(source: str, **context: Any) -> Iterator[str]:
    """Return the parts of what `render_template_string` returns, made as they are asked for."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return _stream(app, app.jinja_env.from_string(source), context)
