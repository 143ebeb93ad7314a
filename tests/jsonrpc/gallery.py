"""The shop, with methods that answer tables and pictures and that take files: for the tests in a browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import shop
from PIL import Image

from demijohn import Flask, request

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]


@dataclass
class Cat:
    lives: int


@dataclass
class Box:
    cat: Cat | None = None
    boxes: list[Box] | None = None


def sales(months: int = 10) -> pd.DataFrame:
    """Tell what was sold in each month.

    The cellar counts in litres, at the end of each month.

    Args:
        months: how many, from January on

    Returns:
        A row for each month

    Examples:
        >>> sales(3)
    """
    red = [42, 38, 51, 47, 60, 58, 71, 66, 80, 76]
    white = [30, 33, 41, 52, 68, 83, 91, 88, 70, 49]
    return pd.DataFrame({"month": MONTHS, "red": red, "white": white}).head(months)


def sky(width: int = 320, height: int = 180) -> Image.Image:
    """Paint the sky as it is seen from the cellar."""
    vertical = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", [vertical.point(lambda v, k=k: 255 - v * k // 100) for k in (75, 45, 15)])


def size_of(picture: Image.Image) -> tuple[int, int]:
    """Measure a picture."""
    return picture.size


def lines_in(content: bytes) -> int:
    """Count the lines of a file."""
    return len(content.splitlines())


def open_box(box: Box, corner: tuple[int, str] = (0, "left")) -> object:
    """Look into a box, which may hold boxes."""
    return [box, corner]


def headers() -> dict[str, str | None]:
    """Tell which headers came with the call."""
    return {name: request.headers.get(name) for name in ("Authorization", "X-Tenant")}


def wide() -> list[dict[str, object]]:
    """Answer a table with more columns than a phone is wide."""
    row = {f"when_{n}": "2026-01-01T00:00:00+01:00" for n in range(6)} | {"none": None, "long": "word " * 20}
    return [row, row]


def long(millions: int = 10) -> str:
    """Answer a text of millions of characters, with a few that are escaped."""
    return 'a "word"\n, ' * (millions * 90_910)


def with_gallery() -> Flask:
    """Return the shop with these methods too."""
    app = shop.with_admin()
    named: dict[str, Any] = {"Data.sales": sales, "Data.sky": sky, "Data.size": size_of, "Data.lines": lines_in}
    named |= {"Data.wide": wide, "Data.long": long, "Box.open": open_box}
    for name, function in {**named, "App.headers": headers}.items():
        shop.jsonrpc.register(function, name)
    return app
