"""Waiting for a payment: polling times, outcomes, and concurrent waiters."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import (
    AurpayClient,
    AurpayError,
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    InvalidRequestError,
    InvalidResponseError,
    LightningOrder,
    NotFoundError,
    OrderMismatchError,
    OrderStatus,
    PaymentPendingError,
    RequestOutcome,
    Response,
    RetryPolicy,
)
from aurpay_async._client.polling import (
    OVERDUE_GRACE_S,
    poll_interval,
    seconds_to_next_poll,
)
from aurpay_async.orders import may_retry
from aurpay_async.testing import FakeClock

from ..support.orders import (
    NOW,
    build_detail,
    build_lightning_order,
    build_response,
    wrap_data,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from aurpay_async import Clock, Payment, Request
    from aurpay_async._client.polling import OrderPoller

ORDER = build_lightning_order()
ID = ORDER.order_id
LIFE = 1800.0
NO_RETRY = RetryPolicy(max_attempts=1)


class Platform:
    """A transport that answers what is true at the moment.

    Each move is a time in seconds, and from then on a status, the fields of an answer,
    a whole answer, or an error.
    """

    def __init__(self, clock: Clock, *moves: tuple[float, object]) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self.moves = list(moves)
        self.looks: list[float] = []

    async def send(self, request: Request) -> Response:
        now = self._clock.monotonic() - self._began
        self.looks.append(now)
        await asyncio.sleep(0)
        said = [said for since, said in self.moves if since <= now][-1]
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Response):
            return said
        fields = said if isinstance(said, dict) else {"status": said}
        order_id = request.path.rpartition("/")[2]
        return build_response(
            wrap_data(build_detail(**{"order_id": order_id, **fields}))
        )


class StandingClock:
    """A clock that stands still until the test advances it."""

    def __init__(self) -> None:
        self._clock = FakeClock(NOW)
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self.monotonic() + seconds, event))
        await event.wait()

    async def go(self, seconds: float) -> None:
        """Advance the clock, and let all tasks do what is due."""
        self._clock.advance(seconds)
        for until, event in self._sleepers:
            if until <= self.monotonic():
                event.set()
        await settle()


async def settle() -> None:
    """Let the loop turn until nothing is due."""
    for _ in range(50):
        await asyncio.sleep(0)


def client(platform: Any, clock: Any, **options: Any) -> AurpayClient:
    options = {"network": "regtest", "retry": NO_RETRY, **options}
    return AurpayClient(transport=platform, clock=clock, **options)


async def wait(
    *moves: tuple[float, object],
    order: LightningOrder | str = ORDER,
    began: datetime = NOW,
    **options: Any,
) -> tuple[Payment, list[float]]:
    """Return the outcome of waiting, and the times of the polls."""
    clock = FakeClock(began)
    platform = Platform(clock, *moves)
    async with client(platform, clock) as aurpay:
        payment = await aurpay.wait_for_payment(order, **options)
        assert waited_for(aurpay) == {}
    assert_nothing_runs()
    return payment, platform.looks


def assert_nothing_runs() -> None:
    """No task is left but the test's own."""
    assert {task for task in asyncio.all_tasks() if not task.cancelling()} == {
        asyncio.current_task()
    }


def waited_for(aurpay: AurpayClient) -> dict[str, OrderPoller]:
    """Return the pollers of a client by order id."""
    lane = aurpay._shared_polling.lane
    return {} if lane is None else lane.pollers


async def failure(waiting: Awaitable[object]) -> AurpayError:
    with pytest.raises(AurpayError) as caught:
        await waiting
    return caught.value


@pytest.mark.parametrize(
    ("elapsed_s", "pause_s"),
    [(0, 2), (59, 2), (60, 5), (599, 5), (600, 15), (10**9, 15)],
)
def test_poll_interval_grows_with_the_elapsed_time(
    elapsed_s: float, pause_s: float
) -> None:
    assert poll_interval(elapsed_s) == pause_s


