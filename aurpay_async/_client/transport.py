"""Require an asyncio task: aiohttp and all timeouts need one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..errors import ConfigurationError


def require_task() -> None:
    """Raise unless the caller runs in a task of an asyncio event loop.

    Raises:
        ConfigurationError: under trio or curio, or for a coroutine driven by hand.
    """
    with suppress(RuntimeError):
        if asyncio.current_task() is not None:
            return
    raise ConfigurationError(
        "calls of this client need a task on an asyncio event loop, and there is none: "
        "use asyncio.run(), or create_task() on a running loop; trio is not supported"
    )
