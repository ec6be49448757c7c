"""Opening a reference: written down, sent once, stored.

Before anything is sent, a row says so, under the nonce that the order's callbacks will
bring back. Whoever finds that row later, in whatever process, knows that an order may
exist: while the call can still be under way it waits, afterwards it looks.

What is under way is brought to its end, whether or not somebody still waits for it; and
who wants the same in this process waits for the same task. Nothing is settled here: who
opens a reference could not tell the shop to deliver.
"""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, Final, final

import attrs

from .._order_life import OrderStatus
from ..callbacks._compare import compare_read
from ..callbacks._reference import new_nonce
from ..errors import (
    APIError,
    AurpayError,
    Delivery,
    InvalidResponseError,
    NotFoundError,
    UntrustedOrderError,
)
from ._decide import Do, decide
from ._recording import record
from ._records import Attempt
from ._schedule import HESITATION, deadline, watched_until
from ._searching import note, search
from ._states import AttemptState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from .._lightning_order import LightningOrder
    from .._models import NewOrder
    from ._decide import Step
    from ._desk import Desk

    _Turn = asyncio.Task[LightningOrder | None]

#: Seconds between two looks at what another process does.
_POLL_S: Final = 0.1

#: Steps for which what was seen is enough.
_IDLE: Final = frozenset({Do.SHOW, Do.WAIT})

#: Steps that are moves, and where to.
_MOVES: Final[Mapping[Do, tuple[AttemptState, ...]]] = {
    Do.RETIRE: (AttemptState.OVERDUE,),
    Do.LOSE: (AttemptState.LOST,),
}


