"""The lane of the polls: its rate, its connections, and the list of many orders."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import attrs
import pytest

from aurpay_async import (
    AurpayClient,
    ConfigurationError,
    ConnectionLostError,
    NotFoundError,
    OrderStatus,
    Response,
    RetryPolicy,
)
from aurpay_async._client.aiohttp import AiohttpTransport
from aurpay_async._client.options import poll_connections
from aurpay_async._client.retry import Pace
from aurpay_async._client.transport import POLL_CONNECTIONS
from aurpay_async.testing import FakeClock

from ..api.samples import paged
from ..support.orders import (
    NOW,
    build_detail,
    build_lightning_order,
    build_order,
    build_response,
    wrap_data,
)
from .test_polling import (
    LIFE,
    ORDER,
    assert_nothing_runs,
    client,
    failure,
    waited_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aurpay_async import LightningOrder, Payment, Request


class SteppingClock:
    """A clock that stands still until the test lets time pass, from wake to wake."""

    def __init__(self) -> None:
        self._clock = FakeClock(NOW)
        self.now, self.monotonic = self._clock.now, self._clock.monotonic
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._numbers = count()

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        until = self.monotonic() + seconds
        heappush(self._sleepers, (until, next(self._numbers), event))
        await event.wait()

    async def go(self, seconds: float) -> None:
        """Let so many seconds pass; all tasks do what is due meanwhile."""
        end = self.monotonic() + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            until, _, event = heappop(self._sleepers)
            self._clock.advance(max(0.0, until - self.monotonic()))
            event.set()
            if not self._sleepers or self._sleepers[0][0] > until:
                await settle()
        self._clock.advance(end - self.monotonic())
        await settle()


async def settle() -> None:
    """Let all tasks run until each waits."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    if ready is None:
        pytest.skip("uvloop does not show its queue of callbacks")
    await asyncio.sleep(0)
    while ready:
        await asyncio.sleep(0)


class Shop:
    """A transport with many orders: it serves their list and their details."""

    def __init__(self, clock: SteppingClock, orders: int) -> None:
        self._clock = clock
        #: Rows by order id, the oldest first.
        self.rows: dict[str, dict[str, Any]] = {}
        for _ in range(orders):
            self.add()
        #: Ids that the list does not have.
        self.unlisted: set[str] = set()
        #: The page numbers, and the ids, that were requested.
        self.pages: list[int] = []
        self.queries: list[str] = []
        #: Answers to the next requests of a page, instead of the page.
        self.page_failures: list[object] = []
        #: Called before each page is answered.
        self.before_page: Callable[[int], object] = str
        #: While it is cleared, order detail does not answer.
        self.answers = asyncio.Event()
        self.answers.set()
        self.most_in_flight = self._in_flight = 0

    def add(self, **fields: Any) -> str:
        order_id = f"ord-{len(self.rows)}"
        created = f"{self._clock.now():%Y-%m-%dT%H:%M:%S}"
        row = {"order_id": order_id, "create_time": created, "update_time": created}
        self.rows[order_id] = build_detail(**{**row, **fields})
        return order_id

    def orders(self, ids: Iterable[str]) -> list[LightningOrder]:
        """Return the orders as they were received when they were created."""
        times = {one: f"{self.rows[one]['create_time']}Z" for one in ids}
        return [
            attrs.evolve(
                ORDER, order_id=one, create_time=datetime.fromisoformat(times[one])
            )
            for one in times
        ]

    def pay(self, *ids: str) -> None:
        for one in ids:
            self.rows[one]["status"] = "SUCCESS"

    async def send(self, request: Request) -> Response:
        url = urlsplit(request.path)
        if request.method == "POST":
            return build_response(wrap_data(build_order(order_id="sold")))
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(0)
            if url.query:
                return self._page(
                    **{k: int(v[0]) for k, v in parse_qs(url.query).items()}
                )
            order_id = url.path.rpartition("/")[2]
            self.queries.append(order_id)
            await self.answers.wait()
            if order_id not in self.rows:
                return Response(status=404)
            return build_response(wrap_data(self.rows[order_id]))
        finally:
            self._in_flight -= 1

    def _page(self, page: int, size: int) -> Response:
        self.pages.append(page)
        self.before_page(page)
        if self.page_failures:
            failing = self.page_failures.pop(0)
            if isinstance(failing, Exception):
                raise failing
            assert isinstance(failing, Response)
            return failing
        rows = [row for one, row in self.rows.items() if one not in self.unlisted][::-1]
        shown = rows[(page - 1) * size : page * size]
        last = -(-len(rows) // size)
        counts = {"page": page, "size": size, "total": len(rows), "max_page": last}
        return build_response(wrap_data(paged(shown, **counts)))


def wait_for(
    aurpay: AurpayClient, orders: Iterable[LightningOrder | str], **options: Any
) -> list[asyncio.Task[Payment]]:
    return [
        asyncio.create_task(aurpay.wait_for_payment(one, **options)) for one in orders
    ]


async def stop(waiting: Iterable[asyncio.Task[Payment]]) -> None:
    waiting = [*waiting]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await settle()


def outcomes(waiting: Iterable[asyncio.Task[Payment]]) -> list[str]:
    return [task.result().outcome for task in waiting if task.done()]


async def test_fewer_than_fifty_orders_are_each_queried_by_their_id() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 49)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await clock.go(10)
        assert {*shop.queries} == {*shop.rows}
        assert shop.pages == []
        await stop(waiting)
    assert_nothing_runs()


