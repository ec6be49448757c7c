"""One call of the client: sent, read, and reported whatever its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from ._clock import before
from ._events import CallEvent, failure_of
from ._retry import is_retryable
from .errors import AurpayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._clock import Clock
    from ._http import Request, Response
    from ._listeners import Listeners
    from ._transports._base import Transport

_T = TypeVar("_T")


async def make_call(
    request: Request,
    parse: Callable[[Response], _T],
    *,
    transport: Transport,
    clock: Clock,
    listeners: Listeners,
) -> _T:
    """Send `request`, and give what `parse` reads in the answer.

    Raises:
        AurpayError: with `attempts`, `sent_at` and `retryable` filled in.
    """
    began = clock.monotonic()

    def report(outcome: object, attempts: int | None) -> None:
        event = _event(request, clock.monotonic() - began, outcome, attempts)
        listeners.tell(event)

    response: Response | None = None
    try:
        response = await transport.send(request)
        record = parse(response)
    except AurpayError as error:
        if response is not None:  # it came, and cannot be taken
            error.attempts = response.attempts
            error.sent_at = response.sent_at or before(clock, began)
            error.retryable = is_retryable(error, request.safety)
        report(error, error.attempts)
        raise
    except BaseException as interruption:
        report(interruption, None)
        raise
    if listeners.want_calls():
        report(record, response.attempts)
    return record


def _event(
    request: Request, duration_s: float, outcome: object, attempts: int | None
) -> CallEvent:
    error, delivery = failure_of(outcome, request.progress)
    return CallEvent(
        operation=request.operation,
        safety=request.safety,
        attempts=attempts,
        duration_s=duration_s,
        error=error,
        delivery=delivery,
        unknown_fields=_unknown_fields(outcome),
    )


def _unknown_fields(outcome: object) -> int:
    """How many fields of an answer are not known; of a list, those of all rows."""
    rows = getattr(outcome, "items", None)
    if isinstance(rows, tuple):
        return sum(_unknown_fields(row) for row in cast("tuple[object, ...]", rows))
    return len(getattr(outcome, "extra", ()))
