"""Commands `order ...`, `payment ...` and `tx ...`."""

from __future__ import annotations

import asyncio
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final

import attrs

from .._api.lightning_order import LightningOrder
from .._api.models import Order, OrderStatus
from .._api.payment_models import Transaction
from .._client import AurpayClient
from .._client.lost_orders import OrderQuery
from .._core.clock import SystemClock
from .._core.json import pick
from ..bolt11._qr import segments
from ..errors import InvalidRequestError, shown
from . import FAILED
from . import _options as opt
from . import _views as views
from ._errors import open_client
from ._output import TEXT, Output, Row, countdown, moment, open_page, parse_time

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from .._api.payment_models import PaymentOrder, RefundInfo
    from .._client.lost_orders import OrderSearchResult

    #: An order that was just created, in any coin.
    Watched = LightningOrder | PaymentOrder


async def create_order(
    price: opt.Price,
    currency: opt.Currency,
    /,
    *,
    options: opt.OrderOptions = opt.ORDER_DEFAULTS,
    qr: Annotated[opt.Flag, opt.doc("Show the invoice as a QR code.")] = False,
    watch: opt.WatchOption = False,
    browser: opt.OpenOption = False,
    output: Output = TEXT,
) -> int:
    keywords = options.for_client()
    async with open_client(output) as aurpay:
        with output.waiting(f"Creating an order of {price} {currency}"):
            order = await aurpay.create_order(price, currency, **keywords)
        output.json("order", **views.order_members(order))
        views.show_order(output, order)
        if qr:
            output.qr_code(*segments(order.payment_request.text))
        if browser:
            await open_page(output, order.pay_url)
        return await watch_payment(output, aurpay, order) if watch else 0


_OUTCOMES: Final = {
    "paid": "paid",
    "late_paid": "paid late: check stock and exchange rate before you fulfil it",
    "timed_out": "not paid in time",
    "refunded": "paid and refunded",
}
#: Seconds between two updates of the time left to pay.
_TICK_S: Final = 1


async def watch_payment(output: Output, aurpay: AurpayClient, order: Watched) -> int:
    """Wait until an order is paid or its time is over; return 1 if it is not paid."""
    output.title(f"Waiting for the payment until {moment(order.overdue_at)}")
    changes: list[OrderStatus] = []
    awaited = order if isinstance(order, LightningOrder) else order.order_id
    payment = aurpay.wait_for_payment(awaited, on_status=changes.append)
    waiting = asyncio.create_task(payment)
    status = order.status
    with output.waiting(status) as show:
        try:
            while not waiting.done():
                show(_progress(order, status))
                await asyncio.wait({waiting}, timeout=_TICK_S)
                while changes:
                    status = changes.pop(0)
                    now = SystemClock().now()
                    members = {"order_id": order.order_id, "status": status, "at": now}
                    output.json("status", **members)
                    output.status(f"{moment(now)}: {status}", "")
        finally:
            waiting.cancel()
    outcome, status = waiting.result().outcome, waiting.result().order.status
    output.json("payment", order_id=order.order_id, outcome=outcome, status=status)
    paid = outcome in {"paid", "late_paid"}
    output.status(_OUTCOMES[outcome], "ok" if paid else "problem")
    return 0 if paid else FAILED


def _progress(order: Watched, status: OrderStatus) -> str:
    """Return the status, and the time left to pay while the order is pending.

    A sandbox can let orders time out before the documented 30 minutes are over.
    """
    if status is not OrderStatus.PENDING:
        return f"{status}: a payment would be late" if status == "OVERDUE" else status
    left = countdown((order.overdue_at - SystemClock().now()).total_seconds())
    return f"{status}, {left} left to pay"


async def show_order_by_id(order_id: opt.OrderId, /, *, output: Output = TEXT) -> int:
    async with AurpayClient.from_env() as aurpay:
        with output.waiting("Querying the order"):
            order = await aurpay.get_order(order_id)
    output.json("detail", **views.detail_members(order))
    output.rows(views.detail_rows(order), f"Order {order.order_id}")
    return 0


