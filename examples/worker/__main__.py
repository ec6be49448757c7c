"""The shop's commands; the environment selects Aurpay or the sandbox."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from aurpay_async import AurpayClient

from .shop import Shop

USAGE = "python -m examples.worker setup | sell NUMBER | work | list"


async def main(*words: str) -> None:
    """Run one command."""
    database = os.environ["AURPAY_DATABASE"]
    async with AurpayClient.from_env() as aurpay, Shop(aurpay, database) as shop:
        match words:
            case ["setup"]:
                await shop.set_up()
            case ["sell", number]:
                await shop.sell(int(number))
            case ["work"]:
                await shop.work()
            case ["list"]:
                for reference, status in await shop.orders():
                    sys.stdout.write(f"{reference:10} {status}\n")
            case _:
                sys.exit(USAGE)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(main(*sys.argv[1:]))
