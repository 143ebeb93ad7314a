"""Methods by name: each with its signature and type hints read once, when it is registered."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, repeat
from typing import Any

import msgspec

from .converting import SCALARS, Hint, converter
from .encoding import Unserializable, encode
from .explain import explain
from .hints import checkable, describable, readable, shaping
from .parameters import NOTHING, MissingHint, Parameters
from .protocol import Call, InvalidParamsError
from .resolving import hints_of, resolve_within
from .types.params import BaseAnnotatedMetadata
from .types.types import AnnotatedMetadataTypeError, type_metadata_checker

RESERVED = "rpc."  # section 4.3 of the specification


class WrongResult(TypeError):
    """What a method returned does not fit its return hint; the text says why."""


class Method:
    """A function that clients call.

    name: what they call it by.
    function: called with the arguments that `bind` gives.
    validate: whether hints are held to; without, arguments are only counted and named.
    notification: whether it may be called without an answer.
    auth: says of each call whether it may be made; None lets all be.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], validate: bool = True, notification: bool = True
    ) -> None:
        self.name = name
        self.function = function
        self.validate = validate
        self.notification = notification
        # How it is shown to language models, from the option `mcp`: a Tool, True, or nothing.
        self.tool: Any = None
        self.auth: Callable[[Call], Any] | None = None
        # `async def` itself, or in a decorator that is not: that one may block, and what it returns may wait or not.
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self.is_wrapped = self.is_async and not inspect.iscoroutinefunction(function)
        # Through functools.wraps to the function that was decorated: that one's parameters are what a client knows.
        self.signature = inspect.signature(function)
        self.hints = _hints_of(function)
        self.return_hint: Hint = self.hints.get("return", MissingHint)
        try:
            self.parameters = Parameters(self.signature, self.hints if validate else {}, readable)
            checked = checkable(self.return_hint) if validate else Any
        except TypeError as error:
            raise TypeError(f"{_place(function)} cannot be the method {name!r}: {error}") from None
        # What `Annotated` states of parameters and of the result besides their types; most state nothing.
        self._stated = {name: said for name, hint in self.hints.items() if validate and (said := _statements_of(hint))}
        self._stated_of_result = self._stated.pop("return", ())
        # What *args and **kwargs are called here; nothing can be stated of what is not there.
        kinds = {parameter.kind: parameter.name for parameter in self.signature.parameters.values()}
        self._more = {
            "*": kinds.get(inspect.Parameter.VAR_POSITIONAL, ""),
            "**": kinds.get(inspect.Parameter.VAR_KEYWORD, ""),
        }
        self._checked: Hint = checked
        self._is_checked = checked is not Any
        self._may_be_called_empty = self.parameters.none_required
        self._convert = converter([checked])
        self._shape = shaping(self.return_hint)
        # A type that a result fits when it is of exactly that; None where there is more to look at.
        is_simple = checked in SCALARS and not self._stated_of_result and self._shape is None
        self._fitting = checked if is_simple else None

    def bind(self, params: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the positional and the keyword arguments that `params` are.

        Raises InvalidParamsError (-32602), whose data names the parameter and what is wrong with it.
        """
        if not params and self._may_be_called_empty and (type(params) is dict or type(params) is list):
            return NOTHING
        if type(params) is not dict and not isinstance(params, list | dict):
            shown = encode(params).decode().strip() if not isinstance(params, str) else params[:100]
            # Part of the answer: the words are those clients of Flask-JSONRPC get.
            message = f"Parameter structures are by-position (list) or by-name (dict): {shown}"
            raise InvalidParamsError(data={"message": message})
        try:
            arguments, named = self.parameters.bind(params)
        except msgspec.ValidationError as error:
            raise InvalidParamsError(data={"message": explain(error, params, self.parameters)}) from None
        if self._stated:
            self._hold_to_statements(arguments, named)
        return arguments, named

    def _hold_to_statements(self, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
        stated, known, more = self._stated, self.parameters.names, self._more
        positions = chain((parameter.name for parameter in self.parameters.positional), repeat(more["*"]))
        about = [(name, name, value) for name, value in zip(positions, arguments, strict=False)]
        about += [(name, name if name in known else more["**"], value) for name, value in named.items()]
        for name, of, value in about:
            try:
                type_metadata_checker(stated.get(of, ()), name, value)
            except AnnotatedMetadataTypeError as error:
                constraint = type(error.annotated).__name__
                data = {"constraint": constraint, "param": name, "value": value, "message": error.message}
                raise InvalidParamsError(data=data) from None

    def check(self, result: Any) -> Any:
        """Return `result` in the form that the return hint asks for.

        Raises WrongResult when it does not fit the hint.
        """
        if type(result) is self._fitting:
            return result
        if self._stated_of_result:
            self._hold_result_to_statements(result)
        if not self._is_checked:
            return result
        if self._fits(result):
            return self._shape(result) if self._shape else result
        # What counts is what goes out: a NumPy integer is no int, but it is written as one.
        try:
            if self._fits(written := msgspec.json.decode(encode(result))):
                return written  # not the result: there may have been an iterator in it
        except Unserializable:
            pass
        raise WrongResult(
            f"the method {self.name!r} returned {result!r:.200}, which is no"
            f" {inspect.formatannotation(self.return_hint)}, its return hint"
        )

    def _hold_result_to_statements(self, result: Any) -> None:
        try:
            type_metadata_checker(self._stated_of_result, "return", result)
        except AnnotatedMetadataTypeError as error:
            raise WrongResult(f"the method {self.name!r} returned {result!r:.200}: {error}") from None

    def _fits(self, value: Any) -> bool:
        try:
            self._convert(value, self._checked)
        except msgspec.ValidationError:
            return False
        return True

    @cached_property
    def result_type(self) -> Hint:
        """The compiled type of what a client gets, to describe it; Any when the hint does not tell."""
        return describable(self.return_hint)

    @property
    def doc(self) -> str:
        """The docstring, dedented."""
        return inspect.getdoc(self.function) or ""

    def __repr__(self) -> str:
        return f"<Method {self.name}{self.signature}>"


class Registry:
    """The methods of one URL, in the order of their registration."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}
        self.get = self._methods.get

    def add(self, method: Method, reserved: bool = False) -> None:
        """Register a method; a second one of the same name takes the place of the first, with a warning.

        reserved: whether it is one of those that the specification keeps names for.
        Raises ValueError when another has such a name.
        """
        if method.name.startswith(RESERVED) and not reserved:
            raise ValueError(
                f"{method.name!r}: names that start with 'rpc.' are reserved by JSON-RPC 2.0. Call it something else."
            )
        if not reserved and self._methods.get(method.name, method).function is not method.function:
            warnings.warn(
                f"{_place(method.function)} replaces {_place(self._methods[method.name].function)}"
                f" as the method {method.name!r}.",
                stacklevel=5,
            )
        self._methods[method.name] = method

    def __iter__(self) -> Iterator[Method]:
        """The methods that were registered, without those of names that the specification keeps."""
        return (method for method in self._methods.values() if not method.name.startswith(RESERVED))

    def all(self) -> list[Method]:
        """Return all methods, in their order."""
        return list(self._methods.values())

    def __len__(self) -> int:
        return len(list(iter(self)))


def _hints_of(function: Callable[..., Any]) -> dict[str, Hint]:
    try:
        hints = hints_of(function)
        resolve_within(hints.get("return"))
        return hints
    except NameError as error:
        raise NameError(f"{_place(function)} has a type hint that cannot be resolved: {error}") from error


def _statements_of(hint: Hint) -> tuple[BaseAnnotatedMetadata, ...]:
    return tuple(said for said in getattr(hint, "__metadata__", ()) if isinstance(said, BaseAnnotatedMetadata))


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{getattr(function, '__qualname__', function)}{where}"
