"""Create orders: each reference has one payable order, crashes or not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from sqlalchemy import event, text

from aurpay_async import RequestOutcome
from aurpay_async.errors import (
    AurpayError,
    ConnectError,
    ConnectionLostError,
    InvalidResponseError,
    OrderMismatchError,
    PermissionDeniedError,
    ReferenceConflictError,
    ServerError,
    StoreUnavailableError,
    UntrustedOrderError,
)
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.orders._repository import Key
from aurpay_async.sandbox import _ledger

from ..support.orders import build_detail, build_response, wrap_data
from .conftest import client_of
from .platform import URLS

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.orders import Attempt
    from aurpay_async.testing import FakeClock

    from .platform import Platform

S = AttemptState
#: The deadline of a create call: 30 s of the client, plus 20 s.
CALL_S = 50
HALF_AN_HOUR_S = 1800
DAY_S = 86_400


async def opened(store: OrderStore, price: str = "20.00") -> LightningOrder:
    return await store.get_or_create("cart-42", price, "USD", **URLS)


async def failed(store: OrderStore) -> AurpayError:
    with pytest.raises(AurpayError) as caught:
        await opened(store)
    return caught.value


async def states(store: OrderStore) -> list[AttemptState]:
    """Return the states of a reference's attempts, newest first."""
    return [attempt.state for attempt in await store.attempts("cart-42")]


async def only(store: OrderStore) -> Attempt:
    [attempt] = await store.attempts("cart-42")
    return attempt


async def start_call(store: OrderStore, platform: Platform) -> asyncio.Task[Any]:
    """Start a create call that the platform answers once `go` is set."""
    platform.faults.insert(0, "wait")
    before = platform.calls["create_order"]
    task = asyncio.create_task(opened(store))
    while platform.calls["create_order"] == before:
        assert not task.done(), task.result()
        await asyncio.sleep(0.001)
    return task


