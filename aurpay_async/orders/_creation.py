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
from operator import methodcaller
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast, final

import attrs

from .._api.checks import own_order_id
from .._api.models import OrderStatus
from .._client.retry import RetryPolicy
from .._core.events import count, log_fields
from .._db.engine import execute
from ..callbacks._identity import new_attempt_id
from ..callbacks._processor import check_platform_order
from ..errors import (
    APIError,
    AurpayError,
    ConfigurationError,
    InvalidResponseError,
    NotFoundError,
    OrderStoreError,
    RequestOutcome,
    UnknownOrderError,
    UntrustedOrderError,
)
from ._models import Attempt, AttemptState, log_fields_of
from ._planner import MAX_SEND_DELAY_S, Action, call_limit, decide, last_payment_at
from ._reconcile import mark_unknown, record_candidates, search
from ._recording import PAYMENT_HASH, record
from ._repository import INSERT, Key, LockedAttempt, row_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._api.arguments import NewOrder
    from .._api.lightning_order import LightningOrder
    from ._planner import ReferenceRecord, Step
    from ._repository import Repository, Rows


_T = TypeVar("_T")

_log: Final = logging.getLogger("aurpay_async.orders")

#: Backoff between attempts to store an answer.
_PAUSES: Final = RetryPolicy(base=0.25, cap=2.0)


class Sending(NamedTuple):
    """An attempt of this process, and this machine's time when it was created."""

    attempt: Attempt
    monotonic: float
    now: datetime


@final
class Answers:
    """Stores the answers to the calls of this process."""

    def __init__(self, repository: Repository) -> None:
        self._repository, self._clock = repository, repository.clock
        #: Orders that are not stored yet, by reference.
        self.unstored: dict[str, tuple[Sending, LightningOrder]] = {}

    async def store(
        self, sending: Sending, order: LightningOrder
    ) -> LightningOrder | None:
        """Store an order and return it; ``None`` if another attempt took its place.

        Raises:
            UntrustedOrderError: the store has this order, or its payment hash, already.
            AurpayError: it could not be stored; `outcome` is UNKNOWN, and `order_id` is
                its id.
        """
        attempt_id, order_id = sending.attempt.attempt_id, order.order_id
        payment_hash = order.payment_request.payment_hash
        key = Key(attempt_id, order_id=order_id, payment_hash=payment_hash)
        # Not only after a failure: meanwhile, callers may start another step.
        self.unstored[sending.attempt.reference] = (sending, order)
        try:
            stored = await self._write(sending, key, partial(_store_order, order))
        except (OrderStoreError, ConfigurationError) as error:
            self._remember(sending, order)
            error.outcome, error.order_id = RequestOutcome.UNKNOWN, order_id
            error.sent_at = sending.now
            if isinstance(error, OrderStoreError):
                error.reference = sending.attempt.reference
            # All callers may have been cancelled, and then none of them gets the error.
            log_fields(
                _log,
                logging.WARNING,
                log_fields_of(sending.attempt, error, order_id),
                "an order was created and is not stored yet; the next call for its "
                "reference stores it: %s",
                error,
            )
            raise
        self.unstored.pop(sending.attempt.reference, None)
        if isinstance(stored, UntrustedOrderError):
            raise stored
        if stored.state is not AttemptState.PAYABLE:
            return None
        if _log.isEnabledFor(logging.INFO):
            log_fields(_log, logging.INFO, log_fields_of(stored), "order created")
        return order

    async def fail(self, sending: Sending, error: AurpayError) -> None:
        """Store the outcome of a call that failed."""
        key = Key(sending.attempt.attempt_id, order_id=own_order_id(error))
        await self._write(sending, key, partial(_store_failure, sending, error))

    async def _write(
        self,
        sending: Sending,
        key: Key,
        write: Callable[[LockedAttempt], Awaitable[_T]],
    ) -> _T:
        """Lock an attempt and write to it, with retries until its deadline."""
        rows, clock, attempt = self._repository.rows, self._clock, sending.attempt
        left = attempt.deadline - attempt.created_at
        ends, failures = sending.monotonic + left.total_seconds(), 0
        while True:
            try:
                async with rows.database.begin() as connection:
                    try:
                        locked = await rows.lock(connection, key)
                    except UnknownOrderError:  # a failover has lost the last commits
                        locked = await _restore(rows, connection, key, attempt)
                    return await write(locked)
            except OrderStoreError as error:
                failures += 1
                pause = _PAUSES.backoff(failures, 1 - random.random() / 2)  # noqa: S311
                if not error.retryable or clock.monotonic() + pause > ends:
                    raise
            await clock.sleep(pause)

    def _remember(self, sending: Sending, order: LightningOrder) -> None:
        now = self._repository.client._clock.now()  # noqa: SLF001 - as in the expiry checks
        self.unstored = {
            reference: (other, old)
            for reference, (other, old) in self.unstored.items()
            if now < old.payment_request.expires_at
        }
        self.unstored[sending.attempt.reference] = (sending, order)


