"""Create orders in arq; each worker process reconciles."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Any

from arq import Retry
from arq.connections import RedisSettings

from aurpay_async import AurpayClient
from aurpay_async.orders import OrderStore, may_retry

from .shop_fulfilment import changed


async def open_order(ctx: dict[str, Any], reference: str, price: str) -> None:
    """Create the order of a cart, or find the one that it has."""
    try:
        await ctx["store"].get_or_create(reference, price, "USD")
    except Exception as error:
        if not may_retry(error):
            raise
        raise Retry(defer=min(2 ** ctx["job_try"], 300)) from error


async def startup(ctx: dict[str, Any]) -> None:
    """Open the client and the store of this process, and begin to reconcile."""
    ctx["stack"] = stack = AsyncExitStack()
    aurpay = await stack.enter_async_context(AurpayClient.from_env())
    store = OrderStore.from_env(aurpay)
    ctx["store"] = await stack.enter_async_context(store)
    await stack.enter_async_context(store.running(on_change=changed))


async def shutdown(ctx: dict[str, Any]) -> None:
    """Close them again."""
    await ctx["stack"].aclose()


class WorkerSettings:
    """The settings that the command ``arq`` reads."""

    functions = (open_order,)
    on_startup = startup
    on_shutdown = shutdown
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    job_timeout = 120
    max_tries = 12
