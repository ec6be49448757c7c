"""Text output for orders, payments, invoices and lists."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import attrs

from .._api.lightning_order import LightningOrder
from .._client import AurpayClient
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
    from ..bolt11 import Feature, Hop, Invoice
    from ._options import ListOptions
    from ._output import Output


_T = TypeVar("_T")


class Listing(NamedTuple, Generic[_T]):
    """A list that Aurpay returns, and how its rows are shown."""

    #: Name of the rows, such as ``orders``: for people, and as a JSON key.
    noun: str
    #: The ``type`` of a row that is printed as one JSON object.
    kind: str
    #: The columns and their least widths.
    columns: Mapping[str, int]
    #: Returns the cells of a row.
    cells: Callable[[_T], Sequence[str]]
    #: Returns a row as JSON.
    members: Callable[[_T], dict[str, object]]
    #: Returns one page, by number and size.
    fetch: Callable[[AurpayClient, int, int], Awaitable[Page[_T]]]
    #: Iterates over all rows from a page on.
    iterate: Callable[[AurpayClient, int, int], AsyncGenerator[_T, None]]


async def show_list(output: Output, listing: Listing[_T], options: ListOptions) -> int:
    """Query Aurpay for a list, and show it."""
    async with AurpayClient.from_env() as aurpay:
        if options.everything:
            await _show_all(output, aurpay, listing, options)
        else:
            await _show_page(output, aurpay, listing, options)
    return 0


def show_rows(output: Output, listing: Listing[_T], rows: Sequence[_T]) -> None:
    """Show rows below the names of their columns."""
    if rows:
        output.cells(listing.columns.items(), "dim")
    for row in rows:
        _show_row(output, listing, row)


async def _show_page(
    output: Output, aurpay: AurpayClient, listing: Listing[_T], options: ListOptions
) -> None:
    with output.waiting(f"Querying the {listing.noun}"):
        page = await listing.fetch(aurpay, options.page, options.size)
    rows = {listing.noun: [listing.members(row) for row in page.items]}
    output.json(
        listing.noun,
        page=page.page,
        size=page.size,
        total=page.total,
        max_page=page.max_page,
        **rows,
    )
    show_rows(output, listing, page.items)
    output.line()
    of_pages = f"page {page.page:,} of {max(page.max_page, 1):,}"
    output.status(f"{of_pages}, {listing.noun} in all: {page.total:,}", "")


async def _show_all(
    output: Output, aurpay: AurpayClient, listing: Listing[_T], options: ListOptions
) -> None:
    count = 0
    with output.waiting(f"Querying the {listing.noun}") as show:
        async with aclosing(
            listing.iterate(aurpay, options.page, options.size)
        ) as rows:
            async for row in rows:
                if not count:
                    output.cells(listing.columns.items(), "dim")
                count += 1
                output.json(listing.kind, **listing.members(row))
                _show_row(output, listing, row)
                show(f"{count:,} {listing.noun} so far")
    output.line()
    output.status(f"{count:,} {listing.noun}", "")


def _show_row(output: Output, listing: Listing[_T], row: _T) -> None:
    output.cells(zip(listing.cells(row), listing.columns.values(), strict=True))


def pick(record: object, names: str) -> dict[str, Any]:
    """Return attributes of a record by name, in the order of `names`."""
    return {name: getattr(record, name) for name in names.split()}


def order_members(order: LightningOrder) -> dict[str, object]:
    """Return a new order as JSON."""
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
    """Return a new payment as JSON."""
    return {
        **pick(payment, "order_id status price currency amount coin chain address"),
        **pick(payment, "contract_addr create_time overdue_at pay_url reference"),
        **pick(payment, "attempt_id checks"),
    }


def detail_members(order: Order) -> dict[str, object]:
    """Return an order in Aurpay's form as JSON."""
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


def show_order(output: Output, order: LightningOrder) -> None:
    """Show a new order: its fields, its checks and its invoice."""
    invoice = order.payment_request
    results = {
        "signature": f"verified with {BACKENDS[backend()]}",
        "network": f"{invoice.network}, as the client expects",
        "amount": f"{invoice.amount_msat:,} msat, exactly the order's",
        "payment_secret": "equals payment_addr of the response",
        "timestamp": "not in the future",
        "expiry": f"payable until {moment(invoice.expires_at)}",
        "payee": f"{invoice.payee[:24]}..., as pinned",
        "pay_url": "at Aurpay, or on the client's own origin",
    }
    output.rows(_order_rows(order), "Order")
    _show_checks(output, order.checks, results)
    output.block("Invoice", str(invoice))


#: All checks, in order, and the text for a payment that passed them.
_PAYMENT_CHECKS: Final = {
    "price": "as requested",
    "currency": "as requested",
    "chain": "as requested",
    "coin": "as requested",
    "amount": "above 0; Aurpay decides the exchange rate",
    "address": "well-formed; nothing proves who owns it",
    "pay_url": "at Aurpay, or on the client's own origin",
}


