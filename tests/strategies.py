"""Hypothesis strategies that several tests share."""

from __future__ import annotations

from hypothesis import strategies as st


def splits_of(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """All ways in which `data` may arrive."""
    cuts = st.lists(st.integers(0, len(data)), max_size=8).map(sorted)
    return cuts.map(lambda at: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True) if a < b])
