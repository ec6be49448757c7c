"""OpenTelemetry counts callbacks by result and rule, and claims of the inbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async.errors import ConnectionLostError

from ..support.metrics import measured
from .test_processor import Shop, StoredOrder, build_order

if TYPE_CHECKING:
    from aurpay_async.callbacks import Notification

    from ..support.metrics import Measured

__all__ = ["measured"]


def results(measured: Measured) -> dict[str, int]:
    """Return the number of callbacks by result, and by rule if they were rejected."""
    names = ("aurpay.callback.result", "aurpay.callback.rule")
    counts = measured.points("aurpay.callbacks")
    return {
        ":".join(attributes[name] for name in names if name in attributes): count
        for attributes, count in counts
    }


def claims(measured: Measured) -> dict[str, int]:
    counts = measured.points("aurpay.inbox.claims")
    return {attributes["aurpay.claim.result"]: count for attributes, count in counts}


async def test_callbacks_are_counted_by_their_result(measured: Measured) -> None:
    shop = Shop()
    await shop.receive()
    await shop.receive()
    await shop.receive("timeout")
    assert results(measured) == {"paid": 1, "repeated": 1, "superseded": 1}
    assert claims(measured) == {"granted": 1, "repeated": 1, "superseded": 1}


async def test_rejected_callbacks_are_counted_by_their_rule(measured: Measured) -> None:
    shop = Shop()
    await shop.receive(method="PUT")
    await shop.receive(headers={})
    await shop.receive(headers={})
    shop.stored = StoredOrder(currency="EUR")
    await shop.receive()
    assert results(measured) == {
        "rejected:method": 1,
        "rejected:unsigned": 2,
        "rejected:order": 1,
    }
    assert claims(measured) == {"granted": 1}


async def test_callbacks_that_were_not_processed_are_counted_once_each(
    measured: Measured,
) -> None:
    shop = Shop()
    shop.order = ConnectionLostError("lost")
    await shop.receive()
    shop.order = build_order()
    shop.failure = KeyError("a defect of the handler")
    await shop.receive()
    assert results(measured) == {"not_yet": 1, "failed": 1}


async def test_a_callback_is_counted_even_if_its_request_was_cancelled(
    measured: Measured,
) -> None:
    shop = Shop()
    started, go = asyncio.Event(), asyncio.Event()

    async def wait(_: Notification) -> None:
        started.set()
        await go.wait()

    shop.handler = wait
    request = asyncio.create_task(shop.receive())
    await started.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert results(measured) == {}
    go.set()
    await asyncio.gather(*shop.processor._tasks)
    assert results(measured) == {"paid": 1}


async def test_a_poll_is_not_counted_as_a_callback(measured: Measured) -> None:
    stored: Any = StoredOrder()
    await Shop().processor.poll(stored)
    assert results(measured) == {}
    assert claims(measured) == {"granted": 1}
