"""Sessions: what one client keeps from request to request, by default in a signed cookie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import itsdangerous
from werkzeug.datastructures import CallbackDict
from werkzeug.http import dump_cookie
from werkzeug.wrappers import Response as ResponseBase

from .json.tag import TaggedJSONSerializer

if TYPE_CHECKING:
    from .app import Flask
    from .wrappers import Request, Response


class SessionMixin(MutableMapping[str, Any]):
    """What a session has besides its items.

    new: whether the client sent none. modified: whether it must be saved; an implementation that cannot tell says
    True. accessed: whether the request used it, so that its answer depends on the cookie.
    """

    new = False
    modified = True
    accessed = False

    @property
    def permanent(self) -> bool:
        """Whether the session outlives the browser, by `PERMANENT_SESSION_LIFETIME`."""
        return self.get("_permanent", False)  # type: ignore[no-any-return]

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self["_permanent"] = bool(value)


class SecureCookieSession(CallbackDict[str, Any], SessionMixin):
    """A session that notes when an item is set or removed. What changes inside an item needs `modified = True`."""

    modified = False

    def __init__(self, initial: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        # As CallbackDict does, in one call less.
        dict.__init__(self, initial or ())
        self.on_update = _note_change

    def __setitem__(self, key: str, value: Any) -> None:
        # As CallbackDict does, in one call instead of three.
        dict.__setitem__(self, key, value)
        if self.on_update is not None:
            self.on_update(self)  # type: ignore[arg-type]


def _note_change(session: CallbackDict[str, Any]) -> None:
    session.modified = True  # type: ignore[attr-defined]


class NullSession(SecureCookieSession):
    """The session of an application without a secret key: empty, and refuses to be written to."""

    def _fail(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            "The session is unavailable because no secret key was set. Set app.secret_key, or SECRET_KEY in the"
            " configuration, to something unique and secret; python -c 'import secrets; print(secrets.token_hex())'"
            " makes one."
        )

    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = _fail
    del _fail


class SessionInterface:
    """How an application opens and saves sessions. Subclasses give `open_session` and `save_session`.

    null_session_class: the class of the session to use when `open_session` returns None.
    pickle_based: whether the items are pickled; extensions ask.
    """

    null_session_class = NullSession
    pickle_based = False

    def make_null_session(self, app: Flask) -> NullSession:
        """Make the session to use when none could be opened: its errors say what is missing."""
        return self.null_session_class()

    def is_null_session(self, obj: object) -> bool:
        """Whether `obj` stands for no session, so is never saved."""
        return isinstance(obj, self.null_session_class)

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name of the cookie, `SESSION_COOKIE_NAME`."""
        return app.config["SESSION_COOKIE_NAME"]  # type: ignore[no-any-return]

    def get_cookie_domain(self, app: Flask) -> str | None:
        """Return `SESSION_COOKIE_DOMAIN`: None sends the cookie to the very host that set it."""
        return app.config["SESSION_COOKIE_DOMAIN"]  # type: ignore[no-any-return]

    def get_cookie_path(self, app: Flask) -> str:
        """Return the path the cookie is for: `SESSION_COOKIE_PATH`, else `APPLICATION_ROOT`."""
        return app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"]  # type: ignore[no-any-return]

    def get_cookie_httponly(self, app: Flask) -> bool:
        """Whether the cookie is hidden from scripts, `SESSION_COOKIE_HTTPONLY`."""
        return app.config["SESSION_COOKIE_HTTPONLY"]  # type: ignore[no-any-return]

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether the cookie goes over HTTPS only, `SESSION_COOKIE_SECURE`."""
        return app.config["SESSION_COOKIE_SECURE"]  # type: ignore[no-any-return]

    def get_cookie_samesite(self, app: Flask) -> str | None:
        """Return `"Strict"`, `"Lax"` or None, `SESSION_COOKIE_SAMESITE`."""
        return app.config["SESSION_COOKIE_SAMESITE"]  # type: ignore[no-any-return]

    def get_cookie_partitioned(self, app: Flask) -> bool:
        """Whether the cookie has the attribute Partitioned, `SESSION_COOKIE_PARTITIONED`."""
        return app.config["SESSION_COOKIE_PARTITIONED"]  # type: ignore[no-any-return]

    def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime | None:
        """Return when a permanent session saved now ends; None for one that ends with the browser."""
        return datetime.now(UTC) + app.permanent_session_lifetime if session.permanent else None

    def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
        """Whether the answer has to carry the cookie: the session changed, or is permanent and renewed each time.

        The latter is `SESSION_REFRESH_EACH_REQUEST`.
        """
        return session.modified or (session.permanent and app.config["SESSION_REFRESH_EACH_REQUEST"])

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:
        """Return the session of `request`, or None when there cannot be one, as without a secret key."""
        raise NotImplementedError(f"{type(self).__name__} needs a method 'open_session'.")

    def _may_be_permanent(self, cookie: str) -> bool:
        """Whether the session in a cookie can be a permanent one, so has to be opened to be renewed."""
        return True

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save the session at the end of its request; not called for a null session."""
        raise NotImplementedError(f"{type(self).__name__} needs a method 'save_session'.")


session_json_serializer = TaggedJSONSerializer()


def default_digest(content: bytes = b"") -> Any:
    """Return the SHA-1 of content. Not hashlib.sha1 itself: a Python built for FIPS has none, and imports this too."""
    return hashlib.sha1(content)


