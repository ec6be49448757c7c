"""Decide the next step for a reference, and the time of the next poll. No I/O.

Polling covers callbacks that never arrive. The interval between two polls grows with
the age of the order, so an order of one day has been polled about thirty times.

`get_or_create` calls `decide` after each step, until there is an order to return. Each
decision depends on the stored rows alone, so another process can take the next step.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from .._api.models import IS_PAID, PAYMENT_WINDOW
from ..errors import (
    AlreadyPaidError,
    PaymentNeedsReviewError,
    ReferenceConflictError,
    UntrustedOrderError,
    shown,
)
from ._models import ACTIVE, PAYABLE, AttemptState, Attention, states

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from .._api.lightning_order import LightningOrder
    from ._models import Attempt


#: The age at which an order is polled first: its callback may be lost.
FIRST_POLL_AGE: Final = timedelta(minutes=2)

#: The interval between two polls is the age of the order divided by this.
_AGE_PER_POLL: Final = 4

#: The duration of the search for an order that may exist. Aurpay may list it late, but
#: hardly by more than twice the 30 minutes in which an order can be paid.
SEARCH_PERIOD: Final = timedelta(hours=1)

#: Added to the expiry of an invoice, for payments in flight and clock skew.
EXPIRY_GRACE: Final = timedelta(hours=1)

#: The expiry of Aurpay's invoices, assumed for an invoice that was never returned.
INVOICE_LIFE: Final = timedelta(days=1)

#: The limit for the expiry of an invoice, which may have any value.
_MAX_INVOICE_LIFE: Final = timedelta(days=3650)

#: The lease of an attempt that a process polls: longer than a call and `on_change` take
#: together. If the process crashes, another one polls after the lease.
LEASE: Final = FIRST_POLL_AGE

#: The most seconds between inserting an attempt's row and sending its request.
MAX_SEND_DELAY_S: Final = 10.0

#: The time after the call for reading the order back and storing it.
_STORE_LIMIT_S: Final = 10.0

#: Up to this number, candidates are polled one by one; for more, the list takes fewer
#: calls.
_MAX_SINGLE_LOOKUPS: Final = 5

#: States in which an attempt is not polled any more, and can be pruned.
DONE: Final = states("rejected not_found paid refunded expired")


def call_limit(call_s: float) -> timedelta:
    """Return the longest duration of a call, from its row to its stored answer."""
    return timedelta(seconds=MAX_SEND_DELAY_S + call_s + _STORE_LIMIT_S)


def is_over(attempt: Attempt, now: datetime) -> bool:
    """Return true if the sender is past its deadline, so that it must have crashed."""
    left = attempt.deadline - now
    # A clock that was set back by hours must not extend a call by hours.
    return not timedelta(0) < left <= 2 * (attempt.deadline - attempt.created_at)


def last_payment_at(opened: datetime, expires_at: datetime | None = None) -> datetime:
    """Return the end of the period in which a payment of an order can arrive."""
    unknown = opened + INVOICE_LIFE
    latest = opened + _MAX_INVOICE_LIFE
    return min(expires_at or unknown, latest) + EXPIRY_GRACE


def next_poll(attempt: Attempt, now: datetime) -> datetime | None:
    """Return the time of the next poll; ``None`` if the attempt is not polled."""
    if attempt.state in DONE or not can_be_polled(attempt):
        return None
    if attempt.state is AttemptState.CREATING:
        return attempt.deadline
    later = now + max(FIRST_POLL_AGE, (now - attempt.created_at) / _AGE_PER_POLL)
    end = end_of(attempt)
    return later if end is None or now >= end else min(later, end)


def due_since(attempt: Attempt) -> datetime | None:
    """Return since when an attempt that is due was to be polled.

    A failure of `on_change` postpones `next_poll_at` and records nothing else, so the
    last poll that was recorded has the time from which the attempt has been due.
    """
    polled_at = attempt.last_polled_at or attempt.created_at
    times = (attempt.next_poll_at, next_poll(attempt, polled_at))
    return min(filter(None, times), default=None)


def can_be_polled(attempt: Attempt) -> bool:
    """Return true if the attempt's order can be queried or searched for.

    A search needs a creation time, which is unknown for an order of other code.
    """
    return attempt.created_here or attempt.order_id is not None


def needs_list(attempt: Attempt, now: datetime) -> bool:
    """Return true to search Aurpay's list, false to poll the candidates.

    The first order that matches may belong to another cart, and Aurpay may list orders
    late. So the list is read during the search period, and once more at its end.
    """
    if (
        attempt.state is not AttemptState.CANDIDATES_FOUND
        or len(attempt.candidates) > _MAX_SINGLE_LOOKUPS
    ):
        return True
    searching = now < attempt.deadline + SEARCH_PERIOD
    return searching or now >= attempt.payable_until


def end_of(attempt: Attempt) -> datetime | None:
    """Return when polling an attempt ends; ``None`` if it has no end."""
    if attempt.state in {AttemptState.DUPLICATE, AttemptState.PAYMENT_REPORTED}:
        return None
    if attempt.state is AttemptState.UNKNOWN:
        return attempt.deadline + SEARCH_PERIOD
    return attempt.payable_until


def attention_for(attempt: Attempt) -> Attention | None:
    """Return what a person has to do about an attempt; ``None`` if nothing."""
    state, status = attempt.state, attempt.status
    if state is AttemptState.DUPLICATE:
        return Attention.REFUND
    if state is AttemptState.PAYMENT_REPORTED:
        return Attention.REVIEW
    if state is AttemptState.CANDIDATES_FOUND:
        statuses = [*attempt.candidates.values()]
        is_needed = any(one.is_paid is not False for one in statuses)
    else:
        is_open = state in {*PAYABLE, AttemptState.EXPIRED}
        is_needed = is_open and status is not None and status not in IS_PAID
    return Attention.REVIEW if is_needed else None


#: The age up to which the result of the last poll is used without another one.
_MAX_POLL_AGE: Final = timedelta(minutes=1)

#: The same for an overdue order, before another one takes its place.
_MAX_OVERDUE_AGE: Final = timedelta(seconds=5)

#: The number of failed checks in a row from which the next call waits: a minute at
#: first, and twice as long after each further one.
_FAILURES_BEFORE_PAUSE: Final = 2

_FIRST_PAUSE: Final = timedelta(minutes=1)

_MAX_DOUBLINGS: Final = 8

#: How long an order is shown after its invoice has expired, because a payment may be in
#: flight. The client's polling for a payment goes on for as long.
_SHOW_GRACE: Final = timedelta(minutes=1)


@attrs.frozen(kw_only=True)
class ReferenceRecord:
    """The row of a reference and its attempts."""

    #: The database's time when the rows were read.
    now: datetime
    #: This machine's monotonic time before that.
    read_at: float = 0.0
    reference: str
    price: Decimal
    currency: str
    paid_attempt_id: str | None
    #: Newest first.
    attempts: Sequence[Attempt]
    #: The ids of the attempts, of any reference, that have the order and the payment
    #: hash that were asked for.
    owner_of_order_id: str | None = None
    owner_of_payment_hash: str | None = None

    def find(self, key: str, by: str = "attempt_id") -> Attempt | None:
        """Return the attempt with this value of a field, ``attempt_id`` by default."""
        return next((a for a in self.attempts if getattr(a, by) == key), None)

    def allows_payable(self, attempt_id: str) -> bool:
        """Return true if the order of this attempt may be shown."""
        taken = {*ACTIVE, AttemptState.PAYMENT_REPORTED}
        others = (a for a in self.attempts if a.attempt_id != attempt_id)
        return self.paid_attempt_id is None and all(
            a.state not in taken for a in others
        )


class Action(Enum):
    """The next action for a reference."""

    #: Return the order to the caller.
    SHOW = auto()
    #: Wait for the process that sends the request.
    WAIT = auto()
    #: Query Aurpay for the order's status.
    POLL = auto()
    #: The order is overdue: stop showing it.
    RETIRE = auto()
    #: The sender has crashed: the outcome is unknown.
    MARK_UNKNOWN = auto()
    #: Search for the order that the attempt may have created.
    SEARCH = auto()


class Step(NamedTuple):
    """An action and its attempt."""

    do: Action
    attempt: Attempt


def decide(entry: ReferenceRecord | None, price: Decimal, currency: str) -> Step | None:
    """Return the next step for a reference; ``None`` to create an order.

    Raises:
        ReferenceConflictError: the reference has another price or currency.
        AlreadyPaidError: it is paid, and there is no invoice to show.
        PaymentNeedsReviewError: it may be paid, and the order is not identified.
    """
    if entry is None:
        return None
    if (entry.price, entry.currency) != (price, currency):
        raise ReferenceConflictError(
            entry.reference,
            stored=f"{entry.price:f} {entry.currency}",
            requested=f"{price:f} {currency}",
            paid=entry.paid_attempt_id is not None,
        )
    if entry.paid_attempt_id is not None:
        return _show_paid(entry, entry.paid_attempt_id)
    newest = {attempt.state: attempt for attempt in reversed(entry.attempts)}
    if AttemptState.PAYMENT_REPORTED in newest:
        raise PaymentNeedsReviewError(
            f"a callback reports that {shown(entry.reference)} is paid, and its order "
            "is not identified; reconcile() searches for it, and resolve() assigns an "
            "order",
            reference=entry.reference,
        )
    current = next((newest[state] for state in ACTIVE if state in newest), None)
    if current is not None:
        return Step(_decide_active(current, entry.now), current)
    overdue = newest.get(AttemptState.OVERDUE)
    if overdue is not None and _may_have_been_paid(overdue, entry.now):
        return Step(Action.POLL, overdue)
    for attempt in entry.attempts:
        # No payer has seen its invoice, so one search is enough here; `reconcile`
        # searches again.
        if attempt.state is AttemptState.UNKNOWN and attempt.last_polled_at is None:
            return Step(Action.SEARCH, attempt)
    failed = [*takewhile(lambda one: one.failed_check is not None, entry.attempts)]
    if len(failed) >= _FAILURES_BEFORE_PAUSE:
        _require_pause(failed, entry.now)
    return None


def _may_have_been_paid(overdue: Attempt, now: datetime) -> bool:
    """Return true to query the order that the payer has seen last, before a new one.

    Its late payment may have had a lost callback: the payer would pay a second time.
    """
    polled_at = overdue.last_polled_at
    is_known = polled_at is not None and now - _MAX_OVERDUE_AGE <= polled_at <= now
    return overdue.has_order and now < overdue.payable_until and not is_known


def _require_pause(failed: Sequence[Attempt], now: datetime) -> None:
    """Reject another create soon after answers that failed a check.

    If two in a row fail, the cause is likely to persist: a wrong clock or payee.
    """
    doublings = min(len(failed) - _FAILURES_BEFORE_PAUSE, _MAX_DOUBLINGS)
    pause = min(_FIRST_PAUSE * 2**doublings, PAYMENT_WINDOW)
    last = failed[0]
    if timedelta(0) <= now - last.created_at < pause:
        raise UntrustedOrderError(
            f"so did the answers to the last {len(failed)} calls for "
            f"{shown(last.reference)}; no other order is created before "
            f"{last.created_at + pause:%H:%M:%S} UTC",
            check=last.failed_check or "",
            order_id=last.order_id or "",
            status=200,
            body=b"",
        )


def _show_paid(entry: ReferenceRecord, attempt_id: str) -> Step:
    attempt = entry.find(attempt_id)
    if attempt is not None and attempt.has_order:
        return Step(Action.SHOW, attempt)
    order_id = None if attempt is None else attempt.order_id
    error = AlreadyPaidError(
        f"{shown(entry.reference)} is paid, with order {shown(order_id)} "
        "without an invoice in the store",
        reference=entry.reference,
    )
    error.order_id = order_id
    raise error


def _decide_active(attempt: Attempt, now: datetime) -> Action:
    if attempt.state is AttemptState.CREATING:
        return Action.MARK_UNKNOWN if is_over(attempt, now) else Action.WAIT
    order = attempt.order
    return Action.RETIRE if order is None else _decide_payable(attempt, order, now)


def _decide_payable(attempt: Attempt, order: LightningOrder, now: datetime) -> Action:
    """Decide if an order is shown: always before `overdue_at`, then by its status.

    After `overdue_at` the clock alone decides nothing: the order is polled. An order
    that is PENDING at Aurpay is shown while its invoice can be paid, and one with a
    status of unknown meaning for an hour more.
    """
    expires_at = order.payment_request.expires_at
    overdue_at = min(order.overdue_at, expires_at)
    if now < overdue_at:
        return Action.SHOW
    polled_at = attempt.last_polled_at
    if (
        polled_at is None
        or not max(overdue_at, now - _MAX_POLL_AGE) <= polled_at <= now
    ):
        return Action.POLL
    has_unknown_status = order.status.is_paid is None
    end = attempt.payable_until if has_unknown_status else expires_at + _SHOW_GRACE
    return Action.SHOW if now < end else Action.RETIRE
