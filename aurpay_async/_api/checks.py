"""Checks that run before an order is returned: does the invoice match the order?

A check is a pair of its name and its problem, which is false if it passed. A check that
has nothing to compare is left out.

A response to another request (a proxy that responds twice, a poisoned response queue,
a cache) can contain a complete, valid order. It repeats the id of an earlier order, or
its payment hash, which can be paid only once (BOLT #11: its preimage is the proof of
payment).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple, final

from .._core.money import btc_to_msat
from .._core.urls import UrlError, format_origin, parse_origin
from ..errors import (
    InvalidResponseError,
    OrderMismatchError,
    UntrustedOrderError,
    shown,
)
from .models import OrderStatus

if TYPE_CHECKING:
    from .._core.money import Network
    from .._core.urls import Origin
    from ..bolt11 import Invoice
    from ..callbacks import KnownOrder
    from ..errors import AurpayError
    from .lightning_order import LightningOrder
    from .models import Order, UncheckedOrder
    from .payment_models import NewPayment, UncheckedPayment

    #: The name of each check, and its problem, which is false if it passed.
    _Checks = list[tuple[str, str | bool | None]]


#: Aurpay's checkout pages, also for a client that sends its requests to a gateway.
CHECKOUT_ORIGIN: Final[Origin] = ("https", "dashboard.aurpay.net", 443)

#: Clocks differ: an invoice may be this far in the future.
MAX_SKEW_S: Final = 5 * 60

#: Shops put the URL into pages without escaping: it must not contain quotes.
_SAFE_URL = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&()*+,;=._~%-]+")

#: The characters of addresses on any chain; the longest have some 200 characters.
_ADDRESS = re.compile(r"[A-Za-z0-9:/?@*+=._~-]{1,256}")

#: Statuses that an order cannot have before its invoice is shown to a payer.
_NOT_NEW: Final = frozenset(
    {
        OrderStatus.OVERDUE,
        OrderStatus.SUCCESS,
        OrderStatus.RESOLVED,
        OrderStatus.REFUNDED,
    }
)

#: `check_read_back` had nothing to compare. Compare it by identity.
SKIPPED: Final = "skipped"


class InvoicePolicy(NamedTuple):
    """The invoices and checkout pages that a client accepts."""

    network: Network
    #: The client's own origin. Its checkout pages are accepted as well.
    origin: Origin
    #: Public keys that may be paid, in lower-case hex. If empty, any key may be paid.
    payees: frozenset[str]
    #: More origins of accepted checkout pages.
    pay_url_origins: frozenset[Origin] = frozenset()
    #: The orders that the client created before. ``None`` skips the comparison.
    seen: SeenOrders | None = None


class CheckResult(NamedTuple):
    """The checks that passed, and the one that failed."""

    passed: tuple[str, ...]
    #: Name and problem of the first failed check.
    failed: tuple[str, str] | None = None


def check_order(
    order: UncheckedOrder, invoice: Invoice, policy: InvoicePolicy, now: float | None
) -> CheckResult:
    """Run the checks of a Lightning order, up to the first that fails.

    Args:
        order: The order as received.
        invoice: The order's invoice, decoded and with a verified signature.
        policy: What the client accepts.
        now: Seconds since 1970. ``None`` skips the checks of time, for a stored order
            that was checked when it was received and may have expired since.
    """
    result = _run(["signature"], _compare_order(order, invoice, policy, now))
    if not result.failed or result.failed[0] != "network":
        return result
    problem, name = result.failed[1], invoice.network
    if policy.network == "mainnet":
        # The usual cause is a sandbox without AURPAY_NETWORK in the environment.
        problem += f"; if base_url is a sandbox's, set AURPAY_NETWORK={name} or "
        problem += f'network="{name}"'
    return CheckResult(result.passed, ("network", problem))


def check_payment(
    payment: UncheckedPayment, requested: NewPayment, policy: InvoicePolicy
) -> CheckResult:
    """Run the checks of a payment in any coin, up to the first that fails.

    The owner of the address cannot be checked: it has no signature.

    Args:
        payment: The payment as received.
        requested: The request for it.
        policy: What the client accepts.
    """
    return _run([], _compare_payment(payment, requested, policy))


def check_payable(invoice: Invoice, policy: InvoicePolicy, now: float) -> CheckResult:
    """Run the checks of an invoice to be paid now, up to the first that fails.

    Args:
        invoice: The invoice, decoded and with a verified signature.
        policy: Only its network is used. Its payees are Aurpay's, and here the
            merchant pays.
        now: Seconds since 1970.
    """
    any_payee = policy._replace(payees=frozenset())
    return _run(["signature"], compare_invoice(invoice, any_payee, now))


def check_read_back(order: LightningOrder, known: Order) -> str | None:
    """Compare a new order with order detail, before a payer sees it.

    Args:
        order: The order as it would be returned.
        known: Order detail under its id.

    Returns:
        The contradiction; `SKIPPED` if price or currency are missing, which are the
        fields that the response to a create does not have.
    """
    if known.order_id != order.order_id:
        return f"order detail is about order {shown(known.order_id)}"
    # It lacks the fields of order detail and has one of a create. Then the responses on
    # this connection are out of step, and the order may come from a wrong one as well.
    if known.order_type is known.platform is None and "pay_url" in known.extra:
        return "order detail is the response to a create"
    difference = _find_difference(order, known)
    if difference:
        name, expected, received = difference
        return f"its {name} is {expected}, order detail has {received}"
    if known.status in _NOT_NEW:
        return f"no payer has seen it, order detail has status {known.status}"
    return SKIPPED if known.price is None or not known.currency else None


def require_same_order(known: KnownOrder, order: Order) -> None:
    """Require that Aurpay's order is the merchant's.

    Raises:
        OrderMismatchError: its id, price, currency or amount differs.
    """
    difference = _find_difference(known, order)
    if difference:
        name, expected, received = difference
        raise OrderMismatchError(
            f"Aurpay has another {name} for order {shown(known.order_id)}: {received} "
            f"instead of {expected}",
            order_id=known.order_id,
        )


def _find_difference(known: KnownOrder, order: Order) -> tuple[str, str, str] | None:
    """Return a field, its expected and its received value, if they differ."""
    for name, received, expected in (
        ("id", order.order_id, known.order_id),
        ("price", order.price, known.price),
        ("currency", (order.currency or "").upper() or None, known.currency),
        ("amount", order.amount, known.amount),
    ):
        # Few fields of the response are documented: a missing one is not a difference.
        if received is not None and received != expected:
            return name, _format(expected), _format(received)
    return None


def _format(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else shown(value)


def check_pay_url(url: str, policy: InvoicePolicy) -> str | None:
    """Return the problem of a checkout page's URL; ``None`` if it is accepted."""
    if not _SAFE_URL.fullmatch(url):
        return "pay_url contains a character that is not safe in a page"
    try:
        origin = parse_origin(url)
    except UrlError as error:
        return f"pay_url {error}"
    if origin in (policy.origin, CHECKOUT_ORIGIN) or origin in policy.pay_url_origins:
        return None
    return f"pay_url has the origin {format_origin(origin)}"