@pytest.mark.parametrize(
    ("elapsed_s", "deadline_s", "pause_s"),
    [
        (0, 1800, 2),
        (100, 1700, 5),
        (1799, 1, 1),
        (1800, 0, 60),
        (1830, -30, 30),
        (1860, -60, 0),
        (9999, -9999, 0),
    ],
)
def test_next_poll_is_at_its_interval_the_deadline_and_after_the_grace(
    elapsed_s: float, deadline_s: float, pause_s: float
) -> None:
    assert seconds_to_next_poll(elapsed_s, deadline_s) == pause_s


@given(st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_no_poll_at_the_deadline_or_the_end_is_missed(
    elapsed_s: float, deadline_s: float
) -> None:
    pause_s = seconds_to_next_poll(elapsed_s, deadline_s)
    assert 0 <= pause_s <= OVERDUE_GRACE_S
    for moment_s in (deadline_s, deadline_s + OVERDUE_GRACE_S):
        assert not 0 < moment_s < pause_s


async def test_order_that_is_already_paid_takes_one_poll() -> None:
    payment, looks = await wait((0, "SUCCESS"))
    assert payment.outcome == "paid"
    assert payment.order.order_id == ID
    assert payment.order.status is OrderStatus.SUCCESS
    assert looks == [0]


async def test_payment_during_the_wait_is_seen_at_the_next_poll() -> None:
    payment, looks = await wait((0, "PENDING"), (5, "SUCCESS"))
    assert payment.outcome == "paid"
    assert looks == [0, 2, 4, 6]


@pytest.mark.parametrize("status", ["SUCCESS", "RESOLVED"])
@pytest.mark.parametrize("before", ["PENDING", "PARTIAL", "TERMINATED", "SETTLING"])
async def test_statuses_not_known_to_be_paid_are_polled_on(
    before: str, status: str
) -> None:
    payment, looks = await wait((0, before), (1, status))
    assert payment.outcome == "paid"
    assert looks == [0, 2]


async def test_unpaid_order_times_out_a_minute_after_it_is_overdue() -> None:
    payment, looks = await wait((0, "PENDING"))
    assert payment.outcome == "timed_out"
    assert payment.order.status is OrderStatus.PENDING
    assert looks[-3:] == [LIFE - 15, LIFE, LIFE + OVERDUE_GRACE_S]
    assert len(looks) == 30 + 108 + 80 + 2


async def test_overdue_status_starts_the_grace_period() -> None:
    payment, looks = await wait((0, "PENDING"), (100, "OVERDUE"))
    assert payment.outcome == "timed_out"
    assert payment.order.status is OrderStatus.OVERDUE
    assert looks[-2:] == [100, 160]


@pytest.mark.parametrize("status", ["SUCCESS", "RESOLVED"])
async def test_payment_after_an_overdue_status_is_late(status: str) -> None:
    moves = (0, "OVERDUE"), (30, {"status": status, "update_time": None})
    payment, looks = await wait(*moves)
    assert payment.outcome == "late_paid"
    assert looks == [0, 60]
    payment, _ = await wait((0, "OVERDUE"), (30, status))
    assert payment.outcome == "late_paid"


@pytest.mark.parametrize(
    ("update_time", "outcome"),
    [
        (None, "late_paid"),
        ("2026-01-01T00:30:01", "late_paid"),
        ("2026-01-01T00:30:00", "paid"),
        ("2026-01-01T00:29:59", "paid"),
    ],
)
async def test_payment_seen_after_the_deadline_is_late_unless_updated_before(
    update_time: str | None, outcome: str
) -> None:
    paid = {"status": "SUCCESS", "update_time": update_time}
    payment, looks = await wait((0, "PENDING"), (LIFE + 1, paid))
    assert payment.outcome == outcome
    assert looks[-1] == LIFE + OVERDUE_GRACE_S


async def test_payment_exactly_at_the_deadline_is_in_time() -> None:
    payment, looks = await wait(
        (0, "PENDING"), (LIFE, {"status": "SUCCESS", "update_time": None})
    )
    assert payment.outcome == "paid"
    assert looks[-1] == LIFE


async def test_refunded_order_has_its_outcome() -> None:
    payment, _ = await wait((0, "PENDING"), (1, "REFUNDED"))
    assert payment.outcome == "refunded"


async def test_age_of_an_order_id_comes_from_its_creation_time() -> None:
    moves = (0, {"create_time": "2025-12-31T23:50:00"})
    payment, looks = await wait(moves, order=ID)
    assert payment.outcome == "timed_out"
    assert looks[-2:] == [LIFE - 600, LIFE - 600 + OVERDUE_GRACE_S]


@pytest.mark.parametrize("create_time", [None, "2025-12-31T23:00:00"])
async def test_age_of_an_order_object_comes_from_the_object(
    create_time: str | None,
) -> None:
    _, looks = await wait(
        (0, {"create_time": create_time}), began=NOW + timedelta(minutes=10)
    )
    assert looks[-2:] == [LIFE - 600, LIFE - 600 + OVERDUE_GRACE_S]


async def test_first_known_age_of_an_order_is_kept() -> None:
    moves = (0, "PENDING"), (9, {"create_time": "2025-12-31T23:50:00"})
    _, looks = await wait(*moves, order=ID)
    assert looks[-2:] == [LIFE, LIFE + OVERDUE_GRACE_S]


async def test_age_of_an_order_without_creation_time_starts_with_the_wait() -> None:
    _, looks = await wait((0, {"create_time": None}), order=ID)
    assert looks[-2:] == [LIFE, LIFE + OVERDUE_GRACE_S]


@pytest.mark.parametrize("ahead", ["9999-12-31T23:59:59", "2026-01-01T08:00:00"])
async def test_creation_time_in_the_future_is_ignored(ahead: str) -> None:
    payment, looks = await wait((0, {"create_time": ahead}), order=ID)
    assert payment.outcome == "timed_out"
    assert looks[-1] == 31 * 60


@pytest.mark.parametrize(
    ("said", "outcome"),
    [("OVERDUE", "timed_out"), ("PENDING", "timed_out"), ("SUCCESS", "paid")],
)
async def test_waiting_after_a_restart_takes_one_poll(said: str, outcome: str) -> None:
    payment, looks = await wait(
        (0, said),
        order=LightningOrder.from_json(ORDER.to_json()),
        began=NOW + timedelta(hours=1),
    )
    assert payment.outcome == outcome
    assert looks == [0]


async def test_waiters_for_the_same_order_share_one_poller() -> None:
    clock = FakeClock(NOW)
    platform = Platform(clock, (0, "PENDING"), (9, "SUCCESS"))
    async with client(platform, clock) as aurpay:
        twin = aurpay.with_options(retry=RetryPolicy())
        payments = await asyncio.gather(
            *(aurpay.wait_for_payment(ORDER) for _ in range(20)),
            *(twin.wait_for_payment(ID) for _ in range(20)),
        )
    assert {payment.outcome for payment in payments} == {"paid"}
    assert len({id(payment) for payment in payments}) == 1
    assert platform.looks == [0, 2, 4, 6, 8, 10]
    assert_nothing_runs()


async def test_each_order_has_a_separate_poller() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "SUCCESS"))
    async with client(platform, clock) as aurpay:
        payments = await asyncio.gather(
            *(aurpay.wait_for_payment(f"ord-{number}") for number in range(5))
        )
    assert [p.order.order_id for p in payments] == [f"ord-{n}" for n in range(5)]
    assert len(platform.looks) == 5


