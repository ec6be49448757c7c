"""Return the order of a reference, and create it if there is none.

Before a request is sent, the attempt is stored as a row under its attempt_id, which the
order's callbacks carry. A process that reads the row knows that an order may exist:
until the deadline of the attempt it waits, then it searches for the order.

A task that was started runs to its end even if its callers are cancelled. Calls in this
process for the same reference, price and currency share one task, until it exceeds its
time limit. `get_or_create` records no payment, because its caller gets no `Change` with
which to fulfil the order.

After the call an order may exist, so its answer must not be lost: writing it is retried
until the deadline of the attempt, when other processes assume that the sender has
crashed. An order that could not be stored by then stays in memory, and is stored first
when `get_or_create` is called again for its reference.
"""

from __future__ import annotations

import asyncio
import logging
import random
from copy import copy
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, final

import attrs

from .._api.checks import own_order_id
from .._api.models import OrderStatus
from .._client.retry import RetryPolicy
from ..callbacks._processor import check_platform_order
from ..callbacks._reference import new_attempt_id
from ..errors import (
    APIError,
    AurpayError,
    InvalidResponseError,
    NotFoundError,
    OrderStoreError,
    RequestOutcome,
    UnknownOrderError,
    UntrustedOrderError,
)
from ._models import Attempt, AttemptState
from ._planner import MAX_SEND_DELAY, Action, call_limit, decide, last_payment_at
from ._reconcile import record_candidates, search
from ._recording import PAYMENT_HASH, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._api.lightning_order import LightningOrder
    from .._api.models import NewOrder
    from .._core.clock import Clock
    from ._planner import ReferenceRecord, Step
    from ._repository import Repository


_T = TypeVar("_T")

_log: Final = logging.getLogger("aurpay_async.orders")

#: Backoff between attempts to store an answer.
_PAUSES: Final = RetryPolicy(base=0.25, cap=2.0)


class Sending(NamedTuple):
    """An attempt of this process, and this machine's time when it was created."""

    attempt: Attempt
    monotonic: float
    now: datetime

    def elapsed(self, clock: Clock) -> timedelta:
        """Return the time since it was created."""
        return timedelta(seconds=clock.monotonic() - self.monotonic)

    def to_database_time(self, moment: datetime | None) -> datetime | None:
        """Convert a time of this machine's clock to the database's clock."""
        return None if moment is None else self.attempt.created_at + (moment - self.now)


