"""Decide the next step for a reference, and when to ask the platform again.

Callbacks tell most of what happens; this is for those that never come. Pauses grow with
age, so an order of a day is asked about some thirty times, and none is ever forgotten.

`get_or_create` calls it again after each step, until there is an order to return; so
it does not matter which process made the last step, or whether it still runs.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from .._api.models import PAYMENT_WINDOW
from ..errors import (
    AlreadyPaidError,
    PaymentNeedsReviewError,
    ReferenceConflictError,
    UntrustedOrderError,
    shown,
)
from ._models import ACTIVE, AttemptState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from .._api.lightning_order import LightningOrder
    from ._models import Attempt


#: An order of this age may have lost its callback.
FIRST_POLL_AGE: Final = timedelta(minutes=2)

#: The part of its age that an order is left alone for.
_AGE_PER_POLL: Final = 4

#: How long to look for an order that may exist: the list may be behind, but not by more
#: than twice the life of an order.
SEARCH: Final = timedelta(hours=1)

#: A payment that was under way when the invoice expired, and clocks that differ.
GRACE: Final = timedelta(hours=1)

#: Aurpay's invoices live a day; so may one that was never returned.
INVOICE_LIFE: Final = timedelta(days=1)

#: Invoices may name any expiry.
_MAX_WATCH: Final = timedelta(days=3650)

#: For how long the process that polls an attempt keeps others from doing so. Longer
#: than a call and the handler take together; if the process crashes, another one polls.
LEASE: Final = FIRST_POLL_AGE

#: How long a call may hesitate between writing down that it will send, and sending.
MAX_SEND_DELAY: Final = timedelta(seconds=10)

#: And then, after it has ended, to read the order back and to store it.
_WRITING: Final = timedelta(seconds=10)

#: So many candidates are polled one by one; of more, the list tells with fewer calls.
_MAX_SINGLE_LOOKUPS: Final = 5

#: These have nothing more to be asked.
_DONE: Final = frozenset(
    {
        AttemptState.REJECTED,
        AttemptState.NOT_FOUND,
        AttemptState.PAID,
        AttemptState.REFUNDED,
        AttemptState.EXPIRED,
    }
)


def call_limit(call_s: float) -> timedelta:
    """Return the longest duration of a call, from its row to its stored answer.

    Args:
        call_s: Seconds that the client's calls take at most.
    """
    return MAX_SEND_DELAY + timedelta(seconds=call_s) + _WRITING


def is_over(attempt: Attempt, now: datetime) -> bool:
    """Return whether the process that sends it must have crashed."""
    left = attempt.deadline - now
    # A clock that was set back by hours must not make a call longer by hours.
    return not timedelta(0) < left <= 2 * (attempt.deadline - attempt.created_at)


def last_payment_at(opened: datetime, expires_at: datetime | None = None) -> datetime:
    """Until when a payment of an order may come; `expires_at` is its invoice's."""
    unknown = opened + INVOICE_LIFE
    latest = opened + _MAX_WATCH
    return min(expires_at or unknown, latest) + GRACE


def next_poll(attempt: Attempt, now: datetime) -> datetime | None:
    """When to ask next, if there is anything to ask."""
    if attempt.state in _DONE or not can_be_polled(attempt):
        return None
    if attempt.state is AttemptState.CREATING:
        return attempt.deadline
    return poll_after(attempt, now)


def can_be_polled(attempt: Attempt) -> bool:
    """Return whether the platform can be asked about its order, or searched for it.

    Of an order that this store did not create, it is not known when it was created.
    Then a search would take another order for it.
    """
    return attempt.created_here or attempt.order_id is not None


def poll_after(attempt: Attempt, now: datetime) -> datetime:
    """When to ask again, should asking now come to nothing."""
    later = now + max(FIRST_POLL_AGE, (now - attempt.created_at) / _AGE_PER_POLL)
    last = end_of(attempt)
    return later if last is None or now >= last else min(later, last)


def needs_list(attempt: Attempt, now: datetime) -> bool:
    """Return whether to search the platform's list, or to poll what was found.

    The first order that fits may be another one's, and the list may be behind. So the
    list is read for as long as a lost order is searched for, and before it is given up.
    """
    if (
        attempt.state is not AttemptState.CANDIDATES_FOUND
        or len(attempt.candidates) > _MAX_SINGLE_LOOKUPS
    ):
        return True
    searching = now < attempt.deadline + SEARCH
    return searching or now >= attempt.payable_until


def end_of(attempt: Attempt) -> datetime | None:
    """When to give an attempt up; ``None``: never."""
    if attempt.state in {AttemptState.DUPLICATE, AttemptState.PAYMENT_REPORTED}:
        return None
    if attempt.state is AttemptState.UNKNOWN:
        return attempt.deadline + SEARCH
    return attempt.payable_until


#: What the platform said so recently is still so.
_FRESH: Final = timedelta(minutes=1)

#: So many answers that fail a check are no reason to wait before the next call; more of
#: them are: a minute, and each time twice as long.
_ACCIDENTS: Final = 2

_FIRST_PAUSE: Final = timedelta(minutes=1)

_MAX_DOUBLINGS: Final = 8

#: A payment may be on its way when the invoice expires; then its order still counts as
#: the one to show. As long as waiting for a payment goes on.
_GRACE: Final = timedelta(minutes=1)


