"""Attempts and their states, changes, and the result of a reconciliation.

An attempt is one call of ``create_order``, by its attempt_id. The table has a row for
each state and in it the states that may follow; a missing one is a refusal: the attempt
stays what it is. Three rules made the table:

* Money counts whatever was known before: every state that has seen none leads to
  `PAID` and to `DUPLICATE`.
* What is paid can be paid back, and is otherwise never forgotten.
* An order is `PAYABLE` once. One that nobody was shown, or whose time is over, is
  watched and never shown again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final

import attrs
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from .._api.lightning_order import LightningOrder
from .._api.models import Order, OrderStatus
from ..callbacks import Notification

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class AttemptState(StrEnum):
    """The state of an attempt to create an order."""

    #: Being sent, or about to be; there is no answer yet.
    CREATING = "creating"
    #: The order to show: stored, checked, payable.
    PAYABLE = "payable"
    #: Its time to be shown is over. Its invoice may still be paid.
    OVERDUE = "overdue"
    #: No order was created: the call was not sent, or the platform rejected it.
    REJECTED = "rejected"
    #: The process crashed, or no trustworthy answer came: an order may exist.
    UNKNOWN = "unknown"
    #: Lost, and there are orders that fit (`Attempt.candidates`). None is proven to be
    #: its own, so none settles anything.
    CANDIDATES_FOUND = "candidates_found"
    #: Lost, searched for long enough, and Aurpay has no order that fits and can still
    #: be paid.
    NOT_FOUND = "not_found"
    #: Its order exists, and its invoice was never returned: the answer could not be
    #: trusted, or came when another order had taken its place.
    WITHHELD = "withheld"
    #: Lost, or not answered yet, and a genuine callback says that it is paid; which
    #: order that is, nobody can tell yet.
    PAYMENT_REPORTED = "payment_reported"
    #: Paid, and settles its reference.
    PAID = "paid"
    #: Paid, though another order had settled the reference: to be refunded.
    DUPLICATE = "duplicate"
    #: Paid back.
    REFUNDED = "refunded"
    #: Never paid: Aurpay says that it is overdue or gone, and its invoice has expired.
    EXPIRED = "expired"

    def can_become(self, other: AttemptState) -> bool:
        """Return whether `other` can follow."""
        return other in _MOVES[self]

    def first_of(self, wanted: tuple[AttemptState, ...]) -> AttemptState:
        """Return the first of these that it is in or can follow; if none, its own."""
        possible = (s for s in wanted if s is self or self.can_become(s))
        return next(possible, self)


_State = AttemptState


def _moves(row: str) -> frozenset[AttemptState]:
    return frozenset(AttemptState(name) for name in row.split())


_MOVES: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    _State.CREATING: _moves(
        "payable withheld rejected unknown payment_reported paid duplicate refunded"
    ),
    _State.PAYABLE: _moves("overdue expired paid duplicate refunded"),
    _State.OVERDUE: _moves("expired paid duplicate refunded"),
    # A gateway may have rejected it although Aurpay created an order.
    _State.REJECTED: _moves("withheld payment_reported paid duplicate refunded"),
    # Its sender may come back with the answer, at any time.
    _State.UNKNOWN: _moves(
        "payable withheld rejected candidates_found not_found payment_reported "
        "paid duplicate refunded"
    ),
    _State.CANDIDATES_FOUND: _moves(
        "payable withheld rejected unknown not_found payment_reported paid "
        "duplicate refunded"
    ),
    # A clock that was ahead may have given it up: see `REVOCABLE`.
    _State.NOT_FOUND: _moves(
        "payable withheld rejected unknown candidates_found payment_reported "
        "paid duplicate refunded"
    ),
    # Where its invoice is also another order's, its payment needs review.
    _State.WITHHELD: _moves("expired payment_reported paid duplicate refunded"),
    _State.PAYMENT_REPORTED: _moves(
        "payable withheld not_found paid duplicate refunded"
    ),
    _State.PAID: _moves("refunded"),
    _State.DUPLICATE: _moves("refunded"),
    _State.REFUNDED: _moves(""),
    _State.EXPIRED: _moves("overdue paid duplicate refunded"),
}

#: A reference has one attempt in these at most; the database sees to it.
ACTIVE: Final = (_State.CREATING, _State.PAYABLE)

#: An order in one of these is paid no more, once its invoice has expired.
ENDED: Final = (OrderStatus.OVERDUE, OrderStatus.REFUNDED)

#: What is decided about these depends on the time. Where a clock was ahead, they are
#: looked at again.
REVOCABLE: Final = tuple(
    state
    for state in _State
    if state not in {_State.REJECTED, _State.PAID, _State.REFUNDED}
)

#: Their order is known, and may be paid.
PAYABLE: Final = (_State.PAYABLE, _State.OVERDUE, _State.WITHHELD)

#: An order may have been made, and is not known.
UNIDENTIFIED: Final = (_State.UNKNOWN, _State.CANDIDATES_FOUND, _State.PAYMENT_REPORTED)

#: Among the orders that the platform lists there may be one that such an attempt made,
#: and nothing tells whose order that is.
MAY_OWN_LISTED_ORDER: Final = (_State.CREATING, *UNIDENTIFIED, _State.NOT_FOUND)


def wanted(
    status: OrderStatus, *, settled: bool, over: bool
) -> tuple[AttemptState, ...]:
    """Where an attempt goes whose order the platform has with this status.

    Args:
        status: The platform's.
        settled: Whether another attempt has settled the reference.
        over: Whether its invoice has expired by the clock. A clock alone ends nothing:
            the platform has to say the same, and PENDING says the opposite.
    """
    if status.is_paid:
        return (_State.DUPLICATE,) if settled else (_State.PAID,)
    if status is OrderStatus.REFUNDED:
        return (_State.REFUNDED,)
    # Who did not know the order knows it now; nobody is shown it any more.
    if status is not OrderStatus.OVERDUE:
        return (_State.WITHHELD,)
    overdue = (_State.OVERDUE, _State.WITHHELD)
    return (_State.EXPIRED, *overdue) if over else overdue


#: An argument of `OrderStore.record`: a notification, an order, or the id of one.
OrderUpdate = Notification | Order | str


@attrs.frozen(kw_only=True)
class Attempt:
    """One call that may have made an order, and what is known of that order.

    Times are aware, UTC.
    """

    #: The shop's own name for what is paid.
    reference: str
    #: Fiat, in units of `currency`.
    price: Decimal
    #: Fiat: three letters.
    currency: str
    #: What tells this attempt from another of the same reference; callbacks have it.
    attempt_id: str
    #: False if this order store did not create the order: a callback reported it, and
    #: only a person can say which order it is (`OrderStore.resolve`).
    created_here: bool = True
    state: AttemptState
    #: The platform's name for its order, if that is proven.
    order_id: str | None
    #: Of its invoice: lower-case hex; ``None`` if it has none that can be trusted.
    payment_hash: str | None = None
    #: The check that the answer about its order failed: `UntrustedOrderError.check`.
    failed_check: str | None = None
    #: The order that the body of a callback named. It is not signed: it proves nothing.
    hinted_order_id: str | None = None
    #: Where the order stands, as the platform said when it was asked last.
    status: OrderStatus | None
    #: Of a lost one: the orders that fit, by id, and where they stand.
    candidates: Mapping[str, OrderStatus]
    #: When it was written down; it was sent afterwards.
    created_at: datetime
    #: When the call is over, even without an answer.
    deadline: datetime
    #: When its last request began, if that is known.
    sent_at: datetime | None
    #: When the platform was last asked about it.
    last_polled_at: datetime | None
    #: When `OrderStore.reconcile` asks next; ``None``: not any more.
    next_poll_at: datetime | None
    #: Until when a payment can come.
    payable_until: datetime
    _order_json: str | None = attrs.field(alias="order_json", repr=False)

    @cached_property
    def order(self) -> LightningOrder | None:
        """The order with its invoice, verified anew, as far as it is known.

        Raises:
            UntrustedOrderError: what the database holds was changed.
        """
        if self._order_json is None:
            return None
        order = LightningOrder.from_json(self._order_json)
        return attrs.evolve(order, status=self.status or order.status)

    @property
    def has_order(self) -> bool:
        """Return whether `order` has one."""
        return self._order_json is not None


@attrs.frozen(kw_only=True)
class Change:
    """The result of recording an update."""

    #: As it is now.
    attempt: Attempt
    #: What it was before.
    before: AttemptState

    @property
    def reference(self) -> str:
        """The shop's own name for what is paid."""
        return self.attempt.reference

    @property
    def changed(self) -> bool:
        """Return whether the state differs from the one before."""
        return self.attempt.state is not self.before

    @property
    def newly_paid(self) -> bool:
        """True exactly once for each reference: fulfil it now."""
        return self.changed and self.attempt.state is AttemptState.PAID

    @property
    def duplicate_payment(self) -> bool:
        """True if another order has paid the reference already: refund this one."""
        return self.changed and self.attempt.state is AttemptState.DUPLICATE


