"""Lets orders time out by themselves, as Aurpay does after half an hour.

A short real tick holds the next deadline against the sandbox's clock: whatever moves
that clock, time or somebody who wants to see what happens, an order is overdue at most
a tick after its deadline.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from .._clock import Clock
    from ._cashier import Cashier
    from ._orders import SandboxOrder

_TICK_S: Final = 0.05


class Deadlines:
    """Those of all orders that are pending, if orders time out by themselves here."""

    def __init__(
        self,
        orders: dict[str, SandboxOrder],
        cashier: Cashier,
        clock: Clock,
        *,
        count: bool,
    ) -> None:
        self._orders = orders
        self._cashier = cashier
        self._clock = clock
        self._count = count
        self._known = 0
        self._next: list[tuple[datetime, str]] = []
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Look at the clock from now on."""
        self._known, self._next = 0, []
        if self._count:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Look no more; what is on its way is cut off."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()  # what has ended it before its time

    async def check(self) -> None:
        """Let time out what is due, and return when the shops have heard of it."""
        if self._count:
            async with asyncio.TaskGroup() as tasks:
                self._begin(tasks)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._begin(tasks)
                await asyncio.sleep(_TICK_S)

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        self._look()
        now = self._clock.now()
        while self._next and self._next[0][0] <= now:
            _, order_id = heappop(self._next)
            tasks.create_task(self._expire(order_id))

    def _look(self) -> None:
        """For orders that are new: those are the last ones."""
        orders = self._orders.values()
        for order in islice(reversed(orders), len(orders) - self._known):
            heappush(self._next, (order.expires_at, order.order_id))
        self._known = len(orders)

    async def _expire(self, order_id: str) -> None:
        if self._orders[order_id].status == "PENDING":
            await self._cashier.expire(order_id)
