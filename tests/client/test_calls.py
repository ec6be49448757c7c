"""One call: the data on its error, and its event."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from aurpay_async import (
    AurpayClient,
    CallEvent,
    Effect,
    Request,
    RequestOutcome,
    Response,
)
from aurpay_async.errors import AurpayError, InvalidResponseError
from aurpay_async.testing import FakeClock

from ..support.orders import NOW

REQUEST = Request(operation="x", method="GET", path="/", effect=Effect.READ)


@attrs.frozen
class Found:
    """A record parsed from a response."""

    extra: dict[str, int]


@attrs.frozen
class Rows:
    """A page of a list."""

    items: tuple[Found, ...]


class Bench:
    """Calls over one answer, which takes two seconds."""

    def __init__(self, answer: Response | BaseException) -> None:
        self._answer = answer
        self.clock = FakeClock(NOW)
        self.events: list[Any] = []

    async def send(self, _: Request, __: float) -> Response:
        self.clock.advance(2)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    async def call(self, parse: Any, complete: Any = None) -> Any:
        client: Any = AurpayClient(clock=self.clock, on_event=self.events.append)
        client._transport = self
        return await client._send(REQUEST, parse, complete=complete)


def event(**fields: Any) -> CallEvent:
    return CallEvent(
        **{
            "operation": "x",
            "effect": Effect.READ,
            "attempts": 1,
            "duration_s": 2.0,
            "error": None,
            "outcome": None,
            "unknown_fields": 0,
            **fields,
        }
    )


async def test_successful_call_returns_the_record_and_counts_unknown_fields() -> None:
    bench = Bench(Response(status=200, attempts=3))
    found = await bench.call(lambda _: Found({"a": 1, "b": 2}))
    assert found == Found({"a": 1, "b": 2})
    assert bench.events == [event(attempts=3, unknown_fields=2)]


async def test_fields_that_are_not_known_are_counted() -> None:
    """Those of all rows of a list; what has neither rows nor fields has none."""
    rows = Rows((Found({"a": 1}), Found({}), Found({"a": 1, "b": 2})))
    for outcome, count in ((rows, 3), (Rows(()), 0), ({"extra": 1}, 0), (None, 0)):
        bench = Bench(Response(status=200))
        await bench.call(lambda _, outcome=outcome: outcome)
        assert bench.events == [event(unknown_fields=count)]


async def test_unreadable_response_sets_send_time_and_attempts_of_the_error() -> None:

    def parse(_: Response) -> Any:
        raise InvalidResponseError("no")

    bench = Bench(Response(status=200))
    with pytest.raises(InvalidResponseError) as caught:
        await bench.call(parse)
    error = caught.value
    assert (error.attempts, error.sent_at, error.retryable) == (1, NOW, False)
    assert bench.events == [
        event(error="invalid_response", outcome=RequestOutcome.UNKNOWN)
    ]


async def test_transport_error_keeps_the_fields_set_by_the_transport() -> None:
    failed = AurpayError("no")
    failed.attempts = 4
    bench = Bench(failed)
    with pytest.raises(AurpayError) as caught:
        await bench.call(None)
    assert caught.value.attempts == 4
    assert bench.events == [
        event(error="aurpay_error", attempts=4, outcome=RequestOutcome.NOT_SENT)
    ]


async def test_error_is_completed_before_it_is_reported() -> None:
    """An id that belongs to another request is in no log."""

    def parse(_: Response) -> Any:
        raise InvalidResponseError("no", order_id="20260101000000000001")

    def complete(error: AurpayError) -> None:
        error.order_id = None

    bench = Bench(Response(status=200))
    with pytest.raises(InvalidResponseError):
        await bench.call(parse, complete)
    assert bench.events == [
        event(error="invalid_response", outcome=RequestOutcome.UNKNOWN)
    ]


@pytest.mark.parametrize(
    ("interruption", "code"),
    [(asyncio.CancelledError(), "cancelled"), (LookupError("mine"), "foreign")],
)
async def test_interrupted_call_reraises_and_emits_an_event(
    interruption: BaseException, code: str
) -> None:
    bench = Bench(interruption)
    with pytest.raises(type(interruption)):
        await bench.call(None)
    assert bench.events == [
        event(error=code, attempts=None, outcome=RequestOutcome.UNKNOWN)
    ]
