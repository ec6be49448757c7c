"""The read-back of new orders: what it rejects, and what it gives all the same."""

from __future__ import annotations

import asyncio
import logging
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import (
    ApiKey,
    AurpayClient,
    AurpayError,
    ConnectionLostError,
    InvalidRequestError,
    InvalidResponseError,
    NewOrder,
    OrderQuery,
    RequestOutcome,
    RetryPolicy,
    Timeouts,
    UntrustedOrderError,
)
from aurpay_async.testing import FakeClock, MemoryTransport

from ..api.samples import payment
from ..support.orders import (
    NOW,
    build_detail,
    build_order,
    build_response,
    sign_invoice,
    wrap_data,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aurpay_async import Response

ID = "20260101000000000001"
OTHER_ID = "20260101000000000002"


def client(*answers: Any, **options: Any) -> AurpayClient:
    """Return a client that gets these answers, the first one to its create."""
    fields: dict[str, Any] = {
        "network": "regtest",
        "clock": FakeClock(NOW),
        "transport": MemoryTransport(*answers),
    }
    return AurpayClient(ApiKey("sandbox-key"), **{**fields, **options})


def made(**fields: Any) -> Response:
    return build_response(wrap_data(build_order(**fields)))


def made_another() -> Response:
    invoice = sign_invoice(payment_hash="aa" * 32)
    return made(order_id=OTHER_ID, payment_request=invoice)


def known(**fields: Any) -> Response:
    return build_response(wrap_data(build_detail(**fields)))


async def test_confirm_adds_read_back_to_the_checks_of_an_order_that_agrees() -> None:
    """One request more, to order detail, after the create."""
    transport = MemoryTransport(made(), known())
    async with client(transport=transport) as aurpay:
        got = await aurpay.create_order("20.00", "usd", confirm=True)
    assert got.checks[-1] == "read_back"
    assert [request.path for request in transport.requests] == [
        "/api/bln/order",
        f"/api/v2/order/detail/{ID}",
    ]


async def test_create_order_reads_nothing_back_by_default() -> None:
    """MemoryTransport has no second answer."""
    async with client(made()) as aurpay:
        got = await aurpay.create_order("20.00", "USD")
    assert "read_back" not in got.checks


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"vs_price": "99.00"}, "its price is 20.00, order detail has 99.00"),
        ({"vs_currency": "EUR"}, "its currency is 'USD', order detail has 'EUR'"),
        ({"amount": "2E-7"}, "its amount is 0.00020000, order detail has 0.0000002"),
        ({"order_id": OTHER_ID}, f"order detail is about order '{OTHER_ID}'"),
        (
            {"status": "SUCCESS"},
            "no payer has seen it, order detail has status SUCCESS",
        ),
        (
            {"status": "OVERDUE"},
            "no payer has seen it, order detail has status OVERDUE",
        ),
    ],
)
async def test_confirm_rejects_an_order_that_differs_at_aurpay(
    fields: dict[str, Any], problem: str
) -> None:
    read = known(**fields)
    asked = {"reference": "cart-42", "callback_url": "https://shop.example/paid"}
    async with client(made(), read, reference_key="k" * 20) as aurpay:
        with pytest.raises(UntrustedOrderError) as caught:
            await aurpay.create_order("20.00", "USD", confirm=True, **asked)
    error = caught.value
    assert str(error) == (
        f"order '{ID}' failed the check 'read_back': {problem}; "
        f"outcome=unknown reference='cart-42' order_id='{ID}'"
    )
    assert (error.check, error.order_id) == ("read_back", ID)
    assert error.outcome is RequestOutcome.UNKNOWN
    assert not error.retryable
    assert (error.attempts, error.sent_at, error.body) == (1, NOW, read.body)
    assert error.new_order is not None
    assert (error.new_order.reference, len(error.new_order.attempt_id or "")) == (
        "cart-42",
        24,
    )


