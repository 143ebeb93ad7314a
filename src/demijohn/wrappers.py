"""Request and Response: Werkzeug's, thin until an attribute is asked for."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload
from urllib.parse import parse_qsl

from werkzeug.datastructures import EnvironHeaders, Headers, ImmutableMultiDict, MultiDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.http import parse_cookie, parse_options_header
from werkzeug.wrappers import Request as RequestBase
from werkzeug.wrappers import Response as ResponseBase

from . import json
from .byteranges import ByteRanges, Span
from .conditional import is_conditional, refusal, several_spans, without_conditions
from .environ import environ_of
from .forms import parse_spooled
from .globals import _cv_app, current_app
from .helpers import _split_blueprint_path
from .message import origin_of, rounds

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.routing import Rule

    from .message import RequestHead

T = TypeVar("T")


class lazy(Generic[T]):
    """An attribute computed when first read and then kept in the instance's dictionary, where it may be overwritten.

    No data descriptor: from the second read on, Python finds the value without calling anything
    (werkzeug.utils.cached_property is called each time; functools.cached_property locks before 3.12).
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: object, owner: type) -> T: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        if obj is None:
            return self
        value = obj.__dict__[self.name] = self.compute(obj)
        return value


def _immutable(values: dict[str, list[str]]) -> ImmutableMultiDict[str, str]:
    """Return what calling the class gives for names and their values, which it would look at one by one."""
    made = _new_multi_dict(ImmutableMultiDict)
    _fill_dict(made, values)
    return made


def _maybe_cookies(sent: bytes) -> dict[str, list[str]] | None:
    """Return the values of each cookie, None when it takes more than splitting to know them."""
    if b'"' in sent or b"\t" in sent or not sent.isascii():
        return None
    values: dict[str, list[str]] = {}
    for pair in sent.decode().split(";"):
        name, _, value = pair.strip(" ").partition("=")
        if " " in name or " " in value:
            return None
        if name in values:
            values[name].append(value)
        elif name:
            values[name] = [value]
    return values


_new_multi_dict = ImmutableMultiDict.__new__
_fill_dict = dict.__init__


class DebugFilesKeyError(KeyError, AssertionError):
    """A file was asked for in debug mode, and the form that was sent cannot hold files."""

    def __str__(self) -> str:  # KeyError would quote it
        return str(self.args[0])