def _run(passed: list[str], checks: _Checks) -> CheckResult:
    for name, problem in checks:
        if problem:
            return CheckResult(tuple(passed), (name, str(problem)))
        passed.append(name)
    return CheckResult(tuple(passed))


def _compare_order(
    order: UncheckedOrder, invoice: Invoice, policy: InvoicePolicy, now: float | None
) -> _Checks:
    checks = compare_invoice(
        invoice, policy, now, amount=order.amount, payment_secret=order.payment_addr
    )
    checks.append(("pay_url", check_pay_url(order.pay_url, policy)))
    if policy.seen is None:
        return checks
    other = policy.seen.order_id_for_hash(invoice.payment_hash)
    return [
        ("new", order.order_id in policy.seen and _REPEATED),
        (
            "payment_hash",
            other and f"its invoice has the payment hash of order {shown(other)}",
        ),
        *checks,
    ]


def compare_invoice(
    invoice: Invoice,
    policy: InvoicePolicy,
    now: float | None,
    *,
    amount: Decimal | None = None,
    payment_secret: str | None = None,
) -> _Checks:
    """Return the checks of an invoice that need no order.

    Args:
        invoice: The invoice, decoded and with a verified signature.
        policy: The network, and the payees if there are any.
        now: Seconds since 1970; ``None`` skips the checks of time.
        amount: The expected amount in BTC.
        payment_secret: The expected payment secret in hex.
    """
    network, payee = invoice.network, invoice.payee
    problem: str | bool = network != policy.network
    if problem:
        problem = f"the invoice is for {network}, and not for {policy.network}"
    checks: _Checks = [("network", problem)]
    if amount is not None:
        checks.append(("amount", _amount_problem(amount, invoice.amount_msat)))
    if payment_secret is not None:
        differs = payment_secret.lower() != invoice.payment_secret
        problem = differs and "payment_addr is not the invoice's payment secret"
        checks.append(("payment_secret", problem))
    if now is not None:
        ahead = invoice.timestamp - now
        when = ahead > MAX_SKEW_S and f"created {ahead:.0f} s in the future"
        problem = when and f"the invoice was {when}; is this clock right?"
        checks.append(("timestamp", problem))
        late = -ahead - invoice.expiry
        problem = late >= 0 and f"the invoice expired {late:.0f} s ago"
        checks.append(("expiry", problem))
    if policy.payees:
        is_other = payee not in policy.payees
        problem = is_other and f"the invoice pays {payee}, which is not a pinned payee"
        checks.append(("payee", problem))
    return checks


