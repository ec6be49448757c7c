"""A pool of connections belongs to one process and one event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import aurpay_async._db.engine as _pools
from aurpay_async import AurpayClient
from aurpay_async._db.engine import Database, execute_and_commit
from aurpay_async.callbacks._inbox import Claim
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import ConfigurationError
from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

#: More tasks at once than a pool has connections.
CROWD = 20

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
threads_and_forks = pytest.mark.filterwarnings("ignore:This process .* multi-threaded")


@pytest.fixture(autouse=True)
def _finalised_here() -> Iterator[None]:
    """A child's pools of its parent go with the child; what a test leaves, here."""
    yield
    assert not _pools._inherited
    gc.collect()


async def ask(database: Database) -> list[object]:
    """Use more connections than the pool has, so that tasks wait for it."""

    async def one() -> object:
        async with database.connect() as connection:
            return (await execute_and_commit(connection, text("SELECT 7"))).scalar()

    return await asyncio.gather(*(one() for _ in range(CROWD)))


def in_child(work: Callable[[], Coroutine[Any, Any, object]]) -> int:
    """Return the status of a forked process that awaited this on a loop of its own."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        signal.alarm(20)  # kills it if it hangs
        asyncio.run(work())
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may get out of a fork
        os._exit(1)


@forks
@threads_and_forks
def test_a_forked_child_gets_connections_of_its_own(url: str) -> None:
    """As under ``gunicorn --preload`` and in the prefork pool of Celery."""
    database = Database(url, "a test")
    shared = Database(database.engine, "another test")
    asyncio.run(ask(database))

    async def child() -> None:
        for one in (database, shared):
            assert await ask(one) == [7] * CROWD
        await database.aclose()

    assert in_child(child) == 0
    assert asyncio.run(ask(shared)) == [7] * CROWD
    asyncio.run(database.aclose())


@forks
@threads_and_forks
async def test_a_forked_child_leaves_the_connections_of_its_parent_alone(
    url: str,
) -> None:
    """The parent is in the middle of a transaction while the child works and ends."""
    database = Database(url, "a test")
    idle = Database(url, "another test")
    await ask(idle)
    async with database.begin() as connection:
        await execute_and_commit(connection, text("SELECT 1"))

        async def child() -> None:
            await idle.aclose()
            assert await ask(database) == [7] * CROWD

        assert await asyncio.to_thread(in_child, child) == 0
        assert await connection.scalar(text("SELECT 7")) == 7
    for one in (database, idle):
        assert await ask(one) == [7] * CROWD
        await one.aclose()


@forks
@threads_and_forks
def test_a_forked_child_replaces_the_pool_of_an_engine_that_was_handed_in(
    url: str,
) -> None:
    """The application used it in the parent; this package did not."""
    engine = create_async_engine(url)
    database = Database(engine, "a test")

    async def use() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    asyncio.run(use())

    async def child() -> None:
        assert await ask(database) == [7] * CROWD
        await use()

    assert in_child(child) == 0
    _pools.drop_pool(engine)


@forks
@threads_and_forks
def test_a_store_of_a_stores_engine_is_made_before_the_fork_and_used_after(
    url: str,
) -> None:
    """Both go on with the same engine, which has one pool in each process."""
    client = AurpayClient(reference_key="k" * 20, network="regtest")
    store = OrderStore(client, url)
    inbox = SqlInbox(store.engine)
    asyncio.run(store.upgrade())

    async def child() -> None:
        assert isinstance(await inbox.claim("ab" * 12, "paid"), Claim)
        assert await store.attempts("cart-42") == []

    assert in_child(child) == 0
    assert asyncio.run(store.attempts("cart-42")) == []
    asyncio.run(store.aclose())


@forks
@threads_and_forks
async def test_a_forked_child_waits_for_no_task_of_its_parent(url: str) -> None:
    """The parent is creating an order; the child shows the same one, and ends."""
    async with (
        Sandbox() as sandbox,
        sandbox.client(reference_key="k" * 20) as aurpay,
        OrderStore(aurpay, url) as store,
    ):
        await store.upgrade()
        sandbox.faults.push("delay; seconds=1")
        parent = asyncio.create_task(store.get_or_create("cart-42", "20", "USD"))
        while not [*sandbox.requests]:
            await asyncio.sleep(0.01)

        async def child() -> None:
            order = await store.get_or_create("cart-42", "20", "USD")
            found = await store.attempts("cart-42")
            assert [one.order_id for one in found] == [order.order_id]
            await store.aclose()

        assert await asyncio.to_thread(in_child, child) == 0
        assert (await parent).order_id in sandbox.orders
        assert len(sandbox.orders) == 1


def test_a_new_event_loop_gets_connections_of_its_own(url: str) -> None:
    """When the loop that the old ones belong to was closed."""
    database = Database(url, "a test")
    engine = database.engine
    for _ in range(3):
        assert asyncio.run(ask(database)) == [7] * CROWD
    assert database.engine is engine
    asyncio.run(database.aclose())


def test_the_engine_of_a_database_is_that_of_the_running_loop(url: str) -> None:
    """So a transaction that the application begins there has connections that work."""
    database = Database(url, "a test")

    async def use() -> None:
        async with database.engine.begin() as connection:
            await connection.execute(text("SELECT 1"))

    for _ in range(2):
        asyncio.run(use())
    asyncio.run(database.aclose())


def test_connections_that_the_application_left_on_a_closed_loop(url: str) -> None:
    """The error says what to do, or the driver does not mind."""
    engine = create_async_engine(url)

    async def use() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    asyncio.run(use())
    database = Database(engine, "a test")
    if "asyncpg" in url:
        with pytest.raises(ConfigurationError, match="another event loop: `await"):
            asyncio.run(ask(database))
    else:
        assert asyncio.run(ask(database)) == [7] * CROWD
    _pools.drop_pool(engine)


@pytest.fixture
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def there(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, object]) -> object:
    return asyncio.run_coroutine_threadsafe(work, loop).result(20)


async def test_a_second_running_loop_is_refused(
    url: str, other_loop: asyncio.AbstractEventLoop
) -> None:
    """Each use, the engine and the end included."""
    database = Database(url, "a test")
    there(other_loop, ask(database))

    def engine() -> object:
        return database.engine

    for use in (ask, Database.aclose):
        with pytest.raises(ConfigurationError, match="this a test is in use on anoth"):
            await use(database)
    with pytest.raises(ConfigurationError, match="NullPool"):
        engine()
    there(other_loop, database.aclose())


async def test_an_engine_that_keeps_no_connections_serves_several_loops(
    url: str, other_loop: asyncio.AbstractEventLoop
) -> None:
    """As where each request has a loop of its own."""
    database = Database(create_async_engine(url, poolclass=NullPool), "a test")
    there(other_loop, ask(database))
    assert await ask(database) == [7] * CROWD


@pytest.mark.parametrize("used", [True, False])
async def test_closing_on_another_loop_than_the_closed_one(
    url: str, used: bool
) -> None:
    """Whether or not it was ever used; twice is as good as once."""
    database = Database(url, "a test")
    if used:
        await asyncio.to_thread(asyncio.run, ask(database))
    for _ in range(2):
        await database.aclose()
    with pytest.raises(ConfigurationError, match="this a test was closed"):
        await ask(database)


PRELOADED = """
import asyncio, os, sys
from aurpay_async.callbacks.sql import SqlInbox
store = SqlInbox(sys.argv[1])
asyncio.run(store.create_tables())
if not os.fork():
    print(asyncio.run(store.claim("ab" * 12, "paid")).key, flush=True)
    sys.exit(0)
_, status = os.wait()
print(status, asyncio.run(store.claim("ab" * 12, "paid")).value)
"""


@forks
def test_neither_child_nor_parent_hangs_at_its_exit(url: str) -> None:
    """With everything left open."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELOADED, url],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == (f"{'ab' * 12}\n0 busy\n", "")
