"""The bot's tables: the bills, and the messages that show them.

Both tables are in the database of the order store, and a bill changes in the
transaction that records the payment of its order: after a crash they agree.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    MetaData,
    Table,
    Text,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

State = Literal["open", "paid", "late_paid", "expired", "refunded"]

metadata: Final = MetaData()

_bills: Final = Table(
    "bills",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("chat", BigInteger, nullable=False),
    Column("payer", BigInteger, nullable=False),
    Column("price", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("state", Text, nullable=False),
)

#: One open bill for each of these: a repeated command returns the same bill.
_UNIQUE_WHILE_OPEN: Final = ("chat", "payer", "price", "currency")

Index(
    "bills_open_once",
    *(_bills.c[name] for name in _UNIQUE_WHILE_OPEN),
    unique=True,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)

_posts: Final = Table(
    "posts",
    metadata,
    Column("chat", BigInteger, primary_key=True),
    #: The message with the command: Telegram may deliver it twice.
    Column("command", BigInteger, primary_key=True),
    #: The bot's answer, which shows the bill.
    Column("message", BigInteger, nullable=False),
    Column("reference", Text, ForeignKey(_bills.c.reference), nullable=False),
    #: The state that the message shows: the bill's, or an earlier one.
    Column("shows", Text, nullable=False),
)


@attrs.frozen(kw_only=True)
class Bill:
    """An amount that a payer owes."""

    reference: str
    chat: int
    payer: int
    #: Plain digits, without zeros at the end, because the price is part of the key.
    price: str
    currency: str
    state: State = "open"


@attrs.frozen(kw_only=True)
class Post:
    """A message of the bot that shows a bill."""

    chat: int
    command: int
    message: int
    bill: Bill


class Bills:
    """Queries and updates of both tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create_tables(self) -> None:
        """Create the tables that are missing."""
        async with self._engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def open(self, new: Bill) -> Bill:
        """Return the open bill of this payer for this price, or store `new`."""
        with suppress(IntegrityError):  # an open bill exists
            async with self._engine.begin() as connection:
                await connection.execute(_bills.insert().values(attrs.asdict(new)))
        same = (_bills.c[name] == getattr(new, name) for name in _UNIQUE_WHILE_OPEN)
        found = await self._bills(_bills.c.state == "open", *same)
        return found[0] if found else await self.open(new)  # just paid

    async def is_answered(self, chat: int, command: int) -> bool:
        """Return whether the bot has answered a command."""
        return bool(
            await self._posts(_posts.c.chat == chat, _posts.c.command == command)
        )

    async def add_post(self, post: Post) -> None:
        """Store that a message shows a bill."""
        row = _posts.insert().values(
            chat=post.chat,
            command=post.command,
            message=post.message,
            reference=post.bill.reference,
            shows=post.bill.state,
        )
        async with self._engine.begin() as connection:
            await connection.execute(row)

    async def outdated_posts(self) -> Sequence[Post]:
        """Return the messages that do not show the state of their bill."""
        return await self._posts(_posts.c.shows != _bills.c.state)

    async def mark_shown(self, post: Post) -> None:
        """Store that a message shows the state of its bill."""
        same = update(_posts).where(
            _posts.c.chat == post.chat, _posts.c.command == post.command
        )
        async with self._engine.begin() as connection:
            await connection.execute(same.values(shows=post.bill.state))

    async def open_bills(self) -> Sequence[Bill]:
        """Return the bills that can be paid."""
        return await self._bills(_bills.c.state == "open")

    @staticmethod
    async def mark_paid(connection: AsyncConnection, reference: str) -> None:
        """Record the payment of a bill: in time, or late if it has expired."""
        await _move(connection, reference, "open", "paid")
        await _move(connection, reference, "expired", "late_paid")

    @staticmethod
    async def mark_expired(connection: AsyncConnection, reference: str) -> None:
        """Record that an open bill has expired."""
        await _move(connection, reference, "open", "expired")

    @staticmethod
    async def mark_refunded(connection: AsyncConnection, reference: str) -> None:
        """Record a refund of a bill, if the bot has not recorded its payment."""
        await _move(connection, reference, "open", "refunded")
        await _move(connection, reference, "expired", "refunded")

    async def _bills(self, *which: ColumnElement[bool]) -> list[Bill]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(select(_bills).where(*which))
            return [Bill(**row._mapping) for row in rows]  # noqa: SLF001 - public

    async def _posts(self, *which: ColumnElement[bool]) -> list[Post]:
        both = select(_posts.c.command, _posts.c.message, _bills).join(_bills)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(both.where(*which))).mappings()
            return [_post(dict(row)) for row in rows]


def _post(row: dict[str, Any]) -> Post:
    command, message = row.pop("command"), row.pop("message")
    return Post(chat=row["chat"], command=command, message=message, bill=Bill(**row))


async def _move(
    connection: AsyncConnection, reference: str, since: State, to: State
) -> None:
    """Change the state of a bill, in the caller's transaction."""
    same = update(_bills).where(
        _bills.c.reference == reference, _bills.c.state == since
    )
    await connection.execute(same.values(state=to))