async def test_get_order_of_other_code_ends_all_waits() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        waiting = [
            asyncio.create_task(aurpay.wait_for_payment(ORDER)) for _ in range(3)
        ]
        await settle()
        assert platform.looks == [0]
        platform.moves.append((0, "SUCCESS"))
        assert (await aurpay.get_order(ID)).status is OrderStatus.SUCCESS
        payments = await asyncio.gather(*waiting)
        assert {payment.outcome for payment in payments} == {"paid"}
        assert_nothing_runs()
    assert platform.looks == [0, 0]


async def test_overdue_order_read_back_by_other_code_starts_the_grace_period() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        waiting = asyncio.create_task(aurpay.wait_for_payment(ORDER))
        await settle()
        platform.moves.append((0, "OVERDUE"))
        await aurpay.get_order(ID)
        await clock.go(2)
        assert not waiting.done()
        await clock.go(58)
        assert (await waiting).outcome == "timed_out"
    assert platform.looks == [0, 0, 2, 60]


async def test_older_response_that_arrives_later_is_ignored() -> None:
    clock = StandingClock()
    statuses: list[OrderStatus] = []
    platform = Platform(clock, (0, "OVERDUE"))
    async with client(platform, clock) as aurpay:
        waiting = asyncio.create_task(
            aurpay.wait_for_payment(ORDER, on_status=statuses.append)
        )
        await settle()
        platform.moves.append((0, "PENDING"))
        await aurpay.get_order(ID)
        await clock.go(60)
        payment = await waiting
    assert payment.order.status is OrderStatus.OVERDUE
    assert statuses == ["OVERDUE"]


