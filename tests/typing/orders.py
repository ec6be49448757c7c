"""Uses of the order store for mypy and pyright; like `api`, it is not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_type

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from aurpay_async import AurpayClient, LightningOrder, OrderStatus
from aurpay_async.callbacks import (
    CallbackProcessor,
    CallbackVerifier,
    KnownOrder,
    Notification,
)
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.orders import (
    Attempt,
    AttemptState,
    Change,
    Health,
    OnChange,
    OrderStore,
    OrderUpdate,
    Reconciliation,
    upgrade,
)


async def a_store(aurpay: AurpayClient, engine: AsyncEngine) -> None:
    async with OrderStore(aurpay, "sqlite+aiosqlite:///orders.db") as store:
        assert_type(store, OrderStore)
    assert_type(OrderStore(aurpay, engine).engine, AsyncEngine)
    assert_type(OrderStore.from_env(aurpay), OrderStore)
    assert_type(OrderStore.metadata, MetaData)
    OrderStore(aurpay)  # type: ignore[call-arg]


async def orders(store: OrderStore) -> None:
    order = await store.get_or_create(
        "cart-42", Decimal("20.00"), "USD", callback_url="https://x/paid"
    )
    assert_type(order, LightningOrder)
    await store.get_or_create("cart-42", 20.0, "USD")  # type: ignore[arg-type]
    assert_type(await store.attempts("cart-42"), Sequence[Attempt])
    assert_type(await store.duplicate_payments(), Sequence[Attempt])
    assert_type(await store.needs_review(limit=10), Sequence[Attempt])
    assert_type(await store.list_attempts(limit=10), Sequence[Attempt])
    await store.list_attempts(state=AttemptState.PAID)
    await store.list_attempts(state="paid")  # type: ignore[arg-type]
    await store.list_attempts(AttemptState.PAID)  # type: ignore[call-arg]
    assert_type(await store.prune(), int)
    await store.prune(timedelta(days=30), paid_older_than=timedelta(days=365))
    await store.prune(30)  # type: ignore[arg-type]


async def updates(
    store: OrderStore, notification: Notification, connection: AsyncConnection
) -> None:
    some: OrderUpdate = notification
    change = await store.record(some, connection=connection)
    assert_type(change, Change)
    assert_type(change.newly_paid, bool)
    assert_type(change.before, AttemptState)
    assert_type(await store.resolve("ab", None), Change)
    assert_type(await store.record(reference="cart-42"), Change)
    assert_type(await store.record(order_id="20260101000000000001"), Change)
    await store.record("20260101000000000001")  # type: ignore[arg-type]
    await store.record(some, connection=42)  # type: ignore[arg-type]
    await store.record(some, connection)  # type: ignore[call-arg, arg-type]
    assert_type(await store.run(every=60), None)
    async with store.running(every=60) as nothing:
        assert_type(nothing, None)
    health = await store.health()
    assert_type(health, Health)
    assert_type(health.lag, timedelta)


async def acknowledged(
    notification: Notification, connection: AsyncConnection, session: AsyncSession
) -> None:
    await notification.ack(connection)
    await notification.ack(session)
    await notification.ack("oops")  # type: ignore[arg-type]


async def migrated(engine: AsyncEngine) -> None:
    assert_type(await upgrade(engine), None)
    await upgrade("sqlite+aiosqlite:///orders.db")
    await upgrade(None)  # type: ignore[arg-type]


async def told(change: Change, connection: AsyncConnection) -> None:
    assert_type(change.attempt.order, LightningOrder | None)
    assert_type(change.attempt.candidates, Mapping[str, OrderStatus])
    assert_type(change.attempt.next_poll_at, datetime | None)


async def looks(
    store: OrderStore, verifier: CallbackVerifier, aurpay: AurpayClient
) -> None:
    on_change: OnChange = told
    done = await store.reconcile(limit=10, on_change=on_change)
    assert_type(done, Reconciliation)
    assert_type(done.failures[0].error, BaseException)
    CallbackProcessor(
        verifier,
        handler,
        lookup=store.lookup,
        reader=aurpay,
        inbox=SqlInbox(store.engine),
    )


async def handler(notification: Notification) -> None:
    known: KnownOrder | None = notification.known
    assert_type(known, KnownOrder | None)
