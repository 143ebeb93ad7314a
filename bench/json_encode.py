"""Time the ways to write a JSON answer and to read a request: `python -m bench.json_encode`.

Each line is the best of several batches, in microseconds: the figures in `json/provider.py` come from here.
"""

from __future__ import annotations

import json
import timeit
from functools import partial
from typing import Any

from demijohn import Flask
from demijohn.json.provider import DefaultJSONProvider

ROW = {"id": 7, "name": "Ann", "email": "ann@example.com", "score": 9.59, "active": True}
ANSWERS: dict[str, tuple[Any, int]] = {
    "a dict of 5": (ROW, 20_000),
    "100 dicts": ([{**ROW, "id": number} for number in range(100)], 300),
    "a dict with None": ({**ROW, "email": None}, 20_000),
    "100 dicts with None": ([{**ROW, "id": number, "email": None} for number in range(100)], 300),
    "1 KB that was read, with None": (
        json.loads(f'{{"name": "{"n" * 900}", "numbers": [1, 2], "none": null}}'),
        20_000,
    ),
    "a dict with non-ASCII text": ({**ROW, "name": "Zoë"}, 20_000),
}
BATCHES = 9


def main() -> None:
    app = Flask("bench")
    provider = app.json
    assert isinstance(provider, DefaultJSONProvider)
    default = provider.default
    print(f"{'':32}json.dumps  demijohn")
    for name, (answer, calls) in ANSWERS.items():

        def plainly(answer: Any = answer) -> bytes:
            return f"{json.dumps(answer, default=default, sort_keys=True, separators=(',', ':'))}\n".encode()

        def ours(answer: Any = answer) -> bytes:
            return provider.dumps_bytes(answer)

        assert plainly() == ours()
        costs = [min(timeit.repeat(way, number=calls, repeat=BATCHES)) / calls * 1e6 for way in (plainly, ours)]
        print(f"{name:32}{costs[0]:10.2f}{costs[1]:10.2f}")

    rows = [{"id": n, "name": f"user {n}", "email": f"u{n}@example.com", "active": True} for n in range(15)]
    content = json.dumps(rows).encode()
    print(f"{'':32}json.loads  demijohn")
    assert json.loads(content) == provider.loads(content)
    costs = [
        min(timeit.repeat(partial(read, content), number=5_000, repeat=BATCHES)) / 5_000 * 1e6
        for read in (json.loads, provider.loads)
    ]
    print(f"{'1 KB of 15 dicts':32}{costs[0]:10.2f}{costs[1]:10.2f}")


if __name__ == "__main__":
    main()
