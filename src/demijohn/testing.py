"""Testing an application without a server: a client for its requests, a runner for its commands."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import copy
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import werkzeug.test
from click.testing import CliRunner, Result
from werkzeug.test import Client
from werkzeug.wrappers import Request as BaseRequest

from .commands import ScriptInfo

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.test import TestResponse

    from .app import Flask
    from .sessions import SessionMixin


class EnvironBuilder(werkzeug.test.EnvironBuilder):
    """Builds WSGI environs with the application's configuration for defaults.

    path: a path, or a whole URL.
    base_url: where the application is; by default made of `SERVER_NAME` (or localhost), `APPLICATION_ROOT`,
        `subdomain` and `url_scheme`, which is `PREFERRED_URL_SCHEME` by default.
    args, kwargs: for werkzeug.test.EnvironBuilder.

    Raises AssertionError for `subdomain` or `url_scheme` together with `base_url`.
    """

    def __init__(
        self,
        app: Flask,
        path: str = "/",
        base_url: str | None = None,
        subdomain: str | None = None,
        url_scheme: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if base_url is not None:
            if subdomain or url_scheme:
                raise AssertionError('Cannot pass "subdomain" or "url_scheme" with "base_url".')
        else:
            url = urlsplit(path)
            host = app.config["SERVER_NAME"] or "localhost"
            if subdomain:
                host = f"{subdomain}.{host}"
            scheme = url_scheme or url.scheme or app.config["PREFERRED_URL_SCHEME"]
            base_url = f"{scheme}://{url.netloc or host}/{app.config['APPLICATION_ROOT'].lstrip('/')}"
            path = f"{url.path}?{url.query}" if url.query else url.path
        self.app = app
        super().__init__(path, base_url, *args, **kwargs)

    def json_dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return `obj` as JSON as the application writes it."""
        return self.app.json.dumps(obj, **kwargs)


@cache
def _user_agent() -> str:
    return f"Werkzeug/{importlib.metadata.version('werkzeug')}"


class FlaskClient(Client):
    """A client that calls the application directly. Made by `Flask.test_client`.

    In a `with` block the contexts of the last request stay current, so that a test can look at `request`, `session`
    and `g`. See werkzeug.test.Client for the rest.

    environ_base: what every request's environ starts with.
    """

    application: Flask

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.environ_base = {"REMOTE_ADDR": "127.0.0.1", "HTTP_USER_AGENT": _user_agent()}
        self.preserve_context = False
        # The application hands its contexts over here; they are entered when the request is over.
        self._new_contexts: list[AbstractContextManager[Any]] = []
        self._context_stack = ExitStack()

    @contextmanager
    def session_transaction(self, *args: Any, **kwargs: Any) -> Iterator[SessionMixin]:
        """Open the client's session to change it; it is saved at the end of the `with` block.

        args, kwargs: for `Flask.test_request_context`, when the session depends on the request.

        Raises TypeError for a client without cookies, RuntimeError when there is no session, as without a secret key.
        """
        if self._cookies is None:
            raise TypeError("Cookies are disabled. Create a client with 'use_cookies=True'.")
        app = self.application
        context = app.test_request_context(*args, **kwargs)
        self._add_cookies_to_wsgi(context.request.environ)
        interface = app.session_interface
        with context:
            session = interface.open_session(app, context.request)
        if session is None:
            raise RuntimeError("Session backend did not open a session. Is the secret key set?")
        yield session
        if interface.is_null_session(session):
            return
        response = app.response_class()
        with context:
            interface.save_session(app, session, response)
        host = context.request.host.partition(":")[0]
        self._update_cookies_from_response(host, context.request.path, response.headers.getlist("Set-Cookie"))

    def _copy_environ(self, other: Mapping[str, Any]) -> WSGIEnvironment:
        environ = {**self.environ_base, **other}
        if self.preserve_context:
            environ["werkzeug.debug.preserve_context"] = self._new_contexts.append
        return environ

    def _request_from_builder_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseRequest:
        kwargs["environ_base"] = self._copy_environ(kwargs.get("environ_base", {}))
        builder = EnvironBuilder(self.application, *args, **kwargs)
        try:
            return builder.get_request()
        finally:
            builder.close()

    def open(self, *args: Any, buffered: bool = False, follow_redirects: bool = False, **kwargs: Any) -> TestResponse:
        """Send a request and return its response.

        args, kwargs: for `EnvironBuilder`; or one environ builder, environ or request.
        buffered: read the response to its end. follow_redirects: go on until there is no redirect any more.
        """
        request = self._request_of(args, kwargs)
        # What the last request left current goes before the next one begins.
        self._context_stack.close()
        response = super().open(request, buffered=buffered, follow_redirects=follow_redirects)
        response.json_module = self.application.json  # type: ignore[assignment]
        # In their order: after a redirect, the contexts of the last response are the ones to be looked at.
        for context in self._new_contexts:
            self._context_stack.enter_context(context)
        self._new_contexts.clear()
        return response

    def _request_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseRequest:
        given = args[0] if args else None
        if isinstance(given, werkzeug.test.EnvironBuilder):
            builder = copy(given)
            builder.environ_base = self._copy_environ(builder.environ_base or {})
            return builder.get_request()
        if isinstance(given, dict):
            builder = EnvironBuilder.from_environ(given, app=self.application, environ_base=self._copy_environ({}))
            return builder.get_request()
        if isinstance(given, BaseRequest):
            request = copy(given)
            request.environ = self._copy_environ(given.environ)
            return request
        return self._request_from_builder_args(args, kwargs)

    def __enter__(self) -> Self:
        if self.preserve_context:
            raise RuntimeError("Cannot nest client invocations")
        self.preserve_context = True
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.preserve_context = False
        self._context_stack.close()


class FlaskCliRunner(CliRunner):
    """Runs the commands of an application and captures their output. Made by `Flask.test_cli_runner`."""

    def __init__(self, app: Flask, **kwargs: Any) -> None:
        self.app = app
        super().__init__(**kwargs)

    def invoke(self, cli: Any = None, args: Any = None, **kwargs: Any) -> Result:  # type: ignore[override]
        """Run a command and return its result: `output`, `exit_code`, `exception`.

        cli: the command or group, by default `app.cli`. args: as on the command line, a list or a string.
        kwargs: for click.testing.CliRunner.invoke; `obj` is a `ScriptInfo` of the application unless given.
        """
        kwargs.setdefault("obj", ScriptInfo(create_app=self._get_app))
        return super().invoke(self.app.cli if cli is None else cli, args, **kwargs)

    def _get_app(self) -> Flask:
        return self.app
