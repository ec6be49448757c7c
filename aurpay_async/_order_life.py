"""The status of an order, and its possible transitions.

Aurpay documents seven statuses ("Get Orders"), the meaning of five, and no transition.
The table follows from these meanings: a payment may be late, the merchant may accept an
underpayment, and a paid order can be refunded.
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
    """The status of an order. An open set: an unknown status keeps its string.

    The known ones are those of Aurpay's documentation ("Get Orders"). An unknown status
    becomes a new value, which equals its string and has `is_known` false.
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
    #: Refunded to the payer.
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
        # The name of an unknown status is outside text, which Enum prints unescaped.
        return f"<OrderStatus.{ascii(self.name)[1:-1]}: {self.value!a}>"

    @property
    def is_known(self) -> bool:
        """Return whether this version of the SDK knows the status."""
        return self.value in type(self).__members__

    @property
    def is_paid(self) -> bool | None:
        """Return whether the merchant has the money; ``None`` if that is not known.

        It is not known for ``PARTIAL`` and ``TERMINATED``, which are documented without
        a meaning, and for every status that this version does not know.
        """
        return _IS_PAID.get(self)

    @property
    def is_final(self) -> bool:
        """Return whether no other status can follow, which holds for ``REFUNDED`` only.

        ``SUCCESS`` can be refunded, and a late payment can follow ``OVERDUE``.
        """
        return self is OrderStatus.REFUNDED

    def can_become(self, other: OrderStatus) -> bool:
        """Return whether an order can change to the status `other`, or keep it.

        A transition from or to a status that this version does not know is allowed.
        """
        if self == other or not (self.is_known and other.is_known):
            return True
        return other in _TRANSITIONS[self]


_IS_PAID: Final[Mapping[OrderStatus, bool]] = {
    OrderStatus.PENDING: False,
    OrderStatus.OVERDUE: False,
    OrderStatus.SUCCESS: True,
    OrderStatus.RESOLVED: True,
    OrderStatus.REFUNDED: False,
}


def _statuses(row: str) -> frozenset[OrderStatus]:
    return frozenset(OrderStatus[name] for name in row.split())


_TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    OrderStatus.PENDING: _statuses(
        "OVERDUE SUCCESS RESOLVED PARTIAL TERMINATED REFUNDED"
    ),
    OrderStatus.OVERDUE: _statuses("SUCCESS RESOLVED PARTIAL TERMINATED REFUNDED"),
    OrderStatus.PARTIAL: _statuses("SUCCESS RESOLVED OVERDUE TERMINATED REFUNDED"),
    OrderStatus.SUCCESS: _statuses("RESOLVED REFUNDED"),
    OrderStatus.RESOLVED: _statuses("REFUNDED SUCCESS"),
    # The meaning of TERMINATED is not documented: the payer may have paid before.
    OrderStatus.TERMINATED: _statuses("SUCCESS RESOLVED REFUNDED"),
    OrderStatus.REFUNDED: _statuses(""),
}


def overdue_at(create_time: datetime) -> datetime:
    """Return when an order is overdue, or the largest datetime if that overflows."""
    try:
        return create_time + PAYMENT_WINDOW
    except OverflowError:  # Aurpay may send any year.
        return datetime.max.replace(tzinfo=UTC)
