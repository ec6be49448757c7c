"""PgBouncer in transaction mode: each transaction may get another connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from aurpay_async._db.engine import _POOLER_OPTIONS, Database
from aurpay_async._db.migrations import fits, upgrade
from aurpay_async.callbacks._identity import Claim, Taken
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import ConfigurationError
from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from aurpay_async.callbacks._identity import Kind

#: Many more than the pooler has connections.
CROWD = 20


@pytest.fixture(params=["postgresql+asyncpg", "postgresql+psycopg"])
def url(request: pytest.FixtureRequest, pooler_url: str) -> str:
    """The URL of each driver in turn."""
    return pooler_url.replace("postgresql+asyncpg", request.param)


async def take(store: SqlInbox, key: str) -> list[object]:
    """Process some callbacks of one order, one after the other."""
    answers: list[object] = []
    kinds: tuple[Kind, ...] = ("timeout", "timeout", "paid", "paid")
    for kind in kinds:
        claim = await store.claim(key, kind)
        answers.append(claim if isinstance(claim, Taken) else kind)
        if isinstance(claim, Claim):
            await store.confirm(claim, kind)
            assert not await store.holds(claim)
    return answers


async def test_callbacks_are_claimed_through_a_pooler(url: str) -> None:
    """Each connection runs several kinds of statements."""
    async with SqlInbox(f"{url}?pgbouncer=true") as store:
        await store.create_tables()
        answers = await asyncio.gather(*(take(store, f"{n:024}") for n in range(CROWD)))
    handled = ["timeout", Taken.REPEATED, "paid", Taken.REPEATED]
    assert answers == [handled] * CROWD


async def test_orders_are_created_through_a_pooler(url: str) -> None:
    """The engine is set up as the page on orders says."""
    options = dict(_POOLER_OPTIONS[url.removeprefix("postgresql+").partition(":")[0]])
    engine = create_async_engine(url, connect_args=options)
    async with (
        Sandbox() as sandbox,
        sandbox.client(reference_key="k" * 20) as aurpay,
        OrderStore(aurpay, engine) as store,
    ):
        await store.upgrade()
        carts = [f"cart-{number}" for number in range(CROWD)]
        opened = (store.get_or_create(cart, "20", "USD") for cart in carts)
        orders = await asyncio.gather(*opened)
        assert len({order.order_id for order in orders}) == CROWD
        assert len(sandbox.orders) == CROWD
    await engine.dispose()


async def test_concurrent_migrations_through_a_pooler_succeed(url: str) -> None:
    databases = [Database(f"{url}?pgbouncer=true", "a test") for _ in range(4)]
    await asyncio.gather(*map(upgrade, databases))
    assert await fits(databases[0])
    for database in databases:
        await database.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://shop@127.0.0.1/shop?pgbouncer=yes",
        "sqlite+aiosqlite:///orders.db?pgbouncer=true",
    ],
)
def test_pooler_parameter_rejects_other_drivers_and_values(url: str) -> None:
    with pytest.raises(ConfigurationError, match="pgbouncer must be true or false"):
        Database(url, "a test")


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("?pgbouncer=false", {}),
        ("?pgbouncer=true", _POOLER_OPTIONS["asyncpg"]),
    ],
)
def test_pooler_parameter_is_translated_for_the_driver(
    query: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parameter itself would be rejected by asyncpg."""
    made: dict[str, Any] = {}

    def create(url: Any, **others: Any) -> Any:
        made.update(others, url=str(url))
        return create_async_engine(url, **others)

    monkeypatch.setattr("aurpay_async._db.engine.create_async_engine", create)
    Database(f"postgresql+asyncpg://127.0.0.1/shop{query}", "a test")
    assert made["url"] == "postgresql+asyncpg://127.0.0.1/shop"
    assert made["connect_args"] == options
