"""Misrouted responses, as from a proxy that answers twice."""

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

from ..support.loopback import Server
from .shop import call

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async import AurpayClient, LightningOrder

    from ..support.loopback import Peer, Script

pytestmark = pytest.mark.slow


async def test_client_rejects_a_stale_response_that_repeats_its_own_order() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("stale")
        first = await aurpay.create_order("20.00", "USD")
        with pytest.raises(UntrustedOrderError) as caught:
            await aurpay.create_order("99.00", "USD")
        assert (caught.value.check, caught.value.order_id) == ("new", first.order_id)
        assert len(sandbox.orders) == 2


async def test_client_closes_a_connection_with_shifted_responses() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("stale")
        await aurpay.create_order(1, "USD")
        with pytest.raises(UntrustedOrderError, match="'new'"):
            await aurpay.create_order(2, "USD")
        order = await aurpay.create_order(3, "USD")
        assert sandbox.orders[order.order_id].price == 3
        # The client reads each order back from now on.
        assert "read_back" in order.checks


async def test_fault_stale_shifts_the_responses_of_one_connection() -> None:
    async with Sandbox() as sandbox, sandbox.client() as one, sandbox.client() as other:
        sandbox.faults.push("stale")
        await one.create_order(1, "USD")
        order = await other.create_order(2, "USD")
        assert sandbox.orders[order.order_id].price == 2


async def test_fault_replayed_sends_the_previous_response_of_the_endpoint() -> None:
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


async def test_confirm_rejects_a_replayed_order_by_the_price_at_aurpay() -> None:
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
    """Create a confirmed order of each price, and return the accepted ones."""
    orders: list[LightningOrder] = []
    for price in prices:
        with suppress(AurpayError):
            orders.append(await aurpay.create_order(price, "USD", confirm=True))
    return orders


async def test_confirm_returns_no_order_of_another_price_on_a_shifted_connection() -> (
    None
):
    for before in range(3):
        async with Sandbox() as sandbox, sandbox.client() as aurpay:
            for _ in range(before):
                await aurpay.list_orders()
            sandbox.faults.push("stale")
            orders = await create_each(aurpay, range(1, 9))
            for order in orders:
                assert sandbox.orders[order.order_id].price == order.price


async def test_confirm_returns_no_order_of_another_price_with_repeated_responses() -> (
    None
):
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
async def test_order_store_returns_no_order_of_another_price(
    fault: str, tmp_path: Path
) -> None:
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
async def test_confirm_rejects_a_read_back_that_is_no_order(
    before: int, between: int
) -> None:
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
    """Return the script of a proxy that sends each response twice."""

    async def script(peer: Peer) -> None:
        answers: deque[bytes] = deque()
        while request := await peer.read_request():
            method, path, _ = request.split(b" ", 2)
            body = request.partition(b"\r\n\r\n")[2] or None
            host = request.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
            _, answer = await call(
                sandbox, method.decode(), path.decode(), body, Host=host
            )
            answers.extend([json.dumps(answer).encode()] * 2)
            await peer.respond(answers.popleft())

    return script


async def test_first_replayed_create_is_the_order_of_another_merchant() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("replayed+created")
        order = await aurpay.create_order("99.00", "USD")
        assert order.amount == Decimal("0.000042")
        assert order.order_id not in sandbox.orders
        assert [order.price for order in sandbox.orders.values()] == [Decimal("99.00")]


async def test_fault_replayed_sends_the_own_response_of_a_first_read() -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.push("replayed")
        status, answer = await call(sandbox, "GET", "/api/v2/order/?page=1&size=10")
        assert (status, answer["code"], answer["data"]["total"]) == (200, 0, 0)
