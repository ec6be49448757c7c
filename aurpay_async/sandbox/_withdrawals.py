"""Pays invoices of others from what orders brought in.

Pure: it is given an invoice and the time.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

import attrs

from .. import bolt11
from ..errors import InvoiceError
from ._orders import NETWORK
from ._refusal import Refusal
from ._transactions import SandboxWithdrawal, balance_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ._orders import SandboxOrder

_MSAT_PER_BTC: Final = 10**11
#: Of its own, whatever the process has set.
_EXACT: Final = Context(prec=50)


@attrs.frozen
class Withdrawals:
    """Those of one sandbox, by the payment hash: an invoice is paid once."""

    orders: Mapping[str, SandboxOrder]
    made: dict[str, SandboxWithdrawal]

    def pay(self, fields: Mapping[str, object], now: datetime) -> SandboxWithdrawal:
        """Pay the invoice that a request names.

        Raises:
            Refusal: if it cannot be paid.
        """
        invoice, amount = _payable(fields, now)
        if invoice.payment_hash in self.made:
            raise Refusal(400, "the invoice is paid already")
        if any(order.invoice == invoice.text for order in self.orders.values()):
            raise Refusal(400, "the invoice is of an order of this account")
        balance = balance_of(self.orders.values(), self.made.values())
        if amount > balance:
            raise Refusal(400, f"the balance is {balance:f} BTC")
        withdrawal = SandboxWithdrawal(
            invoice=invoice.text,
            payment_hash=invoice.payment_hash,
            amount=amount,
            paid_at=now.replace(microsecond=0),
        )
        self.made[invoice.payment_hash] = withdrawal
        return withdrawal


def _payable(
    fields: Mapping[str, object], now: datetime
) -> tuple[bolt11.Invoice, Decimal]:
    text = fields.get("ln_invoices")
    if not isinstance(text, str):
        raise Refusal(400, "ln_invoices must be a text")
    try:
        invoice = bolt11.decode(text)
    except InvoiceError as error:
        raise Refusal(400, f"ln_invoices: {error}") from None
    if invoice.network != NETWORK:
        raise Refusal(400, f"the invoice is for {invoice.network}, not for {NETWORK}")
    if now >= invoice.expires_at:
        raise Refusal(400, "the invoice has expired")
    if not invoice.amount_msat:
        # Aurpay's call has a field for it, whose unit is not documented.
        raise Refusal(400, "the invoice names no amount, and this sandbox takes none")
    return invoice, _EXACT.divide(Decimal(invoice.amount_msat), Decimal(_MSAT_PER_BTC))
