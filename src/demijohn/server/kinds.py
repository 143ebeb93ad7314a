"""How a setting is described: the kinds of values there are, and what each setting says of itself."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

_KILO = 1024
_SIZES = {"k": _KILO, "m": _KILO**2, "g": _KILO**3}


class SettingError(ValueError):
    """A setting has a value the server cannot use; the message is one sentence for whoever started it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: how help texts call it, and how text becomes one.

    `parse` takes text or a value that has the type already; it raises ValueError with what the value must be.
    `alone` is what a flag without a value means, where it may have none. With `is_list`, a text may hold several,
    with commas.
    """

    metavar: str
    parse: Callable[[Any], Any]
    alone: str | None = None
    is_list: bool = False


def whole(minimum: int) -> Kind:
    def parse(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = minimum - 1
        if number < minimum:
            raise ValueError(f"must be a whole number, {minimum} or more")
        return number

    return Kind("INT", parse)


def seconds(minimum: float = 0.0) -> Kind:
    def parse(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not minimum <= number < float("inf"):
            raise ValueError(f"must be a number of seconds, {minimum:g} or more")
        return number

    return Kind("SECONDS", parse)


def text(metavar: str) -> Kind:
    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be text")
        if not value:
            raise ValueError("must not be empty")
        return value

    return Kind(metavar, parse)


def choice(metavar: str, *allowed: str) -> Kind:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value.lower()

    return Kind(metavar, parse)


def matching(metavar: str, pattern: str, such_as: str) -> Kind:
    """Text of one form, which the message describes by examples."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise ValueError(f"must be {such_as}")
        return value

    return Kind(metavar, parse)


def _parse_bytes(value: Any) -> int:
    written = str(value).strip().lower()
    unit = _SIZES.get(written[-1:], 1)
    digits = written[:-1] if unit > 1 else written
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError("must be a number of bytes, such as 65536, 64K or 10M")
    return int(digits) * unit


def _parse_limit(value: Any) -> int:
    return _parse_bytes(value) or sys.maxsize


