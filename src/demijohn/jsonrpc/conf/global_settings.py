"""The settings of Flask-JSONRPC and their defaults; `FLASK_JSONRPC_<NAME>` in an application's config sets each."""

from __future__ import annotations

from typing import Any

_FLASK_JSONRPC_ENV_PREFIX = "FLASK_JSONRPC_"


def IS_ENV_KEY(key: str) -> bool:
    """Whether a name in a config or in the environment is one of a setting here."""
    return key.startswith(_FLASK_JSONRPC_ENV_PREFIX)


def ENV_TO_CONFIG(key: str) -> str:
    """Return the setting that a name in a config or in the environment means."""
    return key.removeprefix(_FLASK_JSONRPC_ENV_PREFIX)


def CONFIG_TO_ENV(key: str) -> str:
    """Return the name that a setting has in a config and in the environment."""
    return f"{_FLASK_JSONRPC_ENV_PREFIX}{key}"


DEBUG = False
TESTING = False

DEFAULT_JSONRPC_METHOD_VALIDATE = True
DEFAULT_JSONRPC_METHOD_NOTIFICATION = True

BROWSE_TITLE = "Flask JSON-RPC"
BROWSE_TITLE_URL = "https://github.com/cenobites/flask-jsonrpc"
BROWSE_SUBTITLE = "Web browsable API"
BROWSE_DESCRIPTION = "An interactive web browsable API for Flask JSON-RPC services"
BROWSE_FORK_ME_BUTTON_ENABLED = True
BROWSE_DASHBOARD_MENU_NAME = "Dashboard"
BROWSE_DASHBOARD_PARTIAL_TEMPLATE = "browse/partials/dashboard.html"
BROWSE_LOGIN_TEMPLATE: str | None = None
BROWSE_LOGOUT_TEMPLATE: str | None = None
BROWSE_MEDIA_CSS: dict[str, list[str]] = {}
BROWSE_MEDIA_JS: list[str] = []
BROWSE_MIDDLEWARE: list[Any] = []
