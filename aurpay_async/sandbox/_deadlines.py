"""Time out orders after their deadline, as Aurpay does after 30 minutes.

A short real tick compares the next deadline with the sandbox's clock. However that
clock moves, an order is overdue at most one tick after its deadline.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from .._clock import Clock
    from ._orders import SandboxOrder

_TICK_S: Final = 0.05


class Deadlines:
    """The deadlines of all pending orders, if timeouts are enabled."""

    def __init__(
        self,
        orders: dict[str, SandboxOrder],
        expire: Callable[[str], Awaitable[object]],
        clock: Clock,
        *,
        is_enabled: bool,
    ) -> None:
        self.expire = expire
        self._orders = orders
        self._clock = clock
        self._is_enabled = is_enabled
        self._known = 0
        self._next: list[tuple[datetime, str]] = []
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start checking the deadlines."""
        self._known, self._next = 0, []
        if self._is_enabled:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop checking; callbacks in flight are aborted."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()  # raises the error that ended the task early

    async def check(self) -> None:
        """Time out the orders that are due, and wait for their callbacks."""
        if self._is_enabled:
            async with asyncio.TaskGroup() as tasks:
                self._expire_due(tasks)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._expire_due(tasks)
                await asyncio.sleep(_TICK_S)

    def _expire_due(self, tasks: asyncio.TaskGroup) -> None:
        self._add_new_orders()
        now = self._clock.now()
        while self._next and self._next[0][0] <= now:
            _, order_id = heappop(self._next)
            tasks.create_task(self._expire_if_pending(order_id))

    def _add_new_orders(self) -> None:
        """Add the orders that were created since the last tick: the last ones."""
        orders = self._orders.values()
        for order in islice(reversed(orders), len(orders) - self._known):
            heappush(self._next, (order.expires_at, order.order_id))
        self._known = len(orders)

    async def _expire_if_pending(self, order_id: str) -> None:
        if self._orders[order_id].status == "PENDING":
            await self.expire(order_id)
