"""Withdraw: pay foreign invoices from the balance. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from .. import bolt11
from ..errors import InvoiceError
from ._orders import NETWORK
from ._refusal import ApiRejection
from ._transactions import EXACT, SandboxWithdrawal, balance_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ._orders import SandboxOrder

_MSAT_PER_BTC: Final = 10**11


@attrs.frozen
class Withdrawals:
    """All withdrawals of one sandbox, by payment hash: each invoice is paid once."""

    orders: Mapping[str, SandboxOrder]
    known: dict[str, SandboxWithdrawal]

    def pay(self, fields: Mapping[str, object], now: datetime) -> SandboxWithdrawal:
        """Pay the invoice in the fields of a request.

        Raises:
            ApiRejection: if it cannot be paid.
        """
        invoice, amount = _payable(fields, now)
        if invoice.payment_hash in self.known:
            raise ApiRejection(400, "the invoice was paid already")
        if any(order.invoice == invoice.text for order in self.orders.values()):
            raise ApiRejection(400, "the invoice belongs to an order of this account")
        balance = balance_of(self.orders.values(), self.known.values())
        if amount > balance:
            raise ApiRejection(400, f"the balance is {balance:f} BTC")
        withdrawal = SandboxWithdrawal(
            invoice=invoice.text,
            payment_hash=invoice.payment_hash,
            amount=amount,
            paid_at=now.replace(microsecond=0),
        )
        self.known[invoice.payment_hash] = withdrawal
        return withdrawal


def _payable(
    fields: Mapping[str, object], now: datetime
) -> tuple[bolt11.Invoice, Decimal]:
    text = fields.get("ln_invoices")
    if not isinstance(text, str):
        raise ApiRejection(400, "ln_invoices must be a string")
    try:
        invoice = bolt11.decode(text)
    except InvoiceError as error:
        raise ApiRejection(400, f"ln_invoices: {error}") from None
    if invoice.network != NETWORK:
        raise ApiRejection(
            400, f"the invoice is for {invoice.network}, not for {NETWORK}"
        )
    if now >= invoice.expires_at:
        raise ApiRejection(400, "the invoice has expired")
    if not invoice.amount_msat:
        # The unit of the amount field of Aurpay's call is not documented.
        raise ApiRejection(
            400,
            "the invoice has no amount, and the sandbox does not let you choose one",
        )
    return invoice, EXACT.divide(Decimal(invoice.amount_msat), Decimal(_MSAT_PER_BTC))
