"""Uses of the public names for mypy and pyright; this file is not run.

A line with a `type: ignore` must be an error: both checkers report an unused ignore.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, assert_type

import aiohttp

from aurpay_async import (
    ApiKey,
    ApiToken,
    AttemptEvent,
    AurpayClient,
    AurpayError,
    CallEvent,
    Effect,
    Event,
    LightningOrder,
    NewOrder,
    NewPayment,
    Order,
    OrderQuery,
    OrderSearchResult,
    OrderStatus,
    Page,
    Payment,
    PaymentOrder,
    PaymentUrl,
    Refund,
    RefundInfo,
    Request,
    RequestOutcome,
    Response,
    RetryPolicy,
    Timeouts,
    Transaction,
    Transport,
    UntrustedOrderError,
    Withdrawal,
    bolt11,
    errors,
)
from aurpay_async.callbacks import (
    CallbackEvent,
    CallbackProcessor,
    CallbackVerifier,
    ConfirmedNotification,
    InboxStore,
    MemoryInbox,
    Notification,
    Reference,
    Reply,
    UnconfirmedNotification,
)
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.sandbox import ReceivedRequest, Sandbox, SandboxOrder
from aurpay_async.testing import FakeClock, MemoryTransport


async def an_order(aurpay: AurpayClient) -> None:
    order = await aurpay.create_order(
        "20.00", "USD", callback_url="https://x.example/paid"
    )
    assert_type(order, LightningOrder)
    assert_type(order.order_id, str)
    assert_type(order.status, OrderStatus)
    assert_type(order.amount, Decimal)
    assert_type(order.amount_sat, int)
    assert_type(order.qr_text, str)
    assert_type(order.payment_request.qr_text, str)
    assert_type(order.payment_request.qr_svg(), str)
    assert_type(order.payment_request.qr_png(scale=4), bytes)
    assert_type(order.to_public_dict(), dict[str, str | None])
    assert_type(order.create_time, datetime)
    assert_type(order.payment_request, bolt11.Invoice)
    assert_type(order.payment_addr, str | None)
    assert_type(order.coin, str | None)
    assert_type(order.price, Decimal)
    assert_type(order.currency, str)
    assert_type(order.reference, str | None)
    assert_type(order.attempt_id, str | None)
    assert_type(order.overdue_at, datetime)
    assert_type(order.pay_url, str)
    assert_type(order.checks, tuple[str, ...])
    assert_type(order.extra, Mapping[str, object])
    assert_type(LightningOrder.from_json(order.to_json()), LightningOrder)
    await aurpay.create_order(20, "USD", reference="cart-42")
    await aurpay.create_order(Decimal(20), "USD")

    await aurpay.create_order(19.99, "USD")  # type: ignore[arg-type]
    await aurpay.create_order("20.00", 840)  # type: ignore[arg-type]
    await aurpay.create_order("20.00")  # type: ignore[call-arg]
    await aurpay.create_order("20.00", "USD", "https://x.example")  # type: ignore[call-arg]
    order.amount = Decimal(1)  # type: ignore[misc]


async def a_look(aurpay: AurpayClient) -> None:
    order = await aurpay.get_order("20240428125136525824")
    assert_type(order, Order)
    assert_type(order.order_id, str)
    assert_type(order.status, OrderStatus)
    assert_type(order.amount, Decimal | None)
    assert_type(order.coin, str | None)
    assert_type(order.price, Decimal | None)
    assert_type(order.refundable, bool | None)
    assert_type(order.create_time, datetime | None)
    assert_type(order.extra, Mapping[str, object])
    assert_type(order.status.is_paid, bool | None)
    assert_type(order.status.is_final, bool)
    assert_type(order.status.can_become(OrderStatus.SUCCESS), bool)

    await aurpay.get_order(20240428125136525824)  # type: ignore[arg-type]
    order.status = OrderStatus.SUCCESS  # type: ignore[misc]


async def a_payment(aurpay: AurpayClient, order: LightningOrder) -> None:
    payment = await aurpay.wait_for_payment(order, timeout=60, on_status=print)
    assert_type(payment, Payment)
    assert_type(payment.order, Order)
    assert_type(payment.outcome, Literal["paid", "late_paid", "timed_out", "refunded"])
    await aurpay.wait_for_payment("20240428125136525824", timeout=0.5)

    assert_type(aurpay.watch(order), AsyncGenerator[Order, None])
    async for update in aurpay.watch("20240428125136525824", timeout=60):
        assert_type(update, Order)

    aurpay.watch(order, timeout="60")  # type: ignore[arg-type]
    await aurpay.wait_for_payment(payment.order)  # type: ignore[arg-type]
    await aurpay.wait_for_payment(order, timeout=timedelta(60))  # type: ignore[arg-type]
    await aurpay.wait_for_payment(order, on_status=a_look)  # type: ignore[arg-type]


async def payments(aurpay: AurpayClient) -> None:
    made = await aurpay.create_payment(
        "18.00",
        "USD",
        chain="ETH",
        coin="USDT-ERC20",
        reference="cart-42",
        stablecoin_at_par=True,
        post_callbacks=True,
    )
    assert_type(made, PaymentOrder)
    assert_type(made.status, OrderStatus)
    assert_type(made.amount, Decimal)
    assert_type(made.address, str)
    assert_type(made.contract_addr, str | None)
    assert_type(made.pay_url, str | None)
    assert_type(made.overdue_at, datetime)
    assert_type(made.checks, tuple[str, ...])
    page = await aurpay.create_payment_url(18, "USD", succeed_url="https://x.example")
    assert_type(page, PaymentUrl)
    assert_type(page.pay_url, str)
    assert_type(page.attempt_id, str | None)

    await aurpay.create_payment(18, "USD", chain="ETH")  # type: ignore[call-arg]
    await aurpay.create_payment(18, "USD", chain="ETH", coin=None)  # type: ignore[arg-type]
    await aurpay.create_payment_url(18.5, "USD")  # type: ignore[arg-type]
    await aurpay.create_payment_url(18, "USD", post_callbacks="yes")  # type: ignore[arg-type]
    await aurpay.create_payment_url(18, "USD", coin="BTC")  # type: ignore[call-arg]
    NewPayment(18, "USD", chain="ETH", coin=5)  # type: ignore[arg-type]


async def lists(aurpay: AurpayClient) -> None:
    orders = await aurpay.list_orders(2, size=50)
    assert_type(orders, Page[Order])
    assert_type(orders.items, tuple[Order, ...])
    assert_type(orders.total, int)
    assert_type(await aurpay.ping(), None)
    assert_type(aurpay.iter_orders(page=2), AsyncGenerator[Order, None])
    async for order in aurpay.iter_orders():
        assert_type(order, Order)
    rows = await aurpay.list_transactions()
    assert_type(rows, Page[Transaction])
    async for row in aurpay.iter_transactions(size=50):
        assert_type(row, Transaction)
        assert_type(row.amount, Decimal | None)
        assert_type(row.obtained, Decimal | None)
        assert_type(row.fee, Decimal | None)
    assert_type(await aurpay.list_fiat_currencies(), object)

    await aurpay.list_orders(page="1")  # type: ignore[arg-type]
    aurpay.iter_orders(2)  # type: ignore[call-arg]
    orders.items = ()  # type: ignore[misc]


async def money(aurpay: AurpayClient, invoice: bolt11.Invoice) -> None:
    info = await aurpay.get_refund("20240428125136525824")
    assert_type(info, RefundInfo)
    assert_type(info.amount, Decimal)
    assert_type(info.extra, Mapping[str, object])
    done = await aurpay.refund_order(info.order_id)
    assert_type(done, Refund)
    assert_type(done.status, str)
    assert_type(done.date, str)
    paid = await aurpay.withdraw_lightning("lnbc1", amount=Decimal("0.0002"))
    assert_type(paid, Withdrawal)
    assert_type(paid.invoice, bolt11.Invoice)
    assert_type(paid.amount_msat, int)
    assert_type(paid.data, Mapping[str, object])
    await aurpay.withdraw_lightning(invoice)

    await aurpay.withdraw_lightning("lnbc1", amount=0.0002)  # type: ignore[arg-type]
    await aurpay.withdraw_lightning("lnbc1", "0.0002")  # type: ignore[call-arg]
    await aurpay.refund_order(7)  # type: ignore[arg-type]


async def anything_else(aurpay: AurpayClient, error: AurpayError) -> None:
    found = await aurpay.find_order(error, known={"20240428125136525824"})
    assert_type(found, OrderSearchResult)
    assert_type(found.outcome, Literal["found", "none_yet", "several"])
    assert_type(found.orders, tuple[Order, ...])
    assert_type(found.order, Order)
    await aurpay.find_order(OrderQuery.of(error), known=["20240428125136525824"])
    data = await aurpay.request(
        "POST",
        "/api/new",
        params={"a": 1, "b": Decimal("0.5"), "c": "x"},
        json={"price": Decimal("20.00")},
        effect=Effect.CREATE,
    )
    assert_type(data, object)
    await aurpay.request("GET", "/api/new", params=[("a", "1")], effect=Effect.READ)
    assert_type(await ApiKey.obtain("shop@x.example", "made up"), ApiKey)
    key = await ApiKey.obtain("shop@x.example", "made up", timeouts=Timeouts(call=5))
    AurpayClient(key)

    await aurpay.request("GET", "/api/new")  # type: ignore[call-arg]
    await aurpay.request("get", "/api/new", effect=Effect.READ)  # type: ignore[arg-type]
    await aurpay.request("GET", "/", params={"a": None}, effect=Effect.READ)  # type: ignore[dict-item]
    await aurpay.find_order("20240428125136525824")  # type: ignore[arg-type]
    await ApiKey.obtain("shop@x.example", "made up", network="regtest")  # type: ignore[call-arg]


async def clients(session: aiohttp.ClientSession) -> None:
    async with AurpayClient(ApiKey("k")) as aurpay:
        assert_type(aurpay, AurpayClient)
        assert_type(aurpay.with_options(timeouts=Timeouts(call=5)), AurpayClient)
    AurpayClient(
        ApiToken("t", "s", "HMAC-SHA3_256"),
        base_url="https://gateway.example",
        network="testnet",
        timeouts=Timeouts(connect=1, attempt=2.5, call=10),
        retry=RetryPolicy(max_attempts=1),
        payees=["02" * 33],
        reference_key=["a key of 16 characters", "an older one of as many"],
        session=session,
        transport=MemoryTransport(Response(status=204)),
        clock=FakeClock(),
        on_event=seen,
        trust_env=True,
        polls_per_second=2.5,
    )
    AurpayClient.from_env(network="signet", reference_key="a key of 16 characters")

    AurpayClient("key")  # type: ignore[arg-type]
    AurpayClient(reference_key=b"bytes of a key")  # type: ignore[arg-type]
    AurpayClient(network="moonnet")  # type: ignore[arg-type]
    AurpayClient.from_env(networks="signet")  # type: ignore[call-arg]
    ApiToken("t", "s", "HMAC-MD5")  # type: ignore[arg-type]


def seen(event: Event) -> None:
    assert_type(event, AttemptEvent | CallEvent)
    assert_type(event.outcome, RequestOutcome | None)
    assert_type(event.effect, Effect)


def failures(error: AurpayError) -> None:
    assert_type(error.code, str)
    assert_type(error.outcome, RequestOutcome)
    assert_type(error.attempts, int)
    assert_type(error.retryable, bool)
    assert_type(error.sent_at, datetime | None)
    assert_type(error.order_id, str | None)
    assert_type(error.new_order, NewOrder | None)
    assert_type(error.invoice, bolt11.Invoice | None)
    assert_type(error.advice, str | None)
    if isinstance(error, UntrustedOrderError):
        assert_type(error.check, str)
        assert_type(error.body, bytes)
    if isinstance(error, errors.RequestTimeoutError):
        as_builtin: TimeoutError = error
        raise as_builtin


def invoices(invoice: bolt11.Invoice) -> None:
    assert_type(bolt11.decode("lnbc1", strict=False), bolt11.Invoice)
    assert_type(invoice.network, bolt11.Network)
    assert_type(invoice.amount_msat, int | None)
    assert_type(invoice.expires_at, datetime)
    assert_type(invoice.fallbacks, tuple[bolt11.Fallback, ...])
    assert_type(invoice.routes, tuple[tuple[bolt11.Hop, ...], ...])
    assert_type(invoice.features[0].name, str | None)

    invoice.amount_msat = 1  # type: ignore[misc]


async def sandboxes() -> None:
    async with Sandbox(amounts="number") as sandbox, sandbox.client() as aurpay:
        assert_type(aurpay, AurpayClient)
        assert_type(sandbox.base_url, str)
        assert_type(sandbox.requests[0], ReceivedRequest)
        assert_type(sandbox.requests[0].body, bytes)
        assert_type(sandbox.orders["1"], SandboxOrder)
        assert_type(sandbox.transport(), Transport)

    Sandbox(amounts="float")  # type: ignore[arg-type]


class OwnTransport:
    """A custom transport without a base class."""

    async def send(self, request: Request) -> Response:
        assert_type(request.effect, Effect)
        return Response(status=200, body=request.body)


class OwnClock:
    """A custom clock without a base class."""

    def now(self) -> datetime:
        return datetime.now().astimezone() + timedelta(0)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError(seconds)


AurpayClient(transport=OwnTransport(), clock=OwnClock())


async def deliver(notification: Notification) -> None:
    assert_type(notification.confirmed, bool)
    assert_type(notification.reference, str)
    if isinstance(notification, ConfirmedNotification):
        assert_type(notification.order, Order)
    else:
        assert_type(notification, UnconfirmedNotification)
        assert_type(notification.reason, str)
        print(notification.order)  # type: ignore[attr-defined]  # noqa: T201


async def find_order(reference: Reference) -> LightningOrder | None:
    assert_type(reference.price, Decimal)
    return None


async def callbacks(aurpay: AurpayClient, order: LightningOrder) -> None:
    verifier = CallbackVerifier(secrets=["a"], tokens=["b"], reference_key="c" * 16)
    url = "https://x.example"
    event = verifier.verify(method="GET", url=url, headers={}, body=b"")
    assert_type(event, CallbackEvent)
    assert_type(event.reference, str | None)
    verifier.verify(method="GET", url=url, headers=[(b"Date", b"x")], kind="paid")
    verifier.verify(method="GET", url=url, headers={}, kind="refund")  # type: ignore[arg-type]
    CallbackVerifier()  # type: ignore[call-arg]
    stores: list[InboxStore] = [MemoryInbox(), SqlInbox("sqlite://")]
    processor = CallbackProcessor(
        verifier, deliver, reader=aurpay, lookup=find_order, inbox=stores[0]
    )
    assert_type(await processor.process(method="GET", url=url, headers={}), Reply)
    assert_type(await processor.poll(order), Reply)
    CallbackProcessor(verifier, deliver, inbox=stores[0])  # type: ignore[call-arg]
    CallbackProcessor(verifier, deliver, lookup=find_order, reader=aurpay)  # type: ignore[call-arg]
    assert_type(
        CallbackProcessor.unconfirmed_only(verifier, deliver, inbox=stores[1]),
        CallbackProcessor,
    )
    CallbackProcessor.unconfirmed_only(verifier, print, inbox=stores[1])  # type: ignore[arg-type]
