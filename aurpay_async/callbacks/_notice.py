"""What a handler is told, once: confirmed with the platform, or not; by type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import attrs

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from decimal import Decimal

    from .._models import Order
    from .._order_life import OrderStatus
    from ._event import CallbackEvent
    from ._replay import CallerConnection, Claim, Handled, InboxStore, Kind

#: What became of an order.
Outcome = Literal["paid", "late_paid", "timed_out", "refunded"]


class KnownOrder(Protocol):
    """What a shop has kept of an order; a `LightningOrder` is one.

    .. versionadded:: 0.1.0
    """

    @property
    def order_id(self) -> str:
        """The platform's id."""
        ...

    @property
    def reference(self) -> str | None:
        """The shop's own id, as given to ``create_order``."""
        ...

    @property
    def attempt_id(self) -> str | None:
        """Of the call that created it; without one, nothing is confirmed."""
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
        """Where it stands, as far as the shop knows."""
        ...


class OrderReader(Protocol):
    """Who can ask the platform; an `AurpayClient` is one.

    .. versionadded:: 0.1.0
    """

    async def get_order(self, order_id: str) -> Order:
        """The order as the platform has it now."""
        ...


class Settlement:
    """Records in the inbox, once, that a notification was handled."""

    def __init__(self, inbox: InboxStore, claim: Claim, handled: Handled) -> None:
        self._inbox = inbox
        self._claim = claim
        self._handled: Handled = handled
        self._in_transaction = False

    async def settle_in(self, connection: CallerConnection | None) -> None:
        """In the handler's own transaction."""
        if connection is None:
            raise ConfigurationError(
                "settle() takes the connection of the handler's own transaction; "
                "without one, the processor records it by itself"
            )
        if self._in_transaction:
            raise ConfigurationError("this notification was settled already")
        await self._inbox.confirm(self._claim, self._handled, connection)
        self._in_transaction = True

    async def finish(self) -> bool:
        """After the handler: record it, or see whether its transaction did.

        Raises:
            ClaimExpiredError: if the lease has ended.
        """
        if self._in_transaction:
            return not await self._inbox.holds(self._claim)
        await self._inbox.confirm(self._claim, self._handled)
        return True


@attrs.frozen(kw_only=True)
class ConfirmedNotification:
    """The platform was asked, and says the same.

    .. versionadded:: 0.1.0
    """

    #: ``paid``; ``late_paid`` (after a timeout was handled, or the shop had it as
    #: overdue); ``timed_out``; ``refunded``.
    outcome: Outcome
    #: The request that led to it; ``None`` if the shop asked by itself (`check`). Its
    #: `kind` may say less than `outcome`.
    event: CallbackEvent | None
    #: The order as the platform has it now.
    order: Order
    #: The order as the shop has it.
    known: KnownOrder
    confirmed: Literal[True] = attrs.field(default=True, init=False)
    _settlement: Settlement = attrs.field(alias="settlement", repr=False)

    @property
    def reference(self) -> str:
        """The shop's own id of what is paid."""
        return self.known.reference or ""

    async def ack(self, connection: CallerConnection) -> None:
        """Record in the caller's own transaction that this was handled.

        Whatever else the transaction does is then done exactly once, even if the
        process dies: both are committed, or neither. Without it, the processor records
        it after the handler; a process that dies in between handles it again.

        Raises:
            ClaimExpiredError: if this handler took longer than the lease; let it
                roll the transaction back.
            ConfigurationError: if that is no connection with a transaction.
        """
        await self._settlement.settle_in(connection)


@attrs.frozen(kw_only=True)
class UnconfirmedNotification:
    """A genuine callback that the platform could not be asked about. Not a payment.

    .. versionadded:: 0.1.0
    """

    #: What the callback claims: ``paid`` or ``timeout``.
    claimed: Kind
    #: Why it is not confirmed.
    reason: str
    event: CallbackEvent
    #: The order as the shop has it, if it has one.
    known: KnownOrder | None
    confirmed: Literal[False] = attrs.field(default=False, init=False)
    outcome: Literal["unconfirmed"] = attrs.field(default="unconfirmed", init=False)
    _settlement: Settlement = attrs.field(alias="settlement", repr=False)

    @property
    def reference(self) -> str:
        """The shop's own id of what is meant."""
        return self.event.reference or ""

    async def ack(self, connection: CallerConnection) -> None:
        """As `ConfirmedNotification.settle`."""
        await self._settlement.settle_in(connection)


#: The argument of a handler. It is a payment if
#: ``notification.outcome in {"paid", "late_paid"}``.
Notification = ConfirmedNotification | UnconfirmedNotification