async def list_orders(
    *, options: opt.ListOptions = opt.LIST_DEFAULTS, output: Output = TEXT
) -> int:
    return await views.show_list(output, ORDERS, options)


def _order_cells(order: Order) -> tuple[str, ...]:
    price = _format_sum(order.price, order.currency)
    amount = _format_sum(order.amount, order.coin)
    return order.order_id, moment(order.create_time), order.status, price, amount


def _format_sum(number: Decimal | None, unit: str | None) -> str:
    return "-" if number is None else f"{number:f} {unit or ''}"


ORDERS: Final = views.Listing[Order](
    noun="orders",
    kind="detail",
    columns={"order_id": 20, "created": 23, "status": 10, "price": 12, "amount": 0},
    cells=_order_cells,
    members=views.detail_members,
    fetch=AurpayClient.list_orders,
    iterate=lambda aurpay, page, size: aurpay.iter_orders(page=page, size=size),
)

TRANSACTIONS: Final = views.Listing[Transaction](
    noun="transactions",
    kind="transaction",
    # The widths fit a terminal of 100 columns, so `obtained` is in the JSON alone.
    columns={"tx_id": 36, "type": 8, "status": 8, "amount": 20, "fee": 0},
    cells=lambda row: (
        row.tx_id,
        row.tx_type,
        row.status,
        _format_sum(row.amount, row.coin),
        _format_sum(row.fee, "").rstrip(),
    ),
    members=lambda row: pick(
        row, "tx_id tx_type status chain coin amount obtained fee"
    ),
    fetch=AurpayClient.list_transactions,
    iterate=lambda aurpay, page, size: aurpay.iter_transactions(page=page, size=size),
)


async def list_transactions(
    *, options: opt.ListOptions = opt.LIST_DEFAULTS, output: Output = TEXT
) -> int:
    return await views.show_list(output, TRANSACTIONS, options)


async def find_order(
    price: opt.Price,
    currency: opt.Currency,
    /,
    *,
    sent_at: Annotated[
        str,
        opt.doc(
            "When the last request to create it was sent: ISO 8601, UTC if it "
            "has no zone."
        ),
    ],
    chain: Annotated[
        str | None, opt.doc("Chain of a payment; without it, a Lightning order.")
    ] = None,
    coin: Annotated[str | None, opt.doc("Coin of a payment.")] = None,
    known: Annotated[
        opt.Several,
        opt.doc("Id of an order that belongs to another request; may be repeated."),
    ] = (),
    output: Output = TEXT,
) -> int:
    query = OrderQuery(price=price, currency=currency, sent_at=_parse_sent_at(sent_at))
    if chain is not None and coin is not None:
        query = attrs.evolve(query, chain=chain, coin=coin)
    elif chain is not None or coin is not None:
        problem = "--chain and --coin are given together, or neither of them"
        raise InvalidRequestError(problem, field="coin")
    async with AurpayClient.from_env() as aurpay:
        with output.waiting("Searching the orders"):
            result = await aurpay.find_order(query, known=known)
    orders = [*map(views.detail_members, result.orders)]
    output.json("found", outcome=result.outcome, orders=orders)
    return _show_result(output, result)


