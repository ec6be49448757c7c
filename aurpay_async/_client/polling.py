"""Poll orders until they are paid.

All callers waiting for the same order share one polling task. A `get_order` by other
code (a callback that reads the order back) counts for all of them as well.

A client and its copies send their polls through one lane, so that no sale waits for
them: on connections beyond those of all other calls, at a limited rate, and with a
retry budget of their own. While many orders are waited for, the lane reads the list of
orders instead of querying each of them, and a row counts as a poll of its order:

* The list is assumed to be newest first. It is read from the first page down to the
  oldest order, separately for orders of different intervals: so the many old orders do
  not delay the new ones, which most payers pay.
* New orders move rows to later pages, and thus only repeat them. An order that is not
  found all the same, or with an unreadable field, is queried by its id; after two times
  always.
* After a page that fails, all orders are queried by their id for a minute.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import contextmanager, suppress
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast, final

import attrs

from .._api.arguments import require_order_id
from .._api.checks import require_same_order
from .._api.lightning_order import LightningOrder
from .._api.models import Order, OrderStatus, Payment, overdue_at
from .._core.events import is_async, notify
from .._core.http import MAX_SECONDS
from ..errors import (
    APIError,
    AurpayError,
    ConfigurationError,
    InvalidRequestError,
    OrderMismatchError,
    PaymentPendingError,
    RateLimitedError,
    shown,
)
from .retry import Pace, PollingBudget
from .transport import require_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator
    from datetime import datetime

    from .._api.models import Page
    from .._core.clock import Clock
    from ._base import SharedPolling
    from .orders import OrderMethods
    from .retry import RetryBudget

_log: Final = logging.getLogger("aurpay_async.client")

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
_NO_DEADLINE: Final = float("inf")

#: From so many orders on, the list is read instead.
_LIST_FROM: Final = 50
#: Rows per page of the list. Parsing more would block the event loop for long.
_PAGE_SIZE: Final = 100
#: How far the creation times in the list may be out of order, as for lost orders.
_LIST_ORDER_SLACK: Final = timedelta(minutes=10)
#: An order is queried by its id always after it was missing in the list so many times.
_MAX_MISSES: Final = 2
#: How long no list is read after a page that failed.
_LIST_PAUSE_S: Final = 60.0


def poll_interval(elapsed_s: float) -> float:
    """Return the seconds between two polls, that long after the first one."""
    intervals = (pause for until, pause in _POLL_INTERVALS if elapsed_s < until)
    return next(intervals, _LONGEST_INTERVAL_S)


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
    shared: SharedPolling,
    with_budget: Callable[[RetryBudget], OrderMethods],
    clock: Clock,
    *,
    timeout: float | None,  # noqa: ASYNC109 - of waiting, and not of an operation
    on_status: Callable[[OrderStatus], None] | None,
) -> Payment:
    """Wait as `AurpayClient.wait_for_payment` does.

    `with_budget` returns a client that spends another retry budget.
    """
    _require_options(order, timeout, on_status)
    known = order.status if isinstance(order, LightningOrder) else None
    waiter = Waiter(order, on_status=on_status, status=known)
    poller = _find_poller(order, shared, with_budget, clock)
    with poller.joined(waiter, timeout):
        while not waiter.is_released:
            await waiter.wait()
            waiter.check(poller.latest)
    return poller.result()


def watch(
    order: LightningOrder | str,
    shared: SharedPolling,
    with_budget: Callable[[RetryBudget], OrderMethods],
    clock: Clock,
    *,
    timeout: float | None,
) -> AsyncGenerator[Order, None]:
    """Return the orders of `AurpayClient.watch`."""
    _require_options(order, timeout, None)

    async def watch() -> AsyncGenerator[Order, None]:
        poller = _find_poller(order, shared, with_budget, clock)
        waiter = Waiter(order)
        seen: OrderStatus | None = None
        with poller.joined(waiter, timeout):
            while True:
                latest = poller.latest
                waiter.check(latest)
                if latest is not None and latest.status != seen:
                    seen = latest.status
                    yield latest
                elif waiter.is_released:
                    break
                else:
                    await waiter.wait()
        with suppress(PaymentPendingError):
            poller.result()

    return watch()


def _find_poller(
    order: LightningOrder | str,
    shared: SharedPolling,
    with_budget: Callable[[RetryBudget], OrderMethods],
    clock: Clock,
) -> OrderPoller:
    """Return the poller that all callers waiting for this order share."""
    require_task()
    order_id = _require_id(order)
    lane = shared.lane
    if lane is None or not lane.is_current:
        lane = shared.lane = PollingLane(shared.per_second, shared.connections, clock)
    poller = lane.pollers.get(order_id)
    if poller is None:
        client = with_budget(lane.budget)
        poller = lane.pollers[order_id] = OrderPoller(order_id, lane, client, clock)
    if isinstance(order, LightningOrder):
        poller.take_times(order)
    return poller


def _require_id(order: LightningOrder | str) -> str:
    order_id = order.order_id if isinstance(order, LightningOrder) else order
    return require_order_id(order_id, "order")


def _require_options(
    order: LightningOrder | str, timeout: object, on_status: object
) -> None:
    _require_id(order)
    if timeout is not None and not (
        type(timeout) in {int, float} and 0 < cast("float", timeout) <= MAX_SECONDS
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


@final
class PollingLane:
    """The polls of a client and its copies. The rules are at the top of the file."""

    def __init__(self, per_second: float, connections: int, clock: Clock) -> None:
        #: Pollers by order id.
        self.pollers: dict[str, OrderPoller] = {}
        self._clock = clock
        #: The process and the event loop that the tasks belong to.
        self._owner = (os.getpid(), asyncio.get_running_loop())
        self._pace = Pace(per_second, clock)
        self.budget: RetryBudget = PollingBudget(self._pace)
        self._connections = asyncio.Semaphore(connections)
        #: Held by the query that is next: pages of the list alternate with queries.
        self._next_query = asyncio.Lock()
        #: For each poller that waits for its row of the list, whether it was read.
        self._rows: dict[OrderPoller, asyncio.Future[bool]] = {}
        #: The tasks that read the list, by the interval of the orders.
        self._readers: dict[float, asyncio.Task[None]] = {}
        self._list_from = 0.0

    @property
    def is_current(self) -> bool:
        """Return whether it belongs to this process and to the running loop."""
        return self._owner == (os.getpid(), asyncio.get_running_loop())

    def update(self, order: Order) -> None:
        """Take over a response that other code has received."""
        poller = self.pollers.get(order.order_id)
        if poller is not None and self.is_current:
            poller.update(order)

    async def poll(self, poller: OrderPoller) -> None:
        """Update a poller, from the list or by the id of its order.

        Raises:
            AurpayError: as `get_order`.
        """
        if self._reads_list() and poller.is_listed and await self._read_row(poller):
            return
        began = self._clock.monotonic()
        async with self._next_query:
            if poller.listed_at > began:
                return
            await self._pace.wait()
            await self._connections.acquire()
        try:
            await poller.query()
        except RateLimitedError as error:
            self._respect_rate_limit(error)
            raise
        finally:
            self._connections.release()

    def _reads_list(self) -> bool:
        return (
            len(self.pollers) >= _LIST_FROM
            and self._clock.monotonic() >= self._list_from
        )

    async def _read_row(self, poller: OrderPoller) -> bool:
        """Wait until the order's row was read; return False if it was not found."""
        row: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._rows[poller] = row
        interval_s = poller.interval_s
        if interval_s not in self._readers:
            reading = self._read_lists(interval_s)
            self._readers[interval_s] = asyncio.create_task(reading)
        try:
            return await row
        finally:
            del self._rows[poller]

    async def _read_lists(self, interval_s: float) -> None:
        """Read the list as long as orders of this interval wait for their rows."""
        try:
            while orders := self._orders_to_read(interval_s):
                await self._read_list(orders)
        finally:
            del self._readers[interval_s]
            for poller in self._rows:
                if poller.interval_s == interval_s:  # this task was cancelled
                    self._release(poller, is_read=False)

    def _orders_to_read(self, interval_s: float) -> set[OrderPoller]:
        """Return all orders of an interval, if one of them waits for its row."""
        pollers = self.pollers.values()
        orders = {p for p in pollers if p.is_listed and p.interval_s == interval_s}
        waits = (p in orders and not row.done() for p, row in self._rows.items())
        return orders if any(waits) else set()

    async def _read_list(self, missing: set[OrderPoller]) -> None:
        """Read the list down to the oldest of these orders, and update all in it.

        Not more pages than orders: queries by id are no more requests then.
        """
        client = next(iter(missing)).client
        oldest = min(poller.created for poller in missing if poller.created is not None)
        page: Page[Order] | None = None
        for number in range(1, len(missing) + 1):
            page = await self._read_page(client, number)
            if page is None:
                break
            missing -= {*self._update_from(page)}
            missing = {poller for poller in missing if poller.order_id in self.pollers}
            if not missing or number >= page.max_page or _is_past(page, oldest):
                break
        for poller in missing:
            poller.misses += page is not None
            self._release(poller, is_read=False)

    async def _read_page(self, client: OrderMethods, number: int) -> Page[Order] | None:
        """Return a page, or None if it failed: then orders are queried by their id."""
        await self._pace.wait()
        async with self._connections:
            try:
                return await client.list_orders(number, _PAGE_SIZE)
            except Exception as error:  # noqa: BLE001 - the queries raise it if it lasts
                self._respect_rate_limit(error)
                self._list_from = self._clock.monotonic() + _LIST_PAUSE_S
                _log.warning(
                    "the list of orders cannot be read (%s): for %.0f s, "
                    "wait_for_payment() queries each order by its id",
                    type(error).__name__,
                    _LIST_PAUSE_S,
                )
        return None

    def _update_from(self, page: Page[Order]) -> Iterator[OrderPoller]:
        """Update the pollers of the orders on a page, and yield them."""
        for row in page.items:
            poller = self.pollers.get(row.order_id)
            if poller is not None and poller.update_from_list(row):
                self._release(poller, is_read=True)
                yield poller

    def _respect_rate_limit(self, error: Exception) -> None:
        if isinstance(error, RateLimitedError):
            self._pace.pause(_retry_after_s(error))

    def _release(self, poller: OrderPoller, *, is_read: bool) -> None:
        row = self._rows.get(poller)
        if row is not None and not row.done():
            row.set_result(is_read)

    def discard(self, poller: OrderPoller) -> None:
        """Remove a poller; without any, the list is no longer read."""
        if self.pollers.get(poller.order_id) is poller:
            del self.pollers[poller.order_id]
        if not self.pollers:
            for reader in self._readers.values():
                reader.cancel()

    async def aclose(self) -> None:
        """Stop all polling; every waiting caller gets a `ConfigurationError`."""
        if not self.is_current:
            return
        pollers = [*self.pollers.values()]
        tasks = [*self._readers.values(), *(p.task for p in pollers if p.task)]
        closed = ConfigurationError("this client was closed while it polled an order")
        for poller in pollers:
            poller.finish(closed)
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_past(page: Page[Order], oldest: datetime) -> bool:
    """Return whether an order that was created then cannot be on a later page."""
    times = [row.create_time for row in page.items if row.create_time is not None]
    # A difference: subtracting from the first datetime would overflow.
    return bool(times) and oldest - max(times) > _LIST_ORDER_SLACK


