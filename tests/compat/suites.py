"""The suites, and how many of their tests pass with real Flask 3.1.3 in the same environment."""

from __future__ import annotations

from running import BARE, Environment, Suite, checker, live, nose, pytest

_FLASK = "flask==3.1.3"
_PINNED = Environment("flask.txt")
_NEWEST = Environment("flask.txt", werkzeug="3.1.9")
_EXTENSIONS = Environment("extensions.txt")
_MORE = Environment("more.txt")

FLASK = [
    Suite("Flask", _FLASK, _PINNED, passed=490, without=("src/flask",)),
    Suite(
        "Flask, Werkzeug 3.1.9",
        _FLASK,
        _NEWEST,
        passed=489,
        without=("src/flask",),
        fail_anyway={
            "tests.test_reqctx.test_bad_environ_raises_bad_request": "Werkzeug 3.1.8 changed how a Host is refused",
        },
    ),
    Suite("Flask's tutorial", _FLASK, _PINNED, passed=24, without=("src/flask",), folder="examples/tutorial"),
    Suite("Flask's JavaScript", _FLASK, _PINNED, passed=8, without=("src/flask",), folder="examples/javascript"),
    Suite(
        "Flask's typing, mypy",
        _FLASK,
        _PINNED,
        passed=1,
        run=checker("mypy", "--config-file=", "--strict", "tests/type_check"),
        without=("src/flask",),
    ),
    Suite(
        "Flask's typing, pyright",
        _FLASK,
        _PINNED,
        passed=1,
        run=checker("pyright", "tests/type_check"),
        without=("src/flask",),
        needs="node",
    ),
]

EXTENSIONS = [
    Suite("Flask-Login", "Flask-Login==0.6.3", _EXTENSIONS, passed=114),
    Suite("Flask-WTF", "flask-wtf==1.3.0", _EXTENSIONS, passed=83),
    Suite("Flask-SQLAlchemy", "flask-sqlalchemy==3.1.1", _EXTENSIONS, passed=452),
    Suite(
        "Flask-RESTful",
        "Flask-RESTful==0.3.10",
        _EXTENSIONS,
        passed=357,
        run=nose("tests"),  # its tests yield tests, which pytest no longer runs
        additions={
            # Flask has sent signals always since 2.3 and has no flag for it any more.
            "tests/__init__.py": "import flask.signals\nflask.signals.signals_available = True\n"
        },
        fail_anyway={
            "tests.test_reqparse.ReqParseTestCase.*": "asks any request for JSON, which answers 415 since Flask 2.1",
            "tests.test_api.APITestCase.test_exception_header_forwarded": "changes a table that abort() does not read",
            "tests.test_api.APITestCase.test_media_types_*": "q=.5 is malformed, and Werkzeug drops it since 2.3",
            "tests.test_api.APITestCase.test_redirect": "redirects are relative since Werkzeug 2.1",
            "tests.test_fields.*_with_offset": "CET has become another name of Brussels, with its offset of 1880",
            "tests.test_fields.test_*_datetime_formatters*": "the same",
        },
    ),
    Suite("Flask-Cors", "flask-cors==6.0.5", _EXTENSIONS, passed=98),
    Suite("Flask-HTTPAuth", "flask-httpauth==4.8.1", _EXTENSIONS, passed=121),
    Suite("Flask-JWT-Extended", "flask-jwt-extended==4.7.4", _EXTENSIONS, passed=180),
    Suite("Flask-Marshmallow", "flask-marshmallow==1.5.0", _EXTENSIONS, passed=50),
    Suite("Flask-Smorest", "flask-smorest==0.47.0", _EXTENSIONS, passed=554),
    Suite("Frozen-Flask", "frozen-flask==1.0.2", _EXTENSIONS, passed=193),
    Suite("OpenTelemetry", "opentelemetry-instrumentation-flask==0.66b1", _EXTENSIONS, passed=60),
    Suite("Sentry", "sentry-sdk==2.75.0", _MORE, passed=136, run=pytest("tests/integrations/flask", "--no-cov")),
    Suite("httpbin", "httpbin==0.10.4", _MORE, passed=70),
    Suite(
        "APIFlask",
        "apiflask==3.1.2",
        _MORE,
        passed=406,
        run=pytest("tests", "--no-cov"),
        fail_anyway={
            "tests.test_openapi_headers.test_spec_with_dict_headers": "marshmallow 4 has made Number abstract"
        },
    ),
    Suite("Flask-OpenAPI3", "flask-openapi3==4.3.2", _MORE, passed=118),
    Suite(
        "Flask-Dance",
        "flask-dance==7.1.0",
        _MORE,
        passed=201,
        fail_anyway={"tests.contrib.test_gitlab.test_no_verify_api_call": "depends on the certificates of the system"},
    ),
    Suite(
        "Flask-SocketIO",
        "flask-socketio==5.7.0",
        _MORE,
        passed=42,
        run=pytest("test_socketio.py"),
        fail_anyway={"*.TestSocketIO.test_background_task": "does not wait for the thread that it starts"},
    ),
    Suite(
        "Flask-Multipass",
        "flask-multipass==0.11.2",
        _MORE,
        passed=137,
        run=pytest(
            "tests",
            "--no-cov",
            "--ignore=tests/providers/ldap",  # which needs a library in C
        ),
    ),
    Suite("Flask-Reuploaded", "flask-reuploaded==1.6.0", _MORE, passed=58),
    Suite("Flask-Compress", "flask-compress==1.25", _MORE, passed=56),
    Suite("Flask-Migrate", "flask-migrate==4.1.0", _MORE, passed=7),
]

_JSONRPC = "flask-jsonrpc==4.0.0"
_QUIRKS = Environment("flask-jsonrpc.txt", quirks=True)
_FEATURES = "tests/integration/shared/test_apps"


def _example(name: str, passed: int) -> Suite:
    return Suite(
        f"example {name}",
        _JSONRPC,
        _QUIRKS,
        passed=passed,
        # Its key for tokens is short, of which PyJWT warns since 2.10, and warnings are errors there.
        run=pytest("-o", "filterwarnings=", "tests"),
        without=("src",),
        folder=f"examples/{name}",
    )


FLASK_JSONRPC = [
    Suite(
        "Flask-JSONRPC",
        _JSONRPC,
        _QUIRKS,
        passed=476,
        run=pytest(*BARE, "tests/unit"),
        without=("src",),
        copies={_FEATURES: "tests/unit/shared/test_apps"},
    ),
    # What the examples do with Flask-JSONRPC: 61, and one fails that wants docstrings as Python 3.13 has them.
    _example("javascript", 5),
    _example("minimal", 16),
    _example("minimal-async", 15),
    _example("modular", 9),
    _example("multiplesite", 5),
    _example("openrpc", 6),
    _example("rpcdescribe", 5),
    Suite(
        "features over HTTP",
        _JSONRPC,
        _QUIRKS,
        passed=104,
        run=live("../tests/test_apps", "app.app:create_app()", "--ignore", "live/test_apps/test_async_app.py"),
        without=("src",),
        copies={"tests/integration/shared": "over_http/live"},
        folder="over_http",
    ),
    Suite(
        "async features over HTTP",
        _JSONRPC,
        _QUIRKS,
        passed=111,
        run=live("../tests/test_apps", "async_app.app:create_app()", "--ignore", "live/test_apps/test_app.py"),
        without=("src",),
        copies={"tests/integration/shared": "over_http/live"},
        folder="over_http",
    ),
]

GROUPS = {"flask": FLASK, "extensions": EXTENSIONS, "flask_jsonrpc": FLASK_JSONRPC}
