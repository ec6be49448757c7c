"""The sandbox's clock, and the timeouts of its orders.

A short real tick compares the next deadline with the sandbox's clock. However that
clock moves, an order is overdue at most one tick after its deadline.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, cast, final

from .._core.clock import SystemClock
from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.clock import Clock
    from ._ledger import SandboxOrder
    from ._storage import Storage


#: The largest step: a year is more than tests need, and stops a wrong unit.
MAX_ADVANCE_S: Final = 365 * 86_400

#: The 35 bits of a timestamp in BOLT #11 end in the year 3058.
_END: Final = datetime(3000, 1, 1, tzinfo=UTC)


class ClockError(Exception):
    """Raised with the reason why a clock cannot be advanced."""


class _Movable(Protocol):
    def advance(self, seconds: float, /) -> None: ...


@final
class SandboxClock:
    """The time of this machine, or a fixed time; `advance` moves either.

    `sleep` waits in real time, and does not move a fixed clock.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Follow the time of this machine, or stop at `start` (aware)."""
        self._machine = SystemClock()
        self._start = None if start is None else start.astimezone(UTC)
        self._advanced_s = 0.0
        self._storage: Storage | None = None

    @property
    def stands_still(self) -> bool:
        """Return whether only `advance` moves the clock."""
        return self._start is not None

    def now(self) -> datetime:
        """Return the time; aware, UTC."""
        started = self._machine.now() if self._start is None else self._start
        return started + timedelta(seconds=self._advanced_s)

    def monotonic(self) -> float:
        """Return seconds that never decrease."""
        began = self._machine.monotonic() if self._start is None else 0.0
        return began + self._advanced_s

    async def sleep(self, seconds: float) -> None:
        """Wait this many real seconds."""
        await self._machine.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        advanced_s = self._advanced_s + seconds
        if self._storage is not None:
            self._storage.put("clock", "advanced_s", advanced_s)
        self._advanced_s = advanced_s

    def attach(self, storage: Storage) -> None:
        """Restore the stored offset, and store each change from now on."""
        for _, advanced_s in storage.read("clock"):
            self._advanced_s += cast("float", advanced_s)
        self._storage = storage


def advance(clock: Clock, seconds: float) -> None:
    """Move a clock of any type forward.

    Raises:
        InvalidRequestError: if `seconds` is not 0 to a year.
        ClockError: if this clock cannot be advanced, or not so far.
    """
    if not 0 <= seconds <= MAX_ADVANCE_S:
        raise InvalidRequestError(
            f"must be 0 to {MAX_ADVANCE_S} seconds", field="advance_s"
        )
    if not callable(getattr(clock, "advance", None)):
        raise ClockError("the clock of this sandbox has no advance() method")
    if _END - clock.now() <= timedelta(seconds=seconds):
        raise ClockError(f"the clock ends with the year {_END.year - 1}")
    cast("_Movable", clock).advance(seconds)


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
