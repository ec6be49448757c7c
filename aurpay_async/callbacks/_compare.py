"""Compare the callback, the merchant's order and Aurpay's; derive the outcome."""

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

#: The records after which a payment is late: a timeout was notified as confirmed.
_LATE: Final[frozenset[Handled | None]] = frozenset(
    {"timeout", "unconfirmed_late_paid"}
)


class NotYetError(Exception):
    """Aurpay does not confirm the callback yet."""


def check_reference(
    token: Reference, known: KnownOrder, hint: OrderHint | None
) -> None:
    """Check that the merchant's order is the one that the callback was registered for.

    Raises:
        CallbackReferenceError: if it is not.
    """
    if (known.price, known.currency) != (token.price, token.currency):
        raise _mismatch(
            "the shop's order has another price than the callback's reference"
        )
    named = None if hint is None else hint.order_id
    if named not in {None, known.order_id}:
        raise _mismatch(
            f"the body names order {shown(named)}, the shop holds "
            f"{shown(known.order_id)} for this reference"
        )


def check_platform_order(known: KnownOrder, order: Order) -> None:
    """Check that Aurpay's order is the merchant's, and that its status is possible.

    Raises:
        CallbackReferenceError: if its id, price, currency or amount differs.
        CallbackError: if the order cannot change to its status.
    """
    for name, actual, expected in (
        ("id", order.order_id, known.order_id),
        ("price", order.price, known.price),
        ("currency", (order.currency or "").upper() or None, known.currency),
        ("amount", order.amount, known.amount),
    ):
        if not _is_same(actual, expected):
            raise _mismatch(
                f"the platform has another {name} for order {shown(known.order_id)} "
                "than the shop"
            )
    if order.status is OrderStatus.PENDING:
        return  # a late payment that awaits confirmation is pending again
    # The merchant may have stored the status as a `str`.
    if not OrderStatus(str(known.status)).can_become(order.status):
        raise CallbackError(
            f"order {shown(known.order_id)} cannot go from {shown(str(known.status))} "
            f"to {shown(str(order.status))}",
            rule="move",
        )


def _is_same(actual: Decimal | str | None, expected: Decimal | str) -> bool:
    # Few fields of the response are documented: a missing one is not a difference.
    return actual is None or actual == expected


def outcome_of(
    kind: Kind | None, known: KnownOrder, order: Order, previous: Handled | None
) -> Outcome | None:
    """Return the outcome of an order; ``None`` if the meaning of its status is unknown.

    Args:
        kind: The kind of the callback; ``None`` if the shop polls.
        known: The merchant's order.
        order: Aurpay's order.
        previous: The last record in the inbox.

    Raises:
        NotYetError: if Aurpay does not confirm the callback yet.
    """
    if order.status is OrderStatus.REFUNDED:
        return "refunded"
    if order.status.is_paid:  # also after a timeout callback: paid takes precedence
        late = is_late(previous) or known.status == OrderStatus.OVERDUE
        return "late_paid" if late else "paid"
    if order.status.is_paid is None:
        return None
    if kind != "paid" and order.status is OrderStatus.OVERDUE:
        return "timed_out"
    reason = "a poll" if kind is None else f"a callback for {kind!r}"
    raise NotYetError(f"{reason}, but the platform has {shown(str(order.status))}")


def unconfirmed(kind: Kind, previous: Handled | None) -> Handled:
    """Return the record of a notification that was not confirmed."""
    if kind == "timeout":
        return "unconfirmed_timeout"
    return "unconfirmed_late_paid" if is_late(previous) else "unconfirmed_paid"


def was_notified(kind: Kind, previous: Handled | None) -> bool:
    """Return whether the handler was called for this before, without confirmation."""
    if kind == "timeout":
        return previous is not None
    return previous in {"unconfirmed_paid", "unconfirmed_late_paid"}


def is_late(previous: Handled | None) -> bool:
    """Return whether a confirmed timeout was handled before."""
    return previous in _LATE


def _mismatch(problem: str) -> CallbackReferenceError:
    return CallbackReferenceError(problem, rule="order")
