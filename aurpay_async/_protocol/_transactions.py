"""Money that moves: the account's rows, and withdrawals ("Create BLN Withdraw")."""

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

_NUMBERS: Final = frozenset({"amount", "obtained", "fee"})

#: Of a row, the id alone is needed: an odd one must not hide the others.
_SIDE: Final = {
    name: None if name in _NUMBERS else ""
    for name in wire_fields(Transaction) - {"tx_id"}
}

#: What to do about an invoice that must not be paid, by the check that failed.
_HINTS: Final = {
    "network": "ask for one of the client's network",
    "timestamp": "set this machine's clock, or ask for a new one",
    "expiry": "ask for a new one",
}


def build_list_transactions(page: int, size: int) -> Request:
    """``GET /api/v2/tx``: without a slash at its end."""
    return get("list_transactions", f"/api/v2/tx?page={page}&size={size}")


def parse_list_transactions(response: Response) -> Page[Transaction]:
    """A page of transactions; raises as `read_page`."""
    return read_page(response, Transaction, _SIDE)


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
    """An invoice that may be paid now, decoded and verified.

    Args:
        invoice: Its text; what was decoded elsewhere is decoded again.
        expected_msat: What the caller thinks that it asks for; ``None``: no matter.
        policy: The network that it must be of.
        now: Seconds since 1970.

    Raises:
        InvoiceError: it cannot be read, or breaks a rule.
        InvalidRequestError: naming ``invoice`` or ``amount``.
    """
    text = invoice.text if isinstance(invoice, bolt11.Invoice) else invoice
    decoded = bolt11.decode(text)
    failed = check_payable(decoded, policy, now).failed
    if failed:
        check, problem = failed
        raise InvalidRequestError(problem, field="invoice", hint=_HINTS[check])
    amount_msat = decoded.amount_msat
    if amount_msat is None:
        # Aurpay's call has a field for it. Nothing is guessed where money goes out.
        raise InvalidRequestError(
            "it leaves the amount open, and in which unit Aurpay takes one beside it "
            "is not documented",
            field="invoice",
            hint="ask for one with the amount in it",
        )
    if expected_msat not in {None, amount_msat}:
        raise InvalidRequestError(
            f"{expected_msat} msat are expected, the invoice asks for {amount_msat}",
            field="amount",
            hint="find out which of the two is right",
        )
    return Payable(decoded, amount_msat)


def build_withdraw_lightning(invoice: bolt11.Invoice) -> Request:
    """``POST /api/bln/withdraw``. The name is a plural, the value is one text.

    The documented ``amount`` is for invoices without one, and its unit is not
    documented: it is never sent.
    """
    body = dump_json({"ln_invoices": invoice.text}).encode("ascii")
    return post("withdraw_lightning", "/api/bln/withdraw", Effect.TRANSFER, body)


def parse_withdraw_lightning(response: Response, paid: Payable) -> Withdrawal:
    """What the platform says of paying an invoice.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is not the documented shape. It may be paid.
    """
    data = read_envelope(response, Effect.TRANSFER)
    return Withdrawal(invoice=paid.invoice, amount_msat=paid.amount_msat, data=data)