#: The caller's transaction to write in; ``None`` for one that the store opens.
Caller = AsyncConnection | AsyncSession | None

#: Called with each change, in the transaction that records it.
OnChange = Callable[[Change, AsyncConnection], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Failure:
    """An attempt that could not be polled, or whose `on_change` raised."""

    attempt: Attempt
    #: What polling, or `on_change`, raised.
    error: BaseException


@attrs.frozen(kw_only=True)
class Reconciliation:
    """The result of one run of `OrderStore.reconcile`."""

    #: What is in another state than before, in the order in which it was found.
    changes: tuple[Change, ...]
    #: What could not be asked about; the next run that is due asks again.
    failures: tuple[Failure, ...]
    #: About how many attempts the platform was asked.
    asked: int
    #: Whether more are due, and nothing speaks against running it again at once.
    more: bool


@attrs.frozen(kw_only=True)
class WatchedOrder:
    """An order without an invoice, as a `KnownOrder` for the callback processor."""

    order_id: str
    reference: str
    attempt_id: str
    price: Decimal
    currency: str
    amount: Decimal
    status: OrderStatus


def as_known_order(attempt: Attempt, order: Order) -> WatchedOrder:
    """Return an order that only the platform has as a `KnownOrder`.

    No payer has seen its invoice, so what it is to be paid is what the platform says.
    """
    return WatchedOrder(
        order_id=attempt.order_id or order.order_id,
        reference=attempt.reference,
        attempt_id=attempt.attempt_id,
        price=attempt.price,
        currency=attempt.currency,
        amount=Decimal(0) if order.amount is None else order.amount,
        status=attempt.status or OrderStatus.PENDING,
    )