class _FilesOfPlainForm(ImmutableMultiDict[str, Any]):
    """The empty `files` of a form sent without multipart/form-data: a missing key says what the form lacks."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._mimetype = request.mimetype
        self._form = request.form

    def __getitem__(self, key: str) -> Any:
        if key not in self._form:
            return super().__getitem__(key)
        raise DebugFilesKeyError(
            f"There is no file {key!r} in request.files: the form came as {self._mimetype!r}, so that no file contents"
            ' were transmitted. Add enctype="multipart/form-data" to the <form> element.'
            f" This was submitted: {', '.join(map(repr, self._form.getlist(key)))}"
        )


class Request(RequestBase):
    """The request that `request` stands for.

    From a WSGI server it is made of its environ; from demijohn's own, of the request head, and the environ is made
    when something asks for it.
    """

    json_module: Any = json

    #: The rule that matched; None when none did, see `routing_exception`.
    url_rule: Rule | None = None
    #: The arguments for the view, out of the URL.
    view_args: dict[str, Any] | None = None
    #: What matching the URL raised; dispatching raises it again.
    routing_exception: HTTPException | None = None

    _head: RequestHead | None = None
    _max_content_length: int | None = None
    _max_form_memory_size: int | None = None
    _max_form_parts: int | None = None

    def __init__(self, environ: WSGIEnvironment, populate_request: bool = True, shallow: bool = False) -> None:
        # RequestBase.__init__ computes eight attributes that most requests never read; here they are `lazy`.
        self.environ = environ
        self.shallow = shallow
        if populate_request and not shallow:
            environ["werkzeug.request"] = self

    @classmethod
    def of_head(cls, head: RequestHead) -> Self:
        """Make the request of a head that has its route. Only for classes that keep this class's constructor."""
        self = cls.__new__(cls)
        self._head = head
        self.url_rule = head.route.rule
        self.view_args = head.arguments
        return self

    # -- computed when asked for, from the head when there is no environ yet -----------------------

    if not TYPE_CHECKING:  # Werkzeug declares these as plain attributes.
        shallow = False

        @lazy
        def environ(self) -> WSGIEnvironment:
            environ = environ_of(self._head)
            environ["werkzeug.request"] = self
            return environ

        @lazy
        def method(self) -> str:
            return self._head.method if self._head is not None else self.environ.get("REQUEST_METHOD", "GET").upper()

        @lazy
        def scheme(self) -> str:
            if self._head is not None and "environ" not in self.__dict__:
                return origin_of(self._head).scheme
            return self.environ.get("wsgi.url_scheme", "http")

        @lazy
        def server(self) -> tuple[str, int | None] | None:
            name = self.environ.get("SERVER_NAME")
            if not name:
                return None
            try:
                return name, int(self.environ.get("SERVER_PORT"))
            except (TypeError, ValueError):
                return name, None

        @lazy
        def root_path(self) -> str:
            return _decoded(self.environ.get("SCRIPT_NAME") or "").rstrip("/")

        @lazy
        def path(self) -> str:
            return "/" + _decoded(self.environ.get("PATH_INFO") or "").lstrip("/")

        @lazy
        def query_string(self) -> bytes:
            if self._head is not None and "environ" not in self.__dict__:
                return self._head.target.partition(b"?")[2]
            return self.environ.get("QUERY_STRING", "").encode("latin-1")

        @lazy
        def headers(self) -> Headers:
            return EnvironHeaders(self.environ)

        @lazy
        def content_type(self) -> str | None:
            if self._head is not None and "environ" not in self.__dict__:
                for name, value in self._head.fields:
                    if name == b"content-type":
                        return value.decode("latin-1")
                return None
            return self.headers.get("Content-Type")

        @lazy
        def remote_addr(self) -> str | None:
            return self.environ.get("REMOTE_ADDR")

    def sends_cookie(self, name: str) -> bool:
        """Whether a cookie of that name may have been sent; cheaper than to parse `cookies`."""
        if self._head is not None:
            # bench/request_path.py: 0.3 us for 5 fields, with a generator 1.1.
            for field, value in self._head.fields:  # noqa: SIM110
                if field == b"cookie" and name.encode() in value:
                    return True
            return False
        return name in self.environ.get("HTTP_COOKIE", "")

    # -- the query --------------------------------------------------------------------------------

    if not TYPE_CHECKING:  # Werkzeug declares it as its own kind of cached property.

        @lazy
        def args(self) -> MultiDict[str, str]:
            """The parameters of the query, the first value of a name under `[...]`, all of them by `getlist`."""
            if self._head is not None and "query_string" not in self.__dict__ and "environ" not in self.__dict__:
                query = self._head.target.partition(b"?")[2]
            else:
                query = self.query_string
            # bench/request_path.py: 2.5 us where Werkzeug's way takes 3.3, for one parameter without escapes.
            if b"%" in query or b"+" in query:
                pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="werkzeug.url_quote")
                return self.parameter_storage_class(pairs)
            if self.parameter_storage_class is not ImmutableMultiDict:
                split = [pair.partition("=") for pair in query.decode().split("&")]
                return self.parameter_storage_class([(name, value) for name, equals, value in split if name or equals])
            values: dict[str, list[str]] = {}
            for pair in query.decode().split("&"):
                if pair:  # between two "&" is nothing
                    name, _, value = pair.partition("=")
                    if name in values:
                        values[name].append(value)
                    else:
                        values[name] = [value]
            return _immutable(values)

        @lazy
        def cookies(self) -> MultiDict[str, str]:
            """The cookies that were sent, the first value of a name under `[...]`, all of them by `getlist`."""
            if self._head is None or "environ" in self.__dict__:
                return parse_cookie(self.environ, cls=self.dict_storage_class)
            # RFC 6265 §5.4, as environ.py joins them.
            # bench/request_path.py: 3.3 us less than to make the environ first, and parse with Werkzeug's patterns.
            sent = b"; ".join([value for name, value in self._head.fields if name == b"cookie"])
            values = _maybe_cookies(sent) if self.dict_storage_class is ImmutableMultiDict else None
            if values is None:
                return parse_cookie(sent.decode("latin-1"), cls=self.dict_storage_class)
            return _immutable(values)

    # -- limits: the request's own, else the application's ----------------------------------------

    @property
    def max_content_length(self) -> int | None:
        """The most bytes of content that may be read; more is answered 413. `MAX_CONTENT_LENGTH` unless set here."""
        limit = self._max_content_length
        if limit is None and (app := _cv_app.app()) is not None:
            limit = app.config["MAX_CONTENT_LENGTH"]
        return limit

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        self._max_content_length = value

    @property
    def max_form_memory_size(self) -> int | None:
        """The most bytes of memory for one field of a form, not a file. `MAX_FORM_MEMORY_SIZE` unless set here."""
        return self._limit("_max_form_memory_size", "MAX_FORM_MEMORY_SIZE", 500_000)

    @max_form_memory_size.setter
    def max_form_memory_size(self, value: int | None) -> None:
        self._max_form_memory_size = value

    @property  # type: ignore[override]
    def max_form_parts(self) -> int | None:
        """The most fields and files a form may have. `MAX_FORM_PARTS` unless set here."""
        return self._limit("_max_form_parts", "MAX_FORM_PARTS", 1_000)

    @max_form_parts.setter
    def max_form_parts(self, value: int | None) -> None:
        self._max_form_parts = value

    def _limit(self, own: str, key: str, default: int | None = None) -> int | None:
        value = getattr(self, own)
        if value is None:
            app = _cv_app.app()
            value = app.config[key] if app is not None else default
        return value  # type: ignore[no-any-return]

    # -- where it goes ----------------------------------------------------------------------------

    @property
    def endpoint(self) -> str | None:
        """The endpoint of the rule that matched, None when none did."""
        return self.url_rule.endpoint if self.url_rule is not None else None

    @property
    def blueprint(self) -> str | None:
        """The dotted name of the blueprint the endpoint belongs to, None for the application's own."""
        endpoint = self.endpoint
        if endpoint is None or "." not in endpoint:
            return None
        return endpoint.rpartition(".")[0]

    @property
    def blueprints(self) -> list[str]:
        """The names of the blueprint and of those around it, innermost first."""
        name = self.blueprint
        return [] if name is None else _split_blueprint_path(name)

    # -- content ----------------------------------------------------------------------------------

    def _parse_content_type(self) -> None:
        # Werkzeug reads the header from the environ, which is to be made for those who need it.
        if "_parsed_content_type" not in self.__dict__:
            content_type = self.content_type or ""
            if ";" in content_type:
                self._parsed_content_type = parse_options_header(content_type)
            else:
                self._parsed_content_type = (content_type.strip(), {})

    @property
    def is_json(self) -> bool:
        """Whether the content is said to be JSON: application/json, or any type in application that ends in +json."""
        return self.content_type == "application/json" or super().is_json

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return what the content says as JSON.

        force: whatever media type the content is said to be of. silent: None for what is no JSON.
        cache: whether the value is kept, and given again.

        Raises UnsupportedMediaType (415) and BadRequest (400), or returns what `on_json_loading_failed` does.
        """
        if cache and self._cached_json[silent] is not ...:
            return self._cached_json[silent]
        if not (force or self.is_json):
            return None if silent else self.on_json_loading_failed(None)
        content = self.get_data(cache=cache)
        try:
            value = self.json_module.loads(content)
        except ValueError as error:
            value = None if silent else self.on_json_loading_failed(error)
            if cache:
                loud, quiet = self._cached_json
                self._cached_json = (loud, value) if silent else (value, quiet)
        else:
            if cache:
                self._cached_json = (value, value)
        return value

    def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        """Return the content: bytes, or str with `as_text`. See werkzeug.wrappers.Request.get_data.

        Raises RequestEntityTooLarge (413) beyond `max_content_length`.
        """
        if self._head is not None and not parse_form_data and "environ" not in self.__dict__:
            content = self._head.content
            # Whoever reads `stream` or `form` makes the environ first, and with it Werkzeug's bookkeeping applies.
            if content is not None:
                limit = self.max_content_length
                if limit is not None and len(content) > limit:
                    raise RequestEntityTooLarge
                self._cached_data = content
                return content.decode(errors="replace") if as_text else content
        return super().get_data(cache=cache, as_text=as_text, parse_form_data=parse_form_data)  # type: ignore[call-overload]

    def close(self) -> None:
        """Close the files that were sent."""
        if "files" in self.__dict__:
            super().close()

    def _load_form_data(self) -> None:
        if not self._load_spooled_form():
            super()._load_form_data()
        if current_app and current_app.debug and self.mimetype != "multipart/form-data" and not self.files:
            explain_missing_files(self)

    def _load_spooled_form(self) -> bool:
        """Load a form with files where its content is: in the server's temporary file. False to have it parsed."""
        spool = None if self._head is None else self._head.spool
        if spool is None or not self.__dict__.keys().isdisjoint(("form", "stream")):
            return False
        if self.mimetype != "multipart/form-data":
            return False
        stream = self.stream  # raises RequestEntityTooLarge
        parsed = parse_spooled(self, spool)
        if parsed is None:
            return False
        form, files = parsed
        self.__dict__.update(stream=stream, form=form, files=files)
        return True

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Answer 400 for content that is no JSON; the client is told where only in debug mode."""
        try:
            return super().on_json_loading_failed(e)
        except BadRequest as error:
            if current_app and current_app.debug:
                raise
            raise BadRequest() from error


def explain_missing_files(request: Request) -> None:
    """Let a file missing from `request.files` say that the form was sent without the enctype for files."""
    # Werkzeug keeps what it parsed in the instance's dictionary.
    request.__dict__["files"] = _FilesOfPlainForm(request)


def _decoded(wsgi_text: str) -> str:
    """Turn PEP 3333's bytes-as-ISO-8859-1 into the text they encode."""
    return wsgi_text.encode("latin-1").decode(errors="replace")


