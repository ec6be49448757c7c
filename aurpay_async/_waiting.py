"""Waiting until an order is paid: one task looks for all who wait for the same order.

However many wait, and whoever looks at the order meanwhile (a callback reads it back),
each answer counts for all of them. The schedule is arithmetic; time is the clock's.
"""

from __future__ import annotations

import asyncio
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast, final

import attrs

from ._lightning_order import LightningOrder
from ._listeners import notify
from ._models import Payment, require_order_id
from ._order_life import OrderStatus, overdue_at
from ._settings import is_async
from ._transports._task import require_task
from .errors import (
    APIError,
    AurpayError,
    ConfigurationError,
    InvalidRequestError,
    PaymentPendingError,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from typing import Literal

    from ._clock import Clock
    from ._models import Order

#: Those who wait, by the id of their order. Shared by a client and its twins.
Watches = dict[str, "Watch"]

#: A payment may be on its way when its order becomes overdue.
GRACE_S: Final = 60.0

#: How far ahead the platform's clock may be: as for callbacks.
_CLOCK_SKEW: Final = timedelta(minutes=5)

#: Until so many seconds after the beginning, look every so many. Most payers pay at
#: once or after they have fetched their phone.
_PACE: Final = ((60.0, 2.0), (600.0, 5.0))
_SLOWEST_S: Final = 15.0

#: What a platform that has enough may ask for between two looks.
_MAX_RETRY_AFTER_S: Final = 300.0

#: How long to go on after the last look, if none can be had.
_LAST_TRIES_S: Final = 300.0

#: Thirty years; longer ones overflow clocks.
_MAX_SECONDS: Final = 10**9

_FOR_EVER: Final = float("inf")


def pause_after(elapsed_s: float) -> float:
    """Seconds between two looks, that long after the first one."""
    for until_s, pause_s in _PACE:
        if elapsed_s < until_s:
            return pause_s
    return _SLOWEST_S


def next_look(elapsed_s: float, deadline_s: float) -> float:
    """Seconds until the next look: in time, on time, and once when grace is over.

    Args:
        elapsed_s: Seconds since the first look.
        deadline_s: Seconds until the order is overdue; negative afterwards.
    """
    if deadline_s > 0:
        return min(pause_after(elapsed_s), deadline_s)
    return max(deadline_s + GRACE_S, 0.0)


async def wait_for_payment(
    order: LightningOrder | str,
    watches: Watches,
    look: Callable[[str], Awaitable[Order]],
    clock: Clock,
    *,
    timeout: float | None,  # noqa: ASYNC109 - of waiting, and not of an operation
    on_status: Callable[[OrderStatus], None] | None,
) -> Payment:
    """As `AurpayClient.wait_for_payment`, looking with `look`."""
    known = order if isinstance(order, LightningOrder) else None
    order_id = require_order_id(known.order_id if known else order, "order")
    _require(timeout, on_status)
    require_task()
    watch = watches.get(order_id)
    if watch is None or not watch.is_here:
        watch = watches[order_id] = Watch(order_id, watches, look, clock)
    if known is not None:
        watch.expect(known.overdue_at)
    waiter = Waiter(
        on_status=on_status,
        until=clock.monotonic() + (_FOR_EVER if timeout is None else timeout),
        status=known.status if known else None,
        released=asyncio.get_running_loop().create_future(),
    )
    return await watch.wait(waiter, timeout)


def _require(timeout: object, on_status: object) -> None:
    if timeout is not None and not (
        type(timeout) in {int, float} and 0 < cast("float", timeout) <= _MAX_SECONDS
    ):
        raise InvalidRequestError(
            f"must be a number of seconds above 0, got {shown(timeout)}",
            field="timeout",
        )
    if on_status is not None and (not callable(on_status) or is_async(on_status)):
        raise InvalidRequestError(
            "must be a plain function, which may put statuses into a queue",
            field="on_status",
        )


async def end_all(watches: Watches) -> None:
    """Tell all who wait that the client is closed."""
    here = [watch for watch in watches.values() if watch.is_here]
    watches.clear()
    for watch in here:
        watch.end(ConfigurationError("this client was closed while somebody waited"))
    pollers = [watch.poller for watch in here if watch.poller is not None]
    await asyncio.gather(*pollers, return_exceptions=True)


@attrs.define(eq=False)
class Waiter:
    """One who waits."""

    on_status: Callable[[OrderStatus], None] | None
    #: When to give up, on the monotonic clock.
    until: float
    #: What has been told last.
    status: OrderStatus | None
    #: Is done when there is an outcome, or `until` has come. It never fails: nobody
    #: would hear of it if whoever waits was cancelled at the same moment.
    released: asyncio.Future[None]

    def notify(self, status: OrderStatus) -> None:
        """Say where the order stands now, if that is new."""
        changed, self.status = status != self.status, status
        if changed and self.on_status is not None:
            notify(self.on_status, status)


@final
class Watch:
    """One order, all who wait for it, and the task that looks for them."""

    def __init__(
        self,
        order_id: str,
        watches: Watches,
        look: Callable[[str], Awaitable[Order]],
        clock: Clock,
    ) -> None:
        self._order_id = order_id
        self._watches = watches
        self._look = look
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._started = clock.now()
        self._due: datetime | None = None
        #: When it was first seen so, by the clock.
        self._seen_overdue: datetime | None = None
        self._latest: Order | None = None
        self._waiters: set[Waiter] = set()
        #: The task that looks, once somebody waits.
        self.poller: asyncio.Task[None] | None = None
        self._outcome: Payment | Exception | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is of this loop: an earlier one may have ended without a word."""
        return self._loop is asyncio.get_running_loop()

    def expect(self, due: datetime) -> None:
        """Take note of when the order will be overdue, the first time it is said."""
        self._due = self._due or due

    async def wait(self, waiter: Waiter, at_most_s: float | None) -> Payment:
        """Wait until there is an outcome, or until so many seconds are over."""
        self._waiters.add(waiter)
        if self.poller is None:
            self.poller = asyncio.create_task(self._poll())
        try:
            # The poller keeps the time by the clock, but not while it looks.
            await asyncio.wait({waiter.released}, timeout=at_most_s)
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self.stop()
        if isinstance(self._outcome, Payment):
            return self._outcome
        if self._outcome is None:
            raise _pending(self._order_id)
        # Each gets an error of its own: whoever raises one writes into it.
        own = isinstance(self._outcome, AurpayError)
        raise copy(self._outcome) if own else self._outcome

    def feed(self, order: Order) -> None:
        """Take note of how the order stands, whoever has looked."""
        before = self._latest
        if before is not None and not before.status.can_become(order.status):
            return  # an older answer that took longer
        self._latest = order
        if order.create_time is not None:
            self.expect(self._due_of(order, order.create_time))
        for waiter in [*self._waiters]:
            waiter.notify(order.status)
        now = self._clock.now()
        if order.status is OrderStatus.REFUNDED:
            self._settle("refunded", order)
        elif order.status.is_paid:
            paid = order.update_time or now
            late = self._seen_overdue is not None or paid > self._deadline()
            self._settle("late_paid" if late else "paid", order)
        elif order.status is OrderStatus.OVERDUE and self._seen_overdue is None:
            self._seen_overdue = now

    def _due_of(self, order: Order, created: datetime) -> datetime:
        due = overdue_at(created)
        is_ahead = created - self._started > _CLOCK_SKEW
        if is_ahead or (due <= self._started and order.status is OrderStatus.PENDING):
            # Aurpay writes no zone: a time in the future is not that of the creation,
            # and a documented one lies 51 minutes before the invoice of its order.
            return overdue_at(self._started)
        return due

    def end(self, outcome: Payment | Exception) -> None:
        """Tell all who wait what came of it, and stop looking."""
        if self._outcome is None:
            self._outcome = outcome
            for waiter in self._waiters:
                waiter.released.set_result(None)
        self.stop()

    def stop(self) -> None:
        """Stop looking. Who comes later is waited for anew."""
        if self._watches.get(self._order_id) is self:
            del self._watches[self._order_id]
        if self.poller is not None and self.poller is not asyncio.current_task():
            self.poller.cancel()

    def _settle(
        self,
        outcome: Literal["paid", "late_paid", "timed_out", "refunded"],
        order: Order,
    ) -> None:
        self.end(Payment(outcome=outcome, order=order))

    def _deadline(self) -> datetime:
        due = self._due or overdue_at(self._started)
        return due if self._seen_overdue is None else min(due, self._seen_overdue)

    async def _poll(self) -> None:
        try:
            await self._look_until_the_end()
        except asyncio.CancelledError:
            # By us if nobody waits any more; by whoever ends all tasks, if somebody.
            self.end(ConfigurationError("the task that looked at it was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001 - those who wait raise it
            self.end(error)
        finally:
            self.stop()

    async def _look_until_the_end(self) -> None:
        first = self._clock.monotonic()
        while self._waiters:
            began = self._clock.now()
            failure = await self._look_once()
            if self._outcome is not None:
                return
            elapsed_s = self._clock.monotonic() - first
            if failure is not None:
                if self._seconds_left() <= -(GRACE_S + _LAST_TRIES_S):
                    raise failure
                await self._rest(max(pause_after(elapsed_s), _asked_for(failure)))
                continue
            if self._latest is not None and self._seconds_left(began) <= -GRACE_S:
                self._give_up(self._latest)
                return
            await self._rest(next_look(elapsed_s, self._seconds_left()))

    def _give_up(self, order: Order) -> None:
        """The last look is over, and it is not paid, as far as anybody knows."""
        if order.status.is_paid is None:
            self.end(_pending(self._order_id, order.status))
        else:
            self._settle("timed_out", order)

    async def _look_once(self) -> AurpayError | None:
        """The failure, if it is one that may pass."""
        try:
            await self._look(self._order_id)
        except AurpayError as error:
            if not error.retryable:
                raise
            return error
        return None

    async def _rest(self, pause_s: float) -> None:
        """Sleep, and let those go whose time is over meanwhile."""
        until = self._clock.monotonic() + pause_s
        while self._waiters:
            first = min(waiter.until for waiter in self._waiters)
            wake = min(first, until)
            await self._clock.sleep(max(0.0, wake - self._clock.monotonic()))
            # A clock for tests sleeps without letting others go on.
            await asyncio.sleep(0)
            for waiter in [one for one in self._waiters if one.until <= wake]:
                self._waiters.discard(waiter)
                waiter.released.set_result(None)
            if until <= wake:
                return

    def _seconds_left(self, now: datetime | None = None) -> float:
        """Until it is overdue; negative afterwards."""
        return (self._deadline() - (now or self._clock.now())).total_seconds()


def _asked_for(failure: AurpayError) -> float:
    """Seconds that the platform wants to be left alone."""
    asked_s = failure.retry_after if isinstance(failure, APIError) else None
    return min(asked_s or 0.0, _MAX_RETRY_AFTER_S)


def _pending(order_id: str, status: OrderStatus | None = None) -> PaymentPendingError:
    known = "is not paid yet" if status is None else f"is {shown(str(status))}"
    error = PaymentPendingError(f"order {shown(order_id)} {known}")
    error.order_id = order_id
    error.retryable = True
    return error
