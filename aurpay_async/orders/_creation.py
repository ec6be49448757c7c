"""Return the order of a reference, and create it if there is none.

Before anything is sent, a row says so, under the attempt_id that the order's callbacks
will
bring back. Whoever finds that row later, in whatever process, knows that an order may
exist: while the call can still be under way it waits, afterwards it looks.

What is under way is brought to its end, whether or not somebody still waits for it; and
who wants the same in this process waits for the same task, until that takes longer than
it can. What the platform has answered is stored again and again until the deadline of
its attempt. Nothing is settled here: who opens a reference could not tell the shop to
deliver.

After the call an order may exist, so its answer must not be lost: it is written again
and again until the deadline of the attempt, when other processes assume that the
sender has crashed. An order that the database did not take until then is remembered,
and stored first when its reference is opened again.
"""

from __future__ import annotations

import asyncio
import random
from copy import copy
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, final

import attrs

from .._api.models import OrderStatus
from .._client.retry import RetryPolicy
from ..callbacks._notifications import check_platform_order
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

#: Pauses between two tries to store an answer.
_PAUSES: Final = RetryPolicy(base=0.25, cap=2.0)

#: An answer that fails one of these checks belongs to another request: its order is not
#: that of the attempt, which may have made one all the same.
_OTHERS: Final = frozenset({"new", "read_back"})


class Sending(NamedTuple):
    """An attempt of this process, and this machine's time when it was opened."""

    attempt: Attempt
    monotonic: float
    now: datetime

    def elapsed(self, clock: Clock) -> timedelta:
        """Return the time since it was created."""
        return timedelta(seconds=clock.monotonic() - self.monotonic)

    def by_the_database(self, moment: datetime | None) -> datetime | None:
        """A time of this machine, in that of the database."""
        return None if moment is None else self.attempt.created_at + (moment - self.now)