def _amount_problem(amount: Decimal, msat: int | None) -> str | None:
    try:
        expected = btc_to_msat(amount)
    except ValueError as error:
        return f"the order's amount is {error}"
    if msat == expected:
        return None
    asks = "leaves the amount open" if msat is None else f"asks for {msat} msat"
    return f"the order is for {expected} msat, the invoice {asks}"


def _compare_payment(
    payment: UncheckedPayment, requested: NewPayment, policy: InvoicePolicy
) -> _Checks:
    checks: _Checks = []
    if policy.seen is not None:
        checks.append(("new", payment.order_id in policy.seen and _REPEATED))
    problem: str | bool = payment.price != requested.price
    if problem:
        problem = f"requested {requested.price:f}, the order is for {payment.price:f}"
    checks.append(("price", problem))
    for name, received, expected in (
        ("currency", payment.currency, requested.currency),
        ("chain", payment.chain, requested.chain),
        ("coin", payment.coin, requested.coin),
    ):
        if received is not None:
            differs = received.upper() != expected.upper()
            order_is = f"requested {expected}, the order is for {shown(received)}"
            checks.append((name, differs and order_is))
    checks.append(("amount", payment.amount <= 0 and "the amount is not above 0"))
    is_invalid = not _ADDRESS.fullmatch(payment.address)
    problem = "the address is empty, too long, or contains an invalid character"
    checks.append(("address", is_invalid and problem))
    if payment.pay_url:
        checks.append(("pay_url", check_pay_url(payment.pay_url, policy)))
    return checks


_REPEATED: Final = "an earlier request of this client received the same order"

#: Orders that a client remembers: four megabytes, and a day of one order every nine
#: seconds. A repeated response follows the first one within seconds.
MAX_SEEN: Final = 10_000


@final
class SeenOrders:
    """The most recent orders that a client created."""

    def __init__(self, limit: int = MAX_SEEN) -> None:
        #: Whether a response to another request was detected. It may happen again, so
        #: every new order is read back from then on.
        self.is_misrouted = False
        #: Whether order detail had one of them: then it has each order of the platform.
        self.have_details = False
        self._limit = limit
        self._order_ids: OrderedDict[str, None] = OrderedDict()
        self._by_hash: OrderedDict[str, str] = OrderedDict()

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._order_ids

    def order_id_for_hash(self, payment_hash: str) -> str | None:
        """Return the id of the order that has an invoice with this payment hash."""
        return self._by_hash.get(payment_hash)

    def add(self, order_id: str, payment_hash: str | None = None) -> None:
        """Remember an order, and drop the oldest one beyond the limit."""
        self._order_ids[order_id] = None
        if payment_hash is not None:
            self._by_hash[payment_hash] = order_id
        if len(self._order_ids) > self._limit:
            self._order_ids.popitem(last=False)
        if len(self._by_hash) > self._limit:
            self._by_hash.popitem(last=False)


#: Checks that fail if a response answers another request.
_MISROUTED_CHECKS: Final = frozenset({"new", "payment_hash", "read_back"})

#: Those of them that fail because the order id is that of another request.
_OTHER_ID_CHECKS: Final = frozenset({"new", "read_back"})


def is_misrouted(error: AurpayError, seen: SeenOrders) -> bool:
    """Return whether a create received the response to another request.

    Such a response repeats the id of an earlier order, or has no readable id.
    """
    if isinstance(error, UntrustedOrderError) and error.check in _MISROUTED_CHECKS:
        return True
    paths = error.paths if isinstance(error, InvalidResponseError) else ()
    return error.order_id in seen or "data.order_id" in paths


def own_order_id(error: AurpayError) -> str | None:
    """Return the id on the error of a create, unless it is another request's order."""
    if isinstance(error, UntrustedOrderError) and error.check in _OTHER_ID_CHECKS:
        return None
    return error.order_id