@final
class Opener:
    """Opens references, each once at a time."""

    def __init__(self, desk: Desk, call_s: float) -> None:
        """Prepare.

        Args:
            desk: Where.
            call_s: Seconds that the client's calls take at most.
        """
        self._desk = desk
        self._call_s = call_s
        #: What this process does, by what it is asked for.
        self._turns: dict[tuple[str, Decimal, str], _Turn] = {}

    async def open(self, reference: str, asked: NewOrder) -> LightningOrder:
        """The order to show for a reference."""
        while True:
            order = await self._once(reference, asked)
            if order is not None:
                return order

    async def finish(self) -> None:
        """Wait for what is under way, and for what follows from it."""
        while self._turns:
            await asyncio.wait(self._turns.values())

    async def _once(self, reference: str, asked: NewOrder) -> LightningOrder | None:
        """One step, together with all who want the same."""
        key = (reference, asked.price, asked.currency)
        turn = self._turns.get(key)
        if turn is not None and not turn.done():
            return await _share(turn)
        turn = asyncio.create_task(self._turn(reference, asked))
        self._turns[key] = turn
        turn.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(turn)

    def _ended(self, key: tuple[str, Decimal, str], turn: _Turn) -> None:
        if self._turns[key] is turn:
            del self._turns[key]
        # What it raised is in the book, even if nobody waits for it any more.
        _ = turn.cancelled() or turn.exception()

    async def _turn(self, reference: str, asked: NewOrder) -> LightningOrder | None:
        """The order, if this is the step that gives one."""
        do, attempt = await self._seen(self._new_attempt(reference, asked))
        if do not in _IDLE:
            # What was seen may be behind; what can be written to is not.
            do, attempt = await self._written(reference, asked)
        known = attempt.order
        if do is Do.SHOW:
            return known
        if do is Do.WAIT:
            await self._desk.clock.sleep(_POLL_S)
            return None
        if do is Do.SEND:
            return await self._send(attempt, asked)
        if do is Do.ASK and known is not None:
            return await self._ask(attempt, known)
        if do is Do.LOOK:
            await self._look(attempt)
        return None

    async def _seen(self, new: Attempt) -> Step:
        """The next step, as the book looks now: without holding anything."""
        async with self._desk.rows.reading() as connection:
            entry = await self._desk.rows.entry(connection, new.reference)
        return decide(entry, new, self._desk.clock.now())

    async def _written(self, reference: str, asked: NewOrder) -> Step:
        """The step to make, when what it needs is written down, and nobody else's."""
        desk = self._desk
        async with desk.rows.writing() as connection:
            # Its time begins here: SQLite may have let others go first, for long.
            new = self._new_attempt(reference, asked)
            await desk.rows.begin(connection, new)
            entry = await desk.rows.locked(connection, reference)
            step = decide(entry, new, desk.clock.now())
            if step.do is Do.SEND:
                await desk.rows.add(connection, new)
            if step.do in _MOVES:
                await desk.move(connection, step.attempt, _MOVES[step.do])
        return step

    def _new_attempt(self, reference: str, asked: NewOrder) -> Attempt:
        now = self._desk.clock.now()
        over = deadline(now, self._call_s)
        return Attempt(
            reference=reference,
            price=asked.price,
            currency=asked.currency,
            nonce=new_nonce(),
            state=AttemptState.OPENING,
            order_id=None,
            status=None,
            suspects={},
            opened_at=now,
            deadline=over,
            sent_at=None,
            looked_at=None,
            next_look_at=over,
            ends_at=watched_until(now),
            kept=None,
        )

    async def _send(self, attempt: Attempt, asked: NewOrder) -> LightningOrder | None:
        if self._desk.clock.now() - attempt.opened_at > HESITATION:
            # Too late to be over by its deadline, when others look for it.
            await self._move(attempt, AttemptState.REFUSED)
            return None
        try:
            order = await self._desk.client._create(  # noqa: SLF001 - the nonce is no shop's
                asked, nonce=attempt.nonce
            )
        except AurpayError as error:
            try:
                await self._fail(attempt, error)
            except Exception as broken:  # drivers raise OSError as well
                raise error from broken  # that an order may exist is worse
            raise
        return await self._store(attempt, order)

    async def _fail(self, attempt: Attempt, error: AurpayError) -> None:
        """Write down what an error leaves behind."""
        if error.delivery is not Delivery.UNKNOWN:
            await self._move(attempt, AttemptState.REFUSED)
            return
        desk, order_id = self._desk, error.order_id
        async with desk.rows.writing() as connection:
            _, current = await desk.held(connection, attempt.nonce)
            if order_id is not None and await desk.rows.is_taken(
                connection, order_id, attempt.nonce
            ):
                order_id = None
            lost = (AttemptState.LOST,) if current.state is AttemptState.OPENING else ()
            await desk.move(
                connection,
                current,
                lost if order_id is None else (AttemptState.UNSHOWN,),
                order_id=order_id or current.order_id,
                sent_at=error.sent_at,
            )

    async def _store(
        self, attempt: Attempt, order: LightningOrder
    ) -> LightningOrder | None:
        """Keep an order; it is the one to show, unless others were faster."""
        desk = self._desk
        async with desk.rows.writing() as connection:
            entry, current = await desk.held(connection, attempt.nonce)
            if await desk.rows.is_taken(connection, order.order_id, attempt.nonce):
                await desk.move(connection, current, (AttemptState.LOST,))
                after = None
            else:
                room = entry.has_room_for(attempt.nonce)
                to = (AttemptState.LIVE,) if room else ()
                expires_at = order.payment_request.expires_at
                after = await desk.move(
                    connection,
                    current,
                    (*to, AttemptState.UNSHOWN),
                    order_id=order.order_id,
                    status=current.status or order.status,
                    suspects={},
                    ends_at=watched_until(attempt.opened_at, expires_at),
                    kept=order.to_json(),
                )
        if after is None:
            raise _doubled(order)
        return order if after.state is AttemptState.LIVE else None

    async def _look(self, attempt: Attempt) -> None:
        """Look for what a lost attempt may have made, before anything else is."""
        try:
            orders = await search(self._desk, attempt)
        except (APIError, InvalidResponseError) as error:
            if error.retryable:
                raise
            # It cannot be looked for. Nobody was shown its invoice, so this is no
            # reason never to sell again.
            await self._move(attempt, looked_at=self._desk.clock.now())
            return
        async with self._desk.rows.writing() as connection:
            await note(self._desk, connection, attempt.nonce, orders)

    async def _ask(
        self, attempt: Attempt, known: LightningOrder
    ) -> LightningOrder | None:
        """See how an order stands whose time is over."""
        desk = self._desk
        try:
            order = await desk.client.get_order(known.order_id)
        except NotFoundError:
            await self._move(attempt, AttemptState.OVERDUE)
            return None
        if order.status.is_paid or order.status is OrderStatus.REFUNDED:
            compare_read(known, order)
            await desk.rows.postpone(attempt, desk.clock.now())
            return attrs.evolve(known, status=order.status)
        async with desk.rows.writing() as connection:
            await record(desk, connection, attempt.nonce, order)
        return None

    async def _move(
        self, attempt: Attempt, *wanted: AttemptState, **learned: object
    ) -> None:
        async with self._desk.rows.writing() as connection:
            _, current = await self._desk.held(connection, attempt.nonce)
            await self._desk.move(connection, current, wanted, **learned)


async def _share(turn: _Turn) -> LightningOrder | None:
    """What somebody else's turn came to."""
    try:
        return await asyncio.shield(turn)
    except AurpayError as error:
        raise copy(error) from error.__cause__


def _doubled(order: LightningOrder) -> UntrustedOrderError:
    return UntrustedOrderError(
        "the book has it already, for another attempt",
        check="new",
        order_id=order.order_id,
        status=200,
        body=b"",
    )
