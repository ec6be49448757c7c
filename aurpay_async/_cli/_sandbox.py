"""``aurpay sandbox``: a local Aurpay until Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.text import Text

from ..sandbox import Sandbox

if TYPE_CHECKING:
    from rich.console import Console

    from ..sandbox import Amounts


async def serve(console: Console, *, port: int, amounts: Amounts) -> None:
    """Serve, and say how to reach it."""
    async with Sandbox(port=port, amounts=amounts) as sandbox:
        console.print(Text(f"Aurpay sandbox at {sandbox.base_url}, Ctrl-C ends it."))
        console.print(
            Text(f'AurpayClient(base_url="{sandbox.base_url}", network="regtest")'),
            soft_wrap=True,
        )
        await asyncio.Event().wait()
