"""How an application writes and reads JSON: the provider at `app.json`."""

from __future__ import annotations

import codecs
import dataclasses
import json
import marshal
import re
import uuid
import weakref
from collections.abc import Callable
from datetime import date
from enum import Enum
from functools import cache, cached_property
from typing import IO, TYPE_CHECKING, Any, AnyStr, cast

from werkzeug.http import http_date

if TYPE_CHECKING:
    from werkzeug.sansio.response import Response

    from ..app import Flask

_COMPACT = (",", ":")


class JSONProvider:
    """What an application does with JSON. Subclasses give `dumps` and `loads`; the rest builds on the two."""

    def __init__(self, app: Flask) -> None:
        self._app = cast("Flask", weakref.proxy(app))

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return `obj` as JSON."""
        raise NotImplementedError

    def dump(self, obj: Any, fp: IO[str], **kwargs: Any) -> None:
        """Write `obj` as JSON to a file opened for text, UTF-8."""
        fp.write(self.dumps(obj, **kwargs))

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return what the JSON `s`, text or UTF-8, says."""
        raise NotImplementedError

    def load(self, fp: IO[AnyStr], **kwargs: Any) -> Any:
        """Return what the JSON in a file says."""
        return self.loads(fp.read(), **kwargs)

    def _prepare_response_obj(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Providers of extensions call this, and tests look for the words "args or kwargs".
        if len(args) == 1 and not kwargs:
            return args[0]
        if not args:
            return kwargs or None
        if kwargs:
            raise TypeError(
                f"A JSON response is made of either args or kwargs, and got {len(args)} of the first"
                f" together with {', '.join(kwargs)}. Put them into one list or dictionary."
            )
        return args

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Make a response of one value, of several as a list, or of keyword arguments as an object.

        Without any argument it says `null`. Raises TypeError for positional and keyword arguments together.
        """
        obj = self._prepare_response_obj(args, kwargs)
        return self._app.response_class(self.dumps(obj), mimetype="application/json")


def _default(o: Any) -> Any:
    """Return what JSON can say in place of `o`; raises TypeError for a type that has no such thing."""
    if isinstance(o, date):
        return http_date(o)
    from decimal import Decimal  # here for its cost: 1 ms of every start

    if isinstance(o, Decimal | uuid.UUID):
        return str(o)
    if dataclasses.is_dataclass(o) and not isinstance(o, type):
        # One level: the encoder asks again for what is inside. dataclasses.asdict would copy all of it first.
        return {field.name: getattr(o, field.name) for field in dataclasses.fields(o)}
    if hasattr(o, "__html__"):
        return str(o.__html__())
    if isinstance(o, Enum):
        return o.value
    # The standard library's own words, which are what people search for.
    raise TypeError(
        f"Object of type {type(o).__name__} is not JSON serializable."
        " Convert it first, or have the provider's `default` do so."
    )


class DefaultJSONProvider(JSONProvider):
    """JSON by the rules of the standard library's `json`, with a few more types; see `default`.

    Settings, on the class or on the provider of one application:

    default: stands in for what JSON cannot say. Dates become HTTP dates, Decimal and UUID text, dataclasses objects,
        what has `__html__` that text, an Enum its value.
    ensure_ascii: write all but ASCII as escapes.
    sort_keys: write keys in order, so that equal data give equal content.
    compact: whether responses are written without spaces; None means except in debug mode.
    mimetype: the media type of responses.
    """

    default: Callable[[Any], Any] = staticmethod(_default)
    ensure_ascii = True
    sort_keys = True
    compact: bool | None = None
    mimetype = "application/json"

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return `obj` as JSON.

        kwargs: for `json.dumps`; left out, `default`, `ensure_ascii` and `sort_keys` are the provider's.
        """
        if not kwargs:
            return self._encoder((", ", ": "))(obj)
        if kwargs == {"separators": _COMPACT}:
            content = self._maybe_compact(obj)
            return self._encoder(_COMPACT)(obj) if content is None else content.decode()[:-1]
        settings = {"default": self.default, "ensure_ascii": self.ensure_ascii, "sort_keys": self.sort_keys}
        return json.dumps(obj, **{**settings, **kwargs})

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return what the JSON `s` says; kwargs are for `json.loads`. Raises ValueError for what is not JSON."""
        return json.loads(s, **kwargs) if kwargs else _loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Make a response as `JSONProvider.response` does; indented in debug mode, unless `compact` says otherwise."""
        obj = self._prepare_response_obj(args, kwargs)
        response_class = self._app.response_class
        make: Callable[..., Response] | None = getattr(response_class, "_of_mimetype", None)
        if make is None:  # no subclass of ours
            return response_class(self.dumps_bytes(obj).decode(), mimetype=self.mimetype)
        return make(self.dumps_bytes(obj), self.mimetype)

    def dumps_bytes(self, obj: Any) -> bytes:
        """Return the content of `response(obj)`."""
        if self.compact is False or (self.compact is None and self._app.debug):
            return f"{self.dumps(obj, indent=2)}\n".encode()
        if type(self).dumps is _stock_dumps and "dumps" not in self.__dict__:
            content = self._maybe_compact(obj)
            if content is not None:
                return content
        return f"{self.dumps(obj, separators=_COMPACT)}\n".encode()

    def _maybe_compact(self, obj: Any) -> bytes | None:
        """Return `obj` as a line of compact JSON; None when only the standard library can tell how it is written."""
        return _orjson_content(obj, self.sort_keys, self.ensure_ascii) if self.default is _default else None

    def _encoder(self, separators: tuple[str, str]) -> Callable[[Any], str]:
        """Return a function that writes as `json.dumps` does with the provider's settings, made once for them."""
        settings = (self.default, self.ensure_ascii, self.sort_keys)
        known = self._encoders.get(separators)
        if known is None or known[0] != settings:
            default, ensure_ascii, sort_keys = settings
            encoder = json.JSONEncoder(
                default=default, ensure_ascii=ensure_ascii, sort_keys=sort_keys, separators=separators
            )
            known = self._encoders[separators] = (settings, encoder.encode)
        return known[1]

    @cached_property
    def _encoders(self) -> dict[tuple[str, str], tuple[tuple[Any, ...], Callable[[Any], str]]]:
        return {}


_stock_dumps = DefaultJSONProvider.dumps


# -- orjson, guarded ------------------------------------------------------------------------------

_encode_ascii_string = json.encoder.encode_basestring_ascii


def _escape_run(error: UnicodeError) -> tuple[str, int]:
    """Escape what ASCII cannot encode as JSON does; the standard library's own function says how."""
    assert isinstance(error, UnicodeEncodeError)
    return _encode_ascii_string(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error("demijohn.json_escape", _escape_run)

# For finding exponents: all digits look alike, and so does a minus sign.
_DIGITS_ALIKE = bytes.maketrans(b"123456789-", b"0000000000")


def _default_of_orjson(o: Any) -> Any:
    # The standard library writes subclasses of its own types without asking `default`.
    if isinstance(o, str | int | float | list | tuple | dict):
        raise TypeError
    return _default(o)


class _Writer:
    """orjson's function, and what it needs to know.

    spells_large_alike: whether it writes 1e+16 as the standard library does; older releases write 1e16.
    """

    __slots__ = ("dumps", "option", "spells_large_alike")

    def __init__(self, sort_keys: bool) -> None:
        import orjson  # here for its cost: 27 ms, for applications that answer JSON

        self.dumps = orjson.dumps
        self.option = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
        self.option |= orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_APPEND_NEWLINE
        if sort_keys:
            self.option |= orjson.OPT_SORT_KEYS
        self.spells_large_alike = orjson.dumps(1e16) == b"1e+16"


_writer = cache(_Writer)

# A float that is not finite, in marshal's second version: its exponent has all bits set (IEEE 754, least significant
# byte first). No text holds such bytes.
_NOT_FINITE = re.compile("g.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)


def _is_plain_and_finite(obj: Any) -> bool:
    """Whether `null` in the text for `obj` can only be None; False on doubt, as for other than plain data."""
    # bench/json_encode.py: with None in it a dict of 5 takes 1.2 us, 100 dicts 48; written anew 4.1 and 185.
    try:
        # As text, in which Python looks for one character five times as fast.
        data = marshal.dumps(obj, 2).decode("latin-1")
    except ValueError:
        return False
    return ("\x7f" not in data and "\xff" not in data) or _NOT_FINITE.search(data) is None


def _loads(s: str | bytes) -> Any:
    """Return what `json.loads(s)` does, but sooner.

    msgspec refuses some of what the standard library reads (NaN, numbers that overflow, lone surrogates, UTF-16),
    which also says what is wrong with the rest.
    bench/json_encode.py: 1 KB of 15 dicts in 2.6 us where json.loads takes 7.9.
    """
    if type(s) is bytes or type(s) is str:
        try:
            return _decoder()(s)
        except ValueError:
            pass  # and the standard library says why, if it is of the same opinion
    return json.loads(s)


@cache
def _decoder() -> Callable[[bytes | str], Any]:
    import msgspec  # here for its cost: 11 ms, for applications that read JSON

    return msgspec.json.Decoder().decode


def _orjson_content(obj: Any, sort_keys: bool, ensure_ascii: bool) -> bytes | None:
    """Return the line that the standard library would write for `obj`, compact, with `_default`; None on doubt.

    orjson differs from it in NaN and infinities (`null`), in how it spells the exponents of small numbers, and in
    what it refuses; a text that could come from one of these is not used.
    bench/json_encode.py: a dict of 5 in 0.9 us where json.dumps takes 4.6; 100 dicts in 31 us where it takes 175.
    """
    writer = _writer(sort_keys)
    try:
        content = writer.dumps(obj, _default_of_orjson, writer.option)
    except TypeError:
        return None
    text = content.decode()
    # 1e-07 is written 1e-7. To look for one character costs next to nothing, for two much less than to translate.
    may_be_small = "-" in text and "e-" in text
    if (may_be_small or not writer.spells_large_alike) and b"0e0" in content.translate(_DIGITS_ALIKE):
        return None
    # 1e-05 is written 0.00001. "null" itself takes four times as long to be looked for where there are many "n".
    if ("." in text and "0.0000" in text) or ("ull" in text and not _is_plain_and_finite(obj)):
        return None
    if ensure_ascii:
        if "\x7f" in text:
            return None
        if not text.isascii():
            return text.encode("ascii", "demijohn.json_escape")
    return content
