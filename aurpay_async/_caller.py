"""Which line of a program used this package."""

from __future__ import annotations

import sys


def caller_location() -> str:
    """The innermost line that is not ours, as ``file:number``."""
    frame = sys._getframe(1)  # noqa: SLF001 - as the standard library's own logging does
    while frame.f_back and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == __package__
