"""When to ask the platform about an attempt, and until when: arithmetic.

Callbacks tell most of what happens; this is for those that never come. Pauses grow with
age, so an order of a day is asked about some thirty times, and none is ever forgotten.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ._states import AttemptState

if TYPE_CHECKING:
    from datetime import datetime

    from ._records import Attempt

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
