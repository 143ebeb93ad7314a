"""URL rules compiled for speed: a request target is matched in one dictionary look-up, or in one walk down a tree.

The rules live in a werkzeug `Map`, where extensions put them and URLs are built from. `Router` is compiled
from it and answers only what the map would answer with a plain match; for all else (no match, another method,
redirects, rules by host) it says None, and the map itself is asked. The cost does not grow with the number of rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any
from urllib.parse import unquote_to_bytes

from werkzeug.routing import Map, Rule, RuleFactory, converters
from werkzeug.routing.converters import BaseConverter, IntegerConverter
from werkzeug.routing.rules import RulePart

View = Callable[..., Any]
Arguments = dict[str, Any]

# Of static files, how many targets are remembered at most: clients choose them.
_MOST_FILES = 4096

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


# Held while a map changes or is compiled, so that no router is kept that lacks a rule.
_compiling = RLock()


class UrlMap(Map):
    """Werkzeug's map, which keeps the router compiled from it until a rule is added.

    router: None when it has to be compiled.
    """

    router: Router | None = None

    def add(self, rulefactory: RuleFactory) -> None:
        """Add a rule, or all rules of a factory."""
        with _compiling:
            super().add(rulefactory)
            self.router = None

    def compiled(self) -> Router:
        """Return the router for the rules as they are now."""
        with _compiling:
            if self.router is None:
                self.router = Router(self)
            return self.router


class Route:
    """A rule for one method, with what serving it again and again needs.

    wall_s: moving average of the seconds its view takes, kept by the server.
    view, call: the view function, and what to call for it (they differ for `async def`); kept by the dispatcher.
    static_files: the files that are all that the view sends, or None; kept by the dispatcher.
    may_await: whether a coroutine may have to be waited for; True until the dispatcher knows.
    is_coroutine: whether `view` is `async def`; kept by the dispatcher.
    blueprints: the dotted names of the blueprints around the endpoint, innermost first.
    around: the hooks that are called around the view; kept by the dispatcher.
    """

    __slots__ = (
        "around",
        "blueprints",
        "call",
        "conversions",
        "defaults",
        "endpoint",
        "is_coroutine",
        "may_await",
        "names",
        "rule",
        "static_files",
        "view",
        "wall_s",
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.endpoint: str = rule.endpoint
        self.names = tuple(rule._converters)
        conversions = enumerate(map(_conversion, rule._converters.values()))
        self.conversions = tuple((at, convert) for at, convert in conversions if convert is not None)
        self.defaults: dict[str, Any] = dict(rule.defaults or {})
        self.blueprints = tuple(_around(self.endpoint))
        self.around: Any = None
        self.view: View | None = None
        self.call: View | None = None
        self.static_files: Any = None
        self.may_await = True
        self.is_coroutine = False
        self.wall_s = 0.0

    @property
    def limit_s(self) -> float | None:
        """How long the view may take, in seconds, when it has a limit of its own; see `helpers.time_limit`."""
        return getattr(self.view, "time_limit_s", None)

    def is_concerned_by(self, funcs: dict[str | None, list[Any]]) -> bool:
        """Whether a registry of hooks may have one for this route: the application's, or that of its blueprints."""
        return None in funcs or not funcs.keys().isdisjoint(self.blueprints)

    def arguments(self, values: list[str]) -> Arguments | None:
        """Convert the variable parts of a path, in place; None when one is refused, then this rule is no match."""
        converted: list[Any] = values
        try:
            for at, convert in self.conversions:
                converted[at] = convert(converted[at])
        except ValueError:  # a ValidationError, or more digits than int() takes
            return None
        arguments = dict(zip(self.names, converted))  # noqa: B905 - of a match there are as many as names
        if self.defaults:
            arguments.update(self.defaults)
        return arguments


def _around(endpoint: str) -> list[str]:
    """Return the dotted names around an endpoint, innermost first: `a.b.view` gives `a.b`, `a`."""
    names = []
    while "." in endpoint:
        endpoint = endpoint.rpartition(".")[0]
        names.append(endpoint)
    return names


