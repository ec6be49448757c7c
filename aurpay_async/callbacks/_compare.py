"""Do callback, shop and platform speak of the same order, and what became of it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._order_life import OrderStatus
from ..errors import CallbackError, CallbackReferenceError, shown

if TYPE_CHECKING:
    from decimal import Decimal

    from .._models import Order
    from ._hint import OrderHint
    from ._notice import KnownOrder, Outcome
    from ._reference import Reference
    from ._replay import Handled, Kind

#: What was handled before, if the shop has been told that nobody paid in time.
_LATE: Final[frozenset[Handled | None]] = frozenset(
    {"timeout", "unconfirmed_late_paid"}
)


class NotYetError(Exception):
    """The platform does not say (yet) what the callback says."""


def check_reference(
    token: Reference, known: KnownOrder, hint: OrderHint | None
) -> None:
    """The shop's order must be the one that the callback was registered for.

    Raises:
        CallbackReferenceError: if it is not.
    """
    if (known.price, known.currency) != (token.price, token.currency):
        raise _other("the shop's order has another price than the callback's reference")
    named = None if hint is None else hint.order_id
    if named not in {None, known.order_id}:
        raise _other(
            f"the body names order {shown(named)}, the shop holds "
            f"{shown(known.order_id)} for this reference"
        )


def check_platform_order(known: KnownOrder, order: Order) -> None:
    """What the platform says must be of the shop's order, and possible.

    Raises:
        CallbackReferenceError: if it is of another order, price or amount.
        CallbackError: if the order cannot have become what it is.
    """
    for name, said, expected in (
        ("id", order.order_id, known.order_id),
        ("price", order.price, known.price),
        ("currency", (order.currency or "").upper() or None, known.currency),
        ("amount", order.amount, known.amount),
    ):
        if not _same(said, expected):
            raise _other(
                f"the platform has another {name} for order {shown(known.order_id)} "
                "than the shop"
            )
    if order.status is OrderStatus.PENDING:
        return  # also what awaits confirmation, of a late payment for example
    if not held_status(known).can_become(order.status):
        raise CallbackError(
            f"order {shown(known.order_id)} cannot go from {shown(str(known.status))} "
            f"to {shown(str(order.status))}",
            rule="move",
        )


def _same(said: Decimal | str | None, expected: Decimal | str) -> bool:
    # Of the answer, little is documented: what is missing contradicts nothing.
    return said is None or said == expected


def held_status(known: KnownOrder) -> OrderStatus:
    """A shop may have kept the text alone."""
    return OrderStatus(str(known.status))


def outcome_of(
    kind: Kind | None, known: KnownOrder, order: Order, previous: Handled | None
) -> Outcome | None:
    """What became of an order; ``None`` if its status has no known meaning.

    Args:
        kind: What the callback is; ``None`` if the shop asks by itself.
        known: The shop's order.
        order: The platform's.
        previous: What was handled before.

    Raises:
        NotYetError: if the platform does not yet say what the callback says.
    """
    if order.status is OrderStatus.REFUNDED:
        return "refunded"
    if order.status.is_paid:  # whatever the callback was: paid beats timeout
        late = is_late(previous) or held_status(known) is OrderStatus.OVERDUE
        return "late_paid" if late else "paid"
    if order.status.is_paid is None:
        return None
    if kind != "paid" and order.status is OrderStatus.OVERDUE:
        return "timed_out"
    says = "asks" if kind is None else f"was called for {kind!r}"
    raise NotYetError(f"the shop {says}, the platform has {shown(str(order.status))}")


def unconfirmed(kind: Kind, previous: Handled | None) -> Handled:
    """What to remember of a notification that nobody could confirm."""
    if kind == "timeout":
        return "unconfirmed_timeout"
    return "unconfirmed_late_paid" if is_late(previous) else "unconfirmed_paid"


def was_notified(kind: Kind, previous: Handled | None) -> bool:
    """Whether the shop has heard of this, as unconfirmed, before."""
    if kind == "timeout":
        return previous is not None
    return previous in {"unconfirmed_paid", "unconfirmed_late_paid"}


def is_late(previous: Handled | None) -> bool:
    """Whether the shop has been told that nobody paid in time."""
    return previous in _LATE


def _other(problem: str) -> CallbackReferenceError:
    return CallbackReferenceError(problem, rule="order")