async def test_from_fifty_orders_on_the_list_is_read_down_to_the_oldest() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 500)
    waited = [f"ord-{number}" for number in range(250, 500, 3)]
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(waited))
        await clock.go(1)
        assert (shop.pages, shop.queries) == ([1, 2, 3], [])
        shop.pay(*waited)
        await clock.go(3)
        assert outcomes(waiting) == ["paid"] * len(waited)
    assert (shop.pages, shop.queries) == ([1, 2, 3] * 2, [])
    assert_nothing_runs()


async def test_payment_from_the_list_has_the_row_as_its_order() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    statuses: list[OrderStatus] = []
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows), on_status=statuses.append)
        await clock.go(1)
        shop.pay("ord-7")
        await clock.go(3)
        payment = await waiting[7]
        await stop(waiting)
    assert payment.order.order_id == "ord-7"
    assert payment.order.status is OrderStatus.SUCCESS
    assert statuses == ["SUCCESS"]


@pytest.mark.slow
async def test_orders_created_during_the_reading_hide_no_order() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 400)
    waited = [*shop.rows]
    shop.before_page = lambda _: [shop.add() for _ in range(30)]
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(waited))
        await clock.go(1)
        shop.pay(*waited)
        await clock.go(4)
        assert outcomes(waiting) == ["paid"] * len(waited)
    assert shop.queries == []


async def test_order_that_a_vanishing_row_hides_is_queried_by_its_id() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 200)
    waited = [*shop.rows]

    def hide(page: int) -> None:
        # Without a row of page 1, the first row of page 2 moves to page 1.
        if page == 2:
            shop.unlisted.add("ord-199")

    shop.before_page = hide
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(waited))
        await clock.go(1)
        assert shop.queries == ["ord-99"]
        await stop(waiting)


@pytest.mark.slow
async def test_order_missing_in_the_list_twice_is_queried_by_its_id_always() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 250)
    shop.unlisted.add("ord-10")
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await clock.go(1)
        assert shop.queries == ["ord-10"]
        await clock.go(6)
        assert len(shop.queries) == 4
        assert set(shop.queries) == {"ord-10"}
        shop.pay("ord-10")
        await clock.go(3)
        assert outcomes(waiting) == ["paid"]
        await stop(waiting)


async def test_list_is_not_read_beyond_the_time_of_the_oldest_order() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 300)
    await clock.go(660)
    waited = [shop.add() for _ in range(150)]
    shop.unlisted.add(waited[0])
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(waited))
        await clock.go(1)
        assert (shop.pages, shop.queries) == ([1, 2, 3], [waited[0]])
        await stop(waiting)


