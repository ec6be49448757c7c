"""The tasks on procrastinate's queue, over each driver that an engine may have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from procrastinate import App, PsycopgConnector
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from aurpay_async.contrib.procrastinate import OrderTasks
from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

KEY = "sandbox-reference-key"

#: A cron expression for 29 February, to keep periodic tasks out of the tests.
NEVER = "0 0 29 2 *"


@attrs.define
class Shop:
    """The tables of carts, shipments, the order store and procrastinate."""

    engine: AsyncEngine
    sandbox: Sandbox
    clock: FakeClock
    app: App
    tasks: OrderTasks

    async def work(self) -> None:
        """Run the jobs in the queue."""
        await self.app.run_worker_async(wait=False, install_signal_handlers=False)

    async def defer(self, task: str, **arguments: Any) -> int:
        """Defer a job, as another process does."""
        job = self.app.configure_task(f"aurpay:{task}", queue="aurpay")
        return await job.defer_async(**arguments)

    async def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        async with self.engine.begin() as connection:
            rows = await connection.execute(text(query), values)
            return [tuple(row) for row in rows]


async def deliver(reference: str, connection: AsyncConnection) -> None:
    await connection.execute(
        text("INSERT INTO shipments VALUES (:reference)"), {"reference": reference}
    )


@pytest.fixture(params=["asyncpg", "psycopg"])
async def shop(
    request: pytest.FixtureRequest, postgresql_url: str
) -> AsyncIterator[Shop]:
    conninfo = postgresql_url.replace("+asyncpg", "")
    engine = create_async_engine(postgresql_url.replace("asyncpg", request.param))
    app, clock = App(connector=PsycopgConnector(conninfo=conninfo)), FakeClock()
    async with (
        app.open_async(),
        Sandbox(clock=clock) as sandbox,
        sandbox.client(reference_key=KEY) as aurpay,
    ):
        await app.schema_manager.apply_schema_async()
        store = OrderStore(aurpay, engine)
        await store.upgrade()
        tasks = OrderTasks(app, store, deliver, reconcile=NEVER, restart=NEVER)
        async with engine.begin() as connection:
            for table in ("carts", "shipments"):
                await connection.execute(text(f"CREATE TABLE {table} (reference TEXT)"))
        yield Shop(engine, sandbox, clock, app, tasks)
    await engine.dispose()


async def test_committed_cart_is_shipped_once_and_a_rolled_back_cart_has_no_order(
    shop: Shop,
) -> None:
    cart = text("INSERT INTO carts VALUES (:reference)")
    for reference, stays in (("cart-1", False), ("cart-2", True)):
        async with shop.engine.connect() as connection:
            await connection.execute(cart, {"reference": reference})
            for _ in range(2):
                await shop.tasks.defer_open(connection, reference, "20.00", "USD")
            await (connection.commit() if stays else connection.rollback())
    await shop.work()
    (order,) = shop.sandbox.orders.values()
    assert await shop.rows("SELECT * FROM carts") == [("cart-2",)]
    await shop.sandbox.pay(order.order_id)
    shop.clock.advance(121)
    for _ in range(2):
        await shop.defer("reconcile", timestamp=0)
        await shop.work()
    await shop.defer("fulfil", reference="cart-2")
    await shop.work()
    assert await shop.rows("SELECT * FROM shipments") == [("cart-2",)]
    states = "SELECT DISTINCT status FROM procrastinate_jobs"
    assert await shop.rows(states) == [("succeeded",)]


async def test_jobs_of_a_crashed_worker_are_done(shop: Shop) -> None:
    """Its job returns to the queue, and with it all other jobs of the cart."""
    async with shop.engine.begin() as connection:
        held = await shop.tasks.defer_open(connection, "cart-1", "20.00", "USD")
        await shop.tasks.defer_open(connection, "cart-1", "20.00", "USD")
    # procrastinate removes a worker that has sent no heartbeat for a while.
    update = "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = :id"
    await shop.rows(f"{update} RETURNING id", id=held)
    opened = (
        "SELECT status, attempts FROM procrastinate_jobs"
        " WHERE task_name = 'aurpay:open' ORDER BY id"
    )
    await shop.work()
    assert await shop.rows(opened) == [("doing", 0), ("todo", 0)]
    await shop.defer("restart", timestamp=0)
    await shop.work()
    assert await shop.rows(opened) == [("succeeded", 2), ("succeeded", 1)]
    shop.sandbox.assert_orders(1)


async def test_concurrent_workers_deliver_once(shop: Shop) -> None:
    """The second worker waits, and delivers if the first one failed."""
    came: list[str] = []

    async def slow(reference: str, connection: AsyncConnection) -> None:
        came.append(reference)
        await deliver(reference, connection)
        await asyncio.sleep(0.05)
        if len(came) == 1:
            raise OSError

    shop.tasks._fulfil = slow
    run = shop.app.tasks["aurpay:fulfil"]
    together = [run(reference="cart-1") for _ in range(4)]
    outcomes = await asyncio.gather(*together, return_exceptions=True)
    assert sorted(map(repr, outcomes)) == ["None", "None", "None", "OSError()"]
    assert came == ["cart-1", "cart-1"]
    assert await shop.rows("SELECT * FROM shipments") == [("cart-1",)]
