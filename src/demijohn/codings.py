"""Content codings: which one a client wants (RFC 9110 §8.4.1, §12.5.3)."""

from __future__ import annotations

import re
from functools import lru_cache

IDENTITY = "identity"

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
# RFC 9110 §8.4.1.3: to be taken for the same.
_ALIASES = {"x-gzip": "gzip"}


@lru_cache(64)
def choose(accept: str | None, available: tuple[str, ...]) -> str:
    """Return the coding to answer with: one of `available`, the best first, or `"identity"`.

    accept: the value of Accept-Encoding; None when there is none, and then nothing is coded: a client that knows
    codings says so. What the client weighs alike is ours to choose. `identity` comes last unless it is weighed
    itself. Where nothing that there is would be acceptable, it is `identity` all the same, which the client may
    still be able to use, and not 406.
    """
    if not accept or not available:
        return IDENTITY
    weights = _weights(accept)
    others = weights.get("*", 0.0)
    best = max(available, key=lambda coding: weights.get(coding, others))
    weight = weights.get(best, others)
    return best if weight and weight >= weights.get(IDENTITY, 0.0) else IDENTITY


def _weights(accept: str) -> dict[str, float]:
    """Return the weights by coding. One that is not written as it has to be counts as 0."""
    weights = {}
    for item in accept.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                value = value.strip()
                weight = float(value) if _WEIGHT.fullmatch(value) else 0.0
        if coding:
            weights[_ALIASES.get(coding, coding)] = weight
    return weights
