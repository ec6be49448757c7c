"""Reconcile until the process is stopped."""

from __future__ import annotations

import asyncio
import signal

from aurpay_async import AurpayClient
from aurpay_async.orders import OrderStore

from .shop_fulfilment import changed


async def main() -> None:
    """Reconcile once a minute until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        AurpayClient.from_env() as aurpay,
        OrderStore.from_env(aurpay) as store,
        store.running(on_change=changed),
    ):
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