async def test_cancelled_waiter_does_not_affect_the_others() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        first, second = (
            asyncio.create_task(aurpay.wait_for_payment(ORDER)) for _ in range(2)
        )
        await settle()
        first.cancel()
        await clock.go(2)
        assert first.cancelled()
        assert platform.looks == [0, 2]
        second.cancel()
        await settle()
        assert second.cancelled()
        assert waited_for(aurpay) == {}
        assert_nothing_runs()
        await clock.go(100)
        assert platform.looks == [0, 2]
        # A later call starts a new poller.
        platform.moves.append((0, "SUCCESS"))
        assert (await aurpay.wait_for_payment(ORDER)).outcome == "paid"


async def test_timeout_of_a_waiter_raises_payment_pending() -> None:
    clock = FakeClock(NOW)
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        errors = await asyncio.gather(
            failure(aurpay.wait_for_payment(ORDER, timeout=3)),
            failure(aurpay.wait_for_payment(ORDER, timeout=4.5)),
        )
        assert waited_for(aurpay) == {}
    for error in errors:
        assert type(error) is PaymentPendingError
        assert isinstance(error, TimeoutError)
        assert (error.order_id, error.retryable) == (ID, True)
        assert ID in str(error)
    assert platform.looks == [0, 2, 4]
    assert clock.sleeps == [2, 1, 1, 0.5]
    assert_nothing_runs()


async def test_waiter_with_a_longer_timeout_still_gets_the_payment() -> None:
    clock = FakeClock(NOW)
    platform = Platform(clock, (0, "PENDING"), (9, "SUCCESS"))
    async with client(platform, clock) as aurpay:
        error, payment = await asyncio.gather(
            failure(aurpay.wait_for_payment(ORDER, timeout=1)),
            aurpay.wait_for_payment(ORDER, timeout=60),
        )
    assert error.code == "payment_pending"
    assert payment.outcome == "paid"


async def test_timeout_also_ends_during_a_request() -> None:

    class Silence:
        async def send(self, request: Request) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

    async with client(Silence(), StandingClock()) as aurpay:
        error = await failure(aurpay.wait_for_payment(ORDER, timeout=1e-9))
        await settle()
        assert_nothing_runs()
    assert error.code == "payment_pending"


@pytest.mark.parametrize(
    "passing",
    [
        Response(status=503),
        Response(status=429),
        ConnectionLostError("lost"),
    ],
    ids=["503", "429", "lost"],
)
async def test_retryable_errors_are_polled_through(passing: object) -> None:
    payment, looks = await wait((0, passing), (5, "SUCCESS"))
    assert payment.outcome == "paid"
    assert looks == [0, 2, 4, 6]


async def test_retry_after_delays_the_next_poll_up_to_five_minutes() -> None:
    for asked, paused in (("30", 30), ("99999", 300)):
        busy = Response(status=503, headers={"retry-after": asked})
        _, looks = await wait((0, busy), (1, "SUCCESS"))
        assert looks == [0, paused]


