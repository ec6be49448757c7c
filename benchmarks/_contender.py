"""A process that creates orders with several workers, and prints how long each took.

Its arguments: the database, the number of workers, and the orders of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from aurpay_async.orders import OrderStore

from ._aurpay import ReadyAurpay


async def create_orders(url: str, workers: int, each: int) -> list[float]:
    """Return the seconds of each `get_or_create`."""
    aurpay = ReadyAurpay(workers * each + 1)
    times: list[float] = []
    async with aurpay.client() as client, OrderStore(client, url) as store:
        await store.get_or_create(f"first-{os.urandom(8).hex()}", "20.00", "USD")
        print("ready", flush=True)
        sys.stdin.readline()

        async def work() -> None:
            for _ in range(each):
                began = time.perf_counter()
                await store.get_or_create(os.urandom(8).hex(), "20.00", "USD")
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(work() for _ in range(workers)))
    return times


if __name__ == "__main__":
    print(json.dumps(asyncio.run(create_orders(sys.argv[1], *map(int, sys.argv[2:])))))
