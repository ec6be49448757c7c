"""The recipe of docs/workers.md: saq workers on a Redis, one of them killed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from aurpay_async.sandbox import Sandbox

from ..support.postgresql import WANTED
from ..support.redis import redis_server
from .test_crashes import FastClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import ModuleType

    from sqlalchemy.ext.asyncio import AsyncEngine

ROOT = Path(__file__).parents[2]
CARTS = 10
SECONDS = 120

#: The recipe's minutes as seconds; the client's clock runs fast too.
HURRY = f"""
import os, sys
from contextlib import AsyncExitStack
sys.path.insert(0, {str(ROOT)!r})
from aurpay_async.orders import OrderStore
from shop_jobs import *
from shop_jobs import settings
from tests.workers.test_crashes import FastClock, client

JOB.update(timeout=5, retry_delay=0.1)

async def startup(ctx):
    ctx["stack"] = AsyncExitStack()
    clock = FastClock(float(os.environ["BEGAN"]))
    aurpay = client(os.environ["AURPAY_BASE_URL"], clock)
    ctx["store"] = OrderStore(aurpay, os.environ["AURPAY_DATABASE"])
    await ctx["stack"].enter_async_context(aurpay)
    await ctx["stack"].enter_async_context(ctx["store"])
    await ctx["stack"].enter_async_context(ctx["store"].running(on_change=changed))

settings["startup"] = startup
settings.update(timers={{"sweep": 1}}, concurrency=3)
for job in settings["cron_jobs"]:
    job.cron, job.timeout = "* * * * * *", 10
"""


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """The URL of a Redis server without persistence, for the tests."""
    if not WANTED:
        pytest.skip("takes long: nox -s postgresql, or set AURPAY_TEST_POSTGRESQL=1")
    with redis_server() as url:
        yield url


@pytest.fixture
def recipe(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """Import the recipe as a module."""
    page = (ROOT / "docs" / "workers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = [block for block in blocks if "from saq import" in block]
    file = tmp_path / "shop_jobs.py"
    file.write_text(code, encoding="utf-8")
    (tmp_path / "hurry.py").write_text(HURRY, encoding="utf-8")
    monkeypatch.setenv("REDIS_URL", redis_url)
    spec = importlib.util.spec_from_file_location("shop_jobs", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.JOB.update(timeout=5, retry_delay=0.1)
    return module


@contextmanager
def worker(folder: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker, and kill it at the end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    process = subprocess.Popen(
        [sys.executable, "-m", "saq", "hurry.settings"],
        cwd=folder,
        env={**environment, "PYTHONPATH": ".", **settings},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def states(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        query = text("SELECT state, count(*) FROM carts GROUP BY state")
        return {row[0]: row[1] for row in await connection.execute(query)}


async def until(engine: AsyncEngine, state: str, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while (await states(engine)).get(state, 0) < count:
            await asyncio.sleep(0.1)


async def test_every_cart_gets_one_order_and_one_fulfilment(
    tmp_path: Path, recipe: Any
) -> None:
    """This includes a cart without a Redis job, and the carts of a killed worker."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"
    engine, clock = create_async_engine(url), FastClock(time.time())
    async with engine.begin() as connection:
        await connection.run_sync(recipe.metadata.create_all)
        forgotten = {"reference": "forgotten", "price": "9.00", "state": "new"}
        await connection.execute(recipe.carts.insert().values(forgotten))
    async with Sandbox(clock=clock) as sandbox:
        sandbox.faults.push(*["delay; seconds=1"] * CARTS)
        for number in range(1, CARTS):
            await recipe.check_out(engine, f"cart-{number}", f"{number}.50")
        settings = {
            "AURPAY_DATABASE": url,
            "AURPAY_BASE_URL": sandbox.base_url,
            "BEGAN": str(clock.began),
        }
        async with asyncio.timeout(SECONDS):
            with worker(tmp_path, **settings):
                while (
                    len(sandbox.orders) < 4
                ):  # The worker waits for the answer to one of them.
                    await asyncio.sleep(0.02)
        with worker(tmp_path, **settings):
            await until(engine, "open", CARTS)
            assert len(sandbox.orders) > CARTS
            async for order_id in live(engine):
                await sandbox.pay(order_id)
            await until(engine, "fulfilled", CARTS)
    async with engine.connect() as connection:
        query = "SELECT count(*), count(DISTINCT reference) FROM shipments"
        sent = (await connection.execute(text(query))).one()
    assert tuple(sent) == (CARTS, CARTS)
    await recipe.queue.disconnect()
    await engine.dispose()


async def live(engine: AsyncEngine) -> AsyncIterator[str]:
    async with engine.connect() as connection:
        query = text("SELECT order_id FROM aurpay_attempts WHERE state = 'payable'")
        for row in (await connection.execute(query)).all():
            yield row[0]
