"""What debug mode explains, under the module name Flask's users know it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .app import FormDataRoutingRedirect
from .wrappers import DebugFilesKeyError, Request, explain_missing_files

if TYPE_CHECKING:
    from jinja2 import BaseLoader

    from .app import Flask
    from .scaffold import Scaffold
    from .templating import Source

__all__ = [
    "DebugFilesKeyError",
    "FormDataRoutingRedirect",
    "UnexpectedUnicodeError",
    "attach_enctype_error_multidict",
    "explain_template_loading_attempts",
]


class UnexpectedUnicodeError(AssertionError, UnicodeError):
    """Bytes that are no text where text is needed. Kept for those who catch it: nothing here raises it."""


def attach_enctype_error_multidict(request: Request) -> None:
    """Let a file missing from `request.files` raise DebugFilesKeyError when the form was sent without its enctype."""
    explain_missing_files(request)


def explain_template_loading_attempts(
    app: Flask, template: str, attempts: list[tuple[BaseLoader, Scaffold, Source | None]]
) -> None:
    """Log where a template was looked for: (loader, who has the loader, what it found or None) for each attempt."""
    from .templating import Attempt, explanation  # jinja2 is a slow import, and in use here already

    tried = [Attempt(owner, loader, source) for loader, owner, source in attempts]
    app.logger.info(explanation(app, template, tried))
