"""Settles orders: changes the ledger, then lets the shop hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._letters import has_address
from ._postman import Errand, deliver

if TYPE_CHECKING:
    from .._clock import Clock
    from ._courier import Courier, SentCallback
    from ._deliveries import CallbackFaults
    from ._ledger import Ledger
    from ._letters import CallbackKind, Writer
    from ._mishaps import Mishap
    from ._orders import SandboxOrder


class Cashier:
    """Where orders are paid, in full or not, expire and are refunded."""

    def __init__(
        self,
        ledger: Ledger,
        writer: Writer,
        courier: Courier,
        clock: Clock,
        faults: CallbackFaults,
    ) -> None:
        self._faults = faults
        self._ledger = ledger
        self._writer = writer
        self._courier = courier
        self._clock = clock

    async def pay(self, order_id: str) -> list[SentCallback]:
        """Pay an order, and tell its ``callback_url``."""
        order = self._ledger.pay(order_id, self._clock.now())
        return await self._tell(order, "paid")

    async def expire(self, order_id: str) -> list[SentCallback]:
        """Let an order's time run out, and tell its ``timeout_callback``."""
        order = self._ledger.expire(order_id, self._clock.now())
        return await self._tell(order, "timeout")

    async def underpay(self, order_id: str) -> list[SentCallback]:
        """Pay too little. No callback is documented for it."""
        self._ledger.underpay(order_id, self._clock.now())
        return []

    async def refund(self, order_id: str) -> list[SentCallback]:
        """Give back what was paid. No callback is documented for it."""
        self._ledger.refund(order_id, self._clock.now())
        return []

    async def pay_before_answer(self, order_id: str) -> None:
        """Pay an order that nobody has heard of yet, if that is asked for."""
        mishap = self._faults.take(before_answer=True)
        if mishap is not None:
            order = self._ledger.pay(order_id, self._clock.now())
            await self._tell(order, "paid", mishap)

    async def _tell(
        self, order: SandboxOrder, kind: CallbackKind, mishap: Mishap | None = None
    ) -> list[SentCallback]:
        if not has_address(order, kind):
            return []
        errand = Errand(
            order=order,
            kind=kind,
            writer=self._writer,
            courier=self._courier,
            clock=self._clock,
        )
        return await deliver(errand, mishap or self._faults.take())
