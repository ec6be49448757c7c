"""Open a checkout page in a browser (``--open``)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._screen import Output


async def open_page(output: Output, pay_url: str) -> None:
    """Open a checkout page, and report that on standard error."""
    import webbrowser

    if await asyncio.to_thread(webbrowser.open, pay_url):
        output.info(f"Opened {pay_url} in the browser.")
    else:
        output.info(f"No browser could be started: open {pay_url} yourself.")
