"""One contract for every inbox, and what only a database can promise."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import sys
import traceback
from contextlib import closing
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from aurpay_async._clock import SystemClock
from aurpay_async.callbacks import sql
from aurpay_async.callbacks._replay import (
    LEASE,
    REMEMBER,
    Claim,
    MemoryInbox,
    Taken,
)
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import (
    ClaimExpiredError,
    ConfigurationError,
    StoreUnavailableError,
)
from aurpay_async.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aurpay_async.callbacks._replay import InboxStore, Kind

REPEATED, SUPERSEDED, BUSY = Taken.REPEATED, Taken.SUPERSEDED, Taken.BUSY
LEASE_S = LEASE.total_seconds()
KEY = "0123456789abcdef01234567"
CHANGE = "UPDATE aurpay_callbacks SET"


class Skewed(SystemClock):
    """The clock of a machine that is ahead, or behind."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """The time that this machine believes it is."""
        return super().now() + self._ahead


@pytest.fixture
def clock() -> FakeClock:
    """Shared by all stores of a test, as machines agree on the time."""
    return FakeClock()


def database(request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty database of the kind that the fixture is asked for."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql_url")
        return url
    return f"sqlite+aiosqlite:///{folder}/callbacks.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each database in turn."""
    return database(request, tmp_path)


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """The shop's own, in which it counts what its handlers did."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE effects (payment TEXT)"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def shared(url: str, clock: FakeClock) -> AsyncIterator[SqlInbox]:
    """A inbox in each database in turn."""
    async with SqlInbox(url, clock=clock) as inbox:
        await inbox.create_tables()
        yield inbox


@pytest.fixture
async def local(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqlInbox]:
    """A inbox in SQLite."""
    path = tmp_path / "local.db"
    async with SqlInbox(f"sqlite+aiosqlite:///{path}", clock=clock) as inbox:
        await inbox.create_tables()
        yield inbox


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def inbox(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[InboxStore]:
    """Every inbox in turn."""
    if request.param == "memory":
        yield MemoryInbox(clock=clock)
        return
    async with SqlInbox(database(request, tmp_path), clock=clock) as inbox:
        await inbox.create_tables()
        yield inbox


async def claimed(inbox: InboxStore, kind: Kind = "paid", key: str = KEY) -> Claim:
    claim = await inbox.claim(key, kind)
    assert isinstance(claim, Claim), claim
    return claim


async def effects(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        count = await connection.scalar(text("SELECT count(*) FROM effects"))
        return int(count or 0)


async def take_effect(connection: AsyncConnection | AsyncSession) -> None:
    await connection.execute(text("INSERT INTO effects VALUES ('one')"))


async def handle(engine: AsyncEngine, inbox: InboxStore, claim: Claim) -> None:
    async with engine.begin() as connection:
        await take_effect(connection)
        await inbox.confirm(claim, "paid", connection)


class TestEveryStore:
    """What the processor relies on."""

    async def test_the_first_to_ask_may_handle_it(self, inbox: InboxStore) -> None:
        """Nothing was handled before."""
        claim = await claimed(inbox)
        assert (claim.key, claim.previous) == (KEY, None)

    async def test_a_claim_is_held_until_it_ends(self, inbox: InboxStore) -> None:
        """Given back, confirmed, or taken by another one."""
        claim = await claimed(inbox)
        assert await inbox.holds(claim)
        await inbox.release(claim)
        assert not await inbox.holds(claim)
        claim = await claimed(inbox)
        await inbox.confirm(claim, "unconfirmed_paid")
        assert not await inbox.holds(claim)
        assert (await claimed(inbox)).previous == "unconfirmed_paid"

    @pytest.mark.parametrize(
        ("handled", "kind", "answer"),
        [
            ("paid", "paid", REPEATED),
            ("paid", "timeout", SUPERSEDED),
            ("timeout", "timeout", REPEATED),
            ("timeout", "paid", None),
        ],
    )
    async def test_what_was_handled_decides(
        self, inbox: InboxStore, handled: Kind, kind: Kind, answer: Taken | None
    ) -> None:
        """Each kind once, and paid beats timeout."""
        await inbox.confirm(await claimed(inbox, handled), handled)
        taken = await inbox.claim(KEY, kind)
        if answer is None:
            assert isinstance(taken, Claim)
            assert taken.previous == handled
        else:
            assert taken is answer

    @pytest.mark.parametrize("kind", ["paid", "timeout"])
    async def test_one_at_a_time(self, inbox: InboxStore, kind: Kind) -> None:
        """Whoever asks meanwhile is told so; other orders are not concerned."""
        await claimed(inbox)
        assert await inbox.claim(KEY, kind) is BUSY
        await claimed(inbox, key="another")

    async def test_handled_is_said_before_busy(self, inbox: InboxStore) -> None:
        """A repeated timeout needs no second try, even while the payment is handled."""
        await inbox.confirm(await claimed(inbox, "timeout"), "timeout")
        await claimed(inbox, "paid")
        assert await inbox.claim(KEY, "timeout") is REPEATED
        assert await inbox.claim(KEY, "paid") is BUSY

    async def test_what_was_handled_need_not_be_what_was_claimed(
        self, inbox: InboxStore
    ) -> None:
        """Of a timeout, the platform may have said that it is paid."""
        await inbox.confirm(await claimed(inbox, "timeout"), "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED

    async def test_what_is_given_back_can_be_taken(self, inbox: InboxStore) -> None:
        """At once, by the next delivery; what was handled before stays handled."""
        await inbox.release(await claimed(inbox, "timeout"))
        await inbox.confirm(await claimed(inbox, "timeout"), "timeout")
        await inbox.release(await claimed(inbox, "paid"))
        assert await inbox.claim(KEY, "timeout") is REPEATED
        assert (await claimed(inbox, "paid")).previous == "timeout"

    async def test_a_lease_ends(self, inbox: InboxStore, clock: FakeClock) -> None:
        """To the millisecond; the handler may have died."""
        await claimed(inbox)
        clock.advance(LEASE_S - 0.001)
        assert await inbox.claim(KEY, "paid") is BUSY
        clock.advance(0.001)
        await claimed(inbox)
        assert await inbox.claim(KEY, "paid") is BUSY

    async def test_a_lease_lasts_as_long_as_asked_for(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        """Slow handlers may have more."""
        await inbox.claim(KEY, "paid", timedelta(hours=1))
        clock.advance(3599)
        assert await inbox.claim(KEY, "paid") is BUSY
        clock.advance(1)
        await claimed(inbox)

    async def test_late_is_good_enough(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        """If nobody took its place, nothing was done twice."""
        claim = await claimed(inbox)
        clock.advance(10 * LEASE_S)
        await inbox.confirm(claim, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED

    async def test_whoever_lost_the_lease_cannot_undo_the_next(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        """Neither confirm nor give back what somebody else holds now."""
        old = await claimed(inbox)
        clock.advance(LEASE_S)
        new = await claimed(inbox)
        with pytest.raises(ClaimExpiredError, match="lease") as caught:
            await inbox.confirm(old, "paid")
        assert caught.value.rule == "lease"
        await inbox.release(old)
        assert await inbox.claim(KEY, "paid") is BUSY
        await inbox.confirm(new, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED

    async def test_a_claim_serves_once(self, inbox: InboxStore) -> None:
        """It ends with being confirmed or given back."""
        claim = await claimed(inbox)
        await inbox.confirm(claim, "paid")
        await inbox.release(claim)
        with pytest.raises(ClaimExpiredError):
            await inbox.confirm(claim, "paid")
        given_back = await claimed(inbox, key="another")
        await inbox.release(given_back)
        with pytest.raises(ClaimExpiredError):
            await inbox.confirm(given_back, "paid")

    async def test_of_fifty_at_once_one_wins(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        """New orders and ended leases alike."""
        for _ in range(2):
            asked = [inbox.claim(KEY, "paid") for _ in range(50)]
            answers = await asyncio.gather(*asked)
            assert sum(isinstance(answer, Claim) for answer in answers) == 1
            assert answers.count(BUSY) == 49
            clock.advance(LEASE_S)

    async def test_a_connection_must_be_one(self, inbox: InboxStore) -> None:
        """What is no transaction is not silently left out."""
        claim = await claimed(inbox)
        with pytest.raises(ConfigurationError, match="transaction"):
            await inbox.confirm(claim, "paid", "postgresql://")  # type: ignore[arg-type]
        await inbox.confirm(claim, "paid")


CLAIMS = st.tuples(
    st.just("claim"), st.sampled_from("ab"), st.sampled_from(["paid", "timeout"])
)
ENDS = st.tuples(
    st.sampled_from(["release", "confirm"]),
    st.integers(0, 9),
    st.sampled_from(["paid", "timeout"]),
)
PAUSES = st.tuples(st.just("wait"), st.integers(1, 60_000), st.just(""))


async def told(inbox: InboxStore, clock: FakeClock, steps: list[Any]) -> list[Any]:
    """What a inbox answers to a sequence of steps."""
    claims: list[Claim] = []
    answers: list[Any] = []
    for step, what, kind in steps:
        if step == "wait":
            clock.advance(what / 1000)
        elif step == "claim":
            taken = await inbox.claim(what, kind)
            if isinstance(taken, Claim):
                claims.append(taken)
            answers.append(taken.previous if isinstance(taken, Claim) else taken)
        elif claims:
            claim = claims[what % len(claims)]
            try:
                ended = getattr(inbox, step)
                await (ended(claim, kind) if step == "confirm" else ended(claim))
                answers.append("ended")
            except ClaimExpiredError as error:
                answers.append(error.rule)
    return answers


@settings(max_examples=30)
@given(st.lists(CLAIMS | ENDS | PAUSES, min_size=5, max_size=25))
async def test_a_database_answers_like_the_memory(steps: list[Any]) -> None:
    """Whatever happens in whatever order."""
    memory = MemoryInbox(clock=(clock := FakeClock()))
    expected = await told(memory, clock, steps)
    with TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/callbacks.db"
        async with SqlInbox(url, clock=(clock := FakeClock())) as inbox:
            await inbox.create_tables()
            assert await told(inbox, clock, steps) == expected


class TestSharing:
    """Several processes on one database."""

    async def test_two_stores_are_one_memory(
        self, shared: SqlInbox, url: str, clock: FakeClock
    ) -> None:
        """What one handles is handled for the other, after a restart too."""
        async with SqlInbox(url, clock=clock) as other:
            claim = await claimed(shared)
            assert await other.claim(KEY, "paid") is BUSY
            await other.confirm(claim, "paid")
        await shared.aclose()
        async with SqlInbox(url, clock=clock) as reopened:
            assert await reopened.claim(KEY, "paid") is REPEATED

    async def test_of_fifty_claims_from_five_stores_one_wins(
        self, shared: SqlInbox, url: str, clock: FakeClock
    ) -> None:
        """On as many connections as they have."""
        stores = [shared, *(SqlInbox(url, clock=clock) for _ in range(4))]
        asked = [inbox.claim(KEY, "paid") for inbox in stores for _ in range(10)]
        answers = await asyncio.gather(*asked)
        for inbox in stores:
            await inbox.aclose()
        assert sum(isinstance(answer, Claim) for answer in answers) == 1
        assert answers.count(BUSY) == 49

    async def test_any_number_may_create_the_table(self, url: str) -> None:
        """At once, and again."""
        stores = [SqlInbox(url) for _ in range(5)]
        for _ in range(2):
            await asyncio.gather(*(inbox.create_tables() for inbox in stores))
        await claimed(stores[0])
        for inbox in stores:
            await inbox.aclose()

    async def test_creating_what_somebody_creates_at_this_moment(
        self, tmp_path: Path
    ) -> None:
        """PostgreSQL may refuse one of the two; that one looks again."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/callbacks.db")
        refusals = ["aurpay_callbacks already exists"]

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def refuse(*_: object) -> None:
            if refusals:
                raise IntegrityError(None, None, Exception(refusals.pop()))

        inbox = SqlInbox(engine)
        await inbox.create_tables()
        await claimed(inbox)
        await engine.dispose()

    @pytest.mark.parametrize("ending", ["commit", "rollback"])
    async def test_a_claim_waits_for_a_handler_that_is_about_to_commit(
        self, postgresql_url: str, clock: FakeClock, ending: str
    ) -> None:
        """Its lease has ended, but not its transaction: that one decides."""
        engine = create_async_engine(postgresql_url)
        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        claim = await claimed(inbox)
        async with engine.connect() as late:
            await inbox.confirm(claim, "paid", late)
            clock.advance(LEASE_S)
            second = asyncio.create_task(inbox.claim(KEY, "paid"))
            await somebody_waits(engine)
            assert not second.done()
            await getattr(late, ending)()
        if ending == "commit":
            assert await second is REPEATED
        else:
            assert isinstance(await second, Claim)
        await engine.dispose()

    @pytest.mark.parametrize(
        ("verb", "statement", "answer"),
        [
            ("UPDATE", f"{CHANGE} handled = 'paid', token = NULL", REPEATED),
            ("UPDATE", f"{CHANGE} token = 'other', lease_until = 1e15", BUSY),
            ("UPDATE", f"{CHANGE} token = NULL", None),
            ("SELECT", "DELETE FROM aurpay_callbacks", None),
        ],
    )
    async def test_somebody_faster_between_two_steps(
        self,
        local: SqlInbox,
        clock: FakeClock,
        verb: str,
        statement: str,
        answer: Taken | None,
    ) -> None:
        """Then it looks again: handled, taken, given back, or forgotten meanwhile."""
        await claimed(local)
        clock.advance(LEASE_S)
        meddle(local, verb, [statement])
        taken = await local.claim(KEY, "paid")
        assert isinstance(taken, Claim) if answer is None else taken is answer

    async def test_somebody_has_handled_it_between_two_steps(
        self, local: SqlInbox
    ) -> None:
        """Nobody held it before nor after, yet it is not as it was read."""
        await local.release(await claimed(local))
        meddle(local, "UPDATE", [f"{CHANGE} handled = 'paid'"])
        assert await local.claim(KEY, "paid") is REPEATED

    async def test_somebody_who_is_always_faster(
        self, local: SqlInbox, clock: FakeClock
    ) -> None:
        """It does not look for ever; the platform will deliver again."""
        await claimed(local)
        clock.advance(LEASE_S)
        meddle(local, "UPDATE", [f"{CHANGE} token = '{n}'" for n in range(5)])
        assert await local.claim(KEY, "paid") is BUSY
        await claimed(local)


