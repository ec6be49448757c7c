"""Run one step at a database: within a time limit, and with one type of error.

A step is a call that waits for the database: connect, execute, commit, close. Code of
the merchant runs between the steps of a transaction and never inside one, so its
exceptions leave as they are.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import sys
from contextlib import suppress
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError

from ..errors import AurpayError, ConfigurationError, StoreUnavailableError
from ..errors._sqlstate import causes_of, sqlstate_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy import CursorResult, Executable
    from sqlalchemy.ext.asyncio import AsyncConnection

_T = TypeVar("_T")

#: Seconds that one step may take, by dialect.
#:
#: Every statement finds its rows by an index, so PostgreSQL answers within
#: milliseconds unless another transaction holds the row. A connection whose other end
#: disappeared without a reset is silent for many minutes, until TCP gives up; 10 s is
#: below the 15 s and more after which the senders of callbacks and HTTP clients do.
#:
#: SQLite waits up to 15 s for another writer (`SQLITE_BUSY_S`), and a task may have to
#: wait as long for a connection of the pool before.
STEP_LIMIT_S: Final[dict[str, float]] = {"postgresql": 10.0, "sqlite": 32.0}

#: Seconds that a migration may take: an index on a large table takes minutes, and other
#: machines wait for the one that migrates.
MIGRATION_LIMIT_S: Final = 600.0

_SILENT: Final = "the database did not answer in {:g} s"

#: PostgreSQL's invalid_sql_statement_name and duplicate_prepared_statement.
_POOLER_STATES: Final = frozenset({"26000", "42P05"})

_POOLER_ADVICE: Final = (
    "a pooler such as PgBouncer in transaction mode gave the connection to another "
    "client between two statements: add ?pgbouncer=true to the URL, or set your engine "
    "up as the section on poolers of the documentation says"
)


async def execute(
    connection: AsyncConnection, statement: Executable
) -> CursorResult[Any]:
    """Execute a statement and return its result, whose `rowcount` can be read.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time.
    """
    # Of an INSERT, SQLAlchemy forgets the count unless it is told not to.
    options = {"preserve_rowcount": True}
    return await step(
        connection.dialect.name,
        connection.execute(statement, execution_options=options),
        connection,
    )


async def execute_and_commit(
    connection: AsyncConnection, statement: Executable
) -> CursorResult[Any]:
    """Execute a statement and commit it.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time.
    """
    result = await execute(connection, statement)
    await commit(connection)
    return result


async def commit(connection: AsyncConnection) -> None:
    """Commit; a connection whose commit failed does not return to its pool.

    Its transaction may still be open: SQLite cannot commit while another connection
    reads. SQLAlchemy takes a transaction whose commit failed for ended, so the pool
    would keep its lock, and its next user would commit what it wrote.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time; the
            commit may have taken effect.
    """
    dialect = connection.dialect.name
    try:
        await step(dialect, connection.commit(), connection)
    except BaseException:
        with suppress(AurpayError):  # the commit has failed, whatever this comes to
            await step(dialect, connection.invalidate(), connection)
        raise


async def step(
    dialect: str,
    waiting: Awaitable[_T],
    connection: AsyncConnection | None = None,
    limit_s: float | None = None,
) -> _T:
    """Await a call of SQLAlchemy within its time limit.

    Args:
        dialect: The name of the database, which has its limit in `STEP_LIMIT_S`.
        waiting: The call; no code of the merchant runs in it.
        connection: The connection that it uses. Its socket is closed when the time is
            over, because SQLAlchemy would wait for the server to close it.
        limit_s: Another limit, in seconds.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time.
        ConfigurationError: the connection belongs to another event loop.
    """
    limit_s = STEP_LIMIT_S[dialect] if limit_s is None else limit_s
    handled = sys.exc_info()[1]  # of the caller, if this cleans up after an error
    loop = asyncio.get_running_loop()
    # The socket is closed first, so that the driver fails at once. A driver that is
    # cancelled would wait for the server to cancel, and SQLAlchemy to close gracefully.
    closing = loop.call_later(limit_s, _close_socket, connection)
    try:
        async with asyncio.timeout_at(closing.when() + (connection is not None)):
            return await waiting
    except asyncio.CancelledError as error:
        # The connection is closed by now, but what it was reading has a lock for as
        # long as the cursor lives: until these frames are collected as garbage.
        clear_frames(error.__traceback__)
        raise
    except AurpayError:
        raise
    except Exception as error:  # noqa: BLE001 - drivers raise OSError and more
        failure, cause = error, _cause(error, handled)
    finally:
        closing.cancel()
    # Out here, so that the foreign error is no context: its frames hold the password.
    if loop.time() >= closing.when():
        raise StoreUnavailableError(_SILENT.format(limit_s)) from cause
    raise _translated(failure, cause, sqlstate_of(cause)) from cause


def _close_socket(connection: AsyncConnection | None) -> None:
    """Shut the socket of a connection down, so that its driver stops waiting."""
    sync = None if connection is None else connection.sync_connection
    if sync is None or sync.closed or sync.invalidated:
        return
    driver: Any = sync.connection.driver_connection
    if hasattr(driver, "terminate"):  # asyncpg
        driver.terminate()
    elif hasattr(driver, "fileno"):  # psycopg, which closes it itself
        with suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as other:
            other.shutdown(socket.SHUT_RDWR)
    # SQLite has no socket.


def _translated(
    error: Exception, cause: BaseException, state: str | None
) -> AurpayError:
    if type(error) is RuntimeError:  # of asyncio, for objects of another loop
        return ConfigurationError(
            "the engine has connections of another event loop: `await "
            "engine.dispose()` before that loop ends, or make an engine for each loop"
        )
    what = type(cause).__name__ + ("" if state is None else f" {state}")
    if isinstance(cause, sqlite3.Error):
        what = str(cause)  # names tables and columns, and no values
    problem = StoreUnavailableError(f"the database cannot be used: {what}")
    if state in _POOLER_STATES:
        problem.advice = _POOLER_ADVICE
    return problem


def _cause(error: Exception, handled: BaseException | None) -> BaseException:
    """Return the driver's own error, without the frames of its tracebacks.

    Frames of drivers hold the password. What SQLAlchemy makes of a driver's error
    prints the parameters of the statement, and so payment secrets.
    """
    for one in causes_of(error, handled):
        clear_frames(one.__traceback__)
        one.__traceback__ = None
    cause: BaseException = error
    if isinstance(cause, DBAPIError):
        cause = cause.orig or cause
    if type(cause).__module__.startswith("sqlalchemy.dialects"):  # asyncpg's stand-in
        cause = cause.__cause__ or cause
    return cause