@lru_cache(maxsize=32)
def _signing_serializer(
    keys: tuple[str | bytes, ...], salt: str, serializer: Any, key_derivation: str, digest_method: Callable[..., Any]
) -> itsdangerous.URLSafeTimedSerializer:
    from .signing import SessionSerializer  # inside, for its cost: 3 ms, which nobody without sessions pays

    # Kept, as keys seldom change. bench/session_cookie.py: 3.5 us to make one, 0.5 to find it.
    signer_options = {"key_derivation": key_derivation, "digest_method": digest_method}
    serializer_class = SessionSerializer if digest_method is default_digest else itsdangerous.URLSafeTimedSerializer
    return serializer_class(
        keys,  # type: ignore[arg-type]  # text and bytes may be mixed
        salt=salt,
        serializer=serializer,
        signer_kwargs=signer_options,
    )


def _vary_by_cookie(response: Response) -> None:
    """Tell caches that a response depends on the cookie, if they are not told. bench/session_cookie.py: 2.8 us less."""
    headers = response.headers
    told = [value for name, value in headers._list if name.lower() == "vary"]
    if not told:
        headers._list.append(("Vary", "Cookie"))
    elif told != ["Cookie"]:
        response.vary.add("Cookie")


# What has no place in the value of any cookie.
_VALUE = "<value>"


@lru_cache(maxsize=64)
def _around_cookie(name: str, expires_at: int | None, attributes: tuple[tuple[str, Any], ...]) -> tuple[str, str]:
    """Return what stands before and behind the value in the line that sets a cookie."""
    line = dump_cookie(name, _VALUE, expires=expires_at, max_size=0, **dict(attributes))
    before, _, behind = line.partition(_VALUE)
    return before, behind


def _set_cookie(
    response: Response, name: str, value: str, expires: datetime | None, attributes: dict[str, Any]
) -> None:
    """Do what `response.set_cookie` does for a value that needs no quotes.

    bench/session_cookie.py: 2.3 us, where that takes 3.7.
    """
    if type(response).set_cookie is not _STOCK_SET_COOKIE or (expires is not None and expires.tzinfo is not UTC):
        response.set_cookie(name, value, expires=expires, **attributes)
        return
    expires_at = None if expires is None else int(expires.timestamp())
    before, behind = _around_cookie(name, expires_at, tuple(attributes.items()))
    line = f"{before}{value}{behind}"
    if 0 < response.max_cookie_size < len(line):
        response.set_cookie(name, value, expires=expires, **attributes)  # and a warning says so
    else:
        response.headers.add("Set-Cookie", line)


_STOCK_SET_COOKIE = ResponseBase.set_cookie


class SecureCookieSessionInterface(SessionInterface):
    """Sessions in a cookie that the client can read but not change, signed by itsdangerous.

    salt, digest_method, key_derivation: how the cookie is signed.
    serializer: how it is written. session_class: the class of the sessions.
    """

    salt = "cookie-session"
    digest_method: Callable[..., Any] = staticmethod(default_digest)
    key_derivation = "hmac"
    serializer = session_json_serializer
    session_class = SecureCookieSession

    def get_signing_serializer(self, app: Flask) -> itsdangerous.URLSafeTimedSerializer | None:
        """Return what signs and reads the cookie, None without a secret key.

        It signs with `SECRET_KEY` and also accepts what any of `SECRET_KEY_FALLBACKS` signed.
        """
        key = app.secret_key
        if not key:
            return None
        # itsdangerous signs with the last key.
        keys = (*(app.config["SECRET_KEY_FALLBACKS"] or ()), key)
        return _signing_serializer(keys, self.salt, self.serializer, self.key_derivation, self.digest_method)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session in the cookie, a new one when there is no cookie or a wrong, old or unreadable one."""
        signing = self.get_signing_serializer(app)
        if signing is None:
            return None
        cookie = request.cookies.get(self.get_cookie_name(app))
        if not cookie:
            return self.session_class()
        try:
            return self.session_class(
                signing.loads(cookie, max_age=int(app.permanent_session_lifetime.total_seconds()))
            )
        except itsdangerous.BadSignature:
            return self.session_class()

    def _may_be_permanent(self, cookie: str) -> bool:
        # False is certain, and found without looking at the signature.
        # bench/session_cookie.py: 1.2 us, where opening the session takes 15.
        compressed = cookie.startswith(".")
        if compressed or self.serializer is not session_json_serializer:
            return True
        try:
            content = itsdangerous.base64_decode(cookie.partition(".")[0])
        except itsdangerous.BadData:
            return False  # and it cannot be opened
        return b'"_permanent"' in content

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie when it must be, delete it when the session was emptied, and tell caches when it was used."""
        if session.accessed:
            _vary_by_cookie(response)
        if not session:
            if session.modified:
                response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))
                _vary_by_cookie(response)
        elif self.should_set_cookie(app, session):
            signing = self.get_signing_serializer(app)
            assert signing is not None, "a session without a secret key is a null session, which is not saved"
            value = signing.dumps(dict(session))
            expires = self.get_expiration_time(app, session)
            _set_cookie(response, self.get_cookie_name(app), value, expires, self._attributes(app))
            if not session.accessed:
                _vary_by_cookie(response)

    def _attributes(self, app: Flask) -> dict[str, Any]:
        return {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "samesite": self.get_cookie_samesite(app),
            "partitioned": self.get_cookie_partitioned(app),
            "httponly": self.get_cookie_httponly(app),
        }