def _conversion(converter: BaseConverter) -> Callable[[str], Any] | None:
    """Return what turns a part of the path into an argument; None when it stays as it is."""
    cls = type(converter)
    if cls.to_python is BaseConverter.to_python:
        return None
    if cls is IntegerConverter:
        limits = (converter.fixed_digits, converter.min, converter.max)  # type: ignore[attr-defined]
        return int if limits == (0, None, None) else converter.to_python
    return converter.to_python


class _AskTheMap:
    """Stands where a path leads to something that is no plain match."""


_ASK_THE_MAP = _AskTheMap()
_Found = Route | _AskTheMap | None


class _Branch:
    """A variable part: what it fits, and what may follow.

    fits: for the commonest parts, tells whether a segment is one; the segment is then the argument.
    match: for the others, the `match` of the pattern, all of whose groups are arguments.
    takes_all: whether it is tried on all that is left of the path, as `<path:x>` is.
    """

    __slots__ = ("below", "fits", "match", "takes_all")

    def __init__(self, part: RulePart, below: _Node) -> None:
        pattern = re.compile(part.content)
        self.fits = _FITS.get(part.content)
        self.match = pattern.match
        self.takes_all = part.final
        self.below = below
        # Slashes at the end of a <path:x>, and groups of a converter's own, are known to the map alone.
        if part.suffixed or pattern.groups != len(pattern.groupindex):
            self.below = _Node()
            self.below.found = _ASK_THE_MAP


# bench/request_path.py: matching /user/<int:id>/<name> takes 0.5 us less than by the patterns.
_FITS: dict[str, Callable[[str], bool]] = {
    r"(?P<__werkzeug_0>[^/]{1,})\Z": bool,  # <x> and <string:x>: not empty
    r"(?P<__werkzeug_0>\d+)\Z": str.isdecimal,  # <int:x>
}


class _Node:
    """What may follow a path's beginning, for one method.

    static: by the literal next segment.
    dynamic: the variable parts, in the map's order of preference.
    only: the one there is, when it is of the commonest.
    found: the route when the path ends here; `_ASK_THE_MAP` when only the map can say what happens then.
    """

    __slots__ = ("dynamic", "found", "only", "static")

    def __init__(self) -> None:
        self.static: dict[str, _Node] = {}
        self.dynamic: list[_Branch] = []
        self.only: _Branch | None = None
        self.found: _Found = None


class Router:
    """The rules of a map as they were when it was made."""

    def __init__(self, url_map: Map) -> None:
        self.fixed: dict[str, dict[bytes, Route]] = {}
        self._trees: dict[str, _Node] = {}
        self._files: dict[bytes, tuple[Route, Arguments]] = {}  # what GET targets of static files led to
        url_map.update()
        top = url_map._matcher._root.static.get(url_map.default_subdomain)
        if url_map.host_matching or top is None:
            return
        left = _endpoints_to_leave(url_map)
        for method in METHODS:
            self._trees[method] = tree = _compile(top, method, left)
            self.fixed[method] = dict(_fixed_paths(tree, ()))

    def match(self, method: str, target: bytes) -> tuple[Route, Arguments] | None:
        """Find the route of a request target in origin-form; None when the map has to be asked.

        The same files are asked for again and again, so their targets are remembered.
        bench/static_files.py: 2.9 us less than to walk to one.
        """
        if method == "GET" and target in self._files:
            of_file = self._files[target]
            return of_file[0], of_file[1].copy()
        routes = self.fixed.get(method)
        if routes is None:
            return None
        path = target.partition(b"?")[0] if b"?" in target else target
        route = routes.get(path)
        if route is not None:
            return route, {}
        if not path.startswith(b"/") or path.startswith(b"//") or b"#" in path:
            return None
        if b"%" in path:
            path = unquote_to_bytes(path)
        values: list[str] = []
        found = _walk(self._trees[method], path.decode("utf-8", "replace").split("/"), 0, values)
        if not isinstance(found, Route):
            return None
        arguments = found.arguments(values)
        if arguments is None:
            return None
        if found.static_files is not None and method == "GET" and len(self._files) < _MOST_FILES:
            self._files[target] = found, arguments.copy()
        return found, arguments


