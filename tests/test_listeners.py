"""Logs and spans: who asks is told, who does not costs nothing, and no secret is in."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from aurpay_async import (
    ApiKey,
    AurpayClient,
    AurpayError,
    ConnectionLostError,
    InvalidResponseError,
    RequestOutcome,
    Response,
)
from aurpay_async.testing import FakeClock, MemoryTransport

from .orders import NOW, answer, envelope, order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

CANARY = "canary-7c1e"
URL = f"https://shop.example/paid?token={CANARY}"
LOST = ConnectionLostError("lost", outcome=RequestOutcome.UNKNOWN)


async def call(*answers: Any) -> object:
    """What one call came to."""
    client = AurpayClient(
        ApiKey(CANARY),
        network="regtest",
        transport=MemoryTransport(*answers),
        clock=FakeClock(NOW),
    )
    try:
        return await client.create_order("20.00", "USD", callback_url=URL)
    except AurpayError as error:
        return error


GOOD = answer(envelope(order()))


async def test_at_debug_all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt and each call, by a logger of its own layer, with its fields."""
    caplog.set_level(logging.DEBUG)
    await call(Response(status=429), GOOD)
    told = [
        (r.name, r.levelname, r.getMessage())
        for r in caplog.records
        if r.name.startswith("aurpay_async")
    ]
    assert [(name, level) for name, level, _ in told] == [
        ("aurpay_async.retry", "INFO"),
        ("aurpay_async.retry", "DEBUG"),
        ("aurpay_async.client", "DEBUG"),
    ]
    first, second, last = (text for _, _, text in told)
    assert first.startswith("create_order: attempt 1 ended after 0.000 s with rate_lim")
    assert "retry in" in first
    assert second == "create_order: attempt 2 ended after 0.000 s with HTTP 200"
    assert last.startswith("create_order: done after ")
    record = vars(caplog.records[-1])
    assert record["aurpay_operation"] == "create_order"
    assert record["aurpay_attempts"] == 2
    assert CANARY not in caplog.text + repr([vars(r) for r in caplog.records])


async def test_an_order_that_may_exist_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The one thing that somebody has to look at."""
    caplog.set_level(logging.WARNING)
    await call(LOST)
    (record,) = caplog.records
    assert record.name == "aurpay_async.client"
    assert record.getMessage() == (
        "create_order: failed after 0.000 s with connection_lost and may have succeeded"
    )
    assert vars(record)["aurpay_outcome"] == "unknown"
    caplog.clear()
    await call(Response(status=403))
    assert not caplog.records


async def test_a_look_that_fails_is_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing can have happened by asking, so there is nothing to look at."""
    caplog.set_level(logging.DEBUG)
    client = AurpayClient(
        transport=MemoryTransport(LOST, answer(b"<html>")), clock=FakeClock(NOW)
    )
    with pytest.raises(InvalidResponseError):
        await client.get_order("20260101000000000001")
    attempt, _, call = caplog.records[-3:]
    assert (attempt.levelname, call.levelname) == ("INFO", "DEBUG")
    assert call.getMessage() == (
        f"get_order: failed after {client._clock.monotonic():.3f} s "
        "with invalid_response; order_id='20260101000000000001'"
    )
    assert vars(call)["aurpay_outcome"] == "unknown"
    assert vars(call)["aurpay_effect"] == vars(attempt)["aurpay_effect"] == "read"


async def test_a_listener_that_fails_disturbs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a log's filter nor a span's exporter; and not the others either."""

    def broken(*_: object) -> Any:
        raise KeyError("broken")

    told: list[object] = []
    monkeypatch.setattr("aurpay_async._listeners._record_span", broken)
    monkeypatch.setattr("aurpay_async._listeners._tracer_provider", mock.Mock)
    client = AurpayClient(
        network="regtest",
        transport=MemoryTransport(GOOD, LOST),
        clock=FakeClock(NOW),
        on_event=told.append,
    )
    await client.create_order("20.00", "USD")
    assert "a listener failed" in caplog.text
    logger = logging.getLogger("aurpay_async.client")
    logger.addFilter(broken)
    try:
        with pytest.raises(ConnectionLostError):
            await client.create_order("20.00", "USD")
    finally:
        logger.removeFilter(broken)
    assert len(told) == 4


def test_warnings_reach_stderr_where_logging_is_not_set_up() -> None:
    """As under plain uvicorn: an order may exist, and a listener raised."""
    code = """
import asyncio
from aurpay_async import AurpayClient, AurpayError, ConnectionLostError
from aurpay_async.testing import MemoryTransport

async def main():
    transport = MemoryTransport(ConnectionLostError("lost"))
    client = AurpayClient(transport=transport, on_event=lambda event: {}["mine"])
    try:
        await client.create_order(20, "USD")
    except AurpayError:
        pass

