"""Time limits of the event loop that end without waiting.

A short limit would end an earlier step on a busy machine. So tests set long limits, and
advance the loop's clock when the step under test has begun.
"""

from __future__ import annotations

import asyncio


def advance_loop(seconds: float) -> None:
    """Advance the clock of the running event loop, and so the limits that it keeps."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds  # type: ignore[method-assign]
