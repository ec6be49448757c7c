"""Does this answer belong to this order? What must hold before a payer sees it.

Each check is a small function that returns ``None`` if it holds, a sentence if it
does not, and `NOT_MADE` if there is nothing to compare. The table at the end is the
order in which they run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ._money import btc_to_msat
from ._urls import UrlError, format_origin, read_origin

if TYPE_CHECKING:
    from ._models import UncheckedOrder
    from ._network import Network
    from ._urls import Origin
    from .bolt11 import Invoice

#: Aurpay's checkout pages, also for a client that speaks to a gateway in front of it.
CHECKOUT_ORIGIN: Final[Origin] = ("https", "dashboard.aurpay.net", 443)

#: Clocks differ; an invoice may seem to come from the near future.
MAX_SKEW_S: Final = 5 * 60

_PLAIN_URL = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&()*+,;=._~%-]+")

#: What a check says: nothing, if it held.
_Problem = str | None

_Now = float | None

#: A check for which the client or the answer gives nothing to compare.
NOT_MADE: Final = "not made"


class Trust(NamedTuple):
    """What a client accepts."""

    network: Network
    #: The client's own origin, whose checkout pages are accepted as well.
    origin: Origin
    #: Public keys that may be paid, in lower-case hex; empty: any.
    payees: frozenset[str]


class Verdict(NamedTuple):
    """What checking came to."""

    #: The names of the checks that were made and held.
    passed: tuple[str, ...]
    #: Name and sentence of the first one that did not.
    failed: tuple[str, str] | None = None


def check_order(
    order: UncheckedOrder, invoice: Invoice, trust: Trust, now: float | None
) -> Verdict:
    """Make every check that can be made, up to the first that fails.

    Args:
        order: As it came from the platform.
        invoice: The order's, decoded; its signature has been verified.
        trust: What the client accepts.
        now: Seconds since 1970; ``None`` for an order whose times were checked when
            it came: it may have expired since.
    """
    passed = ["signature"]
    for name, check in _CHECKS:
        problem = check(order, invoice, trust, now)
        if problem is None:
            passed.append(name)
        elif problem is not NOT_MADE:
            return Verdict(tuple(passed), (name, problem))
    return Verdict(tuple(passed))


def _network(_o: UncheckedOrder, invoice: Invoice, trust: Trust, _n: _Now) -> _Problem:
    if invoice.network == trust.network:
        return None
    return f"the invoice is for {invoice.network}, and not for {trust.network}"


def _amount(order: UncheckedOrder, invoice: Invoice, _t: Trust, _n: _Now) -> _Problem:
    try:
        expected = btc_to_msat(order.amount)
    except ValueError as error:
        return f"the order's amount is {error}"
    asked = invoice.amount_msat
    if asked == expected:
        return None
    asks = "leaves the amount open" if asked is None else f"asks for {asked} msat"
    return f"the order is for {expected} msat, the invoice {asks}"


def _payment_secret(
    order: UncheckedOrder, invoice: Invoice, _t: Trust, _n: _Now
) -> _Problem:
    named = order.payment_addr
    if named is None:
        return NOT_MADE
    if named.lower() == invoice.payment_secret:
        return None
    return "payment_addr is not the invoice's payment secret"


def _timestamp(_o: UncheckedOrder, invoice: Invoice, _t: Trust, now: _Now) -> _Problem:
    if now is None:
        return NOT_MADE
    ahead = invoice.timestamp - now
    if ahead <= MAX_SKEW_S:
        return None
    return f"the invoice was made {ahead:.0f} s in the future; is this clock right?"


def _expiry(_o: UncheckedOrder, invoice: Invoice, _t: Trust, now: _Now) -> _Problem:
    if now is None:
        return NOT_MADE
    late = now - invoice.timestamp - invoice.expiry
    if late < 0:
        return None
    return f"the invoice expired {late:.0f} s ago"


def _payee(_o: UncheckedOrder, invoice: Invoice, trust: Trust, _n: _Now) -> _Problem:
    if not trust.payees:
        return NOT_MADE
    if invoice.payee in trust.payees:
        return None
    return f"the invoice pays {invoice.payee}, which is none of the pinned payees"


def _pay_url(order: UncheckedOrder, _i: Invoice, trust: Trust, _n: _Now) -> _Problem:
    # Shops put it into pages as it is: no quote or bracket may end an attribute there.
    if not _PLAIN_URL.fullmatch(order.pay_url):
        return "pay_url holds a character that is not safe in a page"
    try:
        origin = read_origin(order.pay_url)
    except UrlError as error:
        return f"pay_url {error}"
    if origin in (trust.origin, CHECKOUT_ORIGIN):
        return None
    return f"pay_url lies at {format_origin(origin)}"


_CHECKS: Final = (
    ("network", _network),
    ("amount", _amount),
    ("payment_secret", _payment_secret),
    ("timestamp", _timestamp),
    ("expiry", _expiry),
    ("payee", _payee),
    ("pay_url", _pay_url),
)
