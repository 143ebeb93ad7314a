"""Sessions whose content stays on the server, in a store; the client's cookie has only a signed name for it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import itsdangerous

from ..sessions import SecureCookieSessionInterface, SessionMixin, session_json_serializer
from .stores import Store, StoreUnavailable, open_store

if TYPE_CHECKING:
    from ..app import Flask
    from ..wrappers import Request, Response

log = logging.getLogger("demijohn.server.state")

_PREFIX = "session:"
# 192 bits: nobody guesses one.
_NAME_BYTES = 24


class StoredSession(SessionMixin):
    """A session that is read from its store when it is used: a request that does not use it costs the store nothing.

    name: what it is kept under; None for one that has not been saved yet.
    """

    modified = False

    def __init__(self, name: str | None, load: Callable[[str], dict[str, Any] | None]) -> None:
        self.name = name
        self.new = name is None
        self.left_names: list[str] = []
        self._load = load
        self._items: dict[str, Any] | None = {} if name is None else None

    @property
    def is_loaded(self) -> bool:
        return self._items is not None

    @property
    def _loaded(self) -> dict[str, Any]:
        if self._items is None:
            assert self.name is not None
            found = self._load(self.name)
            if found is None:  # over, or cleared by another request: its name is not used again
                self.name = None
            self._items = found or {}
        return self._items

    def regenerate(self) -> None:
        """Go on under another name, as after a login: whoever knew the old one is left behind."""
        items = self._loaded
        if self.name is not None:
            self.left_names.append(self.name)
            self.name = None
        self.modified = self.modified or bool(items)

    def __getitem__(self, key: str) -> Any:
        return self._loaded[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._loaded[key] = value
        self.modified = True

    def __delitem__(self, key: str) -> None:
        del self._loaded[key]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    def __repr__(self) -> str:
        return f"<StoredSession {self._items!r}>"


class StoredSessions(SecureCookieSessionInterface):
    """Keeps sessions in a store: of any size, readable by no client, dropped for good when they are cleared.

    `app.session_interface = StoredSessions("redis://localhost:6379/0")`. The cookie is signed with `SECRET_KEY`; the
    content lives for `PERMANENT_SESSION_LIFETIME` after it was saved last. While the store cannot be reached,
    requests that use the session are answered 503, and all others go on.
    """

    salt = "stored-session"

    def __init__(self, store: Store | str) -> None:
        self.store: Store = open_store(store) if isinstance(store, str) else store

    def open_session(self, app: Flask, request: Request) -> StoredSession | None:  # type: ignore[override]
        """Return the session of `request`, a new one when its cookie names none; None without a secret key."""
        signing = self.get_signing_serializer(app)
        if signing is None:
            return None
        name: str | None = None
        cookie = request.cookies.get(self.get_cookie_name(app))
        if cookie:
            lifetime_s = int(app.permanent_session_lifetime.total_seconds())
            try:
                name = signing.loads(cookie, max_age=lifetime_s)
            except itsdangerous.BadSignature:
                name = None
        return StoredSession(name, self._load)

    def _load(self, name: str) -> dict[str, Any] | None:
        try:
            content = self.store.get(_PREFIX + name)
        except StoreUnavailable as error:
            log.error("A session could not be read: %s", error)
            raise
        return None if content is None else session_json_serializer.loads(content.decode())

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Keep a session that changed, drop one that was emptied; the answer is 503 when neither can be done."""
        assert isinstance(session, StoredSession)
        if session.accessed:
            response.vary.add("Cookie")
        if not session.is_loaded:
            return
        try:
            self._save(app, session, response)
        except StoreUnavailable as error:
            log.error("A session could not be saved: %s", error)
            refusal = error.get_response()
            response.status_code = 503
            response.headers["Content-Type"] = refusal.headers["Content-Type"]
            response.set_data(refusal.get_data())

    def _save(self, app: Flask, session: StoredSession, response: Response) -> None:
        for left in session.left_names:
            self.store.delete(_PREFIX + left)
        if not session:
            if session.modified:
                if session.name is not None:
                    self.store.delete(_PREFIX + session.name)
                response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))
                response.vary.add("Cookie")
        elif self.should_set_cookie(app, session):
            name = session.name = session.name or secrets.token_urlsafe(_NAME_BYTES)
            content = session_json_serializer.dumps(dict(session)).encode()
            self.store.set(_PREFIX + name, content, app.permanent_session_lifetime.total_seconds())
            signing = self.get_signing_serializer(app)
            assert signing is not None, "a session without a secret key is a null session, which is not saved"
            response.set_cookie(
                self.get_cookie_name(app),
                signing.dumps(name),
                expires=self.get_expiration_time(app, session),
                **self._attributes(app),
            )
            response.vary.add("Cookie")
