"""Payments over sockets: client, sandbox, callback, handler and shipment."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from aurpay_async import LightningOrder
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from aurpay_async.contrib.aiohttp import callback_handler
from aurpay_async.errors import ConnectionLostError
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._faults import CALLBACK_FAULTS
from aurpay_async.testing import FakeClock

from .callbacks.samples import KEY, NOW, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aurpay_async import AurpayClient
    from aurpay_async.callbacks import Notification, Reference


class Shop:
    """A shop that stores its orders, and records its shipments."""

    def __init__(self, sandbox: Sandbox, aurpay: AurpayClient) -> None:
        self.sandbox = sandbox
        self.aurpay = aurpay
        self.shipments: list[str] = []
        self.outcomes: list[str] = []
        self.url = ""
        self._orders: dict[str, str] = {}
        verifier = CallbackVerifier(
            secrets=[sandbox.callback_secret],
            tokens=[sandbox.callback_token],
            reference_key=KEY,
            clock=FakeClock(NOW),
        )
        self.processor = CallbackProcessor(
            verifier,
            self._handle,
            reader=aurpay,
            lookup=self._lookup,
            inbox=MemoryInbox(),
            clock=FakeClock(NOW),
        )

    async def order(self, reference: str = "cart-42") -> LightningOrder:
        order = await self.aurpay.create_order(
            "20.00",
            "USD",
            reference=reference,
            callback_url=f"{self.url}/paid?shop=a%2Fb",
            timeout_callback=f"{self.url}/timeout",
        )
        self._orders[reference] = order.to_json()
        return order

    async def _lookup(self, reference: Reference) -> LightningOrder | None:
        stored = self._orders.get(reference.reference)
        return None if stored is None else LightningOrder.from_json(stored)

    async def _handle(self, notification: Notification) -> None:
        if not notification.confirmed:
            raise LookupError(notification.reason)  # the next delivery is handled
        self.outcomes.append(notification.outcome)
        if notification.outcome in {"paid", "late_paid"}:
            self.shipments.append(notification.reference)


@asynccontextmanager
async def open_shop(**options: Any) -> AsyncIterator[Shop]:
    """Serve a shop and a sandbox that reach each other."""
    clock = FakeClock(NOW)
    async with (
        Sandbox(clock=clock, **options) as sandbox,
        sandbox.client(reference_key=KEY) as aurpay,
    ):
        shop = Shop(sandbox, aurpay)
        app = web.Application()
        runner = web.AppRunner(app, shutdown_timeout=0)

        async def handle(request: web.Request) -> web.Response:
            return await callback_handler(shop.processor, public_base_url=shop.url)(
                request
            )

        app.router.add_route("*", "/{path:.*}", handle)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        shop.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield shop
        await runner.cleanup()


#: By the fault of a payment's callback: the shop's statuses, and its shipments.
PAID: dict[str, tuple[list[int | None], int]] = {
    "twice; times=3": ([200, 200, 200], 1),
    "retry; times=3; seconds=1": ([200], 1),
    "lost": ([None], 0),
    "late; seconds=200": ([200], 1),
    "stale": ([401], 0),
    "future": ([401], 0),
    "wrong-signature": ([401], 0),
    "wrong-token": ([401], 0),
    "no-signature": ([401], 0),
    "duplicate-headers": ([401], 0),
    "wrong-url": ([401], 0),
    "added-parameter": ([200], 1),
    "added-parameter; signed=registered": ([200], 1),
    "api-key-only": ([401], 0),
    "unsigned-body": ([401], 0),
    "broken-body": ([401], 0),
    "huge-body": ([413], 0),
    "wrong-method": ([405], 0),
    "both": ([200, 200], 1),
}


def test_every_callback_fault_of_the_sandbox_has_an_expected_outcome() -> None:
    named = {text.partition(";")[0] for text in PAID}
    assert named | {"at-once", "before-answer"} == {*CALLBACK_FAULTS}


@pytest.mark.parametrize("posts", [False, True], ids=["GET", "POST"])
@pytest.mark.parametrize("fault", PAID)
async def test_payment_is_handled_once_for_every_callback_fault(
    fault: str, posts: bool
) -> None:
    answers, shipments = PAID[fault]
    async with open_shop(post_callbacks=posts) as shop:
        order = await shop.order()
        shop.sandbox.callback_faults.push(fault)
        sent = await shop.sandbox.pay(order.order_id)
        assert [callback.status for callback in sent] == answers
        assert len(shop.shipments) == shipments
        # A later delivery without a fault.
        reply = await shop.processor.process(
            method="GET",
            url=sent[-1].url.removesuffix("&x=1"),
            headers=_sign_callback(shop),
        )
        assert reply.status == 200
        assert shop.shipments == ["cart-42"]


def _sign_callback(shop: Shop) -> dict[str, str]:
    """Return valid headers of the callback of the only order."""
    (order,) = shop.sandbox.orders.values()
    return {
        **signed(order.urls["callback_url"], secret=shop.sandbox.callback_secret),
        "Callback-Token": shop.sandbox.callback_token,
    }


async def test_concurrent_paid_and_timeout_callbacks_notify_the_payment_only() -> None:
    async with open_shop() as shop:
        order = await shop.order()
        shop.sandbox.callback_faults.push("at-once")
        sent = await shop.sandbox.pay(order.order_id)
        assert {callback.status for callback in sent} <= {200, 503}
        assert shop.shipments == ["cart-42"]
        assert shop.outcomes == ["paid"]


async def test_callback_before_the_response_is_handled_by_its_next_delivery() -> None:
    async with open_shop() as shop:
        shop.sandbox.callback_faults.push("before-answer")
        order = await shop.order()
        assert [callback.status for callback in shop.sandbox.callbacks] == [500]
        assert shop.shipments == []
        url = shop.sandbox.orders[order.order_id].urls["callback_url"]
        await shop.processor.process(
            method="GET", url=url, headers=_sign_callback(shop)
        )
        assert shop.shipments == ["cart-42"]


async def test_payment_after_a_timeout_has_outcome_late_paid() -> None:
    async with open_shop() as shop:
        order = await shop.order()
        (timed_out,) = await shop.sandbox.expire(order.order_id)
        (paid,) = await shop.sandbox.pay(order.order_id)
        assert (timed_out.status, paid.status) == (200, 200)
        assert shop.outcomes == ["timed_out", "late_paid"]


async def test_payment_of_an_order_with_a_lost_response_ships_nothing() -> None:
    async with open_shop() as shop:
        shop.sandbox.faults.push("cut-headers+created")
        with pytest.raises(ConnectionLostError) as caught:
            await shop.order()
        lost = next(iter(shop.sandbox.orders))
        order = await shop.order()
        assert caught.value.new_order is not None
        assert order.attempt_id != caught.value.new_order.attempt_id
        (sent,) = await shop.sandbox.pay(lost)
        assert (sent.status, shop.shipments) == (500, [])
        (sent,) = await shop.sandbox.pay(order.order_id)
        assert (sent.status, shop.shipments) == (200, ["cart-42"])


async def test_wait_for_payment_returns_after_the_read_back_of_a_callback() -> None:
    async with open_shop() as shop:
        order = await shop.order()
        waiting = asyncio.create_task(shop.aurpay.wait_for_payment(order))
        await asyncio.sleep(0)
        await shop.sandbox.pay(order.order_id)
        payment = await waiting
        assert payment.outcome == "paid"
        assert payment.order.order_id == order.order_id