@final
@attrs.define(eq=False)
class Waiter:
    """One call of `wait_for_payment` or `watch`."""

    order: LightningOrder | str
    on_status: Callable[[OrderStatus], None] | None = None
    #: The last status that `on_status` was called with.
    status: OrderStatus | None = None
    #: When the call times out, on the monotonic clock.
    deadline: float = _NO_DEADLINE
    #: True when there is an outcome, or at the deadline.
    is_released: bool = False
    #: Set by each new status and by the release.
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def wait(self) -> None:
        """Wait for the next status, or for the release."""
        self._changed.clear()
        await self._changed.wait()

    def check(self, latest: Order | None) -> None:
        """Raise `OrderMismatchError` if Aurpay's order is not the caller's.

        There is nothing to compare if the caller has given only its id.
        """
        if latest is not None and isinstance(self.order, LightningOrder):
            require_same_order(self.order, latest)

    def notify(self, latest: Order) -> None:
        """Call `on_status` if the status is new, and the order the caller's."""
        try:
            self.check(latest)
        except OrderMismatchError:
            self._changed.set()  # the caller checks it as well, and raises
            return
        changed, self.status = latest.status != self.status, latest.status
        if changed:
            self._changed.set()
        if changed and self.on_status is not None:
            notify(self.on_status, latest.status)

    def release(self) -> None:
        self.is_released = True
        self._changed.set()