async def test_failed_final_poll_is_repeated() -> None:
    paid = {"status": "SUCCESS", "update_time": None}
    moves = (0, "PENDING"), (LIFE, Response(status=503)), (LIFE + 80, paid)
    payment, looks = await wait(*moves)
    assert payment.outcome == "late_paid"
    assert looks[-2:] == [LIFE + 75, LIFE + 90]


async def test_poll_that_began_before_the_end_of_grace_is_not_the_last() -> None:
    clock = FakeClock(NOW + timedelta(seconds=LIFE + 50))

    class Slow(Platform):
        async def send(self, request: Request) -> Response:
            response = await super().send(request)
            clock.advance(20)
            return response

    platform = Slow(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        assert (await aurpay.wait_for_payment(ORDER)).outcome == "timed_out"
    assert platform.looks == [0, 20]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Response(status=401), AuthenticationError),
        (Response(status=404), NotFoundError),
        (build_response({"code": 401}), AuthenticationError),
        (build_response(b"<html>"), InvalidResponseError),
        ({"order_id": "another"}, InvalidResponseError),
    ],
    ids=["401", "404", "envelope", "html", "another order"],
)
async def test_final_error_is_raised_to_each_waiter_as_a_copy(
    said: object, kind: type[AurpayError]
) -> None:
    clock = FakeClock(NOW)
    platform = Platform(clock, (0, "PENDING"), (1, said))
    async with client(platform, clock) as aurpay:
        errors = await asyncio.gather(
            *(failure(aurpay.wait_for_payment(ORDER)) for _ in range(3))
        )
        assert waited_for(aurpay) == {}
    assert {type(error) for error in errors} == {kind}
    assert {error.order_id for error in errors} == {ID}
    assert len({id(error) for error in errors}) == 3
    assert platform.looks == [0, 2]
    assert_nothing_runs()


async def test_foreign_exception_is_raised_to_each_waiter() -> None:
    clock = FakeClock(NOW)
    platform = Platform(clock, (0, LookupError("mine")))
    async with client(platform, clock) as aurpay:
        outcomes = await asyncio.gather(
            *(aurpay.wait_for_payment(ORDER) for _ in range(3)),
            return_exceptions=True,
        )
    assert [str(outcome) for outcome in outcomes] == ["mine"] * 3


async def test_error_without_waiters_left_logs_no_unretrieved_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    clock = StandingClock()
    for turns in range(20):
        platform = Platform(clock, (0, LookupError("mine")))
        async with client(platform, clock) as aurpay:
            waiting = asyncio.create_task(aurpay.wait_for_payment(ORDER))
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await settle()
            assert_nothing_runs()
        del waiting, aurpay, platform
    gc.collect()
    assert complaints == []
    assert "never retrieved" not in caplog.text


async def test_on_status_is_called_once_per_change() -> None:
    clock = FakeClock(NOW)
    moves = [(0, "PENDING"), (3, "PARTIAL"), (7, "OVERDUE"), (9, "SUCCESS")]
    platform = Platform(clock, *moves)
    by_order: list[OrderStatus] = []
    by_id: list[OrderStatus] = []
    async with client(platform, clock) as aurpay:
        await asyncio.gather(
            aurpay.wait_for_payment(ORDER, on_status=by_order.append),
            aurpay.wait_for_payment(ID, on_status=by_id.append),
        )
    assert by_order == ["PARTIAL", "OVERDUE", "SUCCESS"]
    assert by_id == ["PENDING", *by_order]


async def test_exception_in_on_status_is_logged_and_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:

    def broken(_: object) -> None:
        raise KeyError("broken")

    clock = FakeClock(NOW)
    heard: list[OrderStatus] = []
    platform = Platform(clock, (0, "PENDING"), (1, "SUCCESS"))
    async with client(platform, clock) as aurpay:
        payments = await asyncio.gather(
            aurpay.wait_for_payment(ORDER, on_status=broken),
            aurpay.wait_for_payment(ORDER, on_status=heard.append),
        )
    assert [payment.outcome for payment in payments] == ["paid", "paid"]
    assert heard == ["SUCCESS"]
    assert "a listener failed" in caplog.text
    assert {record.name for record in caplog.records} == {"aurpay_async.client"}


