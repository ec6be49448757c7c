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
FIRST_LOOK: Final = timedelta(minutes=2)

#: The part of its age that an order is left alone for.
_PATIENCE: Final = 4

#: How long to look for an order that may exist: the list may be behind, but not by more
#: than twice the life of an order.
SEARCH: Final = timedelta(hours=1)

#: A payment that was under way when the invoice expired, and clocks that differ.
GRACE: Final = timedelta(hours=1)

#: Aurpay's invoices live a day; so may one that nobody has seen.
INVOICE_LIFE: Final = timedelta(days=1)

#: Invoices may name any expiry.
_MAX_WATCH: Final = timedelta(days=3650)

#: How long a call may hesitate between writing down that it will send, and sending.
HESITATION: Final = timedelta(seconds=10)

#: And then, after it has ended, to write down what came.
_WRITING: Final = timedelta(seconds=10)

#: These have nothing more to be asked.
_DONE: Final = frozenset(
    {
        AttemptState.REFUSED,
        AttemptState.ABSENT,
        AttemptState.PAID,
        AttemptState.REFUNDED,
        AttemptState.EXPIRED,
    }
)


def deadline(opened: datetime, call_s: float) -> datetime:
    """When a call that was written down at `opened` is over, if its process lives.

    Args:
        opened: When.
        call_s: Seconds that the client's calls take at most.
    """
    return opened + HESITATION + timedelta(seconds=call_s) + _WRITING


def is_over(attempt: Attempt, now: datetime) -> bool:
    """Whether whoever sends it must have died."""
    left = attempt.deadline - now
    # A clock that was set back by hours must not make a call longer by hours.
    return not timedelta(0) < left <= 2 * (attempt.deadline - attempt.opened_at)


def watched_until(opened: datetime, expires_at: datetime | None = None) -> datetime:
    """Until when a payment of an order may come; `expires_at` is its invoice's."""
    unknown = opened + INVOICE_LIFE
    latest = opened + _MAX_WATCH
    return min(expires_at or unknown, latest) + GRACE


def next_look(attempt: Attempt, now: datetime) -> datetime | None:
    """When to ask next, if there is anything to ask."""
    if attempt.state in _DONE:
        return None
    if attempt.state is AttemptState.OPENING:
        return attempt.deadline
    return another_look(attempt, now)


def another_look(attempt: Attempt, now: datetime) -> datetime:
    """When to ask again, should asking now come to nothing."""
    later = now + max(FIRST_LOOK, (now - attempt.opened_at) / _PATIENCE)
    last = end_of(attempt)
    return later if last is None or now >= last else min(later, last)


def end_of(attempt: Attempt) -> datetime | None:
    """When to give an attempt up; ``None``: never."""
    if attempt.state in {AttemptState.SURPLUS, AttemptState.CLAIMED}:
        return None
    if attempt.state is AttemptState.LOST:
        return attempt.deadline + SEARCH
    return attempt.ends_at
