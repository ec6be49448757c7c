"""``--open``: a checkout page, in a browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._screen import Screen


async def open_page(screen: Screen, pay_url: str) -> None:
    """Open it, and say so: on standard error, as it is no part of the answer."""
    import webbrowser

    if await asyncio.to_thread(webbrowser.open, pay_url):
        screen.note(f"Opened {pay_url} in the browser.")
    else:
        screen.note(f"No browser could be started: open {pay_url} yourself.")
