"""Reconcile once, for a timer."""

from __future__ import annotations

import asyncio

from aurpay_async import AurpayClient
from aurpay_async.orders import OrderStore

from .shop_fulfilment import changed


async def main() -> int:
    """Reconcile until nothing more is due; return the exit status."""
    failures = 0
    async with (
        AurpayClient.from_env() as aurpay,
        OrderStore.from_env(aurpay) as store,
    ):
        more = True
        while more:
            done = await store.reconcile(on_change=changed)
            failures += len(done.failures)
            more = done.more
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