async def _restore(
    rows: Rows, connection: AsyncConnection, key: Key, attempt: Attempt
) -> LockedAttempt:
    """Insert an attempt again, and lock it."""
    await rows.begin(connection, attempt.reference, attempt.price, attempt.currency)
    restored = attrs.evolve(attempt, state=AttemptState.UNKNOWN)
    await execute(connection, INSERT, row_of(restored))
    return await rows.lock(connection, key)


async def _store_failure(
    sending: Sending, error: AurpayError, locked: LockedAttempt
) -> None:
    """Record the outcome of a call that failed."""
    current, order_id = locked.attempt, own_order_id(error)
    if error.outcome is not RequestOutcome.UNKNOWN:
        await locked.move(AttemptState.REJECTED)
        return
    if order_id is not None and not locked.is_order_taken:
        to = [AttemptState.WITHHELD]
    else:  # the attempt may still have created an order
        order_id = None
        is_creating = current.state is AttemptState.CREATING
        to = [AttemptState.UNKNOWN] if is_creating else []
    # By the clock of the database.
    sent_at = error.sent_at and sending.attempt.created_at + (
        error.sent_at - sending.now
    )
    await locked.move(
        *to,
        order_id=order_id or current.order_id,
        failed_check=getattr(error, "check", None),
        sent_at=sent_at,
    )


async def _store_order(
    order: LightningOrder, locked: LockedAttempt
) -> Attempt | UntrustedOrderError:
    """Record an order; return the attempt, or the error if the store has it already."""
    if locked.is_order_taken or locked.is_payment_hash_taken:
        return await _withhold_duplicate(order, locked)
    current, invoice = locked.attempt, order.payment_request
    is_payable = locked.entry.allows_payable(current.attempt_id)
    change = await locked.move(
        AttemptState.PAYABLE if is_payable else AttemptState.WITHHELD,
        AttemptState.WITHHELD,
        order_id=order.order_id,
        payment_hash=invoice.payment_hash,
        status=current.status or order.status,
        candidates={},
        payable_until=last_payment_at(current.created_at, invoice.expires_at),
        order_json=order.to_json(),
    )
    return change.attempt


async def _withhold_duplicate(
    order: LightningOrder, locked: LockedAttempt
) -> UntrustedOrderError:
    """Record that another attempt has this order, or its payment hash."""
    if locked.is_order_taken:
        problem, check = "another attempt in the store has this order", "new"
        await locked.move(AttemptState.UNKNOWN, failed_check=check)
    else:
        check = PAYMENT_HASH
        problem = "another order in the store has this payment hash"
        await locked.move(
            AttemptState.WITHHELD, order_id=order.order_id, failed_check=check
        )
    error = UntrustedOrderError(
        problem, check=check, order_id=order.order_id, status=200, body=b""
    )
    error.outcome = RequestOutcome.UNKNOWN
    return error


#: Seconds between polls of an attempt that another process is sending.
_POLL_S: Final = 0.1

#: Actions that the unlocked read decides.
_IDLE: Final = frozenset({Action.SHOW, Action.WAIT})

#: Actions that are state transitions.
_TRANSITIONS: Final[Mapping[Action, Callable[[LockedAttempt], Awaitable[object]]]] = {
    Action.RETIRE: methodcaller("move", AttemptState.OVERDUE),
    Action.MARK_UNKNOWN: mark_unknown,
}


