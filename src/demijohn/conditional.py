"""Conditional requests and ranges (RFC 9110 §13, §14), where Werkzeug reads them otherwise.

Werkzeug looks at ranges before conditions, knows no If-Unmodified-Since, takes a weak entity tag or a later date in
If-Range, and refuses ranges that are to be ignored. What is decided here is taken out of the environ, which then
holds nothing that Werkzeug would see differently.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from werkzeug.http import parse_date, parse_etags

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE")
_OF_RANGES = ("HTTP_RANGE", "HTTP_IF_RANGE")
# RFC 9110 §14.1.1; more ranges than that are nobody's business.
_RANGE = re.compile(r"(\d{1,18})-(\d{0,18})|-(\d{1,18})")
_MOST_RANGES = 16


def is_conditional(environ: WSGIEnvironment) -> bool:
    return any(key in environ for key in _CONDITIONS + _OF_RANGES)


def refusal(environ: WSGIEnvironment, etag: str | None, last_modified: str | None) -> int | None:
    """Return the status that a GET or HEAD is answered with instead of 200: 304, 412 or None (RFC 9110 §13.2.2).

    etag, last_modified: the fields of the answer.
    """
    modified = parse_date(last_modified)
    if (if_match := environ.get("HTTP_IF_MATCH")) is not None:
        if if_match.strip() != "*" and not _has_strong(if_match, etag):
            return 412
    elif (since := parse_date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))) and modified and modified > since:
        return 412
    if (if_none_match := environ.get("HTTP_IF_NONE_MATCH")) is not None:
        return 304 if if_none_match.strip() == "*" or _has_weak(if_none_match, etag) else None
    since = parse_date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    return 304 if since and modified and modified <= since else None


def without_conditions(
    environ: WSGIEnvironment, etag: str | None, last_modified: str | None, length: int | None
) -> WSGIEnvironment:
    """Return the environ without conditions, and with a range only if it is to be honoured, or refused with 416.

    length: of the content, in bytes.
    """
    plain = environ.copy()
    for key in _CONDITIONS:
        plain.pop(key, None)
    if_range, asked = (plain.pop(key, None) for key in reversed(_OF_RANGES))
    # RFC 9110 §14.2: ranges are defined for GET.
    if asked is not None and environ["REQUEST_METHOD"] == "GET" and _still_holds(if_range, etag, last_modified):
        taken = _maybe_range(asked, length)
        if taken is not None:
            plain["HTTP_RANGE"] = taken
    return plain


def _opaque(etag: str | None) -> str | None:
    return None if etag is None else etag.removeprefix("W/").strip('"')


def _has_strong(listed: str, etag: str | None) -> bool:
    return etag is not None and not etag.startswith("W/") and parse_etags(listed).is_strong(_opaque(etag) or "")


def _has_weak(listed: str, etag: str | None) -> bool:
    return etag is not None and parse_etags(listed).contains_weak(_opaque(etag) or "")


def _still_holds(if_range: str | None, etag: str | None, last_modified: str | None) -> bool:
    """RFC 9110 §13.1.5: the same strong entity tag, or the very date."""
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range.strip() == etag and not if_range.startswith("W/")
    date: datetime | None = parse_date(if_range)
    return date is not None and date == parse_date(last_modified)


def _maybe_range(asked: str, length: int | None) -> str | None:
    """Return the range that Werkzeug is to look at; None when it is to be ignored (RFC 9110 §14.1.1, §14.2)."""
    unit, equals, listed = asked.partition("=")
    if equals and unit.strip().lower() != "bytes":
        return None
    if not length:
        return asked
    ranges = [_RANGE.fullmatch(each.strip(" \t")) for each in listed.split(",")]
    if len(ranges) == 1:
        one = ranges[0]
        # A suffix longer than the content is all of it.
        return "bytes=0-" if one is not None and one[3] and int(one[3]) >= length else asked
    # Several are answered as none, which is allowed, unless there is nothing in any of them.
    satisfiable = all(ranges) and any(
        each is not None and (int(each[3]) > 0 if each[3] else int(each[1]) < length) for each in ranges[:_MOST_RANGES]
    )
    return None if satisfiable or len(ranges) > _MOST_RANGES else asked
