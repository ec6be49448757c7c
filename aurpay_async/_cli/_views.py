"""Text output for orders, payments, invoices and lists."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import attrs

from .._api.lightning_order import LightningOrder
from .._client import AurpayClient
from .._core.json import pick
from ..bolt11 import backend
from ._output import Row, amount, moment, when

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
        Iterator,
        Mapping,
        Sequence,
    )
    from datetime import datetime

    from .._api.models import Order, Page
    from .._api.payment_models import PaymentOrder
    from ..bolt11 import Hop, Invoice
    from ._options import ListOptions
    from ._output import Output

    #: The names of columns, and their least widths.
    Columns = Mapping[str, int]

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Listing(Generic[_T]):
    """A list that Aurpay returns, and how its rows are shown."""

    #: Name of the rows, such as ``orders``: for people, and as a JSON key.
    noun: str
    #: The ``type`` of a row that is printed as one JSON object.
    kind: str
    columns: Columns
    #: Returns the cells of a row.
    cells: Callable[[_T], Sequence[str]]
    #: Returns a row as JSON.
    members: Callable[[_T], dict[str, object]]
    #: Returns one page, by number and size.
    fetch: Callable[[AurpayClient, int, int], Awaitable[Page[_T]]]
    #: Iterates over all rows from a page on.
    iterate: Callable[[AurpayClient, int, int], AsyncGenerator[_T, None]]


async def show_list(output: Output, listing: Listing[_T], options: ListOptions) -> int:
    async with AurpayClient.from_env() as aurpay:
        if options.everything:
            await _show_all(output, aurpay, listing, options)
        else:
            await _show_page(output, aurpay, listing, options)
    return 0


def show_rows(output: Output, columns: Columns, rows: Sequence[Sequence[str]]) -> None:
    """Show rows below the names of their columns, given with their least widths."""
    if rows:
        output.cells(columns.items(), "dim")
    for row in rows:
        output.cells(zip(row, columns.values(), strict=True))


async def _show_page(
    output: Output, aurpay: AurpayClient, listing: Listing[_T], options: ListOptions
) -> None:
    with output.waiting(f"Querying the {listing.noun}"):
        page = await listing.fetch(aurpay, options.page, options.size)
    members = [listing.members(row) for row in page.items]
    fields = pick(page, "page size total max_page")
    output.json(listing.noun, **fields, **{listing.noun: members})
    show_rows(output, listing.columns, [listing.cells(row) for row in page.items])
    output.line()
    of_pages = f"page {page.page:,} of {max(page.max_page, 1):,}"
    output.status(f"{of_pages}, {listing.noun} in all: {page.total:,}", "")


async def _show_all(
    output: Output, aurpay: AurpayClient, listing: Listing[_T], options: ListOptions
) -> None:
    count = 0
    with output.waiting(f"Querying the {listing.noun}") as show:
        found = listing.iterate(aurpay, options.page, options.size)
        async with aclosing(found) as rows:
            async for row in rows:
                if not count:
                    output.cells(listing.columns.items(), "dim")
                count += 1
                output.json(listing.kind, **listing.members(row))
                widths = listing.columns.values()
                output.cells(zip(listing.cells(row), widths, strict=True))
                show(f"{count:,} {listing.noun} so far")
    output.line()
    output.status(f"{count:,} {listing.noun}", "")


def order_members(order: LightningOrder) -> dict[str, object]:
    invoice = order.payment_request
    return {
        **pick(order, "order_id status price currency amount"),
        "amount_msat": str(invoice.amount_msat),
        **pick(order, "create_time overdue_at pay_url"),
        "payment_request": str(invoice),
        **pick(invoice, "payment_hash network payee expires_at"),
        **pick(order, "reference attempt_id checks"),
    }


def payment_members(payment: PaymentOrder) -> dict[str, object]:
    return {
        **pick(payment, "order_id status price currency amount coin chain address"),
        **pick(payment, "contract_addr create_time overdue_at pay_url reference"),
        **pick(payment, "attempt_id checks"),
    }


def detail_members(order: Order) -> dict[str, object]:
    return {
        **pick(order, "order_id status"),
        **pick(order.status, "is_paid is_final"),
        **pick(order, "price currency amount coin chain order_type platform remark"),
        **pick(order, "refundable create_time update_time"),
    }


def detail_rows(order: Order) -> Iterator[Row]:
    """Return an order in Aurpay's form as rows, without the fields it does not have."""
    paid = {True: "paid", False: "not paid", None: "unknown whether it is paid"}
    yield Row("status", f"{order.status}: {paid[order.status.is_paid]}")
    if order.price is not None:
        yield Row("price", f"{order.price:f} {order.currency or ''}")
    if order.amount is not None:
        yield Row("amount", f"{order.amount:f} {order.coin or ''}")
    if order.create_time is not None:
        yield Row("create_time", moment(order.create_time))
    if order.update_time is not None:
        yield Row("update_time", moment(order.update_time))
    if order.remark:
        yield Row("remark", order.remark)


BACKENDS: Final = {"wallycore": "libsecp256k1 (wallycore)", "python": "plain Python"}