@final
class OrderPoller:
    """One order, the callers waiting for it, and the task that polls it."""

    def __init__(
        self, order_id: str, lane: PollingLane, client: OrderMethods, clock: Clock
    ) -> None:
        self.order_id = order_id
        self.client = client
        #: When Aurpay says that it was created; in the list, if it was found there.
        self.created: datetime | None = None
        #: The seconds until the next poll, before limits of the order's own.
        self.interval_s = poll_interval(0)
        #: When its row of the list was read last, on the monotonic clock.
        self.listed_at = -_NO_DEADLINE
        #: How many times in succession it was missing in the list.
        self.misses = 0
        self._lane = lane
        self._clock = clock
        self._started = clock.now()
        #: Times of the first poll and of the next one, on the monotonic clock.
        self._first_poll = self._next_poll = clock.monotonic()
        self._due: datetime | None = None
        #: When Aurpay first answered that the order is overdue, by our clock.
        self._first_seen_overdue: datetime | None = None
        #: The last answer of Aurpay.
        self.latest: Order | None = None
        self._waiters: set[Waiter] = set()
        #: The polling task; it starts with the first waiter.
        self.task: asyncio.Task[None] | None = None
        self._outcome: Payment | Exception | None = None

    @property
    def is_listed(self) -> bool:
        """Return whether to look for the order in the list."""
        return self.created is not None and self.misses < _MAX_MISSES

    def take_times(self, order: LightningOrder) -> None:
        """Set when the order was created and is overdue, unless that is known."""
        self._due = self._due or order.overdue_at
        self.created = self.created or order.create_time

    @contextmanager
    def joined(self, waiter: Waiter, timeout_s: float | None) -> Generator[None]:
        """Poll for a waiter inside the block; it is released at its timeout."""
        timer = None
        if timeout_s is not None:
            waiter.deadline = self._clock.monotonic() + timeout_s
            # The polling task checks deadlines too, but not during a request.
            timer = asyncio.get_running_loop().call_later(timeout_s, waiter.release)
        self._waiters.add(waiter)
        if self.task is None:
            self.task = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._waiters.discard(waiter)
            if not self._waiters:
                self.stop()

    def result(self) -> Payment:
        """Return the outcome, or raise the error that ended the polling.

        Raises:
            PaymentPendingError: there is no outcome yet.
        """
        if isinstance(self._outcome, Payment):
            return self._outcome
        if self._outcome is None:
            raise _pending_error(self.order_id)
        # Raising sets attributes of the exception, so each caller gets a copy.
        own = isinstance(self._outcome, AurpayError)
        raise copy(self._outcome) if own else self._outcome

    def update(self, order: Order) -> None:
        """Take over an answer about the order, from the polling task or other code."""
        before = self.latest
        if before is not None and not before.status.can_become(order.status):
            return  # an older answer that took longer
        self.latest = order
        if order.create_time is not None:
            self.created = self.created or order.create_time
            self._due = self._due or self._due_of(order, order.create_time)
        for waiter in [*self._waiters]:
            waiter.notify(order)
        now = self._clock.now()
        if order.status is OrderStatus.REFUNDED:
            self.finish(Payment(outcome="refunded", order=order))
        elif order.status.is_paid:
            paid = order.update_time or now
            late = self._first_seen_overdue is not None or paid > self._deadline()
            self.finish(Payment(outcome="late_paid" if late else "paid", order=order))
        elif order.status is OrderStatus.OVERDUE and self._first_seen_overdue is None:
            self._first_seen_overdue = now

    async def query(self) -> None:
        """Query the order by its id; `get_order` updates this poller."""
        await self.client.get_order(self.order_id)

    def update_from_list(self, row: Order) -> bool:
        """Take over a row of the list as a poll, unless a field cannot be read."""
        # Imported here: the client has loaded it before it sent the request.
        from .._api.wire import wire_fields

        if not row.status or not wire_fields(Order).isdisjoint(row.extra):
            return False
        self.listed_at, self.misses = self._clock.monotonic(), 0
        self.created = row.create_time or self.created
        self.update(row)
        next_poll = self.listed_at + self._seconds_to_next_poll()
        self._next_poll = max(self._next_poll, next_poll)
        return True

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
                waiter.release()
        self.stop()

    def stop(self) -> None:
        """Stop polling. A later call of `wait_for_payment` starts a new poller."""
        self._lane.discard(self)
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

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
        self._first_poll = self._clock.monotonic()
        while self._waiters:
            began = self._clock.now()
            self.interval_s = poll_interval(self._elapsed_s())
            failure = await self._poll_once()
            if self._outcome is not None:
                return
            if failure is not None:
                if self._seconds_until_overdue() <= -(OVERDUE_GRACE_S + _FINAL_RETRY_S):
                    raise failure
                pause_s = max(poll_interval(self._elapsed_s()), _retry_after_s(failure))
                await self._sleep_until_due(pause_s)
                continue
            overdue_in_s = self._seconds_until_overdue(began)
            if self.latest is not None and overdue_in_s <= -OVERDUE_GRACE_S:
                self._finish_unpaid(self.latest)
                return
            await self._sleep_until_due(self._seconds_to_next_poll())

    def _finish_unpaid(self, order: Order) -> None:
        """Finish after the last poll; an unknown status is pending, not timed out."""
        if order.status.is_paid is None:
            self.finish(_pending_error(self.order_id, order.status))
        else:
            self.finish(Payment(outcome="timed_out", order=order))

    async def _poll_once(self) -> AurpayError | None:
        """Poll the order; return the error if it is retryable."""
        try:
            await self._lane.poll(self)
        except AurpayError as error:
            if not error.retryable:
                raise
            return error
        return None

    async def _sleep_until_due(self, pause_s: float) -> None:
        """Sleep until the next poll, and release each waiter at its deadline."""
        self._next_poll = self._clock.monotonic() + pause_s
        while self._waiters:
            first = min(waiter.deadline for waiter in self._waiters)
            wake = min(first, self._next_poll)
            await self._clock.sleep(max(0.0, wake - self._clock.monotonic()))
            # A fake clock may return from sleep without letting other tasks run.
            await asyncio.sleep(0)
            for waiter in [one for one in self._waiters if one.deadline <= wake]:
                self._waiters.discard(waiter)
                waiter.release()
            if self._next_poll <= wake:
                return

    def _elapsed_s(self) -> float:
        """Return the seconds since the first poll."""
        return self._clock.monotonic() - self._first_poll

    def _seconds_to_next_poll(self) -> float:
        return seconds_to_next_poll(self._elapsed_s(), self._seconds_until_overdue())

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
