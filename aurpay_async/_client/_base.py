"""One call of the client: send the request, parse the response, emit an event."""

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


async def send_and_parse(
    request: Request,
    parse: Callable[[Response], _T],
    *,
    transport: Transport,
    clock: Clock,
    instrumentation: Instrumentation,
    complete: Callable[[AurpayError], None] | None = None,
) -> _T:
    """Send `request`, and return the record that `parse` makes of the response.

    `complete` adds to an error the data of the calling method, before the event.

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
        if response is not None:  # received, and rejected by `parse`
            error.attempts = response.attempts
            error.sent_at = response.sent_at or wall_time_at(clock, began)
            error.retryable = is_retryable(error, request.effect)
            diagnose_clock(error, request, response, clock.now())
        error.writes = request.effect is not Effect.READ
        _attach_order_id(error)
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


def _attach_order_id(error: AurpayError) -> None:
    """Attach the order id in the cut-off response to a call that writes."""
    if error.writes and isinstance(error, TransportError) and error.body:
        # Imported here: `LazyTransport.open` has loaded it off the event loop.
        from ._envelope import order_evidence

        error.order_id = order_evidence(error.body).order_id


def _unknown_fields(result: object) -> int:
    """Count the unknown fields of a record, or of all rows of a list."""
    rows = getattr(result, "items", None)
    if isinstance(rows, tuple):
        return sum(_unknown_fields(row) for row in cast("tuple[object, ...]", rows))
    return len(getattr(result, "extra", ()))