def _parse_switch(value: Any) -> bool:
    truth = {
        "1": True,
        "true": True,
        "yes": True,
        "y": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    try:
        return truth[str(value).lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _parse_path(value: Any) -> str:
    if not isinstance(value, str) or value[:1] != "/" or not value.isascii() or set(value) & set(" ?#%"):
        raise ValueError("must be a path, such as /livez")
    return value


def _parse_path_seconds(value: Any) -> tuple[str, float]:
    path, _, written = value if isinstance(value, tuple) else str(value).rpartition("=")
    try:
        return _parse_path(path), float(seconds().parse(written))
    except ValueError:
        raise ValueError("must be PATH=SECONDS, such as /reports=120") from None


def _parse_class(value: Any) -> Any:
    if not callable(value) and not (isinstance(value, str) and "." in value):
        raise ValueError("must be a class, or where there is one, such as package.module.Class")
    return value


def _parse_assignment(value: Any) -> str:
    if not isinstance(value, str) or value.find("=") < 1:
        raise ValueError("must be NAME=VALUE")
    return value


def _parse_mask(value: Any) -> int:
    try:
        mask = value if isinstance(value, int) else int(value, 8 if value[:2].isdecimal() else 0)
    except (TypeError, ValueError):
        mask = -1
    if not 0 <= mask <= 0o777:
        raise ValueError("must be a file mode mask, such as 007")
    return mask


def _parse_user(value: Any) -> int:
    if str(value).isdecimal():
        return int(value)
    import pwd  # names are seldom given, and the module is not always loaded

    try:
        return pwd.getpwnam(value).pw_uid
    except (KeyError, TypeError):
        raise ValueError("must be a user of this machine, or the number of one") from None


def _parse_group(value: Any) -> int:
    if str(value).isdecimal():
        return int(value)
    import grp  # as above

    try:
        return grp.getgrnam(value).gr_gid
    except (KeyError, TypeError):
        raise ValueError("must be a group of this machine, or the number of one") from None


def _parse_network(value: Any) -> str:
    try:
        if value != "*":
            ipaddress.ip_network(value, strict=False)
        return str(value)
    except ValueError:
        raise ValueError("must be an address, a network such as 10.0.0.0/8, or *") from None


def _parse_field_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", value):
        raise ValueError("must be names of fields, with commas between")
    return value.upper()


def _parse_proxy_protocol(value: Any) -> str:
    modes = {"false": "off", "none": "off", "true": "auto"} | {mode: mode for mode in ("off", "auto", "v1", "v2")}
    try:
        return modes[str(value).lower()]  # gunicorn's files may say True or False
    except KeyError:
        raise ValueError("must be one of off, v1, v2, auto") from None


def _parse_client_certificates(value: Any) -> str:
    names = ("none", "optional", "required")
    if isinstance(value, int) and 0 <= value < len(names):  # the constants of the ssl module too
        return names[value]
    try:
        return dict(zip("012", names, strict=True)).get(value) or names[names.index(value.lower())]
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"must be one of {', '.join(names)}") from None


def _parse_mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dictionary")
    return value


BYTES = Kind("BYTES", _parse_bytes)
LIMIT = Kind("BYTES", _parse_limit)
SWITCH = Kind("", _parse_switch)
YES_NO = Kind("BOOL", _parse_switch)  # for what is on unless told otherwise
MASK = Kind("INT", _parse_mask)
USER = Kind("USER", _parse_user)
GROUP = Kind("GROUP", _parse_group)
PATH = Kind("PATH", _parse_path)
PATH_SECONDS = Kind("PATH=SECONDS", _parse_path_seconds)
MAPPING = Kind("DICT", _parse_mapping)
CLASS = Kind("CLASS", _parse_class)
ASSIGNMENT = Kind("NAME=VALUE", _parse_assignment)
FIELD_NAME = Kind("NAMES", _parse_field_name, is_list=True)
NETWORK = Kind("NETWORKS", _parse_network, is_list=True)
PROXY_PROTOCOL = Kind("MODE", _parse_proxy_protocol, alone="auto")
CLIENT_CERTIFICATES = Kind("WHETHER", _parse_client_certificates)


@dataclass(frozen=True, slots=True)
class Flag:
    """One setting, as the command line, the environment and files see it.

    name: the attribute of `Settings`, and the key `from_values` takes.
    spellings: `("-w", "--workers")`; empty for one that only a file can set.
    multiple: it may be given several times; its value is a tuple.
    variables: environment variables that set it, and the text their value stands in; the first is our own, the others
        are shared with other programs.
    gunicorn: gunicorn's name for it, empty when it has none.
    """

    name: str
    spellings: tuple[str, ...]
    kind: Kind
    default: Any
    multiple: bool
    unit: str
    gunicorn: str
    variables: tuple[tuple[str, str], ...]
    doc: str

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value on the command line, but means the contrary of its default there."""
        return self.kind is SWITCH

    @property
    def metavar(self) -> str:
        return self.kind.metavar

    @property
    def key(self) -> str:
        """Its name in a configuration file: gunicorn's when that has one, else as the flag is spelled."""
        return self.gunicorn or next((_key(spelling) for spelling in self.spellings if len(spelling) > 2), self.name)

    @property
    def keys(self) -> frozenset[str]:
        """All names it has in configuration files; `-` in them may be written for `_`."""
        long_spellings = (_key(spelling) for spelling in self.spellings if len(spelling) > 2)
        return frozenset((self.key, *(key for key in long_spellings if not key.startswith("no_"))))

    @property
    def help(self) -> str:
        """The description with the default, for `--help`."""
        if self.is_switch or self.default is None or self.default == ():
            return self.doc
        values = self.default if self.multiple else (self.default,)
        shown = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        return f"{self.doc} [default: {shown}{' ' + self.unit if self.unit else ''}]"

    def checked(self, given: Any, source: str) -> Any:
        """Return the value for what `source` gave. Raises SettingError, which names the source."""
        if not self.multiple:
            given_each = [given]
        elif isinstance(given, str):
            given_each = [part.strip() for part in given.split(",")]
        elif isinstance(given, Mapping):
            given_each = [f"{name}={value}" for name, value in given.items()]
        elif self.kind.is_list:
            given_each = [part.strip() for text in given for part in str(text).split(",")]
        else:
            given_each = list(given)
        parsed = []
        for value in given_each:
            try:
                parsed.append(self.kind.parse(value))
            except ValueError as error:
                raise SettingError(f"{source} {error}, not {value!r}.") from None
        return tuple(parsed) if self.multiple else parsed[0]


def _key(spelling: str) -> str:
    return spelling.lstrip("-").replace("-", "_")


class Described:
    """What a data class of many settings would have written for it, each a function as long as there are settings.

    To write and compile these takes 4 ms of a start, of 100 in all.
    """

    __slots__ = ()

    def __init__(self, **given: Any) -> None:
        for described in fields(self):  # type: ignore[arg-type]  # a data class is made of it
            object.__setattr__(self, described.name, given.pop(described.name, described.default))
        if given:
            raise TypeError(f"There is no setting called {', '.join(given)}.")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Settings are not changed: there is a copy with another {name} by dataclasses.replace.")

    def _values(self) -> list[Any]:
        return [getattr(self, described.name) for described in fields(self)]  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values()))


def setting(
    default: Any,
    spellings: str,
    kind: Kind,
    doc: str,
    *,
    unit: str = "",
    gunicorn: str = "",
    variables: tuple[tuple[str, str], ...] = (),
) -> Any:
    """Describe a field of `Settings`; see `Flag`. With spellings comes a variable, `DEMIJOHN_` and the long one."""
    all_spellings = tuple(spellings.split("/")) if spellings else ()
    # `--no-sendfile` is DEMIJOHN_SENDFILE=false.
    long_keys = (_key(each).removeprefix("no_") for each in all_spellings if each.startswith("--"))
    own = tuple((f"DEMIJOHN_{key.upper()}", "{}") for key in long_keys)
    return field(
        default=default,
        metadata={
            "spellings": all_spellings,
            "kind": kind,
            "doc": doc,
            "unit": unit,
            "gunicorn": gunicorn,
            "variables": (*own[:1], *variables),
        },
    )
