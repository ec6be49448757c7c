"""Each database step has a timeout, and fails with one type of error."""

from __future__ import annotations

import asyncio
import socket
import traceback
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

import aurpay_async._db.engine as _engine
from aurpay_async._db.engine import (
    Database,
    execute,
    execute_and_commit,
    require_connection,
    step,
)
from aurpay_async.callbacks import Claim
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import ConfigurationError, StoreUnavailableError

from .silence import LIMIT_S, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..support.postgresql import Server
    from .silence import Proxy

#: Seconds that a busy machine may need; a driver's goodbye takes longer.
SOON_S = 1.9

SILENT = r"did not answer in 0\.3 s"

PASSWORD = "hunter2"


@pytest.fixture(params=["postgresql+asyncpg", "postgresql+psycopg"])
async def proxy(
    request: pytest.FixtureRequest, postgresql_url: str
) -> AsyncIterator[Proxy]:
    """Each driver of PostgreSQL in turn, behind a proxy."""
    async with proxied(
        postgresql_url.replace("postgresql+asyncpg", request.param)
    ) as p:
        yield p


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite+aiosqlite:///{tmp_path}/orders.db"


async def number(database: Database) -> object:
    async with database.connect() as connection:
        return (await execute_and_commit(connection, text("SELECT 7"))).scalar()


def store_at(port: int) -> SqlInbox:
    return SqlInbox(f"postgresql+asyncpg://a:{PASSWORD}@127.0.0.1:{port}/b")


def frames_of(error: BaseException) -> str:
    """Return the text of an error reporter, local variables included."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(shown.format())


async def test_a_pool_without_a_free_connection_is_reported_as_such(
    sqlite: str,
) -> None:
    engine = create_async_engine(sqlite, pool_timeout=0.05)
    database = Database(engine, "a test")
    async with AsyncExitStack() as stack:
        for _ in range(15):
            await stack.enter_async_context(engine.connect())
        with pytest.raises(StoreUnavailableError, match="connections of its") as caught:
            await number(database)
    assert "create_async_engine(url, pool_size=30)" in str(caught.value.advice)
    assert await number(database) == 7
    await engine.dispose()


async def test_silent_server_is_a_timeout_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait for a pooled connection has the same limit."""
    monkeypatch.setitem(_engine.STEP_LIMIT_S, "postgresql", LIMIT_S)
    hung_up = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.transport.abort()
        hung_up.set()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, store_at(port) as store:
        with pytest.raises(StoreUnavailableError, match=SILENT) as caught:
            await store.claim("ab" * 12, "paid")
        await hung_up.wait()
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert PASSWORD not in frames_of(caught.value)


