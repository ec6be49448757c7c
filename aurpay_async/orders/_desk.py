"""The client, the rows and the clock of a store, and the transition of an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import attrs

from ..errors import UnknownOrderError, shown
from ._schedule import next_poll

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._client import AurpayClient
    from .._clock import Clock
    from ._decide import ReferenceRecord
    from ._records import Attempt
    from ._rows import Rows
    from ._states import AttemptState


#: What was learned is as various as the members of an attempt.
_evolve: Final = cast("Callable[..., Attempt]", attrs.evolve)


@attrs.frozen
class Repository:
    """Where the store is kept."""

    client: AurpayClient
    rows: Rows
    clock: Clock

    async def transition(
        self,
        connection: AsyncConnection,
        attempt: Attempt,
        wanted: tuple[AttemptState, ...],
        *,
        now: datetime,
        **learned: object,
    ) -> Attempt:
        """Put an attempt into the first of these states that it can be in.

        What was `learned` is written in any case. The caller holds its reference. The
        next poll is planned anew if the state changes, or the platform was asked.

        Returns:
            The attempt as it is now.
        """
        state = attempt.state.first_of(wanted)
        after = _evolve(attempt, state=state, **learned)
        due = next_poll(after, now)
        planned = (
            state is not attempt.state or due is None or "last_polled_at" in learned
        )
        if planned and "next_poll_at" not in learned:
            after = _evolve(after, next_poll_at=due)
        await self.rows.change(connection, attempt, after)
        return after

    async def lock_attempt(
        self, connection: AsyncConnection, attempt_id: str
    ) -> tuple[ReferenceRecord, Attempt]:
        """Lock the reference of an attempt; return both as they are now.

        Raises:
            UnknownOrderError: there is none.
        """
        seen = await self.rows.by_attempt_id(connection, attempt_id)
        entry = (
            None if seen is None else await self.rows.locked(connection, seen.reference)
        )
        attempt = None if entry is None else entry.find(attempt_id)
        if entry is None or attempt is None:
            raise UnknownOrderError(f"the store has no attempt {shown(attempt_id)}")
        return entry, attempt