#: The arguments that calls share: reference, price and currency.
_StepKey = tuple[str, "Decimal", str]


class _InFlight(NamedTuple):
    """A running step, shared by the calls with the same arguments."""

    task: asyncio.Task[LightningOrder | None]
    #: When it began, in the time of the event loop.
    began: float


@final
class OrderOpener:
    """Creates the orders of references, with one running step for each."""

    def __init__(self, repository: Repository, call_s: float) -> None:
        """Initialise without I/O; a call of the client takes at most `call_s`."""
        self._repository = repository
        self._call_limit = call_limit(call_s)
        #: The longest duration of a step in seconds, unless the database delays it.
        self._step_limit_s = self._call_limit.total_seconds()
        #: The running steps, by reference, price and currency.
        self._in_flight: dict[_StepKey, _InFlight] = {}
        self._tasks: set[asyncio.Task[LightningOrder | None]] = set()
        self._answers = Answers(repository)

    async def open(self, reference: str, request: NewOrder) -> LightningOrder:
        """Return the order to show for a reference.

        A step is run by one task for all calls with the same arguments.
        """
        key = (reference, request.price, request.currency)
        loop = asyncio.get_running_loop()
        may_have_sent = False
        while True:
            step = self._in_flight.get(key)
            is_shared = (
                step is not None
                and _is_on_this_loop(step.task)
                and not step.task.done()
                and loop.time() - step.began < self._step_limit_s
            )
            if step is None or not is_shared:
                step = _InFlight(
                    asyncio.create_task(self._step(reference, request)), loop.time()
                )
                step.task.add_done_callback(partial(self._on_done, key))
                self._tasks.add(step.task)
                self._in_flight[key] = step
            # After the limit the step counts as stuck, and another one is started.
            rest = step.began + self._step_limit_s - loop.time()
            await asyncio.wait({step.task}, timeout=rest)
            if not step.task.done():
                may_have_sent = True
                continue
            try:
                order = step.task.result()
            except AurpayError as error:
                own = copy(error) if is_shared else error  # each caller gets its own
                if may_have_sent and own.outcome is RequestOutcome.NOT_SENT:
                    own.outcome = RequestOutcome.UNKNOWN
                raise own from error.__cause__
            if order is not None:
                return order

    async def finish(self) -> None:
        """Wait for the running steps, and for those that they start."""
        while tasks := [task for task in self._tasks if _is_on_this_loop(task)]:
            await asyncio.wait(tasks)

    def _on_done(
        self, key: _StepKey, task: asyncio.Task[LightningOrder | None]
    ) -> None:
        self._tasks.discard(task)
        step = self._in_flight.get(key)
        if step is not None and step.task is task:
            del self._in_flight[key]
        # Retrieved, so that asyncio does not log it: the store has the outcome.
        error = None if task.cancelled() else task.exception()
        if error is not None:
            code = error.code if isinstance(error, AurpayError) else "foreign"
            count("aurpay.get_or_create.failures", {"error.type": code})

    async def _step(self, reference: str, request: NewOrder) -> LightningOrder | None:
        """Take the next step; return the order if that step yields it."""
        unstored = self._answers.unstored.get(reference)
        if unstored is not None:
            await self._answers.store(*unstored)
            return None  # this call may have another price: decide again
        rows, key = self._repository.rows, Key(reference, "reference")
        async with rows.database.connect() as connection:
            entry = await rows.entry(connection, key)
        step = decide(entry, request.price, request.currency)
        if step is None or step.do not in _IDLE:
            # The unlocked read may be stale: decide again while holding the lock.
            planned = await self._plan(reference, request)
            if isinstance(planned, Sending):
                return await self._send(planned, request)
            step = planned
        do, attempt = step
        if do is Action.SHOW:
            return attempt.order
        if do is Action.POLL:
            return await self._poll(attempt)
        if do is Action.WAIT:
            await self._repository.clock.sleep(_POLL_S)
        if do is Action.SEARCH:
            await self._search(attempt)
        return None

    async def _plan(self, reference: str, request: NewOrder) -> Step | Sending:
        """Decide the next step while holding the lock, and write its row.

        If an order is to be created, this returns its attempt.
        """
        rows, price, currency = self._repository.rows, request.price, request.currency
        async with rows.database.begin() as connection:
            entry = await rows.begin(connection, reference, price, currency)
            step = decide(entry, price, currency)
            if step is None:
                sending = self._new_sending(entry)
                await execute(connection, INSERT, row_of(sending.attempt))
                return sending
            if step.do in _TRANSITIONS:
                locked = LockedAttempt(rows, connection, entry, step.attempt)
                await _TRANSITIONS[step.do](locked)
            return step

    def _new_sending(self, entry: ReferenceRecord) -> Sending:
        deadline = entry.now + self._call_limit
        attempt = Attempt(
            reference=entry.reference,
            price=entry.price,
            currency=entry.currency,
            attempt_id=new_attempt_id(),
            state=AttemptState.CREATING,
            created_at=entry.now,
            deadline=deadline,
            next_poll_at=deadline,
            payable_until=last_payment_at(entry.now),
        )
        # The time of the read under the lock, for which other transactions may have
        # let it wait.
        since = timedelta(seconds=self._repository.clock.monotonic() - entry.read_at)
        now = self._repository.client._clock.now() - since  # noqa: SLF001
        return Sending(attempt, entry.read_at, now)

    async def _send(self, sending: Sending, request: NewOrder) -> LightningOrder | None:
        attempt, client = sending.attempt, self._repository.client
        elapsed_s = self._repository.clock.monotonic() - sending.monotonic
        if elapsed_s > MAX_SEND_DELAY_S:
            # The call could run past its deadline, when other processes search.
            await self._transition(attempt, AttemptState.REJECTED)
            return None
        try:
            new_order = copy(request)
            vars(new_order)["attempt_id"] = attempt.attempt_id
            created = await client._create(new_order)  # noqa: SLF001
            order = await client._confirm(created)  # noqa: SLF001
        except AurpayError as error:
            try:
                await self._answers.fail(sending, error)
            except (OrderStoreError, ConfigurationError) as store_error:
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
            await self._go_on_without(
                attempt, error, "the search for an order of unknown outcome"
            )
            return
        async with self._repository.rows.locking(Key(attempt.attempt_id)) as locked:
            await record_candidates(locked, found.orders)

    async def _poll(self, attempt: Attempt) -> LightningOrder | None:
        """Poll an order that is past `overdue_at`."""
        repository, known = self._repository, cast("LightningOrder", attempt.order)
        try:
            order = await repository.client.get_order(known.order_id)
        except NotFoundError:
            await self._transition(attempt, AttemptState.OVERDUE, polled=True)
            return None
        except (APIError, InvalidResponseError) as error:
            if error.retryable or attempt.state is not AttemptState.OVERDUE:
                raise
            await self._go_on_without(attempt, error, "the query of an overdue order")
            return None
        if order.status.is_paid or order.status is OrderStatus.REFUNDED:
            check_platform_order(known, order)
            await repository.rows.plan_poll(attempt)
            return attrs.evolve(known, status=order.status)
        key = Key(attempt.attempt_id, order_id=order.order_id)
        async with repository.rows.locking(key) as locked:
            await record(locked, order)
        return None

    async def _go_on_without(
        self, attempt: Attempt, error: AurpayError, query: str
    ) -> None:
        """Let the next step create an order: this account cannot make the query.

        Without another order, the reference could never be paid.
        """
        fields = log_fields_of(attempt, error)
        problem = "%s failed, and another order is created: %s"
        log_fields(_log, logging.WARNING, fields, problem, query, error)
        await self._transition(attempt, polled=True)

    async def _transition(
        self, attempt: Attempt, *targets: AttemptState, polled: bool = False
    ) -> None:
        async with self._repository.rows.locking(Key(attempt.attempt_id)) as locked:
            changes = {"last_polled_at": locked.entry.now} if polled else {}
            await locked.move(*targets, **changes)


def _is_on_this_loop(task: asyncio.Task[LightningOrder | None]) -> bool:
    """Return false for a task of the parent process (after a fork)."""
    return task.get_loop() is asyncio.get_running_loop()