class Response(ResponseBase):
    """The response class views answer with; HTML unless told otherwise."""

    default_mimetype: str | None = "text/html"
    json_module = json
    autocorrect_location_header = False

    if TYPE_CHECKING:
        headers: Headers

    # What Werkzeug's constructor gives `status=None`, so that `of_text` says the same.
    _stock_status: ClassVar[tuple[str, int]] = ("200 OK", 200)

    def make_conditional(
        self,
        request_or_environ: WSGIEnvironment | RequestBase,
        accept_ranges: bool | str = False,
        complete_length: int | None = None,
    ) -> Self:
        """Answer a GET or HEAD with 304, 412 or 206 as its conditions and its range ask for (RFC 9110 §13, §14).

        complete_length: of the content in bytes, without which there are no ranges.
        Raises RequestedRangeNotSatisfiable (416).
        """
        environ = request_or_environ.environ if isinstance(request_or_environ, RequestBase) else request_or_environ
        status = None
        spans: list[Span] = []
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and is_conditional(environ):
            etag, last_modified = self.headers.get("ETag"), self.headers.get("Last-Modified")
            status = refusal(environ, etag, last_modified)
            environ = without_conditions(environ, etag, last_modified, complete_length)
            spans = several_spans(environ)
            if status is not None or spans:
                environ.pop("HTTP_RANGE", None)
        super().make_conditional(environ, accept_ranges, complete_length)
        if status is not None:
            self.status_code = status
        elif spans and complete_length and accept_ranges in (True, "bytes"):
            self._answer_spans(spans, complete_length)
        return self

    def _answer_spans(self, spans: list[Span], complete_length: int) -> None:
        """Make this a 206 with several ranges, if its content can be read from anywhere and is not encoded."""
        if self.is_sequence:
            source: Any = self.get_data()
        elif getattr(self.response, "seekable", bool)():
            source = self.response
        else:
            return
        if "Content-Encoding" in self.headers:
            return  # its parts could not say so each for itself
        content = ByteRanges(source, spans, complete_length, self.headers.get("Content-Type"))
        self.response = content
        self.status_code = 206
        self.headers["Content-Type"] = content.content_type
        self.content_length = content.content_length

    @classmethod
    def of_content(cls, content: bytes, content_type: str) -> Self:
        """Make a 200 response of `content`, as the constructor would, without its case distinctions.

        bench/request_path.py: 2.5 us through the constructor, 0.5 us here (CPython 3.11).
        """
        self = cls.__new__(cls)
        self._status, self._status_code = cls._stock_status
        self.headers = headers = _new_headers(Headers)
        headers._list = [("Content-Type", content_type), ("Content-Length", str(len(content)))]
        self.response = [content]
        self.direct_passthrough = False
        self._on_close = []
        return self

    @classmethod
    def _of_mimetype(cls, content: bytes, mimetype: str | None) -> Self:
        """Return `cls(content, mimetype=mimetype)`, sooner when the class is this one.

        bench/request_path.py: 1.0 us, where the constructor takes 3.8.
        """
        if cls is not Response or not _is_made_as_ever():
            return cls(content.decode(), mimetype=mimetype)
        return cls.of_content(content, _content_types.get(mimetype) or content_type_of(mimetype))

    @property
    def max_cookie_size(self) -> int:  # type: ignore[override]
        """The length in bytes from which a cookie is warned about: browsers drop it. `MAX_COOKIE_SIZE`."""
        app = _cv_app.app()
        return super().max_cookie_size if app is None else app.config["MAX_COOKIE_SIZE"]


_new_headers = Headers.__new__  # whose constructor has nothing more to do than to make the list
# By media type, what the constructor makes of it.
_content_types: dict[str | None, str] = {}
_MOST_CONTENT_TYPES = 100


def content_type_of(mimetype: str | None) -> str:
    """Return the Content-Type that the constructor of Response gives for a media type."""
    content_type: str = Response(b"", mimetype=mimetype).headers["Content-Type"]
    if len(_content_types) < _MOST_CONTENT_TYPES:
        _content_types[mimetype] = content_type
    return content_type


_making_of = attrgetter("__init__", "default_mimetype", "default_status")
_STOCK_MAKING = _making_of(Response)
# The rounds (message.Rounds) for which it is known that nothing of that was replaced.
_made_as_ever_in: object | None = None


def _is_made_as_ever() -> bool:
    """Whether the constructor of Response and what it reads is ours; asked once for all requests of a round."""
    global _made_as_ever_in
    current = rounds.current
    if current is not None and current is _made_as_ever_in:
        return True
    if not all(map(is_, _making_of(Response), _STOCK_MAKING)):
        return False
    _made_as_ever_in = current
    return True
