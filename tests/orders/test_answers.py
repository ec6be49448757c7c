"""Store the answer to a create request even if the database fails meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, text

from aurpay_async import RequestOutcome
from aurpay_async.errors import (
    AurpayError,
    ConnectionLostError,
    ReferenceConflictError,
    StoreUnavailableError,
    UntrustedOrderError,
    format_facts,
)
from aurpay_async.orders import AttemptState, OrderStore

from ..support.loop_time import advance_loop
from ..support.orders import build_response
from .platform import URLS

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.testing import FakeClock

    from .platform import Platform

S = AttemptState


async def opened(store: OrderStore, reference: str = "cart-42") -> LightningOrder:
    return await store.get_or_create(reference, "20.00", "USD", **URLS)


class Outage:
    """A database that fails each statement and commit while it is `on`."""

    def __init__(self, store: OrderStore) -> None:
        self.on = False
        self.failed = 0
        self.error: Exception = ConnectionRefusedError("connection refused")
        engine = store.engine.sync_engine
        event.listen(engine, "before_cursor_execute", self._fail)

    def _fail(self, *_: object) -> None:
        if self.on:
            self.failed += 1
            raise self.error


@pytest.fixture
async def outage(local: OrderStore) -> Outage:
    """An outage that can begin after the first check of the tables."""
    await local.attempts("cart-42")
    return Outage(local)


def begin_after_creation(outage: Outage, platform: Platform) -> None:
    """Begin after Aurpay has created an order, before its answer arrives."""
    platform.before_answer = lambda: setattr(outage, "on", True)


class TestOutage:
    """The database fails after Aurpay has answered."""

    async def test_order_is_stored_when_the_database_is_back(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        outage: Outage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        begin_after_creation(outage, platform)
        sleep = clock.sleep

        async def pause(seconds: float) -> None:
            outage.on = outage.failed < 5
            await sleep(seconds)

        monkeypatch.setattr(clock, "sleep", pause)
        order = await opened(local)
        assert [*platform.orders] == [order.order_id]
        assert [one.state for one in await local.attempts("cart-42")] == [S.PAYABLE]
        assert len(clock.sleeps) == 5
        assert all(0.125 <= slept <= 2 for slept in clock.sleeps)

    async def test_error_after_the_deadline_has_the_order_and_the_next_call_stores_it(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        outage: Outage,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        begin_after_creation(outage, platform)
        began = clock.monotonic()
        with pytest.raises(StoreUnavailableError) as caught:
            await opened(local)
        [order_id] = platform.orders
        error = caught.value
        assert (error.outcome, error.order_id) == (RequestOutcome.UNKNOWN, order_id)
        assert (error.reference, error.retryable) == ("cart-42", True)
        assert isinstance(error.__cause__, ConnectionRefusedError)
        assert 45 < clock.monotonic() - began <= 50
        [message] = caplog.messages
        fields = {
            "reference": "cart-42",
            "order_id": order_id,
            "attempt_id": platform.attempt_id(order_id),
            "outcome": "unknown",
        }
        assert message.endswith(f";{format_facts(fields)}")
        [record] = caplog.records
        assert fields == {name: vars(record)[f"aurpay_{name}"] for name in fields}
        with pytest.raises(StoreUnavailableError) as caught:
            await opened(local)
        assert caught.value.order_id == order_id
        outage.on = False
        clock.advance(60)
        assert (await opened(local)).order_id == order_id
        assert (await opened(local)).order_id == order_id
        assert platform.calls["create_order"] == 1
        assert platform.calls["list_orders"] == 0

    async def test_unstored_order_is_not_returned_to_a_call_with_another_price(
        self, local: OrderStore, platform: Platform, outage: Outage
    ) -> None:
        """The order is stored first; from then on the reference has a price."""
        begin_after_creation(outage, platform)
        with pytest.raises(StoreUnavailableError):
            await opened(local)
        outage.on = False
        with pytest.raises(ReferenceConflictError):
            await local.get_or_create("cart-42", "99.00", "USD")
        assert [*platform.orders] == [(await opened(local)).order_id]

    @pytest.mark.slow
    async def test_order_that_was_replaced_meanwhile_is_stored_and_not_shown(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        client: AurpayClient,
        outage: Outage,
        sqlite_url: str,
    ) -> None:
        """Another process took the sender for crashed, and created a second order."""
        begin_after_creation(outage, platform)
        with pytest.raises(StoreUnavailableError):
            await opened(local)
        clock.advance(60)
        async with OrderStore(client, sqlite_url) as another:
            second = await opened(another)
        outage.on = False
        assert await opened(local) == second
        found = {one.order_id: one.state for one in await local.attempts("cart-42")}
        [first] = platform.orders.keys() - {second.order_id}
        assert found == {second.order_id: S.PAYABLE, first: S.WITHHELD}

    async def test_unstored_orders_that_have_expired_are_removed_from_memory(
        self, local: OrderStore, platform: Platform, clock: FakeClock, outage: Outage
    ) -> None:
        """Otherwise memory grows in a process with frequent database failures."""
        for number in range(2):
            outage.on = False
            begin_after_creation(outage, platform)
            with pytest.raises(StoreUnavailableError):
                await opened(local, f"cart-{number}")
            clock.advance(86_400)
        assert [*local._order_opener._answers.unstored] == ["cart-1"]

    async def test_unknown_outcome_is_stored_when_the_database_is_back(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        outage: Outage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        platform.faults = ["lost+created"]
        begin_after_creation(outage, platform)
        sleep = clock.sleep

        async def pause(seconds: float) -> None:
            outage.on = False
            await sleep(seconds)

        monkeypatch.setattr(clock, "sleep", pause)
        with pytest.raises(ConnectionLostError):
            await opened(local)
        assert [one.state for one in await local.attempts("cart-42")] == [S.UNKNOWN]

    async def test_database_failure_before_the_call_has_outcome_not_sent(
        self, local: OrderStore, platform: Platform, outage: Outage
    ) -> None:
        outage.on = True
        with pytest.raises(StoreUnavailableError) as caught:
            await opened(local)
        assert caught.value.outcome is RequestOutcome.NOT_SENT
        assert not platform.calls

    @pytest.mark.parametrize("message", ["can't start new thread", "another loop"])
    async def test_order_is_not_lost_if_a_connection_raises_a_runtime_error(
        self, local: OrderStore, platform: Platform, outage: Outage, message: str
    ) -> None:
        """A pool that needs a new connection starts a thread, or resolves a host."""
        outage.error = RuntimeError(message)
        begin_after_creation(outage, platform)
        with pytest.raises(AurpayError) as caught:
            await opened(local)
        [order_id] = platform.orders
        error = caught.value
        assert (error.outcome, error.order_id) == (RequestOutcome.UNKNOWN, order_id)
        outage.on = False
        assert (await opened(local)).order_id == order_id
        assert platform.calls["create_order"] == 1

    @pytest.mark.parametrize("message", ["can't start new thread", "another loop"])
    async def test_failure_of_the_call_is_raised_if_it_cannot_be_stored(
        self, local: OrderStore, platform: Platform, outage: Outage, message: str
    ) -> None:
        outage.error = RuntimeError(message)
        platform.faults = ["untrusted"]
        begin_after_creation(outage, platform)
        with pytest.raises(UntrustedOrderError) as caught:
            await opened(local)
        assert caught.value.outcome is RequestOutcome.UNKNOWN
        assert [caught.value.order_id] == [*platform.orders]

    async def test_order_that_is_stored_as_untrusted_leaves_the_memory(
        self,
        local: OrderStore,
        platform: Platform,
        client: AurpayClient,
        outage: Outage,
    ) -> None:
        """Otherwise each later call for its reference would raise the same error."""
        await opened(local, "cart-1")
        client._seen._by_hash.clear()
        platform.repeated_invoices = 1
        begin_after_creation(outage, platform)
        with pytest.raises(StoreUnavailableError):
            await opened(local)
        outage.on = False
        with pytest.raises(UntrustedOrderError, match="payment hash"):
            await opened(local)
        await opened(local)
        states = [one.state for one in await local.attempts("cart-42")]
        assert states == [S.PAYABLE, S.WITHHELD]

    @pytest.mark.parametrize("fault", ["", "lost+created"])
    async def test_row_lost_in_a_failover_is_written_with_the_order_or_as_unknown(
        self, store: OrderStore, platform: Platform, fault: str
    ) -> None:
        await opened(store, "cart-1")
        rows = ("DELETE FROM aurpay_attempts", "DELETE FROM aurpay_references")
        platform.faults = ["wait", fault]
        task = asyncio.create_task(opened(store))
        while platform.calls["create_order"] < 2:
            await asyncio.sleep(0.001)
        async with store.engine.begin() as connection:
            for statement in rows:
                await connection.execute(text(statement))
        platform.go.set()
        [done] = await asyncio.gather(task, return_exceptions=True)
        [attempt] = await store.attempts("cart-42")
        assert attempt.state is (S.UNKNOWN if fault else S.PAYABLE)
        assert attempt.order == (None if fault else done)


class TestSharing:
    """Callers in one process share a call, for no longer than it can take."""

    async def test_later_callers_do_not_wait_for_a_call_past_its_deadline(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        platform.faults = ["wait"]
        hanging = asyncio.create_task(opened(local))
        while not platform.calls["create_order"]:
            await asyncio.sleep(0.001)
        waiting = asyncio.create_task(opened(local))
        await asyncio.sleep(0)
        clock.advance(50)
        advance_loop(local._order_opener._step_limit_s)
        second = await opened(local)
        platform.go.set()
        assert await waiting == second
        assert (await hanging).order_id == second.order_id
        await local._order_opener.finish()
        states = sorted(one.state for one in await local.attempts("cart-42"))
        assert states == [S.PAYABLE, S.WITHHELD]

    @pytest.mark.parametrize("is_answered", [True, False])
    async def test_failure_after_a_call_past_its_deadline_says_that_an_order_may_exist(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        outage: Outage,
        monkeypatch: pytest.MonkeyPatch,
        is_answered: bool,
    ) -> None:
        """The database fails in the step that follows the one that sent the request."""
        sleeps: list[float] = []

        async def hang(seconds: float) -> None:
            sleeps.append(seconds)
            await platform.go.wait()

        monkeypatch.setattr(clock, "sleep", hang)
        if is_answered:
            begin_after_creation(outage, platform)
        else:
            platform.faults = ["wait"]
        waiting = asyncio.create_task(opened(local))
        while not (sleeps if is_answered else platform.calls["create_order"]):
            await asyncio.sleep(0.001)
        outage.on = True
        clock.advance(50)
        advance_loop(local._order_opener._step_limit_s)
        [error] = await asyncio.gather(waiting, return_exceptions=True)
        platform.go.set()
        assert isinstance(error, StoreUnavailableError)
        assert error.outcome is RequestOutcome.UNKNOWN
        assert error.order_id == next(iter(platform.orders), None)
        outage.on = False
        await local._order_opener.finish()
        assert [*platform.orders] == [(await opened(local)).order_id]


class TestReadBack:
    """An answer that belongs to another request can be a complete, valid order."""

    async def test_order_of_another_price_is_not_shown(
        self, local: OrderStore, platform: Platform, client: AurpayClient
    ) -> None:
        """The attempt that the order belongs to keeps it."""
        other = await client.create_order("99.00", "USD")
        client._seen._order_ids.clear()
        client._seen._by_hash.clear()
        platform.faults = ["again"]
        with pytest.raises(UntrustedOrderError) as caught:
            await opened(local)
        assert caught.value.check == "read_back"
        [attempt] = await local.attempts("cart-42")
        assert (attempt.state, attempt.failed_check) == (S.UNKNOWN, "read_back")
        assert attempt.order_id is None
        order = await opened(local)
        assert order.order_id != other.order_id
        assert "read_back" in order.checks

    async def test_rejected_answer_takes_no_order_from_another_attempt(
        self, local: OrderStore, platform: Platform, client: AurpayClient
    ) -> None:
        """The answer carries the order id of another cart."""
        other = await opened(local, "cart-1")
        client._seen._order_ids.clear()
        client._seen._by_hash.clear()
        platform.changed = {"amount": "0.00021000"}
        platform.faults = ["again"]
        with pytest.raises(UntrustedOrderError) as caught:
            await opened(local)
        assert (caught.value.check, caught.value.order_id) == ("amount", other.order_id)
        [attempt] = await local.attempts("cart-42")
        assert (attempt.state, attempt.order_id) == (S.UNKNOWN, None)

    @pytest.mark.parametrize("status", [404, 500, 200])
    async def test_order_that_cannot_be_read_back_is_returned_without_that_check(
        self, local: OrderStore, platform: Platform, status: int
    ) -> None:
        platform.broken["get_order"] = build_response(b"{}", status)
        order = await opened(local)
        assert "read_back" not in order.checks
        [attempt] = await local.attempts("cart-42")
        assert (attempt.state, attempt.order) == (S.PAYABLE, order)


class TestPaymentHash:
    """An invoice is paid once, so no two orders may have the same payment hash."""

    async def test_second_order_with_the_same_payment_hash_needs_review_if_paid(
        self, store: OrderStore, platform: Platform, client: AurpayClient
    ) -> None:
        first = await opened(store, "cart-1")
        client._seen._by_hash.clear()
        platform.repeated_invoices = 1
        with pytest.raises(UntrustedOrderError, match="payment hash") as caught:
            await opened(store, "cart-2")
        assert caught.value.check == "payment_hash"
        assert caught.value.outcome is RequestOutcome.UNKNOWN
        [attempt] = await store.attempts("cart-2")
        assert (attempt.state, attempt.failed_check) == (S.WITHHELD, "payment_hash")
        second = attempt.order_id or ""
        assert second in platform.orders
        for order_id in (first.order_id, second):
            platform.set(order_id, "SUCCESS")
        assert (await store.record(order_id=first.order_id)).newly_paid
        change = await store.record(order_id=second)
        assert (change.newly_paid, change.duplicate_payment) == (False, False)
        assert [one.order_id for one in await store.needs_review()] == [second]
        assert (await store.record(order_id=second)).attempt.state is S.PAYMENT_REPORTED
        assert (await store.resolve(attempt.attempt_id, second)).newly_paid

    async def test_paid_order_with_a_duplicate_payment_hash_needs_review_after_expiry(
        self,
        local: OrderStore,
        platform: Platform,
        client: AurpayClient,
        clock: FakeClock,
    ) -> None:
        await opened(local, "cart-1")
        client._seen._by_hash.clear()
        platform.repeated_invoices = 1
        with pytest.raises(UntrustedOrderError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        order_id = attempt.order_id or ""
        platform.set(order_id, "OVERDUE")
        clock.advance(26 * 3600)
        change = await local.record(order_id=order_id)
        assert (change.before, change.attempt.state) == (S.WITHHELD, S.EXPIRED)
        platform.set(order_id, "SUCCESS")
        change = await local.record(order_id=order_id)
        assert (change.newly_paid, change.attempt.state) == (False, S.PAYMENT_REPORTED)
        assert [one.order_id for one in await local.needs_review()] == [order_id]
        assert (await local.resolve(attempt.attempt_id, order_id)).newly_paid

    async def test_order_with_a_duplicate_payment_hash_can_be_resolved_as_not_created(
        self, local: OrderStore, platform: Platform, client: AurpayClient
    ) -> None:
        """After that another order can be created."""
        await opened(local, "cart-1")
        client._seen._by_hash.clear()
        platform.repeated_invoices = 1
        with pytest.raises(UntrustedOrderError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        platform.set(attempt.order_id or "", "SUCCESS")
        await local.record(order_id=attempt.order_id or "")
        change = await local.resolve(attempt.attempt_id, None)
        assert change.attempt.state is S.NOT_FOUND
        assert (await opened(local)).order_id != attempt.order_id

    async def test_unique_index_rejects_a_payment_hash_that_two_processes_store_at_once(
        self,
        store: OrderStore,
        platform: Platform,
        client: AurpayClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        platform.repeated_invoices = 4
        monkeypatch.setattr(client._seen, "order_id_for_hash", lambda _: None)
        carts = [opened(store, f"cart-{number}") for number in range(5)]
        done = await asyncio.gather(*carts, return_exceptions=True)
        checks = [getattr(one, "check", "shown") for one in done]
        assert sorted(checks) == ["payment_hash"] * 4 + ["shown"]
