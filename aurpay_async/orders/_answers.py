"""Store the platform's answer to the call that creates an order.

After the call an order may exist, so its answer must not be lost: it is written again
and again until the deadline of the attempt, when other processes assume that the
sender has crashed. An order that the database did not take until then is remembered,
and stored first when its reference is opened again.
"""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, final

import attrs

from .._retry import RetryPolicy
from ..errors import (
    OrderStoreError,
    RequestOutcome,
    UnknownOrderError,
    UntrustedOrderError,
)
from ._recording import PAYMENT_HASH
from ._schedule import last_payment_at
from ._states import AttemptState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._clock import Clock
    from .._lightning_order import LightningOrder
    from ..errors import AurpayError
    from ._decide import ReferenceRecord
    from ._desk import Repository
    from ._records import Attempt

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
