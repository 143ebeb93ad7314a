"""Time what is done with a session cookie: `python -m bench.session_cookie`.

Each line is the best of several batches, in microseconds: the figures in `sessions.py` come from here.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from demijohn import Flask
from demijohn.sessions import SecureCookieSessionInterface, _signing_serializer

CALLS = 5_000
BATCHES = 9


def main() -> None:
    app = Flask("bench")
    app.secret_key = "k" * 32
    interface = SecureCookieSessionInterface()
    signing = interface.get_signing_serializer(app)
    assert signing is not None
    with app.app_context():
        cookie = signing.dumps({"user": 7, "name": "Ann"})
        assert isinstance(cookie, str)
        steps: dict[str, Callable[[], object]] = {
            "make the signing serializer": lambda: _signing_serializer.__wrapped__(
                ("k" * 32,), interface.salt, interface.serializer, interface.key_derivation, interface.digest_method
            ),
            "find the one that was made": lambda: interface.get_signing_serializer(app),
            "look whether it may be permanent": lambda: interface._may_be_permanent(cookie),
            "open the session": lambda: signing.loads(cookie, max_age=3600),
            "write the session": lambda: signing.dumps({"user": 7, "name": "Ann"}),
        }
        for name, step in steps.items():
            step()
            cost_us = min(timeit.repeat(step, number=CALLS, repeat=BATCHES)) / CALLS * 1e6
            print(f"{name:36}{cost_us:8.2f}")


if __name__ == "__main__":
    main()
