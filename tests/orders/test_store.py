"""Constructor arguments of the order store, and its tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from aurpay_async import AurpayClient
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import ConfigurationError, InvalidRequestError
from aurpay_async.orders import OrderStore

from .platform import REFERENCE_KEY, URLS

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async.testing import FakeClock

    from .platform import Platform

SQLITE = "sqlite+aiosqlite:///orders.db"


class TestTables:
    """Creation and migration of the tables."""

    async def test_tables_on_sqlite_are_created_by_the_first_of_concurrent_calls(
        self, client: AurpayClient, tmp_path: Path
    ) -> None:
        url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
        async with OrderStore(client, url) as store:
            found = await asyncio.gather(*(store.attempts("x") for _ in range(5)))
            assert found == [[]] * 5
            await store.get_or_create("cart-42", 5, "USD")

    async def test_tables_on_postgresql_are_created_by_upgrade_alone(
        self, client: AurpayClient, postgresql_url: str
    ) -> None:
        """Before that, the error tells the caller to run `upgrade`."""
        async with OrderStore(client, postgresql_url) as store:
            with pytest.raises(ConfigurationError, match=r"await store\.upgrade\(\)"):
                await store.get_or_create("cart-42", 5, "USD")
            await store.upgrade()
            await store.get_or_create("cart-42", 5, "USD")

    async def test_table_without_a_column_is_rejected_instead_of_altered(
        self, client: AurpayClient, tmp_path: Path
    ) -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db")
        async with engine.begin() as connection:
            await connection.run_sync(OrderStore.metadata.create_all)
            shorter = "ALTER TABLE aurpay_attempts DROP COLUMN candidates"
            await connection.execute(text(shorter))
        with pytest.raises(
            ConfigurationError, match=r"migrate to OrderStore\.metadata"
        ):
            await OrderStore(client, engine).attempts("cart-42")
        await engine.dispose()

    async def test_second_upgrade_of_the_order_store_changes_nothing(
        self, local: OrderStore
    ) -> None:
        await local.get_or_create("cart-42", 5, "USD")
        await local.upgrade()
        assert len(await local.attempts("cart-42")) == 1

    async def test_tables_created_from_the_metadata_are_accepted(
        self, client: AurpayClient, tmp_path: Path
    ) -> None:
        """`OrderStore.metadata` contains the inbox's table too."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db")
        async with engine.begin() as connection:
            await connection.run_sync(OrderStore.metadata.create_all)
        await OrderStore(client, engine).get_or_create("cart-42", 5, "USD")
        await SqlInbox(engine).claim("ab" * 12, "paid")
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda c: inspect(c).get_table_names())
        assert "aurpay_version" not in names
        await engine.dispose()

    async def test_sql_inbox_creates_only_its_own_table(self, sqlite_url: str) -> None:
        inbox_tables, tables = SqlInbox.metadata.tables, OrderStore.metadata.tables
        assert set(inbox_tables) == {"aurpay_callbacks"} < set(tables)
        async with SqlInbox(sqlite_url) as inbox:
            await inbox.claim("ab" * 12, "paid")


