"""Images of Pillow and figures of matplotlib, as PNG in a `data:` URL (RFC 2397).

Neither is imported here: whoever has an image has done so.
"""

from __future__ import annotations

import base64
import binascii
import io
import sys
import typing as t

from .converting import Hint, converted, expect

# Of the decoders that Pillow has, those of the formats that browsers and cameras write.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
# What has the same content as a mode that PNG does not have; what is transparent stays so.
_NEAREST = {"I": "I;16", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
_SCHEMA = {"type": "string", "format": "data-url", "contentMediaType": "image/png"}


def reader(cls: type, arguments: tuple[t.Any, ...], of_result: bool) -> Hint:
    """Return the type that reads an image; for a result also what describes a figure.

    Raises TypeError for a figure that should be a parameter, and for other classes.
    """
    is_image = cls.__module__ == "PIL.Image" and cls.__name__ == "Image"
    if not is_image and not (of_result and (hasattr(cls, "savefig") or hasattr(cls, "get_figure"))):
        raise TypeError(f"no JSON value can become {cls!r}")
    return converted(cls.__name__, _image, lambda describe: dict(_SCHEMA))


def _image(value: t.Any) -> t.Any:
    """Return the image in a `data:` URL or in plain base64."""
    text = expect(value, str)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    image = sys.modules["PIL.Image"]
    try:
        content = base64.b64decode(text, validate=True)
        opened = image.open(io.BytesIO(content), formats=_FORMATS)
        opened.load()
    except binascii.Error:
        raise ValueError("Expected an image as a data: URL in base64") from None
    # Pillow raises OSError for what is cut short, SyntaxError for what is broken inside.
    except (OSError, SyntaxError, ValueError, image.DecompressionBombError):
        raise ValueError(f"Expected an image ({', '.join(_FORMATS)})") from None
    return opened


def simplify_image(value: t.Any) -> str:
    """Return an image as PNG in a `data:` URL."""
    content = io.BytesIO()
    # PNG has no word for the other modes (CMYK, YCbCr, HSV, F ...).
    if value.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
        value = value.convert(_NEAREST.get(value.mode, "RGB"))
    value.save(content, "PNG")
    return _url(content)


def simplify_figure(value: t.Any) -> str:
    """Return a figure, or the figure of axes, as PNG in a `data:` URL; pyplot then lets go of it."""
    figure = value if hasattr(value, "savefig") else value.get_figure() if hasattr(value, "get_figure") else None
    if figure is not None and not hasattr(figure, "savefig"):  # a part of a figure
        figure = figure.figure
    if figure is None:
        raise TypeError(f"{type(value).__qualname__} has no form in JSON")
    content = io.BytesIO()
    try:
        figure.savefig(content, format="png")
    finally:
        # pyplot keeps every figure that it made until told otherwise: a server would fill its memory with them.
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            pyplot.close(figure)
    return _url(content)


def _url(content: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
