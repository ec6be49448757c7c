"""``aurpay verify``: is this the invoice that was expected?

The checks are the client's own, so that both say the same of an invoice.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .. import bolt11
from .._checks import (
    CHECKOUT_ORIGIN,
    SKIPPED,
    InvoicePolicy,
    _amount,
    _expiry,
    _network,
    _payee,
    _timestamp,
)
from .._clock import SystemClock
from .._models import UncheckedOrder
from .._money import MAX_MSAT, btc_to_msat
from .._network import NETWORKS
from .._order_life import OrderStatus
from .._settings import require_network, require_payees
from ..errors import InvalidRequestError, InvoiceDecodeError, InvoiceError, shown
from ._decode import read_text
from ._failures import FAILED
from ._invoice_view import invoice_members
from ._screen import Row
from ._times import amount, distance, moment, msat_to_btc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from .._network import Network
    from ._screen import Screen

_AMOUNT = re.compile(
    r"([0-9]{1,8}(?:\.[0-9]{1,11})?) ?(?:BTC)?", re.ASCII | re.IGNORECASE
)


class Made(NamedTuple):
    """A check, and what came of it."""

    name: str
    verdict: Literal["ok", "failed", "not_made"]
    found: str


class Expected(NamedTuple):
    """What the invoice has to be, as it was given."""

    #: One of the two.
    btc: str | None
    msat: int | None
    #: ``None``: that of the environment, or the main one.
    network: Network | None
    payees: Sequence[str]


#: What a check says of an invoice that passed it.
_SAYS: Final[dict[str, Callable[[bolt11.Invoice, datetime], str]]] = {
    "network": lambda invoice, _: invoice.network,
    "amount": lambda invoice, _: amount(invoice.amount_msat or 0),
    "timestamp": lambda invoice, now: _when(invoice.created_at, now),
    "expiry": lambda invoice, now: f"payable until {_when(invoice.expires_at, now)}",
    "payee": lambda invoice, _: invoice.payee,
}

_CHECKS: Final = {
    "network": _network,
    "amount": _amount,
    "timestamp": _timestamp,
    "expiry": _expiry,
    "payee": _payee,
}

_ROWS: Final[dict[str, Literal["ok", "problem", ""]]] = {
    "ok": "ok",
    "failed": "problem",
    "not_made": "",
}


def verify_invoice(screen: Screen, given: str, expected: Expected) -> int:
    """Hold an invoice against what was expected; it is a no if one check fails."""
    invoice: bolt11.Invoice | None = None
    verdict = "it does not fit: do not pay it, and do not show it to a payer"
    msat = read_amount(expected.btc, expected.msat)
    policy = make_policy(expected)
    try:
        invoice = bolt11.decode(read_text(given))
    except InvoiceError as error:
        checks = [Made("signature", "failed", str(error))]
        if isinstance(error, InvoiceDecodeError):
            verdict = "it cannot be read, so nothing was compared"
    else:
        checks = [*_check(invoice, msat, policy)]
    fits = all(check.verdict != "failed" for check in checks)
    screen.record(
        "verdict",
        fits=fits,
        checks=[check._asdict() for check in checks],
        invoice=None if invoice is None else invoice_members(invoice),
    )
    screen.rows(Row(name, found, _ROWS[made]) for name, made, found in checks)
    if fits:
        screen.step("it fits: this is the invoice that was expected")
        return 0
    screen.step(verdict, "problem")
    return FAILED


def read_amount(btc: str | None, msat: int | None) -> int:
    """What is expected, in millisatoshi.

    Raises:
        InvalidRequestError: unless exactly one of the two is given, and possible.
    """
    if (btc is None) == (msat is None):
        raise InvalidRequestError(
            "give either --amount in BTC or --amount-msat", field="amount"
        )
    if btc is None:
        return _require_msat(msat or 0)
    match = _AMOUNT.fullmatch(btc)
    if match is None:
        raise InvalidRequestError(
            f"not an amount in BTC: {shown(btc)}",
            field="amount",
            hint='write it like "0.0001"',
        )
    try:
        return btc_to_msat(Decimal(match[1]))
    except ValueError as error:
        raise InvalidRequestError(str(error), field="amount") from None


def make_policy(expected: Expected) -> InvoicePolicy:
    """What is accepted, the network of the environment if no other was named."""
    named = expected.network or os.environ.get("AURPAY_NETWORK") or NETWORKS[0]
    return InvoicePolicy(
        network=require_network(named, "AURPAY_NETWORK"),
        origin=CHECKOUT_ORIGIN,
        payees=require_payees(expected.payees),
    )


def _require_msat(msat: int) -> int:
    if not 0 < msat <= MAX_MSAT:
        raise InvalidRequestError("no amount of millisatoshi", field="amount_msat")
    return msat


def _check(invoice: bolt11.Invoice, msat: int, policy: InvoicePolicy) -> Iterator[Made]:
    now = SystemClock().now()
    order = _as_order(invoice, msat)
    yield Made("signature", "ok", "verified; the invoice breaks no rule of BOLT #11")
    for name, check in _CHECKS.items():
        problem = check(order, invoice, policy, now.timestamp())
        if problem is None:
            yield Made(name, "ok", _SAYS[name](invoice, now))
        elif problem is SKIPPED:
            yield Made(name, "not_made", f"{invoice.payee}; no --payee was given")
        else:
            yield Made(name, "failed", problem)


def _as_order(invoice: bolt11.Invoice, msat: int) -> UncheckedOrder:
    """The order that the client's checks hold an invoice against."""
    return UncheckedOrder(
        order_id="expected",
        status=OrderStatus.PENDING,
        amount=msat_to_btc(msat),
        create_time=invoice.created_at,
        payment_request=str(invoice),
        pay_url="",
    )


def _when(time: datetime, now: datetime) -> str:
    return f"{moment(time)}, {distance(time, now)}"