@final
class Answers:
    """Stores the answers to the calls of this process."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        #: Orders that the database did not take, by reference.
        self._unstored: dict[str, tuple[Sending, LightningOrder]] = {}

    def unstored(self, reference: str) -> tuple[Sending, LightningOrder] | None:
        """Return the order of a reference that is not stored yet, if there is one."""
        return self._unstored.get(reference)

    async def store(
        self, sending: Sending, order: LightningOrder
    ) -> LightningOrder | None:
        """Store an order; it is the one to show, unless others were faster.

        Raises:
            UntrustedOrderError: the store has this order, or its payment hash, already.
            OrderStoreError: the database did not take it; `outcome` is UNKNOWN, and
                `order_id` says which one it is.
        """
        try:
            stored = await self._insist(sending, partial(self._store, sending, order))
        except OrderStoreError as error:
            self._remember(sending, order)
            error.outcome, error.order_id = RequestOutcome.UNKNOWN, order.order_id
            error.reference, error.sent_at = sending.attempt.reference, sending.now
            raise
        self._unstored.pop(sending.attempt.reference, None)
        return stored

    async def fail(self, sending: Sending, error: AurpayError) -> None:
        """Store what an error leaves behind.

        Raises:
            OrderStoreError: the database did not take it.
        """
        await self._insist(sending, partial(self._fail, sending, error))

    async def _insist(self, sending: Sending, write: Callable[[], Awaitable[_T]]) -> _T:
        clock, attempt, tries = self._repository.clock, sending.attempt, 0
        while True:
            try:
                return await write()
            except OrderStoreError as error:
                tries += 1
                pause = _PAUSES.backoff(tries, 1 - random.random() / 2)  # noqa: S311
                left = attempt.deadline - attempt.created_at - sending.elapsed(clock)
                if not error.retryable or left < timedelta(seconds=pause):
                    raise
            await clock.sleep(pause)

    def _remember(self, sending: Sending, order: LightningOrder) -> None:
        now = self._repository.client._clock.now()  # noqa: SLF001 - invoices live by it
        self._unstored = {
            reference: (other, old)
            for reference, (other, old) in self._unstored.items()
            if now < old.payment_request.expires_at
        }
        self._unstored[sending.attempt.reference] = (sending, order)

    async def _fail(self, sending: Sending, error: AurpayError) -> None:
        repository, attempt = self._repository, sending.attempt
        async with repository.rows.writing() as connection:
            entry, current = await self._held(connection, attempt)
            move = partial(repository.transition, connection, current, now=entry.now)
            if error.outcome is not RequestOutcome.UNKNOWN:
                await move((AttemptState.REJECTED,))
                return
            check = error.check if isinstance(error, UntrustedOrderError) else None
            order_id = None if check in _OTHERS else error.order_id
            if order_id is not None and await repository.rows.is_taken(
                connection, order_id, attempt.attempt_id
            ):
                order_id = None
            lost = (
                (AttemptState.UNKNOWN,)
                if current.state is AttemptState.CREATING
                else ()
            )
            await move(
                lost if order_id is None else (AttemptState.WITHHELD,),
                order_id=order_id or current.order_id,
                failed_check=check,
                sent_at=sending.by_the_database(error.sent_at),
            )

    async def _store(
        self, sending: Sending, order: LightningOrder
    ) -> LightningOrder | None:
        repository, attempt = self._repository, sending.attempt
        async with repository.rows.writing() as connection:
            entry, current = await self._held(connection, attempt)
            move = partial(repository.transition, connection, current, now=entry.now)
            repeated = await self._repeated(connection, attempt, order)
            if repeated == "new":
                after = await move((AttemptState.UNKNOWN,), failed_check=repeated)
            elif repeated is not None:
                after = await move(
                    (AttemptState.WITHHELD,),
                    order_id=order.order_id,
                    failed_check=repeated,
                )
            else:
                is_free = entry.has_room_for(attempt.attempt_id)
                after = await move(
                    (
                        *((AttemptState.PAYABLE,) if is_free else ()),
                        AttemptState.WITHHELD,
                    ),
                    **_learned(current, order),
                )
        if repeated is not None:
            raise _untrusted(order, repeated)
        return order if after.state is AttemptState.PAYABLE else None

    async def _repeated(
        self, connection: AsyncConnection, attempt: Attempt, order: LightningOrder
    ) -> str | None:
        """The check that an order fails that the store has already, for another."""
        rows, payment_hash = self._repository.rows, order.payment_request.payment_hash
        if await rows.is_taken(connection, order.order_id, attempt.attempt_id):
            return "new"
        if await rows.is_seen(connection, payment_hash, attempt.attempt_id):
            return PAYMENT_HASH
        return None

    async def _held(
        self, connection: AsyncConnection, attempt: Attempt
    ) -> tuple[ReferenceRecord, Attempt]:
        """As `Repository.held`; a row that the database has lost is written again."""
        repository = self._repository
        try:
            return await repository.lock_attempt(connection, attempt.attempt_id)
        except UnknownOrderError:
            # After a failover, what was committed last may be gone.
            reference, price = attempt.reference, attempt.price
            await repository.rows.begin(connection, reference, price, attempt.currency)
            await repository.rows.lock(connection, reference)
            lost = attrs.evolve(attempt, state=AttemptState.UNKNOWN)
            await repository.rows.add(connection, lost)
            return await repository.lock_attempt(connection, attempt.attempt_id)


def _learned(attempt: Attempt, order: LightningOrder) -> dict[str, Any]:
    """Return the members of an attempt that the answer with its order sets."""
    invoice = order.payment_request
    return {
        "order_id": order.order_id,
        "payment_hash": invoice.payment_hash,
        "status": attempt.status or order.status,
        "candidates": {},
        "payable_until": last_payment_at(attempt.created_at, invoice.expires_at),
        "order_json": order.to_json(),
    }


_REPEATED: Final = {
    "new": "the store has it already, for another attempt",
    PAYMENT_HASH: "the store has its payment hash already, for another order",
}


def _untrusted(order: LightningOrder, check: str) -> UntrustedOrderError:
    error = UntrustedOrderError(
        _REPEATED[check],
        check=check,
        order_id=order.order_id,
        status=200,
        body=b"",
    )
    error.outcome = RequestOutcome.UNKNOWN
    return error


#: Seconds between two looks at what another process does.
_POLL_S: Final = 0.1

#: Steps for which what was seen is enough.
_IDLE: Final = frozenset({Action.SHOW, Action.WAIT})

#: Steps that are moves, and where to.
_MOVES: Final[Mapping[Action, tuple[AttemptState, ...]]] = {
    Action.RETIRE: (AttemptState.OVERDUE,),
    Action.MARK_UNKNOWN: (AttemptState.UNKNOWN,),
}


class _InFlight(NamedTuple):
    """A step that all who want the same wait for, and when it began."""

    task: asyncio.Task[LightningOrder | None]
    #: Of the event loop.
    began: float


@final
class OrderOpener:
    """Opens references, each once at a time."""

    def __init__(self, repository: Repository, call_s: float) -> None:
        """Prepare.

        Args:
            repository: Where.
            call_s: Seconds that the client's calls take at most.
        """
        self._repository = repository
        self._call_s = call_s
        #: Seconds that a step takes at most, unless the database holds it up.
        self._step_limit_s = call_limit(call_s).total_seconds()
        #: What this process does, by what it is asked for.
        self._in_flight: dict[tuple[str, Decimal, str], _InFlight] = {}
        self._tasks: set[asyncio.Task[LightningOrder | None]] = set()
        self._answers = Answers(repository)

    async def open(self, reference: str, asked: NewOrder) -> LightningOrder:
        """The order to show for a reference."""
        while True:
            order = await self._once(reference, asked)
            if order is not None:
                return order

    async def finish(self) -> None:
        """Wait for what is under way, and for what follows from it."""
        while tasks := [task for task in self._tasks if _is_on_this_loop(task)]:
            await asyncio.wait(tasks)

    async def _once(self, reference: str, asked: NewOrder) -> LightningOrder | None:
        """One step, together with all who want the same."""
        key = (reference, asked.price, asked.currency)
        time = asyncio.get_running_loop().time
        step = self._in_flight.get(key)
        shared = step is not None and self._may_share(step)
        if step is None or step.task.done() or not shared:
            task = asyncio.create_task(self._step(reference, asked))
            step, shared = _InFlight(task, time()), False
            self._in_flight[key] = step
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, key))
        # Not a moment longer than it can take: another one may get on.
        rest = step.began + self._step_limit_s - time()
        await asyncio.wait({step.task}, timeout=rest)
        return _result(step.task, shared=shared) if step.task.done() else None

    def _may_share(self, step: _InFlight) -> bool:
        """Return true if a step can still end, and on this event loop."""
        age_s = asyncio.get_running_loop().time() - step.began
        return _is_on_this_loop(step.task) and age_s < self._step_limit_s

    def _ended(
        self,
        key: tuple[str, Decimal, str],
        task: asyncio.Task[LightningOrder | None],
    ) -> None:
        self._tasks.discard(task)
        step = self._in_flight.get(key)
        if step is not None and step.task is task:
            del self._in_flight[key]
        # What it raised is in the store, even if no caller waits for it any more.
        _ = task.cancelled() or task.exception()

    async def _step(self, reference: str, asked: NewOrder) -> LightningOrder | None:
        """The order, if this is the step that gives one."""
        unstored = self._answers.unstored(reference)
        if unstored is not None:
            await self._answers.store(*unstored)
            return None  # this call may be for another price
        do, attempt = await self._plan(reference, asked)
        began = None
        if do not in _IDLE:
            # What was seen may be behind; what can be written to is not.
            (do, attempt), began = await self._plan_locked(reference, asked)
        known = attempt.order
        if do is Action.SHOW:
            return known
        if do is Action.WAIT:
            await self._repository.clock.sleep(_POLL_S)
            return None
        if do is Action.CREATE and began is not None:
            return await self._send(began, asked)
        if do is Action.POLL and known is not None:
            return await self._ask(attempt, known)
        if do is Action.SEARCH:
            await self._look(attempt)
        return None

    async def _plan(self, reference: str, asked: NewOrder) -> Step:
        """The next step, as the store looks now: without holding anything."""
        async with self._repository.rows.reading() as connection:
            entry = await self._repository.rows.entry(connection, reference)
        now = self._repository.clock.now() if entry is None else entry.now
        return decide(entry, self._new_attempt(reference, asked, now), now)

    async def _plan_locked(
        self, reference: str, asked: NewOrder
    ) -> tuple[Step, Sending | None]:
        """Return the next step, and write what it needs, with the reference locked."""
        repository = self._repository
        async with repository.rows.writing() as connection:
            await repository.rows.begin(
                connection, reference, asked.price, asked.currency
            )
            await repository.rows.lock(connection, reference)
            # Its time begins here, because this waited for other transactions.
            monotonic = repository.clock.monotonic()
            here = repository.client._clock.now()  # noqa: SLF001
            entry = await repository.rows.entry(connection, reference)
            now = here if entry is None else entry.now
            new = self._new_attempt(reference, asked, now)
            step = decide(entry, new, now)
            if step.do is Action.CREATE:
                await repository.rows.add(connection, new)
            if step.do in _MOVES:
                to = _MOVES[step.do]
                await repository.transition(connection, step.attempt, to, now=now)
        return step, Sending(step.attempt, monotonic, here)

    def _new_attempt(self, reference: str, asked: NewOrder, now: datetime) -> Attempt:
        over = now + call_limit(self._call_s)
        return Attempt(
            reference=reference,
            price=asked.price,
            currency=asked.currency,
            attempt_id=new_attempt_id(),
            state=AttemptState.CREATING,
            order_id=None,
            status=None,
            candidates={},
            created_at=now,
            deadline=over,
            sent_at=None,
            last_polled_at=None,
            next_poll_at=over,
            payable_until=last_payment_at(now),
            order_json=None,
        )

    async def _send(self, sending: Sending, asked: NewOrder) -> LightningOrder | None:
        attempt, client = sending.attempt, self._repository.client
        if sending.elapsed(self._repository.clock) > MAX_SEND_DELAY:
            # Too late to be over by its deadline, when others look for it.
            await self._move(attempt, AttemptState.REJECTED)
            return None
        try:
            made = await client._create(asked, attempt_id=attempt.attempt_id)  # noqa: SLF001
            order = await client._confirm(made)  # noqa: SLF001
        except AurpayError as error:
            try:
                await self._answers.fail(sending, error)
            except OrderStoreError as broken:
                raise error from broken  # that an order may exist is worse
            raise
        return await self._answers.store(sending, order)

    async def _look(self, attempt: Attempt) -> None:
        """Look for what a lost attempt may have made, before anything else is."""
        try:
            found = await search(self._repository, attempt)
        except (APIError, InvalidResponseError) as error:
            if error.retryable:
                raise
            # It cannot be looked for. No payer was shown its invoice, so this is no
            # reason never to sell again.
            await self._move(attempt, looked=True)
            return
        async with self._repository.rows.writing() as connection:
            await record_candidates(
                self._repository, connection, attempt.attempt_id, found.orders
            )

    async def _ask(
        self, attempt: Attempt, known: LightningOrder
    ) -> LightningOrder | None:
        """Poll an order after its time is over."""
        repository = self._repository
        try:
            order = await repository.client.get_order(known.order_id)
        except NotFoundError:
            await self._move(attempt, AttemptState.OVERDUE)
            return None
        if order.status.is_paid or order.status is OrderStatus.REFUNDED:
            check_platform_order(known, order)
            await repository.rows.plan_poll(attempt)
            return attrs.evolve(known, status=order.status)
        async with repository.rows.writing() as connection:
            await record(repository, connection, attempt.attempt_id, order)
        return None

    async def _move(
        self, attempt: Attempt, *wanted: AttemptState, looked: bool = False
    ) -> None:
        async with self._repository.rows.writing() as connection:
            entry, current = await self._repository.lock_attempt(
                connection, attempt.attempt_id
            )
            learned = {"last_polled_at": entry.now} if looked else {}
            await self._repository.transition(
                connection, current, wanted, now=entry.now, **learned
            )


def _is_on_this_loop(task: asyncio.Task[LightningOrder | None]) -> bool:
    """Return false for a task of the process that this one was forked from."""
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
