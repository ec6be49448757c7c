"""Which exceptions are answered: everything but an exit and a cancellation of the task.

A merchant's handler may raise anything: an exception group of a task group, or the
``CancelledError`` of something else that it awaited. Neither may leave `dispatch`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from ..errors import AurpayError

if TYPE_CHECKING:
    from ..errors import CallbackError

#: What ends the interpreter, the event loop or a coroutine.
_EXITS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)

#: PostgreSQL, appendix A: serialization_failure and deadlock_detected. For both, its
#: documentation says to run the whole transaction again.
_RUN_AGAIN: Final = frozenset({"40001", "40P01"})

#: More causes than any driver and framework chain together.
_MAX_CAUSES: Final = 10


class MerchantError(Exception):
    """The merchant's own code raised; its exception is the cause."""


class StepTimeoutError(Exception):
    """A step before the handler did not end within the lease."""


def is_exit(error: BaseException) -> bool:
    """Return whether `error` ends the program, alone or within a group."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.subgroup(_EXITS) is not None
    return isinstance(error, _EXITS)


def propagates(error: BaseException) -> bool:
    """Return whether `error` must leave the current task.

    It must if it ends the program, or if this very task is being cancelled.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return is_exit(error)


def is_temporary(error: BaseException) -> bool:
    """Return whether the same callback may succeed when it is delivered again.

    True for errors of this package that say so (Aurpay or the database cannot be
    reached), and for transactions that the database asks to run again.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(is_temporary(each) for each in group.exceptions)
    if isinstance(error, AurpayError):
        return error.retryable
    if isinstance(error, StepTimeoutError):
        return True
    return _asks_to_run_again(error)


def _asks_to_run_again(error: BaseException) -> bool:
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            break
        # SQLAlchemy keeps the driver's error in `orig`; Django chains it.
        driver = getattr(cause, "orig", None) or cause
        if getattr(driver, "sqlstate", None) in _RUN_AGAIN:
            return True
        cause = cause.__cause__
    return False


def without_traceback(error: CallbackError) -> CallbackError:
    """Return a rejection without the frames that hold what was rejected."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
