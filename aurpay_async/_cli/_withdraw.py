"""``aurpay withdraw``: show an invoice, ask for confirmation, and pay it.

The invoice is verified before the user is asked. The client verifies it again when it
sends the request, because time passes while the user reads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .._client import AurpayClient
from .._clock import SystemClock
from .._protocol import require_payable
from ._arguments import (  # noqa: TC001 - read by cyclopts
    Flag,
    InvoiceText,
    OutputOption,
)
from ._calling import open_client
from ._confirm import Plan, abort, confirm, require_terminal
from ._decode import read_invoice_text
from ._invoice_view import invoice_members, payable_rows
from ._screen import Output, Row
from ._times import amount, msat_to_btc
from ._verify import make_policy, parse_amount

if TYPE_CHECKING:
    from .._protocol._transactions import Payable


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
    if not confirm(output, _withdrawal_plan(payable), yes=yes):
        return abort(output)
    return asyncio.run(_send_withdrawal(output, payable))


def _verify_payable(invoice: str, btc: str | None) -> Payable:
    expected = None if btc is None else parse_amount(btc, None)
    now = SystemClock().now().timestamp()
    text = read_invoice_text(invoice)
    return require_payable(text, expected, make_policy(None, ()), now)


def _withdrawal_plan(payable: Payable) -> Plan:
    return Plan(
        "Invoice to pay",
        [*payable_rows(payable.invoice, SystemClock().now())],
        f"Pay {amount(payable.amount_msat)}?",
    )


async def _send_withdrawal(output: Output, payable: Payable) -> int:
    async with open_client(output) as aurpay:
        with output.waiting("Paying the invoice"):
            withdrawal = await aurpay.withdraw_lightning(payable.invoice)
    output.json(
        "withdrawal",
        amount=f"{msat_to_btc(withdrawal.amount_msat):f}",
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
