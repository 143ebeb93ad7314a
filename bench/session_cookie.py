"""Time what is done with a session cookie: `python -m bench.session_cookie`.

Each line is the best of several batches, in microseconds: the figures in `sessions.py` come from here.
"""

from __future__ import annotations

import hmac
import timeit
import zlib
from collections.abc import Callable

import itsdangerous
from itsdangerous.encoding import base64_encode

from demijohn import Flask, Response
from demijohn.json.tag import TaggedJSONSerializer
from demijohn.sessions import SecureCookieSessionInterface, _set_cookie, _signing_serializer, _vary_by_cookie
from demijohn.signing import _HMAC, _base64_of, _is_longer_compressed

CALLS = 5_000
BATCHES = 9


def main() -> None:
    app = Flask("bench")
    app.secret_key = "k" * 32
    interface = SecureCookieSessionInterface()
    signing = interface.get_signing_serializer(app)
    assert signing is not None
    stock = itsdangerous.URLSafeTimedSerializer(
        "k" * 32,
        salt=interface.salt,
        serializer=interface.serializer,
        signer_kwargs={"key_derivation": interface.key_derivation, "digest_method": interface.digest_method},
    )
    asking = TaggedJSONSerializer()
    asking._own = []
    text = b'{"user":7,"name":"Ann"}'
    longer = b'{"user":7,"name":"Ann","language":"en","theme":"dark"}'
    mac = _HMAC(b"k" * 20)
    attributes = interface._attributes(app)
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
            "open it, as itsdangerous does": lambda: stock.loads(cookie, max_age=3600),
            "write the session": lambda: signing.dumps({"user": 7, "name": "Ann"}),
            "write it, as itsdangerous does": lambda: stock.dumps({"user": 7, "name": "Ann"}),
            "see that zlib makes it no shorter": lambda: _is_longer_compressed(text),
            "see it, of other content": lambda: _is_longer_compressed(longer),
            "compress it": lambda: zlib.compress(text),
            "sign it": lambda: mac.signature(text),
            "sign it by hmac.digest": lambda: base64_encode(hmac.digest(b"k" * 20, text, "sha1")),
            "set the cookie": lambda: _set_cookie(Response.of_content(b"", ""), "session", cookie, None, attributes),
            "set the cookie by set_cookie": lambda: Response.of_content(b"", "").set_cookie(
                "session", cookie, **attributes
            ),
            "base 64": lambda: _base64_of(text),
            "base 64, as itsdangerous does": lambda: base64_encode(text),
            "tag a text": lambda: interface.serializer.tag("Ann"),
            "tag a text, asking all tags": lambda: asking.tag("Ann"),
            "tell caches": lambda: _vary_by_cookie(Response.of_content(b"", "text/html")),
            "tell caches, by Werkzeug's set": lambda: Response.of_content(b"", "text/html").vary.add("Cookie"),
        }
        for name, step in steps.items():
            step()
            cost_us = min(timeit.repeat(step, number=CALLS, repeat=BATCHES)) / CALLS * 1e6
            print(f"{name:36}{cost_us:8.2f}")


if __name__ == "__main__":
    main()
