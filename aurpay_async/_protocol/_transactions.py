"""Transactions of the account, and withdrawals ("Create BLN Withdraw")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .. import bolt11
from .._checks import check_payable
from .._converter import dump_json
from .._envelope import read_envelope
from .._http import Effect
from .._models._transactions import Transaction, Withdrawal
from .._wire_names import wire_fields
from ..errors import InvalidRequestError
from ._common import get, post, read_page

if TYPE_CHECKING:
    from .._checks import InvoicePolicy
    from .._http import Request, Response
    from .._paging import Page

_NUMBER_FIELDS: Final = frozenset({"amount", "obtained", "fee"})

#: A row needs its id alone: a malformed one must not hide the others.
_TRANSACTION_FALLBACKS: Final = {
    name: None if name in _NUMBER_FIELDS else ""
    for name in wire_fields(Transaction) - {"tx_id"}
}

#: What to do about an invoice that must not be paid, by the failed check.
_PAYABLE_HINTS: Final = {
    "network": "ask for an invoice on the client's network",
    "timestamp": "set this machine's clock, or ask for a new invoice",
    "expiry": "ask for a new invoice",
}


def build_list_transactions(page: int, size: int) -> Request:
    """Build ``GET /api/v2/tx``. Aurpay documents it without a trailing slash."""
    return get("list_transactions", f"/api/v2/tx?page={page}&size={size}")


def parse_list_transactions(response: Response) -> Page[Transaction]:
    """Return a page of transactions. Raises as `read_page`."""
    return read_page(response, Transaction, _TRANSACTION_FALLBACKS)


class Payable(NamedTuple):
    """An invoice that may be paid now."""

    invoice: bolt11.Invoice
    amount_msat: int


def require_payable(
    invoice: bolt11.Invoice | str,
    expected_msat: int | None,
    policy: InvoicePolicy,
    now: float,
) -> Payable:
    """Return an invoice that may be paid now, decoded and verified.

    Args:
        invoice: The invoice. An `Invoice` object is decoded again.
        expected_msat: The amount that the caller expects; ``None`` for any.
        policy: The client's network is compared.
        now: Seconds since 1970.

    Raises:
        InvoiceError: if it cannot be decoded, or breaks a rule.
        InvalidRequestError: naming ``invoice`` or ``amount``.
    """
    encoded = invoice.text if isinstance(invoice, bolt11.Invoice) else invoice
    decoded = bolt11.decode(encoded)
    failed = check_payable(decoded, policy, now).failed
    if failed:
        check, problem = failed
        raise InvalidRequestError(problem, field="invoice", hint=_PAYABLE_HINTS[check])
    amount_msat = decoded.amount_msat
    if amount_msat is None:
        # The unit of Aurpay's `amount` field must not be guessed where money is sent.
        raise InvalidRequestError(
            "it leaves the amount open, and Aurpay does not document the unit of the "
            "amount field beside it",
            field="invoice",
            hint="ask for an invoice with an amount",
        )
    if expected_msat not in {None, amount_msat}:
        raise InvalidRequestError(
            f"expected {expected_msat} msat, but the invoice asks for {amount_msat}",
            field="amount",
            hint="find out which of the two is right",
        )
    return Payable(decoded, amount_msat)


def build_withdraw_lightning(invoice: bolt11.Invoice) -> Request:
    """Build ``POST /api/bln/withdraw``. ``ln_invoices`` is one string, not a list.

    The documented ``amount`` is for invoices without an amount. Its unit is not
    documented, so it is never sent.
    """
    body = dump_json({"ln_invoices": invoice.text}).encode("ascii")
    return post("withdraw_lightning", "/api/bln/withdraw", Effect.TRANSFER, body)


def parse_withdraw_lightning(response: Response, paid: Payable) -> Withdrawal:
    """Return Aurpay's response to a withdrawal.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape. The
            invoice may be paid.
    """
    data = read_envelope(response, Effect.TRANSFER)
    return Withdrawal(invoice=paid.invoice, amount_msat=paid.amount_msat, data=data)