asyncio.run(main())
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "with connection_lost and may have succeeded" in done.stderr
    assert "a listener failed" in done.stderr
    assert "KeyError: 'mine'" in done.stderr
    assert "attempt 1" not in done.stderr


async def test_warning_names_reference_order_and_attempt(
    caplog: pytest.LogCaptureFixture, spans: list[ReadableSpan]
) -> None:
    """The log line, its fields, the events, the span and the error agree."""
    caplog.set_level(logging.WARNING)
    events: list[Any] = []
    came = b'{"code":0,"data":{"order_id":"20260101000000000001","status":'
    client = AurpayClient(
        transport=MemoryTransport(ConnectionLostError("cut", body=came)),
        clock=FakeClock(NOW),
        on_event=events.append,
        reference_key="made-up-key-of-shop",
    )
    with pytest.raises(ConnectionLostError) as caught:
        await client.create_order("20", "USD", reference="cart-42", callback_url=URL)
    assert caught.value.new_order is not None
    attempt_id = caught.value.new_order.attempt_id
    (record,) = caplog.records
    assert record.getMessage() == (
        "create_order: failed after 0.000 s with connection_lost and may have "
        "succeeded;"
        f" reference='cart-42' order_id='20260101000000000001'"
        f" attempt_id='{attempt_id}'"
    )
    expected = {
        "reference": "cart-42",
        "order_id": "20260101000000000001",
        "attempt_id": attempt_id,
    }
    for name, value in expected.items():
        assert vars(record)[f"aurpay_{name}"] == value
        assert (spans[0].attributes or {})[f"aurpay.{name}"] == value
        assert getattr(events[1], name) == value
    assert (events[0].reference, events[0].attempt_id) == ("cart-42", attempt_id)
    assert str(caught.value) == (
        "cut; outcome=unknown reference='cart-42' order_id='20260101000000000001'"
    )
    assert "aurpay_ref" not in caplog.text + repr(events) + str(caught.value)


async def test_what_nobody_asked_for_is_not_even_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No listener, no cost."""
    monkeypatch.setattr("aurpay_async._calls.CallEvent", None)
    monkeypatch.setattr("aurpay_async._transports._retrying.AttemptEvent", None)
    monkeypatch.setattr("aurpay_async._listeners._tracer_provider", lambda: None)
    await call(GOOD)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReadableSpan]]:
    """What OpenTelemetry is told, set up as a program would."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="not installed")
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
        InMemorySpanExporter,
    )

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    seen: list[ReadableSpan] = []
    monkeypatch.setattr(exporter, "export", seen.extend)
    yield seen
    provider.shutdown()


async def test_one_span_for_a_call(spans: list[ReadableSpan]) -> None:
    """However many attempts it took; their number is on it."""
    await call(Response(status=429), GOOD)
    (span,) = spans
    assert span.name == "aurpay create_order"
    assert span.attributes == {
        "aurpay.operation": "create_order",
        "aurpay.attempts": 2,
        "aurpay.order_id": order()["order_id"],
    }
    assert span.status.is_ok
    assert span.start_time is not None
    assert abs(span.start_time - NOW.timestamp() * 1e9) < 1000


async def test_a_span_of_a_failure(spans: list[ReadableSpan]) -> None:
    """What kind of failure, and how far it got; no text of it."""
    await call(LOST)
    (span,) = spans
    assert span.attributes == {
        "aurpay.operation": "create_order",
        "aurpay.attempts": 1,
        "aurpay.outcome": "unknown",
        "error.type": "connection_lost",
    }
    assert not span.status.is_ok
    assert CANARY not in span.to_json()


async def test_a_span_of_a_cancelled_call(spans: list[ReadableSpan]) -> None:
    """How many attempts there were is not known then."""

    def cancelled(_: object) -> Response:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await call(cancelled)
    (span,) = spans
    assert span.attributes == {
        "aurpay.operation": "create_order",
        "aurpay.outcome": "unknown",
        "error.type": "cancelled",
    }


async def test_a_program_that_has_not_set_up_tracer_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is traced, and nothing is paid for it."""
    trace = pytest.importorskip("opentelemetry.trace", reason="not installed")
    from aurpay_async import _listeners

    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    assert _listeners._tracer_provider() is None
    # A provider that cannot be set up fails before it is there; half loaded, it lacks.
    for broken in (mock.Mock(side_effect=StopIteration), None):
        monkeypatch.setattr(trace, "get_tracer_provider", broken)
        assert _listeners._tracer_provider() is None
        assert not isinstance(await call(GOOD), AurpayError)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert _listeners._tracer_provider() is None
