"""Run the FastAPI shop of docs/orders.md while its PostgreSQL is down, and killed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from aurpay_async.sandbox import Sandbox

from ..support.postgresql import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..support.postgresql import Server

PAGE = Path(__file__).parents[2] / "docs" / "orders.md"
#: Seconds after which the test has failed.
PATIENCE_S = 120


def find_block(word: str) -> str:
    """Return the only block of the page's code that contains this."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)


def test_complete_shop_has_at_most_seventy_five_lines_of_code() -> None:
    lines = [line.strip() for line in find_block("# shop.py\n").splitlines()]
    assert len([one for one in lines if one and not one.startswith("#")]) <= 75


def write_shop(folder: Path, url: str) -> None:
    """Write the shop of the page, reachable at `url`."""
    shop = find_block("# shop.py\n")
    assert 'SHOP = "https://shop.example"' in shop
    code = shop.replace("https://shop.example", url)
    (folder / "shop.py").write_text(code, encoding="utf-8")


@contextmanager
def serving(folder: Path, port: int, **given: str) -> Iterator[None]:
    """Run the shop with the command of the page, and kill it at the end."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    command = (sys.executable, "-m", "uvicorn", "--factory", "shop:production")
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [*command, "--no-access-log", "--port", str(port)],
            cwd=folder,
            env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **given},
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


async def ask(method: str, url: str, *, wanted: Any = 200) -> Any:
    """Repeat a request until its status, or its JSON, is as wanted."""
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as browser:
        while True:
            try:
                async with browser.request(method, url) as response:
                    said = await response.json()
                    if wanted in (response.status, said):
                        return said
            except aiohttp.ClientConnectionError:
                pass  # it is starting
            await asyncio.sleep(0.1)


async def test_shop_on_postgresql_survives_an_outage_of_its_database_and_a_kill(
    tmp_path: Path, postgresql: Server
) -> None:
    port = free_port()
    shop = f"http://127.0.0.1:{port}"
    write_shop(tmp_path, shop)
    async with Sandbox() as sandbox:
        given = {
            "AURPAY_API_KEY": "any",
            "AURPAY_BASE_URL": sandbox.base_url,
            "AURPAY_CALLBACK_SECRET": sandbox.callback_secret,
            "AURPAY_NETWORK": "regtest",
            "AURPAY_REFERENCE_KEY": "sandbox-reference-key",
            "AURPAY_DATABASE": postgresql.new_database(),
        }
        with serving(tmp_path, port, **given):
            first = await ask("POST", f"{shop}/carts/1/pay")
            postgresql.stop()
            try:
                await ask("POST", f"{shop}/carts/2/pay", wanted=503)
                await ask("GET", f"{shop}/shipments", wanted=503)
                # Aurpay calls back while the database is down, and again later.
                sandbox.callback_faults.push("retry; times=100; seconds=0.2")
                paying = asyncio.create_task(sandbox.pay(first["order_id"]))
                while not sandbox.callbacks:
                    await asyncio.sleep(0.05)
            finally:
                postgresql.start_again()
            await paying
            second = await ask("POST", f"{shop}/carts/2/pay")
            await ask("GET", f"{shop}/shipments", wanted=["cart-1"])
        with serving(tmp_path, port, **given):
            assert await ask("POST", f"{shop}/carts/2/pay") == second
            await sandbox.pay(second["order_id"])
            await ask("GET", f"{shop}/shipments", wanted=["cart-1", "cart-2"])
    log = (tmp_path / "log").read_text("utf-8")
    assert "answered with 503: StoreUnavailableError" in log
    assert "; reference='cart-1' attempt_id=" in log
    assert "no order for cart-2: StoreUnavailableError(" in log
