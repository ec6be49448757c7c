"""Commands `tx list`, `withdraw` and `order refund`.

The invoice of a withdrawal is verified before the user is asked. The client verifies it
again when it sends the request, because time passes while the user reads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from cyclopts import Parameter

from .._api.account import require_payable
from .._api.payment_models import Transaction
from .._client import AurpayClient
from .._core.clock import SystemClock
from ._errors import open_client
from ._options import (
    LIST_DEFAULTS,
    Flag,
    InvoiceText,
    ListOptions,
    OrderId,
    OutputOption,
    Plan,
    confirm,
    require_terminal,
)
from ._output import Output, Row, amount, msat_to_btc
from ._views import (
    Listing,
    detail_members,
    detail_rows,
    invoice_members,
    payable_rows,
    pick,
    show_list,
)
from .invoices import make_policy, parse_amount, read_invoice_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from decimal import Decimal

    from .._api.account import Payable
    from .._api.models import Order
    from .._api.payment_models import RefundInfo


async def list_transactions(
    *, options: ListOptions = LIST_DEFAULTS, output_format: OutputOption = "text"
) -> int:
    """Show a page of transactions, or all transactions."""
    return await show_list(Output(output_format), TRANSACTIONS, options)


def _transaction_cells(row: Transaction) -> tuple[str, ...]:
    return (
        row.tx_id,
        row.tx_type,
        row.status,
        f"{_fixed_point(row.amount)} {row.coin}",
        _fixed_point(row.fee),
    )


def _fixed_point(number: Decimal | None) -> str:
    return "-" if number is None else f"{number:f}"


def _transaction_members(row: Transaction) -> dict[str, object]:
    return pick(row, "tx_id tx_type status chain coin amount obtained fee")


def _iterate_transactions(
    aurpay: AurpayClient, page: int, size: int
) -> AsyncGenerator[Transaction, None]:
    return aurpay.iter_transactions(page=page, size=size)


TRANSACTIONS: Final = Listing[Transaction](
    noun="transactions",
    kind="transaction",
    # The widths fit a terminal of 100 columns, so `obtained` is in the JSON alone.
    columns={"tx_id": 36, "type": 8, "status": 8, "amount": 20, "fee": 0},
    cells=_transaction_cells,
    members=_transaction_members,
    fetch=AurpayClient.list_transactions,
    iterate=_iterate_transactions,
)


def withdraw(
    invoice: InvoiceText,
    /,
    *,
    btc: Annotated[
        str | None,
        Parameter(
            name="--amount",
            help="Expected amount in BTC; an invoice over another amount is rejected.",
        ),
    ] = None,
    yes: Annotated[
        Flag,
        Parameter(
            help="Send it without asking. The invoice is verified, but you do not see "
            "it first: give --amount as well."
        ),
    ] = False,
    output_format: OutputOption = "text",
) -> int:
    """Pay an invoice if the user or ``--yes`` confirms it."""
    output = Output(output_format)
    if not yes and (code := require_terminal(output, "aurpay decode")):
        return code
    AurpayClient.from_env()  # reports missing settings before the user is asked
    payable = _verify_payable(invoice, btc)
    declined = confirm(output, _withdrawal_plan(payable), yes=yes)
    return declined or asyncio.run(_send_withdrawal(output, payable))


def _verify_payable(invoice: str, btc: str | None) -> Payable:
    expected = None if btc is None else parse_amount(btc, None)
    now = SystemClock().now().timestamp()
    text = read_invoice_text(invoice)
    return require_payable(text, expected, make_policy(None, ()), now)


def _withdrawal_plan(payable: Payable) -> Plan:
    return Plan(
        "Invoice to pay",
        payable_rows(payable.invoice, SystemClock().now()),
        f"Pay {amount(payable.amount_msat)}?",
    )


async def _send_withdrawal(output: Output, payable: Payable) -> int:
    async with open_client(output) as aurpay:
        with output.waiting("Paying the invoice"):
            withdrawal = await aurpay.withdraw_lightning(payable.invoice)
    output.json(
        "withdrawal",
        amount=msat_to_btc(withdrawal.amount_msat),
        amount_msat=str(withdrawal.amount_msat),
        payment_hash=withdrawal.invoice.payment_hash,
        data=withdrawal.data,
        invoice=invoice_members(withdrawal.invoice),
    )
    output.status(
        f"accepted for payment: {amount(withdrawal.amount_msat)}; "
        "`aurpay tx list` shows whether it is paid"
    )
    output.rows([Row("payment hash", withdrawal.invoice.payment_hash)])
    return 0


class _Refundable(NamedTuple):
    """An order, and what Aurpay would refund of it."""

    order: Order
    info: RefundInfo


def refund_order(
    order_id: OrderId,
    /,
    *,
    yes: Annotated[Flag, Parameter(help="Send it without asking.")] = False,
    output_format: OutputOption = "text",
) -> int:
    """Refund an order if the user or ``--yes`` confirms it."""
    output = Output(output_format)
    if not yes and (code := require_terminal(output, "aurpay order show")):
        return code
    refundable = asyncio.run(_query_refund(output, order_id))
    declined = confirm(output, _refund_plan(refundable), yes=yes)
    return declined or asyncio.run(_send_refund(output, refundable))


async def _query_refund(output: Output, order_id: str) -> _Refundable:
    async with AurpayClient.from_env() as aurpay:
        with output.waiting("Querying the order"):
            order = await aurpay.get_order(order_id)
            return _Refundable(order, await aurpay.get_refund(order_id))


def _refund_plan(refundable: _Refundable) -> Plan:
    order, info = refundable
    return Plan(
        f"Refund of order {order.order_id}",
        [*detail_rows(order), *_refund_rows(refundable)],
        f"Refund {info.amount:f} {info.coin}?",
    )


def _refund_rows(refundable: _Refundable) -> Iterator[Row]:
    order, info = refundable
    yield Row("refund", f"{info.amount:f} {info.coin} on {info.chain}")
    if order.refundable is False:
        yield Row("refundable", "no, according to Aurpay", "warning")
    receiver = "not documented by Aurpay: try it with a small order first"
    yield Row("receiver", receiver, "warning")


async def _send_refund(output: Output, refundable: _Refundable) -> int:
    order, info = refundable
    async with open_client(output) as aurpay:
        with output.waiting("Refunding the order"):
            refund = await aurpay.refund_order(order.order_id)
    output.json(
        "refund",
        **pick(refund, "order_id status amount date"),
        info=pick(info, "chain coin amount"),
        order=detail_members(order),
    )
    output.status(f"Aurpay answered {refund.status}")
    output.rows([Row("amount", f"{refund.amount:f}"), Row("date", refund.date)])
    return 0
