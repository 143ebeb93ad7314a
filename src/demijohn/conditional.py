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

from .byteranges import Span, coalesced

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE")
_OF_RANGES = ("HTTP_RANGE", "HTTP_IF_RANGE")
# RFC 9110 §14.1.1; more ranges than that are nobody's business.
_RANGE = re.compile(r"(\d{1,18})-(\d{0,18})|-(\d{1,18})")
_MOST_RANGES = 16
_UNSATISFIABLE = "bytes=-0"


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
    """Return the environ without conditions, and with ranges only if they are to be honoured, or refused with 416.

    length: of the content, in bytes. Several ranges that are to be honoured stand there as `several_spans` reads them.
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


def several_spans(environ: WSGIEnvironment) -> list[Span]:
    """Return the ranges that an environ of `without_conditions` asks for, if they are several; else an empty list."""
    spans = environ.get("HTTP_RANGE", "").removeprefix("bytes=").split(",")
    if len(spans) == 1:
        return []
    return [(int(begin), int(last) + 1) for begin, _, last in (each.partition("-") for each in spans)]


def _maybe_range(asked: str, length: int | None) -> str | None:
    """Return the ranges that are left to look at; None when they are to be ignored (RFC 9110 §14.1.1, §14.2)."""
    unit, equals, listed = asked.partition("=")
    if equals and unit.strip().lower() != "bytes":
        return None
    if not length:
        return asked
    ranges = [each for each in (each.strip(" \t") for each in listed.split(",")) if each]  # RFC 9110 §5.6.1.2
    if len(ranges) > _MOST_RANGES:
        return None
    spans = [_maybe_span(each, length) for each in ranges]
    if len(ranges) == 1:
        # A suffix longer than the content is all of it.
        return "bytes=0-" if spans[0] == (0, length) else f"bytes={ranges[0]}"
    if None in spans:
        return _UNSATISFIABLE
    left = coalesced(each for each in spans if each is not None and each[0] < each[1])
    return "bytes=" + ",".join(f"{begin}-{end - 1}" for begin, end in left) if left else _UNSATISFIABLE


def _maybe_span(asked: str, length: int) -> Span | None:
    """Return where a range begins and ends in a content of so many bytes; nothing is in it where it ends at its begin.

    None for what is no range.
    """
    found = _RANGE.fullmatch(asked)
    if found is None or (found[2] and int(found[1]) > int(found[2])):
        return None
    if found[3]:
        return max(0, length - int(found[3])), length
    return min(int(found[1]), length), min(int(found[2]) + 1, length) if found[2] else length
