"""One contract for all inboxes, and the guarantees of a database."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import sys
import traceback
from contextlib import closing
from datetime import timedelta
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from aurpay_async._core.clock import SystemClock
from aurpay_async._db.engine import execute_and_commit
from aurpay_async.callbacks import sql
from aurpay_async.callbacks._identity import LEASE, REMEMBER, Claim, MemoryInbox, Taken
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import (
    ClaimExpiredError,
    ConfigurationError,
    StoreUnavailableError,
)
from aurpay_async.testing import FakeClock

from ..conftest import examples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aurpay_async.callbacks._identity import InboxStore, Kind

REPEATED, SUPERSEDED, BUSY = Taken.REPEATED, Taken.SUPERSEDED, Taken.BUSY
LEASE_S = LEASE.total_seconds()
KEY = "0123456789abcdef01234567"
CHANGE = "UPDATE aurpay_callbacks SET"


class Skewed(SystemClock):
    """The clock of a machine that is fast or slow."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return the time of this machine."""
        return super().now() + self._ahead


@pytest.fixture
def clock() -> FakeClock:
    """Return the clock that all inboxes of a test share."""
    return FakeClock()


def database(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of an empty database of the requested kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql_url")
        return url
    return f"sqlite+aiosqlite:///{folder}/callbacks.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of each database in turn."""
    return database(request, tmp_path)


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Yield the shop's engine, with a table that counts the effects of its handlers."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE effects (payment TEXT)"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def shared(url: str, clock: FakeClock) -> AsyncIterator[SqlInbox]:
    """Yield an inbox in each database in turn."""
    async with SqlInbox(url, clock=clock) as inbox:
        await inbox.create_tables()
        yield inbox


@pytest.fixture
async def local(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqlInbox]:
    """Yield an inbox in SQLite."""
    path = tmp_path / "local.db"
    async with SqlInbox(f"sqlite+aiosqlite:///{path}", clock=clock) as inbox:
        await inbox.create_tables()
        yield inbox


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def inbox(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[InboxStore]:
    """Yield each inbox in turn."""
    if request.param == "memory":
        yield MemoryInbox(clock=clock)
        return
    async with SqlInbox(database(request, tmp_path), clock=clock) as inbox:
        await inbox.create_tables()
        yield inbox


async def claim_order(inbox: InboxStore, kind: Kind = "paid", key: str = KEY) -> Claim:
    claim = await inbox.claim(key, kind)
    assert isinstance(claim, Claim), claim
    return claim


async def count_effects(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        count = await connection.scalar(text("SELECT count(*) FROM effects"))
        return int(count or 0)


async def take_effect(connection: AsyncConnection | AsyncSession) -> None:
    await connection.execute(text("INSERT INTO effects VALUES ('one')"))


async def handle(engine: AsyncEngine, inbox: InboxStore, claim: Claim) -> None:
    async with engine.begin() as connection:
        await take_effect(connection)
        await inbox.confirm(claim, "paid", connection)


class TestEveryInbox:
    """The contract that the processor relies on."""

    async def test_first_claim_of_an_order_has_no_previous_record(
        self, inbox: InboxStore
    ) -> None:
        claim = await claim_order(inbox)
        assert (claim.key, claim.previous) == (KEY, None)

    async def test_claim_is_held_until_released_or_confirmed(
        self, inbox: InboxStore
    ) -> None:
        claim = await claim_order(inbox)
        assert await inbox.holds(claim)
        await inbox.release(claim)
        assert not await inbox.holds(claim)
        claim = await claim_order(inbox)
        await inbox.confirm(claim, "unconfirmed_paid")
        assert not await inbox.holds(claim)
        assert (await claim_order(inbox)).previous == "unconfirmed_paid"

    @pytest.mark.parametrize(
        ("handled", "kind", "answer"),
        [
            ("paid", "paid", REPEATED),
            ("paid", "timeout", SUPERSEDED),
            ("timeout", "timeout", REPEATED),
            ("timeout", "paid", None),
        ],
    )
    async def test_handled_kind_decides_the_next_claim(
        self, inbox: InboxStore, handled: Kind, kind: Kind, answer: Taken | None
    ) -> None:
        await inbox.confirm(await claim_order(inbox, handled), handled)
        taken = await inbox.claim(KEY, kind)
        if answer is None:
            assert isinstance(taken, Claim)
            assert taken.previous == handled
        else:
            assert taken is answer

    @pytest.mark.parametrize("kind", ["paid", "timeout"])
    async def test_second_claim_of_an_order_is_busy(
        self, inbox: InboxStore, kind: Kind
    ) -> None:
        await claim_order(inbox)
        assert await inbox.claim(KEY, kind) is BUSY
        await claim_order(inbox, key="another")

    async def test_repeated_takes_precedence_over_busy(self, inbox: InboxStore) -> None:
        await inbox.confirm(await claim_order(inbox, "timeout"), "timeout")
        await claim_order(inbox, "paid")
        assert await inbox.claim(KEY, "timeout") is REPEATED
        assert await inbox.claim(KEY, "paid") is BUSY

    async def test_timeout_claim_can_be_confirmed_as_paid(
        self, inbox: InboxStore
    ) -> None:
        await inbox.confirm(await claim_order(inbox, "timeout"), "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED

    async def test_released_order_can_be_claimed_at_once(
        self, inbox: InboxStore
    ) -> None:
        await inbox.release(await claim_order(inbox, "timeout"))
        await inbox.confirm(await claim_order(inbox, "timeout"), "timeout")
        await inbox.release(await claim_order(inbox, "paid"))
        assert await inbox.claim(KEY, "timeout") is REPEATED
        assert (await claim_order(inbox, "paid")).previous == "timeout"

    async def test_lease_ends_to_the_millisecond(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        await claim_order(inbox)
        clock.advance(LEASE_S - 0.001)
        assert await inbox.claim(KEY, "paid") is BUSY
        clock.advance(0.001)
        await claim_order(inbox)
        assert await inbox.claim(KEY, "paid") is BUSY

    async def test_lease_has_the_requested_length(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        await inbox.claim(KEY, "paid", timedelta(hours=1))
        clock.advance(3599)
        assert await inbox.claim(KEY, "paid") is BUSY
        clock.advance(1)
        await claim_order(inbox)

    async def test_confirming_after_the_lease_succeeds_without_another_claim(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        claim = await claim_order(inbox)
        clock.advance(10 * LEASE_S)
        await inbox.confirm(claim, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED

    async def test_expired_claim_cannot_confirm_or_release_the_next_one(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        old = await claim_order(inbox)
        clock.advance(LEASE_S)
        new = await claim_order(inbox)
        with pytest.raises(ClaimExpiredError, match="lease") as caught:
            await inbox.confirm(old, "paid")
        assert caught.value.rule == "lease"
        await inbox.release(old)
        assert await inbox.claim(KEY, "paid") is BUSY
        await inbox.confirm(new, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED

    async def test_claim_can_be_ended_only_once(self, inbox: InboxStore) -> None:
        claim = await claim_order(inbox)
        await inbox.confirm(claim, "paid")
        await inbox.release(claim)
        with pytest.raises(ClaimExpiredError):
            await inbox.confirm(claim, "paid")
        released = await claim_order(inbox, key="another")
        await inbox.release(released)
        with pytest.raises(ClaimExpiredError):
            await inbox.confirm(released, "paid")

    async def test_one_of_fifty_concurrent_claims_wins(
        self, inbox: InboxStore, clock: FakeClock
    ) -> None:
        for _ in range(2):
            asked = [inbox.claim(KEY, "paid") for _ in range(50)]
            answers = await asyncio.gather(*asked)
            assert sum(isinstance(answer, Claim) for answer in answers) == 1
            assert answers.count(BUSY) == 49
            clock.advance(LEASE_S)

    async def test_confirm_rejects_a_value_that_is_no_connection(
        self, inbox: InboxStore
    ) -> None:
        claim = await claim_order(inbox)
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


async def run_steps(inbox: InboxStore, clock: FakeClock, steps: list[Any]) -> list[Any]:
    """Return the answers of an inbox to a sequence of steps."""
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


@examples(8)
@given(st.lists(CLAIMS | ENDS | PAUSES, min_size=5, max_size=25))
async def test_sql_inbox_answers_like_memory_inbox_for_any_sequence(
    steps: list[Any],
) -> None:
    memory = MemoryInbox(clock=(clock := FakeClock()))
    expected = await run_steps(memory, clock, steps)
    with TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/callbacks.db"
        async with SqlInbox(url, clock=(clock := FakeClock())) as inbox:
            await inbox.create_tables()
            assert await run_steps(inbox, clock, steps) == expected


class TestSharing:
    """Several processes on one database."""

    async def test_two_inboxes_on_one_database_share_their_records(
        self, shared: SqlInbox, url: str, clock: FakeClock
    ) -> None:
        async with SqlInbox(url, clock=clock) as other:
            claim = await claim_order(shared)
            assert await other.claim(KEY, "paid") is BUSY
            await other.confirm(claim, "paid")
        await shared.aclose()
        async with SqlInbox(url, clock=clock) as reopened:
            assert await reopened.claim(KEY, "paid") is REPEATED

    async def test_one_of_fifty_claims_from_five_inboxes_wins(
        self, shared: SqlInbox, url: str, clock: FakeClock
    ) -> None:
        inboxes = [shared, *(SqlInbox(url, clock=clock) for _ in range(4))]
        asked = [inbox.claim(KEY, "paid") for inbox in inboxes for _ in range(10)]
        answers = await asyncio.gather(*asked)
        for inbox in inboxes:
            await inbox.aclose()
        assert sum(isinstance(answer, Claim) for answer in answers) == 1
        assert answers.count(BUSY) == 49

    async def test_create_tables_is_safe_concurrently_and_repeatedly(
        self, url: str
    ) -> None:
        inboxes = [SqlInbox(url) for _ in range(5)]
        for _ in range(2):
            await asyncio.gather(*(inbox.create_tables() for inbox in inboxes))
        await claim_order(inboxes[0])
        for inbox in inboxes:
            await inbox.aclose()

    async def test_create_tables_retries_if_another_process_creates_them(
        self, tmp_path: Path
    ) -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/callbacks.db")
        errors = ["aurpay_callbacks already exists"]

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def raise_once(*_: object) -> None:
            if errors:
                raise IntegrityError(None, None, Exception(errors.pop()))

        inbox = SqlInbox(engine)
        await inbox.create_tables()
        await claim_order(inbox)
        await engine.dispose()

    @pytest.mark.parametrize("ending", ["commit", "rollback"])
    async def test_claim_waits_for_an_open_transaction_that_confirms(
        self, postgresql_url: str, clock: FakeClock, ending: str
    ) -> None:
        engine = create_async_engine(postgresql_url)
        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        claim = await claim_order(inbox)
        async with engine.connect() as late:
            await inbox.confirm(claim, "paid", late)
            clock.advance(LEASE_S)
            second = asyncio.create_task(inbox.claim(KEY, "paid"))
            await wait_for_a_lock(engine)
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
            (
                "UPDATE",
                f"{CHANGE} token = 'other', lease_until = '2999-01-01 00:00:00.000000'",
                BUSY,
            ),
            ("UPDATE", f"{CHANGE} token = NULL", None),
            ("SELECT", "DELETE FROM aurpay_callbacks", None),
        ],
    )
    async def test_claim_is_decided_again_if_the_row_changes_between_two_statements(
        self,
        local: SqlInbox,
        clock: FakeClock,
        verb: str,
        statement: str,
        answer: Taken | None,
    ) -> None:
        await claim_order(local)
        clock.advance(LEASE_S)
        update_before(local, verb, [statement])
        taken = await local.claim(KEY, "paid")
        assert isinstance(taken, Claim) if answer is None else taken is answer

    async def test_claim_is_repeated_if_the_row_is_confirmed_between_two_statements(
        self, local: SqlInbox
    ) -> None:
        await local.release(await claim_order(local))
        update_before(local, "UPDATE", [f"{CHANGE} handled = 'paid'"])
        assert await local.claim(KEY, "paid") is REPEATED

    async def test_claim_gives_up_as_busy_after_five_concurrent_updates(
        self, local: SqlInbox, clock: FakeClock
    ) -> None:
        await claim_order(local)
        clock.advance(LEASE_S)
        update_before(local, "UPDATE", [f"{CHANGE} token = '{n}'" for n in range(5)])
        assert await local.claim(KEY, "paid") is BUSY
        await claim_order(local)


async def wait_for_a_lock(engine: AsyncEngine) -> None:
    """Return when a connection waits for the transaction of another one."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with engine.connect() as connection:
        while not await connection.scalar(query):
            pass


def update_before(inbox: SqlInbox, verb: str, changes: list[str]) -> None:
    """Have another process change the row before the inbox's next statements."""
    engine = inbox._database.engine.sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def before(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith(verb) and changes:
            with closing(sqlite3.connect(str(engine.url.database))) as other:
                other.execute(changes.pop())
                other.commit()


class TestTransactions:
    """The handler's effect and its record are committed together."""

    @pytest.mark.parametrize("kind", ["connection", "session"])
    async def test_confirmation_is_committed_or_rolled_back_with_the_handlers_effect(
        self, shared: SqlInbox, engine: AsyncEngine, kind: str
    ) -> None:
        claim = await claim_order(shared)
        async with (
            engine.connect() if kind == "connection" else AsyncSession(engine) as own
        ):
            await take_effect(own)
            await shared.confirm(claim, "paid", own)
            await own.rollback()
            await take_effect(own)
            await shared.confirm(claim, "paid", own)
            await own.commit()
        assert await count_effects(engine) == 1
        assert await shared.claim(KEY, "paid") is REPEATED

    async def test_confirmation_without_commit_leaves_the_claim_held(
        self, shared: SqlInbox, engine: AsyncEngine
    ) -> None:
        claim = await claim_order(shared)
        async with engine.connect() as connection:
            await shared.confirm(claim, "paid", connection)
            await connection.rollback()
        assert await shared.holds(claim)
        await handle(engine, shared, claim)
        assert not await shared.holds(claim)

    async def test_confirm_rejects_an_autocommit_connection(
        self, shared: SqlInbox, engine: AsyncEngine
    ) -> None:
        claim = await claim_order(shared)
        committing = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with committing.connect() as connection:
            with pytest.raises(ConfigurationError, match="transaction"):
                await shared.confirm(claim, "paid", connection)
        with pytest.raises(ConfigurationError, match="transaction"):
            await shared.confirm(claim, "paid", engine.connect())

    async def test_inbox_itself_works_on_an_autocommit_engine(
        self, url: str, clock: FakeClock
    ) -> None:
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        claim = await claim_order(inbox)
        async with engine.connect() as connection:
            with pytest.raises(ConfigurationError, match="transaction"):
                await inbox.confirm(claim, "paid", connection)
        await inbox.confirm(claim, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED
        await engine.dispose()

    async def test_inbox_works_on_a_sqlite_engine_with_explicit_begin(
        self, tmp_path: Path, clock: FakeClock
    ) -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'recipe.db'}")

        @event.listens_for(engine.sync_engine, "connect")
        def connected(driver: Any, _: object) -> None:
            driver.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def begun(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        claim = await claim_order(inbox)
        assert await inbox.claim(KEY, "paid") is BUSY
        await inbox.confirm(claim, "paid")
        assert await inbox.claim(KEY, "paid") is REPEATED
        await engine.dispose()

    async def test_confirm_does_not_commit_the_callers_transaction(
        self, shared: SqlInbox, engine: AsyncEngine
    ) -> None:
        claim = await claim_order(shared)
        async with engine.connect() as connection:
            await take_effect(connection)
            await shared.confirm(claim, "paid", connection)
        assert await count_effects(engine) == 0
        await shared.release(claim)
        await claim_order(shared)

    async def test_expired_lease_rolls_the_handlers_effect_back(
        self, shared: SqlInbox, engine: AsyncEngine, clock: FakeClock
    ) -> None:
        old = await claim_order(shared)
        clock.advance(LEASE_S)
        new = await claim_order(shared)
        with pytest.raises(ClaimExpiredError):
            await handle(engine, shared, old)
        assert await count_effects(engine) == 0
        await handle(engine, shared, new)
        assert await count_effects(engine) == 1

    async def test_concurrent_claims_work_at_serializable_isolation(
        self, url: str, clock: FakeClock
    ) -> None:
        engine = create_async_engine(url, isolation_level="SERIALIZABLE")
        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        for _ in range(2):
            asked = [inbox.claim(KEY, "paid") for _ in range(20)]
            answers = await asyncio.gather(*asked)
            assert sum(isinstance(answer, Claim) for answer in answers) == 1
            clock.advance(LEASE_S)
        await engine.dispose()


class TestPruning:
    """The table can be bounded."""

    async def test_prune_deletes_rows_that_were_not_updated_for_long(
        self, shared: SqlInbox, clock: FakeClock
    ) -> None:
        await shared.confirm(await claim_order(shared, key="handled"), "paid")
        await shared.release(await claim_order(shared, key="released"))
        await claim_order(shared, key="left")
        late = await claim_order(shared, key="late")
        clock.advance(REMEMBER.total_seconds() - 0.001)
        await shared.confirm(late, "paid")
        assert await shared.prune() == 0
        clock.advance(0.001)
        assert await shared.prune() == 3
        assert await shared.claim("late", "paid") is REPEATED
        await claim_order(shared, key="handled")

    async def test_prune_keeps_claimed_rows(
        self, shared: SqlInbox, clock: FakeClock
    ) -> None:
        await claim_order(shared)
        assert await shared.prune(timedelta(0)) == 0
        clock.advance(LEASE_S)
        assert await shared.prune(timedelta(0)) == 1

    async def test_prune_deletes_all_old_rows_in_batches(
        self, shared: SqlInbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each batch is a transaction; the last one finds no row."""
        monkeypatch.setattr(sql, "_BATCH", 2)
        deletions: list[str] = []

        @event.listens_for(shared._database.engine.sync_engine, "before_cursor_execute")
        def count(_: Any, __: Any, statement: str, *___: Any) -> None:
            deletions.append(statement.split(maxsplit=1)[0])

        for rows, batches in ((0, 1), (1, 2), (4, 3), (5, 4)):
            for row in range(rows):
                await shared.release(await claim_order(shared, key=str(row)))
            clock.advance(REMEMBER.total_seconds())
            deletions.clear()
            assert await shared.prune() == rows
            assert deletions == ["DELETE"] * batches

    async def test_batch_that_another_process_shortened_is_not_the_last(
        self, shared: SqlInbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sql, "_BATCH", 2)
        for key in ("1", "2", "3"):
            await shared.release(await claim_order(shared, key=key))
            clock.advance(1)
        clock.advance(REMEMBER.total_seconds())

        async def shorten(connection: Any, statement: Any, *values: Any) -> Any:
            done = await execute_and_commit(connection, statement, *values)
            return SimpleNamespace(rowcount=min(done.rowcount, 1))

        monkeypatch.setattr(sql, "execute_and_commit", shorten)
        await shared.prune()
        monkeypatch.undo()
        assert await shared.prune() == 0

    @pytest.mark.parametrize("clock", [FakeClock(), None])
    async def test_lease_and_age_may_be_longer_than_the_calendar(
        self, url: str, clock: FakeClock | None
    ) -> None:
        """Without a fake clock, PostgreSQL computes the times."""
        async with SqlInbox(url, clock=clock) as inbox:
            await inbox.create_tables()
            for lease in (timedelta.max, timedelta(days=365 * 9000)):
                claim = await inbox.claim(KEY, "paid", lease)
                assert isinstance(claim, Claim)
                assert await inbox.claim(KEY, "paid") is BUSY
                assert await inbox.prune(lease) == 0
                await inbox.release(claim)


class TestCreation:
    """URLs and engines, valid and invalid."""

    async def test_inbox_leaves_a_given_engine_open(self, engine: AsyncEngine) -> None:
        async with SqlInbox(engine) as inbox:
            await inbox.create_tables()
        pool = engine.pool
        await count_effects(engine)
        assert engine.pool is pool

    async def test_closed_inbox_raises_a_configuration_error(
        self, local: SqlInbox
    ) -> None:
        await local.aclose()
        await local.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await local.claim(KEY, "paid")

    async def test_metadata_equals_the_created_inbox_table(
        self, shared: SqlInbox
    ) -> None:
        (table,) = SqlInbox.metadata.tables.values()
        async with shared._database.engine.connect() as connection:
            created = await connection.run_sync(
                lambda sync: inspect(sync).get_columns(table.name)
            )
        assert [column["name"] for column in created] == [c.name for c in table.columns]
        assert [column["nullable"] for column in created] == [
            c.nullable for c in table.columns
        ]

    @pytest.mark.parametrize("skew_s", [-3600, -121, -61, -30, 30, 61, 3600])
    async def test_machines_with_different_clocks_share_one_claim(
        self, postgresql_url: str, skew_s: int
    ) -> None:
        async with (
            SqlInbox(postgresql_url) as inbox,
            SqlInbox(postgresql_url, clock=Skewed(skew_s)) as other,
        ):
            await inbox.create_tables()
            claim = await claim_order(inbox)
            assert await other.claim(KEY, "paid") is BUSY
            assert await other.prune(timedelta(0)) == 0
            await other.confirm(claim, "timeout")
            assert await inbox.prune(timedelta(hours=1)) == 0
            later = await claim_order(other)
            assert await inbox.claim(KEY, "paid") is BUSY
            await inbox.confirm(later, "paid")

    async def test_claim_and_confirmation_are_one_statement_each(
        self, shared: SqlInbox, url: str
    ) -> None:
        statements: list[str] = []
        async with SqlInbox(url) as inbox:
            engine = inbox._database.engine.sync_engine

            @event.listens_for(engine, "before_cursor_execute")
            def count(_: Any, __: Any, statement: str, *___: Any) -> None:
                statements.append(statement.split(maxsplit=1)[0])

            await inbox.confirm(await claim_order(inbox), "paid")
            assert statements == ["INSERT", "UPDATE"]
            assert await inbox.claim(KEY, "paid") is REPEATED
            assert statements[2:] == ["INSERT", "SELECT"]
            await inbox.prune()
            assert statements[4:] == ["DELETE"]
            await inbox.ping()
            assert statements[5:] == ["SELECT"]

    @pytest.mark.parametrize(("query", "wait_ms"), [("", 15_000), ("?timeout=3", 3000)])
    async def test_sqlite_inbox_waits_for_another_writer(
        self, tmp_path: Path, query: str, wait_ms: int
    ) -> None:
        url = f"sqlite+aiosqlite:///{tmp_path}/callbacks.db{query}"
        async with (
            SqlInbox(url) as inbox,
            inbox._database.connect() as connection,
        ):
            assert await connection.scalar(text("PRAGMA busy_timeout")) == wait_ms

    async def test_database_error_becomes_store_unavailable_error_without_values(
        self, tmp_path: Path
    ) -> None:
        url = f"sqlite+aiosqlite:///{tmp_path}/callbacks.db"
        async with SqlInbox(url) as inbox:
            with pytest.raises(StoreUnavailableError, match="no such table"):
                await inbox.ping()
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
    def test_unsupported_database_url_is_rejected_without_the_password(
        self, url: Any, problem: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=problem) as caught:
            SqlInbox(url)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_unsupported_dialect_is_rejected(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = create_async_engine("sqlite+aiosqlite:///callbacks.db")
        monkeypatch.setattr(engine.dialect, "name", "mysql")
        with pytest.raises(ConfigurationError, match="PostgreSQL, not mysql"):
            SqlInbox(engine)

    def test_missing_database_driver_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "asyncpg", None)
        with pytest.raises(ConfigurationError, match=r"asyncpg .*pip install"):
            SqlInbox("postgresql+asyncpg://shop:hunter2@localhost/shop")

    def test_sql_inbox_without_sqlalchemy_names_the_extra_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sqlalchemy", None)
        monkeypatch.delitem(sys.modules, sql.__name__)
        with pytest.raises(ImportError, match=r"pip install 'aurpay-async\[sql\]'"):
            importlib.import_module(sql.__name__)
