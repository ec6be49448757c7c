"""The notifications that a handler receives, confirmed or not; told apart by type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from .._models import Order
    from .._order_life import OrderStatus
    from ._event import CallbackEvent
    from ._replay import CallerConnection, Kind

    Acknowledge = Callable[[CallerConnection], Awaitable[None]]

#: The outcome of an order.
Outcome = Literal["paid", "late_paid", "timed_out", "refunded"]


class KnownOrder(Protocol):
    """The order as the merchant has stored it; a `LightningOrder` is one."""

    @property
    def order_id(self) -> str:
        """Aurpay's id."""
        ...

    @property
    def reference(self) -> str | None:
        """The merchant's own id, as given to ``create_order``."""
        ...

    @property
    def attempt_id(self) -> str | None:
        """The id of the call that created it; without one, nothing is confirmed."""
        ...

    @property
    def price(self) -> Decimal:
        """Fiat."""
        ...

    @property
    def currency(self) -> str:
        """Fiat: three letters."""
        ...

    @property
    def amount(self) -> Decimal:
        """BTC."""
        ...

    @property
    def status(self) -> OrderStatus:
        """The last status that the merchant has recorded."""
        ...


class OrderReader(Protocol):
    """Reads orders from Aurpay; an `AurpayClient` is one."""

    async def get_order(self, order_id: str) -> Order:
        """Return the order as Aurpay has it now."""
        ...


@attrs.frozen(kw_only=True)
class ConfirmedNotification:
    """A notification that Aurpay confirmed when it was queried."""

    #: ``paid``; ``late_paid`` (after a timeout was handled, or the merchant's order was
    #: overdue); ``timed_out``; ``refunded``.
    outcome: Outcome
    #: The callback; ``None`` after `CallbackProcessor.poll`. Its `kind` may differ from
    #: `outcome`: Aurpay can report a payment when a timeout callback is read back.
    event: CallbackEvent | None
    #: The order as Aurpay has it now.
    order: Order
    #: The order as the merchant has it.
    known: KnownOrder
    confirmed: Literal[True] = attrs.field(default=True, init=False)
    _acknowledge: Acknowledge = attrs.field(alias="acknowledge", repr=False)

    @property
    def reference(self) -> str:
        """The merchant's own id of what is paid."""
        return self.known.reference or ""

    async def ack(self, connection: CallerConnection) -> None:
        """Record in the caller's own transaction that this was handled.

        The effect of that transaction is then exactly once, even if the process
        crashes: both are committed, or neither. Without `ack`, the processor records
        the notification after the handler has returned; if the process crashes in
        between, the handler is called again.

        Raises:
            ClaimExpiredError: if this handler took longer than the lease; let the
                exception roll the transaction back.
            ConfigurationError: if `connection` is no connection with a transaction.
        """
        await self._acknowledge(connection)


@attrs.frozen(kw_only=True)
class UnconfirmedNotification:
    """A genuine callback that Aurpay did not confirm. It is not a payment."""

    #: The kind of the callback: ``paid`` or ``timeout``.
    claimed: Kind
    #: The reason why it is not confirmed.
    reason: str
    event: CallbackEvent
    #: The order as the merchant has it, if `lookup` found one.
    known: KnownOrder | None
    confirmed: Literal[False] = attrs.field(default=False, init=False)
    outcome: Literal["unconfirmed"] = attrs.field(default="unconfirmed", init=False)
    _acknowledge: Acknowledge = attrs.field(alias="acknowledge", repr=False)

    @property
    def reference(self) -> str:
        """The merchant's own id, from the signed URL."""
        return self.event.reference or ""

    async def ack(self, connection: CallerConnection) -> None:
        """As `ConfirmedNotification.ack`."""
        await self._acknowledge(connection)


#: The argument of a handler. It is a payment if
#: ``notification.outcome in {"paid", "late_paid"}``.
Notification = ConfirmedNotification | UnconfirmedNotification