def show_payment(output: Output, payment: PaymentOrder) -> None:
    """Show a new payment: its fields, its checks and the address to pay to."""
    output.rows(_order_rows(payment), "Payment")
    _show_checks(output, payment.checks, _PAYMENT_CHECKS)
    title = f"Pay {payment.amount:f} {payment.coin} on {payment.chain} to"
    output.block(title, payment.address)


def _order_rows(order: LightningOrder | PaymentOrder) -> Iterator[Row]:
    yield Row("order_id", order.order_id)
    yield Row("status", order.status)
    yield Row("price", f"{order.price:f} {order.currency}")
    if isinstance(order, LightningOrder):
        yield Row("amount", amount(order.payment_request.amount_msat or 0))
    else:
        yield Row("amount", f"{order.amount:f} {order.coin}")
        yield Row("chain", order.chain)
        if order.contract_addr is not None:
            yield Row("contract", order.contract_addr)
    yield Row("create_time", moment(order.create_time))
    yield Row("overdue_at", moment(order.overdue_at))
    if order.reference is not None:
        yield Row("reference", order.reference)
        yield Row("attempt_id", order.attempt_id or "")
    if order.pay_url is not None:
        yield Row("pay_url", order.pay_url)


def _show_checks(
    output: Output, passed: Sequence[str], results: Mapping[str, str]
) -> None:
    rows = [Row(name, results[name], "ok") for name in results if name in passed]
    output.rows(rows, "Checks passed")


def invoice_members(invoice: Invoice) -> dict[str, object]:
    """Return all fields of an invoice as JSON."""
    msat = invoice.amount_msat
    return {
        **pick(invoice, "text network"),
        "amount_msat": None if msat is None else str(msat),
        **pick(invoice, "created_at expiry expires_at payment_hash payment_secret"),
        **pick(invoice, "description description_hash metadata payee"),
        "min_final_cltv_expiry": invoice.min_final_cltv_expiry,
        "features": [pick(one, "bit name required") for one in invoice.features],
        "fallbacks": [attrs.asdict(fallback) for fallback in invoice.fallbacks],
        "routes": [[_hop_members(hop) for hop in route] for route in invoice.routes],
        "unknown_fields": [field._asdict() for field in invoice.unknown_fields],
        "signature": invoice.signature,
    }


def invoice_rows(invoice: Invoice, now: datetime) -> Iterator[Row]:
    """Return all fields of an invoice as rows."""
    yield Row("network", invoice.network)
    msat = invoice.amount_msat
    yield Row("amount", "open: the payer chooses it" if msat is None else amount(msat))
    if invoice.description is not None:
        yield Row("description", invoice.description)
    if invoice.description_hash is not None:
        yield Row("description hash", invoice.description_hash)
    yield Row("created", moment(invoice.created_at))
    at = when(invoice.expires_at, now)
    expired = invoice.expires_at <= now
    yield Row("expired" if expired else "expires", at, "warning" if expired else "")
    yield Row("payee", invoice.payee)
    yield Row("payment hash", invoice.payment_hash)
    yield Row("payment secret", invoice.payment_secret)
    if invoice.metadata is not None:
        yield Row("metadata", invoice.metadata)
    yield Row("final cltv", f"{invoice.min_final_cltv_expiry} blocks")
    for feature in invoice.features:
        yield Row("feature", _format_feature(feature))
    for fallback in invoice.fallbacks:
        address = (
            fallback.address or f"{fallback.program} of version {fallback.version}"
        )
        yield Row("fallback", address)
    for route in invoice.routes:
        yield Row("route", ", then ".join(map(_format_hop, route)))
    for field in invoice.unknown_fields:
        yield Row("unknown", f"{field.tag}: {field.data}")
    yield Row("signature", invoice.signature)


#: Rows that the user sees before an invoice is paid, in their order.
_PAYABLE_ROWS: Final = (
    "amount",
    "network",
    "description",
    "description hash",
    "payee",
    "payment hash",
    "expires",
    "expired",
)


def payable_rows(invoice: Invoice, now: datetime) -> list[Row]:
    """Return the rows that the user sees before an invoice is paid."""
    rows = {row.name: row for row in invoice_rows(invoice, now)}
    return [rows[name] for name in _PAYABLE_ROWS if name in rows]


def _format_feature(feature: Feature) -> str:
    need = "required" if feature.required else "optional"
    return f"{feature.bit} {feature.name or 'unknown'}, {need}"


def _format_hop(hop: Hop) -> str:
    return (
        f"{hop.pubkey} by {hop.short_channel_id} for {hop.fee_base_msat} msat + "
        f"{hop.fee_proportional_millionths} ppm, {hop.cltv_expiry_delta} blocks"
    )


def _hop_members(hop: Hop) -> dict[str, object]:
    return {**attrs.asdict(hop), "fee_base_msat": str(hop.fee_base_msat)}
