"""Attempts and their states, changes, and the result of a reconciliation.

An attempt is one call of ``create_order``, identified by its attempt_id. The transition
table lists, for each state, the states that may follow; without an entry the attempt
keeps its state. The table follows three rules:

* A payment always counts: every unpaid state leads to `PAID` and to `DUPLICATE`.
* A paid order can be refunded and has no other transition.
* An order is `PAYABLE` once. One that is withheld or overdue is polled and never shown
  again.
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
from ..errors import (
    AurpayError,
    OrderMismatchError,
    RequestOutcome,
    UntrustedOrderError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta


class AttemptState(StrEnum):
    """The state of an attempt to create an order."""

    #: Being sent, or about to be; there is no answer yet.
    CREATING = "creating"
    #: The order is stored and checked, and is shown to the payer.
    PAYABLE = "payable"
    #: The order is not shown any more. Its invoice may still be paid.
    OVERDUE = "overdue"
    #: No order was created: the call was not sent, or Aurpay rejected it.
    REJECTED = "rejected"
    #: The process crashed, or received no trusted answer: an order may exist.
    UNKNOWN = "unknown"
    #: Outcome unknown, and there are orders that match (`Attempt.candidates`). None is
    #: proven to be the attempt's, so none pays the reference.
    CANDIDATES_FOUND = "candidates_found"
    #: Outcome unknown, and the search has ended: Aurpay has no order that matches and
    #: can still be paid.
    NOT_FOUND = "not_found"
    #: Its order exists, and its invoice was never returned: the answer failed a check,
    #: or arrived after another order had taken its place.
    WITHHELD = "withheld"
    #: A genuine callback reports a payment, and the order is not identified yet; or
    #: another order has the same invoice.
    PAYMENT_REPORTED = "payment_reported"
    #: Paid; it pays its reference.
    PAID = "paid"
    #: Paid although another order had paid the reference: to be refunded.
    DUPLICATE = "duplicate"
    #: Refunded.
    REFUNDED = "refunded"
    #: Never paid: Aurpay has it as overdue or does not know it, and its invoice has
    #: expired.
    EXPIRED = "expired"

    def can_become(self, other: AttemptState) -> bool:
        """Return true if `other` can follow."""
        return other in MOVES[self]


_State = AttemptState


def states(names: str) -> frozenset[AttemptState]:
    """Return the states of these names."""
    return frozenset(map(AttemptState, names.split()))


#: What follows each unpaid state; and what, besides, each state of unknown outcome: the
#: sender may still receive the answer and store it.
_PAYMENT: Final = "paid duplicate refunded"
_ANSWER: Final = f"payable withheld rejected payment_reported {_PAYMENT}"

#: The states that may follow each state.
MOVES: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    _State.CREATING: states(f"{_ANSWER} unknown"),
    _State.PAYABLE: states(f"overdue expired {_PAYMENT}"),
    # `OVERDUE`, `WITHHELD` and `EXPIRED`: if another order has the same invoice, a
    # payment needs review.
    _State.OVERDUE: states(f"expired payment_reported {_PAYMENT}"),
    # A gateway may have rejected the call although Aurpay created an order.
    _State.REJECTED: states(f"withheld payment_reported {_PAYMENT}"),
    _State.UNKNOWN: states(f"{_ANSWER} candidates_found not_found"),
    _State.CANDIDATES_FOUND: states(f"{_ANSWER} unknown not_found"),
    # A clock that was ahead may have ended the search too early: see `REVOCABLE`.
    _State.NOT_FOUND: states(f"{_ANSWER} unknown candidates_found"),
    _State.WITHHELD: states(f"expired payment_reported {_PAYMENT}"),
    _State.PAYMENT_REPORTED: states(f"payable withheld not_found {_PAYMENT}"),
    _State.PAID: states("refunded"),
    _State.DUPLICATE: states("refunded"),
    _State.REFUNDED: states(""),
    _State.EXPIRED: states(f"overdue payment_reported {_PAYMENT}"),
}

#: A reference has at most one attempt in these states; a unique index enforces it.
ACTIVE: Final = (_State.CREATING, _State.PAYABLE)

#: Statuses in which an order cannot be paid once its invoice has expired.
ENDED: Final = (OrderStatus.OVERDUE, OrderStatus.REFUNDED)

#: Transitions into and out of these depend on the time. If a clock was ahead, attempts
#: in these states are polled again.
REVOCABLE: Final = tuple(sorted(frozenset(_State) - states("rejected paid refunded")))

#: States in which the order is known and may be paid.
PAYABLE: Final = (_State.PAYABLE, _State.OVERDUE, _State.WITHHELD)

#: States in which an order may have been created and is not identified.
UNIDENTIFIED: Final = (_State.UNKNOWN, _State.CANDIDATES_FOUND, _State.PAYMENT_REPORTED)

#: States in which an order of the attempt may be in Aurpay's list without being
#: identified as the attempt's.
MAY_OWN_LISTED_ORDER: Final = (_State.CREATING, *UNIDENTIFIED, _State.NOT_FOUND)


def states_for(
    status: OrderStatus, *, paid_by_other: bool, expired: bool
) -> tuple[AttemptState, ...]:
    """Return the target states of an attempt for its order's status, best first.

    Args:
        status: The order's status at Aurpay.
        paid_by_other: True if another attempt has paid the reference.
        expired: True if the invoice has expired by the clock. The clock alone does not
            expire an order: Aurpay has to report OVERDUE as well.
    """
    if status.is_paid:
        return (_State.DUPLICATE,) if paid_by_other else (_State.PAID,)
    if status is OrderStatus.REFUNDED:
        return (_State.REFUNDED,)
    # Identifies an order that was unknown; its invoice is not shown to a payer.
    if status is not OrderStatus.OVERDUE:
        return (_State.WITHHELD,)
    overdue = (_State.OVERDUE, _State.WITHHELD)
    return (_State.EXPIRED, *overdue) if expired else overdue


#: An argument of `OrderStore.record`: a notification, or an order as read from Aurpay.
OrderUpdate = Notification | Order


@attrs.frozen(kw_only=True)
class Attempt:
    """One call that may have created an order, and the data of that order.

    Times are aware and in UTC.
    """

    #: The merchant's own name for the purchase.
    reference: str
    #: In fiat, in units of `currency`.
    price: Decimal
    #: Fiat: three letters.
    currency: str
    #: Identifies the attempt among those of its reference; its callbacks carry it.
    attempt_id: str
    #: False if this order store did not create the order: a callback reported it, and
    #: only a person can say which order it is (`OrderStore.resolve`).
    created_here: bool = True
    state: AttemptState
    #: Aurpay's id of the order, if the order is proven to be the attempt's.
    order_id: str | None = None
    #: The payment hash of its invoice in lower-case hex; ``None`` without a trusted
    #: invoice.
    payment_hash: str | None = None
    #: The check that the answer about its order failed: `UntrustedOrderError.check`.
    failed_check: str | None = None
    #: The order id in the body of a callback. The body is not signed: no proof.
    hinted_order_id: str | None = None
    #: The order's status when Aurpay was last queried.
    status: OrderStatus | None = None
    #: If the outcome is unknown: ids and statuses of the orders that match.
    candidates: Mapping[str, OrderStatus] = attrs.field(factory=dict[str, OrderStatus])
    #: When the row was inserted, before the request was sent.
    created_at: datetime
    #: When the call has ended, with or without an answer.
    deadline: datetime
    #: When its last request began, if that is known.
    sent_at: datetime | None = None
    #: When Aurpay was last queried about it.
    last_polled_at: datetime | None = None
    #: When `OrderStore.reconcile` polls it next; ``None`` if it is not polled any more.
    next_poll_at: datetime | None = None
    #: The end of the period in which a payment can arrive.
    payable_until: datetime
    _order_json: str | None = attrs.field(default=None, alias="order_json", repr=False)

    @cached_property
    def order(self) -> LightningOrder | None:
        """The order with its invoice, verified again; ``None`` if none is stored.

        Raises:
            UntrustedOrderError: the stored order was changed.
        """
        if self._order_json is None:
            return None
        order = LightningOrder.from_json(self._order_json)
        return attrs.evolve(order, status=self.status or order.status)

    @property
    def has_order(self) -> bool:
        """True if `order` is stored."""
        return self._order_json is not None


def log_fields_of(
    attempt: Attempt, error: BaseException | None = None, order_id: str | None = None
) -> Mapping[str, str | None]:
    """Return the fields of a log record about an attempt."""
    return {
        "reference": attempt.reference,
        "order_id": order_id or attempt.order_id,
        "attempt_id": attempt.attempt_id,
        "outcome": error.outcome.value if isinstance(error, AurpayError) else None,
    }


@attrs.frozen(kw_only=True)
class Change:
    """The result of recording an update."""

    #: The attempt after the update.
    attempt: Attempt
    #: Its state before the update.
    before: AttemptState
    #: True with `newly_paid` if the payment was late, as Aurpay reports it: the order
    #: was OVERDUE before, or has an `update_time` more than 30 minutes after its
    #: `create_time`. Aurpay documents no time of payment.
    late_payment: bool = False

    @property
    def reference(self) -> str:
        """The merchant's own name for the purchase."""
        return self.attempt.reference

    @property
    def changed(self) -> bool:
        """True if the state differs from the one before."""
        return self.attempt.state is not self.before

    @property
    def newly_paid(self) -> bool:
        """True exactly once for each reference: fulfil it now."""
        return self.changed and self.attempt.state is AttemptState.PAID

    @property
    def duplicate_payment(self) -> bool:
        """True if another order has paid the reference already: refund this one."""
        return self.changed and self.attempt.state is AttemptState.DUPLICATE