class TestOnce:
    """Concurrent and repeated calls for one reference create one order."""

    async def test_created_order_is_stored_under_the_attempt_id_of_its_callbacks(
        self, store: OrderStore, platform: Platform
    ) -> None:
        order = await opened(store)
        attempt = await only(store)
        assert (attempt.state, attempt.order) == (S.PAYABLE, order)
        assert (
            order.attempt_id
            == attempt.attempt_id
            == platform.attempt_id(order.order_id)
        )
        assert order.reference == attempt.reference == "cart-42"
        assert attempt.order_id == order.order_id
        assert attempt.created_at == datetime(2026, 1, 1, tzinfo=UTC)
        assert attempt.next_poll_at == attempt.created_at + timedelta(minutes=2)
        # The invoice expires after a day.
        assert attempt.payable_until == attempt.created_at + timedelta(hours=25)

    async def test_order_is_polled_until_an_hour_after_its_invoice_expires(
        self, local: OrderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_ledger, "_EXPIRY", timedelta(days=7))
        await opened(local)
        attempt = await only(local)
        assert attempt.payable_until == attempt.created_at + timedelta(days=7, hours=1)

    async def test_same_reference_returns_the_same_order_in_each_process(
        self, store: OrderStore, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        """The price may be written in different ways."""
        order = await opened(store)
        assert await opened(store, "20") == order
        async with OrderStore(client, url) as another:
            assert await opened(another) == order
        assert platform.calls["create_order"] == 1

    async def test_a_hundred_concurrent_callers_share_one_request(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        orders = await asyncio.gather(*(opened(store) for _ in range(100)))
        assert len({order.order_id for order in orders}) == 1
        assert platform.calls["create_order"] == 1
        assert clock.sleeps == []

    async def test_a_hundred_concurrent_callers_each_get_an_error_of_one_request(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """A later call sends another request."""
        await local.attempts("cart-42")  # the schema is checked: all begin in one turn
        platform.faults = ["refused"]
        calls = (opened(local) for _ in range(100))
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(failure) for failure in failures} == {PermissionDeniedError}
        assert len({id(failure) for failure in failures}) == 100
        assert platform.calls["create_order"] == 1
        await opened(local)

    async def test_caller_between_the_end_of_a_call_and_its_cleanup_sends_a_new_call(
        self, local: OrderStore, platform: Platform, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opener, turns = local._order_opener, local._order_opener._in_flight
        late: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setattr(opener, "_on_done", lambda *ended: late.append(ended))
            platform.faults = ["refused"]
            await failed(local)
        [(key, ended)] = late
        second = await start_call(local, platform)
        opener._on_done(key, ended)
        assert turns[key].task is not ended
        platform.go.set()
        assert (await second).reference == "cart-42"
        assert turns == {}

    async def test_another_machine_polls_for_an_order_that_is_being_created(
        self, store: OrderStore, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        first = await start_call(store, platform)
        async with OrderStore(client, url, clock=Waiting()) as another:
            second = asyncio.create_task(opened(another))
            await asyncio.sleep(0.05)
            assert not second.done()
            platform.go.set()
            assert await second == await first
        assert platform.calls["create_order"] == 1

    async def test_attempt_is_committed_before_the_request_is_sent(
        self, store: OrderStore, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        first = await start_call(store, platform)
        async with OrderStore(client, url) as another:
            attempt = await only(another)
        assert attempt.state is S.CREATING
        assert attempt.deadline == attempt.created_at + timedelta(seconds=CALL_S)
        platform.go.set()
        assert (await first).attempt_id == attempt.attempt_id

    async def test_get_or_create_with_another_price_is_a_reference_conflict(
        self, store: OrderStore, platform: Platform
    ) -> None:
        """No request is sent, even if both calls run at the same time."""
        prices = ("20.00", "21.00")
        both = await asyncio.gather(
            *(opened(store, price) for price in prices), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in both) == [
            "LightningOrder",
            "ReferenceConflictError",
        ]
        with pytest.raises(ReferenceConflictError, match="5 USD was requested"):
            await opened(store, "5")
        assert platform.calls["create_order"] == 1

    async def test_cancelled_caller_does_not_cancel_the_create_call(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """Servers cancel a handler when its client disconnects."""
        first = await start_call(local, platform)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        platform.go.set()
        await local._order_opener.finish()
        assert (await only(local)).state is S.PAYABLE
        await opened(local)
        assert platform.calls["create_order"] == 1

    async def test_aclose_waits_for_a_create_call_and_its_order_is_stored(
        self, local: OrderStore, platform: Platform, client: AurpayClient
    ) -> None:
        first = await start_call(local, platform)
        asyncio.get_running_loop().call_later(0.01, platform.go.set)
        url = local.engine.url.render_as_string()
        await local.aclose()
        async with OrderStore(client, url) as another:
            assert (await only(another)).state is S.PAYABLE
        assert first.done() or await first

    async def test_aclose_waits_for_all_steps_of_a_call(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """The first step can be to find out that the last order is overdue."""
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        clock.advance(HALF_AN_HOUR_S)
        second = asyncio.create_task(opened(local))
        while not local._order_opener._in_flight:
            await asyncio.sleep(0)
        await local.aclose()
        assert (await second).order_id != order.order_id

    async def test_cancelled_aclose_does_not_cancel_the_create_call(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """A server that shuts down has little time."""
        first = await start_call(local, platform)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await local.aclose()
        platform.go.set()
        order = await first
        assert (await only(local)).order_id == order.order_id

    @pytest.mark.parametrize("is_live", [True, False])
    async def test_stale_read_without_a_lock_causes_no_busy_loop(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
        is_live: bool,
    ) -> None:
        """The locked rows decide; the call sleeps, or returns the order."""
        first = await start_call(local, platform)
        rows, read = local._repository.rows, local._repository.rows.entry
        async with rows.database.connect() as connection:
            seen = await read(connection, Key("cart-42", "reference"))
        assert seen is not None
        if is_live:
            platform.go.set()
            await first

        async def behind(*arguments: Any, lock: bool = False) -> Any:
            if lock:
                return await read(*arguments, lock=True)
            if clock.sleeps:
                platform.go.set()
                await asyncio.wait({first})
            return attrs.evolve(seen, now=seen.now + timedelta(hours=1))

        monkeypatch.setattr(rows, "entry", behind)
        monkeypatch.setattr(local._order_opener, "_in_flight", {})
        async with asyncio.timeout(60):
            assert await opened(local) == await first
        assert clock.sleeps == ([] if is_live else [0.1])


class Waiting:
    """A clock that stands still and yields to other tasks in `sleep`."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds == 0.1
        await asyncio.sleep(0.005)


class TestFailures:
    """State after a failed create call."""

    @pytest.mark.parametrize(
        ("fault", "outcome"),
        [("unsent", RequestOutcome.NOT_SENT), ("refused", RequestOutcome.REJECTED)],
    )
    async def test_after_a_rejected_request_the_next_call_creates_without_a_search(
        self, local: OrderStore, platform: Platform, fault: str, outcome: RequestOutcome
    ) -> None:
        platform.faults = [fault]
        assert (await failed(local)).outcome is outcome
        assert (await only(local)).next_poll_at is None
        order = await opened(local)
        assert {*await states(local)} == {S.PAYABLE, S.REJECTED}
        assert (await opened(local)).order_id == order.order_id
        assert platform.calls["list_orders"] == 0

    async def test_after_an_unknown_outcome_the_list_is_searched_before_another_create(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        platform.faults = ["lost"]
        error = await failed(store)
        assert error.outcome is RequestOutcome.UNKNOWN
        attempt = await only(store)
        assert (attempt.state, attempt.last_polled_at) == (S.UNKNOWN, None)
        assert attempt.sent_at == error.sent_at == clock.now()
        assert attempt.attempt_id == (error.new_order and error.new_order.attempt_id)
        clock.advance(1)
        await opened(store)
        assert await states(store) == [S.PAYABLE, S.UNKNOWN]
        assert platform.calls == {"create_order": 2, "list_orders": 1}

    async def test_lost_order_becomes_a_candidate_and_another_order_is_shown(
        self, store: OrderStore, platform: Platform
    ) -> None:
        """No payer has seen the invoice of the lost order."""
        platform.faults = ["lost+created"]
        await failed(store)
        order = await opened(store)
        found, live = sorted(await store.attempts("cart-42"), key=lambda a: a.state)
        assert (found.state, live.state) == (S.CANDIDATES_FOUND, S.PAYABLE)
        [lost] = platform.orders.keys() - {order.order_id}
        assert found.candidates == {lost: "PENDING"}
        assert found.order_id is None

    @pytest.mark.slow
    async def test_order_of_another_cart_in_the_store_is_no_candidate(
        self, local: OrderStore, platform: Platform
    ) -> None:
        await local.get_or_create("cart-41", "20.00", "USD", **URLS)
        platform.faults = ["lost"]
        await failed(local)
        await opened(local)
        assert {*await states(local)} == {S.PAYABLE, S.UNKNOWN}

    @pytest.mark.parametrize("fault", ["untrusted", "cut"])
    async def test_untrusted_order_is_polled_by_its_id_without_a_search(
        self, local: OrderStore, platform: Platform, fault: str
    ) -> None:
        platform.faults = [fault]
        error = await failed(local)
        attempt = await only(local)
        assert (attempt.state, attempt.order_id) == (S.WITHHELD, error.order_id)
        assert attempt.order_id in platform.orders
        assert attempt.order is None
        order = await opened(local)
        assert order.order_id != attempt.order_id
        assert {*await states(local)} == {S.PAYABLE, S.WITHHELD}
        assert platform.calls == {"create_order": 2}

    async def test_failed_search_is_logged_and_does_not_block_the_next_order(
        self,
        local: OrderStore,
        platform: Platform,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The key may lack access to the list; `reconcile` retries."""
        for number, response in enumerate(
            (build_response(b"{}", 403), build_response(b"no JSON"))
        ):
            platform.faults = ["lost"]
            platform.broken["list_orders"] = response
            with pytest.raises(ConnectionLostError):
                await local.get_or_create(f"cart-{number}", 5, "USD")
            await local.get_or_create(f"cart-{number}", 5, "USD")
            attempts = await local.attempts(f"cart-{number}")
            assert {attempt.state for attempt in attempts} == {S.PAYABLE, S.UNKNOWN}
            assert all(a.next_poll_at is not None for a in attempts)
            [lost] = [a.attempt_id for a in attempts if a.state is S.UNKNOWN]
            message = caplog.messages[-1]
            assert f"reference='cart-{number}' attempt_id='{lost}' outcome=" in message
            assert vars(caplog.records[-1])["aurpay_attempt_id"] == lost
        names = [record.name for record in caplog.records]
        assert names.count("aurpay_async.orders") == 2

    @pytest.mark.parametrize(
        "failure",
        [
            ConnectError("down", outcome=RequestOutcome.NOT_SENT),
            build_response(b"", 503),
        ],
    )
    async def test_no_request_is_sent_until_the_search_succeeds(
        self, local: OrderStore, platform: Platform, failure: Any
    ) -> None:
        platform.faults = ["lost"]
        await failed(local)
        platform.broken["list_orders"] = failure
        await failed(local)
        assert (await only(local)).last_polled_at is None
        del platform.broken["list_orders"]
        await opened(local)
        assert platform.calls["create_order"] == 2

    @pytest.mark.parametrize("machine", ["the same", "another"])
    async def test_order_id_of_another_cart_is_not_accepted(
        self, local: OrderStore, platform: Platform, clock: FakeClock, machine: str
    ) -> None:
        """Two carts must not share a payment, so the attempt stays unknown."""
        first = await opened(local)
        platform.faults = ["again"]
        store = local
        if machine == "another":  # Its client has not seen the first order.
            store = OrderStore(client_of(platform, clock), local.engine)
        with pytest.raises(UntrustedOrderError) as caught:
            await store.get_or_create("cart-43", "20.00", "USD", **URLS)
        assert (caught.value.check, caught.value.order_id) == ("new", first.order_id)
        [attempt] = await local.attempts("cart-43")
        assert (attempt.state, attempt.order_id) == (S.UNKNOWN, None)
        assert (await only(local)).order_id == first.order_id

    async def test_order_id_of_another_attempt_in_an_error_is_ignored(
        self, local: OrderStore, platform: Platform
    ) -> None:
        await opened(local)
        platform.faults = ["wait", "again"]
        platform.go.set()
        platform.changed = {"amount": "0.00021000"}
        with pytest.raises(UntrustedOrderError):
            await local.get_or_create("cart-43", "20.00", "USD", **URLS)
        [attempt] = await local.attempts("cart-43")
        assert (attempt.state, attempt.order_id) == (S.UNKNOWN, None)

    async def test_sql_error_after_a_lost_answer_is_the_cause_of_the_callers_error(
        self, local: OrderStore, platform: Platform
    ) -> None:
        task = await start_call(local, platform)
        platform.faults = ["lost"]
        async with local.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE aurpay_attempts RENAME TO away"))
        platform.go.set()
        with pytest.raises(ConnectionLostError) as caught:
            await task
        assert "no such table" in str(caught.value.__cause__)

    async def test_lost_database_after_a_lost_answer_keeps_the_callers_error(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """SQLAlchemy does not wrap this driver error."""
        task = await start_call(local, platform)
        platform.faults = ["lost"]

        @event.listens_for(local.engine.sync_engine, "before_cursor_execute")
        def refuse(*_: object) -> None:
            raise ConnectionRefusedError

        platform.go.set()
        with pytest.raises(ConnectionLostError) as caught:
            await task
        unavailable = caught.value.__cause__
        assert isinstance(unavailable, StoreUnavailableError)
        assert isinstance(unavailable.__cause__, ConnectionRefusedError)


class TestCrashes:
    """A crashed process leaves a row, as does a process that is only slow."""

    async def test_another_machine_takes_over_after_the_deadline_of_a_crashed_call(
        self,
        store: OrderStore,
        platform: Platform,
        client: AurpayClient,
        clock: FakeClock,
        url: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        first = await start_call(store, platform)
        clock.advance(CALL_S - 1)
        async with OrderStore(client, url) as another:
            order = await opened(another)
            assert "has stored no answer" in caplog.text
            assert await states(another) == [S.PAYABLE, S.UNKNOWN]
        assert platform.calls == {"create_order": 2, "list_orders": 1}
        assert sum(clock.sleeps) == pytest.approx(1)
        platform.go.set()
        # The call was only slow: its order is polled, and the other one is shown.
        assert await first == order
        assert await states(store) == [S.PAYABLE, S.WITHHELD]
        assert len(platform.orders) == 2
        slow = (await store.attempts("cart-42"))[1]
        assert slow.order is not None
        assert slow.order_id != order.order_id

    async def test_late_answer_is_shown_if_no_other_order_was_created(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await start_call(local, platform)
        clock.advance(CALL_S)
        await local.reconcile()
        assert await states(local) == [S.UNKNOWN]
        platform.go.set()
        order = await first
        attempt = await only(local)
        assert (attempt.state, attempt.order) == (S.PAYABLE, order)

    @pytest.mark.parametrize(
        ("fault", "states_after"),
        [("refused", S.REJECTED), ("lost", S.UNKNOWN), ("untrusted", S.WITHHELD)],
    )
    async def test_late_failure_is_recorded_after_the_call_deadline(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        fault: str,
        states_after: AttemptState,
    ) -> None:
        first = await start_call(local, platform)
        clock.advance(CALL_S)
        await local.reconcile()
        platform.faults = [fault]
        platform.go.set()
        with pytest.raises(AurpayError):
            await first
        assert await states(local) == [states_after]

    @pytest.mark.parametrize("known", [True, False])
    async def test_late_failure_keeps_candidates_and_a_resolved_order(
        self, local: OrderStore, platform: Platform, clock: FakeClock, known: bool
    ) -> None:
        first = await start_call(local, platform)
        other = await local._client.create_order("20.00", "USD")
        for _ in range(2):
            clock.advance(3 * CALL_S)
            await local.reconcile()
        attempt = await only(local)
        assert (attempt.state, *attempt.candidates) == (
            S.CANDIDATES_FOUND,
            other.order_id,
        )
        if known:
            await local.resolve(attempt.attempt_id, other.order_id)
        platform.faults = ["lost"]
        platform.go.set()
        with pytest.raises(ConnectionLostError):
            await first
        after = await only(local)
        assert after.state is (S.WITHHELD if known else S.CANDIDATES_FOUND)
        assert after.order_id == (other.order_id if known else None)

    async def test_attempt_that_took_too_long_to_commit_is_not_sent(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Others could search for the order too early, so the call starts again."""
        await local.attempts("cart-42")
        stalls = [11.0]

        @event.listens_for(local.engine.sync_engine, "commit")
        def stall(_: object) -> None:
            if stalls:
                clock.advance(stalls.pop())

        await opened(local)
        assert await states(local) == [S.PAYABLE, S.REJECTED]
        assert platform.calls == {"create_order": 1}

    async def test_wait_for_a_database_lock_does_not_count_as_send_delay(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Otherwise no call would be sent under a heavy write load."""
        await local.attempts("cart-42")

        @event.listens_for(local.engine.sync_engine, "before_cursor_execute")
        def wait(_: object, __: object, statement: str, *___: object) -> None:
            if statement.startswith("UPDATE aurpay_references"):
                clock.advance(11)

        async with asyncio.timeout(60):
            await opened(local)
        assert await states(local) == [S.PAYABLE]


async def opened_and_recorded_as_overdue(
    store: OrderStore, platform: Platform, clock: FakeClock
) -> LightningOrder:
    """Create an order, and record ten seconds ago that it is overdue."""
    order = await opened(store)
    platform.set(order.order_id, "OVERDUE")
    clock.advance(HALF_AN_HOUR_S)
    change = await store.record(order_id=order.order_id)
    assert change.attempt.state is S.OVERDUE
    clock.advance(10)
    return order


class TestOverdue:
    """The order is overdue, but its invoice can still be paid."""

    @pytest.mark.parametrize(
        ("status", "age_s"),
        [
            ("PENDING", HALF_AN_HOUR_S),
            ("PENDING", 2 * HALF_AN_HOUR_S),
            ("PENDING", DAY_S + 59),
            ("OVERDUE", HALF_AN_HOUR_S - 1),
        ],
    )
    async def test_order_is_shown_while_aurpay_has_it_as_pending(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        status: str,
        age_s: int,
    ) -> None:
        """A local clock does not retire an order with a payable invoice."""
        first = await opened(local)
        platform.set(first.order_id, status)
        clock.advance(age_s)
        assert (await opened(local)).order_id == first.order_id
        assert await states(local) == [S.PAYABLE]

    @pytest.mark.parametrize(
        ("status", "age_s"),
        [
            ("OVERDUE", HALF_AN_HOUR_S),
            ("OVERDUE", DAY_S),
            ("OVERDUE", 26 * 3600),
            ("PENDING", DAY_S + 60),
        ],
    )
    async def test_overdue_order_is_replaced_and_still_polled(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        status: str,
        age_s: int,
    ) -> None:
        first = await opened(local)
        platform.set(first.order_id, status)
        clock.advance(age_s)
        second = await opened(local)
        assert second.order_id != first.order_id
        assert await states(local) == [
            S.PAYABLE,
            S.OVERDUE if age_s < 26 * 3600 else S.EXPIRED,
        ]
        watched = (await local.attempts("cart-42"))[1].next_poll_at is not None
        assert watched is (age_s < 26 * 3600)

    async def test_payable_order_is_returned_without_a_request(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await opened(local)
        clock.advance(HALF_AN_HOUR_S - 1)
        assert await opened(local) == first
        assert platform.calls == {"create_order": 1}

    @pytest.mark.parametrize("status", ["SUCCESS", "RESOLVED", "REFUNDED"])
    async def test_get_or_create_shows_a_payment_and_leaves_it_to_reconcile(
        self, local: OrderStore, platform: Platform, clock: FakeClock, status: str
    ) -> None:
        """The caller cannot fulfil the order; the next `reconcile` does, at once."""
        first = await opened(local)
        clock.advance(HALF_AN_HOUR_S - 1)
        assert not (await local.reconcile()).changes
        platform.set(first.order_id, status)
        clock.advance(1)
        assert (await local.reconcile()).polled == 0
        assert (await opened(local)).status == status
        assert await states(local) == [S.PAYABLE]
        [change] = (await local.reconcile()).changes
        assert change.attempt.state is (S.REFUNDED if status == "REFUNDED" else S.PAID)

    async def test_order_with_an_unknown_status_is_shown_until_its_invoice_expires(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await opened(local)
        platform.set(first.order_id, "PARTIAL")
        clock.advance(HALF_AN_HOUR_S)
        assert (await opened(local)).status == "PARTIAL"
        clock.advance(25 * 3600)
        assert (await opened(local)).order_id != first.order_id
        assert [a.status for a in await local.needs_review()] == ["PARTIAL"]

    async def test_older_status_from_aurpay_is_ignored_and_not_queried_again(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await opened(local)
        platform.set(first.order_id, "PARTIAL")
        await local.record(order_id=first.order_id)
        platform.set(first.order_id, "PENDING")
        clock.advance(HALF_AN_HOUR_S)
        async with asyncio.timeout(60):
            assert (await opened(local)).status == "PARTIAL"
        assert platform.calls["get_order"] == 2

    async def test_get_or_create_replaces_an_overdue_order_that_aurpay_lacks(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await opened(local)
        del platform.orders[first.order_id]
        clock.advance(HALF_AN_HOUR_S)
        assert (await opened(local)).order_id == first.order_id[:8] + "003000000001"
        assert await states(local) == [S.PAYABLE, S.OVERDUE]

    async def test_late_payment_of_a_recorded_overdue_order_is_found_before_a_new_order(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Its callback is lost: another invoice would be paid as well."""
        first = await opened_and_recorded_as_overdue(local, platform, clock)
        platform.set(first.order_id, "SUCCESS")
        shown = await opened(local)
        assert (shown.order_id, shown.status) == (first.order_id, "SUCCESS")
        assert platform.calls["create_order"] == 1
        [change] = (await local.reconcile()).changes
        assert change.newly_paid

    @pytest.mark.parametrize("answer", ["missing", "forbidden"])
    async def test_overdue_order_that_cannot_be_queried_is_replaced(
        self, local: OrderStore, platform: Platform, clock: FakeClock, answer: str
    ) -> None:
        first = await opened_and_recorded_as_overdue(local, platform, clock)
        if answer == "missing":
            del platform.orders[first.order_id]
        else:
            platform.broken["get_order"] = build_response(b"{}", status=403)
        assert (await opened(local)).order_id != first.order_id

    async def test_overdue_order_is_not_replaced_while_aurpay_cannot_be_reached(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        await opened_and_recorded_as_overdue(local, platform, clock)
        platform.broken["get_order"] = build_response(b"{}", status=503)
        with pytest.raises(ServerError):
            await opened(local)
        assert platform.calls["create_order"] == 1

    async def test_answer_with_another_price_or_id_is_an_error_and_creates_no_order(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await opened(local)
        platform.orders[first.order_id] |= {"vs_price": "21", "status": "SUCCESS"}
        clock.advance(HALF_AN_HOUR_S)
        with pytest.raises(OrderMismatchError, match="another price"):
            await opened(local)
        platform.broken["get_order"] = build_response(
            wrap_data(build_detail(order_id="1"))
        )
        with pytest.raises(InvalidResponseError):
            await opened(local)
        assert await states(local) == [S.PAYABLE]