@pytest.mark.slow
async def test_no_more_pages_are_read_than_orders_are_waited_for() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 5600)
    waited = [f"ord-{number}" for number in range(0, 5600, 102)]
    assert len(waited) == 55
    shop.unlisted.update(waited[:5])
    async with client(shop, clock, polls_per_second=100) as aurpay:
        waiting = wait_for(aurpay, shop.orders(waited))
        await clock.go(1)
        assert max(shop.pages) == 55
        assert sorted(shop.queries) == sorted(waited[:5])
        await stop(waiting)


@pytest.mark.parametrize(
    "odd",
    [{"status": None}, {"status": 5}, {"amount": "much"}, {"update_time": []}],
    ids=["no status", "status 5", "amount", "time"],
)
async def test_order_whose_row_cannot_be_read_is_queried_by_its_id(
    odd: dict[str, Any],
) -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    listed = shop.add(**odd)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await settle()
        assert shop.queries == [listed]
        await stop(waiting)


async def test_order_waited_for_by_its_id_is_queried_once_before_it_is_listed() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    async with client(shop, clock, polls_per_second=1000) as aurpay:
        waiting = wait_for(aurpay, shop.rows)
        await clock.go(5)
        assert shop.queries == [*shop.rows]
        assert shop.pages == [1, 1]
        await stop(waiting)


async def test_order_without_a_creation_time_is_never_looked_for_in_the_list() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 59)
    shop.add(create_time=None)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, [*shop.orders([*shop.rows][:-1]), "ord-59"])
        await clock.go(5)
        assert shop.queries == ["ord-59"] * 3
        await stop(waiting)


async def test_rows_without_a_creation_time_do_not_end_the_reading() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    for _ in range(100):
        shop.add(create_time=None)
    waited = [*shop.rows][:60]
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(waited))
        await settle()
        assert (shop.pages, shop.queries) == ([1, 2], [])
        await stop(waiting)


@pytest.mark.slow
@pytest.mark.parametrize(
    "failing",
    [
        Response(status=503),
        Response(status=404),
        build_response(b"<html>"),
        ConnectionLostError("lost"),
        LookupError("a defect"),
    ],
    ids=["503", "404", "html", "lost", "defect"],
)
async def test_failed_page_loses_no_order_and_the_list_is_read_again_a_minute_later(
    failing: object, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppingClock()
    shop = Shop(clock, 110)

    def fail_once(page: int) -> None:
        if page == 2 and not caplog.messages:
            shop.page_failures.append(failing)

    shop.before_page = fail_once
    async with client(shop, clock, polls_per_second=12) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await clock.go(1)
        # Page 1 has the latest 100 orders.
        assert shop.pages == [1, 2]
        assert {*shop.queries} == {f"ord-{number}" for number in range(10)}
        assert "the list of orders cannot be read" in caplog.text
        await clock.go(58)
        assert shop.pages == [1, 2]
        await clock.go(8)
        assert 2 in shop.pages[2:]
        shop.pay(*shop.rows)
        await clock.go(6)
        assert outcomes(waiting) == ["paid"] * 110
    assert_nothing_runs()


async def test_final_error_of_a_query_reaches_its_waiter_and_no_other() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 80)
    waited = shop.orders(shop.rows)
    del shop.rows["ord-5"]
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, waited)
        await clock.go(1)
        error = await failure(waiting[5])
        assert type(error) is NotFoundError
        assert error.order_id == "ord-5"
        assert [task.done() for task in waiting].count(True) == 1
        await stop(waiting)


async def test_rate_limit_of_the_list_pauses_all_polls() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    shop.page_failures.append(Response(status=429, headers={"retry-after": "7"}))
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await clock.go(6.8)
        assert (shop.pages, shop.queries) == ([1], [])
        await clock.go(2)
        assert shop.queries != []
        await stop(waiting)


async def test_rate_limit_of_a_query_pauses_all_polls() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 2)
    limited = Response(status=429, headers={"retry-after": "7"})

    class Limited(Shop):
        async def send(self, request: Request) -> Response:
            response = await super().send(request)
            return limited if self.queries == ["ord-0"] else response

    shop = Limited(clock, 2)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(["ord-0"]))
        await settle()
        waiting += wait_for(aurpay, shop.orders(["ord-1"]))
        await clock.go(6.8)
        assert shop.queries == ["ord-0"]
        await clock.go(1)
        assert sorted(shop.queries) == ["ord-0", "ord-0", "ord-1"]
        await stop(waiting)


