"""OpenTelemetry metrics of client calls: their values, and no cost without a meter."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import pytest

from aurpay_async import (
    AurpayClient,
    AurpayError,
    ConnectError,
    ConnectionLostError,
    RequestOutcome,
    Response,
)
from aurpay_async._core import events
from aurpay_async.testing import FakeClock, MemoryTransport

from ..support.metrics import measured
from ..support.orders import NOW, build_order, build_response, wrap_data

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Histogram

    from ..support.metrics import Measured

__all__ = ["measured"]

DURATION = "aurpay.client.operation.duration"
ATTEMPTS = "aurpay.client.operation.attempts"
AMBIGUOUS = "aurpay.client.operation.ambiguous"

GOOD = build_response(wrap_data(build_order()))
LOST = ConnectionLostError("lost", outcome=RequestOutcome.UNKNOWN)
BUSY = Response(status=429)


def client_with(*answers: Any) -> AurpayClient:
    transport = MemoryTransport(*answers)
    return AurpayClient(network="regtest", transport=transport, clock=FakeClock(NOW))


async def create_order(*answers: Any) -> object:
    """Return the order, or the error that was raised."""
    try:
        return await client_with(*answers).create_order("20.00", "USD")
    except AurpayError as error:
        return error


async def test_a_call_is_measured_with_its_duration_and_its_attempts(
    measured: Measured,
) -> None:

    def slow(_: object) -> Response:
        clock.advance(2)
        return GOOD

    transport = MemoryTransport(BUSY, slow)
    clock = FakeClock(NOW)
    client = AurpayClient(network="regtest", transport=transport, clock=clock)
    await client.create_order("20.00", "USD")
    operation = {"aurpay.operation": "create_order"}
    assert measured.points(DURATION) == [(operation, 1)]
    assert measured.points(ATTEMPTS) == [(operation, 2)]
    assert measured.points(AMBIGUOUS) == []
    duration = measured.metrics()[DURATION]
    (point,) = cast("Histogram", duration.data).data_points
    assert (duration.unit, point.sum) == ("s", 2 + sum(clock.sleeps))
    assert point.explicit_bounds[0] == 0.005
    assert point.explicit_bounds[-1] == 30


async def test_a_failed_call_is_measured_with_its_outcome_and_its_error(
    measured: Measured,
) -> None:
    await create_order(Response(status=403))
    refused = ConnectError("refused", outcome=RequestOutcome.NOT_SENT)
    await create_order(refused, refused, refused, refused)
    operation = {"aurpay.operation": "create_order"}
    rejected = {"aurpay.outcome": "rejected", "error.type": "permission_denied"}
    not_sent = {"aurpay.outcome": "not_sent", "error.type": "connect"}
    assert measured.points(DURATION) == [
        (operation | rejected, 1),
        (operation | not_sent, 1),
    ]
    assert measured.points(AMBIGUOUS) == []


async def test_calls_that_may_have_succeeded_are_counted_by_operation_and_effect(
    measured: Measured,
) -> None:
    await create_order(LOST)
    await create_order(LOST)
    with pytest.raises(ConnectionLostError):
        await client_with(LOST).refund_order("20260101000000000001")
    with pytest.raises(ConnectionLostError):
        await client_with(*[LOST] * 4).get_order("20260101000000000001")
    assert measured.points(AMBIGUOUS) == [
        ({"aurpay.operation": "create_order", "aurpay.effect": "create"}, 2),
        ({"aurpay.operation": "refund_order", "aurpay.effect": "transfer"}, 1),
    ]


async def test_a_cancelled_create_is_ambiguous_and_its_attempts_are_not_counted(
    measured: Measured,
) -> None:

    def cancelled(_: object) -> Response:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await create_order(cancelled)
    operation = {"aurpay.operation": "create_order"}
    result = {"aurpay.outcome": "unknown", "error.type": "cancelled"}
    assert measured.points(DURATION) == [(operation | result, 1)]
    assert measured.points(AMBIGUOUS) == [(operation | {"aurpay.effect": "create"}, 1)]
    assert measured.points(ATTEMPTS) == []


async def test_nothing_is_measured_if_no_meter_provider_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = pytest.importorskip("opentelemetry.metrics", reason="not installed")
    monkeypatch.setattr(events, "instruments", None)
    monkeypatch.setattr(api._internal, "_METER_PROVIDER", None)
    assert type(api.get_meter_provider()).__name__ == "_ProxyMeterProvider"
    for getter in (
        api.get_meter_provider,
        api.NoOpMeterProvider,
        mock.Mock(side_effect=StopIteration),  # its configuration fails
        None,  # another thread is importing the module
    ):
        monkeypatch.setattr(api, "get_meter_provider", getter)
        assert events.meter_provider() is None
        assert not isinstance(await create_order(GOOD), AurpayError)
        events.count("a counter", {})
    monkeypatch.delitem(sys.modules, "opentelemetry.metrics")
    assert events.meter_provider() is None


async def test_a_meter_that_fails_disturbs_no_call_and_is_logged(
    measured: Measured,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(events, "instruments", mock.Mock(side_effect=KeyError("x")))
    assert not isinstance(await create_order(GOOD), AurpayError)
    assert [record.getMessage() for record in caplog.records] == ["a listener failed"]


async def test_instruments_are_created_once_for_each_provider(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = events.meter_provider()
    with mock.patch.object(first, "get_meter", wraps=first.get_meter) as get_meter:
        await create_order(GOOD)
        await create_order(GOOD)
    get_meter.assert_called_once_with("aurpay_async")
    second = mock.Mock()
    monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: second)
    await create_order(GOOD)
    second.get_meter.assert_called_once_with("aurpay_async")
    assert measured.points(DURATION) == [({"aurpay.operation": "create_order"}, 2)]
