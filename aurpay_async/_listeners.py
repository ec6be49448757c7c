"""Who is told of events: the client's hook, the logger, and OpenTelemetry.

All of them get the same frozen records. What went well is told only if somebody
listens; then a record is not even made.

Loggers: ``aurpay_async.client`` (calls) and ``aurpay_async.retry`` (attempts). An
order that may exist is a warning, another attempt is info, all else is for debugging.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, final

import attrs

from ._events import AttemptEvent, CallEvent
from ._http import Effect
from .errors import RequestOutcome
from .errors._base import format_facts

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from ._clock import Clock
    from ._events import Event

_T = TypeVar("_T")


@final
class Instrumentation:
    """Tells events, and is disturbed by no listener."""

    def __init__(self, hook: Callable[[Event], None] | None, clock: Clock) -> None:
        self._hook = hook
        self._clock = clock

    def wants_attempts(self) -> bool:
        """Whether somebody wants to hear of attempts that went well."""
        return self._hook is not None or _logger(_RETRY).isEnabledFor(_DEBUG)

    def wants_calls(self) -> bool:
        """Whether somebody wants to hear of calls that went well."""
        return (
            self._hook is not None
            or _logger(_CLIENT).isEnabledFor(_DEBUG)
            or _tracing() is not None
        )

    def emit(self, event: Event) -> None:
        """Tell all; none of them can disturb a payment or another listener."""
        for listener in (self._hook, _log, self._trace):
            if listener is not None:
                notify(listener, event)

    def _trace(self, event: Event) -> None:
        provider = _tracing()
        if provider is not None and isinstance(event, CallEvent):
            tracer = provider.get_tracer("aurpay_async")
            _record_span(tracer, event, self._clock.now().timestamp())


def notify(listener: Callable[[_T], None], what: _T) -> None:
    """Tell one listener; if it fails, that is logged and disturbs nobody."""
    try:
        listener(what)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends here
        _complain(error)


def _complain(error: Exception) -> None:
    # If the loggers are at fault themselves, there is nobody left to tell.
    with suppress(Exception):
        _logger(_CLIENT).error("a listener failed", exc_info=error)


_DEBUG, _INFO, _WARNING = 10, 20, 30  # those of logging, which is slow to load

_CLIENT, _RETRY = "client", "retry"


@cache
def _logger(name: str) -> logging.Logger:
    # Whoever makes a call has a loop, and asyncio has loaded this.
    import logging

    # No NullHandler: where a program has set up no logging, a warning that an order may
    # exist goes to stderr, by logging's handler of last resort.
    return logging.getLogger(f"aurpay_async.{name}")


def _log(event: Event) -> None:
    logger = _logger(_CLIENT if isinstance(event, CallEvent) else _RETRY)
    level = _level(event)
    if logger.isEnabledFor(level):
        fields = {
            f"aurpay_{name}": value.value if isinstance(value, Enum) else value
            for name, value in attrs.asdict(event).items()
        }
        facts = format_facts(_subject(event))
        text = _sentence(event) + (facts and f";{facts}")
        logger.log(level, "%s", text, extra=fields)


def _level(event: Event) -> int:
    if isinstance(event, AttemptEvent):
        return _DEBUG if event.retry_in_s is None else _INFO
    return _WARNING if _may_have_happened(event) else _DEBUG


def _may_have_happened(event: CallEvent) -> bool:
    # What reads does nothing, whether it arrived or not.
    return event.outcome is RequestOutcome.UNKNOWN and event.effect is not Effect.READ


def _sentence(event: Event) -> str:
    what, took = event.operation, f"after {event.duration_s:.3f} s"
    if isinstance(event, AttemptEvent):
        pause = event.retry_in_s
        again = "" if pause is None else f", again in {pause:.2f} s"
        outcome = event.error or f"HTTP {event.status}"
        return f"{what}: attempt {event.attempt} ended {took} with {outcome}{again}"
    if event.error is None:
        return f"{what}: done {took}"
    exists = " and may have happened" if _may_have_happened(event) else ""
    return f"{what}: failed {took} with {event.error}{exists}"


def _subject(event: Event) -> dict[str, str | None]:
    return {
        "reference": event.reference,
        "order_id": event.order_id,
        "attempt_id": event.attempt_id,
    }


def _tracing() -> Any:  # noqa: ANN401 - an extra, which type checkers may not have
    """OpenTelemetry's provider, if this program uses it and has set it up."""
    trace = sys.modules.get("opentelemetry.trace")
    # Another thread may be just loading it, and its own set-up may fail.
    with suppress(Exception):
        provider = trace.get_tracer_provider()  # type: ignore[union-attr]
        unset = trace.ProxyTracerProvider | trace.NoOpTracerProvider  # type: ignore[union-attr]
        return None if isinstance(provider, unset) else provider
    return None


def _record_span(tracer: Any, event: CallEvent, ended: float) -> None:  # noqa: ANN401
    from opentelemetry.trace import SpanKind, Status, StatusCode

    attributes: dict[str, str | int] = {"aurpay.operation": event.operation}
    if event.attempts is not None:
        attributes["aurpay.attempts"] = event.attempts
    if event.outcome is not None:
        attributes["aurpay.outcome"] = event.outcome.value
    if event.error is not None:
        attributes["error.type"] = event.error
    for name, fact in _subject(event).items():
        if fact is not None:
            attributes[f"aurpay.{name}"] = fact
    span = tracer.start_span(
        f"aurpay {event.operation}",
        kind=SpanKind.CLIENT,
        attributes=attributes,
        start_time=int((ended - event.duration_s) * 1e9),
    )
    if event.error is not None:
        span.set_status(Status(StatusCode.ERROR))
    span.end(end_time=int(ended * 1e9))
