"""The files of the pages and of the API description."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def read_static(name: str) -> bytes:
    """Return a file of ``static``, which is read once."""
    return (Path(__file__).parent / "static" / name).read_bytes()
