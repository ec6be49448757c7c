"""Each connection pool belongs to one process and one event loop."""

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
from aurpay_async.callbacks._identity import Claim
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
    """Collect the pools that a test leaves, in the process that owns them."""
    yield
    assert not _pools._inherited
    gc.collect(1)  # the objects of the test are young


async def query(database: Database) -> list[object]:
    """Run more queries than the pool has connections, so that tasks wait for one."""

    async def one() -> object:
        async with database.connect() as connection:
            return (await execute_and_commit(connection, text("SELECT 7"))).scalar()

    return await asyncio.gather(*(one() for _ in range(CROWD)))


def in_child(work: Callable[[], Coroutine[Any, Any, object]]) -> int:
    """Fork a process that runs this on a new event loop, and return its status."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        signal.alarm(20)  # kills it if it hangs
        asyncio.run(work())
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may get out of a fork
        os._exit(1)


@pytest.mark.slow
@forks
@threads_and_forks
def test_forked_child_opens_new_connections(url: str) -> None:
    """`gunicorn --preload` and the prefork pool of Celery fork like this."""
    database = Database(url, "a test")
    shared = Database(database.engine, "another test")
    asyncio.run(query(database))

    async def child() -> None:
        for one in (database, shared):
            assert await query(one) == [7] * CROWD
        await database.aclose()

    assert in_child(child) == 0
    assert asyncio.run(query(shared)) == [7] * CROWD
    asyncio.run(database.aclose())


@pytest.mark.slow
@forks
@threads_and_forks
async def test_forked_child_does_not_touch_the_connections_of_its_parent(
    url: str,
) -> None:
    """The parent is in a transaction while the child works and ends."""
    database = Database(url, "a test")
    idle = Database(url, "another test")
    await query(idle)
    async with database.begin() as connection:
        await execute_and_commit(connection, text("SELECT 1"))

        async def child() -> None:
            await idle.aclose()
            assert await query(database) == [7] * CROWD

        assert await asyncio.to_thread(in_child, child) == 0
        assert await connection.scalar(text("SELECT 7")) == 7
    for one in (database, idle):
        assert await query(one) == [7] * CROWD
        await one.aclose()


@pytest.mark.slow
@forks
@threads_and_forks
def test_forked_child_replaces_the_pool_of_the_applications_engine(
    url: str,
) -> None:
    """The application, not this package, used it in the parent."""
    engine = create_async_engine(url)
    database = Database(engine, "a test")

    async def use() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    asyncio.run(use())

    async def child() -> None:
        assert await query(database) == [7] * CROWD
        await use()

    assert in_child(child) == 0
    _pools.drop_pool(engine)


@pytest.mark.slow
@forks
@threads_and_forks
def test_stores_that_share_an_engine_before_a_fork_work_after_it(
    url: str,
) -> None:
    """The engine has one pool in each process."""
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
async def test_forked_child_does_not_wait_for_a_writer_of_its_parent(url: str) -> None:
    """The parent has the turn of the writers, and does not write yet."""
    database = Database(url, "a test")
    async with database.begin():

        async def child() -> None:
            async with database.begin() as connection:
                assert await connection.scalar(text("SELECT 7")) == 7
            await database.aclose()

        assert await asyncio.to_thread(in_child, child) == 0
    await database.aclose()


@pytest.mark.slow
@forks
@threads_and_forks
async def test_forked_child_does_not_wait_for_the_tasks_of_its_parent(url: str) -> None:
    """The parent is creating an order; the child returns the same one, and ends."""
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


def test_new_event_loop_opens_new_connections(url: str) -> None:
    """The loop of the old connections was closed."""
    database = Database(url, "a test")
    engine = database.engine
    for _ in range(3):
        assert asyncio.run(query(database)) == [7] * CROWD
    assert database.engine is engine
    asyncio.run(database.aclose())


def test_engine_property_returns_the_engine_of_the_running_loop(url: str) -> None:
    """A transaction that the application begins there has working connections."""
    database = Database(url, "a test")

    async def use() -> None:
        async with database.engine.begin() as connection:
            await connection.execute(text("SELECT 1"))

    for _ in range(2):
        asyncio.run(use())
    asyncio.run(database.aclose())


def test_connections_left_on_a_closed_loop_raise_an_error_with_the_fix(
    url: str,
) -> None:
    """Drivers other than asyncpg can use such connections."""
    engine = create_async_engine(url)

    async def use() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    asyncio.run(use())
    database = Database(engine, "a test")
    if "asyncpg" in url:
        with pytest.raises(ConfigurationError, match="another event loop: `await"):
            asyncio.run(query(database))
    else:
        assert asyncio.run(query(database)) == [7] * CROWD
    _pools.drop_pool(engine)


@pytest.fixture
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def run_there(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, object]
) -> object:
    return asyncio.run_coroutine_threadsafe(work, loop).result(20)


async def test_second_running_loop_is_rejected(
    url: str, other_loop: asyncio.AbstractEventLoop
) -> None:
    """This holds for each method, the engine property and aclose() included."""
    database = Database(url, "a test")
    run_there(other_loop, query(database))

    def engine() -> object:
        return database.engine

    for use in (query, Database.aclose):
        with pytest.raises(ConfigurationError, match="this a test is in use on anoth"):
            await use(database)
    with pytest.raises(ConfigurationError, match="NullPool"):
        engine()
    run_there(other_loop, database.aclose())


async def test_engine_with_null_pool_serves_several_running_loops(
    url: str, other_loop: asyncio.AbstractEventLoop
) -> None:
    """Some frameworks run each request on a new loop."""
    database = Database(create_async_engine(url, poolclass=NullPool), "a test")
    run_there(other_loop, query(database))
    assert await query(database) == [7] * CROWD


@pytest.mark.parametrize("used", [True, False])
async def test_aclose_works_on_another_loop_and_when_repeated(
    url: str, used: bool
) -> None:
    database = Database(url, "a test")
    if used:
        await asyncio.to_thread(asyncio.run, query(database))
    for _ in range(2):
        await database.aclose()
    with pytest.raises(ConfigurationError, match="this a test was closed"):
        await query(database)


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


@pytest.mark.slow
@forks
def test_forked_child_and_parent_exit_with_open_connections(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELOADED, url],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == (f"{'ab' * 12}\n0 busy\n", "")
