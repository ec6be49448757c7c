"""Poll an order until it is paid.

All callers waiting for the same order share one polling task. A `get_order` by other
code (a callback that reads the order back) counts for all of them as well.
"""

from __future__ import annotations

import asyncio
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast, final

import attrs

from .._api.arguments import require_order_id
from .._api.lightning_order import LightningOrder
from .._api.models import OrderStatus, Payment, overdue_at
from .._core.events import is_async, notify
from ..errors import (
    APIError,
    AurpayError,
    ConfigurationError,
    InvalidRequestError,
    PaymentPendingError,
    shown,
)
from .transport import require_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from typing import Literal

    from .._api.models import Order
    from .._core.clock import Clock

#: Pollers by order id. Shared by a client and its copies (`with_options`).
OrderPollers = dict[str, "OrderPoller"]

#: A payment may be on its way when its order becomes overdue.
OVERDUE_GRACE_S: Final = 60.0

#: How far Aurpay's clock may be ahead: as for callbacks.
_CLOCK_SKEW: Final = timedelta(minutes=5)

#: Up to so many seconds after the first poll, the interval. Most payers pay at once or
#: after fetching their phone.
_POLL_INTERVALS: Final = ((60.0, 2.0), (600.0, 5.0))
_LONGEST_INTERVAL_S: Final = 15.0

#: The longest Retry-After that is respected between two polls.
_MAX_RETRY_AFTER_S: Final = 300.0

#: How long to retry the final poll while it fails.
_FINAL_RETRY_S: Final = 300.0

#: Thirty years; longer timeouts overflow clocks.
_MAX_TIMEOUT_S: Final = 10**9

_NO_DEADLINE: Final = float("inf")


def poll_interval(elapsed_s: float) -> float:
    """Return the seconds between two polls, that long after the first one."""
    for until_s, interval_s in _POLL_INTERVALS:
        if elapsed_s < until_s:
            return interval_s
    return _LONGEST_INTERVAL_S


def seconds_to_next_poll(elapsed_s: float, deadline_s: float) -> float:
    """Return the seconds until the next poll, the last of which ends the grace period.

    Args:
        elapsed_s: Seconds since the first poll.
        deadline_s: Seconds until the order is overdue; negative afterwards.
    """
    if deadline_s > 0:
        return min(poll_interval(elapsed_s), deadline_s)
    return max(deadline_s + OVERDUE_GRACE_S, 0.0)


async def wait_for_payment(
    order: LightningOrder | str,
    pollers: OrderPollers,
    get_order: Callable[[str], Awaitable[Order]],
    clock: Clock,
    *,
    timeout: float | None,  # noqa: ASYNC109 - of waiting, and not of an operation
    on_status: Callable[[OrderStatus], None] | None,
) -> Payment:
    """Wait as `AurpayClient.wait_for_payment` does, polling with `get_order`."""
    known = order if isinstance(order, LightningOrder) else None
    order_id = require_order_id(known.order_id if known else order, "order")
    _require_options(timeout, on_status)
    require_task()
    poller = pollers.get(order_id)
    if poller is None or not poller.on_current_loop:
        poller = pollers[order_id] = OrderPoller(order_id, pollers, get_order, clock)
    if known is not None:
        poller.set_due(known.overdue_at)
    waiter = Waiter(
        on_status=on_status,
        deadline=clock.monotonic() + (_NO_DEADLINE if timeout is None else timeout),
        status=known.status if known else None,
        released=asyncio.get_running_loop().create_future(),
    )
    return await poller.wait(waiter, timeout)