async def test_polls_keep_to_their_rate_and_each_order_gets_its_turn() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 40)
    async with client(shop, clock, polls_per_second=5) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await settle()
        assert len(shop.queries) == 5
        await clock.go(4.05)
        assert len(shop.queries) == 25
        await clock.go(4)
        assert sorted(shop.queries[:40]) == sorted(shop.rows)
        await stop(waiting)


async def test_retries_of_polls_count_in_their_rate_and_in_a_budget_of_their_own() -> (
    None
):
    clock = FakeClock(NOW)

    class Down:
        sent = 0

        async def send(self, request: Request) -> Response:
            self.sent += 1
            return Response(status=503)

    down = Down()
    retry = RetryPolicy(max_attempts=4, base=0.001)
    async with client(down, clock, retry=retry, polls_per_second=0.5) as aurpay:
        tokens = aurpay._transport.budget.tokens
        await failure(aurpay.wait_for_payment(build_lightning_order(), timeout=60))
        assert aurpay._transport.budget.tokens == tokens
    assert 30 <= down.sent <= 34


async def test_order_is_created_while_all_polls_hang() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 30)
    shop.answers.clear()
    async with client(shop, clock, polls_per_second=1000) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await settle()
        assert shop.most_in_flight == len(shop.queries) == POLL_CONNECTIONS
        created = await aurpay.create_order("20.00", "USD")
        assert created.order_id == "sold"
        # A cancelled query and one that timed out give their connections to others.
        waiting[0].cancel()
        await settle()
        assert len(shop.queries) == POLL_CONNECTIONS + 1
        shop.answers.set()
        await settle()
        assert {*shop.queries} == {*shop.rows}
        assert shop.most_in_flight == POLL_CONNECTIONS
        await stop(waiting)
    assert_nothing_runs()


async def test_cancelled_waiters_leave_the_queue_and_free_what_they_held() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 20)
    async with client(shop, clock, polls_per_second=1) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await settle()
        assert shop.queries == ["ord-0"]
        await stop(waiting[1:19])
        await clock.go(1)
        await clock.go(1)
        assert "ord-19" in shop.queries
        await stop(waiting)
    assert_nothing_runs()


async def test_reading_the_list_stops_with_its_last_waiter() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 1100)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await settle()
        assert len(shop.pages) == 10
        await stop(waiting)
        assert waited_for(aurpay) == {}
        assert_nothing_runs()
        await clock.go(5)
    assert len(shop.pages) == 10


@pytest.mark.slow
async def test_closing_the_client_ends_the_reading_of_the_list() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 1100)
    aurpay = client(shop, clock)
    waiting = wait_for(aurpay, shop.orders(shop.rows))
    await settle()
    await aurpay.aclose()
    for task in waiting:
        assert "closed" in str(await failure(task))
    assert_nothing_runs()


@pytest.mark.slow
async def test_cancelled_reading_of_the_list_loses_no_waiter() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 1500)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await settle()
        lane = aurpay._shared_polling.lane
        assert lane is not None
        (reader,) = lane._readers.values()
        reader.cancel()
        await clock.go(1)
        assert "ord-499" not in shop.queries[1:]
        assert len(shop.queries) > 5
        shop.pay(*shop.rows)
        await clock.go(60)
        assert outcomes(waiting) == ["paid"] * 1500


async def test_query_that_waits_for_its_turn_is_spared_by_a_row_of_the_list() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 120)
    shop.page_failures.append(Response(status=503))
    async with client(shop, clock, polls_per_second=1) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await clock.go(70)
        assert len(shop.pages) > 1
        await clock.go(10)
        assert len(shop.queries) < 120
        shop.pay(*shop.rows)
        await clock.go(30)
        assert outcomes(waiting) == ["paid"] * 120


@pytest.mark.slow
async def test_new_orders_are_polled_often_while_many_old_ones_are_waited_for() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 300)
    async with client(shop, clock, polls_per_second=1) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await clock.go(80)
        new = shop.add()
        waiting += wait_for(aurpay, shop.orders([new]))
        await clock.go(1)
        shop.pay(new)
        # Reading the list down to the old ones takes three seconds.
        await clock.go(3)
        assert outcomes(waiting) == ["paid"]
        assert shop.queries == []
        await stop(waiting)


