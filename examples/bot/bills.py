"""What the bot keeps: who is to pay what, and which messages in which chat show it.

Its two tables lie in the database of the order store, and a bill changes in the
transaction in which its order does: after a crash they agree.
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

#: Who asks twice for the same is shown the same: of these, one bill is open.
_ONE_OF_A_KIND: Final = ("chat", "payer", "price", "currency")

Index(
    "bills_open_once",
    *(_bills.c[name] for name in _ONE_OF_A_KIND),
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
    #: The state that it shows: the bill's, or one that is to be changed into it.
    Column("shows", Text, nullable=False),
)


@attrs.frozen(kw_only=True)
class Bill:
    """What somebody is to pay."""

    reference: str
    chat: int
    payer: int
    #: Plain digits, without zeros at the end: the key that finds it again.
    price: str
    currency: str
    state: State = "open"


@attrs.frozen(kw_only=True)
class Post:
    """A message of the bot's that shows a bill."""

    chat: int
    command: int
    message: int
    bill: Bill


class Bills:
    """The two tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create_tables(self) -> None:
        """Make them where they are missing."""
        async with self._engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def open(self, new: Bill) -> Bill:
        """The open bill of this payer for this price: the one there is, or `new`."""
        with suppress(IntegrityError):  # there is one
            async with self._engine.begin() as connection:
                await connection.execute(_bills.insert().values(attrs.asdict(new)))
        same = (_bills.c[name] == getattr(new, name) for name in _ONE_OF_A_KIND)
        found = await self._bills(_bills.c.state == "open", *same)
        return found[0] if found else await self.open(new)  # just paid

    async def is_answered(self, chat: int, command: int) -> bool:
        """Whether a command was answered already."""
        return bool(
            await self._posts(_posts.c.chat == chat, _posts.c.command == command)
        )

    async def posted(self, post: Post) -> None:
        """Keep that a message shows a bill."""
        row = _posts.insert().values(
            chat=post.chat,
            command=post.command,
            message=post.message,
            reference=post.bill.reference,
            shows=post.bill.state,
        )
        async with self._engine.begin() as connection:
            await connection.execute(row)

    async def outdated(self) -> Sequence[Post]:
        """The messages that do not show yet what became of their bill."""
        return await self._posts(_posts.c.shows != _bills.c.state)

    async def shown(self, post: Post) -> None:
        """Keep that a message shows the state of its bill."""
        same = update(_posts).where(
            _posts.c.chat == post.chat, _posts.c.command == post.command
        )
        async with self._engine.begin() as connection:
            await connection.execute(same.values(shows=post.bill.state))

    async def open_ones(self) -> Sequence[Bill]:
        """The bills that may be paid any moment."""
        return await self._bills(_bills.c.state == "open")

    @staticmethod
    async def paid(connection: AsyncConnection, reference: str) -> None:
        """A bill is paid: in time, or after it was said to be over."""
        await _move(connection, reference, "open", "paid")
        await _move(connection, reference, "expired", "late_paid")

    @staticmethod
    async def expired(connection: AsyncConnection, reference: str) -> None:
        """The time of a bill is over; if it was paid, that stays so."""
        await _move(connection, reference, "open", "expired")

    @staticmethod
    async def refunded(connection: AsyncConnection, reference: str) -> None:
        """A bill was paid and paid back, before anybody here heard of it."""
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
    """From one state into another, in the caller's transaction."""
    same = update(_bills).where(
        _bills.c.reference == reference, _bills.c.state == since
    )
    await connection.execute(same.values(state=to))
