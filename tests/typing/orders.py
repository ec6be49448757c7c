"""What type checkers must see of the order book; as `api`, it is not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import assert_type

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from aurpay_async import AurpayClient, LightningOrder, OrderStatus
from aurpay_async.callbacks import CallbackVerifier, Dispatcher, KnownOrder, Notice
from aurpay_async.callbacks.sql import SqlReplayStore
from aurpay_async.orders import (
    Attempt,
    AttemptState,
    Change,
    News,
    OnChange,
    OrderBook,
    Reconciliation,
    upgrade,
)


async def a_book(aurpay: AurpayClient, engine: AsyncEngine) -> None:
    async with OrderBook(aurpay, "sqlite+aiosqlite:///orders.db") as book:
        assert_type(book, OrderBook)
    assert_type(OrderBook(aurpay, engine).engine, AsyncEngine)
    assert_type(OrderBook.metadata, MetaData)
    OrderBook(aurpay)  # type: ignore[call-arg]


async def orders(book: OrderBook) -> None:
    order = await book.open(
        "cart-42", Decimal("20.00"), "USD", callback_url="https://x"
    )
    assert_type(order, LightningOrder)
    await book.open("cart-42", 20.0, "USD")  # type: ignore[arg-type]
    assert_type(await book.attempts("cart-42"), Sequence[Attempt])
    assert_type(await book.surplus(), Sequence[Attempt])


async def news(book: OrderBook, notice: Notice, connection: AsyncConnection) -> None:
    some: News = notice
    change = await book.record(some, connection)
    assert_type(change, Change)
    assert_type(change.settled, bool)
    assert_type(change.before, AttemptState)
    assert_type(await book.settle("20260101000000000001"), Change)
    assert_type(await book.identify("ab", None), Change)
    await book.record("20260101000000000001", 42)  # type: ignore[arg-type]
    assert_type(await book.run(every=60), None)


async def settled(
    notice: Notice, connection: AsyncConnection, session: AsyncSession
) -> None:
    await notice.settle(connection)
    await notice.settle(session)
    await notice.settle("oops")  # type: ignore[arg-type]


async def migrated(engine: AsyncEngine) -> None:
    assert_type(await upgrade(engine), None)
    await upgrade("sqlite+aiosqlite:///orders.db")
    await upgrade(None)  # type: ignore[arg-type]


async def told(change: Change, connection: AsyncConnection) -> None:
    assert_type(change.attempt.order, LightningOrder | None)
    assert_type(change.attempt.suspects, Mapping[str, OrderStatus])
    assert_type(change.attempt.next_look_at, datetime | None)


async def looks(
    book: OrderBook, verifier: CallbackVerifier, aurpay: AurpayClient
) -> None:
    on_change: OnChange = told
    done = await book.reconcile(limit=10, on_change=on_change)
    assert_type(done, Reconciliation)
    assert_type(done.failures[0].error, BaseException)
    Dispatcher(
        verifier,
        handler,
        lookup=book.lookup,
        reader=aurpay,
        store=SqlReplayStore(book.engine),
    )


async def handler(notice: Notice) -> None:
    known: KnownOrder | None = notice.known
    assert_type(known, KnownOrder | None)
