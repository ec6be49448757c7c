"""Opening a reference: written down, sent once, stored.

Before anything is sent, a row says so, under the attempt_id that the order's callbacks
will
bring back. Whoever finds that row later, in whatever process, knows that an order may
exist: while the call can still be under way it waits, afterwards it looks.

What is under way is brought to its end, whether or not somebody still waits for it; and
who wants the same in this process waits for the same task, until that takes longer than
it can. What the platform has answered is stored again and again until the deadline of
its attempt. Nothing is settled here: who opens a reference could not tell the shop to
deliver.
"""

from __future__ import annotations

import asyncio
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, final

import attrs

from .._order_life import OrderStatus
from ..callbacks._compare import check_platform_order
from ..callbacks._reference import new_attempt_id
from ..errors import (
    APIError,
    AurpayError,
    InvalidResponseError,
    NotFoundError,
    OrderStoreError,
)
from ._answers import Answers, Sending
from ._decide import Action, decide
from ._recording import record
from ._records import Attempt
from ._schedule import MAX_SEND_DELAY, call_limit, last_payment_at
from ._searching import record_candidates, search
from ._states import AttemptState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from .._lightning_order import LightningOrder
    from .._models import NewOrder
    from ._decide import Step
    from ._desk import Repository

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
