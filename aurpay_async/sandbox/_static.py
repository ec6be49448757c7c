"""The files beside the code."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def read_static(name: str) -> bytes:
    """A file of ``static``, read once."""
    return (Path(__file__).parent / "static" / name).read_bytes()
