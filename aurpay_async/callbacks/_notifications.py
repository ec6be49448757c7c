"""Classify exceptions: all are answered but exits and the cancellation of the task.

A merchant's handler may raise anything: an exception group of a task group, or the
``CancelledError`` of another task that it awaited. Neither may leave `process`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from ..errors import AurpayError
from ..errors._sqlstate import is_conflict

if TYPE_CHECKING:
    from ..errors import CallbackError

#: Exceptions that end the interpreter, the event loop or a coroutine.
_EXITS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)


class MerchantError(Exception):
    """The merchant's code raised an exception, which is the cause."""


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
    return is_conflict(error)


def without_traceback(error: CallbackError) -> CallbackError:
    """Return a rejection without the frames that hold the rejected request."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
