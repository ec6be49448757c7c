"""Event records, and their delivery to the hook, the log and OpenTelemetry.

The fields are an allow-list: an event never contains a header value, key, token,
signature, query or body. References, order ids and attempt ids are not secret.

Hook, log and OpenTelemetry get the same frozen records. Events of successful calls and
attempts are created only if a hook, a logger, a tracer or a meter uses them.

Loggers: ``aurpay_async.client`` (calls) and ``aurpay_async.retry`` (attempts). An
order that may exist is logged as a warning, a retry as info, all else as debug.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from enum import Enum
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

import attrs

from ..errors import AurpayError, RequestOutcome, format_facts
from .http import Effect
from .metrics import DURATION, instruments

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from .clock import Clock
    from .http import Progress


@attrs.frozen(kw_only=True)
class AttemptEvent:
    """An attempt to send a request has ended."""

    #: The method of the client, such as ``create_order``.
    operation: str
    #: Effect of a repeated request: a failed READ has changed nothing at Aurpay.
    effect: Effect
    #: Number of the attempt, from 1.
    attempt: int
    duration_s: float
    #: The HTTP status, if a response was received.
    status: int | None
    #: ``code`` of the error, ``cancelled``, or ``foreign`` (a custom transport raised
    #: an exception that is not an `AurpayError`); ``None`` for a response.
    error: str | None
    #: Outcome of the request, if it failed or was cancelled.
    outcome: RequestOutcome | None
    #: Seconds until the next attempt; ``None`` if there is none.
    retry_in_s: float | None
    #: Why the request is retried, or not.
    reason: str
    #: The merchant's reference, Aurpay's id of the order, and the attempt id of the
    #: order to be created; ``None`` where there is none.
    reference: str | None = None
    order_id: str | None = None
    attempt_id: str | None = None


@attrs.frozen(kw_only=True)
class CallEvent:
    """A call of a client method has ended."""

    operation: str
    #: Effect of a repeated request: a failed READ has changed nothing at Aurpay.
    effect: Effect
    #: Number of attempts; ``None`` if the call was cancelled.
    attempts: int | None
    duration_s: float
    #: ``code`` of the error that was raised, ``cancelled`` or ``foreign``.
    error: str | None
    #: Outcome of the request, if it failed or was cancelled.
    outcome: RequestOutcome | None
    #: Number of fields in the response that this version does not know.
    unknown_fields: int
    #: The merchant's reference, Aurpay's id of the order, and the attempt id of the
    #: order to be created; ``None`` where there is none.
    reference: str | None = None
    order_id: str | None = None
    attempt_id: str | None = None


Event = AttemptEvent | CallEvent


def error_and_outcome(
    result: object, progress: Progress
) -> tuple[str | None, RequestOutcome | None]:
    """Return the error code and the outcome that an event reports for a result."""
    if isinstance(result, AurpayError):
        return result.code, result.outcome
    if isinstance(result, BaseException):
        code = "foreign" if isinstance(result, Exception) else "cancelled"
        return code, progress.outcome
    return None, None


_T = TypeVar("_T")


def _configured_provider(module: str, getter: str) -> Any:  # noqa: ANN401 - of an extra
    """Return OpenTelemetry's provider, if the program has configured one.

    Args:
        module: The module of the API; if the program has not imported it, there is no
            provider.
        getter: The name of its function that returns the provider.
    """
    api = sys.modules.get(module)
    if api is None:
        return None
    # Another thread may be importing it, and its own configuration may fail.
    with suppress(Exception):
        provider = getattr(api, getter)()
        # The API's own providers do nothing until the program sets another one.
        return None if type(provider).__module__.startswith(module) else provider
    return None


#: Return the tracer provider, if the program has set one.
_tracer_provider: Final = partial(
    _configured_provider, "opentelemetry.trace", "get_tracer_provider"
)

#: Return the meter provider, if the program has set one.
meter_provider: Final = partial(
    _configured_provider, "opentelemetry.metrics", "get_meter_provider"
)


@final
class Instrumentation:
    """Deliver events; an exception in a listener is logged and ignored."""

    def __init__(self, hook: Callable[[Event], None] | None, clock: Clock) -> None:
        self._hook = hook
        self._clock = clock

    def wants_attempts(self) -> bool:
        """Return whether a listener uses events of successful attempts."""
        return self._hook is not None or _logger(_RETRY).isEnabledFor(_DEBUG)

    def wants_calls(self) -> bool:
        """Return whether a listener uses events of successful calls."""
        if self._hook is not None or _logger(_CLIENT).isEnabledFor(_DEBUG):
            return True
        if "opentelemetry" not in sys.modules:
            return False
        return _tracer_provider() is not None or meter_provider() is not None

    def emit(self, event: Event) -> None:
        """Deliver an event to the hook, the logger and OpenTelemetry."""
        for listener in (self._hook, _log, self._trace, _measure):
            if listener is not None:
                notify(listener, event)

    def _trace(self, event: Event) -> None:
        provider = _tracer_provider()
        if provider is not None and isinstance(event, CallEvent):
            tracer = provider.get_tracer("aurpay_async")
            _record_span(tracer, event, self._clock.now().timestamp())


def notify(listener: Callable[[_T], None], value: _T) -> None:
    """Call a listener; an exception of it is logged, so that the payment goes on."""
    try:
        listener(value)
    except Exception as error:  # noqa: BLE001 - any exception of a listener is logged
        _log_listener_error(error)


def count(name: str, attributes: Mapping[str, str]) -> None:
    """Add 1 to a counter of OpenTelemetry, if the program measures."""
    provider = meter_provider()
    if provider is not None:
        notify(lambda values: instruments(provider)[name].add(1, values), attributes)


def _log_listener_error(error: Exception) -> None:
    # The logger itself may be what fails: its exception cannot be reported.
    with suppress(Exception):
        _logger(_CLIENT).error("a listener failed", exc_info=error)


_DEBUG, _INFO, _WARNING = 10, 20, 30  # levels of logging, which is slow to import

_CLIENT, _RETRY = "client", "retry"


@cache
def _logger(name: str) -> logging.Logger:
    # Imported on use: asyncio has loaded it before the first call.
    import logging

    # No NullHandler is added: in a program without logging configuration, logging's
    # handler of last resort writes the warning that an order may exist to stderr.
    return logging.getLogger(f"aurpay_async.{name}")


def _log(event: Event) -> None:
    logger = _logger(_CLIENT if isinstance(event, CallEvent) else _RETRY)
    level = _level(event)
    if logger.isEnabledFor(level):
        facts = format_facts(_ids(event))
        message = _message(event) + (facts and f";{facts}")
        logger.log(level, "%s", message, extra=_extra(attrs.asdict(event)))


def _extra(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the known fields as the `extra` of a record."""
    return {
        f"aurpay_{name}": value.value if isinstance(value, Enum) else value
        for name, value in fields.items()
        if value is not None
    }


