"""Answers that reach another request than their own: a proxy that answers twice."""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from aurpay_async import AurpayError, UntrustedOrderError
from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox

from ..loopback import Server
from .shop import ask

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async import AurpayClient, LightningOrder

    from ..loopback import Peer, Script


async def test_a_client_rejects_a_stale_answer_that_repeats_an_order_of_its_own() -> (
    None
):
    """The order has a valid invoice of another price: its id gives it away."""
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("stale")
        first = await aurpay.create_order("20.00", "USD")
        with pytest.raises(UntrustedOrderError) as caught:
            await aurpay.create_order("99.00", "USD")
        assert (caught.value.check, caught.value.order_id) == ("new", first.order_id)
        assert len(sandbox.orders) == 2


async def test_a_client_leaves_a_connection_whose_answers_are_shifted() -> None:
    """Each later answer on it would belong to the request before, for as long."""
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("stale")
        await aurpay.create_order(1, "USD")
        with pytest.raises(UntrustedOrderError, match="'new'"):
            await aurpay.create_order(2, "USD")
        order = await aurpay.create_order(3, "USD")
        assert sandbox.orders[order.order_id].price == 3
        # The client reads each order back from now on.
        assert "read_back" in order.checks


async def test_a_stale_answer_shifts_the_answers_of_one_connection() -> None:
    """Other connections get their own answers."""
    async with Sandbox() as sandbox, sandbox.client() as one, sandbox.client() as other:
        sandbox.faults.push("stale")
        await one.create_order(1, "USD")
        order = await other.create_order(2, "USD")
        assert sandbox.orders[order.order_id].price == 2


async def test_a_replayed_answer_is_the_previous_one_of_the_endpoint() -> None:
    """With `+created` the request is served as well; its own answer is dropped."""
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        first = await aurpay.create_order("20.00", "USD")
        sandbox.faults.push("replayed", "replayed+created")
        for count in (1, 2):
            with pytest.raises(UntrustedOrderError) as caught:
                await aurpay.create_order("99.00", "USD")
            assert caught.value.order_id == first.order_id
            assert str(first.payment_request).encode() in caught.value.body
            assert len(sandbox.orders) == count
        await aurpay.get_order([*sandbox.orders][1])
        sandbox.faults.push("replayed")
        with pytest.raises(AurpayError, match="another order"):
            await aurpay.get_order(first.order_id)


async def test_confirm_rejects_a_replayed_order_by_the_price_that_aurpay_has() -> None:
    """The client has not received that order before, so it cannot know it."""
    async with Sandbox() as sandbox, sandbox.client() as one, sandbox.client() as other:
        first = await one.create_order("20.00", "USD")
        sandbox.faults.push("replayed")
        taken = await other.create_order("99.00", "USD")
        assert taken.order_id == first.order_id
    async with Sandbox() as sandbox, sandbox.client() as one, sandbox.client() as other:
        first = await one.create_order("20.00", "USD")
        sandbox.faults.push("replayed+created")
        with pytest.raises(UntrustedOrderError, match=r"99\.00, order detail has 20"):
            await other.create_order("99.00", "USD", confirm=True)


async def create_each(aurpay: AurpayClient, prices: range) -> list[LightningOrder]:
    """Create an order of each price, confirmed; those that the client lets pass."""
    orders: list[LightningOrder] = []
    for price in prices:
        with suppress(AurpayError):
            orders.append(await aurpay.create_order(price, "USD", confirm=True))
    return orders


async def test_confirm_shows_no_order_of_another_price_on_a_shifted_connection() -> (
    None
):
    """The answers to its own read-backs are shifted as well."""
    for before in range(3):
        async with Sandbox() as sandbox, sandbox.client() as aurpay:
            for _ in range(before):
                await aurpay.list_orders()
            sandbox.faults.push("stale")
            orders = await create_each(aurpay, range(1, 9))
            for order in orders:
                assert sandbox.orders[order.order_id].price == order.price


async def test_confirm_shows_no_order_of_another_price_when_answers_come_twice() -> (
    None
):
    """A read-back can get the create's answer once more, which holds no price."""
    async with (
        Sandbox() as sandbox,
        Server(sending_twice(sandbox)) as proxy,
        sandbox.client(base_url=proxy.url) as aurpay,
    ):
        orders = await create_each(aurpay, range(1, 12))
        assert proxy.connections > 1
        for order in orders:
            assert sandbox.orders[order.order_id].price == order.price


@pytest.mark.parametrize("fault", ["replayed", "replayed+created", "stale"])
async def test_the_order_store_shows_no_order_of_another_price(
    fault: str, tmp_path: Path
) -> None:
    """It reads each order back; another process created the one that it gets."""
    async with (
        Sandbox() as sandbox,
        sandbox.client() as other,
        sandbox.client(reference_key="sandbox-reference-key") as aurpay,
        OrderStore(aurpay, f"sqlite+aiosqlite:///{tmp_path}/orders.db") as store,
    ):
        await store.upgrade()
        await other.create_order("20.00", "USD")
        sandbox.faults.push(fault)
        shown: list[LightningOrder] = []
        for price in range(41, 46):
            with suppress(AurpayError):
                shown.append(await store.get_or_create(f"cart-{price}", price, "USD"))
        # The client leaves a connection that is shifted; what follows is right.
        assert shown
        for order in shown:
            assert sandbox.orders[order.order_id].price == order.price


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("between", [1, 2, 3, 4])
async def test_confirm_rejects_a_read_back_that_is_no_order_after_misrouted_answers(
    before: int, between: int
) -> None:
    """Lists and creates are mixed, so a read-back gets a list's answer."""
    async with (
        Sandbox() as sandbox,
        Server(sending_twice(sandbox)) as proxy,
        sandbox.client(base_url=proxy.url) as aurpay,
    ):
        for price in range(1, 19):
            if price <= before or price % between == 0:
                with suppress(AurpayError):
                    await aurpay.list_orders()
            for order in await create_each(aurpay, range(price, price + 1)):
                assert sandbox.orders[order.order_id].price == order.price


def sending_twice(sandbox: Sandbox) -> Script:
    """A proxy that sends each answer twice, in order, for one request each."""

    async def script(peer: Peer) -> None:
        answers: deque[bytes] = deque()
        while request := await peer.read_request():
            method, path, _ = request.split(b" ", 2)
            body = request.partition(b"\r\n\r\n")[2] or None
            host = request.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
            _, answer = await ask(
                sandbox, method.decode(), path.decode(), body, Host=host
            )
            answers.extend([json.dumps(answer).encode()] * 2)
            await peer.respond(answers.popleft())

    return script


async def test_the_first_replayed_create_is_the_order_of_another_merchant() -> None:
    """The sandbox has no such order, so it cannot be read back."""
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("replayed+created")
        order = await aurpay.create_order("99.00", "USD")
        assert order.amount == Decimal("0.000042")
        assert order.order_id not in sandbox.orders
        assert [made.price for made in sandbox.orders.values()] == [Decimal("99.00")]


async def test_a_replayed_answer_to_a_first_read_is_its_own() -> None:
    """There is no other answer that would fit."""
    async with Sandbox() as sandbox:
        sandbox.faults.push("replayed")
        status, answer = await ask(sandbox, "GET", "/api/v2/order/?page=1&size=10")
        assert (status, answer["code"], answer["data"]["total"]) == (200, 0, 0)
