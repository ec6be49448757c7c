"""Callback faults: repeated, late, forged, concurrent and early callbacks."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import InvalidRequestError
from aurpay_async.sandbox import CallbackFaults, Sandbox
from aurpay_async.sandbox._faults import CALLBACK_FAULTS
from aurpay_async.testing import FakeClock

from ..support.loopback import Server
from ..support.orders import NOW
from .shop import (
    call,
    create_order,
    create_order_for,
    expected_signature,
    open_shop,
    read_requests,
)

if TYPE_CHECKING:
    from aurpay_async.sandbox import SentCallback

    from ..support.loopback import Peer
    from .shop import ShopRequest

DATE = "2026-01-01T00:00:00Z"
URL = "http://127.0.0.1:9/paid"


def test_documentation_gives_each_callback_fault_a_meaning_and_its_options() -> None:
    page = Path(__file__).parents[2] / "docs" / "sandbox.md"
    text = page.read_text(encoding="utf-8")
    meanings = set[str]()
    for name, fault in CALLBACK_FAULTS.items():
        options = ", ".join(f"`{key}={value}`" for key, value in fault.options.items())
        row = rf"^\| `{name}` \| (\S[^|]+) \| {re.escape(f'{options} '.lstrip())}\|$"
        meanings.update(re.findall(row, text, re.MULTILINE))
    assert len(meanings) == len(CALLBACK_FAULTS) == 20


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a callback fault"),
        (5, "a callback fault is a str; got 5"),
        ("Twice", "not a callback fault"),
        ("twice+created", "not a callback fault"),
        ("thrice", "there is no callback fault 'thrice'"),
        ("503", "there is no callback fault '503'"),
        ("twice; seconds=1", "twice has no option 'seconds'; it has: times"),
        ("lost; times=1", "lost has no option 'times'; it has: none"),
        ("twice; times=0", "times must be 1 to 100, got '0'"),
        ("twice; times=101", "times must be 1 to 100"),
        ("twice; times=2.5", "times must be 1 to 100"),
        ("retry; times=9; seconds=-1", "seconds must be 0 to 3600"),
        ("stale; seconds=inf", "seconds must be 0 to 3600"),
        ("added-parameter; name=id", "name must be aurpay_order_id or public_key, got"),
        ("added-parameter; signed=no", "signed must be called or registered, got 'no'"),
    ],
)
def test_invalid_callback_fault_is_rejected_with_the_valid_names(
    text: Any, problem: str
) -> None:
    faults = CallbackFaults()
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        faults.push("twice", text)
    assert caught.value.field == "callback_fault"
    assert "duplicate-headers" in str(caught.value)
    assert len(faults) == 0


@given(st.text(max_size=40))
def test_any_string_is_a_callback_fault_or_rejected(text: str) -> None:
    faults = CallbackFaults()
    try:
        faults.push(text)
    except InvalidRequestError as error:
        assert error.field == "callback_fault"


def test_before_answer_fault_waits_for_an_order_and_blocks_later_ones() -> None:
    faults = CallbackFaults()
    assert faults.take() is None
    faults.push("lost", "before-answer", "twice; times=3")
    assert list(faults) == ["lost", "before-answer", "twice; times=3"]
    assert faults.take(before_answer=True) is None
    lost = faults.take()
    assert lost is not None
    assert lost.name == "lost"
    assert faults.take() is None
    early = faults.take(before_answer=True)
    assert early is not None
    assert early.name == "before-answer"
    twice = faults.take()
    assert twice is not None
    assert twice.times == 3
    faults.push("lost")
    faults.clear()
    assert faults.take(before_answer=True) is None


async def pay(
    delivery: str, *answers: str, clock: FakeClock | None = None, **options: Any
) -> tuple[list[SentCallback], list[ShopRequest], str]:
    """Pay an order with a fault; return attempts, received requests and signed URL."""
    async with (
        open_shop(*answers) as shop,
        Sandbox(clock=clock or FakeClock(NOW), **options) as sandbox,
    ):
        order_id = await create_order_for(sandbox, shop)
        sandbox.callback_faults.push(delivery)
        sent = await sandbox.pay(order_id)
        assert len(sandbox.callback_faults) == 0
        assert sandbox.orders[order_id].status == "SUCCESS"
        assert list(sandbox.callbacks) == sent
    return sent, read_requests(shop), f"{shop.url}/paid?ref=7"


async def test_fault_twice_sends_the_same_request_several_times() -> None:
    sent, requests, _ = await pay("twice")
    assert len(sent) == len(requests) == 2
    assert requests[0] == requests[1]
    _, requests, _ = await pay("twice; times=4", post_callbacks=True)
    assert len(requests) == 4
    assert requests[0] == requests[3]


async def test_each_callback_consumes_one_fault() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        sandbox.callback_faults.push("lost", "twice")
        counts = [
            len(await sandbox.pay(await create_order_for(sandbox, shop)))
            for _ in range(3)
        ]
    assert counts == [1, 2, 1]
    assert len(shop.requests) == 3


async def test_fault_late_sends_a_callback_after_a_pause() -> None:
    clock = FakeClock(NOW)
    (sent,), (request,), url = await pay("late; seconds=30", clock=clock)
    assert request.named("Date") == [DATE]
    assert request.named("Signature") == [expected_signature(DATE, url)]
    assert (sent.sent_at - NOW).total_seconds() == 30
    assert clock.sleeps == [30]


@pytest.mark.parametrize(
    ("delivery", "date"),
    [
        ("stale", "2025-12-31T23:50:00Z"),
        ("stale; seconds=3600", "2025-12-31T23:00:00Z"),
        ("future", "2026-01-01T00:10:00Z"),
        ("future; seconds=1.5", "2026-01-01T00:00:01Z"),
    ],
)
async def test_faults_stale_and_future_sign_another_date(
    delivery: str, date: str
) -> None:
    clock = FakeClock(NOW)
    (sent,), (request,), url = await pay(delivery, clock=clock)
    assert request.named("Date") == [date]
    assert request.named("Signature") == [expected_signature(date, url)]
    assert (sent.sent_at, clock.sleeps) == (NOW, [])


async def test_wrong_missing_and_duplicate_signatures_are_sent() -> None:
    _, (request,), url = await pay("wrong-signature")
    right, forged = (
        expected_signature(DATE, url),
        expected_signature(DATE, url, "not the secret"),
    )
    assert request.named("Signature") == [forged]
    _, (request,), url = await pay("wrong-token")
    assert request.named("Callback-Token") == ["not-the-token"]
    assert request.named("Signature") == [expected_signature(DATE, url)]
    _, (request,), _ = await pay("no-signature")
    assert request.named("Signature") == []
    (sent,), (request,), url = await pay("duplicate-headers")
    right, forged = (
        expected_signature(DATE, url),
        expected_signature(DATE, url, "not the secret"),
    )
    assert request.named("Signature") == [right, forged]
    assert [name for name, _ in sent.headers].count("Signature") == 2


async def test_fault_wrong_url_adds_a_parameter_after_signing() -> None:
    (sent,), (request,), url = await pay("wrong-url")
    assert request.target == "/paid?ref=7&x=1"
    assert sent.url == f"{url}&x=1"
    assert request.named("Signature") == [expected_signature(DATE, url)]


@pytest.mark.parametrize(
    ("delivery", "added", "signed_as_called"),
    [
        ("added-parameter", "aurpay_order_id=20260101000000000001", True),
        (
            "added-parameter; signed=registered",
            "aurpay_order_id=20260101000000000001",
            False,
        ),
        ("added-parameter; name=public_key", "public_key=sandbox-public-key", True),
        (
            "added-parameter; name=public_key; signed=registered",
            "public_key=sandbox-public-key",
            False,
        ),
    ],
)
async def test_fault_added_parameter_signs_the_called_or_registered_url(
    delivery: str, added: str, signed_as_called: bool
) -> None:
    (sent,), (request,), url = await pay(delivery)
    assert request.target == f"/paid?ref=7&{added}"
    assert sent.url == f"{url}&{added}"
    signed = sent.url if signed_as_called else url
    assert request.named("Signature") == [expected_signature(DATE, signed)]


async def test_added_parameter_is_the_first_of_a_url_without_query() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        sandbox.callback_faults.push("added-parameter")
        order_id = await create_order(sandbox, callback_url=f"{shop.url}/paid")
        await sandbox.pay(order_id)
        [request] = read_requests(shop)
        assert request.target == f"/paid?aurpay_order_id={order_id}"


# The API key in callbacks


@pytest.mark.parametrize("key", ["made-up-key-of-the-shop", None])
async def test_order_of_a_payment_url_has_its_api_key_in_callbacks(
    key: str | None,
) -> None:
    headers = {} if key is None else {"API_Key": key}
    async with open_shop() as shop, Sandbox() as sandbox:
        fields = {"price": 20, "currency": "USD", "callback_url": f"{shop.url}/paid"}
        _, answer = await call(sandbox, "POST", "/api/order/pay-url", fields, **headers)
        chosen = sandbox.choose(answer["data"]["pay_url"], "BTC-LN")
        [sent] = await sandbox.pay(chosen.order_id)
        [request] = read_requests(shop)
        assert request.named("Api-Key") == ([] if key is None else [key])
        assert len(request.named("Signature")) == 1
        assert "made-up-key" not in f"{sent!r} {chosen!r}"


@pytest.mark.parametrize("path", ["/api/bln/order", "/api/order/pay-info"])
@pytest.mark.parametrize("everywhere", [False, True])
async def test_other_orders_have_their_api_key_in_callbacks_on_request(
    path: str, everywhere: bool
) -> None:
    async with (
        open_shop() as shop,
        Sandbox(api_key_in_callbacks=everywhere) as sandbox,
    ):
        fields = {"price": 20, "currency": "USD"}
        if path.endswith("pay-info"):
            coin = {"chain": "ETH", "currency": "ETH"}
            fields = {"vs_price": 20, "vs_currency": "USD", **coin}
        _, answer = await call(
            sandbox,
            "POST",
            path,
            {**fields, "callback_url": f"{shop.url}/paid"},
            API_Key="sandbox-key",
        )
        await sandbox.pay(answer["data"]["order_id"])
        [request] = read_requests(shop)
        assert request.named("Api-Key") == (["sandbox-key"] if everywhere else [])


async def test_order_of_a_signed_request_has_no_api_key_in_callbacks() -> None:
    async with (
        open_shop() as shop,
        Sandbox(
            api_token="sandbox-token",
            api_secret="sandbox-secret",
            api_key_in_callbacks=True,
        ) as sandbox,
        sandbox.client() as aurpay,
    ):
        created = await aurpay.create_order(
            "20", "USD", callback_url=f"{shop.url}/paid"
        )
        await sandbox.pay(created.order_id)
        [request] = read_requests(shop)
        assert request.named("Api-Key") == []


async def test_fault_api_key_only_sends_no_signature_headers() -> None:
    _, (request,), _ = await pay("api-key-only")
    assert request.named("Api-Key") == ["sandbox-api-key"]
    for name in ("Callback-Token", "Date", "Signature"):
        assert request.named(name) == []


async def test_faults_of_the_body_are_sent_by_post() -> None:
    (sent,), (request,), _ = await pay("unsigned-body")
    body = json.loads(request.body)
    assert request.method == "POST"
    assert (body["order_id"], body["amount"]) == ("20260101000000999999", "10.00020000")
    assert sent.order_id == "20260101000000000001"
    _, (request,), url = await pay("broken-body")
    assert request.body == b"order_id=1&status=SUCCESS"
    assert request.named("Signature") == [expected_signature(DATE, url)]
    (sent,), (request,), _ = await pay("huge-body")
    assert len(request.body) > 2 * 1024 * 1024
    assert (sent.status, sent.error) == (200, None)
    assert "bytes>" in repr(sent)


async def test_fault_wrong_method_sends_a_put() -> None:
    _, (request,), url = await pay("wrong-method")
    assert (request.method, request.body) == ("PUT", b"")
    assert request.named("Signature") == [expected_signature(DATE, url)]


async def test_lost_callback_is_recorded_but_not_sent() -> None:
    (sent,), requests, url = await pay("lost")
    assert requests == []
    assert (sent.status, sent.error, sent.url) == (None, "not sent: lost", url)


async def test_fault_retry_signs_again_until_the_shop_answers_200() -> None:
    clock = FakeClock(NOW)
    sent, requests, url = await pay(
        "retry", "503 Busy", "201 Nearly", "200 OK", clock=clock
    )
    assert [record.status for record in sent] == [503, 201, 200]
    dates = [DATE, "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"]
    assert [request.named("Date") for request in requests] == [[d] for d in dates]
    assert [request.named("Signature")[0] for request in requests] == [
        expected_signature(date, url) for date in dates
    ]
    assert clock.sleeps == [1, 1]


async def test_fault_retry_stops_after_the_given_attempts() -> None:
    clock = FakeClock(NOW)
    sent, _, _ = await pay("retry; times=3; seconds=60", "500 No", clock=clock)
    assert [record.status for record in sent] == [500] * 3
    assert clock.sleeps == [60, 60]


@pytest.mark.parametrize("posts", [False, True])
async def test_fault_both_sends_timeout_before_paid(posts: bool) -> None:
    sent, requests, url = await pay("both", post_callbacks=posts)
    assert [record.kind for record in sent] == ["timeout", "paid"]
    other = url.replace("/paid", "/timeout")
    assert [request.named("Signature") for request in requests] == [
        [expected_signature(DATE, other)],
        [expected_signature(DATE, url)],
    ]
    bodies = [json.loads(r.body)["status"] for r in requests if r.body]
    assert bodies == (["OVERDUE", "SUCCESS"] if posts else [])


async def test_fault_both_sends_paid_before_timeout_when_an_order_expires() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        order_id = await create_order_for(sandbox, shop)
        sandbox.callback_faults.push("both")
        sent = await sandbox.expire(order_id)
    assert [record.kind for record in sent] == ["paid", "timeout"]
    assert sandbox.orders[order_id].status == "OVERDUE"


@pytest.mark.parametrize("delivery", ["both", "at-once"])
async def test_fault_both_sends_one_callback_without_another_url(delivery: str) -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        sandbox.callback_faults.push(delivery)
        sent = await sandbox.pay(
            await create_order(sandbox, callback_url=f"{shop.url}/paid")
        )
    assert [(record.kind, record.status) for record in sent] == [("paid", 200)]


async def test_fault_at_once_sends_both_callbacks_concurrently() -> None:
    barrier = asyncio.Barrier(2)

    async def meet(peer: Peer) -> None:
        await peer.read_request()
        await barrier.wait()
        await peer.respond(b"ok")

    async with Server(meet) as shop, Sandbox() as sandbox:
        sandbox.callback_faults.push("at-once")
        sent = await sandbox.pay(await create_order_for(sandbox, shop))
    assert [(record.kind, record.status) for record in sent] == [
        ("timeout", 200),
        ("paid", 200),
    ]


async def test_fault_before_answer_pays_before_the_create_call_returns() -> None:
    seen: list[tuple[bool, str]] = []

    async def look(peer: Peer) -> None:
        await peer.read_request()
        (known,) = sandbox.orders.values()
        seen.append((making.done(), known.status))
        await peer.respond(b"ok")

    async with Server(look) as shop, Sandbox(clock=FakeClock(NOW)) as sandbox:
        fields = {"price": 20, "currency": "USD", "callback_url": f"{shop.url}/paid"}
        sandbox.callback_faults.push("before-answer")
        making = asyncio.create_task(call(sandbox, "POST", "/api/bln/order", fields))
        _, answer = await making
    assert seen == [(False, "SUCCESS")]
    # The response was built before the payment, and is sent after it.
    assert answer["data"]["status"] == "PENDING"
    (sent,) = sandbox.callbacks
    assert (sent.order_id, sent.status) == (answer["data"]["order_id"], 200)
    assert dict(sent.headers)["Signature"] == expected_signature(DATE, sent.url)


async def test_fault_before_answer_combines_with_request_faults() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        fields = {"price": 20, "currency": "USD", "callback_url": f"{shop.url}/paid"}
        sandbox.callback_faults.push("before-answer")
        sandbox.faults.push("503", "503+created")
        await call(sandbox, "POST", "/api/bln/order", fields)
        assert (len(sandbox.orders), len(sandbox.callback_faults)) == (0, 1)
        status, _ = await call(sandbox, "POST", "/api/bln/order", fields)
        assert (status, len(sandbox.callback_faults)) == (503, 0)
    (created,) = sandbox.orders.values()
    assert created.status == "SUCCESS"
    assert len(shop.requests) == 1


async def test_fault_before_answer_waits_for_a_created_order() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        order_id = await create_order_for(sandbox, shop)
        sandbox.callback_faults.push("before-answer")
        assert len(await sandbox.pay(order_id)) == 1
        await call(sandbox, "POST", "/api/bln/order", {"price": 0})
        assert len(sandbox.callback_faults) == 1
        paid = await create_order(sandbox)
        assert len(sandbox.callback_faults) == 0
    # The order has no URL, so no callback was sent.
    assert sandbox.orders[paid].status == "SUCCESS"
    assert len(sandbox.callbacks) == 1


async def test_callback_faults_to_an_unreachable_shop_raise_nothing() -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        for name in CALLBACK_FAULTS:
            sandbox.callback_faults.push(name)
            order_id = await create_order(
                sandbox, callback_url="https://shop.example/paid"
            )
            if sandbox.orders[order_id].status == "PENDING":
                await sandbox.pay(order_id)
    assert {record.status for record in sandbox.callbacks} == {None}
    assert {record.error for record in sandbox.callbacks} == {
        "not sent: lost",
        "not sent: not on this machine",
    }
