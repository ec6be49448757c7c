"""Fixtures of the order store: a clock, a platform, a database with the tables."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from aurpay_async import AurpayClient, RetryPolicy
from aurpay_async._db.engine import Database
from aurpay_async._db.migrations import upgrade
from aurpay_async.orders import OrderStore
from aurpay_async.testing import FakeClock

from ..support.postgresql import postgresql, postgresql_url
from .platform import REFERENCE_KEY, Platform

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["postgresql", "postgresql_url"]


@pytest.fixture
def clock() -> FakeClock:
    """Shared by the platform and by all machines."""
    return FakeClock()


@pytest.fixture
def pauses_move_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between two runs move a fake clock, as sleeps do."""
    monkeypatch.setattr(FakeClock, "pause", FakeClock.sleep)


@pytest.fixture
async def platform(clock: FakeClock) -> AsyncIterator[Platform]:
    """The sandbox that all machines share."""
    async with Platform(clock) as platform:
        yield platform


@pytest.fixture
def client(platform: Platform, clock: FakeClock) -> AurpayClient:
    """The client of one machine, without retries."""
    return client_of(platform, clock)


def client_of(platform: Platform, clock: FakeClock) -> AurpayClient:
    """Return the client of another machine."""
    return AurpayClient(
        network="regtest",
        reference_key=REFERENCE_KEY,
        transport=platform,
        clock=clock,
        retry=RetryPolicy(max_attempts=1),
    )


def make_tables(url: str) -> None:
    async def main() -> None:
        database = Database(url, "a test")
        await upgrade(database)
        await database.aclose()

    # In a thread: there may be a loop in this one.
    with ThreadPoolExecutor(max_workers=1) as threads:
        threads.submit(asyncio.run, main()).result()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with the tables; tests copy it."""
    path = tmp_path_factory.mktemp("template") / "orders.db"
    make_tables(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(template: Path, tmp_path: Path) -> str:
    """The URL of a SQLite database with empty tables."""
    path = tmp_path / "orders.db"
    shutil.copy(template, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of each database in turn, with empty tables."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    if request.param == "postgresql":
        make_tables(url)
    return url


_FIRST_ENGINE: dict[str, Any] = {}


def hurry(store: OrderStore) -> OrderStore:
    """Do not wait for the disk: no test outlives a power cut."""
    engine: Any = store.engine.sync_engine
    if engine.dialect.name == "sqlite":
        # Compile each statement once for all tests: the key contains the dialect.
        first = _FIRST_ENGINE.get("sqlite", engine)
        # A dialect reads the version of SQLite when its own engine first connects.
        if first.dialect.server_version_info is None:
            first = _FIRST_ENGINE["sqlite"] = engine
        engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache

        @event.listens_for(engine, "connect")
        def connected(driver: Any, _: object) -> None:
            driver.execute("PRAGMA synchronous=OFF")

    return store


@pytest.fixture
async def store(client: AurpayClient, url: str) -> AsyncIterator[OrderStore]:
    """The order store of one machine, on each database in turn."""
    async with hurry(OrderStore(client, url)) as store:
        yield store


@pytest.fixture
async def local(client: AurpayClient, sqlite_url: str) -> AsyncIterator[OrderStore]:
    """An order store on SQLite, for tests that do not depend on the database."""
    async with hurry(OrderStore(client, sqlite_url)) as store:
        yield store