class TestEngines:
    """Engines of the application and engines of the store."""

    async def test_aclose_leaves_the_engine_of_the_application_open(
        self, client: AurpayClient, url: str
    ) -> None:
        engine = create_async_engine(url)
        async with OrderStore(client, engine) as store:
            assert store.engine is engine
            await store.get_or_create("cart-42", 5, "USD")
        async with engine.connect() as connection:
            await connection.execute(text("SELECT * FROM aurpay_attempts"))
        await engine.dispose()

    async def test_order_store_works_on_an_engine_with_serializable_isolation(
        self, client: AurpayClient, platform: Platform, url: str
    ) -> None:
        engine = create_async_engine(url, isolation_level="SERIALIZABLE")
        stores = [OrderStore(client, engine) for _ in range(5)]
        await stores[0].attempts("cart-42")
        orders = await asyncio.gather(
            *(b.get_or_create("cart-42", 5, "USD") for b in stores)
        )
        assert len({order.order_id for order in orders}) == 1
        platform.set(orders[0].order_id, "SUCCESS")
        changes = [await store.record(order_id=orders[0].order_id) for store in stores]
        assert [change.newly_paid for change in changes].count(True) == 1
        await engine.dispose()

    async def test_autocommit_engine_is_rejected_on_sqlite_and_works_on_postgresql(
        self, client: AurpayClient, url: str
    ) -> None:
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        store = OrderStore(client, engine)
        if url.startswith("postgresql"):
            await store.get_or_create("cart-42", 5, "USD")
        else:
            with pytest.raises(ConfigurationError, match="each statement commits"):
                await store.get_or_create("cart-42", 5, "USD")
        await engine.dispose()

    async def test_order_store_takes_an_engine_that_begins_transactions_itself(
        self, client: AurpayClient, platform: Platform, sqlite_url: str
    ) -> None:
        """The engine is set up with SQLAlchemy's recipe for SQLite."""
        engine = create_async_engine(sqlite_url)

        @event.listens_for(engine.sync_engine, "connect")
        def connected(driver: Any, _: object) -> None:
            driver.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def begun(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        stores = [OrderStore(client, engine) for _ in range(5)]
        orders = await asyncio.gather(
            *(store.get_or_create("cart-42", 5, "USD", **URLS) for store in stores)
        )
        assert len({order.order_id for order in orders}) == 1
        assert platform.calls == {"create_order": 1}
        await engine.dispose()

    async def test_closed_order_store_raises_instead_of_opening_connections(
        self, local: OrderStore
    ) -> None:
        await local.aclose()
        await local.aclose()
        with pytest.raises(ConfigurationError, match="this OrderStore was closed"):
            await local.attempts("cart-42")


class TestArguments:
    """Arguments are validated before a connection is opened."""

    @pytest.mark.parametrize(
        ("client", "url", "problem"),
        [
            ("", SQLITE, "client must be an AurpayClient, not str$"),
            (AurpayClient(), SQLITE, "reference_key.*AURPAY_REFERENCE_KEY"),
            (None, "hunter2", "write sqlite"),
            (None, "sqlite+aiosqlite://", "in memory"),
            (None, 7, "OrderStore takes an AsyncEngine"),
        ],
    )
    def test_order_store_rejects_invalid_clients_and_urls(
        self, client: Any, url: Any, problem: str
    ) -> None:
        """The message says what to write instead."""
        if client is None:
            client = AurpayClient(reference_key=REFERENCE_KEY)
        with pytest.raises(ConfigurationError, match=problem):
            OrderStore(client, url)

    @pytest.mark.parametrize("swapped", [False, True])
    @pytest.mark.parametrize(
        ("keys", "options"),
        [({}, {}), ({"reference_key": REFERENCE_KEY}, {"clock": 7})],
    )
    def test_invalid_order_store_shows_no_password_in_message_or_frames(
        self, keys: Any, options: Any, *, swapped: bool
    ) -> None:
        url: Any = "postgresql+asyncpg://user:hunter2@127.0.0.1:1/shop"
        client: Any = AurpayClient(**keys)
        arguments = (url, client) if swapped else (client, url)
        with pytest.raises(ConfigurationError) as caught:
            OrderStore(*arguments, **options)
        assert "hunter2" not in str(caught.value)
        frames = [entry.frame for entry in caught.traceback[1:]]  # without this one
        assert frames
        assert "hunter2" not in repr([frame.f_locals for frame in frames])

    async def test_order_store_of_the_environment_opens_the_named_database(
        self, client: AurpayClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AURPAY_DATABASE", f"sqlite+aiosqlite:///{tmp_path}/x.db")
        async with OrderStore.from_env(client) as store:
            await store.upgrade()
        assert (tmp_path / "x.db").is_file()

    @pytest.mark.parametrize("url", [None, ""])
    def test_order_store_of_the_environment_names_the_missing_variable(
        self, client: AurpayClient, url: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if url is None:
            monkeypatch.delenv("AURPAY_DATABASE", raising=False)
        else:
            monkeypatch.setenv("AURPAY_DATABASE", url)
        with pytest.raises(ConfigurationError, match="AURPAY_DATABASE is not set"):
            OrderStore.from_env(client)

    def test_order_store_of_the_environment_shows_no_password_and_checks_the_clock(
        self, client: AurpayClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(
            "AURPAY_DATABASE", "postgresql+asyncpg://user:hunter2@127.0.0.1:1/shop"
        )
        with pytest.raises(ConfigurationError, match="clock must have now") as caught:
            OrderStore.from_env(client, clock=7)  # type: ignore[arg-type]
        frames = [entry.frame for entry in caught.traceback[1:]]
        assert "hunter2" not in repr([frame.f_locals for frame in frames])

    def test_order_store_rejects_a_clock_without_now(
        self, client: AurpayClient
    ) -> None:
        with pytest.raises(ConfigurationError, match="clock must have now"):
            OrderStore(client, SQLITE, clock=7)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ((None, 5, "USD"), "reference"),
            (("", 5, "USD"), "reference"),
            (("cart-42", 5.0, "USD"), "price"),
            (("cart-42", 5, "dollars"), "currency"),
        ],
    )
    async def test_get_or_create_rejects_invalid_arguments_before_writing_or_sending(
        self, local: OrderStore, platform: Platform, arguments: Any, field: str
    ) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            await local.get_or_create(*arguments)
        assert caught.value.field == field
        assert not await local.attempts("cart-42")
        assert not platform.calls

    async def test_resolve_rejects_an_invalid_order_id(
        self, local: OrderStore, clock: FakeClock
    ) -> None:
        await local.get_or_create("cart-42", 5, "USD", **URLS)
        clock.advance(1)
        with pytest.raises(InvalidRequestError, match="order_id"):
            await local.resolve("ab" * 12, "..")

    @pytest.mark.parametrize(
        "odd", [None, 5, b"ab", ["ab"], "", "\0", "\ud800", "x" * 129]
    )
    async def test_reference_and_attempt_id_that_no_database_can_store_are_rejected(
        self, local: OrderStore, odd: Any
    ) -> None:
        """The string can come from a URL; no driver's error may result from it."""
        with pytest.raises(InvalidRequestError, match=r"^reference: must"):
            await local.attempts(odd)
        with pytest.raises(InvalidRequestError, match=r"^attempt_id: must"):
            await local.resolve(odd, None)
