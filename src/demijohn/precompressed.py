"""Static files of which compressed copies were made beforehand: `app.css.br` beside `app.css`."""

from __future__ import annotations

import mimetypes
import os

from werkzeug.security import safe_join

from .codings import IDENTITY, choose
from .globals import current_app, request
from .helpers import send_from_directory
from .wrappers import Response

# The smallest first, which is what clients that take several are sent.
_SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}


def send_best(directory: str, filename: str, max_age: int | None) -> Response:
    """Answer with a file of a directory, or with the compressed copy beside it that the client would rather have.

    A copy is a representation of its own (RFC 9110 §8.8.3.3): its length, entity tag and ranges are those of its
    bytes. The type and the name to save it by are the file's.

    Raises NotFound (404) when there is no such file, whatever copies there are.
    """
    codings = _copies(directory, filename)
    coding = choose(request.headers.get("Accept-Encoding"), codings)
    if coding == IDENTITY:
        response = send_from_directory(directory, filename, max_age=max_age)
    else:
        response = send_from_directory(
            directory,
            filename + _SUFFIXES[coding],
            mimetype=mimetypes.guess_type(filename)[0] or "application/octet-stream",
            download_name=os.path.basename(filename),
            # A function, since None would have the application asked again, for the name of the copy.
            max_age=lambda _: max_age,
        )
        response.content_encoding = coding
    if codings:
        response.vary.add("Accept-Encoding")
    return response


def _copies(directory: str, filename: str) -> tuple[str, ...]:
    """Return the codings of which there are copies; none of what is compressed already, or not there itself."""
    path = safe_join(directory, filename)
    if path is None or mimetypes.guess_type(filename)[1] is not None:
        return ()
    path = os.path.join(current_app.root_path, path)
    copies = tuple(coding for coding, suffix in _SUFFIXES.items() if os.path.isfile(path + suffix))
    return copies if copies and os.path.isfile(path) else ()
