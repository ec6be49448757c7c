"""Logs and spans: their content, their cost, and no secrets."""

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
from aurpay_async._core.events import log_fields
from aurpay_async.testing import FakeClock, MemoryTransport

from ..support.orders import NOW, build_order, build_response, wrap_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

CANARY = "canary-7c1e"
URL = f"https://shop.example/paid?token={CANARY}"
LOST = ConnectionLostError("lost", outcome=RequestOutcome.UNKNOWN)


async def call_create_order(*answers: Any) -> object:
    """Return the order, or the error that was raised."""
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


GOOD = build_response(wrap_data(build_order()))


async def test_every_attempt_and_call_is_logged_at_debug_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    await call_create_order(Response(status=429), GOOD)
    logged = [
        (r.name, r.levelname, r.getMessage())
        for r in caplog.records
        if r.name.startswith("aurpay_async")
    ]
    assert [(name, level) for name, level, _ in logged] == [
        ("aurpay_async.retry", "INFO"),
        ("aurpay_async.retry", "DEBUG"),
        ("aurpay_async.client", "DEBUG"),
    ]
    first, second, last = (text for _, _, text in logged)
    assert first.startswith("create_order: attempt 1 ended after 0.000 s with rate_lim")
    assert "retry in" in first
    assert second == "create_order: attempt 2 ended after 0.000 s with HTTP 200"
    assert last.startswith("create_order: done after ")
    record = vars(caplog.records[-1])
    assert record["aurpay_operation"] == "create_order"
    assert record["aurpay_attempts"] == 2
    assert CANARY not in caplog.text + repr([vars(r) for r in caplog.records])


async def test_an_order_that_may_exist_is_logged_as_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    await call_create_order(LOST)
    (record,) = caplog.records
    assert record.name == "aurpay_async.client"
    assert record.getMessage() == (
        "create_order: failed after 0.000 s with connection_lost and may have succeeded"
    )
    assert vars(record)["aurpay_outcome"] == "unknown"
    caplog.clear()
    await call_create_order(Response(status=403))
    assert not caplog.records