class Attention(StrEnum):
    """The task of a person about an attempt."""

    #: Find out if it was paid: `OrderStore.needs_review`.
    REVIEW = "review"
    #: Refund it: `OrderStore.duplicate_payments`.
    REFUND = "refund"


#: The caller's transaction to write in; ``None`` for one that the store opens.
Caller = AsyncConnection | AsyncSession | None

#: Called with each change, in the transaction that records it.
OnChange = Callable[[Change, AsyncConnection], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Failure:
    """An attempt for which polling, or `on_change`, failed."""

    #: If other code has damaged its row, `error` is an `OrderStoreError` that names the
    #: columns, and the attempt has other values for them.
    attempt: Attempt
    #: The exception that polling, or `on_change`, raised.
    error: BaseException


@attrs.frozen(kw_only=True)
class Reconciliation:
    """The result of one run of `OrderStore.reconcile`."""

    #: The transitions of attempts, in the order in which they were recorded.
    changes: tuple[Change, ...]
    #: The failed polls; the next run in which they are due repeats them.
    failures: tuple[Failure, ...]
    #: The number of attempts that were polled.
    polled: int
    #: True if more attempts are due and the next run may start at once.
    more: bool


@attrs.frozen(kw_only=True)
class Health:
    """The state of reconciliation: of the loop in this process, and of the database."""

    #: True if `OrderStore.running` or `OrderStore.run` reconciles in this process.
    is_running: bool
    #: When a run of the loop last succeeded; ``None`` before the first success.
    last_run_at: datetime | None
    #: The number of runs that have failed since: the database failed, or each poll did.
    failures: int
    #: The ``code`` of the last failure, or the name of its type if it is no
    #: `AurpayError`; ``None`` after a success.
    last_error: str | None
    #: How long the most overdue poll has been due, by the clock of the database.
    lag: timedelta
    #: The number of attempts that are due; this and the next one are counted to 10,000.
    due: int
    #: The number of attempts that `OrderStore.needs_review` lists.
    needs_review: int


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
    """Return an order that has no stored invoice as a `KnownOrder`.

    No payer has seen its invoice, so the amount is the one that Aurpay reports.
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


def may_retry(error: BaseException) -> bool:
    """Return whether a job that called the order store may be run again.

    For the retry rule of a job queue. After an unknown outcome, the next
    `OrderStore.get_or_create` searches for the order before it creates another one.

    Returns:
        False if a person has to act: Aurpay or this package rejected the arguments, or
        an order exists that no payer must see. True for failures that pass, including
        exceptions of other code: the database's, your own, a worker that is stopped.
    """
    if isinstance(error, UntrustedOrderError | OrderMismatchError):
        return False  # the next attempt would fail the same checks
    if isinstance(error, AurpayError):
        return error.retryable or error.outcome is RequestOutcome.UNKNOWN
    return True
