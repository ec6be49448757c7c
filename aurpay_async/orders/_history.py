"""Read all that the database has of one reference, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from sqlalchemy import or_, select

from .._db.engine import execute
from .._db.tables import attempts, callbacks
from ._repository import Key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ._planner import ReferenceRecord
    from ._repository import Rows

_a = attempts.c


@attrs.frozen(kw_only=True)
class InboxRow:
    """The notifications of one attempt.

    There is none if no callback arrived, if all were rejected, if another database has
    the inbox, or after the inbox was pruned.
    """

    #: The notification that was handled last (`callbacks.Handled`); ``None`` if a
    #: handler was called and none has succeeded.
    handled: str | None
    #: The end of the lease of the handler that is running; ``None`` if none is, or if
    #: its lease has ended.
    busy_until: datetime | None
    #: When the row was updated last.
    updated_at: datetime


@attrs.frozen(kw_only=True)
class History:
    """A reference with its attempts, and the inbox's rows of these."""

    record: ReferenceRecord
    #: By attempt id.
    inbox: Mapping[str, InboxRow]


async def read_history(rows: Rows, name: str) -> History | None:
    """Return the history of a reference, or ``None`` if there is none.

    Args:
        rows: The order store's.
        name: The reference; or the order id, attempt id or payment hash of one of its
            attempts.
    """
    async with rows.database.connect() as connection:
        record = await rows.entry(connection, Key(name, "reference"))
        if record is None:
            has_name = or_(
                _a.order_id == name, _a.attempt_id == name, _a.payment_hash == name
            )
            owner = select(_a.reference).where(has_name)
            found = (await execute(connection, owner)).scalars().first()
            if found is None:
                return None
            record = await rows.entry(connection, Key(found, "reference"))
        return None if record is None else await _with_inbox(connection, record)


async def _with_inbox(connection: AsyncConnection, record: ReferenceRecord) -> History:
    ids = [attempt.attempt_id for attempt in record.attempts]
    found = await execute(connection, select(callbacks).where(callbacks.c.key.in_(ids)))
    inbox: dict[str, InboxRow] = {}
    for row in found:
        is_busy = row.token is not None and row.lease_until > record.now
        inbox[row.key] = InboxRow(
            handled=row.handled,
            busy_until=row.lease_until if is_busy else None,
            updated_at=row.updated_at,
        )
    return History(record=record, inbox=inbox)
