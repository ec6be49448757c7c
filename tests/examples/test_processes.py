"""Tests of the examples in separate processes that are killed.

They are slow, mostly because of imports: ``nox -s examples``, or
``AURPAY_TEST_EXAMPLES=1``.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import aiohttp

from ..support.postgresql import free_port
from .telegram import PATIENCE_S, TOKEN, Server
from .test_shop import login
from .waiting import until

ROOT = Path(__file__).parent.parent.parent


async def test_killed_shop_continues_with_its_order_after_a_restart(
    tmp_path: Path,
) -> None:
    port = free_port()
    shop = f"http://127.0.0.1:{port}"
    given = {"SHOP_PORT": str(port), "SANDBOX_PORT": str(free_port())}
    with started("shop", given, tmp_path):
        (path,) = re.findall('action="(.*?)"', await ask("GET", shop))
        before = await ask("POST", shop + path)
        assert "Waiting for payment" in before
    with started("shop", given, tmp_path):
        invoice = ">(lnbcrt[^<]+)</textarea>"
        after = await ask("GET", shop + path)
        assert re.findall(invoice, after) == re.findall(invoice, before)
        assert "on its way" in await ask("POST", f"{shop}{path}/pay")
    with started("shop", given, tmp_path):
        assert "on its way" in await ask("GET", shop + path)
        orders = await ask("GET", f"{shop}/orders", headers=login("honey"))
        assert "shipment" in orders


async def test_killed_bot_continues_with_its_bill_after_a_restart(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with Server().serving() as telegram:
        given = {
            "SANDBOX_PORT": str(port),
            "TELEGRAM_API": telegram.url,
            "TELEGRAM_TOKEN": TOKEN,
        }
        telegram.say("/pay 5 USD")
        with started("bot", given, tmp_path) as first:
            (photo,) = await telegram.until(sendPhoto=1)
            assert photo[photo["photo"].removeprefix("attach://")][:4] == b"\x89PNG"
            await until(lambda: posts(tmp_path / "bot.db"))
            first.kill()
        (page,) = re.findall(r'"(http[^"]*)"', photo["reply_markup"])
        telegram.forget()  # what it was not told to have arrived, it delivers again
        with started("bot", given, tmp_path):
            base, order_id = page.split("/#/cashier/")
            await ask("POST", f"{base}/_sandbox/orders/{order_id}/pay")
            (edit,) = await telegram.until(sendPhoto=1, editMessageCaption=1)
    assert edit["caption"] == "5 USD: paid. Thank you!"
    assert (edit["chat_id"], edit["message_id"]) == ("7", "1001")


def posts(database: Path) -> int:
    """Return the number of messages in the bot's database."""
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM posts").fetchone()
        return int(count)


def started(name: str, given: dict[str, str], folder: Path) -> Process:
    """Start an example in a separate process."""
    command = [sys.executable, "-m", f"examples.{name}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **given}
    return Process(command, cwd=folder, env=environment)


async def ask(method: str, url: str, **options: Any) -> str:
    """Return the answer of a server, as soon as it accepts connections."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with session.request(method, url, **options) as response:
                    assert response.status == 200
                    return await response.text()
            await asyncio.sleep(0.1)


class Process(subprocess.Popen[bytes]):
    """A process that is killed at the end of its block."""

    def __exit__(self, *problem: object) -> None:
        self.kill()
        super().__exit__(*cast("Any", problem))
