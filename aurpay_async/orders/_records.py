"""The records of the order store: attempts, changes, results of reconciliation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from .._lightning_order import LightningOrder
from .._models import Order
from .._order_life import OrderStatus
from ..callbacks import Notification
from ._states import AttemptState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: An argument of `OrderStore.record`: a notification, an order, or the id of one.
OrderUpdate = Notification | Order | str


@attrs.frozen(kw_only=True)
class Attempt:
    """One call that may have made an order, and what is known of that order.

    Times are aware, UTC.
    """

    #: The shop's own name for what is paid.
    reference: str
    #: Fiat, in units of `currency`.
    price: Decimal
    #: Fiat: three letters.
    currency: str
    #: What tells this attempt from another of the same reference; callbacks have it.
    attempt_id: str
    #: False if this order store did not create the order: a callback reported it, and
    #: only a person can say which order it is (`OrderStore.resolve`).
    created_here: bool = True
    state: AttemptState
    #: The platform's name for its order, if that is proven.
    order_id: str | None
    #: Of its invoice: lower-case hex; ``None`` if it has none that can be trusted.
    payment_hash: str | None = None
    #: The check that the answer about its order failed: `UntrustedOrderError.check`.
    failed_check: str | None = None
    #: The order that the body of a callback named. It is not signed: it proves nothing.
    hinted_order_id: str | None = None
    #: Where the order stands, as the platform said when it was asked last.
    status: OrderStatus | None
    #: Of a lost one: the orders that fit, by id, and where they stand.
    candidates: Mapping[str, OrderStatus]
    #: When it was written down; it was sent afterwards.
    created_at: datetime
    #: When the call is over, even without an answer.
    deadline: datetime
    #: When its last request began, if that is known.
    sent_at: datetime | None
    #: When the platform was last asked about it.
    last_polled_at: datetime | None
    #: When `OrderStore.reconcile` asks next; ``None``: not any more.
    next_poll_at: datetime | None
    #: Until when a payment can come.
    payable_until: datetime
    _order_json: str | None = attrs.field(alias="order_json", repr=False)

    @cached_property
    def order(self) -> LightningOrder | None:
        """The order with its invoice, verified anew, as far as it is known.

        Raises:
            UntrustedOrderError: what the database holds was changed.
        """
        if self._order_json is None:
            return None
        order = LightningOrder.from_json(self._order_json)
        return attrs.evolve(order, status=self.status or order.status)

    @property
    def has_order(self) -> bool:
        """Return whether `order` has one."""
        return self._order_json is not None


@attrs.frozen(kw_only=True)
class Change:
    """The result of recording an update."""

    #: As it is now.
    attempt: Attempt
    #: What it was before.
    before: AttemptState

    @property
    def reference(self) -> str:
        """The shop's own name for what is paid."""
        return self.attempt.reference

    @property
    def changed(self) -> bool:
        """Return whether the state differs from the one before."""
        return self.attempt.state is not self.before

    @property
    def newly_paid(self) -> bool:
        """True exactly once for each reference: fulfil it now."""
        return self.changed and self.attempt.state is AttemptState.PAID

    @property
    def duplicate_payment(self) -> bool:
        """True if another order has paid the reference already: refund this one."""
        return self.changed and self.attempt.state is AttemptState.DUPLICATE


#: The caller's transaction to write in; ``None`` for one that the store opens.
Caller = AsyncConnection | AsyncSession | None

#: Called with each change, in the transaction that records it.
OnChange = Callable[[Change, AsyncConnection], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Failure:
    """An attempt that could not be polled, or whose `on_change` raised."""

    attempt: Attempt
    #: What polling, or `on_change`, raised.
    error: BaseException


@attrs.frozen(kw_only=True)
class Reconciliation:
    """The result of one run of `OrderStore.reconcile`."""

    #: What is in another state than before, in the order in which it was found.
    changes: tuple[Change, ...]
    #: What could not be asked about; the next run that is due asks again.
    failures: tuple[Failure, ...]
    #: About how many attempts the platform was asked.
    asked: int
    #: Whether more are due, and nothing speaks against running it again at once.
    more: bool


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
    """Return an order that only the platform has as a `KnownOrder`.

    No payer has seen its invoice, so what it is to be paid is what the platform says.
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
