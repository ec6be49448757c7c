"""The programs of examples/queues in processes of their own, on a real Redis.

They need Celery, taskiq and arq: ``nox -s examples``, or ``AURPAY_TEST_EXAMPLES=1``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox
from examples.queues.shop_fulfilment import metadata

from ..support.redis import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).parents[2]

#: Seconds after which a test has failed; the processes take a few to import.
PATIENCE_S = 120

#: Enqueues the job of a cart, and waits for nothing.
CELERY = """
from examples.queues.shop_celery import open_order, reconcile
open_order.delay("cart-1", "20.00")
reconcile.delay()
"""
ARQ = """
import asyncio
from arq import create_pool
from examples.queues.shop_arq import WorkerSettings

async def main():
    pool = await create_pool(WorkerSettings.redis_settings)
    await pool.enqueue_job("open_order", "cart-1", "20.00")
    await pool.aclose()

asyncio.run(main())
"""
#: This broker has no workers of its own.
TASKIQ = """
import asyncio, signal
from examples.queues.shop_taskiq import broker, open_order

async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    broker.is_worker_process = True
    await broker.startup()
    await open_order.kiq("cart-1", "20.00")
    await stopped.wait()
    await broker.shutdown()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """The URL of a Redis server for the tests."""
    with redis_server() as url:
        yield url


class Shop:
    """A database with a paid order, the callback of which was lost."""

    def __init__(self, sandbox: Sandbox, store: OrderStore, url: str) -> None:
        self.sandbox = sandbox
        self._store = store
        self._environment = {
            "AURPAY_API_KEY": "sandbox-key",
            "AURPAY_BASE_URL": sandbox.base_url,
            "AURPAY_NETWORK": "regtest",
            "AURPAY_REFERENCE_KEY": "sandbox-reference-key",
            "AURPAY_DATABASE": url,
        }

    async def count(self, query: str) -> int:
        """Return the result of a query for a number."""
        async with self._store.engine.connect() as connection:
            return int(await connection.scalar(text(query)) or 0)

    async def until(self, query: str) -> None:
        """Wait until a query for a number returns 1."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.count(query) != 1:
                await asyncio.sleep(0.05)

    @contextmanager
    def running(self, *command: str, **given: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program; it is killed if it has not ended by itself."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        environment = {**inherited, **self._environment, **given}
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    async def ends_with(self, process: subprocess.Popen[bytes]) -> int:
        """Return the exit status of a program."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.to_thread(process.wait)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop with a payment that the store has not recorded."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"
    async with (
        Sandbox() as sandbox,
        sandbox.client(reference_key="sandbox-reference-key") as aurpay,
        OrderStore(aurpay, url) as store,
    ):
        async with store.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        order = await store.get_or_create("cart-0", "9.00", "USD")
        await sandbox.pay(order.order_id)
        async with store.engine.begin() as connection:
            due = "UPDATE aurpay_attempts SET next_poll_at = created_at"
            await connection.execute(text(due))
        yield Shop(sandbox, store, url)


SHIPMENTS = "SELECT count(*) FROM shipments WHERE reference = 'cart-0'"
PAYABLE = (
    "SELECT count(*) FROM aurpay_attempts "
    "WHERE reference = 'cart-1' AND state = 'payable'"
)


async def test_celery_retries_a_lost_create_and_reconciles(
    shop: Shop, tmp_path: Path
) -> None:
    shop.sandbox.faults.push("503")
    # Celery and arq do not allow the same versions of the Redis client.
    broker = f"sqla+sqlite:///{tmp_path / 'broker.db'}"
    worker = ("-m", "celery", "--app=examples.queues.shop_celery", "worker")
    with (
        shop.running("-c", CELERY, BROKER_URL=broker) as sender,
        shop.running(*worker, "--concurrency=2", BROKER_URL=broker) as process,
    ):
        assert await shop.ends_with(sender) == 0
        await shop.until(PAYABLE)
        await shop.until(SHIPMENTS)
        process.send_signal(signal.SIGTERM)
        assert await shop.ends_with(process) == 0


async def test_arq_retries_a_lost_create_and_reconciles(
    shop: Shop, redis_url: str
) -> None:
    shop.sandbox.faults.push("503")
    worker = ("-m", "arq", "examples.queues.shop_arq.WorkerSettings")
    with (
        shop.running(*worker, REDIS_URL=redis_url) as process,
        shop.running("-c", ARQ, REDIS_URL=redis_url) as sender,
    ):
        assert await shop.ends_with(sender) == 0
        await shop.until(PAYABLE)
        await shop.until(SHIPMENTS)
        process.send_signal(signal.SIGTERM)
        await shop.ends_with(process)  # arq exits as if the signal had killed it


async def test_taskiq_retries_a_lost_create_and_reconciles(shop: Shop) -> None:
    shop.sandbox.faults.push("503")
    with shop.running("-c", TASKIQ) as process:
        await shop.until(PAYABLE)
        await shop.until(SHIPMENTS)
        process.send_signal(signal.SIGTERM)
        assert await shop.ends_with(process) == 0


async def test_plain_process_reconciles_until_it_is_stopped(shop: Shop) -> None:
    with shop.running("-m", "examples.queues.shop_reconcile") as process:
        await shop.until(SHIPMENTS)
        process.send_signal(signal.SIGTERM)
        assert await shop.ends_with(process) == 0


async def test_one_run_reconciles_and_says_whether_all_orders_could_be_polled(
    shop: Shop,
) -> None:
    shop.sandbox.faults.push("401")
    once = ("-m", "examples.queues.shop_reconcile_once")
    with shop.running(*once) as process:
        assert await shop.ends_with(process) == 1
    assert await shop.count(SHIPMENTS) == 0
    async with shop._store.engine.begin() as connection:
        await connection.execute(
            text("UPDATE aurpay_attempts SET next_poll_at = created_at")
        )
    with shop.running(*once) as process:
        assert await shop.ends_with(process) == 0
    assert await shop.count(SHIPMENTS) == 1