def log_fields(
    logger: logging.Logger,
    level: int,
    fields: Mapping[str, str | None],
    message: str,
    *args: object,
    error: BaseException | None = None,
) -> None:
    """Log a message with fields: in its text, as `extra`, and on the current span.

    Args:
        logger: The logger.
        level: A level of `logging`.
        fields: ``reference``, ``order_id``, ``attempt_id``, ``outcome`` and others that
            are not secret.
        message: A format string, the same for each such event: error trackers group
            records by it.
        args: The arguments of `message`.
        error: The exception, if its traceback is logged.
    """
    facts = format_facts(fields)
    logger.log(
        level,
        f"{message}%s",  # noqa: G004 - the format string stays constant
        *args,
        facts and f";{facts}",
        exc_info=error,
        extra=_extra(fields),
        stacklevel=2,
    )
    if _tracer_provider() is not None:
        notify(_annotate_span, fields)


def _annotate_span(fields: Mapping[str, str | None]) -> None:
    from opentelemetry.trace import get_current_span

    span = get_current_span()
    if span.is_recording():  # it has ended if the request was cancelled
        known = {f"aurpay.{name}": fact for name, fact in fields.items() if fact}
        span.set_attributes(known)


def _level(event: Event) -> int:
    if isinstance(event, AttemptEvent):
        return _DEBUG if event.retry_in_s is None else _INFO
    return _WARNING if _may_have_succeeded(event) else _DEBUG


def _may_have_succeeded(event: CallEvent) -> bool:
    # A READ changes nothing at Aurpay, even if the request was received.
    return event.outcome is RequestOutcome.UNKNOWN and event.effect is not Effect.READ


def _message(event: Event) -> str:
    operation, took = event.operation, f"after {event.duration_s:.3f} s"
    if isinstance(event, AttemptEvent):
        pause = event.retry_in_s
        retry = "" if pause is None else f", retry in {pause:.2f} s"
        outcome = event.error or f"HTTP {event.status}"
        return (
            f"{operation}: attempt {event.attempt} ended {took} with {outcome}{retry}"
        )
    if event.error is None:
        return f"{operation}: done {took}"
    doubt = " and may have succeeded" if _may_have_succeeded(event) else ""
    return f"{operation}: failed {took} with {event.error}{doubt}"


def _ids(event: Event) -> dict[str, str | None]:
    return {
        "reference": event.reference,
        "order_id": event.order_id,
        "attempt_id": event.attempt_id,
    }


def _result(event: CallEvent) -> dict[str, str | int]:
    """Return the attributes of a call that a span and its duration share."""
    outcome = event.outcome and event.outcome.value
    facts = {"aurpay.outcome": outcome, "error.type": event.error}
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return {"aurpay.operation": event.operation, **known}


def _measure(event: Event) -> None:
    provider = meter_provider()
    if provider is None or not isinstance(event, CallEvent):
        return
    operation = {"aurpay.operation": event.operation}
    ours = instruments(provider)
    ours[DURATION].record(event.duration_s, _result(event))
    if event.attempts is not None:
        ours["aurpay.client.operation.attempts"].add(event.attempts, operation)
    if _may_have_succeeded(event):
        effect = {"aurpay.effect": event.effect.value}
        ours["aurpay.client.operation.ambiguous"].add(1, operation | effect)


def _record_span(tracer: Any, event: CallEvent, ended: float) -> None:  # noqa: ANN401
    from opentelemetry.trace import SpanKind, Status, StatusCode

    ids = {"attempts": event.attempts, **_ids(event)}
    known = {f"aurpay.{name}": fact for name, fact in ids.items() if fact is not None}
    span = tracer.start_span(
        f"aurpay {event.operation}",
        kind=SpanKind.CLIENT,
        attributes=_result(event) | known,
        start_time=int((ended - event.duration_s) * 1e9),
    )
    if event.error is not None:
        span.set_status(Status(StatusCode.ERROR))
    span.end(end_time=int(ended * 1e9))


def is_async(function: object) -> bool:
    """Return whether calling the function returns an awaitable."""
    while isinstance(function, partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