@final
class Answers:
    """Stores the answers to the calls of this process."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        #: Orders that could not be stored, by reference.
        self._unstored: dict[str, tuple[Sending, LightningOrder]] = {}

    def unstored(self, reference: str) -> tuple[Sending, LightningOrder] | None:
        """Return the order of a reference that is not stored yet, if there is one."""
        return self._unstored.get(reference)

    async def store(
        self, sending: Sending, order: LightningOrder
    ) -> LightningOrder | None:
        """Store an order and return it; ``None`` if another attempt took its place.

        Raises:
            UntrustedOrderError: the store has this order, or its payment hash, already.
            OrderStoreError: it could not be stored; `outcome` is UNKNOWN, and
                `order_id` is its id.
        """
        try:
            stored = await self._with_retries(
                sending, partial(self._store_order, sending, order)
            )
        except OrderStoreError as error:
            self._remember(sending, order)
            error.outcome, error.order_id = RequestOutcome.UNKNOWN, order.order_id
            error.reference, error.sent_at = sending.attempt.reference, sending.now
            # All callers may have been cancelled, and then none of them gets the error.
            _log.warning(
                "an order was created and is not stored yet; the next call for its "
                "reference stores it: reference=%a order_id=%s attempt_id=%s: %s",
                sending.attempt.reference,
                order.order_id,
                sending.attempt.attempt_id,
                error,
            )
            raise
        self._unstored.pop(sending.attempt.reference, None)
        return stored

    async def fail(self, sending: Sending, error: AurpayError) -> None:
        """Store the outcome of a call that failed.

        Raises:
            OrderStoreError: it could not be stored.
        """
        await self._with_retries(sending, partial(self._store_failure, sending, error))

    async def _with_retries(
        self, sending: Sending, write: Callable[[], Awaitable[_T]]
    ) -> _T:
        clock, attempt, failures = self._repository.clock, sending.attempt, 0
        while True:
            try:
                return await write()
            except OrderStoreError as error:
                failures += 1
                pause = _PAUSES.backoff(failures, 1 - random.random() / 2)  # noqa: S311
                left = attempt.deadline - attempt.created_at - sending.elapsed(clock)
                if not error.retryable or left < timedelta(seconds=pause):
                    raise
            await clock.sleep(pause)

    def _remember(self, sending: Sending, order: LightningOrder) -> None:
        now = self._repository.client._clock.now()  # noqa: SLF001 - as in the expiry checks
        self._unstored = {
            reference: (other, old)
            for reference, (other, old) in self._unstored.items()
            if now < old.payment_request.expires_at
        }
        self._unstored[sending.attempt.reference] = (sending, order)

    async def _store_failure(self, sending: Sending, error: AurpayError) -> None:
        repository, attempt = self._repository, sending.attempt
        async with repository.rows.writing() as connection:
            entry, current = await self._lock_attempt(connection, attempt)
            move = partial(repository.transition, connection, current, now=entry.now)
            if error.outcome is not RequestOutcome.UNKNOWN:
                await move((AttemptState.REJECTED,))
                return
            check = error.check if isinstance(error, UntrustedOrderError) else None
            # Without it, the attempt may still have created an order.
            order_id = own_order_id(error)
            if order_id is not None and await repository.rows.is_taken(
                connection, order_id, attempt.attempt_id
            ):
                order_id = None
            unknown = (
                (AttemptState.UNKNOWN,)
                if current.state is AttemptState.CREATING
                else ()
            )
            await move(
                unknown if order_id is None else (AttemptState.WITHHELD,),
                order_id=order_id or current.order_id,
                failed_check=check,
                sent_at=sending.to_database_time(error.sent_at),
            )

    async def _store_order(
        self, sending: Sending, order: LightningOrder
    ) -> LightningOrder | None:
        repository, attempt = self._repository, sending.attempt
        async with repository.rows.writing() as connection:
            entry, current = await self._lock_attempt(connection, attempt)
            move = partial(repository.transition, connection, current, now=entry.now)
            failed = await self._failed_duplicate_check(connection, attempt, order)
            if failed == "new":
                after = await move((AttemptState.UNKNOWN,), failed_check=failed)
            elif failed is not None:
                after = await move(
                    (AttemptState.WITHHELD,),
                    order_id=order.order_id,
                    failed_check=failed,
                )
            else:
                is_payable = entry.allows_payable(attempt.attempt_id)
                after = await move(
                    (
                        *((AttemptState.PAYABLE,) if is_payable else ()),
                        AttemptState.WITHHELD,
                    ),
                    **_fields_of(current, order),
                )
        if failed is not None:
            raise _untrusted(order, failed)
        return order if after.state is AttemptState.PAYABLE else None

    async def _failed_duplicate_check(
        self, connection: AsyncConnection, attempt: Attempt, order: LightningOrder
    ) -> str | None:
        """Return the check that fails if another attempt has this order or invoice."""
        rows, payment_hash = self._repository.rows, order.payment_request.payment_hash
        if await rows.is_taken(connection, order.order_id, attempt.attempt_id):
            return "new"
        if await rows.is_hash_used(connection, payment_hash, attempt.attempt_id):
            return PAYMENT_HASH
        return None

    async def _lock_attempt(
        self, connection: AsyncConnection, attempt: Attempt
    ) -> tuple[ReferenceRecord, Attempt]:
        """Lock an attempt as `Repository.lock_attempt`; restore its row if missing."""
        repository = self._repository
        try:
            return await repository.lock_attempt(connection, attempt.attempt_id)
        except UnknownOrderError:
            # A failover can lose the latest commits, and with them this row.
            reference, price = attempt.reference, attempt.price
            await repository.rows.begin(connection, reference, price, attempt.currency)
            restored = attrs.evolve(attempt, state=AttemptState.UNKNOWN)
            await repository.rows.add(connection, restored)
            return await repository.lock_attempt(connection, attempt.attempt_id)


def _fields_of(attempt: Attempt, order: LightningOrder) -> dict[str, Any]:
    """Return the fields of an attempt that its order determines."""
    invoice = order.payment_request
    return {
        "order_id": order.order_id,
        "payment_hash": invoice.payment_hash,
        "status": attempt.status or order.status,
        "candidates": {},
        "payable_until": last_payment_at(attempt.created_at, invoice.expires_at),
        "order_json": order.to_json(),
    }


_DUPLICATE_REASONS: Final = {
    "new": "another attempt in the store has this order",
    PAYMENT_HASH: "another order in the store has this payment hash",
}


def _untrusted(order: LightningOrder, check: str) -> UntrustedOrderError:
    error = UntrustedOrderError(
        _DUPLICATE_REASONS[check],
        check=check,
        order_id=order.order_id,
        status=200,
        body=b"",
    )
    error.outcome = RequestOutcome.UNKNOWN
    return error


#: Seconds between polls of an attempt that another process is sending.
_POLL_S: Final = 0.1

#: Actions that the unlocked read decides.
_IDLE: Final = frozenset({Action.SHOW, Action.WAIT})

#: Actions that are state transitions, and their target states.
_TRANSITIONS: Final[Mapping[Action, tuple[AttemptState, ...]]] = {
    Action.RETIRE: (AttemptState.OVERDUE,),
    Action.MARK_UNKNOWN: (AttemptState.UNKNOWN,),
}


class _InFlight(NamedTuple):
    """A running step, shared by the calls with the same arguments."""

    task: asyncio.Task[LightningOrder | None]
    #: When it began, in the time of the event loop.
    began: float


@final
class OrderOpener:
    """Creates the orders of references, with one running step for each."""

    def __init__(self, repository: Repository, call_s: float) -> None:
        """Initialise without I/O.

        Args:
            repository: The store's.
            call_s: The longest duration of one call of the client, in seconds.
        """
        self._repository = repository
        self._call_s = call_s
        #: The longest duration of a step in seconds, unless the database delays it.
        self._step_limit_s = call_limit(call_s).total_seconds()
        #: The running steps, by reference, price and currency.
        self._in_flight: dict[tuple[str, Decimal, str], _InFlight] = {}
        self._tasks: set[asyncio.Task[LightningOrder | None]] = set()
        self._answers = Answers(repository)

    async def open(self, reference: str, request: NewOrder) -> LightningOrder:
        """Return the order to show for a reference."""
        while True:
            order = await self._run_step(reference, request)
            if order is not None:
                return order

    async def finish(self) -> None:
        """Wait for the running steps, and for those that they start."""
        while tasks := [task for task in self._tasks if _is_on_this_loop(task)]:
            await asyncio.wait(tasks)

    async def _run_step(
        self, reference: str, request: NewOrder
    ) -> LightningOrder | None:
        """Run one step, or wait for the running one with the same arguments."""
        key = (reference, request.price, request.currency)
        time = asyncio.get_running_loop().time
        step = self._in_flight.get(key)
        shared = step is not None and self._may_share(step)
        if step is None or step.task.done() or not shared:
            task = asyncio.create_task(self._step(reference, request))
            step, shared = _InFlight(task, time()), False
            self._in_flight[key] = step
            self._tasks.add(task)
            task.add_done_callback(partial(self._on_done, key))
        # After the limit the step counts as stuck, and another one is started.
        rest = step.began + self._step_limit_s - time()
        await asyncio.wait({step.task}, timeout=rest)
        return _result(step.task, shared=shared) if step.task.done() else None

    def _may_share(self, step: _InFlight) -> bool:
        """Return true if a step is within its limit and runs on this event loop."""
        age_s = asyncio.get_running_loop().time() - step.began
        return _is_on_this_loop(step.task) and age_s < self._step_limit_s

    def _on_done(
        self,
        key: tuple[str, Decimal, str],
        task: asyncio.Task[LightningOrder | None],
    ) -> None:
        self._tasks.discard(task)
        step = self._in_flight.get(key)
        if step is not None and step.task is task:
            del self._in_flight[key]
        # Retrieved, so that asyncio does not log it: the store has the outcome.
        _ = task.cancelled() or task.exception()

    async def _step(self, reference: str, request: NewOrder) -> LightningOrder | None:
        """Take the next step; return the order if that step yields it."""
        unstored = self._answers.unstored(reference)
        if unstored is not None:
            await self._answers.store(*unstored)
            return None  # this call may have another price: decide again
        do, attempt = await self._plan(reference, request)
        began = None
        if do not in _IDLE:
            # The unlocked read may be stale: decide again while holding the lock.
            (do, attempt), began = await self._plan_locked(reference, request)
        known = attempt.order
        if do is Action.SHOW:
            return known
        if do is Action.WAIT:
            await self._repository.clock.sleep(_POLL_S)
            return None
        if do is Action.CREATE and began is not None:
            return await self._send(began, request)
        if do is Action.POLL and known is not None:
            return await self._poll(attempt, known)
        if do is Action.SEARCH:
            await self._search(attempt)
        return None

    async def _plan(self, reference: str, request: NewOrder) -> Step:
        """Return the next step, from a read without locks."""
        async with self._repository.rows.reading() as connection:
            entry = await self._repository.rows.entry(connection, reference)
        now = self._repository.clock.now() if entry is None else entry.now
        return decide(entry, self._new_attempt(reference, request, now), now)

    async def _plan_locked(
        self, reference: str, request: NewOrder
    ) -> tuple[Step, Sending | None]:
        """Decide the next step and write its row while holding the reference's lock."""
        repository = self._repository
        async with repository.rows.writing() as connection:
            await repository.rows.begin(
                connection, reference, request.price, request.currency
            )
            # Read after the lock, because other transactions may have delayed it.
            monotonic = repository.clock.monotonic()
            local_now = repository.client._clock.now()  # noqa: SLF001
            entry = await repository.rows.entry(connection, reference)
            now = local_now if entry is None else entry.now
            new = self._new_attempt(reference, request, now)
            step = decide(entry, new, now)
            if step.do is Action.CREATE:
                await repository.rows.add(connection, new)
            if step.do in _TRANSITIONS:
                to = _TRANSITIONS[step.do]
                await repository.transition(connection, step.attempt, to, now=now)
        return step, Sending(step.attempt, monotonic, local_now)

    def _new_attempt(self, reference: str, request: NewOrder, now: datetime) -> Attempt:
        deadline = now + call_limit(self._call_s)
        return Attempt(
            reference=reference,
            price=request.price,
            currency=request.currency,
            attempt_id=new_attempt_id(),
            state=AttemptState.CREATING,
            order_id=None,
            status=None,
            candidates={},
            created_at=now,
            deadline=deadline,
            sent_at=None,
            last_polled_at=None,
            next_poll_at=deadline,
            payable_until=last_payment_at(now),
            order_json=None,
        )

    async def _send(self, sending: Sending, request: NewOrder) -> LightningOrder | None:
        attempt, client = sending.attempt, self._repository.client
        if sending.elapsed(self._repository.clock) > MAX_SEND_DELAY:
            # The call could run past its deadline, when other processes search.
            await self._transition(attempt, AttemptState.REJECTED)
            return None
        try:
            new_order = attrs.evolve(request, attempt_id=attempt.attempt_id)
            created = await client._create(new_order)  # noqa: SLF001
            order = await client._confirm(created)  # noqa: SLF001
        except AurpayError as error:
            try:
                await self._answers.fail(sending, error)
            except OrderStoreError as store_error:
                raise error from store_error  # the caller needs its outcome
            raise
        return await self._answers.store(sending, order)

    async def _search(self, attempt: Attempt) -> None:
        """Search for the order of an attempt before another one is created."""
        try:
            found = await search(self._repository, attempt)
        except (APIError, InvalidResponseError) as error:
            if error.retryable:
                raise
            # Searching is not possible with this account. No payer has seen the
            # invoice, so a second order is safe; without one, the reference could
            # never be paid.
            _log.warning(
                "the search for an order of unknown outcome failed, and another order "
                "is created: reference=%a attempt_id=%s: %s",
                attempt.reference,
                attempt.attempt_id,
                error,
            )
            await self._transition(attempt, polled=True)
            return
        async with self._repository.rows.writing() as connection:
            await record_candidates(
                self._repository, connection, attempt.attempt_id, found.orders
            )

    async def _poll(
        self, attempt: Attempt, known: LightningOrder
    ) -> LightningOrder | None:
        """Poll an order that is past `overdue_at`."""
        repository = self._repository
        try:
            order = await repository.client.get_order(known.order_id)
        except NotFoundError:
            await self._transition(attempt, AttemptState.OVERDUE)
            return None
        if order.status.is_paid or order.status is OrderStatus.REFUNDED:
            check_platform_order(known, order)
            await repository.rows.plan_poll(attempt)
            return attrs.evolve(known, status=order.status)
        async with repository.rows.writing() as connection:
            await record(repository, connection, attempt.attempt_id, order)
        return None

    async def _transition(
        self, attempt: Attempt, *targets: AttemptState, polled: bool = False
    ) -> None:
        async with self._repository.rows.writing() as connection:
            entry, current = await self._repository.lock_attempt(
                connection, attempt.attempt_id
            )
            changes = {"last_polled_at": entry.now} if polled else {}
            await self._repository.transition(
                connection, current, targets, now=entry.now, **changes
            )


def _is_on_this_loop(task: asyncio.Task[LightningOrder | None]) -> bool:
    """Return false for a task of the parent process (after a fork)."""
    return task.get_loop() is asyncio.get_running_loop()


def _result(
    task: asyncio.Task[LightningOrder | None], *, shared: bool
) -> LightningOrder | None:
    """Return the result of a step; each caller gets its own copy of an error."""
    try:
        return task.result()
    except AurpayError as error:
        if not shared:
            raise
        raise copy(error) from error.__cause__
