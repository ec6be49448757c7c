"""The primary of PostgreSQL dies, and its synchronous standby takes over."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.contrib.starlette import callback_router
from aurpay_async.errors import StoreUnavailableError, UnknownOrderError
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.sandbox import Sandbox

from ..support.postgresql import running_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import LightningOrder
    from aurpay_async.callbacks import Notification
    from aurpay_async.orders import Change

    from ..support.postgresql import Pair

KEY = "sandbox-reference-key"
SHOP = "https://shop.example"
T = TypeVar("T")

CARTS = [f"cart-{number}" for number in range(12)]
#: The longest time that a claim of a callback stays when the primary dies.
LEASE = timedelta(seconds=2)

#: The number of carts that are done when the primary dies.
DONE_BEFORE = 4


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary and its synchronous standby."""
    with running_pair() as pair:
        yield pair


@pytest.fixture
async def shop(pair: Pair, driver: str) -> AsyncIterator[Shop]:
    async with Sandbox() as sandbox:
        shop = Shop(sandbox, pair, driver)
        await shop.create_tables()
        yield shop
        await shop.aclose()


class Shop:
    """A shop that keeps its shipments as rows of the same database."""

    def __init__(self, sandbox: Sandbox, pair: Pair, driver: str) -> None:
        self.sandbox = sandbox
        self.client = sandbox.client(reference_key=KEY)
        self.store = OrderStore(self.client, pair.new_database(driver))
        verifier = CallbackVerifier(
            secrets=[sandbox.callback_secret], reference_key=KEY
        )
        self.processor = CallbackProcessor(
            verifier,
            self.notified,
            lookup=self.store.lookup,
            reader=self.client,
            inbox=SqlInbox(self.store.engine),
            lease=LEASE,
        )
        app = FastAPI()
        app.include_router(callback_router(self.processor, public_base_url=SHOP))
        sandbox.deliver_to(app, SHOP)

    async def create_tables(self) -> None:
        await self.store.upgrade()
        async with self.store.engine.begin() as connection:
            # Without a unique constraint: a second shipment would be found.
            await connection.execute(text("CREATE TABLE shipments (reference TEXT)"))

    async def ship(self, change: Change, connection: AsyncConnection) -> None:
        if change.newly_paid:
            shipment = text("INSERT INTO shipments VALUES (:reference)")
            await connection.execute(shipment, {"reference": change.reference})

    async def notified(self, notification: Notification) -> None:
        async with self.store.engine.begin() as connection:
            change = await self.store.record(notification, connection=connection)
            await self.ship(change, connection)
            await notification.ack(connection)

    async def shipments(self) -> list[str]:
        async with self.store.engine.connect() as connection:
            rows = await connection.scalars(text("SELECT reference FROM shipments"))
            return sorted(rows)

    async def create(self, cart: str) -> LightningOrder:
        return await until_it_works(
            lambda: self.store.get_or_create(
                cart, "20.00", "USD", callback_url=f"{SHOP}/aurpay/callback"
            )
        )

    async def record(self, cart: str) -> None:
        await self.store.record(reference=cart, on_change=self.ship)

    async def fulfil(self, order: LightningOrder) -> None:
        """Poll a paid order until it is fulfilled: a busy machine outlives a lease."""
        while (await self.processor.poll(order)).status != 200:
            await asyncio.sleep(0.05)

    async def aclose(self) -> None:
        await self.store.aclose()
        await self.client.aclose()


async def until_it_works(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        # The latter two from the shop's own statements.
        except (StoreUnavailableError, OSError, SQLAlchemyError):
            await asyncio.sleep(0.05)


async def for_all_carts(pair: Pair, call: Callable[[str], Awaitable[T]]) -> list[T]:
    """Call for each cart, four at once; the primary dies meanwhile."""
    places = asyncio.Semaphore(4)
    done = 0
    failing_over: asyncio.Task[None] | None = None

    async def one(cart: str) -> T:
        nonlocal done, failing_over
        async with places:
            result = await call(cart)
        done += 1
        if done == DONE_BEFORE:
            failing_over = asyncio.create_task(asyncio.to_thread(pair.fail_over))
        return result

    results = await asyncio.gather(*map(one, CARTS))
    assert failing_over is not None
    await failing_over
    return results


async def test_postgresql_failover_during_creates_leaves_one_payable_order_per_cart(
    shop: Shop, pair: Pair
) -> None:
    shown = await for_all_carts(pair, shop.create)
    for cart, order in zip(CARTS, shown, strict=True):
        assert (await shop.create(cart)).order_id == order.order_id
        attempts = await shop.store.attempts(cart)
        payable = [one for one in attempts if one.state is AttemptState.PAYABLE]
        assert [one.order_id for one in payable] == [order.order_id]
        await shop.sandbox.pay(order.order_id)
        await shop.fulfil(order)
    assert await shop.shipments() == sorted(CARTS)


async def test_postgresql_failover_during_callbacks_ships_each_paid_cart_once(
    shop: Shop, pair: Pair
) -> None:
    orders = {cart: await shop.create(cart) for cart in CARTS}

    async def pay(cart: str) -> None:
        await shop.sandbox.pay(orders[cart].order_id)

    await for_all_carts(pair, pay)
    for order in orders.values():
        await shop.fulfil(order)
    assert await shop.shipments() == sorted(CARTS)
    assert await shop.store.needs_review() == []


async def test_postgresql_failover_while_payments_are_recorded_counts_each_once(
    shop: Shop, pair: Pair
) -> None:
    for cart in CARTS:
        order = await shop.create(cart)
        shop.sandbox.callback_faults.push("lost")
        await shop.sandbox.pay(order.order_id)

    await for_all_carts(pair, lambda cart: until_it_works(lambda: shop.record(cart)))
    assert await shop.shipments() == sorted(CARTS)


async def test_what_postgresql_lost_in_a_failover_is_found_at_aurpay_or_reviewed(
    shop: Shop, pair: Pair
) -> None:
    kept = await shop.create("kept")
    pair.stop_replication()
    lost = await shop.create("lost")
    await shop.sandbox.pay(kept.order_id)
    assert await shop.shipments() == ["kept"]
    pair.fail_over()
    assert await until_it_works(shop.shipments) == []

    # The row of the order is there, and its payment is found again.
    await shop.record("kept")
    assert await shop.shipments() == ["kept"]
    # The row is lost: the callback is stored, and a person identifies the order.
    with pytest.raises(UnknownOrderError):
        await shop.store.record(order_id=lost.order_id)
    await shop.sandbox.pay(lost.order_id)
    shop.sandbox.assert_callbacks("paid", "paid")
    [attempt] = await shop.store.needs_review()
    assert attempt.reference == "lost"
    async with shop.store.engine.begin() as connection:
        change = await shop.store.resolve(attempt.attempt_id, lost.order_id, connection)
        await shop.ship(change, connection)
    assert await shop.shipments() == ["kept", "lost"]
