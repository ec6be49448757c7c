"""A call of the client runs in an asyncio task: aiohttp and all timeouts need one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..errors import ConfigurationError


def require_task() -> None:
    """Reject a caller without an event loop of asyncio, or without a task on it.

    Raises:
        ConfigurationError: under trio or curio, or for a coroutine driven by hand.
    """
    with suppress(RuntimeError):
        if asyncio.current_task() is not None:
            return
    raise ConfigurationError(
        "calls of this client run in a task on an asyncio event loop, and there is "
        "none here: use asyncio.run(), or create_task() on a running loop; trio is "
        "not supported"
    )