async def test_closing_the_client_ends_all_waits_and_pollers() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    aurpay = client(platform, clock)
    waiting = [
        asyncio.create_task(failure(aurpay.wait_for_payment(order)))
        for order in (ORDER, ORDER, "another")
    ]
    await settle()
    pollers = [poller.task for poller in waited_for(aurpay).values()]
    await aurpay.aclose()
    assert len(pollers) == 2
    assert all(poller is not None and poller.done() for poller in pollers)
    for error in await asyncio.gather(*waiting):
        assert type(error) is ConfigurationError
        assert "closed" in str(error)
    assert_nothing_runs()
    error = await failure(aurpay.wait_for_payment(ORDER))
    assert "closed" in str(error)


async def test_closing_the_client_cancels_a_poll_in_flight() -> None:
    asked = asyncio.Event()

    class Silence:
        async def send(self, request: Request) -> Response:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    aurpay = client(Silence(), StandingClock())
    waiting = asyncio.create_task(failure(aurpay.wait_for_payment(ORDER)))
    await asked.wait()
    await aurpay.aclose()
    assert "closed" in str(await waiting)
    assert_nothing_runs()


async def test_fake_clock_lets_other_tasks_run_during_polling() -> None:

    class Down:
        async def send(self, request: Request) -> Response:
            return Response(status=503)

    async with client(Down(), FakeClock(NOW)) as aurpay:
        waiting = asyncio.create_task(aurpay.wait_for_payment(ORDER))
        await settle()
        waiting.cancel()
        await settle()
        assert waiting.cancelled()


async def test_cancelled_polling_task_ends_all_waits_with_an_error() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    async with client(platform, clock) as aurpay:
        waiting = asyncio.create_task(failure(aurpay.wait_for_payment(ORDER)))
        await settle()
        poller = waited_for(aurpay)[ID].task
        assert poller is not None
        poller.cancel()
        assert "cancelled" in str(await waiting)


def test_pollers_of_an_ended_loop_are_replaced() -> None:
    clock = StandingClock()
    platform = Platform(clock, (0, "PENDING"))
    aurpay = client(platform, clock)

    kept: list[asyncio.Task[Payment]] = []

    async def begin() -> None:
        kept.append(asyncio.create_task(aurpay.wait_for_payment(ORDER)))
        await settle()

    async def go_on() -> None:
        platform.moves.append((0, "SUCCESS"))
        await aurpay.get_order(ID)
        assert aurpay._shared_polling.lane is stale
        assert (await aurpay.wait_for_payment(ORDER)).outcome == "paid"

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    stale = aurpay._shared_polling.lane
    asyncio.run(go_on())
    assert aurpay._shared_polling.lane is not stale
    aurpay._shared_polling.lane = stale
    asyncio.run(aurpay.aclose())
    assert waited_for(aurpay) == {}
    loop.run_until_complete(cancel_all())
    loop.close()


async def cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def an_async_listener(_: OrderStatus) -> None:
    """Would never be awaited."""


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"order": ""}, "order"),
        ({"order": None}, "order"),
        ({"order": ".."}, "order"),
        ({"order": 5}, "order"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"timeout": timedelta(seconds=5)}, "timeout"),
        ({"on_status": 5}, "on_status"),
        ({"on_status": an_async_listener}, "on_status"),
    ],
)
async def test_invalid_arguments_of_wait_for_payment_are_rejected(
    arguments: Any, field: str
) -> None:
    platform = Platform(FakeClock(NOW), (0, "PENDING"))
    async with client(platform, FakeClock(NOW)) as aurpay:
        with pytest.raises(InvalidRequestError) as caught:
            await aurpay.wait_for_payment(**{"order": ORDER, **arguments})
    assert caught.value.field == field
    assert platform.looks == []