@pytest.mark.parametrize(
    ("read", "reason", "level"),
    [
        (build_response(wrap_data(None, code=404)), "not_found", logging.INFO),
        (build_response(b"", status=404), "not_found", logging.INFO),
        (build_response(wrap_data(None, code=401)), "authentication", logging.WARNING),
        (build_response(b"<html>", status=503), "server", logging.WARNING),
        (build_response(b"<html>"), "invalid_response", logging.WARNING),
        (known(vs_price="much"), "invalid_response", logging.WARNING),
        (ConnectionLostError("reset"), "connection_lost", logging.WARNING),
        (known(vs_price=None), "order detail has no price", logging.INFO),
        (known(vs_currency=""), "order detail has no price", logging.INFO),
    ],
)
async def test_order_that_cannot_be_read_back_is_returned_with_a_log_line(
    read: Any, reason: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aurpay_async.client")
    once = RetryPolicy(max_attempts=1)
    async with client(made(), read, retry=once) as aurpay:
        got = await aurpay.create_order("20.00", "USD", confirm=True)
    assert (got.order_id, "read_back" in got.checks) == (ID, False)
    (record,) = [r for r in caplog.records if "read back" in r.getMessage()]
    assert record.levelno == level
    assert record.getMessage() == (
        f"order was not read back ({reason}); order_id='{ID}'"
    )
    assert vars(record)["aurpay_order_id"] == ID


MISSING = build_response(b"", status=404)


async def test_an_order_that_only_order_detail_lacks_is_rejected_after_a_second_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The order is another merchant's: Aurpay's detail had the order before it."""
    second = made(
        order_id=OTHER_ID, payment_request=sign_invoice(payment_hash="aa" * 32)
    )
    clock = FakeClock(NOW)
    async with client(made(), known(), second, MISSING, MISSING, clock=clock) as aurpay:
        await aurpay.create_order("20.00", "USD", confirm=True)
        with pytest.raises(UntrustedOrderError, match="not this one") as caught:
            await aurpay.create_order("20.00", "USD", confirm=True)
    assert clock.sleeps == [1]
    error = caught.value
    assert (error.check, error.order_id, error.status) == ("read_back", OTHER_ID, 404)
    assert error.outcome is RequestOutcome.UNKNOWN
    assert "is withheld: order detail has earlier orders" in caplog.text


async def test_an_order_that_order_detail_has_a_second_later_is_returned() -> None:
    second = made(
        order_id=OTHER_ID, payment_request=sign_invoice(payment_hash="aa" * 32)
    )
    late = known(order_id=OTHER_ID)
    async with client(made(), known(), second, MISSING, late) as aurpay:
        await aurpay.create_order("20.00", "USD", confirm=True)
        order = await aurpay.create_order("20.00", "USD", confirm=True)
    assert order.checks[-1] == "read_back"


async def test_a_read_back_takes_three_seconds_at_most_with_all_its_attempts() -> None:
    """Each attempt takes a second here, and its timeout is the rest."""
    clock, limits = FakeClock(NOW), list[float]()

    def slow(request: Any) -> Response:
        assert request.connect_timeout == 3
        limits.append(request.timeout)
        clock.advance(1)
        raise ConnectionLostError("reset")

    answers = [made(), *[slow] * 9]
    policy = RetryPolicy(max_attempts=9)
    async with client(*answers, clock=clock, retry=policy) as aurpay:
        await aurpay.create_order("20.00", "USD", confirm=True)
    assert limits[0] == 3
    assert max(limits) == 3
    assert clock.now() - NOW <= timedelta(seconds=4)


async def test_a_read_back_has_the_timeouts_of_the_client_if_these_are_shorter() -> (
    None
):
    transport, short = MemoryTransport(made(), known()), Timeouts(connect=1, attempt=2)
    async with client(transport=transport, timeouts=short) as aurpay:
        await aurpay.create_order("20.00", "USD", confirm=True)
    read = transport.requests[-1]
    assert (read.connect_timeout, read.timeout) == (1, 2)


async def test_a_cancelled_read_back_says_in_the_log_that_an_order_exists(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets CancelledError, which names no order."""

    class Hanging:
        async def send(self, request: Any) -> Response:
            if request.method == "GET":
                await asyncio.get_running_loop().create_future()
            return made()

    async with client(transport=Hanging()) as aurpay:
        task = asyncio.create_task(aurpay.create_order("20.00", "USD", confirm=True))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert f"read-back was cancelled; order_id='{ID}'" in caplog.text


async def test_confirm_has_to_be_true_or_false() -> None:
    """Nothing is sent for anything else."""
    async with client() as aurpay:
        with pytest.raises(InvalidRequestError, match="confirm: must be True or False"):
            await aurpay.create_order("20.00", "USD", confirm="no")  # type: ignore[arg-type]


async def test_the_same_order_for_a_second_create_is_untrusted() -> None:
    """A proxy answered twice: the second request's own order is not known."""
    async with client(made(), made()) as aurpay:
        await aurpay.create_order("20.00", "USD")
        with pytest.raises(UntrustedOrderError) as caught:
            await aurpay.create_order("20.00", "USD")
    assert (caught.value.check, caught.value.order_id) == ("new", ID)
    assert caught.value.outcome is RequestOutcome.UNKNOWN


async def test_a_cut_answer_that_repeats_an_order_does_not_name_it() -> None:
    """Looking its id up would find another cart's order of the same price."""
    cut = made().body[:-20]
    answers = made(), ConnectionLostError("cut", body=cut), build_response(b"{" + cut)
    async with client(*answers) as aurpay:
        await aurpay.create_order("20.00", "USD")
        for _ in answers[1:]:
            with pytest.raises(AurpayError) as caught:
                await aurpay.create_order("20.00", "USD")
            assert caught.value.order_id is None
            assert OrderQuery.of(caught.value).order_id is None
    async with client(ConnectionLostError("cut", body=cut)) as aurpay:
        with pytest.raises(ConnectionLostError) as lost:
            await aurpay.create_order("20.00", "USD")
    assert lost.value.order_id == ID


@pytest.mark.parametrize(
    ("sign", "call"),
    [
        (made(), lambda c: c.create_order("20.00", "USD")),
        (made(order_id="7"), lambda c: c.create_order("20.00", "USD")),
        (known(order_id="7"), lambda c: c.get_order(ID)),
    ],
)
async def test_a_client_that_received_a_misrouted_answer_reads_each_order_back(
    sign: Response, call: Callable[[AurpayClient], Awaitable[object]]
) -> None:
    """A shifted connection sends the next answer to the wrong request as well."""
    other = made(
        order_id=OTHER_ID, payment_request=sign_invoice(payment_hash="02" * 32)
    )
    shifted = known(order_id=OTHER_ID, vs_price="99.00")
    async with client(made(), sign, other, shifted) as aurpay:
        await aurpay.create_order("20.00", "USD")
        with pytest.raises(InvalidResponseError):
            await call(aurpay)
        with pytest.raises(UntrustedOrderError) as caught:
            await aurpay.with_options().create_order("20.00", "USD")
    assert caught.value.check == "read_back"


async def test_order_detail_without_an_order_id_rejects_the_order() -> None:
    page = wrap_data({"page": 1, "size": 20, "total": 0, "max_page": 0, "data": []})
    async with client(made(), build_response(page)) as aurpay:
        with pytest.raises(UntrustedOrderError, match="has no order id") as caught:
            await aurpay.create_order("20.00", "USD", confirm=True)
    assert (caught.value.check, caught.value.order_id) == ("read_back", ID)
    assert caught.value.outcome is RequestOutcome.UNKNOWN


async def test_order_detail_that_is_the_response_to_the_create_rejects_the_order() -> (
    None
):
    """A proxy that sends a response twice: it agrees with the order in all fields."""
    async with client(made(), made(vs_price="20.00", vs_currency="USD")) as aurpay:
        with pytest.raises(UntrustedOrderError, match="is the response to a create"):
            await aurpay.create_order("20.00", "USD", confirm=True)


async def test_a_read_back_that_contradicts_has_later_orders_read_back_too() -> None:
    """Though the caller did not ask for it."""
    third = made(order_id="3", payment_request=sign_invoice(payment_hash="03" * 32))
    answers = made(), known(vs_price="5.00"), third, known(order_id="3")
    async with client(*answers) as aurpay:
        with pytest.raises(UntrustedOrderError, match="read_back"):
            await aurpay.create_order("20.00", "USD", confirm=True)
        assert "read_back" in (await aurpay.create_order("20.00", "USD")).checks


async def test_two_orders_with_one_payment_hash_are_untrusted() -> None:
    """Only one of them could be paid. Clients of other settings remember as well."""
    async with client(made(), made(order_id=OTHER_ID)) as aurpay:
        await aurpay.create_order("20.00", "USD")
        with pytest.raises(UntrustedOrderError) as caught:
            await aurpay.with_options(retry=RetryPolicy()).create_order("20.00", "USD")
    assert (caught.value.check, caught.value.order_id) == ("payment_hash", OTHER_ID)


async def test_seen_orders_are_not_shared_between_clients() -> None:
    for _ in range(2):
        async with client(made()) as aurpay:
            assert "new" in (await aurpay.create_order("20.00", "USD")).checks


async def test_order_that_failed_a_check_is_not_remembered_as_seen() -> None:
    answers = [made(amount="1"), made()]
    async with client(*answers) as aurpay:
        with pytest.raises(UntrustedOrderError, match="'amount'"):
            await aurpay.create_order("20.00", "USD")
        await aurpay.create_order("20.00", "USD")


async def test_a_payment_with_the_id_of_an_earlier_order_is_untrusted() -> None:
    """Orders and payments share the ids of the platform."""
    paid = payment(order_id=ID)
    async with client(
        made(), build_response(wrap_data(paid)), network="regtest"
    ) as aurpay:
        await aurpay.create_order("20.00", "USD")
        with pytest.raises(UntrustedOrderError) as caught:
            await aurpay.create_payment(18, "USD", chain="ETH", coin="USDT-ERC20")
    assert (caught.value.check, caught.value.order_id) == ("new", ID)


@pytest.mark.parametrize("check", ["new", "read_back"])
def test_order_id_of_another_request_is_not_used_by_find_order(check: str) -> None:
    error = UntrustedOrderError("x", check=check, order_id=ID, status=200, body=b"")
    error.new_order, error.sent_at = NewOrder("20.00", "USD"), NOW
    assert OrderQuery.of(error).order_id is None
    other = copy(error)
    other.check = "payment_hash"
    assert OrderQuery.of(other).order_id == ID
