"""Which exceptions leave a task, and which ask for another delivery."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from aurpay_async.callbacks._failures import StepTimeoutError, is_temporary, propagates
from aurpay_async.errors import ServerError, StoreUnavailableError


def error_with(sqlstate: str) -> Exception:
    """Return an exception as asyncpg and psycopg raise them."""
    error = Exception("could not serialize access")
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error


def chained(*errors: BaseException) -> BaseException:
    """Return the first error, each caused by the next."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def retryable(error: Any) -> BaseException:
    """Return an error of the client that says that the call may be made again."""
    error.retryable = True
    return error  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "error",
    [
        StepTimeoutError("x"),
        StoreUnavailableError("x"),
        retryable(ServerError("x", status=503, outcome=None)),  # type: ignore[arg-type]
        error_with("40001"),
        error_with("40P01"),
        DBAPIError("UPDATE carts", {}, error_with("40001")),
        chained(ValueError("Django's own"), error_with("40001")),
        ExceptionGroup("x", [error_with("40001"), StoreUnavailableError("y")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_temporary_failures_ask_for_another_delivery(error: BaseException) -> None:
    """As drivers, SQLAlchemy, Django and the client raise them."""
    assert is_temporary(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        error_with("23505"),
        DBAPIError("UPDATE carts", {}, error_with("23505")),
        ServerError("x", status=503, outcome=None),  # type: ignore[arg-type]
        ExceptionGroup("x", [error_with("40001"), ValueError("a bug")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_failures_do_not_ask_for_another_delivery(error: BaseException) -> None:
    """A bug in the merchant's code is not repaired by a repetition."""
    assert not is_temporary(error)


async def test_only_exits_and_own_cancellation_leave_a_task() -> None:
    """Alone or within a group."""
    for error in (SystemExit(), KeyboardInterrupt(), GeneratorExit()):
        assert propagates(error)
        assert propagates(BaseExceptionGroup("x", [ValueError(), error]))
    for foreign in (ValueError(), asyncio.CancelledError()):
        assert not propagates(foreign)
        assert not propagates(BaseExceptionGroup("x", [foreign]))


async def test_cancellation_of_the_current_task_leaves_it() -> None:
    """A server that cancels a request must see it cancelled."""
    seen = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(propagates(error))

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert seen == [True]


def test_cancellation_outside_of_any_task_propagates() -> None:
    """Nothing says whose it is."""
    loop = asyncio.new_event_loop()
    result = []
    loop.call_soon(lambda: result.append(propagates(asyncio.CancelledError())))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert result == [True]
