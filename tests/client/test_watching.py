"""Watching an order: its changes, the end, and what a consumer leaves behind."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    Order,
    OrderStatus,
    Response,
)
from aurpay_async.testing import FakeClock

from ..support.orders import NOW
from .test_polling import (
    ID,
    LIFE,
    ORDER,
    Platform,
    StandingClock,
    assert_nothing_runs,
    client,
    settle,
    waited_for,
)
from .test_polling_lane import Shop, SteppingClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aurpay_async import AurpayClient, LightningOrder, Request


async def watch(
    *moves: tuple[float, object], order: LightningOrder | str = ORDER, **options: Any
) -> list[str]:
    """Return the statuses that a watcher of an order gets."""
    clock = FakeClock(NOW)
    async with client(Platform(clock, *moves), clock) as aurpay:
        updates = [update async for update in aurpay.watch(order, **options)]
        assert waited_for(aurpay) == {}
    assert_nothing_runs()
    assert {type(update) for update in updates} == {Order}
    return [update.status.value for update in updates]


@pytest.mark.parametrize("order", [ORDER, ID], ids=["order", "id"])
async def test_watcher_gets_the_order_as_it_is_and_each_change_until_it_is_paid(
    order: LightningOrder | str,
) -> None:
    moves = (0, "PENDING"), (7, "PARTIAL"), (20, "OVERDUE"), (40, "SUCCESS")
    assert await watch(*moves, order=order) == [
        "PENDING",
        "PARTIAL",
        "OVERDUE",
        "SUCCESS",
    ]


@pytest.mark.parametrize("status", ["SUCCESS", "RESOLVED", "REFUNDED"])
async def test_watching_ends_with_the_first_status_if_that_is_the_outcome(
    status: str,
) -> None:
    assert await watch((0, status)) == [status]


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("PENDING", LIFE + 60),
        ("OVERDUE", 60),
        ("TERMINATED", LIFE + 60),
        ("SETTLING", LIFE + 60),
    ],
)
async def test_watching_an_unpaid_order_ends_a_minute_after_it_is_overdue(
    status: str, end: float
) -> None:
    assert await watch((0, status), (end, "SUCCESS")) == [status, "SUCCESS"]
    assert await watch((0, status), (end + 1, "SUCCESS")) == [status]


async def test_watching_ends_at_its_timeout_without_an_error() -> None:
    assert await watch((0, "PENDING"), (9, "SUCCESS"), timeout=5) == ["PENDING"]


async def test_watching_ends_at_its_timeout_during_a_request() -> None:

    class Silence:
        async def send(self, request: Request) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

    async with client(Silence(), StandingClock()) as aurpay:
        assert [order async for order in aurpay.watch(ORDER, timeout=1e-9)] == []
        await settle()
        assert_nothing_runs()


async def test_watcher_that_is_closed_leaves_no_timer() -> None:
    clock = StandingClock()
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    async with client(Platform(clock, (0, "PENDING")), clock) as aurpay:
        updates = aurpay.watch(ORDER, timeout=3600)
        await anext(updates)
        assert len([timer for timer in scheduled if not timer.cancelled()]) == 1
        await updates.aclose()
        assert [timer for timer in scheduled if not timer.cancelled()] == []


async def test_watching_goes_on_through_temporary_failures() -> None:
    down = Response(status=503)
    assert await watch((0, "PENDING"), (2, down), (9, "SUCCESS")) == [
        "PENDING",
        "SUCCESS",
    ]


async def test_final_failure_is_raised_to_each_watcher_as_a_copy() -> None:
    clock = FakeClock(NOW)
    platform = Platform(clock, (0, "PENDING"), (1, Response(status=401)))

    async def failure_of(updates: AsyncGenerator[Order, None]) -> AuthenticationError:
        assert (await anext(updates)).status is OrderStatus.PENDING
        with pytest.raises(AuthenticationError) as caught:
            await anext(updates)
        return caught.value

    async with client(platform, clock) as aurpay:
        errors = await asyncio.gather(
            *(failure_of(aurpay.watch(ORDER)) for _ in range(3))
        )
        assert waited_for(aurpay) == {}
    assert len({id(error) for error in errors}) == 3


async def test_invalid_arguments_of_watch_are_rejected_before_the_first_step() -> None:
    async with client(
        Platform(FakeClock(NOW), (0, "PENDING")), FakeClock(NOW)
    ) as aurpay:
        for order, options in (("", {}), (None, {}), (ORDER, {"timeout": 0})):
            with pytest.raises(InvalidRequestError):
                aurpay.watch(order, **options)  # type: ignore[arg-type]


async def test_watcher_that_is_not_started_polls_nothing() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        updates = aurpay.watch(ORDER)
        await settle()
        assert (platform.looks, waited_for(aurpay)) == ([], {})
        await updates.aclose()


async def start_watching(aurpay: AurpayClient) -> AsyncGenerator[Order, None]:
    """Return a watcher that has got its first order."""
    updates = aurpay.watch(ORDER)
    assert (await anext(updates)).status is OrderStatus.PENDING
    return updates


async def test_polling_stops_when_the_last_watcher_is_closed() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        first, second = [await start_watching(aurpay) for _ in range(2)]
        assert platform.looks == [0]
        await first.aclose()
        await clock.go(2)
        assert platform.looks == [0, 2]
        await second.aclose()
        assert waited_for(aurpay) == {}
        await settle()
        assert_nothing_runs()
        await clock.go(100)
    assert platform.looks == [0, 2]


@pytest.mark.slow
async def test_consumer_that_breaks_out_of_the_loop_leaves_no_task() -> None:
    clock = StandingClock()
    async with client(Platform(clock, (0, "PENDING")), clock) as aurpay:
        async with aclosing(aurpay.watch(ORDER)) as updates:
            async for _ in updates:
                break
        assert waited_for(aurpay) == {}
        # Without aclosing, the event loop closes the generator.
        async for _ in aurpay.watch(ORDER):
            break
        gc.collect()
        await settle()
        assert waited_for(aurpay) == {}
        assert_nothing_runs()


async def test_cancelled_watcher_does_not_affect_the_others() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        first, second = [await start_watching(aurpay) for _ in range(2)]
        waiting = asyncio.create_task(anext(first))
        await settle()
        waiting.cancel()
        await settle()
        assert waiting.cancelled()
        platform.moves.append((0, "SUCCESS"))
        await clock.go(2)
        assert (await anext(second)).status is OrderStatus.SUCCESS
        with pytest.raises(StopAsyncIteration):
            await anext(second)
        assert_nothing_runs()


async def test_order_read_back_by_other_code_reaches_a_watcher_at_once() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        updates = await start_watching(aurpay)
        platform.moves.append((0, "SUCCESS"))
        await aurpay.get_order(ID)
        assert [order.status async for order in updates] == [OrderStatus.SUCCESS]
    assert platform.looks == [0, 0]


async def test_later_watcher_gets_the_last_answer_without_another_poll() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        first = await start_watching(aurpay)
        second = await start_watching(aurpay)
        assert platform.looks == [0]
        await first.aclose()
        await second.aclose()


async def test_slow_consumer_gets_the_latest_status_only() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        updates = await start_watching(aurpay)
        for status in ("PARTIAL", "OVERDUE", "SUCCESS"):
            platform.moves.append((0, status))
            await aurpay.get_order(ID)
        assert [order.status async for order in updates] == [OrderStatus.SUCCESS]


async def test_watching_and_waiting_share_one_poll() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        updates = await start_watching(aurpay)
        waiting = asyncio.create_task(aurpay.wait_for_payment(ORDER))
        await settle()
        platform.moves.append((0, "SUCCESS"))
        await clock.go(2)
        assert (await waiting).outcome == "paid"
        assert [order.status async for order in updates] == [OrderStatus.SUCCESS]
    assert platform.looks == [0, 2]


async def test_closing_the_client_ends_watching_with_an_error() -> None:
    aurpay = client(Platform(clock := StandingClock(), (0, "PENDING")), clock)
    updates = await start_watching(aurpay)
    await aurpay.aclose()
    with pytest.raises(ConfigurationError, match="closed while it polled"):
        await anext(updates)
    assert_nothing_runs()


@pytest.mark.slow
async def test_ten_thousand_watchers_share_the_lane_and_the_list() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 200)
    async with client(shop, clock) as aurpay:
        watching = [
            asyncio.create_task(collect(aurpay.watch(order)))
            for order in shop.orders(shop.rows)
            for _ in range(50)
        ]
        await clock.go(0)
        assert len(waited_for(aurpay)) == 200
        shop.pay(*shop.rows)
        await clock.go(10)
        assert {tuple(statuses) for statuses in await asyncio.gather(*watching)} == {
            ("PENDING", "SUCCESS")
        }
    assert len(shop.pages) <= 2 * 10
    assert len(shop.queries) <= 10
    assert_nothing_runs()


async def collect(updates: AsyncGenerator[Order, None]) -> list[str]:
    return [order.status.value async for order in updates]
