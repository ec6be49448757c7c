"""Lists of attempts for operators, and the deletion of old references."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from aurpay_async import OrderStatus
from aurpay_async.errors import AurpayError, InvalidRequestError
from aurpay_async.orders import AttemptState, OrderStore, _repository
from aurpay_async.orders._models import Attention
from aurpay_async.orders._planner import attention_for

from .conftest import make_tables
from .platform import URLS
from .samples import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.orders import Attempt
    from aurpay_async.testing import FakeClock

    from .platform import Platform

S = AttemptState
DAY_S = 86_400
MONTH = timedelta(days=30)
YEAR = timedelta(days=365)

#: Seconds after which no order of these tests can be paid any more.
LAST_PAYMENT_S = 26 * 3600


@pytest.fixture
def server(postgresql_url: str) -> str:
    """The URL of a PostgreSQL database with empty tables."""
    make_tables(postgresql_url)
    return postgresql_url


async def opened(store: OrderStore, reference: str = "cart-42") -> LightningOrder:
    return await store.get_or_create(reference, "20.00", "USD", **URLS)


async def lose(store: OrderStore, platform: Platform, reference: str) -> None:
    platform.faults = ["lost+created"]
    with pytest.raises(AurpayError):
        await opened(store, reference)


async def expire(store: OrderStore, platform: Platform, clock: FakeClock) -> None:
    """Let all orders time out, and all invoices expire."""
    for order_id in platform.orders:
        if platform.orders[order_id]["status"] == "PENDING":
            platform.set(order_id, "OVERDUE")
    clock.advance(LAST_PAYMENT_S)
    while (await store.reconcile()).more:
        pass


async def pay(store: OrderStore, platform: Platform, order: LightningOrder) -> None:
    platform.set(order.order_id, "SUCCESS")
    await store.record(order_id=order.order_id)


async def references(store: OrderStore) -> list[str]:
    """Return the references of all rows, of both tables."""
    async with store.engine.connect() as connection:
        rows = await connection.scalars(
            text("SELECT reference FROM aurpay_references ORDER BY 1")
        )
        owners = await connection.scalars(
            text("SELECT DISTINCT reference FROM aurpay_attempts ORDER BY 1")
        )
        found = [*rows]
        assert found == [*owners]
    return found


def open_cart_2_during_deletion(store: OrderStore) -> None:
    """Insert an open attempt after the statement that chooses the references."""

    @event.listens_for(store.engine.sync_engine, "before_cursor_execute")
    def insert(connection: Any, _: Any, statement: str, *__: Any) -> None:
        if "reference IN (" in statement and statement.startswith("SELECT"):
            connection.exec_driver_sql(
                "UPDATE aurpay_attempts SET state = 'creating' "
                "WHERE reference = 'cart-2'"
            )


def ids(attempts: Sequence[Attempt]) -> list[str]:
    return [one.reference for one in attempts]


class TestLists:
    """Lists are bounded."""

    async def test_list_of_attempts_begins_with_the_newest_and_has_one_state(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        for number in range(4):
            order = await opened(store, f"cart-{number}")
            if number in {0, 2}:
                await pay(store, platform, order)
            clock.advance(1)
        assert ids(await store.list_attempts(limit=3)) == ["cart-3", "cart-2", "cart-1"]
        paid = await store.list_attempts(state=S.PAID)
        assert ids(paid) == ["cart-2", "cart-0"]
        assert ids(await store.list_attempts(state=S.PAID, limit=1)) == ["cart-2"]
        assert await store.list_attempts(state=S.OVERDUE) == []

    async def test_lists_for_a_person_begin_with_the_oldest_and_stop_at_the_limit(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        for number in range(3):
            order = await opened(store, f"cart-{number}")
            platform.set(order.order_id, "OVERDUE")
            clock.advance(1900)
            await store.record(order_id=order.order_id)
            await pay(store, platform, await opened(store, f"cart-{number}"))
            await pay(store, platform, order)
            other = await opened(store, f"cart-{number}-x")
            platform.set(other.order_id, "PARTIAL")
            await store.record(order_id=other.order_id)
        assert ids(await store.duplicate_payments(2)) == ["cart-0", "cart-1"]
        assert ids(await store.needs_review(2)) == ["cart-0-x", "cart-1-x"]
        assert len(await store.duplicate_payments()) == 3
        assert len(await store.needs_review()) == 3

    @pytest.mark.slow
    async def test_unpaid_candidates_do_not_hide_a_paid_one_behind_the_limit(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        for number in range(3):
            await lose(local, platform, f"cart-{number}")
            clock.advance(4000)
            await local.reconcile()
        assert await local.needs_review() == []
        platform.set(max(platform.orders), "SUCCESS")
        clock.advance(4000)
        await local.reconcile()
        assert ids(await local.needs_review(1)) == ["cart-2"]

    @pytest.mark.parametrize("limit", [0, 1001, -1, 1.0, True, None, "10"])
    async def test_lists_reject_a_limit_outside_of_1_to_1000(
        self, local: OrderStore, limit: Any
    ) -> None:
        for call in (local.duplicate_payments, local.needs_review):
            with pytest.raises(InvalidRequestError, match=r"limit: .* 1 to 1,000, got"):
                await call(limit)
        with pytest.raises(InvalidRequestError, match=r"limit: .* 1 to 1,000, got"):
            await local.list_attempts(limit=limit)

    async def test_list_of_attempts_rejects_a_state_that_does_not_exist(
        self, local: OrderStore
    ) -> None:
        wrong: Any
        for wrong in ("settled", 7):
            with pytest.raises(InvalidRequestError, match=r"state: .* AttemptState"):
                await local.list_attempts(state=wrong)


@pytest.mark.parametrize(
    ("state", "fields", "attention"),
    [
        (S.DUPLICATE, {}, Attention.REFUND),
        (S.PAYMENT_REPORTED, {}, Attention.REVIEW),
        (S.CANDIDATES_FOUND, {"candidates": {"1": "SUCCESS"}}, Attention.REVIEW),
        (S.CANDIDATES_FOUND, {"candidates": {"1": "PARTIAL"}}, Attention.REVIEW),
        (S.CANDIDATES_FOUND, {"candidates": {"1": "PENDING"}}, None),
        (S.PAYABLE, {"status": "PARTIAL"}, Attention.REVIEW),
        (S.OVERDUE, {"status": "TERMINATED"}, Attention.REVIEW),
        (S.WITHHELD, {"status": "NEW"}, Attention.REVIEW),
        (S.EXPIRED, {"status": "PARTIAL"}, Attention.REVIEW),
        (S.EXPIRED, {"status": "OVERDUE"}, None),
        (S.PAYABLE, {"status": "PENDING"}, None),
        (S.PAYABLE, {}, None),
        (S.PAID, {"status": "PARTIAL"}, None),
        (S.CREATING, {}, None),
    ],
)
def test_state_and_status_of_an_attempt_say_what_a_person_has_to_do(
    state: S, fields: dict[str, Any], attention: Attention | None
) -> None:
    if "status" in fields:
        fields = {"status": OrderStatus(fields["status"])}
    if "candidates" in fields:
        candidates = fields["candidates"].items()
        fields = {"candidates": {name: OrderStatus(one) for name, one in candidates}}
    assert attention_for(attempt(state, **fields)) is attention


class TestPruning:
    """Old references are deleted, unless a payment may still concern them."""

    async def test_unpaid_references_are_deleted_when_they_are_old(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """The age is the time since the last payment could have arrived."""
        await opened(store, "expired")
        platform.faults = ["refused"]
        with pytest.raises(AurpayError):
            await opened(store, "rejected")
        await expire(store, platform, clock)
        [last] = await store.attempts("expired")
        assert last.state is S.EXPIRED
        age_s = (last.payable_until + MONTH - clock.now()).total_seconds()
        clock.advance(age_s - 0.001)
        await opened(store, "new")
        assert await store.prune() == 0
        clock.advance(0.001)
        assert await store.prune() == 2
        assert await references(store) == ["new"]
        assert await store.prune() == 0

    async def test_paid_references_are_kept_unless_their_age_is_given(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await opened(store, "paid")
        await pay(store, platform, first)
        refunded = await opened(store, "refunded")
        await pay(store, platform, refunded)
        platform.set(refunded.order_id, "REFUNDED")
        await store.record(order_id=refunded.order_id)
        await opened(store, "expired")
        await expire(store, platform, clock)
        clock.advance(YEAR.total_seconds() - DAY_S)
        assert await store.prune(paid_older_than=YEAR) == 1
        assert await references(store) == ["paid", "refunded"]
        assert (await opened(store, "paid")).order_id == first.order_id
        clock.advance(2 * DAY_S)
        assert await store.prune() == 0
        assert await store.prune(paid_older_than=YEAR) == 2
        assert await references(store) == []
        # Its rows were what made the call idempotent.
        assert (await opened(store, "paid")).order_id != first.order_id

    @pytest.mark.slow
    async def test_reference_stays_while_an_attempt_of_it_is_open(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """One has a duplicate payment, and the others are polled or need review."""
        for reference in ("duplicate", "pending", "partial", "reported", "replaced"):
            await opened(local, reference)
        orders = {
            name: (await local.attempts(name))[0].order_id or ""
            for name in await references(local)
        }
        for name in ("duplicate", "replaced"):
            platform.set(orders[name], "OVERDUE")
        platform.set(orders["partial"], "PARTIAL")
        clock.advance(1900)
        second = await opened(local, "duplicate")
        await pay(local, platform, second)
        platform.set(orders["duplicate"], "SUCCESS")
        await local.record(order_id=orders["duplicate"])
        await lose(local, platform, "candidate")
        platform.set(max(platform.orders), "SUCCESS")
        platform.set(orders["reported"], "OVERDUE")
        clock.advance(LAST_PAYMENT_S)
        while (await local.reconcile()).more:
            pass
        await opened(local, "replaced")  # beside an expired order
        async with local.engine.begin() as connection:
            # As after an unconfirmed callback: it is to be polled.
            await connection.execute(
                text(
                    "UPDATE aurpay_attempts SET next_poll_at = created_at "
                    "WHERE reference = 'reported'"
                )
            )
        everything = await references(local)
        assert len(everything) == 6
        clock.advance(2 * YEAR.total_seconds())
        assert await local.prune(timedelta(days=7), paid_older_than=YEAR) == 0
        assert await references(local) == everything

    @pytest.mark.slow
    async def test_each_state_of_an_attempt_says_if_its_reference_can_be_deleted(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        for state in S:
            await opened(local, str(state))
        await expire(local, platform, clock)
        async with local.engine.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE aurpay_attempts SET state = reference, next_poll_at = NULL"
                )
            )
        clock.advance(YEAR.total_seconds())
        assert await local.prune() == 5
        done = {S.REJECTED, S.NOT_FOUND, S.PAID, S.REFUNDED, S.EXPIRED}
        assert {*await references(local)} == {str(state) for state in {*S} - done}

    @pytest.mark.slow
    async def test_references_are_deleted_in_batches(
        self,
        store: OrderStore,
        platform: Platform,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Each batch is a transaction."""
        monkeypatch.setattr(_repository, "BATCH", 2)
        deleted: list[str] = []

        @event.listens_for(store.engine.sync_engine, "before_cursor_execute")
        def count(_: Any, __: Any, statement: str, *___: Any) -> None:
            if statement.startswith("DELETE FROM aurpay_references"):
                deleted.append(statement)

        for rows, batches in ((0, 0), (1, 1), (4, 2), (5, 3)):
            for row in range(rows):
                await opened(store, f"cart-{row}")
            await expire(store, platform, clock)
            clock.advance(YEAR.total_seconds())
            deleted.clear()
            assert await store.prune() == rows
            assert len(deleted) == batches
        assert await references(store) == []

    async def test_attempt_that_is_inserted_during_the_deletion_keeps_its_reference(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """PostgreSQL does not show it to the statement that chooses the references."""
        for reference in ("cart-1", "cart-2"):
            await opened(store, reference)
        await expire(store, platform, clock)
        clock.advance(YEAR.total_seconds())

        open_cart_2_during_deletion(store)
        assert await store.prune() == 1
        assert await references(store) == ["cart-2"]

    async def test_batch_from_which_a_reference_was_excluded_is_not_the_last(
        self,
        store: OrderStore,
        platform: Platform,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(_repository, "BATCH", 2)
        for reference in ("cart-1", "cart-2", "cart-3"):
            await opened(store, reference)
            clock.advance(1)
        await expire(store, platform, clock)
        clock.advance(YEAR.total_seconds())

        open_cart_2_during_deletion(store)
        assert await store.prune() == 2
        assert await references(store) == ["cart-2"]

    async def test_reference_that_another_transaction_has_locked_is_not_waited_for(
        self, client: AurpayClient, platform: Platform, clock: FakeClock, server: str
    ) -> None:
        async with OrderStore(client, server) as store:
            for reference in ("cart-1", "cart-2"):
                await opened(store, reference)
            await expire(store, platform, clock)
            clock.advance(YEAR.total_seconds())
            async with store.engine.begin() as connection:
                await connection.execute(
                    text(
                        "SELECT * FROM aurpay_references WHERE reference = 'cart-1' "
                        "FOR UPDATE"
                    )
                )
                assert await store.prune() == 1
            assert await references(store) == ["cart-1"]

    async def test_reference_that_is_deleted_while_a_call_waits_for_it_is_created_anew(
        self, client: AurpayClient, platform: Platform, clock: FakeClock, server: str
    ) -> None:
        async with OrderStore(client, server) as store:
            first = await opened(store)
            await expire(store, platform, clock)
            async with store.engine.begin() as connection:
                # As `prune` does: the row is locked first, and deleted later.
                await connection.execute(
                    text("SELECT * FROM aurpay_references FOR UPDATE")
                )
                call = asyncio.create_task(opened(store))
                waits = text(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE wait_event_type = 'Lock'"
                )
                while await connection.scalar(waits) == 0:
                    await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
                await connection.execute(text("DELETE FROM aurpay_attempts"))
                await connection.execute(text("DELETE FROM aurpay_references"))
            assert (await call).order_id != first.order_id
            assert len(await store.attempts("cart-42")) == 1

    async def test_reference_that_is_deleted_before_it_is_locked_is_inserted_again(
        self, local: OrderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On PostgreSQL, the insert and the lock are two statements."""
        await opened(local)
        rows = local._repository.rows
        deletions = ["DELETE FROM aurpay_attempts", "DELETE FROM aurpay_references"]
        monkeypatch.setattr(rows.database, "is_sqlite", False)

        @event.listens_for(local.engine.sync_engine, "before_cursor_execute")
        def delete(connection: Any, _: Any, statement: str, *__: Any) -> None:
            if statement.startswith("SELECT aurpay_references.reference \nFROM"):
                while deletions:
                    connection.exec_driver_sql(deletions.pop(0))

        async with rows.writing() as connection:
            entry = await rows.begin(connection, "cart-42", Decimal(20), "USD")
        assert deletions == []
        assert (entry.reference, entry.attempts) == ("cart-42", [])

    @pytest.mark.parametrize(
        "age", [timedelta(days=6), timedelta(0), timedelta.max, None, 30]
    )
    async def test_prune_rejects_ages_that_are_too_short_or_too_long(
        self, local: OrderStore, age: Any
    ) -> None:
        wrong = r"older_than: .* 7 days to 36,500"
        with pytest.raises(InvalidRequestError, match=wrong):
            await local.prune(age)
        if age is not None:
            wrong = r"paid_older_than: .* 90 days to 36,500"
            with pytest.raises(InvalidRequestError, match=wrong):
                await local.prune(paid_older_than=age)

    async def test_prune_accepts_the_longest_age(self, store: OrderStore) -> None:
        await opened(store)
        longest = timedelta(days=36_500)
        assert await store.prune(longest, paid_older_than=longest) == 0
