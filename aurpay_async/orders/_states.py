"""What is known of an attempt to make an order, and what can be learned next.

An attempt is one call of ``create_order``, by its nonce. The table has a row for each
state and in it the states that may follow; a missing one is a refusal: the attempt
stays what it is. Three rules made the table:

* Money counts whatever was known before: every state that has seen none leads to
  `PAID` and to `SURPLUS`.
* What is paid can be paid back, and is otherwise never forgotten.
* An order is `LIVE` once. One that nobody was shown, or whose time is over, is watched
  and never shown again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from .._order_life import OrderStatus

if TYPE_CHECKING:
    from collections.abc import Mapping


class AttemptState(StrEnum):
    """What is known of an attempt to make an order.

    .. versionadded:: 0.1.0
    """

    #: Being sent, or about to be; nobody knows yet.
    OPENING = "opening"
    #: The order to show: stored, checked, payable.
    LIVE = "live"
    #: Its time to be shown is over. Its invoice may still be paid.
    OVERDUE = "overdue"
    #: Nothing was made: it was not sent, or the platform said no.
    REFUSED = "refused"
    #: The process died, or no trustworthy answer came: an order may exist.
    LOST = "lost"
    #: Lost, and there are orders that fit (`Attempt.suspects`). None is proven to be
    #: its own, so none settles anything.
    FOUND = "found"
    #: Lost, searched for long enough, and Aurpay has no order that fits and can still
    #: be paid.
    ABSENT = "absent"
    #: Its order exists, and nobody was shown its invoice: the answer could not be
    #: trusted, or came when another order had taken its place.
    UNSHOWN = "unshown"
    #: Lost, or not answered yet, and a genuine callback says that it is paid; which
    #: order that is, nobody can tell yet.
    CLAIMED = "claimed"
    #: Paid, and settles its reference.
    PAID = "paid"
    #: Paid, though another order had settled the reference: to be refunded.
    SURPLUS = "surplus"
    #: Paid back.
    REFUNDED = "refunded"
    #: Never paid: Aurpay says that it is overdue or gone, and its invoice has expired.
    EXPIRED = "expired"

    def can_become(self, other: AttemptState) -> bool:
        """Whether `other` can follow."""
        return other in _MOVES[self]

    def first_of(self, wanted: tuple[AttemptState, ...]) -> AttemptState:
        """Return the first of these that it is in or can follow; if none, its own."""
        possible = (s for s in wanted if s is self or self.can_become(s))
        return next(possible, self)


_State = AttemptState


def _moves(row: str) -> frozenset[AttemptState]:
    return frozenset(AttemptState(name) for name in row.split())


_MOVES: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    _State.OPENING: _moves("live unshown refused lost claimed paid surplus refunded"),
    _State.LIVE: _moves("overdue expired paid surplus refunded"),
    _State.OVERDUE: _moves("expired paid surplus refunded"),
    # Whoever said no may have been a gateway behind which an order was made.
    _State.REFUSED: _moves("unshown claimed paid surplus refunded"),
    # Its sender may come back with the answer, at any time.
    _State.LOST: _moves(
        "live unshown refused found absent claimed paid surplus refunded"
    ),
    _State.FOUND: _moves(
        "live unshown refused lost absent claimed paid surplus refunded"
    ),
    # A clock that was ahead may have given it up: see `REVOCABLE`.
    _State.ABSENT: _moves(
        "live unshown refused lost found claimed paid surplus refunded"
    ),
    # Where its invoice is also another order's, its payment needs review.
    _State.UNSHOWN: _moves("expired claimed paid surplus refunded"),
    _State.CLAIMED: _moves("live unshown absent paid surplus refunded"),
    _State.PAID: _moves("refunded"),
    _State.SURPLUS: _moves("refunded"),
    _State.REFUNDED: _moves(""),
    _State.EXPIRED: _moves("overdue paid surplus refunded"),
}

#: A reference has one attempt in these at most; the database sees to it.
HOLDING: Final = (_State.OPENING, _State.LIVE)

#: An order in one of these is paid no more, once its invoice has expired.
ENDED: Final = (OrderStatus.OVERDUE, OrderStatus.REFUNDED)

#: What is decided about these depends on the time. Where a clock was ahead, they are
#: looked at again.
REVOCABLE: Final = tuple(
    state
    for state in _State
    if state not in {_State.REFUSED, _State.PAID, _State.REFUNDED}
)

#: Their order is known, and may be paid.
WATCHED: Final = (_State.LIVE, _State.OVERDUE, _State.UNSHOWN)

#: An order may have been made, and is not known.
UNPROVEN: Final = (_State.LOST, _State.FOUND, _State.CLAIMED)

#: Among the orders that the platform lists there may be one that such an attempt made,
#: and nothing tells whose order that is.
UNIDENTIFIED: Final = (_State.OPENING, *UNPROVEN, _State.ABSENT)


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
        return (_State.SURPLUS,) if settled else (_State.PAID,)
    if status is OrderStatus.REFUNDED:
        return (_State.REFUNDED,)
    # Who did not know the order knows it now; nobody is shown it any more.
    if status is not OrderStatus.OVERDUE:
        return (_State.UNSHOWN,)
    overdue = (_State.OVERDUE, _State.UNSHOWN)
    return (_State.EXPIRED, *overdue) if over else overdue
