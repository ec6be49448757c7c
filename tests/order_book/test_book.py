"""What a book is made with, and the tables that it needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from aurpay_async import AurpayClient
from aurpay_async.callbacks.sql import SqlReplayStore
from aurpay_async.errors import ConfigurationError, InvalidRequestError
from aurpay_async.orders import OrderBook

from .platform import REFERENCE_KEY, URLS

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async.testing import FakeClock

    from .platform import Platform

SQLITE = "sqlite+aiosqlite:///orders.db"


class TestTables:
    """Who makes them."""

    async def test_sqlite_makes_them_by_itself(
        self, client: AurpayClient, tmp_path: Path
    ) -> None:
        """With whatever is called first, however many call it."""
        url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
        async with OrderBook(client, url) as book:
            found = await asyncio.gather(*(book.attempts("x") for _ in range(5)))
            assert found == [[]] * 5
            await book.open("cart-42", 5, "USD")

    async def test_a_server_is_upgraded_when_the_shop_says_so(
        self, client: AurpayClient, postgresql_url: str
    ) -> None:
        """Till then, the error says what to do."""
        async with OrderBook(client, postgresql_url) as book:
            with pytest.raises(ConfigurationError, match=r"await book\.upgrade\(\)"):
                await book.open("cart-42", 5, "USD")
            await book.upgrade()
            await book.open("cart-42", 5, "USD")

    async def test_what_a_shop_has_migrated_by_itself_and_wrongly(
        self, client: AurpayClient, tmp_path: Path
    ) -> None:
        """It is not mended behind the shop's back."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db")
        async with engine.begin() as connection:
            await connection.run_sync(OrderBook.metadata.create_all)
            shorter = "ALTER TABLE aurpay_attempts DROP COLUMN suspects"
            await connection.execute(text(shorter))
        with pytest.raises(ConfigurationError, match=r"migrate to OrderBook\.metadata"):
            await OrderBook(client, engine).attempts("cart-42")
        await engine.dispose()

    async def test_upgrading_again_changes_nothing(self, local: OrderBook) -> None:
        """Whenever the shop deploys."""
        await local.open("cart-42", 5, "USD")
        await local.upgrade()
        assert len(await local.attempts("cart-42")) == 1

    async def test_the_shops_own_migrations_will_do(
        self, client: AurpayClient, tmp_path: Path
    ) -> None:
        """From `OrderBook.metadata`, which has the callback guard's table as well."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db")
        async with engine.begin() as connection:
            await connection.run_sync(OrderBook.metadata.create_all)
        await OrderBook(client, engine).open("cart-42", 5, "USD")
        await SqlReplayStore(engine).claim("ab" * 12, "paid")
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda c: inspect(c).get_table_names())
        assert "aurpay_version" not in names
        await engine.dispose()

    async def test_the_guard_needs_no_more_than_its_own(self, sqlite_url: str) -> None:
        """Who has both takes the book's."""
        guard, book = SqlReplayStore.metadata.tables, OrderBook.metadata.tables
        assert set(guard) == {"aurpay_callbacks"} < set(book)
        async with SqlReplayStore(sqlite_url) as store:
            await store.claim("ab" * 12, "paid")