async def test_permanent_failure_is_raised_some_minutes_after_the_last_poll() -> None:
    clock = FakeClock(NOW)
    gone = ConnectionLostError("gone", outcome=RequestOutcome.NOT_SENT)
    platform = Platform(clock, (0, gone))
    async with client(platform, clock) as aurpay:
        with pytest.raises(ConnectionLostError, match="gone"):
            await aurpay.wait_for_payment(ORDER)
    assert 2160 <= clock.monotonic() <= 2200


@pytest.mark.parametrize("status", ["PARTIAL", "TERMINATED", "NEW"])
async def test_unknown_status_at_the_end_is_pending_not_timed_out(status: str) -> None:
    clock = FakeClock(NOW)
    async with client(Platform(clock, (0, status)), clock) as aurpay:
        with pytest.raises(PaymentPendingError, match=f"is '{status}'"):
            await aurpay.wait_for_payment(ORDER)


async def test_pending_order_with_times_of_another_zone_is_still_polled() -> None:
    clock = FakeClock(NOW)
    early = {"status": "PENDING", "create_time": "2025-12-31T23:00:00"}
    platform = Platform(clock, (0, early), (90, {**early, "status": "SUCCESS"}))
    async with client(platform, clock) as aurpay:
        payment = await aurpay.wait_for_payment(ORDER.order_id)
    assert payment.order.status is OrderStatus.SUCCESS
    assert clock.monotonic() >= 90


def test_waiting_without_a_loop_is_a_configuration_error() -> None:
    """As under trio, which drives coroutines itself."""
    waiting = AurpayClient(network="regtest", base_url="http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="trio is not supported"):
        waiting.wait_for_payment("20260101000000000001").send(None)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"vs_price": "0.01"}, "price for order '{}': 0.01 instead of 20.00"),
        ({"vs_currency": "EUR"}, "currency for order '{}': 'EUR' instead of 'USD'"),
        ({"amount": "1E-8"}, "amount for order '{}': 0.00000001 instead of 0.00020000"),
    ],
)
@pytest.mark.parametrize("status", ["SUCCESS", "PENDING"])
async def test_wait_and_watch_reject_an_order_of_another_price_currency_or_amount(
    fields: dict[str, Any], problem: str, status: str
) -> None:
    statuses: list[OrderStatus] = []
    clock = FakeClock(NOW)
    platform = Platform(clock, (0, {**fields, "status": status}))
    async with client(platform, clock) as aurpay:
        error = await failure(aurpay.wait_for_payment(ORDER, on_status=statuses.append))
        assert isinstance(error, OrderMismatchError)
        assert str(error) == "Aurpay has another " + problem.format(ID)
        assert (error.order_id, error.outcome) == (ID, RequestOutcome.UNKNOWN)
        assert not may_retry(error)
        assert not error.may_have_succeeded
        updates = aurpay.watch(ORDER)
        assert isinstance(await failure(anext(updates)), OrderMismatchError)
    assert (statuses, len(platform.looks)) == ([], 2)


async def test_wait_compares_each_answer_with_each_callers_own_order() -> None:
    """A caller that gave the id alone shares the poller, and gets the payment."""
    clock = FakeClock(NOW)
    moves = (0, "PENDING"), (10, {"vs_price": "0.01", "status": "SUCCESS"})
    statuses: list[OrderStatus] = []
    async with client(Platform(clock, *moves), clock) as aurpay:
        error, payment = await asyncio.gather(
            failure(aurpay.wait_for_payment(ORDER, on_status=statuses.append)),
            aurpay.wait_for_payment(ID),
        )
    assert isinstance(error, OrderMismatchError)
    assert (payment.outcome, payment.order.price) == ("paid", Decimal("0.01"))
    assert statuses == []


async def test_wait_accepts_an_answer_without_price_currency_and_amount() -> None:
    missing = {"vs_price": None, "vs_currency": None, "amount": None}
    payment, _ = await wait((0, {**missing, "status": "SUCCESS"}))
    assert payment.outcome == "paid"