async def test_a_failed_query_is_not_logged_as_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    client = AurpayClient(
        transport=MemoryTransport(LOST, build_response(b"<html>")), clock=FakeClock(NOW)
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


async def test_an_exception_in_a_listener_changes_neither_the_call_nor_other_listeners(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:

    def broken(*_: object) -> Any:
        raise KeyError("broken")

    events: list[object] = []
    monkeypatch.setattr("aurpay_async._core.events._record_span", broken)
    monkeypatch.setattr("aurpay_async._core.events._tracer_provider", mock.Mock)
    client = AurpayClient(
        network="regtest",
        transport=MemoryTransport(GOOD, LOST),
        clock=FakeClock(NOW),
        on_event=events.append,
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
    assert len(events) == 4


@pytest.mark.slow
def test_warnings_are_written_to_stderr_if_logging_is_not_configured() -> None:
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


async def test_warning_event_span_and_error_have_the_same_identifiers(
    caplog: pytest.LogCaptureFixture, spans: list[ReadableSpan]
) -> None:
    caplog.set_level(logging.WARNING)
    events: list[Any] = []
    body = b'{"code":0,"data":{"order_id":"20260101000000000001","status":'
    client = AurpayClient(
        transport=MemoryTransport(ConnectionLostError("cut", body=body)),
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


def test_fields_of_a_log_record_are_in_its_text_and_are_attributes_of_the_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = LookupError("no such cart")
    logger = logging.getLogger("aurpay_async.orders")
    log_fields(
        logger,
        logging.ERROR,
        {"reference": "cart\n42", "order_id": None, "outcome": "failed"},
        "100 %% of %s failed",
        "polls",
        error=error,
    )
    log_fields(logger, logging.WARNING, {"order_id": None}, "a message without fields")
    first, second = caplog.records
    assert first.getMessage() == (
        "100 % of polls failed; reference='cart\\n42' outcome='failed'"
    )
    # Error trackers group by it, and show where the package logged.
    assert first.msg == "100 %% of %s failed%s"
    assert first.filename == "test_events.py"
    assert first.exc_info
    assert first.exc_info[1] is error
    values = {k: v for k, v in vars(first).items() if k.startswith("aurpay_")}
    assert values == {
        "aurpay_reference": "cart\n42",
        "aurpay_outcome": "failed",
    }
    assert second.getMessage() == "a message without fields"
    assert second.exc_info is None


async def test_no_event_is_created_without_a_listener(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aurpay_async._client._base.CallEvent", None)
    monkeypatch.setattr("aurpay_async._client.transport.AttemptEvent", None)
    monkeypatch.setattr("aurpay_async._core.events._tracer_provider", lambda: None)
    await call_create_order(GOOD)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReadableSpan]]:
    """Collect the spans of OpenTelemetry, configured as in a program."""
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


async def test_a_call_with_two_attempts_creates_one_span(
    spans: list[ReadableSpan],
) -> None:
    await call_create_order(Response(status=429), GOOD)
    (span,) = spans
    assert span.name == "aurpay create_order"
    assert span.attributes == {
        "aurpay.operation": "create_order",
        "aurpay.attempts": 2,
        "aurpay.order_id": build_order()["order_id"],
    }
    assert span.status.is_ok
    assert span.start_time is not None
    assert abs(span.start_time - NOW.timestamp() * 1e9) < 1000


async def test_the_span_of_a_failed_call_has_error_type_and_outcome(
    spans: list[ReadableSpan],
) -> None:
    await call_create_order(LOST)
    (span,) = spans
    assert span.attributes == {
        "aurpay.operation": "create_order",
        "aurpay.attempts": 1,
        "aurpay.outcome": "unknown",
        "error.type": "connection_lost",
    }
    assert not span.status.is_ok
    assert CANARY not in span.to_json()


async def test_the_span_of_a_cancelled_call_has_no_number_of_attempts(
    spans: list[ReadableSpan],
) -> None:

    def cancelled(_: object) -> Response:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await call_create_order(cancelled)
    (span,) = spans
    assert span.attributes == {
        "aurpay.operation": "create_order",
        "aurpay.outcome": "unknown",
        "error.type": "cancelled",
    }


def test_fields_of_a_log_record_are_attributes_of_the_current_span_until_it_ends(
    caplog: pytest.LogCaptureFixture, spans: list[ReadableSpan]
) -> None:
    from opentelemetry import trace

    logger = logging.getLogger("aurpay_async.callbacks")
    tracer = trace.get_tracer_provider().get_tracer("shop")
    with tracer.start_as_current_span("GET /aurpay/callback", end_on_exit=False) as ran:
        fields = {"reference": "cart-42", "order_id": None}
        log_fields(logger, logging.ERROR, fields, "failed")
        ran.end()
        log_fields(logger, logging.ERROR, {"reference": "cart-43"}, "failed")
    (span,) = spans
    assert span.attributes == {"aurpay.reference": "cart-42"}
    assert [record.getMessage() for record in caplog.records] == [
        "failed; reference='cart-42'",
        "failed; reference='cart-43'",
    ]


async def test_no_span_is_created_if_opentelemetry_is_not_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = pytest.importorskip("opentelemetry.trace", reason="not installed")
    import aurpay_async._core.events as _listeners

    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    assert _listeners._tracer_provider() is None
    # A provider that fails to be configured, and a module that is still being imported.
    for broken in (mock.Mock(side_effect=StopIteration), None):
        monkeypatch.setattr(trace, "get_tracer_provider", broken)
        assert _listeners._tracer_provider() is None
        assert not isinstance(await call_create_order(GOOD), AurpayError)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert _listeners._tracer_provider() is None
