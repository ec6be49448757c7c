"""Checks that run before an order is returned: does the invoice match the order?

Each check is a small function that returns ``None`` if it passes, the problem if it
fails, and `SKIPPED` if there is nothing to compare. The tables at the end give the
order in which they run: for Lightning orders, for payments in other coins, and for
invoices that the merchant wants to pay.

A response to another request (a proxy that responds twice, a poisoned response queue,
a cache) can contain a complete, valid order. It repeats the id of an earlier order, or
its payment hash, which can be paid only once (BOLT #11: its preimage is the proof of
payment).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVarTuple, final

from .._core.money import btc_to_msat
from .._core.urls import UrlError, format_origin, parse_origin
from ..errors import InvalidResponseError, UntrustedOrderError, shown
from .models import OrderStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._core.money import Network
    from .._core.urls import Origin
    from ..bolt11 import Invoice
    from ..errors import AurpayError
    from .lightning_order import LightningOrder
    from .models import Order, UncheckedOrder
    from .payment_models import NewPayment, UncheckedPayment


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

_Arguments = TypeVarTuple("_Arguments")

#: The result of one check: ``None`` if it passed.
_Problem = str | None

_Now = float | None

#: The client or the response gives nothing to compare. Compare it by identity.
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
    return _run_checks(["signature"], _ORDER_CHECKS, order, invoice, policy, now)


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
    return _run_checks([], _PAYMENT_CHECKS, payment, requested, policy)


def check_payable(invoice: Invoice, policy: InvoicePolicy, now: float) -> CheckResult:
    """Run the checks of an invoice to be paid now, up to the first that fails.

    Args:
        invoice: The invoice, decoded and with a verified signature.
        policy: Only its network is used. Its payees are Aurpay's, and here the
            merchant pays.
        now: Seconds since 1970.
    """
    return _run_checks(["signature"], _PAYABLE_CHECKS, None, invoice, policy, now)


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
    if _is_create_response(known):
        return "order detail is the response to a create"
    currency = (known.currency or "").upper() or None
    for name, read, expected in (
        ("price", known.price, order.price),
        ("amount", known.amount, order.amount),
    ):
        if read is not None and read != expected:
            return f"its {name} is {expected:f}, order detail has {read:f}"
    if currency not in {None, order.currency}:
        return f"its currency is {order.currency}, order detail has {shown(currency)}"
    if known.status in _NOT_NEW:
        return f"no payer has seen it, order detail has status {known.status}"
    return SKIPPED if known.price is None or currency is None else None


def _is_create_response(known: Order) -> bool:
    """Return whether "order detail" is in fact the response to a create.

    It lacks the fields of order detail and has one of a create. Then the responses on
    this connection are out of step, and the order may come from a wrong one as well.
    """
    return known.order_type is known.platform is None and "pay_url" in known.extra


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


def _run_checks(
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
    return "an earlier request of this client received the same order"


def _payment_hash(
    _o: object, invoice: Invoice, policy: InvoicePolicy, _n: _Now
) -> _Problem:
    if policy.seen is None:
        return SKIPPED
    other = policy.seen.order_id_for_hash(invoice.payment_hash)
    if other is None:
        return None
    return f"its invoice has the payment hash of order {shown(other)}"


def _client_network(
    order: object, invoice: Invoice, policy: InvoicePolicy, now: _Now
) -> _Problem:
    if invoice.network == policy.network:
        return None
    problem = _network(order, invoice, policy, now)
    if policy.network != "mainnet":
        return problem
    # The usual cause is a sandbox without AURPAY_NETWORK in the environment.
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
    order: UncheckedOrder, invoice: Invoice, _p: InvoicePolicy, _n: _Now
) -> _Problem:
    try:
        expected = btc_to_msat(order.amount)
    except ValueError as error:
        return f"the order's amount is {error}"
    msat = invoice.amount_msat
    if msat == expected:
        return None
    asks = "leaves the amount open" if msat is None else f"asks for {msat} msat"
    return f"the order is for {expected} msat, the invoice {asks}"


def _payment_secret(
    order: UncheckedOrder, invoice: Invoice, _p: InvoicePolicy, _n: _Now
) -> _Problem:
    named = order.payment_addr
    if named is None:
        return SKIPPED
    if named.lower() == invoice.payment_secret:
        return None
    return "payment_addr is not the invoice's payment secret"


def _timestamp(_o: object, invoice: Invoice, _p: InvoicePolicy, now: _Now) -> _Problem:
    if now is None:
        return SKIPPED
    ahead = invoice.timestamp - now
    if ahead <= MAX_SKEW_S:
        return None
    return f"the invoice was created {ahead:.0f} s in the future; is this clock right?"


def _expiry(_o: object, invoice: Invoice, _p: InvoicePolicy, now: _Now) -> _Problem:
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
    return f"the invoice pays {invoice.payee}, which is not a pinned payee"


def _pay_url(
    order: UncheckedOrder, _i: Invoice, policy: InvoicePolicy, _n: _Now
) -> _Problem:
    return check_pay_url(order.pay_url, policy)


def _price(
    payment: UncheckedPayment, requested: NewPayment, _: InvoicePolicy
) -> _Problem:
    if payment.price == requested.price:
        return None
    return f"requested {requested.price:f}, the order is for {payment.price:f}"


def _currency(
    payment: UncheckedPayment, requested: NewPayment, _: InvoicePolicy
) -> _Problem:
    return _compare_name(payment.currency, requested.currency)


def _chain(
    payment: UncheckedPayment, requested: NewPayment, _: InvoicePolicy
) -> _Problem:
    return _compare_name(payment.chain, requested.chain)


def _coin(
    payment: UncheckedPayment, requested: NewPayment, _: InvoicePolicy
) -> _Problem:
    return _compare_name(payment.coin, requested.coin)


def _compare_name(received: str | None, requested: str) -> _Problem:
    if received is None:
        return SKIPPED
    if received.upper() == requested.upper():
        return None
    return f"requested {requested}, the order is for {shown(received)}"


def _positive_amount(
    payment: UncheckedPayment, _r: NewPayment, _p: InvoicePolicy
) -> _Problem:
    return None if payment.amount > 0 else "the amount is not above 0"


def _address(payment: UncheckedPayment, _r: NewPayment, _p: InvoicePolicy) -> _Problem:
    if _ADDRESS.fullmatch(payment.address):
        return None
    return "the address is empty, too long, or contains an invalid character"


def _optional_pay_url(
    payment: UncheckedPayment, _: NewPayment, policy: InvoicePolicy
) -> _Problem:
    return check_pay_url(payment.pay_url, policy) if payment.pay_url else SKIPPED


_ORDER_CHECKS: Final = (
    ("new", _new),
    ("payment_hash", _payment_hash),
    ("network", _client_network),
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
    ("amount", _positive_amount),
    ("address", _address),
    ("pay_url", _optional_pay_url),
)

_PAYABLE_CHECKS: Final = (
    ("network", _network),
    ("timestamp", _timestamp),
    ("expiry", _expiry),
)

#: Checks of an invoice alone, against an order with the expected amount.
INVOICE_CHECKS: Final = {
    "network": _network,
    "amount": _amount,
    "timestamp": _timestamp,
    "expiry": _expiry,
    "payee": _payee,
}

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
