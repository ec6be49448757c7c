"""Payments, timeouts and refunds with their callbacks."""

from __future__ import annotations

import json

import pytest

from aurpay_async import InvalidRequestError
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..support.loopback import closed_port
from ..support.orders import NOW
from .shop import (
    create_order,
    create_order_for,
    expected_signature,
    open_shop,
    read_requests,
)

DATE = "2026-01-01T00:00:00Z"


async def test_payment_sends_the_documented_callback() -> None:
    async with open_shop() as shop, Sandbox(clock=FakeClock(NOW)) as sandbox:
        order_id = await create_order_for(sandbox, shop)
        (sent,) = await sandbox.pay(order_id)
        assert sandbox.orders[order_id].status == "SUCCESS"
    (request,) = read_requests(shop)
    url = f"{shop.url}/paid?ref=7"
    assert (request.method, request.target) == ("GET", "/paid?ref=7")
    assert request.named("Callback-Token") == ["sandbox-callback-token"]
    assert request.named("Date") == [DATE]
    assert request.named("Signature") == [expected_signature(DATE, url)]
    assert request.named("Content-Length") == request.named("Cookie") == []
    assert request.body == b""
    assert (sent.order_id, sent.kind, sent.method) == (order_id, "paid", "GET")
    assert (sent.url, sent.body, sent.sent_at) == (url, b"", NOW)
    assert (sent.status, sent.error) == (200, None)
    assert dict(sent.headers)["Signature"] == expected_signature(DATE, url)
    assert list(sandbox.callbacks) == [sent]


async def test_timeout_and_late_payment_call_their_own_urls() -> None:
    clock = FakeClock(NOW)
    async with open_shop() as shop, Sandbox(clock=clock) as sandbox:
        order_id = await create_order_for(sandbox, shop)
        (timeout,) = await sandbox.expire(order_id)
        assert sandbox.orders[order_id].status == "OVERDUE"
        clock.advance(60)
        (paid,) = await sandbox.pay(order_id)
        assert sandbox.orders[order_id].status == "SUCCESS"
    assert [timeout.kind, paid.kind] == ["timeout", "paid"]
    assert [request.target for request in read_requests(shop)] == [
        "/timeout?ref=7",
        "/paid?ref=7",
    ]
    assert [request.named("Signature") for request in read_requests(shop)] == [
        [expected_signature(DATE, f"{shop.url}/timeout?ref=7")],
        [expected_signature("2026-01-01T00:01:00Z", f"{shop.url}/paid?ref=7")],
    ]


async def test_refund_of_an_order_sends_no_callback() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        order_id = await create_order_for(sandbox, shop)
        await sandbox.pay(order_id)
        assert await sandbox.refund(order_id) == []
        assert sandbox.orders[order_id].status == "REFUNDED"
    assert len(sandbox.callbacks) == len(shop.requests) == 1


async def test_order_without_urls_sends_no_callback_and_consumes_no_fault() -> None:
    async with Sandbox() as sandbox:
        sandbox.callback_faults.push("twice")
        late, paid = await create_order(sandbox), await create_order(sandbox)
        assert await sandbox.expire(late) == []
        assert await sandbox.pay(late) == []
        assert await sandbox.pay(paid) == []
        assert list(sandbox.callback_faults) == ["twice"]
    assert {order.status for order in sandbox.orders.values()} == {"SUCCESS"}
    assert list(sandbox.callbacks) == []


@pytest.mark.parametrize(
    ("move", "kind", "status"),
    [("pay", "paid", "SUCCESS"), ("expire", "timeout", "OVERDUE")],
)
async def test_post_callback_has_the_order_in_its_body(
    move: str, kind: str, status: str
) -> None:
    async with (
        open_shop() as shop,
        Sandbox(clock=FakeClock(NOW), post_callbacks=True) as sandbox,
    ):
        order_id = await create_order_for(sandbox, shop)
        (sent,) = await getattr(sandbox, move)(order_id)
    (request,) = read_requests(shop)
    url = f"{shop.url}/{kind}?ref=7"
    assert (request.method, request.target) == ("POST", f"/{kind}?ref=7")
    assert request.named("Content-Type") == ["application/json"]
    assert request.named("Content-Length") == [str(len(request.body))]
    assert request.named("Signature") == [expected_signature(DATE, url)]
    assert request.body == sent.body
    body = json.loads(request.body)
    assert (body["order_id"], body["status"]) == (order_id, status)
    assert sandbox.orders[order_id].status == status


async def test_callback_token_and_secret_can_be_set_and_are_hidden() -> None:
    async with (
        open_shop() as shop,
        Sandbox(
            callback_token="canary-t", callback_secret="canary-s", clock=FakeClock(NOW)
        ) as sandbox,
    ):
        (sent,) = await sandbox.pay(await create_order_for(sandbox, shop))
    (request,) = read_requests(shop)
    assert request.named("Callback-Token") == [sandbox.callback_token] == ["canary-t"]
    assert sandbox.callback_secret == "canary-s"
    url = f"{shop.url}/paid?ref=7"
    assert request.named("Signature") == [expected_signature(DATE, url, "canary-s")]
    assert "canary" not in repr(sent)
    assert "['Callback-Token', 'Date', 'Signature']" in repr(sent)
    assert "<0 bytes>" in repr(sent)


async def test_rejection_of_the_shop_is_recorded() -> None:
    async with open_shop("500 Oops") as shop, Sandbox() as sandbox:
        order_id = await create_order_for(sandbox, shop)
        (sent,) = await sandbox.pay(order_id)
    assert (sent.status, sent.error) == (500, None)
    assert sandbox.orders[order_id].status == "SUCCESS"


async def test_unreachable_shop_is_recorded_and_raises_nothing() -> None:
    async with closed_port() as url, Sandbox() as sandbox:
        (sent,) = await sandbox.pay(
            await create_order(sandbox, callback_url=f"{url}/paid")
        )
    assert sent.status is None
    assert sent.error is not None
    assert "Cannot connect to host 127.0.0.1" in sent.error


@pytest.mark.parametrize("move", ["pay", "expire", "refund"])
async def test_status_change_of_an_unknown_order_is_rejected(move: str) -> None:
    async with Sandbox() as sandbox:
        with pytest.raises(InvalidRequestError, match="there is no order '7'"):
            await getattr(sandbox, move)("7")


async def test_forbidden_payment_sends_no_callback_and_consumes_no_fault() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        order_id = await create_order_for(sandbox, shop)
        await sandbox.pay(order_id)
        sandbox.callback_faults.push("twice")
        with pytest.raises(InvalidRequestError, match="is SUCCESS and cannot be paid"):
            await sandbox.pay(order_id)
    assert len(shop.requests) == len(sandbox.callback_faults) == 1