#: The text for an order that passed a check, in the order of the checks.
_INVOICE_CHECKS: Final = {
    "signature": "verified with {library}",
    "network": "{0.network}, as the client expects",
    "amount": "{0.amount_msat:,} msat, exactly the order's",
    "payment_secret": "equals payment_addr of the response",
    "timestamp": "not in the future",
    "expiry": "payable until {0.expires_at:%Y-%m-%d %H:%M:%S} UTC",
    "payee": "{0.payee:.24}..., as pinned",
    "pay_url": "at Aurpay, or on the client's own origin",
}
_PAYMENT_CHECKS: Final = {
    **dict.fromkeys(("price", "currency", "chain", "coin"), "as requested"),
    "amount": "above 0; Aurpay decides the exchange rate",
    "address": "well-formed; nothing proves who owns it",
    "pay_url": _INVOICE_CHECKS["pay_url"],
}


def show_order(output: Output, order: LightningOrder | PaymentOrder) -> None:
    """Show a new order: its fields, its checks, and the invoice or address to pay."""
    coin: dict[str, str | None] = {}
    paid: object
    if isinstance(order, LightningOrder):
        title, checks, paid = "Order", _INVOICE_CHECKS, order.payment_request
        pay, total = "Invoice", amount(order.payment_request.amount_msat or 0)
    else:
        title, checks, paid = "Payment", _PAYMENT_CHECKS, order.address
        total = f"{order.amount:f} {order.coin}"
        pay = f"Pay {total} on {order.chain} to"
        coin = {"chain": order.chain, "contract": order.contract_addr}
    fields = {
        "order_id": order.order_id,
        "status": order.status,
        "price": f"{order.price:f} {order.currency}",
        "amount": total,
        **coin,
        "create_time": moment(order.create_time),
        "overdue_at": moment(order.overdue_at),
        **pick(order, "reference attempt_id pay_url"),
    }
    rows = [Row(name, value) for name, value in fields.items() if value]
    output.rows(rows, title)
    passed = [
        Row(name, checks[name].format(paid, library=BACKENDS[backend()]), "ok")
        for name in checks
        if name in order.checks
    ]
    output.rows(passed, "Checks passed")
    output.title(pay)
    output.line(str(paid))
    output.line()


def invoice_members(invoice: Invoice) -> dict[str, object]:
    msat = invoice.amount_msat
    return {
        **pick(invoice, "text network"),
        "amount_msat": None if msat is None else str(msat),
        **pick(invoice, "created_at expiry expires_at payment_hash payment_secret"),
        **pick(invoice, "description description_hash metadata payee"),
        "min_final_cltv_expiry": invoice.min_final_cltv_expiry,
        "features": [pick(one, "bit name required") for one in invoice.features],
        "fallbacks": [attrs.asdict(fallback) for fallback in invoice.fallbacks],
        "routes": [
            [{**attrs.asdict(h), "fee_base_msat": str(h.fee_base_msat)} for h in route]
            for route in invoice.routes
        ],
        "unknown_fields": [field._asdict() for field in invoice.unknown_fields],
        "signature": invoice.signature,
    }


def invoice_rows(invoice: Invoice, now: datetime) -> Iterator[Row]:
    yield Row("network", invoice.network)
    msat = invoice.amount_msat
    yield Row("amount", "open: the payer chooses it" if msat is None else amount(msat))
    yield from _known_rows(invoice, "description", "description_hash")
    yield Row("created", moment(invoice.created_at))
    at = when(invoice.expires_at, now)
    expired = invoice.expires_at <= now
    yield Row("expired" if expired else "expires", at, "warning" if expired else "")
    yield Row("payee", invoice.payee)
    yield Row("payment hash", invoice.payment_hash)
    yield Row("payment secret", invoice.payment_secret)
    yield from _known_rows(invoice, "metadata")
    yield Row("final cltv", f"{invoice.min_final_cltv_expiry} blocks")
    for feature in invoice.features:
        need = "required" if feature.required else "optional"
        yield Row("feature", f"{feature.bit} {feature.name or 'unknown'}, {need}")
    for fallback in invoice.fallbacks:
        program = f"{fallback.program} of version {fallback.version}"
        yield Row("fallback", fallback.address or program)
    for route in invoice.routes:
        yield Row("route", ", then ".join(map(_format_hop, route)))
    for field in invoice.unknown_fields:
        yield Row("unknown", f"{field.tag}: {field.data}")
    yield Row("signature", invoice.signature)


def _known_rows(invoice: Invoice, *names: str) -> Iterator[Row]:
    for name, value in pick(invoice, " ".join(names)).items():
        if value is not None:
            yield Row(name.replace("_", " "), value)


#: Rows that the user sees before an invoice is paid, in their order.
_PAYABLE_ROWS: Final = (
    *("amount", "network", "description", "description hash"),
    *("payee", "payment hash", "expires", "expired"),
)


def payable_rows(invoice: Invoice, now: datetime) -> list[Row]:
    """Return the rows that the user sees before an invoice is paid."""
    rows = {row.name: row for row in invoice_rows(invoice, now)}
    return [rows[name] for name in _PAYABLE_ROWS if name in rows]


def _format_hop(hop: Hop) -> str:
    return (
        f"{hop.pubkey} by {hop.short_channel_id} for {hop.fee_base_msat} msat + "
        f"{hop.fee_proportional_millionths} ppm, {hop.cltv_expiry_delta} blocks"
    )