def _endpoints_to_leave(url_map: Map) -> set[Any]:
    """The endpoints where one rule may redirect to another, because it gives defaults for it."""
    if not url_map.redirect_defaults:
        return set()
    return {rule.endpoint for rule in url_map.iter_rules() if rule.defaults or rule.alias}


def _compile(state: Any, method: str, left: set[Any]) -> _Node:
    """Turn one state of the map's own matcher, and all below it, into a node for one method."""
    node = _Node()
    node.static = {segment: _compile(below, method, left) for segment, below in state.static.items()}
    node.dynamic = [_Branch(part, _compile(below, method, left)) for part, below in state.dynamic]
    if len(node.dynamic) == 1 and node.dynamic[0].fits is not None:
        node.only = node.dynamic[0]
    node.found = _found(state, method, left)
    return node


def _found(state: Any, method: str, left: set[Any]) -> _Found:
    """What a path that ends in this state gets, in the order in which the map looks."""
    for rule in state.rules:
        if not rule.websocket and (rule.methods is None or method in rule.methods):
            return _ASK_THE_MAP if _is_special(rule, method, left) else Route(rule)
    # With one slash more it would match: the map redirects, or forgives.
    if "" in state.static and state.static[""].rules:
        return _ASK_THE_MAP
    return None


def _is_special(rule: Rule, method: str, left: set[Any]) -> bool:
    """Whether a match leads to more than a call of the view, or its converters may look at the request."""
    if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return True
    known = all(type(converter).__module__ == converters.__name__ for converter in rule._converters.values())
    return not known or rule.redirect_to is not None or rule.endpoint in left


def _walk(node: _Node, segments: list[str], at: int, values: list[str]) -> _Found:
    """Walk down as the map's matcher does: literal segments first, then by weight, stepping back at a dead end.

    What was found leaves its variable parts in `values`.
    """
    end = len(segments)
    # As long as there is one way to go, there is nothing to step back to.
    # bench/request_path.py: /user/<int:id>/<name> in 0.5 us, where one call for each variable part takes 0.9.
    while at < end:
        segment = segments[at]
        below = node.static.get(segment)
        if below is None:
            only = node.only
            if only is None or not only.fits(segment):  # type: ignore[misc]
                break
            values.append(segment)
            node = only.below
        elif node.dynamic or (at and not segment):  # what is before the first slash is always empty
            break
        else:
            node = below
        at += 1
    else:
        return node.found
    below = node.static.get(segment)
    known = len(values)
    if below is not None:
        found = _walk(below, segments, at + 1, values)
        if found is not None:
            return found
        del values[known:]
    for branch in node.dynamic:
        if branch.fits is not None:
            if not branch.fits(segment):
                continue
            values.append(segment)
        else:
            match = branch.match("/".join(segments[at:]) if branch.takes_all else segment)
            if match is None:
                continue
            values.extend(match.groups())
        found = _walk(branch.below, segments, end if branch.takes_all else at + 1, values)
        if found is not None:
            return found
        del values[known:]
    # A slash too many: the map knows which rules forgive it.
    return _ASK_THE_MAP if segment == "" and at == end - 1 and node.found is not None else None


def _fixed_paths(node: _Node, above: tuple[str, ...]) -> Iterator[tuple[bytes, Route]]:
    """List the paths below a node that have no variable part, as they are sent."""
    for segment, below in node.static.items():
        segments = (*above, segment)
        if isinstance(below.found, Route):
            path = "/".join(segments)
            if path.isascii() and "%" not in path:
                yield path.encode(), below.found
        yield from _fixed_paths(below, segments)
