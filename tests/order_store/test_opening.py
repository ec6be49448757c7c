"""Opening references: one live order each, whoever dies, whatever is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from aurpay_async import RequestOutcome
from aurpay_async.errors import (
    AurpayError,
    CallbackReferenceError,
    ConnectError,
    ConnectionLostError,
    InvalidResponseError,
    PermissionDeniedError,
    ReferenceConflictError,
    StoreUnavailableError,
    UntrustedOrderError,
)
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.orders._planner import Action, Step
from tests.order_store.conftest import client_of
from tests.order_store.platform import URLS
from tests.orders import answer, detail, envelope

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.orders import Attempt
    from aurpay_async.testing import FakeClock
    from tests.order_store.platform import Platform

S = AttemptState
#: When the call of an attempt is over: 30 s of the client's, and 20.
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
    """The newest first."""
    return [attempt.state for attempt in await store.attempts("cart-42")]


async def only(store: OrderStore) -> Attempt:
    [attempt] = await store.attempts("cart-42")
    return attempt


async def under_way(store: OrderStore, platform: Platform) -> asyncio.Task[Any]:
    """A call that the platform has, and answers when it may `go`."""
    platform.faults.insert(0, "wait")
    before = platform.calls["create_order"]
    task = asyncio.create_task(opened(store))
    while platform.calls["create_order"] == before:
        await asyncio.sleep(0.001)
    return task


class TestOnce:
    """However often, and from wherever, it is asked for."""

    async def test_an_order_is_made_and_kept(
        self, store: OrderStore, platform: Platform
    ) -> None:
        """Under the attempt_id that its callbacks bring back."""
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
        # The invoice lives a day.
        assert attempt.payable_until == attempt.created_at + timedelta(hours=25)

    async def test_it_is_watched_for_as_long_as_its_invoice_lives(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """And an hour more."""
        platform.expiry = 7 * 86_400
        await opened(local)
        attempt = await only(local)
        assert attempt.payable_until == attempt.created_at + timedelta(days=7, hours=1)

    async def test_it_is_the_same_order_ever_after(
        self, store: OrderStore, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        """In this process and in the next; the price may be spelt as one likes."""
        order = await opened(store)
        assert await opened(store, "20") == order
        async with OrderStore(client, url) as another:
            assert await opened(another) == order
        assert platform.calls["create_order"] == 1

    async def test_a_hundred_callers_and_one_request(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """All at once; no time passes for those who wait."""
        orders = await asyncio.gather(*(opened(store) for _ in range(100)))
        assert len({order.order_id for order in orders}) == 1
        assert platform.calls["create_order"] == 1
        assert clock.sleeps == []

    async def test_a_hundred_callers_and_one_failure(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """Each is told of it; whoever asks again later makes another request."""
        platform.faults = ["refused"]
        calls = (opened(local) for _ in range(100))
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(failure) for failure in failures} == {PermissionDeniedError}
        assert len({id(failure) for failure in failures}) == 100
        assert platform.calls["create_order"] == 1
        await opened(local)

    async def test_who_comes_as_a_call_ends_makes_one_of_his_own(
        self, local: OrderStore, platform: Platform, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between its end and the loop's next round, in which that is noticed."""
        opener, turns = local._order_opener, local._order_opener._in_flight
        late: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setattr(opener, "_ended", lambda *ended: late.append(ended))
            platform.faults = ["refused"]
            await failed(local)
        [(key, ended)] = late
        second = await under_way(local, platform)
        opener._ended(key, ended)
        assert turns[key].task is not ended
        platform.go.set()
        assert (await second).reference == "cart-42"
        assert turns == {}

    async def test_another_machine_waits_for_the_same_order(
        self, store: OrderStore, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        """It looks every tenth of a second."""
        first = await under_way(store, platform)
        async with OrderStore(client, url, clock=Waiting()) as another:
            second = asyncio.create_task(opened(another))
            await asyncio.sleep(0.05)
            assert not second.done()
            platform.go.set()
            assert await second == await first
        assert platform.calls["create_order"] == 1

    async def test_it_is_written_down_before_it_is_sent(
        self, store: OrderStore, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        """For all to see, while the call is under way."""
        first = await under_way(store, platform)
        async with OrderStore(client, url) as another:
            attempt = await only(another)
        assert attempt.state is S.CREATING
        assert attempt.deadline == attempt.created_at + timedelta(seconds=CALL_S)
        platform.go.set()
        assert (await first).attempt_id == attempt.attempt_id

    async def test_get_or_create_with_another_price_is_a_reference_conflict(
        self, store: OrderStore, platform: Platform
    ) -> None:
        """Also at the same moment; nothing is sent for it."""
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

    async def test_whoever_gives_up_leaves_the_call_alone(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """Servers cancel a request whose client went away."""
        first = await under_way(local, platform)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        platform.go.set()
        await local._order_opener.finish()
        assert (await only(local)).state is S.PAYABLE
        await opened(local)
        assert platform.calls["create_order"] == 1

    async def test_closing_waits_for_what_is_under_way(
        self, local: OrderStore, platform: Platform, client: AurpayClient
    ) -> None:
        """An order that was made is kept."""
        first = await under_way(local, platform)
        asyncio.get_running_loop().call_later(0.01, platform.go.set)
        url = local.engine.url.render_as_string()
        await local.aclose()
        async with OrderStore(client, url) as another:
            assert (await only(another)).state is S.PAYABLE
        assert first.done() or await first

    async def test_closing_waits_for_all_the_steps(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """The first of them may be to see that the last order is overdue."""
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        clock.advance(HALF_AN_HOUR_S)
        second = asyncio.create_task(opened(local))
        while not local._order_opener._in_flight:
            await asyncio.sleep(0)
        await local.aclose()
        assert (await second).order_id != order.order_id

    async def test_whoever_does_not_wait_for_the_end_leaves_the_call_alone(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """Servers that stop have little time."""
        first = await under_way(local, platform)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await local.aclose()
        platform.go.set()
        order = await first
        assert (await only(local)).order_id == order.order_id

    @pytest.mark.parametrize("is_live", [True, False])
    async def test_what_is_seen_may_be_behind(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
        is_live: bool,
    ) -> None:
        """What can be written to counts; nobody goes round and round meanwhile."""
        first = await under_way(local, platform)
        seen = Step(Action.MARK_UNKNOWN, await only(local))
        if is_live:
            platform.go.set()
            await first

        async def behind(*_: object) -> Step:
            if clock.sleeps:
                platform.go.set()
                await asyncio.wait({first})
            return seen

        monkeypatch.setattr(local._order_opener, "_plan", behind)
        monkeypatch.setattr(local._order_opener, "_in_flight", {})
        async with asyncio.timeout(10):
            assert await opened(local) == await first
        assert clock.sleeps == ([] if is_live else [0.1])


class Waiting:
    """A clock that lets others go on while it sleeps, and does not move."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds == 0.1
        await asyncio.sleep(0.005)


class TestFailing:
    """What an error leaves behind."""

    @pytest.mark.parametrize(
        ("fault", "outcome"),
        [("unsent", RequestOutcome.NOT_SENT), ("refused", RequestOutcome.REJECTED)],
    )
    async def test_nothing_was_made(
        self, local: OrderStore, platform: Platform, fault: str, outcome: RequestOutcome
    ) -> None:
        """The next one is made without looking."""
        platform.faults = [fault]
        assert (await failed(local)).outcome is outcome
        assert (await only(local)).next_poll_at is None
        order = await opened(local)
        assert {*await states(local)} == {S.PAYABLE, S.REJECTED}
        assert (await opened(local)).order_id == order.order_id
        assert platform.calls["list_orders"] == 0

    async def test_nobody_knows_and_there_is_none(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """It is looked for before another one is made, and remembered."""
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

    async def test_nobody_knows_and_there_is_one(
        self, store: OrderStore, platform: Platform
    ) -> None:
        """Nobody has seen its invoice, so another one is made; it is watched."""
        platform.faults = ["lost+created"]
        await failed(store)
        order = await opened(store)
        found, live = sorted(await store.attempts("cart-42"), key=lambda a: a.state)
        assert (found.state, live.state) == (S.CANDIDATES_FOUND, S.PAYABLE)
        [lost] = platform.orders.keys() - {order.order_id}
        assert found.candidates == {lost: "PENDING"}
        assert found.order_id is None

    async def test_an_order_of_the_store_is_no_candidate(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """Another cart of the same price, a moment before."""
        await local.get_or_create("cart-41", "20.00", "USD", **URLS)
        platform.faults = ["lost"]
        await failed(local)
        await opened(local)
        assert {*await states(local)} == {S.PAYABLE, S.UNKNOWN}

    @pytest.mark.parametrize("fault", ["untrusted", "cut"])
    async def test_an_order_that_must_not_be_shown(
        self, local: OrderStore, platform: Platform, fault: str
    ) -> None:
        """Its id is known, so it is watched, and need not be looked for."""
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

    async def test_what_cannot_be_looked_for_stops_nobody(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """The list may be closed to this key, or broken; `reconcile` goes on trying."""
        for number, response in enumerate((answer(b"{}", 403), answer(b"no JSON"))):
            platform.faults = ["lost"]
            platform.broken["list_orders"] = response
            with pytest.raises(ConnectionLostError):
                await local.get_or_create(f"cart-{number}", 5, "USD")
            await local.get_or_create(f"cart-{number}", 5, "USD")
            attempts = await local.attempts(f"cart-{number}")
            assert {attempt.state for attempt in attempts} == {S.PAYABLE, S.UNKNOWN}
            assert all(a.next_poll_at is not None for a in attempts)

    @pytest.mark.parametrize(
        "failure",
        [ConnectError("down", outcome=RequestOutcome.NOT_SENT), answer(b"", 503)],
    )
    async def test_a_platform_that_is_down_is_asked_again(
        self, local: OrderStore, platform: Platform, failure: Any
    ) -> None:
        """Nothing is sent before it was looked for."""
        platform.faults = ["lost"]
        await failed(local)
        platform.broken["list_orders"] = failure
        await failed(local)
        assert (await only(local)).last_polled_at is None
        del platform.broken["list_orders"]
        await opened(local)
        assert platform.calls["create_order"] == 2

    @pytest.mark.parametrize("machine", ["the same", "another"])
    async def test_a_platform_that_gives_the_same_order_twice(
        self, local: OrderStore, platform: Platform, clock: FakeClock, machine: str
    ) -> None:
        """Two carts must not share a payment; an order of its own may exist."""
        first = await opened(local)
        platform.faults = ["again"]
        store = local
        if machine == "another":  # whose client remembers nothing of the first order
            store = OrderStore(client_of(platform, clock), local.engine)
        with pytest.raises(UntrustedOrderError) as caught:
            await store.get_or_create("cart-43", "20.00", "USD", **URLS)
        assert (caught.value.check, caught.value.order_id) == ("new", first.order_id)
        [attempt] = await local.attempts("cart-43")
        assert (attempt.state, attempt.order_id) == (S.UNKNOWN, None)
        assert (await only(local)).order_id == first.order_id

    async def test_an_error_that_names_another_attempts_order(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """As little is known as without a name."""
        await opened(local)
        platform.faults = ["wait", "again"]
        platform.go.set()
        platform._last["amount"] = "0.00021000"
        with pytest.raises(UntrustedOrderError):
            await local.get_or_create("cart-43", "20.00", "USD", **URLS)
        [attempt] = await local.attempts("cart-43")
        assert (attempt.state, attempt.order_id) == (S.UNKNOWN, None)

    async def test_a_database_that_fails_as_well(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """That an order may exist is what the caller hears; the deadline tells all."""
        task = await under_way(local, platform)
        platform.faults = ["lost"]
        async with local.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE aurpay_attempts RENAME TO away"))
        platform.go.set()
        with pytest.raises(ConnectionLostError) as caught:
            await task
        assert "no such table" in str(caught.value.__cause__)

    async def test_a_database_that_is_gone_as_well(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """Drivers say so in their own words, which SQLAlchemy leaves as they are."""
        task = await under_way(local, platform)
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


class TestDying:
    """A process that dies leaves a row; so does one that only seems to be dead."""

    async def test_a_dead_sender_is_waited_for_and_looked_for(
        self,
        store: OrderStore,
        platform: Platform,
        client: AurpayClient,
        clock: FakeClock,
        url: str,
    ) -> None:
        """Not longer than its call can take; then another order is made."""
        first = await under_way(store, platform)
        clock.advance(CALL_S - 1)
        async with OrderStore(client, url) as another:
            order = await opened(another)
            assert await states(another) == [S.PAYABLE, S.UNKNOWN]
        assert platform.calls == {"create_order": 2, "list_orders": 1}
        assert sum(clock.sleeps) == pytest.approx(1)
        platform.go.set()
        # It was no more than slow: its order is watched, and the other one shown.
        assert await first == order
        assert await states(store) == [S.PAYABLE, S.WITHHELD]
        assert len(platform.orders) == 2
        slow = (await store.attempts("cart-42"))[1]
        assert slow.order is not None
        assert slow.order_id != order.order_id

    async def test_a_slow_sender_that_nobody_has_replaced(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Its order is the one to show."""
        first = await under_way(local, platform)
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
    async def test_a_slow_sender_that_fails(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        fault: str,
        states_after: AttemptState,
    ) -> None:
        """What it knows is more than what was known without it, or as much."""
        first = await under_way(local, platform)
        clock.advance(CALL_S)
        await local.reconcile()
        platform.faults = [fault]
        platform.go.set()
        with pytest.raises(AurpayError):
            await first
        assert await states(local) == [states_after]

    @pytest.mark.parametrize("known", [True, False])
    async def test_a_slow_sender_that_fails_forgets_nothing(
        self, local: OrderStore, platform: Platform, clock: FakeClock, known: bool
    ) -> None:
        """What was found, or told by a person, before it came back."""
        first = await under_way(local, platform)
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

    async def test_whoever_wrote_it_down_long_ago_does_not_send_it(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Others would look for it before it is over; it begins anew."""
        await local.attempts("cart-42")
        stalls = [11.0]

        @event.listens_for(local.engine.sync_engine, "commit")
        def stall(_: object) -> None:
            if stalls:
                clock.advance(stalls.pop())

        await opened(local)
        assert await states(local) == [S.PAYABLE, S.REJECTED]
        assert platform.calls == {"create_order": 1}

    async def test_the_wait_for_the_database_does_not_count(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Where many write, nobody would ever be in time."""
        await local.attempts("cart-42")

        @event.listens_for(local.engine.sync_engine, "before_cursor_execute")
        def wait(_: object, __: object, statement: str, *___: object) -> None:
            if statement.startswith("UPDATE aurpay_references"):
                clock.advance(11)

        async with asyncio.timeout(10):
            await opened(local)
        assert await states(local) == [S.PAYABLE]


class TestOverdue:
    """Its time to be shown is over; its invoice may still be paid."""

    @pytest.mark.parametrize(
        ("status", "age_s"),
        [
            ("PENDING", HALF_AN_HOUR_S),
            ("PENDING", 2 * HALF_AN_HOUR_S),
            ("PENDING", DAY_S + 59),
            ("OVERDUE", HALF_AN_HOUR_S - 1),
        ],
    )
    async def test_order_is_shown_while_the_platform_has_it_as_pending(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        status: str,
        age_s: int,
    ) -> None:
        """No clock of ours retires an order whose invoice can be paid."""
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
    async def test_there_is_a_new_order_and_the_old_one_is_watched(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        status: str,
        age_s: int,
    ) -> None:
        """Once the platform says that it is overdue, or its invoice has expired."""
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

    async def test_before_its_time_nobody_is_asked(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """What is shown, is shown from the database."""
        first = await opened(local)
        clock.advance(HALF_AN_HOUR_S - 1)
        assert await opened(local) == first
        assert platform.calls == {"create_order": 1}

    @pytest.mark.parametrize("status", ["SUCCESS", "RESOLVED", "REFUNDED"])
    async def test_money_is_shown_and_not_settled(
        self, local: OrderStore, platform: Platform, clock: FakeClock, status: str
    ) -> None:
        """Whoever opens could not deliver: the next `reconcile` does, at once."""
        first = await opened(local)
        clock.advance(HALF_AN_HOUR_S - 1)
        assert not (await local.reconcile()).changes
        platform.set(first.order_id, status)
        clock.advance(1)
        assert (await local.reconcile()).asked == 0
        assert (await opened(local)).status == status
        assert await states(local) == [S.PAYABLE]
        [change] = (await local.reconcile()).changes
        assert change.attempt.state is (S.REFUNDED if status == "REFUNDED" else S.PAID)

    async def test_a_status_without_a_meaning_is_shown(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Until its invoice has expired: then a new order can do no harm."""
        first = await opened(local)
        platform.set(first.order_id, "PARTIAL")
        clock.advance(HALF_AN_HOUR_S)
        assert (await opened(local)).status == "PARTIAL"
        clock.advance(25 * 3600)
        assert (await opened(local)).order_id != first.order_id
        assert [a.status for a in await local.needs_review()] == ["PARTIAL"]

    async def test_a_platform_that_has_forgotten_half_is_asked_once(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Its older answer is no news, and no reason to ask again at once."""
        first = await opened(local)
        platform.set(first.order_id, "PARTIAL")
        await local.record(first.order_id)
        platform.set(first.order_id, "PENDING")
        clock.advance(HALF_AN_HOUR_S)
        async with asyncio.timeout(10):
            assert (await opened(local)).status == "PARTIAL"
        assert platform.calls["get_order"] == 2

    async def test_get_or_create_replaces_an_overdue_order_that_aurpay_lacks(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Its time is over anyhow."""
        first = await opened(local)
        del platform.orders[first.order_id]
        clock.advance(HALF_AN_HOUR_S)
        assert (await opened(local)).order_id == first.order_id[:8] + "003000000001"
        assert await states(local) == [S.PAYABLE, S.OVERDUE]

    async def test_a_platform_that_says_something_else(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Another price is no news of this order; nothing is made on top of it."""
        first = await opened(local)
        platform.orders[first.order_id] |= {"vs_price": "21", "status": "SUCCESS"}
        clock.advance(HALF_AN_HOUR_S)
        with pytest.raises(CallbackReferenceError, match="another price"):
            await opened(local)
        platform.broken["get_order"] = answer(envelope(detail(order_id="1")))
        with pytest.raises(InvalidResponseError):
            await opened(local)
        assert await states(local) == [S.PAYABLE]