async def test_unreachable_server_is_an_error_without_the_password() -> None:
    """The driver's error is the cause."""
    async with store_at(1) as store:
        with pytest.raises(StoreUnavailableError, match="ConnectionRefused") as caught:
            await store.claim("ab" * 12, "paid")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.retryable
    assert PASSWORD not in frames_of(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense+asyncpg://a:{}@127.0.0.1:1/b",
        "postgresql+asyncpg://a:{}@127.0.0.1:port/b",
        "postgresql+asyncpg://a@127.0.0.1:1/b?password={}&pgbouncer=perhaps",
        "postgresql+nonsense://a@127.0.0.1:1/b?password={}",
        "mysql+aiomysql://a@127.0.0.1:1/b?password={}",
    ],
)
def test_password_of_an_invalid_url_is_in_no_traceback_frame(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SqlInbox(url.format(PASSWORD))
    assert PASSWORD not in frames_of(caught.value)
    assert caught.value.__context__ is None


async def test_statement_without_an_answer_times_out_and_drops_its_connection(
    proxy: Proxy,
) -> None:
    """The connection is closed without a reset and without a goodbye message."""
    database = Database(proxy.url, "a test")
    loop = asyncio.get_running_loop()
    async with database.connect() as connection:
        await execute_and_commit(connection, text("SELECT 1"))
        proxy.silence()
        began = loop.time()
        with pytest.raises(StoreUnavailableError, match=SILENT):
            await execute_and_commit(connection, text("SELECT 2"))
        assert connection.invalidated
    assert loop.time() - began < SOON_S
    proxy.restore()
    assert await number(database) == 7
    await database.aclose()


async def test_commit_without_an_answer_times_out(
    proxy: Proxy,
) -> None:
    database = Database(proxy.url, "a test")

    async def write() -> None:
        async with database.begin() as connection:
            await execute(connection, text("SELECT 1"))
            proxy.silence()

    with pytest.raises(StoreUnavailableError, match=SILENT):
        await write()
    proxy.restore()
    assert await number(database) == 7
    await database.aclose()


async def test_rollback_without_an_answer_keeps_the_original_exception(
    proxy: Proxy,
) -> None:
    database = Database(proxy.url, "a test")
    loop = asyncio.get_running_loop()
    mine = ValueError("the shop's own")

    async def write() -> None:
        async with database.begin() as connection:
            await execute(connection, text("SELECT 1"))
            proxy.silence()
            raise mine

    began = loop.time()
    with pytest.raises(ValueError, match="the shop's own") as caught:
        await write()
    assert loop.time() - began < SOON_S
    assert caught.value is mine
    assert "raise mine" in frames_of(mine)
    proxy.restore()
    assert await number(database) == 7
    await database.aclose()


async def test_ping_replaces_an_idle_connection_that_went_silent(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_engine, "ALIVE_S", 0)
    database = Database(proxy.url, "a test")
    assert await number(database) == await number(database) == 7
    assert proxy.connections == 1
    monkeypatch.setattr(_engine, "PING_LIMIT_S", LIMIT_S)
    proxy.silence()
    proxy.restore()
    assert await number(database) == 7
    assert proxy.connections == 2
    await database.aclose()


async def test_recently_used_connection_is_not_pinged(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_engine, "ALIVE_S", 60)
    database = Database(proxy.url, "a test")
    assert await number(database) == 7
    proxy.silence()
    with pytest.raises(StoreUnavailableError, match=SILENT):
        await number(database)
    proxy.restore()
    assert await number(database) == 7
    await database.aclose()


async def test_connection_closed_by_a_server_restart_is_replaced_without_a_ping(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a shutdown, the server closes each connection after a last message."""
    monkeypatch.setattr(_engine, "ALIVE_S", 60)
    database, admin = Database(proxy.url, "a test"), Database(proxy.url, "a test")
    async with database.connect() as connection:
        own = await connection.scalar(text("SELECT pg_backend_pid()"))
        pooled = await connection.get_raw_connection()
        idle: Any = SimpleNamespace(driver_connection=pooled.driver_connection)
    assert not _engine._may_be_closed(idle)
    async with admin.connect() as connection:
        end = text(f"SELECT pg_terminate_backend({own})")
        assert await connection.scalar(end) is True
    while not _engine._may_be_closed(idle):
        await asyncio.sleep(0)
    assert await number(database) == 7
    assert proxy.connections == 3
    await database.aclose()
    await admin.aclose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_server_restart_fails_no_later_call(
    postgresql: Server, driver: str
) -> None:
    """All pooled connections were used just before it."""
    url = postgresql.new_database().replace("asyncpg", driver)
    async with SqlInbox(url) as inbox:
        await inbox.create_tables()
        for kind in ("before", "after"):
            keys = [f"{kind} {order}" for order in range(12)]
            claims = await asyncio.gather(*(inbox.claim(key, "paid") for key in keys))
            assert all(isinstance(claim, Claim) for claim in claims)
            if kind == "before":
                await asyncio.to_thread(postgresql.restart)
                async with inbox._database.engine.begin() as own:  # an application's
                    assert await own.scalar(text("SELECT 7")) == 7


async def test_claim_and_confirmation_take_one_round_trip_each(proxy: Proxy) -> None:
    """Measured when the connection has prepared both statements."""
    async with SqlInbox(proxy.url) as inbox:
        await inbox.create_tables()
        for order in range(10):
            proxy.round_trips = 0
            claim = await inbox.claim(f"{order:024x}", "paid")
            assert isinstance(claim, Claim)
            await inbox.confirm(claim, "paid")
        assert proxy.connections == 1
        assert proxy.round_trips == 2


async def test_closed_idle_connection_is_replaced_and_an_open_one_is_reused(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_engine, "ALIVE_S", 0)
    database = Database(sqlite, "a test")
    drivers: list[Any] = []
    for _ in range(3):
        async with database.connect() as connection:
            await execute_and_commit(connection, text("SELECT 1"))
            drivers.append((await connection.get_raw_connection()).driver_connection)
        if len(drivers) == 2:
            await drivers[1].close()
    assert drivers[0] is drivers[1]
    assert drivers[1] is not drivers[2]
    await database.aclose()


async def test_cancelled_ping_returns_its_connection_to_the_pool(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_engine, "ALIVE_S", 0)
    database = Database(sqlite, "a test")
    assert await number(database) == 7
    stopped: list[object] = []

    def stop(connection: object) -> None:
        stopped.append(connection)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(_engine, "_ping", stop)
        with pytest.raises(asyncio.CancelledError):
            await number(database)
    assert len(stopped) == 1
    pool: Any = database.engine.pool
    assert pool.checkedout() == 0
    await database.aclose()


@pytest.mark.slow
async def test_aclose_drops_connections_that_cannot_be_closed(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(sqlite, "a test")
    assert await number(database) == 7

    async def fail(_: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(AsyncEngine, "dispose", fail)
        await database.aclose()
    pool: Any = database.engine.pool
    assert pool.checkedin() == 0


async def test_error_of_another_event_loop_has_a_recovery_hint() -> None:
    """The error is a `RuntimeError` of asyncio or of a driver."""

    async def fail() -> None:
        message = "got Future attached to a different loop"
        raise RuntimeError(message)

    with pytest.raises(ConfigurationError, match="engine for each loop"):
        await step("postgresql", fail())


async def test_runtime_error_without_an_event_loop_is_a_database_failure() -> None:
    """A thread that cannot be started is no mistake in the setup."""

    async def fail() -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    with pytest.raises(StoreUnavailableError, match="used: RuntimeError"):
        await step("sqlite", fail())


async def test_cause_is_the_original_driver_error() -> None:
    """SQLAlchemy puts another error in the place of asyncpg's."""

    class StandInError(Exception):
        __module__ = "sqlalchemy.dialects.postgresql.asyncpg"

    driver = OSError("the driver's")

    async def fail() -> None:
        stand_in = StandInError()
        stand_in.__cause__ = driver
        raise DBAPIError("SELECT 1", {"token": "ab12" * 2}, stand_in) from stand_in

    with pytest.raises(StoreUnavailableError, match="OSError") as caught:
        await step("postgresql", fail())
    assert caught.value.__cause__ is driver
    assert "ab12ab12" not in "".join(traceback.format_exception(caught.value))


async def test_aclose_has_the_same_timeout_as_other_steps(proxy: Proxy) -> None:
    database = Database(proxy.url, "a test")
    assert await number(database) == 7
    proxy.silence()
    async with asyncio.timeout(SOON_S):
        await database.aclose()


async def test_exceptions_inside_a_transaction_propagate_and_roll_back(
    sqlite: str,
) -> None:
    """This includes errors of the merchant's own statements."""
    database = Database(sqlite, "a test")
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (number PRIMARY KEY)"))
    insert = text("INSERT INTO numbers VALUES (1)")

    async def fail(connection: AsyncConnection, error: Exception) -> None:
        await connection.execute(insert)
        raise error

    async def insert_twice() -> None:
        async with database.begin() as connection:
            await connection.execute(insert)
            await connection.execute(insert)

    for error in (OSError("x"), TimeoutError("x"), RuntimeError("x")):
        with pytest.raises(type(error)) as caught:
            async with database.begin() as connection:
                await fail(connection, error)
        assert caught.value is error
    with pytest.raises(IntegrityError):
        await insert_twice()
    async with database.connect() as connection:
        assert (
            await execute_and_commit(connection, text("SELECT * FROM numbers"))
        ).all() == []
    await database.aclose()


async def test_context_of_a_database_error_keeps_its_traceback(
    sqlite: str,
) -> None:
    """The context is the merchant's exception."""
    database = Database(sqlite, "a test")
    shop = ValueError("the shop's own")
    async with database.connect() as connection:
        try:
            raise shop
        except ValueError:
            with pytest.raises(StoreUnavailableError):
                await execute(connection, text("SELECT nothing"))
    assert shop.__traceback__ is not None
    await database.aclose()


async def test_session_on_an_unreachable_database_raises_the_same_error() -> None:
    """The session begins its transaction inside this package."""
    engine = create_async_engine("postgresql+asyncpg://shop@127.0.0.1:1/shop")
    async with AsyncSession(engine) as session:
        with pytest.raises(StoreUnavailableError, match="ConnectionRefused"):
            await require_connection(session)


async def test_session_that_is_bound_to_no_database_is_a_configuration_error() -> None:
    """A session with another database for each model is not bound to one either."""
    with pytest.raises(ConfigurationError, match="not <AsyncSession>"):
        await require_connection(AsyncSession())


@pytest.mark.parametrize(
    ("states", "advice"), [("26000", True), ("42P05", True), ("57P01", False)]
)
async def test_pooler_in_transaction_mode_is_recognised_by_its_error(
    states: str, advice: bool
) -> None:
    """PostgreSQL reports a missing or duplicate prepared statement."""

    async def fail() -> None:
        error = Exception("x")
        error.sqlstate = states  # type: ignore[attr-defined]
        raise error

    with pytest.raises(StoreUnavailableError, match=states) as caught:
        await step("postgresql", fail())
    assert ("pgbouncer=true" in str(caught.value)) is advice


def test_sockets_of_both_drivers_are_closed() -> None:
    """Connections that are closed, or have no socket, are ignored."""
    done: list[str] = []
    ours, theirs = socket.socketpair()
    asyncpg = SimpleNamespace(terminate=lambda: done.append("asyncpg"))
    psycopg = SimpleNamespace(fileno=theirs.fileno)
    for driver in (asyncpg, psycopg, SimpleNamespace()):
        for closed, invalidated in ((True, False), (False, True), (False, False)):
            fake: Any = SimpleNamespace(
                closed=closed,
                invalidated=invalidated,
                connection=SimpleNamespace(driver_connection=driver),
            )
            _engine._close_socket(SimpleNamespace(sync_connection=fake))  # type: ignore[arg-type]
    _engine._close_socket(None)
    assert done == ["asyncpg"]
    with ours, theirs:
        assert ours.recv(1) == theirs.recv(1) == b""


def test_idle_connection_of_each_driver_may_be_closed() -> None:
    """A driver knows it, or its socket has received the end of the connection."""

    def may_be_closed(**attributes: Any) -> bool:
        driver: Any = SimpleNamespace(driver_connection=SimpleNamespace(**attributes))
        return _engine._may_be_closed(driver)

    for closed in (True, False):
        assert may_be_closed(is_closed=lambda closed=closed: closed) is closed
    ours, theirs = socket.socketpair()
    with ours:
        assert may_be_closed(closed=True, fileno=ours.fileno)
        assert not may_be_closed(closed=False, fileno=ours.fileno)
        theirs.close()
        assert may_be_closed(closed=False, fileno=ours.fileno)


def test_pool_replaces_only_a_connection_that_was_idle_and_is_closed() -> None:
    closed: Any = SimpleNamespace(driver_connection=SimpleNamespace(closed=True))
    new, idle = (
        SimpleNamespace(info=dict(i)) for i in ((), [(_engine._IDLE_SINCE, 1)])
    )
    _engine._replace_closed(closed, cast("Any", new), closed)
    with pytest.raises(DisconnectionError):
        _engine._replace_closed(closed, cast("Any", idle), closed)