class TestEngines:
    """The shop's own, or one of the book's."""

    async def test_an_engine_that_was_given_stays_open(
        self, client: AurpayClient, url: str
    ) -> None:
        """Its connections are the shop's."""
        engine = create_async_engine(url)
        async with OrderBook(client, engine) as book:
            assert book.engine is engine
            await book.open("cart-42", 5, "USD")
        async with engine.connect() as connection:
            await connection.execute(text("SELECT * FROM aurpay_attempts"))
        await engine.dispose()

    async def test_a_strict_engine_is_no_obstacle(
        self, client: AurpayClient, platform: Platform, url: str
    ) -> None:
        """Whatever its isolation level: the book has its own."""
        engine = create_async_engine(url, isolation_level="SERIALIZABLE")
        books = [OrderBook(client, engine) for _ in range(5)]
        await books[0].attempts("cart-42")
        orders = await asyncio.gather(*(b.open("cart-42", 5, "USD") for b in books))
        assert len({order.order_id for order in orders}) == 1
        platform.set(orders[0].order_id, "SUCCESS")
        settled = [await book.settle(orders[0].order_id) for book in books]
        assert [change.settled for change in settled].count(True) == 1
        await engine.dispose()

    async def test_an_engine_without_transactions(
        self, client: AurpayClient, url: str
    ) -> None:
        """PostgreSQL gives some all the same; SQLite is refused, with the reason."""
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        book = OrderBook(client, engine)
        if url.startswith("postgresql"):
            await book.open("cart-42", 5, "USD")
        else:
            with pytest.raises(ConfigurationError, match="each statement commits"):
                await book.open("cart-42", 5, "USD")
        await engine.dispose()

    async def test_an_engine_that_begins_by_itself(
        self, client: AurpayClient, platform: Platform, sqlite_url: str
    ) -> None:
        """SQLAlchemy's own recipe for SQLite."""
        engine = create_async_engine(sqlite_url)

        @event.listens_for(engine.sync_engine, "connect")
        def connected(driver: Any, _: object) -> None:
            driver.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def begun(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        books = [OrderBook(client, engine) for _ in range(5)]
        orders = await asyncio.gather(
            *(book.open("cart-42", 5, "USD", **URLS) for book in books)
        )
        assert len({order.order_id for order in orders}) == 1
        assert platform.calls == {"create_order": 1}
        await engine.dispose()

    async def test_a_closed_book_says_so(self, local: OrderBook) -> None:
        """Instead of opening connections that nobody closes."""
        await local.aclose()
        await local.aclose()
        with pytest.raises(ConfigurationError, match="this OrderBook was closed"):
            await local.attempts("cart-42")


class TestArguments:
    """Refused before anything is opened."""

    @pytest.mark.parametrize(
        ("client", "url", "problem"),
        [
            ("", SQLITE, "client must be an AurpayClient, not ''"),
            (AurpayClient(), SQLITE, "needs a reference_key"),
            (None, "hunter2", "write sqlite"),
            (None, "sqlite+aiosqlite://", "in memory"),
            (None, 7, "OrderBook takes an AsyncEngine"),
        ],
    )
    def test_what_cannot_serve(self, client: Any, url: Any, problem: str) -> None:
        """With what to write instead."""
        if client is None:
            client = AurpayClient(reference_key=REFERENCE_KEY)
        with pytest.raises(ConfigurationError, match=problem):
            OrderBook(client, url)

    def test_a_clock_must_be_one(self, client: AurpayClient) -> None:
        """The client's own serves as well."""
        with pytest.raises(ConfigurationError, match="clock must have now"):
            OrderBook(client, SQLITE, clock=7)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ((None, 5, "USD"), "reference"),
            (("", 5, "USD"), "reference"),
            (("cart-42", 5.0, "USD"), "price"),
            (("cart-42", 5, "dollars"), "currency"),
        ],
    )
    async def test_what_cannot_be_asked_for(
        self, local: OrderBook, platform: Platform, arguments: Any, field: str
    ) -> None:
        """Nothing is written down, and nothing is sent."""
        with pytest.raises(InvalidRequestError) as caught:
            await local.open(*arguments)
        assert caught.value.field == field
        assert not await local.attempts("cart-42")
        assert not platform.calls

    async def test_what_cannot_be_looked_up(
        self, local: OrderBook, clock: FakeClock
    ) -> None:
        """A person's mistake is named."""
        await local.open("cart-42", 5, "USD", **URLS)
        clock.advance(1)
        with pytest.raises(InvalidRequestError, match="order_id"):
            await local.identify("ab" * 12, "..")

    @pytest.mark.parametrize(
        "odd", [None, 5, b"ab", ["ab"], "", "\0", "\ud800", "x" * 129]
    )
    async def test_what_no_database_takes(self, local: OrderBook, odd: Any) -> None:
        """It may be a part of somebody's URL: no driver's error comes of it."""
        with pytest.raises(InvalidRequestError, match=r"^reference: must"):
            await local.attempts(odd)
        with pytest.raises(InvalidRequestError, match=r"^nonce: must"):
            await local.identify(odd, None)
