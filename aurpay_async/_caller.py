"""Find the caller's file and line, for ResourceWarning."""

from __future__ import annotations

import sys


def caller_location() -> str:
    """Return the innermost line outside this package, as ``file:number``."""
    frame = sys._getframe(1)  # noqa: SLF001 - as in the logging module
    while frame.f_back and _is_internal(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_internal(module: str) -> bool:
    return module.partition(".")[0] == __package__