def _parse_sent_at(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        problem, like = f"not a time: {shown(text)}", "2026-01-31T12:00:00Z"
        hint = f"write it like {like}"
        raise InvalidRequestError(problem, field="sent_at", hint=hint) from None


def _show_result(output: Output, result: OrderSearchResult) -> int:
    if result.outcome == "found":
        output.rows(views.detail_rows(result.order), f"Order {result.order.order_id}")
        alone = "the only match, unless another buyer requested the same amount"
        output.status(f"found: {alone}")
        return 0
    problem = "no order matches yet: search again before you create another"
    if result.outcome == "several":
        views.show_rows(output, ORDERS.columns, [*map(_order_cells, result.orders)])
        output.line()
        problem = "several orders match: exclude those of other requests with --known"
    output.status(problem, "problem")
    return FAILED


def refund_order(
    order_id: opt.OrderId,
    /,
    *,
    yes: Annotated[opt.Flag, opt.doc("Send it without asking.")] = False,
    output: Output = TEXT,
) -> int:
    show = f"aurpay order show {quote(order_id)}"
    if not yes and (code := opt.require_terminal(output, show)):
        return code
    order, info = asyncio.run(_query_refund(output, order_id))
    declined = opt.confirm(output, _refund_plan(order, info), yes=yes)
    return declined or asyncio.run(_send_refund(output, order, info))


async def _query_refund(output: Output, order_id: str) -> tuple[Order, RefundInfo]:
    async with AurpayClient.from_env() as aurpay:
        with output.waiting("Querying the order"):
            order = await aurpay.get_order(order_id)
            if order.status is OrderStatus.REFUNDED:
                problem = f"{order.order_id} is refunded already"
                error = InvalidRequestError(problem, field="order_id")
                error.advice = "Nothing was sent: nothing is left to refund."
                raise error
            return order, await aurpay.get_refund(order_id)


def _refund_plan(order: Order, info: RefundInfo) -> opt.Plan:
    amount = f"{info.amount:f} {info.coin}"
    rows = [*views.detail_rows(order), Row("refund", f"{amount} on {info.chain}")]
    if order.refundable is False:
        rows.append(Row("refundable", "no, according to Aurpay", "warning"))
    receiver = "not documented by Aurpay: try it with a small order first"
    rows.append(Row("receiver", receiver, "warning"))
    return opt.Plan(f"Refund of order {order.order_id}", rows, f"Refund {amount}?")


async def _send_refund(output: Output, order: Order, info: RefundInfo) -> int:
    async with open_client(output) as aurpay:
        with output.waiting("Refunding the order"):
            refund = await aurpay.refund_order(order.order_id)
        members = pick(refund, "order_id status amount date")
        members["info"] = pick(info, "chain coin amount")
        output.json("refund", **members, order=views.detail_members(order))
        output.status(f"Aurpay answered {refund.status}")
        output.rows([Row("amount", f"{refund.amount:f}"), Row("date", refund.date)])
        listed = "an order store lists a duplicate payment until it has polled"
        due = "`aurpay store reconcile REFERENCE` makes that due now"
        output.status(f"{listed} the refund: {due}", "")
    return 0


async def create_payment(
    price: opt.Price,
    currency: opt.Currency,
    /,
    *,
    chain: Annotated[str, opt.doc("Chain, such as ETH; Aurpay decides which exist.")],
    coin: Annotated[str, opt.doc("Coin, such as USDT-ERC20.")],
    options: opt.PaymentOptions = opt.PAYMENT_DEFAULTS,
    watch: opt.WatchOption = False,
    browser: opt.OpenOption = False,
    output: Output = TEXT,
) -> int:
    keywords = options.for_client()
    async with open_client(output) as aurpay:
        with output.waiting(f"Creating a payment of {price} {currency}"):
            payment = await aurpay.create_payment(
                price, currency, chain=chain, coin=coin, **keywords
            )
        output.json("payment_order", **views.payment_members(payment))
        views.show_order(output, payment)
        if browser:
            await open_page(output, payment.pay_url)
        return await watch_payment(output, aurpay, payment) if watch else 0


async def create_payment_url(
    price: opt.Price,
    currency: opt.Currency,
    /,
    *,
    options: opt.PaymentOptions = opt.PAYMENT_DEFAULTS,
    qr: Annotated[
        opt.Flag, opt.doc("Show the address of the page as a QR code.")
    ] = False,
    browser: opt.OpenOption = False,
    output: Output = TEXT,
) -> int:
    keywords = options.for_client()
    async with open_client(output) as aurpay:
        with output.waiting(f"Requesting a checkout page of {price} {currency}"):
            page = await aurpay.create_payment_url(price, currency, **keywords)
    members = pick(page, "pay_url price currency reference attempt_id")
    output.json("payment_url", **members)
    output.title(f"Checkout page of {page.price:f} {page.currency}")
    output.line(page.pay_url)
    output.line()
    if qr:
        output.qr_code(page.pay_url)
    if browser:
        await open_page(output, page.pay_url)
    output.status("the order is created when the payer chooses a coin", "")
    return 0