@attrs.frozen(kw_only=True)
class ReferenceRecord:
    """The row of a reference and its attempts."""

    #: When this was read, by the clock that all machines share.
    now: datetime
    reference: str
    price: Decimal
    currency: str
    paid_attempt_id: str | None
    #: The newest first.
    attempts: Sequence[Attempt]

    def find(self, attempt_id: str) -> Attempt | None:
        """The attempt of that name."""
        return next((a for a in self.attempts if a.attempt_id == attempt_id), None)

    def first(self, *states: AttemptState) -> Attempt | None:
        """The newest attempt that is in one of these states."""
        return next((a for a in self.attempts if a.state in states), None)

    def has_room_for(self, attempt_id: str) -> bool:
        """Return whether this attempt may be the one that is shown."""
        taken = {*ACTIVE, AttemptState.PAYMENT_REPORTED}
        others = (a for a in self.attempts if a.attempt_id != attempt_id)
        return self.paid_attempt_id is None and all(
            a.state not in taken for a in others
        )


class Action(Enum):
    """The next action for a reference."""

    #: Give its order to the caller.
    SHOW = auto()
    #: Wait for the process that sends it.
    WAIT = auto()
    #: Ask the platform where it stands.
    POLL = auto()
    #: Its time is over: show it no more.
    RETIRE = auto()
    #: Its sender has crashed: the outcome is unknown.
    MARK_UNKNOWN = auto()
    #: Look for the order that it may have made.
    SEARCH = auto()
    #: Make an order.
    CREATE = auto()


class Step(NamedTuple):
    """An action and its attempt."""

    do: Action
    attempt: Attempt


def decide(entry: ReferenceRecord | None, new: Attempt, now: datetime) -> Step:
    """The next step.

    Args:
        entry: What the store has.
        new: The attempt to `SEND`, if nothing else is to be done.
        now: The time.

    Raises:
        ReferenceConflictError: it was opened for another price or currency.
        AlreadyPaidError: paid, and there is no invoice to show.
        PaymentNeedsReviewError: it may be paid, and the order is not identified.
    """
    if entry is None:
        return Step(Action.CREATE, new)
    if (entry.price, entry.currency) != (new.price, new.currency):
        raise ReferenceConflictError(
            entry.reference,
            stored=f"{entry.price:f} {entry.currency}",
            requested=f"{new.price:f} {new.currency}",
        )
    if entry.paid_attempt_id is not None:
        return _settled(entry, entry.paid_attempt_id)
    claimed = entry.first(AttemptState.PAYMENT_REPORTED)
    if claimed is not None:
        raise _needs_review(claimed)
    current = entry.first(*ACTIVE)
    if current is not None:
        return Step(_current(current, now), current)
    for attempt in entry.attempts:
        # No payer has seen its invoice, so one search is enough here; `reconcile`
        # searches again.
        if attempt.state is AttemptState.UNKNOWN and attempt.last_polled_at is None:
            return Step(Action.SEARCH, attempt)
    _require_pause(entry, now)
    return Step(Action.CREATE, new)


def _require_pause(entry: ReferenceRecord, now: datetime) -> None:
    """Let time pass before another order is created that will fail the same check.

    One answer that must not be trusted may be an accident. If the next one fails as
    well, the cause is likely to stay: a wrong clock, network or payee.
    """
    failed = [*takewhile(lambda one: one.failed_check is not None, entry.attempts)]
    if len(failed) < _ACCIDENTS:
        return
    doublings = min(len(failed) - _ACCIDENTS, _MAX_DOUBLINGS)
    pause = min(_FIRST_PAUSE * 2**doublings, PAYMENT_WINDOW)
    last = failed[0]
    if timedelta(0) <= now - last.created_at < pause:
        raise UntrustedOrderError(
            f"so did the answers to the last {len(failed)} calls for "
            f"{shown(entry.reference)}; no other order is created before "
            f"{last.created_at + pause:%H:%M:%S} UTC",
            check=last.failed_check or "",
            order_id=last.order_id or "",
            status=200,
            body=b"",
        )


def _settled(entry: ReferenceRecord, attempt_id: str) -> Step:
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


def _needs_review(attempt: Attempt) -> PaymentNeedsReviewError:
    return PaymentNeedsReviewError(
        f"a callback says that {shown(attempt.reference)} is paid, and its order is "
        "not known; reconcile() looks for it, identify() tells the store",
        reference=attempt.reference,
    )


def _current(attempt: Attempt, now: datetime) -> Action:
    if attempt.state is AttemptState.CREATING:
        return Action.MARK_UNKNOWN if is_over(attempt, now) else Action.WAIT
    order = attempt.order
    return Action.RETIRE if order is None else _live(attempt, order, now)


def _live(attempt: Attempt, order: LightningOrder, now: datetime) -> Action:
    """Decide if an order is shown: until it is overdue, then as the platform says.

    When its 30 minutes are over, a clock alone decides nothing: the platform is asked.
    An order that it calls PENDING is shown for as long as its invoice can be paid, and
    one of a status without a known meaning for an hour more.
    """
    expires_at = order.payment_request.expires_at
    over = min(order.overdue_at, expires_at)
    if now < over:
        return Action.SHOW
    asked_at = attempt.last_polled_at
    if asked_at is None or not max(over, now - _FRESH) <= asked_at <= now:
        return Action.POLL
    puzzling = order.status.is_paid is None
    last = attempt.payable_until if puzzling else expires_at + _GRACE
    return Action.SHOW if now < last else Action.RETIRE
