"""Does this answer belong to this order? What must hold before a payer sees it.

Each check is a small function that returns ``None`` if it holds, a sentence if it
does not, and `SKIPPED` if there is nothing to compare. The tables at the end are the
order in which they run: for Lightning orders, for payments in other coins, and for
invoices that are to be paid.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVarTuple

from ._money import btc_to_msat
from ._order_life import OrderStatus
from ._urls import UrlError, format_origin, parse_origin
from .errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._lightning_order import LightningOrder
    from ._models import Order, UncheckedOrder
    from ._models._payments import NewPayment, UncheckedPayment
    from ._network import Network
    from ._seen import SeenOrders
    from ._urls import Origin
    from .bolt11 import Invoice

#: Aurpay's checkout pages, also for a client that speaks to a gateway in front of it.
CHECKOUT_ORIGIN: Final[Origin] = ("https", "dashboard.aurpay.net", 443)

#: Clocks differ; an invoice may seem to come from the near future.
MAX_SKEW_S: Final = 5 * 60

_PLAIN_URL = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&()*+,;=._~%-]+")

#: What addresses are written with, of any chain; the longest have some 200 characters.
_ADDRESS = re.compile(r"[A-Za-z0-9:/?@*+=._~-]{1,256}")

#: No order is one of these in the seconds between its making and its first payer.
_NOT_NEW: Final = frozenset(
    {
        OrderStatus.OVERDUE,
        OrderStatus.SUCCESS,
        OrderStatus.RESOLVED,
        OrderStatus.REFUNDED,
    }
)

_Arguments = TypeVarTuple("_Arguments")

#: What a check says: nothing, if it held.
_Problem = str | None

_Now = float | None

#: A check for which the client or the answer gives nothing to compare.
SKIPPED: Final = "not made"


class InvoicePolicy(NamedTuple):
    """What a client accepts."""

    network: Network
    #: The client's own origin, whose checkout pages are accepted as well.
    origin: Origin
    #: Public keys that may be paid, in lower-case hex; empty: any.
    payees: frozenset[str]
    #: More origins whose checkout pages are accepted.
    pay_url_origins: frozenset[Origin] = frozenset()
    #: The orders that the client created before; ``None``: not to be compared.
    seen: SeenOrders | None = None


class CheckResult(NamedTuple):
    """What checking came to."""

    #: The names of the checks that were made and held.
    passed: tuple[str, ...]
    #: Name and sentence of the first one that did not.
    failed: tuple[str, str] | None = None


def check_order(
    order: UncheckedOrder, invoice: Invoice, policy: InvoicePolicy, now: float | None
) -> CheckResult:
    """Make every check that can be made, up to the first that fails.

    Args:
        order: As it came from the platform.
        invoice: The order's, decoded; its signature has been verified.
        policy: What the client accepts.
        now: Seconds since 1970; ``None`` for an order whose times were checked when
            it came: it may have expired since.
    """
    return _verdict(["signature"], _CHECKS, order, invoice, policy, now)


def check_payment(
    payment: UncheckedPayment, asked: NewPayment, policy: InvoicePolicy
) -> CheckResult:
    """Make every check that can be made, up to the first that fails.

    Nothing can be made of the address: no signature says whose it is.

    Args:
        payment: As it came from the platform.
        asked: What was asked for.
        policy: What the client accepts.
    """
    return _verdict([], _PAYMENT_CHECKS, payment, asked, policy)


def check_payable(invoice: Invoice, policy: InvoicePolicy, now: float) -> CheckResult:
    """Make every check that can be made of an invoice that is to be paid now.

    Args:
        invoice: Decoded; its signature has been verified.
        policy: The network counts. Pinned payees do not: they are the platform's.
        now: Seconds since 1970.
    """
    return _verdict(["signature"], _PAYABLE_CHECKS, None, invoice, policy, now)


def check_read_back(order: LightningOrder, known: Order) -> _Problem:
    """Compare a new order with what the platform has under its id.

    Args:
        order: As it is to be shown; no payer has seen it yet.
        known: As the platform answered when it was asked for the order.

    Returns:
        What the two contradict each other in; `SKIPPED` if price or currency are
        missing, which are what the answer to a create does not have.
    """
    if known.order_id != order.order_id:
        return f"the answer about it is about order {shown(known.order_id)}"
    if _is_of_create(known):
        return "the answer about it is the answer to a create once more"
    currency = (known.currency or "").upper() or None
    for name, said, asked in (
        ("price", known.price, order.price),
        ("amount", known.amount, order.amount),
    ):
        if said is not None and said != asked:
            return f"its {name} is {asked:f}, the platform has {said:f}"
    if currency not in {None, order.currency}:
        return f"its currency is {order.currency}, the platform has {shown(currency)}"
    if known.status in _NOT_NEW:
        return f"no payer has seen it, the platform has it as {known.status}"
    return SKIPPED if known.price is None or currency is None else None


def _is_of_create(known: Order) -> bool:
    """Whether an answer lacks what order detail has, and has what a create answers.

    It is then in the wrong place: answers on this connection are shifted, and so may be
    the one that the order was read from.
    """
    return known.order_type is known.platform is None and "pay_url" in known.extra


def check_pay_url(url: str, policy: InvoicePolicy) -> str | None:
    """What is wrong with the address of a checkout page; ``None`` if nothing."""
    # Shops put it into pages as it is: no quote or bracket may end an attribute there.
    if not _PLAIN_URL.fullmatch(url):
        return "pay_url holds a character that is not safe in a page"
    try:
        origin = parse_origin(url)
    except UrlError as error:
        return f"pay_url {error}"
    if origin in (policy.origin, CHECKOUT_ORIGIN) or origin in policy.pay_url_origins:
        return None
    return f"pay_url lies at {format_origin(origin)}"


def _verdict(
    passed: list[str],
    checks: Iterable[tuple[str, Callable[[*_Arguments], _Problem]]],
    *arguments: *_Arguments,
) -> CheckResult:
    for name, check in checks:
        problem = check(*arguments)
        if problem is None:
            passed.append(name)
        elif problem is not SKIPPED:
            return CheckResult(tuple(passed), (name, problem))
    return CheckResult(tuple(passed))


def _new(
    order: UncheckedOrder | UncheckedPayment,
    _i: object,
    policy: InvoicePolicy,
    *_: _Now,
) -> _Problem:
    if policy.seen is None:
        return SKIPPED
    if order.order_id not in policy.seen:
        return None
    return "the same order was the answer to an earlier request of this client"


def _payment_hash(
    _o: object, invoice: Invoice, policy: InvoicePolicy, _n: _Now
) -> _Problem:
    if policy.seen is None:
        return SKIPPED
    other = policy.seen.order_id_for_hash(invoice.payment_hash)
    if other is None:
        return None
    return f"its invoice has the payment hash of order {shown(other)}"


def _own_network(
    order: object, invoice: Invoice, policy: InvoicePolicy, now: _Now
) -> _Problem:
    problem = _network(order, invoice, policy, now)
    if problem is None or policy.network != "mainnet":
        return problem
    # The commonest cause is a sandbox whose network was left out of the environment.
    name = invoice.network
    return (
        f"{problem}; if base_url is a sandbox's, set AURPAY_NETWORK={name} or "
        f'network="{name}"'
    )


def _network(_o: object, invoice: Invoice, policy: InvoicePolicy, _n: _Now) -> _Problem:
    if invoice.network == policy.network:
        return None
    return f"the invoice is for {invoice.network}, and not for {policy.network}"


def _amount(
    order: UncheckedOrder, invoice: Invoice, _t: InvoicePolicy, _n: _Now
) -> _Problem:
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
    order: UncheckedOrder, invoice: Invoice, _t: InvoicePolicy, _n: _Now
) -> _Problem:
    named = order.payment_addr
    if named is None:
        return SKIPPED
    if named.lower() == invoice.payment_secret:
        return None
    return "payment_addr is not the invoice's payment secret"


def _timestamp(_o: object, invoice: Invoice, _t: InvoicePolicy, now: _Now) -> _Problem:
    if now is None:
        return SKIPPED
    ahead = invoice.timestamp - now
    if ahead <= MAX_SKEW_S:
        return None
    return f"the invoice was made {ahead:.0f} s in the future; is this clock right?"


def _expiry(_o: object, invoice: Invoice, _t: InvoicePolicy, now: _Now) -> _Problem:
    if now is None:
        return SKIPPED
    late = now - invoice.timestamp - invoice.expiry
    if late < 0:
        return None
    return f"the invoice expired {late:.0f} s ago"


def _payee(_o: object, invoice: Invoice, policy: InvoicePolicy, _n: _Now) -> _Problem:
    if not policy.payees:
        return SKIPPED
    if invoice.payee in policy.payees:
        return None
    return f"the invoice pays {invoice.payee}, which is none of the pinned payees"


def _pay_url(
    order: UncheckedOrder, _i: Invoice, policy: InvoicePolicy, _n: _Now
) -> _Problem:
    return check_pay_url(order.pay_url, policy)


def _price(payment: UncheckedPayment, asked: NewPayment, _: InvoicePolicy) -> _Problem:
    if payment.price == asked.price:
        return None
    return f"asked for {asked.price:f}, the order is for {payment.price:f}"


def _currency(
    payment: UncheckedPayment, asked: NewPayment, _: InvoicePolicy
) -> _Problem:
    return _same(payment.currency, asked.currency)


def _chain(payment: UncheckedPayment, asked: NewPayment, _: InvoicePolicy) -> _Problem:
    return _same(payment.chain, asked.chain)


def _coin(payment: UncheckedPayment, asked: NewPayment, _: InvoicePolicy) -> _Problem:
    return _same(payment.coin, asked.coin)


def _same(named: str | None, asked: str) -> _Problem:
    if named is None:
        return SKIPPED
    if named.upper() == asked.upper():
        return None
    return f"asked for {asked}, the order is for {shown(named)}"


def _some_amount(
    payment: UncheckedPayment, _a: NewPayment, _t: InvoicePolicy
) -> _Problem:
    return None if payment.amount > 0 else "the amount is not above 0"


def _address(payment: UncheckedPayment, _a: NewPayment, _t: InvoicePolicy) -> _Problem:
    if _ADDRESS.fullmatch(payment.address):
        return None
    return "the address is empty, too long, or holds what no address does"


def _page(payment: UncheckedPayment, _: NewPayment, policy: InvoicePolicy) -> _Problem:
    return check_pay_url(payment.pay_url, policy) if payment.pay_url else SKIPPED


_CHECKS: Final = (
    ("new", _new),
    ("payment_hash", _payment_hash),
    ("network", _own_network),
    ("amount", _amount),
    ("payment_secret", _payment_secret),
    ("timestamp", _timestamp),
    ("expiry", _expiry),
    ("payee", _payee),
    ("pay_url", _pay_url),
)

_PAYMENT_CHECKS: Final = (
    ("new", _new),
    ("price", _price),
    ("currency", _currency),
    ("chain", _chain),
    ("coin", _coin),
    ("amount", _some_amount),
    ("address", _address),
    ("pay_url", _page),
)

_PAYABLE_CHECKS: Final = (
    ("network", _network),
    ("timestamp", _timestamp),
    ("expiry", _expiry),
)