async def test_row_of_the_list_postpones_the_next_poll_of_its_order() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders([*shop.rows][:40]))
        await clock.go(1)
        assert shop.pages == []
        waiting += wait_for(aurpay, shop.orders([*shop.rows][40:]))
        await clock.go(3)
        # All are read together from the first page on.
        shop.pages.clear()
        await clock.go(10)
        assert shop.pages == [1] * 5
        await stop(waiting)


async def test_order_that_is_unpaid_in_the_list_after_its_grace_has_timed_out() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    await clock.go(LIFE - 60)
    async with client(shop, clock) as aurpay:
        waiting = wait_for(aurpay, shop.orders(shop.rows))
        await clock.go(60 + 58)
        assert outcomes(waiting) == []
        await clock.go(5)
        assert outcomes(waiting) == ["timed_out"] * 60
    assert shop.queries == []
    assert_nothing_runs()


async def test_client_and_its_copies_share_one_lane() -> None:
    clock = SteppingClock()
    shop = Shop(clock, 60)
    async with client(shop, clock) as aurpay:
        twin = aurpay.with_options(retry=RetryPolicy())
        orders = shop.orders(shop.rows)
        waiting = wait_for(aurpay, orders[:30]) + wait_for(twin, orders[30:])
        await clock.go(1)
        assert waited_for(aurpay) is waited_for(twin)
        assert (shop.pages, len(shop.queries)) == ([1], 0)
        await stop(waiting)


async def test_lane_of_a_parent_process_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SteppingClock()
    shop = Shop(clock, 2)
    async with client(shop, clock) as aurpay:
        inherited = wait_for(aurpay, shop.orders(["ord-0"]))
        await settle()
        lane = aurpay._shared_polling.lane
        monkeypatch.setattr(os, "getpid", lambda: -1)
        waiting = wait_for(aurpay, shop.orders(["ord-1"]))
        await settle()
        assert aurpay._shared_polling.lane is not lane
        assert [*waited_for(aurpay)] == ["ord-1"]
        await stop([*inherited, *waiting])


@pytest.mark.parametrize(
    ("per_second", "pauses"),
    [(2, [0, 0, 0.5, 1.0]), (0.25, [0, 4, 8, 12]), (1000, [0, 0, 0, 0])],
)
def test_pace_allows_a_seconds_worth_at_once(
    per_second: float, pauses: list[float]
) -> None:
    pace = Pace(per_second, FakeClock(NOW))
    assert [pace.book() for _ in range(4)] == pytest.approx(pauses)


def test_pace_saves_nothing_up_while_no_request_is_sent() -> None:
    clock = FakeClock(NOW)
    pace = Pace(2, clock)
    clock.advance(3600)
    assert [pace.book() for _ in range(3)] == pytest.approx([0, 0, 0.5])


@pytest.mark.parametrize("rate", [0, -1, 1001, float("nan"), True, "10", 10**400])
def test_invalid_rates_of_polls_are_rejected(rate: Any) -> None:
    with pytest.raises(ConfigurationError, match="polls_per_second must be a number"):
        AurpayClient(polls_per_second=rate)


async def test_polls_have_connections_beyond_those_of_all_other_calls() -> None:
    transport = AiohttpTransport("http://127.0.0.1:9")
    connector = transport._current_session().connector
    assert connector is not None
    assert connector.limit == 100 + POLL_CONNECTIONS
    await transport.aclose()


@pytest.mark.parametrize(
    ("options", "connections"),
    [
        ({}, POLL_CONNECTIONS),
        ({"limit": 0}, POLL_CONNECTIONS),
        ({"limit": 10}, 5),
        ({"limit": 1}, 1),
        ({"limit": 50, "limit_per_host": 4}, 2),
    ],
)
async def test_polls_use_at_most_half_of_the_connections_of_a_session(
    options: Any, connections: int
) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(**options)
    ) as session:
        assert poll_connections(session) == connections
    assert poll_connections(session) == POLL_CONNECTIONS
    assert poll_connections(None) == POLL_CONNECTIONS
