"""The parts of the sandbox, put together; its clock, and its activity feed.

A short real tick compares the next deadline with the sandbox's clock. However that
clock moves, an order is overdue at most one tick after its deadline.

An activity contains no secret: headers, bodies and queries are left out.
"""

from __future__ import annotations

import asyncio
from functools import partial
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final, final

import attrs

from .._core.json import pick
from .._core.urls import without_query
from ..errors import ConfigurationError
from ._callbacks import CallbackSender, SentCallback, has_callback_url
from ._fault_responses import Faults
from ._faults import CallbackFaults, Delivery
from ._ledger import TIME_TO_PAY, Account, Ledger, random_source
from ._models import (
    ApiRejection,
    Checkout,
    SandboxClock,
    SandboxOrder,
    SandboxWithdrawal,
)
from ._responses import escape_hidden
from ._settings import ReceivedRequest, parse_host_policy
from ._storage import PersistentDict, PersistentList, Storage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from .._core.clock import Clock
    from ._callbacks import CallbackKind
    from ._faults import CallbackFault
    from ._ledger import StatusChange
    from ._settings import Settings
    from ._storage import Persistent

_TICK_S: Final = 0.05


@attrs.define(eq=False)
class Deadlines:
    """The deadlines of all pending orders, if timeouts are enabled."""

    _orders: dict[str, SandboxOrder]
    expire: Callable[[str], Awaitable[object]]
    _clock: Clock
    _is_enabled: bool
    _known: int = 0
    _next: list[tuple[datetime, str]] = attrs.field(
        factory=list["tuple[datetime, str]"]
    )
    _task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._known, self._next = 0, []
        if self._is_enabled:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
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


#: Aurpay documents no callback for an underpayment or a refund.
_KINDS: Final[Mapping[str, CallbackKind]] = {"pay": "paid", "expire": "timeout"}

_OK_STATUS: Final = 200


def _public_target(url: str) -> str:
    return escape_hidden(without_query(url))


@attrs.frozen(kw_only=True)
class Activity:
    """A request that was answered, or a callback that was sent."""

    #: Aware, UTC.
    at: datetime
    #: The kind of a callback; ``None`` for a request.
    kind: CallbackKind | None = None
    method: str
    #: The path of a request, or the URL of a callback; without a query.
    target: str = attrs.field(converter=_public_target)
    #: The HTTP status of the response, if there was a regular one.
    status: int | None
    #: The name of the fault that was injected into a request.
    fault: str | None = None
    #: Why a request was rejected, or how a callback failed.
    problem: str | None
    #: The order that the request created or names, or that of the callback.
    order_id: str | None

    @property
    def is_ok(self) -> bool:
        """Return whether the request was served, or the callback accepted."""
        return self.status == _OK_STATUS and self.problem is None


@final
class Simulator:
    #: Called with each activity; it must not raise.
    subscriber: Callable[[Activity], None] | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = settings.clock
        self.host_policy = parse_host_policy(settings)
        self.orders = PersistentDict("order", SandboxOrder)
        self.checkouts = PersistentDict("checkout", Checkout)
        self.withdrawals = PersistentDict("withdrawal", SandboxWithdrawal)
        self.requests = PersistentList("request", ReceivedRequest)
        #: The attempts to deliver callbacks, in the order in which they ended.
        self.callbacks = PersistentList("callback", SentCallback)
        self.faults, self.callback_faults = Faults(), CallbackFaults()
        self._storage: Storage | None = None
        self.ledger = Ledger(
            rates=settings.rates,
            orders=self.orders,
            checkouts=self.checkouts,
            random_bytes=random_source(settings.seed),
            time_to_pay=TIME_TO_PAY / (settings.speed or 1),
        )
        self.account = Account(self.orders, self.withdrawals)
        self.callback_sender = CallbackSender(
            settings, self.host_policy, self.callbacks, self._report_callback
        )
        expire = partial(self.change_status, change="expire")
        self.deadlines = Deadlines(self.orders, expire, self.clock, settings.speed > 0)

    def open(self, own_port: int) -> None:
        """Load the stored state, if there is any, and start callbacks and timeouts."""
        if self.settings.db is not None:
            self._load(self.settings.db)
            self.ledger.open()
            self.account.open()
        self.callback_sender.open(own_port)
        self.deadlines.open()

    async def stop(self) -> None:
        await self.callback_sender.close()
        await self.deadlines.close()

    def close(self) -> None:
        if self._storage is not None:
            self._storage.close()

    def _load(self, path: str) -> None:
        """Load the state from a file, and store each change there from now on."""
        if self._storage is not None:
            once = "opens once; create another Sandbox for the file"
            raise ConfigurationError(f"a sandbox with a file {once}")
        parts: list[Persistent] = [self.orders, self.checkouts, self.withdrawals]
        parts += [self.requests, self.callbacks, self.faults, self.callback_faults]
        parts.append(self.settings.rates)
        if isinstance(self.clock, SandboxClock):
            parts.append(self.clock)
        self._storage = Storage(path)
        try:
            for part in parts:
                part.attach(self._storage)
        except ValueError as error:
            self.close()
            problem = f"a value that this version cannot read: {error}"
            raise ConfigurationError(f"the file contains {problem}") from None

    async def change_status(
        self, order_id: str, change: StatusChange, fault: CallbackFault | None = None
    ) -> list[SentCallback]:
        """Change an order's status, and send its callback, with the next fault."""
        order = self.ledger.change_status(order_id, change, self.clock.now())
        self.account.add(order)
        kind = _KINDS.get(change)
        if kind is None or not has_callback_url(order, kind):
            return []
        return await self._send_callback(order, kind, fault)

    def set_status(self, order_id: str, status: str) -> None:
        """Set any documented status of an order, and send no callback."""
        order = self.ledger.set_status(order_id, status, self.clock.now())
        self.account.add(order)

    async def resend(self, number: int) -> list[SentCallback]:
        """Send the callback of this number again, built and signed anew."""
        if not 0 < number <= len(self.callbacks):
            raise ApiRejection(404, "there is no such callback")
        sent = self.callbacks[number - 1]
        order = self.ledger.find(sent.order_id)
        return await self._send_callback(order, sent.kind, None)

    async def _send_callback(
        self, order: SandboxOrder, kind: CallbackKind, fault: CallbackFault | None
    ) -> list[SentCallback]:
        fault = fault or self.callback_faults.take()
        sender = self.callback_sender
        if fault is None:
            return [await sender.send(sender.build(order, kind))]
        return await fault.perform(Delivery(sender, order, kind, fault))

    def _report_callback(self, sent: SentCallback) -> None:
        if self.subscriber is not None:
            known = pick(sent, "kind method status order_id")
            error = sent.error and escape_hidden(sent.error)
            self.subscriber(
                Activity(**known, at=sent.sent_at, target=sent.url, problem=error)
            )

    async def pay_before_response(self, order_id: str) -> None:
        """Pay a new order before its create call is answered, if a fault says so."""
        fault = self.callback_faults.take(before_answer=True)
        if fault is not None:
            await self.change_status(order_id, "pay", fault)