def _require_options(timeout: object, on_status: object) -> None:
    if timeout is not None and not (
        type(timeout) in {int, float} and 0 < cast("float", timeout) <= _MAX_TIMEOUT_S
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


async def close_all(pollers: OrderPollers) -> None:
    """Stop all polling; every waiting caller gets a `ConfigurationError`."""
    on_this_loop = [one for one in pollers.values() if one.on_current_loop]
    pollers.clear()
    for poller in on_this_loop:
        poller.finish(
            ConfigurationError("this client was closed during wait_for_payment()")
        )
    tasks = [one.task for one in on_this_loop if one.task is not None]
    await asyncio.gather(*tasks, return_exceptions=True)


@attrs.define(eq=False)
class Waiter:
    """One call of `wait_for_payment`."""

    on_status: Callable[[OrderStatus], None] | None
    #: When the call times out, on the monotonic clock.
    deadline: float
    #: The last status that `on_status` was called with.
    status: OrderStatus | None
    #: Done when there is an outcome, or at `deadline`. It never holds an exception: if
    #: the caller is cancelled at that moment, asyncio would log it as never retrieved.
    released: asyncio.Future[None]

    def notify(self, status: OrderStatus) -> None:
        """Call `on_status` if the status is new."""
        changed, self.status = status != self.status, status
        if changed and self.on_status is not None:
            notify(self.on_status, status)


@final
class OrderPoller:
    """One order, the callers waiting for it, and the task that polls it."""

    def __init__(
        self,
        order_id: str,
        pollers: OrderPollers,
        get_order: Callable[[str], Awaitable[Order]],
        clock: Clock,
    ) -> None:
        self._order_id = order_id
        self._pollers = pollers
        self._get_order = get_order
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._started = clock.now()
        self._due: datetime | None = None
        #: When Aurpay first answered that the order is overdue, by our clock.
        self._first_seen_overdue: datetime | None = None
        self._latest: Order | None = None
        self._waiters: set[Waiter] = set()
        #: The polling task; it starts with the first waiter.
        self.task: asyncio.Task[None] | None = None
        self._outcome: Payment | Exception | None = None

    @property
    def on_current_loop(self) -> bool:
        """Return whether it belongs to the running loop, not to one that has ended."""
        return self._loop is asyncio.get_running_loop()

    def set_due(self, due: datetime) -> None:
        """Set when the order becomes overdue, unless it is set already."""
        self._due = self._due or due

    async def wait(self, waiter: Waiter, timeout_s: float | None) -> Payment:
        """Wait until there is an outcome, or until the timeout."""
        self._waiters.add(waiter)
        if self.task is None:
            self.task = asyncio.create_task(self._poll())
        try:
            # The polling task checks deadlines too, but not during a request.
            await asyncio.wait({waiter.released}, timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self.stop()
        if isinstance(self._outcome, Payment):
            return self._outcome
        if self._outcome is None:
            raise _pending_error(self._order_id)
        # Raising sets attributes of the exception, so each caller gets a copy.
        own = isinstance(self._outcome, AurpayError)
        raise copy(self._outcome) if own else self._outcome

    def update(self, order: Order) -> None:
        """Take over an answer about the order, from the polling task or other code."""
        before = self._latest
        if before is not None and not before.status.can_become(order.status):
            return  # an older answer that took longer
        self._latest = order
        if order.create_time is not None:
            self.set_due(self._due_of(order, order.create_time))
        for waiter in [*self._waiters]:
            waiter.notify(order.status)
        now = self._clock.now()
        if order.status is OrderStatus.REFUNDED:
            self._finish_with("refunded", order)
        elif order.status.is_paid:
            paid = order.update_time or now
            late = self._first_seen_overdue is not None or paid > self._deadline()
            self._finish_with("late_paid" if late else "paid", order)
        elif order.status is OrderStatus.OVERDUE and self._first_seen_overdue is None:
            self._first_seen_overdue = now

    def _due_of(self, order: Order, created: datetime) -> datetime:
        due = overdue_at(created)
        is_ahead = created - self._started > _CLOCK_SKEW
        if is_ahead or (due <= self._started and order.status is OrderStatus.PENDING):
            # Aurpay writes no time zone, so such a time is not usable: the documented
            # example lies 51 minutes before the invoice of its order.
            return overdue_at(self._started)
        return due

    def finish(self, outcome: Payment | Exception) -> None:
        """Release all waiting callers with the outcome, and stop polling."""
        if self._outcome is None:
            self._outcome = outcome
            for waiter in self._waiters:
                waiter.released.set_result(None)
        self.stop()

    def stop(self) -> None:
        """Stop polling. A later call of `wait_for_payment` starts a new poller."""
        if self._pollers.get(self._order_id) is self:
            del self._pollers[self._order_id]
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    def _finish_with(
        self,
        outcome: Literal["paid", "late_paid", "timed_out", "refunded"],
        order: Order,
    ) -> None:
        self.finish(Payment(outcome=outcome, order=order))

    def _deadline(self) -> datetime:
        due = self._due or overdue_at(self._started)
        overdue = self._first_seen_overdue
        return due if overdue is None else min(due, overdue)

    async def _poll(self) -> None:
        try:
            await self._poll_until_outcome()
        except asyncio.CancelledError:
            # Cancelled by stop() when the last waiter left, or from outside (loop
            # shutdown) while callers still wait.
            self.finish(ConfigurationError("the polling task was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001 - the waiting callers raise it
            self.finish(error)
        finally:
            self.stop()

    async def _poll_until_outcome(self) -> None:
        first = self._clock.monotonic()
        while self._waiters:
            began = self._clock.now()
            failure = await self._poll_once()
            if self._outcome is not None:
                return
            elapsed_s = self._clock.monotonic() - first
            if failure is not None:
                if self._seconds_until_overdue() <= -(OVERDUE_GRACE_S + _FINAL_RETRY_S):
                    raise failure
                await self._sleep_until_due(
                    max(poll_interval(elapsed_s), _retry_after_s(failure))
                )
                continue
            overdue_in_s = self._seconds_until_overdue(began)
            if self._latest is not None and overdue_in_s <= -OVERDUE_GRACE_S:
                self._finish_unpaid(self._latest)
                return
            await self._sleep_until_due(
                seconds_to_next_poll(elapsed_s, self._seconds_until_overdue())
            )

    def _finish_unpaid(self, order: Order) -> None:
        """Finish after the last poll; an unknown status is pending, not timed out."""
        if order.status.is_paid is None:
            self.finish(_pending_error(self._order_id, order.status))
        else:
            self._finish_with("timed_out", order)

    async def _poll_once(self) -> AurpayError | None:
        """Query the order; return the error if it is retryable."""
        try:
            await self._get_order(self._order_id)
        except AurpayError as error:
            if not error.retryable:
                raise
            return error
        return None

    async def _sleep_until_due(self, pause_s: float) -> None:
        """Sleep, and release each waiter at its deadline."""
        until = self._clock.monotonic() + pause_s
        while self._waiters:
            first = min(waiter.deadline for waiter in self._waiters)
            wake = min(first, until)
            await self._clock.sleep(max(0.0, wake - self._clock.monotonic()))
            # A fake clock may return from sleep without letting other tasks run.
            await asyncio.sleep(0)
            for waiter in [one for one in self._waiters if one.deadline <= wake]:
                self._waiters.discard(waiter)
                waiter.released.set_result(None)
            if until <= wake:
                return

    def _seconds_until_overdue(self, now: datetime | None = None) -> float:
        """Return the seconds until the order is overdue; negative afterwards."""
        return (self._deadline() - (now or self._clock.now())).total_seconds()


def _retry_after_s(failure: AurpayError) -> float:
    """Return the Retry-After of an error in seconds, limited; 0 if it has none."""
    seconds = failure.retry_after if isinstance(failure, APIError) else None
    return min(seconds or 0.0, _MAX_RETRY_AFTER_S)


def _pending_error(
    order_id: str, status: OrderStatus | None = None
) -> PaymentPendingError:
    known = "is not paid yet" if status is None else f"is {shown(str(status))}"
    error = PaymentPendingError(f"order {shown(order_id)} {known}")
    error.order_id = order_id
    error.retryable = True
    return error
