"""From the order to the parcel: client, sandbox, callback and handler over sockets."""

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
from aurpay_async.sandbox._deliveries import CALLBACK_FAULTS
from aurpay_async.testing import FakeClock

from .callbacks.samples import KEY, NOW, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aurpay_async import AurpayClient
    from aurpay_async.callbacks import Notification, Reference


class Shop:
    """Keeps what it needs to restart, and counts what it sends out."""

    def __init__(self, sandbox: Sandbox, aurpay: AurpayClient) -> None:
        self.sandbox = sandbox
        self.aurpay = aurpay
        self.parcels: list[str] = []
        self.told: list[str] = []
        self.url = ""
        self._kept: dict[str, str] = {}
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
        self._kept[reference] = order.to_json()
        return order

    async def _lookup(self, reference: Reference) -> LightningOrder | None:
        kept = self._kept.get(reference.reference)
        return None if kept is None else LightningOrder.from_json(kept)

    async def _handle(self, notification: Notification) -> None:
        if not notification.confirmed:
            raise LookupError(notification.reason)  # the next delivery counts
        self.told.append(notification.outcome)
        if notification.outcome in {"paid", "late_paid"}:
            self.parcels.append(notification.reference)


@asynccontextmanager
async def a_shop(**options: Any) -> AsyncIterator[Shop]:
    """A shop that Aurpay can reach, and an Aurpay that it can."""
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


#: Of a payment, delivered like this: what the shop answers, and the parcels.
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


def test_every_delivery_has_an_outcome() -> None:
    """Nothing that the sandbox can do is left out; two have tests of their own."""
    named = {text.partition(";")[0] for text in PAID}
    assert named | {"at-once", "before-answer"} == {*CALLBACK_FAULTS}


@pytest.mark.parametrize("posts", [False, True], ids=["GET", "POST"])
@pytest.mark.parametrize("delivery", PAID)
async def test_a_payment_delivered_like_this(delivery: str, posts: bool) -> None:
    """One parcel at most; and after whatever it was, a good delivery counts."""
    answers, parcels = PAID[delivery]
    async with a_shop(post_callbacks=posts) as shop:
        order = await shop.order()
        shop.sandbox.callback_faults.push(delivery)
        sent = await shop.sandbox.pay(order.order_id)
        assert [callback.status for callback in sent] == answers
        assert len(shop.parcels) == parcels
        # As the platform would deliver it some other time.
        reply = await shop.processor.process(
            method="GET", url=sent[-1].url.removesuffix("&x=1"), headers=_good(shop)
        )
        assert reply.status == 200
        assert shop.parcels == ["cart-42"]


def _good(shop: Shop) -> dict[str, str]:
    """The headers of a good delivery of the only order's payment."""
    (order,) = shop.sandbox.orders.values()
    return {
        **signed(order.urls["callback_url"], secret=shop.sandbox.callback_secret),
        "Callback-Token": shop.sandbox.callback_token,
    }


async def test_both_callbacks_at_once() -> None:
    """In any order: a payment is told once, and a timeout never after it."""
    async with a_shop() as shop:
        order = await shop.order()
        shop.sandbox.callback_faults.push("at-once")
        sent = await shop.sandbox.pay(order.order_id)
        assert {callback.status for callback in sent} <= {200, 503}
        assert shop.parcels == ["cart-42"]
        assert shop.told == ["paid"]


async def test_a_callback_before_the_answer() -> None:
    """The shop cannot know the order yet: the next delivery counts."""
    async with a_shop() as shop:
        shop.sandbox.callback_faults.push("before-answer")
        order = await shop.order()
        assert [callback.status for callback in shop.sandbox.callbacks] == [500]
        assert shop.parcels == []
        url = shop.sandbox.orders[order.order_id].urls["callback_url"]
        await shop.processor.process(method="GET", url=url, headers=_good(shop))
        assert shop.parcels == ["cart-42"]


async def test_a_late_payment() -> None:
    """An outcome of its own: the shop had given up."""
    async with a_shop() as shop:
        order = await shop.order()
        (timed_out,) = await shop.sandbox.expire(order.order_id)
        (paid,) = await shop.sandbox.pay(order.order_id)
        assert (timed_out.status, paid.status) == (200, 200)
        assert shop.told == ["timed_out", "late_paid"]


async def test_an_order_whose_answer_was_lost() -> None:
    """It is paid after all, beside the one that the shop holds: never a parcel."""
    async with a_shop() as shop:
        shop.sandbox.faults.push("cut-headers+created")
        with pytest.raises(ConnectionLostError) as caught:
            await shop.order()
        lost = next(iter(shop.sandbox.orders))
        order = await shop.order()
        assert caught.value.new_order is not None
        assert order.attempt_id != caught.value.new_order.attempt_id
        (sent,) = await shop.sandbox.pay(lost)
        assert (sent.status, shop.parcels) == (500, [])
        (sent,) = await shop.sandbox.pay(order.order_id)
        assert (sent.status, shop.parcels) == (200, ["cart-42"])


async def test_waiting_is_fed_by_a_callback() -> None:
    """Whoever waits hears of it from the read-back, without asking once more."""
    async with a_shop() as shop:
        order = await shop.order()
        waiting = asyncio.create_task(shop.aurpay.wait_for_payment(order))
        await asyncio.sleep(0)
        await shop.sandbox.pay(order.order_id)
        payment = await waiting
        assert payment.outcome == "paid"
        assert payment.order.order_id == order.order_id
