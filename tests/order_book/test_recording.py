"""What the platform says of an order, written down: money is counted once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from aurpay_async import OrderStatus
from aurpay_async.errors import (
    AlreadyPaidError,
    AurpayError,
    CallbackReferenceError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    OrderBookError,
    UnknownOrderError,
)
from aurpay_async.orders import AttemptState, OrderBook

from .platform import URLS

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.orders import Attempt
    from aurpay_async.testing import FakeClock

    from .platform import Platform

S = AttemptState
HALF_AN_HOUR_S = 1800
DAY_S = 86_400


async def opened(book: OrderBook, reference: str = "cart-42") -> LightningOrder:
    return await book.open(reference, "20.00", "USD", **URLS)


async def attempt_of(book: OrderBook, order_id: str) -> Attempt:
    attempts = await book.attempts("cart-42")
    return next(one for one in attempts if one.order_id == order_id)


async def two_orders(
    book: OrderBook, platform: Platform, clock: FakeClock
) -> tuple[str, str]:
    """The overdue one, and the one to show."""
    first = await opened(book)
    platform.set(first.order_id, "OVERDUE")
    clock.advance(HALF_AN_HOUR_S)
    second = await opened(book)
    return first.order_id, second.order_id


async def test_reference_instead_of_an_order_id_is_named_as_such(
    local: OrderBook, platform: Platform
) -> None:
    """The message says where the id is to be found."""
    await opened(local)
    for take in (local.record, local.settle, local.expire):
        with pytest.raises(InvalidRequestError, match="'cart-42' is a reference") as e:
            await take("cart-42")
        assert "attempts(reference)" in str(e.value)
    with pytest.raises(NotFoundError):
        await local.settle("cart-43")


class TestSettling:
    """A payment settles its reference, once."""

    async def test_a_payment_counts_once(
        self, book: OrderBook, platform: Platform
    ) -> None:
        """Whoever records it first is told to deliver; nobody else."""
        order = await opened(book)
        platform.set(order.order_id, "SUCCESS")
        change = await book.settle(order.order_id)
        assert (change.settled, change.surplus, change.changed) == (True, False, True)
        assert (change.before, change.attempt.state) == (S.LIVE, S.PAID)
        assert change.reference == "cart-42"
        assert change.attempt.next_look_at is None
        again = await book.settle(order.order_id)
        assert (again.settled, again.changed, again.before) == (False, False, S.PAID)
        assert (await opened(book)).status == "SUCCESS"

    async def test_of_twenty_at_once_one_settles(
        self, book: OrderBook, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        """On two machines."""
        order = await opened(book)
        platform.set(order.order_id, "SUCCESS")
        paid = await client.get_order(order.order_id)
        async with OrderBook(client, url) as another:
            books = [book, another] * 10
            changes = await asyncio.gather(*(one.settle(paid) for one in books))
        assert [change.settled for change in changes].count(True) == 1

    async def test_the_first_payment_settles_and_the_other_is_too_much(
        self, book: OrderBook, platform: Platform, clock: FakeClock
    ) -> None:
        """Whichever was shown last; it is reported until it is paid back."""
        first, second = await two_orders(book, platform, clock)
        for order_id in (first, second):
            platform.set(order_id, "SUCCESS")
        assert (await book.settle(first)).settled
        change = await book.settle(second)
        assert (change.settled, change.surplus) == (False, True)
        assert [one.order_id for one in await book.surplus()] == [second]
        assert not (await book.settle(second)).surplus
        shown = await opened(book)
        assert (shown.order_id, shown.status) == (first, "SUCCESS")
        platform.set(second, "REFUNDED")
        change = await book.record(second)
        assert (change.attempt.state, change.attempt.next_look_at) == (S.REFUNDED, None)
        assert await book.surplus() == []

    async def test_what_is_paid_back_stays_settled(
        self, local: OrderBook, platform: Platform, clock: FakeClock
    ) -> None:
        """Whoever wants to sell it again takes another reference."""
        first, second = await two_orders(local, platform, clock)
        platform.set(first, "SUCCESS")
        await local.settle(first)
        platform.set(first, "REFUNDED")
        assert (await local.record(first)).attempt.state is S.REFUNDED
        assert (await opened(local)).status == "REFUNDED"
        platform.set(second, "SUCCESS")
        assert (await local.settle(second)).surplus

    async def test_a_refund_that_comes_first_settles_nothing(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """There is no money: a new order may be made."""
        first = await opened(local)
        platform.set(first.order_id, "REFUNDED")
        change = await local.record(first.order_id)
        assert (change.settled, change.attempt.state) == (False, S.REFUNDED)
        assert (await opened(local)).order_id != first.order_id

    async def test_paid_with_an_order_that_nobody_holds(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """Its answer could not be trusted, and somebody has paid it all the same."""
        platform.faults = ["untrusted"]
        with pytest.raises(AurpayError):
            await opened(local)
        [order_id] = platform.orders
        platform.set(order_id, "SUCCESS")
        assert (await local.settle(order_id)).settled
        with pytest.raises(AlreadyPaidError) as caught:
            await opened(local)
        assert caught.value.order_id == order_id


class TestOther:
    """What is no payment."""

    async def test_overdue_then_paid(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """Paid beats timeout, whichever is heard of first."""
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        overdue = await local.expire(order.order_id)
        assert overdue.attempt.state is S.OVERDUE
        assert not (await local.expire(order.order_id)).changed
        stale = await local._client.get_order(order.order_id)
        platform.set(order.order_id, "SUCCESS")
        assert (await local.settle(order.order_id)).settled
        for late in (stale, attrs.evolve(stale, status=OrderStatus.PENDING)):
            change = await local.record(late)
            assert (change.changed, change.attempt.status) == (False, "SUCCESS")

    async def test_nobody_paid_while_anybody_could(
        self, local: OrderBook, platform: Platform, clock: FakeClock
    ) -> None:
        """It expires; a payment that comes all the same counts."""
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        clock.advance(25 * 3600)
        change = await local.record(order.order_id)
        assert (change.attempt.state, change.attempt.next_look_at) == (S.EXPIRED, None)
        assert not (await local.record(order.order_id)).changed
        platform.set(order.order_id, "SUCCESS")
        assert (await local.record(order.order_id)).settled

    async def test_a_status_without_a_meaning_is_written_down(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """And is what a person has to look at; so is one that is new."""
        for number, status in enumerate(("PARTIAL", "TERMINATED", "NEW")):
            order = await opened(local, f"cart-{number}")
            platform.set(order.order_id, status)
            assert not (await local.record(order.order_id)).changed
        unclear = await local.unclear()
        assert {one.status for one in unclear} == {"PARTIAL", "TERMINATED", "NEW"}
        order = await opened(local)
        assert (await local.attempts("cart-42"))[0] not in await local.unclear()

    @pytest.mark.parametrize(
        ("method", "status", "message"),
        [
            ("settle", "OVERDUE", "is 'OVERDUE', not paid"),
            ("settle", "REFUNDED", "is 'REFUNDED', not paid"),
            ("expire", "SUCCESS", "is 'SUCCESS', not overdue"),
        ],
    )
    async def test_it_must_be_what_it_is_called(
        self,
        local: OrderBook,
        platform: Platform,
        method: str,
        status: str,
        message: str,
    ) -> None:
        """`record` takes whatever it is."""
        order = await opened(local)
        platform.set(order.order_id, status)
        with pytest.raises(InvalidRequestError, match=message) as caught:
            await getattr(local, method)(order.order_id)
        assert (caught.value.field, caught.value.order_id) == ("news", None)
        assert (await local.record(order.order_id)).changed

    async def test_what_is_no_news_is_refused(self, local: OrderBook) -> None:
        """With what it may be."""
        for news in (7, None, await opened(local)):
            with pytest.raises(InvalidRequestError, match="must be a notice, an order"):
                await local.record(news)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="news: must be a text"):
            await local.record("..")
        with pytest.raises(NotFoundError):
            await local.record("20260101000000000099")

    async def test_an_order_that_the_book_does_not_have(
        self, local: OrderBook, platform: Platform, client: AurpayClient
    ) -> None:
        """Made by somebody else, for example."""
        order = await client.create_order("20.00", "USD")
        with pytest.raises(UnknownOrderError, match=order.order_id):
            await local.record(order.order_id)
        with pytest.raises(UnknownOrderError, match="'ab'"):
            await local.identify("ab", order.order_id)

    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ({"vs_price": "21.0"}, "another price"),
            ({"vs_currency": "EUR"}, "another currency"),
            ({"amount": "0.0003"}, "another amount"),
        ],
    )
    async def test_what_is_said_must_be_of_this_order(
        self,
        local: OrderBook,
        platform: Platform,
        fields: dict[str, Any],
        problem: str,
    ) -> None:
        """Else it is of another one, and nothing is written down."""
        order = await opened(local)
        platform.orders[order.order_id] |= {**fields, "status": "SUCCESS"}
        with pytest.raises(CallbackReferenceError, match=problem):
            await local.settle(order.order_id)
        assert (await attempt_of(local, order.order_id)).state is S.LIVE


class TestTransactions:
    """In the shop's own, both or neither."""

    @pytest.mark.parametrize("kind", ["connection", "session"])
    async def test_both_or_neither(
        self, book: OrderBook, platform: Platform, kind: str
    ) -> None:
        """The shop's rollback undoes it, the shop's commit makes it last."""
        order = await opened(book)
        platform.set(order.order_id, "SUCCESS")
        paid = await book._client.get_order(order.order_id)
        engine = book.engine
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE parcels (reference TEXT)"))
        own = engine.connect() if kind == "connection" else AsyncSession(engine)
        async with own as connection:
            for end in (connection.rollback, connection.commit):
                change = await book.settle(paid, connection)
                assert change.settled
                parcel = text("INSERT INTO parcels VALUES ('cart-42')")
                await connection.execute(parcel)
                await end()
            count = await connection.scalar(text("SELECT count(*) FROM parcels"))
        assert count == 1
        assert not (await book.settle(paid)).settled
        assert (await opened(book)).status == "SUCCESS"

    async def test_an_id_is_asked_about_before_the_transaction(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """A network must not hold a database."""
        order = await opened(local)
        platform.set(order.order_id, "SUCCESS")
        async with local.engine.begin() as connection:
            assert (await local.settle(order.order_id, connection)).settled

    async def test_a_connection_without_transactions(
        self, book: OrderBook, platform: Platform, url: str
    ) -> None:
        """It could not undo anything."""
        order = await opened(book)
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            with pytest.raises(ConfigurationError, match="transaction"):
                await book.record(order.order_id, connection)
        with pytest.raises(ConfigurationError, match="not 'x'"):
            await book.record(order.order_id, "x")  # type: ignore[arg-type]
        await engine.dispose()

    async def test_a_row_that_somebody_changes_without_holding_it(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """Nothing is overwritten that was not seen."""
        order = await opened(local)
        rows, desk = local._desk.rows, local._desk
        async with rows.writing() as connection:
            _, attempt = await desk.held(connection, order.nonce or "")
        stale = attrs.evolve(attempt, state=S.LOST)
        with pytest.raises(OrderBookError, match="was changed by somebody") as caught:
            async with rows.writing() as connection:
                await rows.change(connection, stale, attrs.evolve(stale, state=S.FOUND))
        assert caught.value.retryable
        async with rows.writing() as connection:
            await rows.settle(connection, attempt)
        with pytest.raises(OrderBookError, match="was changed by somebody"):
            async with rows.writing() as connection:
                await rows.settle(connection, attempt)


class TestIdentifying:
    """What a person has found out of a lost one."""

    async def test_a_person_knows_its_order(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """Then it is as if its answer had come, but for the invoice."""
        platform.faults = ["lost+created"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        [order_id] = platform.orders
        change = await local.identify(attempt.nonce, order_id)
        assert (change.attempt.state, change.attempt.order_id) == (S.UNSHOWN, order_id)
        with pytest.raises(OrderBookError, match="has order"):
            await local.identify(attempt.nonce, order_id)
        platform.set(order_id, "SUCCESS")
        assert (await local.settle(order_id)).settled

    async def test_a_person_knows_that_there_is_none(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """Then nobody looks for it any more."""
        platform.faults = ["lost"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        change = await local.identify(attempt.nonce, None)
        assert (change.before, change.attempt.state) == (S.LOST, S.ABSENT)
        assert change.attempt.next_look_at is None
        assert not (await local.identify(attempt.nonce, None)).changed

    async def test_of_what_was_not_lost_nobody_can_know_that(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """Its sender says so, or has said so."""
        platform.faults = ["refused"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        with pytest.raises(OrderBookError, match=r"is refused: only one that was lost"):
            await local.identify(attempt.nonce, None)

    async def test_another_attempts_order_is_refused(
        self, local: OrderBook, platform: Platform
    ) -> None:
        """No order is paid for two carts."""
        other = await opened(local, "cart-41")
        platform.faults = ["lost"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        with pytest.raises(CallbackReferenceError, match="another attempt"):
            await local.identify(attempt.nonce, other.order_id)
