"""Classification of exceptions: those that leave a task, and temporary ones."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from aurpay_async.callbacks._notifications import (
    StepTimeoutError,
    is_temporary,
    propagates,
)
from aurpay_async.errors import ServerError, StoreUnavailableError


def build_error(sqlstate: str) -> Exception:
    """Return an exception as asyncpg and psycopg raise them."""
    error = Exception("could not serialize access")
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error


def chain(*errors: BaseException) -> BaseException:
    """Return the first error, each caused by the next."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def make_retryable(error: Any) -> BaseException:
    """Mark an error of the client as retryable."""
    error.retryable = True
    return error  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "error",
    [
        StepTimeoutError("x"),
        StoreUnavailableError("x"),
        make_retryable(ServerError("x", status=503, outcome=None)),  # type: ignore[arg-type]
        build_error("40001"),
        build_error("40P01"),
        DBAPIError("UPDATE carts", {}, build_error("40001")),
        chain(ValueError("Django's own"), build_error("40001")),
        ExceptionGroup("x", [build_error("40001"), StoreUnavailableError("y")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_temporary_failures_request_another_delivery(error: BaseException) -> None:
    assert is_temporary(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        build_error("23505"),
        DBAPIError("UPDATE carts", {}, build_error("23505")),
        ServerError("x", status=503, outcome=None),  # type: ignore[arg-type]
        ExceptionGroup("x", [build_error("40001"), ValueError("a bug")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_failures_do_not_request_another_delivery(error: BaseException) -> None:
    assert not is_temporary(error)


async def test_exits_propagate_and_foreign_cancellations_do_not() -> None:
    for error in (SystemExit(), KeyboardInterrupt(), GeneratorExit()):
        assert propagates(error)
        assert propagates(BaseExceptionGroup("x", [ValueError(), error]))
    for foreign in (ValueError(), asyncio.CancelledError()):
        assert not propagates(foreign)
        assert not propagates(BaseExceptionGroup("x", [foreign]))


async def test_cancellation_of_the_current_task_propagates() -> None:
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
    loop = asyncio.new_event_loop()
    result = []
    loop.call_soon(lambda: result.append(propagates(asyncio.CancelledError())))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert result == [True]
