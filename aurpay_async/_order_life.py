"""Where an order stands, and where it can go from there.

Aurpay documents seven statuses ("Get Orders"), the meaning of five, and no moves. The
table is what these meanings leave possible: money may come late, it may be accepted
though it is too little, and what was paid can be paid back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

#: "Orders" of Aurpay's dashboard: an order that is not paid within 30 minutes is
#: overdue. No field of the API repeats it.
PAYMENT_WINDOW: Final = timedelta(minutes=30)


class OrderStatus(StrEnum):
    """Where an order stands. An open set: new values keep their text.

    The known ones are those of Aurpay's documentation ("Get Orders"). Whatever else
    arrives becomes a value of its own: equal to its text, with `is_known` false.

    .. versionadded:: 0.1.0
    """

    #: Not paid yet, or paid and not confirmed.
    PENDING = "PENDING"
    #: Not paid within 30 minutes, or paid with a wrong amount. May still change.
    OVERDUE = "OVERDUE"
    #: Paid and confirmed.
    SUCCESS = "SUCCESS"
    #: The merchant accepted an underpayment.
    RESOLVED = "RESOLVED"
    #: Documented without a meaning.
    PARTIAL = "PARTIAL"
    #: Documented without a meaning.
    TERMINATED = "TERMINATED"
    #: Paid back.
    REFUNDED = "REFUNDED"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        status = str.__new__(cls, value)
        status._name_ = value
        status._value_ = value
        return status

    def __repr__(self) -> str:
        # The name of a new one is text from outside, which enum prints as it is.
        return f"<OrderStatus.{ascii(self.name)[1:-1]}: {self.value!a}>"

    @property
    def is_known(self) -> bool:
        """Whether this version of the SDK knows the status."""
        return self.value in type(self).__members__

    @property
    def is_paid(self) -> bool | None:
        """Whether the merchant has the money: yes, no, or not known (``None``).

        Not known are ``PARTIAL`` and ``TERMINATED``, which are documented without a
        meaning, and every status that this version does not know.
        """
        return _PAID.get(self)

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow: after ``REFUNDED``, and nothing else.

        Not after ``SUCCESS``, which can be refunded, and not after ``OVERDUE``, which
        a late payment still ends.
        """
        return self is OrderStatus.REFUNDED

    def can_become(self, other: OrderStatus) -> bool:
        """Whether an order can go from here to `other`, or stay where it is.

        What leads to or from a status that this version does not know is allowed.
        """
        if self == other or not (self.is_known and other.is_known):
            return True
        return other in _MOVES[self]


_PAID: Final[Mapping[OrderStatus, bool]] = {
    OrderStatus.PENDING: False,
    OrderStatus.OVERDUE: False,
    OrderStatus.SUCCESS: True,
    OrderStatus.RESOLVED: True,
    OrderStatus.REFUNDED: False,
}


def _moves(row: str) -> frozenset[OrderStatus]:
    return frozenset(OrderStatus[name] for name in row.split())


_MOVES: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    OrderStatus.PENDING: _moves("OVERDUE SUCCESS RESOLVED PARTIAL TERMINATED REFUNDED"),
    OrderStatus.OVERDUE: _moves("SUCCESS RESOLVED PARTIAL TERMINATED REFUNDED"),
    OrderStatus.PARTIAL: _moves("SUCCESS RESOLVED OVERDUE TERMINATED REFUNDED"),
    OrderStatus.SUCCESS: _moves("RESOLVED REFUNDED"),
    OrderStatus.RESOLVED: _moves("REFUNDED SUCCESS"),
    # Whatever it means: money may have come before.
    OrderStatus.TERMINATED: _moves("SUCCESS RESOLVED REFUNDED"),
    OrderStatus.REFUNDED: _moves(""),
}


def overdue_at(create_time: datetime) -> datetime:
    """When an order is overdue; at most the last time there is."""
    try:
        return create_time + PAYMENT_WINDOW
    except OverflowError:  # the platform writes any year
        return datetime.max.replace(tzinfo=UTC)
