"""Views that read and write a session kept in Redis, for either framework (BENCH_FRAMEWORK)."""

import os

REDIS = os.environ["BENCH_REDIS"]

if os.environ.get("BENCH_FRAMEWORK") == "flask":
    import redis
    from flask import Flask, session
    from flask_session import Session

    app = Flask(__name__)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis.from_url(REDIS), SESSION_PERMANENT=False)
    Session(app)
else:
    from demijohn import Flask, session
    from demijohn.shared import StoredSessions

    app = Flask(__name__)
    app.session_interface = StoredSessions(REDIS)

app.secret_key = "for measuring"


@app.get("/plain")
def plain() -> str:
    return "no session"


@app.get("/read")
def read() -> str:
    return session["name"]


@app.get("/write")
def write() -> str:
    session["name"] = "Ann"
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])