async def somebody_waits(engine: AsyncEngine) -> None:
    """Returns when a connection waits for another's transaction."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with engine.connect() as connection:
        while not await connection.scalar(query):
            pass


def meddle(inbox: SqlInbox, verb: str, changes: list[str]) -> None:
    """Has another process change the row right before the inbox's next steps."""
    engine = inbox._database.engine.sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def before(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith(verb) and changes:
            with closing(sqlite3.connect(str(engine.url.database))) as other:
                other.execute(changes.pop())
                other.commit()


class TestTransactions:
    """The handler's effect and the record of it, both or neither."""

    @pytest.mark.parametrize("kind", ["connection", "session"])
    async def test_both_or_neither(
        self, shared: SqlInbox, engine: AsyncEngine, kind: str
    ) -> None:
        """The caller's rollback undoes it, the caller's commit makes it last."""
        claim = await claimed(shared)
        async with (
            engine.connect() if kind == "connection" else AsyncSession(engine) as own
        ):
            await take_effect(own)
            await shared.confirm(claim, "paid", own)
            await own.rollback()
            await take_effect(own)
            await shared.confirm(claim, "paid", own)
            await own.commit()
        assert await effects(engine) == 1
        assert await shared.claim(KEY, "paid") is REPEATED

    async def test_what_was_not_committed_is_still_held(
        self, shared: SqlInbox, engine: AsyncEngine
    ) -> None:
        """As all others see it."""
        claim = await claimed(shared)
        async with engine.connect() as connection:
            await shared.confirm(claim, "paid", connection)
            await connection.rollback()
        assert await shared.holds(claim)
        await handle(engine, shared, claim)
        assert not await shared.holds(claim)

    async def test_a_connection_without_transactions(
        self, shared: SqlInbox, engine: AsyncEngine
    ) -> None:
        """It could not undo anything."""
        claim = await claimed(shared)
        committing = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with committing.connect() as connection:
            with pytest.raises(ConfigurationError, match="transaction"):
                await shared.confirm(claim, "paid", connection)
        with pytest.raises(ConfigurationError, match="transaction"):
            await shared.confirm(claim, "paid", engine.connect())

    async def test_an_engine_without_transactions(
        self, url: str, clock: FakeClock
    ) -> None:
        """The same, of an engine that was made so; the inbox itself can use it."""
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        claim = await claimed(inbox)
        async with engine.connect() as connection:
            with pytest.raises(ConfigurationError, match="transaction"):
                await inbox.confirm(claim, "paid", connection)
        await inbox.confirm(claim, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED
        await engine.dispose()

    async def test_an_engine_that_begins_by_itself(
        self, tmp_path: Path, clock: FakeClock
    ) -> None:
        """SQLAlchemy's own recipe for SQLite; nothing is rolled back behind us."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'recipe.db'}")

        @event.listens_for(engine.sync_engine, "connect")
        def connected(driver: Any, _: object) -> None:
            driver.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def begun(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        claim = await claimed(inbox)
        assert await inbox.claim(KEY, "paid") is BUSY
        await inbox.confirm(claim, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED
        await engine.dispose()

    async def test_nothing_is_committed_for_the_caller(
        self, shared: SqlInbox, engine: AsyncEngine
    ) -> None:
        """A handler that dies before its commit has done nothing."""
        claim = await claimed(shared)
        async with engine.connect() as connection:
            await take_effect(connection)
            await shared.confirm(claim, "paid", connection)
        assert await effects(engine) == 0
        await shared.release(claim)
        await claimed(shared)

    async def test_a_lost_lease_undoes_the_handlers_work(
        self, shared: SqlInbox, engine: AsyncEngine, clock: FakeClock
    ) -> None:
        """The one that took its place does it."""
        old = await claimed(shared)
        clock.advance(LEASE_S)
        new = await claimed(shared)
        with pytest.raises(ClaimExpiredError):
            await handle(engine, shared, old)
        assert await effects(engine) == 0
        await handle(engine, shared, new)
        assert await effects(engine) == 1

    async def test_a_strict_engine_is_no_obstacle(
        self, url: str, clock: FakeClock
    ) -> None:
        """Concurrent claims commit step by step, whatever its isolation level."""
        engine = create_async_engine(url, isolation_level="SERIALIZABLE")
        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        for _ in range(2):
            asked = [inbox.claim(KEY, "paid") for _ in range(20)]
            answers = await asyncio.gather(*asked)
            assert sum(isinstance(answer, Claim) for answer in answers) == 1
            clock.advance(LEASE_S)
        await engine.dispose()


class TestForgetting:
    """The table need not grow for ever."""

    async def test_what_nobody_has_touched_for_long(
        self, shared: SqlInbox, clock: FakeClock
    ) -> None:
        """Handled, given back or left by a dead process."""
        await shared.confirm(await claimed(shared, key="handled"), "paid")
        await shared.release(await claimed(shared, key="given back"))
        await claimed(shared, key="left")
        late = await claimed(shared, key="late")
        clock.advance(REMEMBER.total_seconds() - 0.001)
        await shared.confirm(late, "paid")
        assert await shared.prune() == 0
        clock.advance(0.001)
        assert await shared.prune() == 3
        assert await shared.claim("late", "paid") is REPEATED
        await claimed(shared, key="handled")

    async def test_what_is_being_handled_stays(
        self, shared: SqlInbox, clock: FakeClock
    ) -> None:
        """However short the memory; then its lease ends."""
        await claimed(shared)
        assert await shared.prune(timedelta(0)) == 0
        clock.advance(LEASE_S)
        assert await shared.prune(timedelta(0)) == 1


class TestOpening:
    """URLs and engines, good and bad."""

    async def test_an_engine_that_was_given_stays_open(
        self, engine: AsyncEngine
    ) -> None:
        """Its connections are the shop's."""
        async with SqlInbox(engine) as inbox:
            await inbox.create_tables()
        pool = engine.pool
        await effects(engine)
        assert engine.pool is pool

    async def test_a_closed_store_says_so(self, local: SqlInbox) -> None:
        """Instead of opening connections that nobody closes."""
        await local.aclose()
        await local.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await local.claim(KEY, "paid")

    async def test_the_table_is_known_to_alembic(self, shared: SqlInbox) -> None:
        """It makes the same one as `create_tables`."""
        (table,) = SqlInbox.metadata.tables.values()
        async with shared._database.engine.connect() as connection:
            made = await connection.run_sync(
                lambda sync: inspect(sync).get_columns(table.name)
            )
        assert [column["name"] for column in made] == [c.name for c in table.columns]
        assert [column["nullable"] for column in made] == [
            c.nullable for c in table.columns
        ]

    @pytest.mark.parametrize("skew_s", [-3600, -121, -61, -30, 30, 61, 3600])
    async def test_machines_whose_clocks_differ_share_one_claim(
        self, postgresql_url: str, skew_s: int
    ) -> None:
        """Leases begin and end by the clock of the server."""
        async with (
            SqlInbox(postgresql_url) as inbox,
            SqlInbox(postgresql_url, clock=Skewed(skew_s)) as other,
        ):
            await inbox.create_tables()
            claim = await claimed(inbox)
            assert await other.claim(KEY, "paid") is BUSY
            assert await other.prune(timedelta(0)) == 0
            await other.confirm(claim, "timeout")
            assert await inbox.prune(timedelta(hours=1)) == 0
            later = await claimed(other)
            assert await inbox.claim(KEY, "paid") is BUSY
            await inbox.confirm(later, "paid")

    async def test_the_time_of_the_server_costs_no_further_statement(
        self, shared: SqlInbox, url: str
    ) -> None:
        """A claim and its confirmation are one statement each; a repetition is two."""
        statements: list[str] = []
        async with SqlInbox(url) as inbox:
            engine = inbox._database.engine.sync_engine

            @event.listens_for(engine, "before_cursor_execute")
            def count(_: Any, __: Any, statement: str, *___: Any) -> None:
                statements.append(statement.split(maxsplit=1)[0])

            await inbox.confirm(await claimed(inbox), "paid")
            assert statements == ["INSERT", "UPDATE"]
            assert await inbox.claim(KEY, "paid") is REPEATED
            assert statements[2:] == ["INSERT", "SELECT"]
            await inbox.prune()
            assert statements[4:] == ["DELETE"]

    @pytest.mark.parametrize(("query", "wait_ms"), [("", 15_000), ("?timeout=3", 3000)])
    async def test_sqlite_waits_for_another_writer(
        self, tmp_path: Path, query: str, wait_ms: int
    ) -> None:
        """For as long as the URL says, or long enough."""
        url = f"sqlite+aiosqlite:///{tmp_path}/callbacks.db{query}"
        async with (
            SqlInbox(url) as inbox,
            inbox._database.connect() as connection,
        ):
            assert await connection.scalar(text("PRAGMA busy_timeout")) == wait_ms

    async def test_a_database_error_leaves_as_store_unavailable_without_values(
        self, tmp_path: Path
    ) -> None:
        """With the driver's own error as its cause."""
        url = f"sqlite+aiosqlite:///{tmp_path}/callbacks.db"
        async with SqlInbox(url) as inbox:
            with pytest.raises(StoreUnavailableError, match="no such table") as caught:
                await inbox.claim(KEY, "paid")
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert caught.value.retryable
        assert KEY not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("", "write sqlite"),
            ("hunter2", "write sqlite"),
            ("postgres://shop:hunter2@localhost/shop", "write sqlite"),
            ("postgresql+asyncpg://shop:hunter2@localhost:hunter2/shop", "asyncio"),
            ("sqlite:///callbacks.db", "asyncio"),
            ("sqlite+aiosqlite://", "in memory"),
            ("mysql+aiomysql://shop:hunter2@localhost/shop", "not installed"),
            (object(), "not <object>"),
        ],
    )
    def test_what_cannot_serve_is_refused(self, url: Any, problem: str) -> None:
        """With what to write instead, and without the password."""
        with pytest.raises(ConfigurationError, match=problem) as caught:
            SqlInbox(url)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_other_databases_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their drivers may be installed, but their rules are not known here."""
        engine = create_async_engine("sqlite+aiosqlite:///callbacks.db")
        monkeypatch.setattr(engine.dialect, "name", "mysql")
        with pytest.raises(ConfigurationError, match="PostgreSQL, not mysql"):
            SqlInbox(engine)

    def test_a_missing_driver_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And how to install it."""
        monkeypatch.setitem(sys.modules, "asyncpg", None)
        with pytest.raises(ConfigurationError, match=r"asyncpg .*pip install"):
            SqlInbox("postgresql+asyncpg://shop:hunter2@localhost/shop")

    def test_without_sqlalchemy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The import says what to install."""
        monkeypatch.setitem(sys.modules, "sqlalchemy", None)
        monkeypatch.delitem(sys.modules, sql.__name__)
        with pytest.raises(ImportError, match=r"pip install 'aurpay-async\[sql\]'"):
            importlib.import_module(sql.__name__)
