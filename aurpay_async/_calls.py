"""One call of the client: sent, read, and reported whatever its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from ._clock import wall_time_at
from ._events import CallEvent, error_and_outcome
from ._http import Effect
from ._retry import is_retryable
from ._skew import diagnose_clock
from .errors import AurpayError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._clock import Clock
    from ._http import Request, Response
    from ._listeners import Instrumentation
    from ._transports._base import Transport

_T = TypeVar("_T")


async def make_call(
    request: Request,
    parse: Callable[[Response], _T],
    *,
    transport: Transport,
    clock: Clock,
    instrumentation: Instrumentation,
    complete: Callable[[AurpayError], None] | None = None,
) -> _T:
    """Send `request`, and give what `parse` reads in the answer.

    `complete` adds to an error what only the caller knows, before it is reported.

    Raises:
        AurpayError: with `attempts`, `sent_at` and `retryable` filled in.
    """
    began = clock.monotonic()

    def report(result: object, attempts: int | None) -> None:
        event = _event(request, clock.monotonic() - began, result, attempts)
        instrumentation.emit(event)

    response: Response | None = None
    try:
        response = await transport.send(request)
        record = parse(response)
    except AurpayError as error:
        if response is not None:  # it came, and cannot be taken
            error.attempts = response.attempts
            error.sent_at = response.sent_at or wall_time_at(clock, began)
            error.retryable = is_retryable(error, request.effect)
            diagnose_clock(error, request, response, clock.now())
        _describe(error, request)
        if complete is not None:
            complete(error)
        report(error, error.attempts)
        raise
    except BaseException as interruption:
        report(interruption, None)
        raise
    if instrumentation.wants_calls():
        report(record, response.attempts)
    return record


def _event(
    request: Request, duration_s: float, result: object, attempts: int | None
) -> CallEvent:
    error, outcome = error_and_outcome(result, request.progress)
    return CallEvent(
        operation=request.operation,
        effect=request.effect,
        attempts=attempts,
        duration_s=duration_s,
        error=error,
        outcome=outcome,
        unknown_fields=_unknown_fields(result),
        reference=request.reference,
        order_id=getattr(result, "order_id", None) or request.order_id,
        attempt_id=request.attempt_id,
    )


def _describe(error: AurpayError, request: Request) -> None:
    """Add to the error of a call that writes what recovery needs."""
    error.writes = request.effect is not Effect.READ
    if error.writes and isinstance(error, TransportError) and error.body:
        # Here and not above: see `Pool.open`, which has loaded it.
        from ._envelope import order_evidence

        error.order_id = order_evidence(error.body).order_id


def _unknown_fields(result: object) -> int:
    """How many fields of an answer are not known; of a list, those of all rows."""
    rows = getattr(result, "items", None)
    if isinstance(rows, tuple):
        return sum(_unknown_fields(row) for row in cast("tuple[object, ...]", rows))
    return len(getattr(result, "extra", ()))
