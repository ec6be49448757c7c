"""The retry loop: one clock, one deadline, one account of what happened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from aurpay_async import Effect, Request, Response, RetryPolicy, Timeouts
from aurpay_async._client.retry import RetryBudget
from aurpay_async._client.transport import RetryingTransport
from aurpay_async._core.clock import SystemClock
from aurpay_async._core.events import Instrumentation
from aurpay_async.errors import (
    APIError,
    AurpayError,
    ConnectError,
    ConnectionLostError,
    RateLimitedError,
    RequestOutcome,
    RequestTimeoutError,
    ServerError,
)
from aurpay_async.testing import FakeClock, MemoryTransport

from ..support.orders import NOW

if TYPE_CHECKING:
    from aurpay_async import AttemptEvent

OK = Response(status=200, body=b"{}")
DOWN = ConnectError("down", outcome=RequestOutcome.NOT_SENT)
LOST = ConnectionLostError("lost", outcome=RequestOutcome.UNKNOWN)


def busy(status: int = 429, **headers: str) -> Response:
    return Response(
        status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


class Bench:
    """A retrying transport over scripted answers, with a clock that only it moves."""

    def __init__(self, *answers: Any, **options: Any) -> None:
        self.clock = FakeClock(NOW)
        self.inner = MemoryTransport(*answers)
        self.events: list[AttemptEvent] = []
        self.budget = RetryBudget()
        self.transport = RetryingTransport(
            self.inner,
            **{
                "policy": RetryPolicy(),
                "budget": self.budget,
                "timeouts": Timeouts(connect=5, attempt=15, call=30),
                "clock": self.clock,
                "instrumentation": Instrumentation(self.events.append, self.clock),  # type: ignore[arg-type]
                "jitter": lambda: 1.0,
                **options,
            },
        )

    async def send(self, effect: Effect = Effect.READ) -> Response:
        request = Request(operation="x", method="POST", path="/", effect=effect)
        return await self.transport.send(request)

    async def fail(self, effect: Effect = Effect.READ) -> AurpayError:
        with pytest.raises(AurpayError) as caught:
            await self.send(effect)
        return caught.value


async def test_successful_response_is_returned_after_one_attempt() -> None:
    bench = Bench(OK)
    assert await bench.send() is OK
    assert bench.clock.sleeps == []


async def test_response_has_attempt_count_and_last_send_time() -> None:
    bench = Bench(DOWN, busy(), OK)
    response = await bench.send(Effect.CREATE)
    assert response.attempts == 3
    assert response.sent_at == bench.clock.now()
    assert response.body == OK.body
    assert bench.clock.sleeps == [0.25, 0.5]


@pytest.mark.parametrize("effect", [Effect.CREATE, Effect.TRANSFER])
@pytest.mark.parametrize(
    "answer",
    [
        LOST,
        RequestTimeoutError("late"),
        busy(500),
        busy(502),
        busy(503, retry_after="1"),
        busy(408),
        busy(409),
        busy(425),
        busy(303),
        busy(400),
        busy(401),
        busy(302),
        ConnectError("bad certificate", outcome=RequestOutcome.NOT_SENT, final=True),
    ],
    ids=repr,
)
async def test_write_of_unknown_outcome_is_never_sent_again(
    effect: Effect, answer: Any
) -> None:
    bench = Bench(answer, OK)
    error = await bench.fail(effect)
    assert len(bench.inner.requests) == 1
    assert (error.attempts, error.retryable) == (1, False)


@pytest.mark.parametrize("answer", [DOWN, busy(429)], ids=repr)
async def test_write_that_was_not_sent_or_rejected_is_retried(answer: Any) -> None:
    bench = Bench(answer, answer, OK)
    assert (await bench.send(Effect.CREATE)).attempts == 3


@pytest.mark.parametrize(
    "answer",
    [DOWN, LOST, RequestTimeoutError("late"), *map(busy, (408, 425, 429, 500, 503))],
)
async def test_read_is_retried_after_any_temporary_failure(answer: Any) -> None:
    bench = Bench(answer, OK)
    assert (await bench.send(Effect.READ)).attempts == 2


async def test_last_error_has_attempts_send_time_and_retryable() -> None:
    bench = Bench(DOWN, DOWN, busy(503), busy(503))
    error = await bench.fail()
    assert type(error) is ServerError
    assert (error.attempts, error.retryable) == (4, True)
    assert error.sent_at == bench.clock.now()
    assert error.__context__ is None


async def test_error_of_an_unsent_request_has_no_send_time() -> None:
    error = await Bench(*[DOWN] * 4).fail()
    assert (error.attempts, error.sent_at, error.retryable) == (4, None, True)


async def test_retry_after_within_the_deadline_is_respected() -> None:
    bench = Bench(
        busy(429, retry_after="7"),
        busy(503, retry_after="Thu, 01 Jan 2026 00:00:10 GMT"),
        OK,
    )
    await bench.send()
    assert bench.clock.sleeps == [7, 3]


async def test_retry_after_beyond_the_deadline_is_raised_at_once() -> None:
    bench = Bench(busy(429, retry_after="1800"), OK)
    error = await bench.fail()
    assert type(error) is RateLimitedError
    assert (error.retry_after, error.attempts) == (1800, 1)
    assert error.retryable
    assert bench.clock.sleeps == []


async def test_invalid_retry_after_is_ignored_by_the_retry() -> None:
    bench = Bench(busy(429, retry_after="soon"), OK)
    await bench.send()
    assert bench.clock.sleeps == [0.25]


async def test_one_deadline_covers_attempts_and_pauses() -> None:
    """The last attempt gets what is left; a pause that does not fit is not begun."""
    bench: Bench

    def slow(request: Request) -> Response:
        bench.clock.advance(min(request.timeout, 12))
        raise RequestTimeoutError("late")

    bench = Bench(slow, slow, slow, slow)
    error = await bench.fail()
    assert [request.timeout for request in bench.inner.requests] == [
        15,
        15,
        pytest.approx(30 - 24 - 0.75),
    ]
    assert error.attempts == 3
    assert bench.clock.monotonic() == pytest.approx(30)


async def test_each_attempt_has_the_client_s_timeouts() -> None:
    bench = Bench(OK, timeouts=Timeouts(connect=2, attempt=3, call=4))
    await bench.send()
    sent = bench.inner.requests[0]
    assert (sent.timeout, sent.connect_timeout) == (3, 2)


async def test_max_attempts_limits_the_number_of_attempts() -> None:
    bench = Bench(busy(503), policy=RetryPolicy(max_attempts=1))
    assert (await bench.fail()).attempts == 1


class Blocked:
    """A loop that comes back late: every pause takes a minute."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.now, self.monotonic = clock.now, clock.monotonic

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds + 60)


async def test_no_attempt_starts_after_the_deadline() -> None:
    clock = FakeClock(NOW)
    bench = Bench(busy(503), OK, clock=Blocked(clock))
    assert type(await bench.fail()) is ServerError
    assert len(bench.inner.requests) == 1


async def test_retry_budget_limits_load_on_a_failing_server() -> None:
    bench = Bench(*[busy(503)] * 5000, timeouts=Timeouts(call=1e9))
    for _ in range(1000):
        await bench.fail()
    assert len(bench.inner.requests) == 2 * 1000 + RetryBudget.RESERVE


async def test_retry_budget_is_shared_by_concurrent_calls() -> None:
    bench = Bench(*[busy(503)] * 1000)
    outcomes = await asyncio.gather(
        *(bench.send() for _ in range(200)), return_exceptions=True
    )
    assert all(isinstance(outcome, ServerError) for outcome in outcomes)
    assert len(bench.inner.requests) <= 2 * 200 + RetryBudget.RESERVE


async def test_with_options_of_the_transport_keeps_budget_and_defaults() -> None:
    bench = Bench(busy(503), busy(503), policy=RetryPolicy(max_attempts=1))
    bench.transport = bench.transport.with_options(Timeouts(call=9), None)
    assert (await bench.fail()).attempts == 1
    bench.transport = bench.transport.with_options(None, RetryPolicy(max_attempts=2))
    assert bench.inner.requests[-1].timeout == 9
    assert bench.transport.budget is bench.budget


async def test_each_attempt_emits_an_event() -> None:
    bench = Bench(DOWN, busy(503, retry_after="2"), OK)
    await bench.send()
    nothing = dict.fromkeys(["reference", "order_id", "attempt_id"])
    assert [attrs.asdict(event) for event in bench.events] == [
        {
            "operation": "x",
            "effect": Effect.READ,
            "attempt": 1,
            "duration_s": 0.0,
            "status": None,
            "error": "connect",
            "outcome": RequestOutcome.NOT_SENT,
            "retry_in_s": 0.25,
            "reason": "backoff",
            **nothing,
        },
        {
            "operation": "x",
            "effect": Effect.READ,
            "attempt": 2,
            "duration_s": 0.0,
            "status": 503,
            "error": "server",
            "outcome": RequestOutcome.UNKNOWN,
            "retry_in_s": 2.0,
            "reason": "retry-after",
            **nothing,
        },
        {
            "operation": "x",
            "effect": Effect.READ,
            "attempt": 3,
            "duration_s": 0.0,
            "status": 200,
            "error": None,
            "outcome": None,
            "retry_in_s": None,
            "reason": "answered",
            **nothing,
        },
    ]


@pytest.mark.parametrize("interruption", [asyncio.CancelledError, KeyboardInterrupt])
async def test_interrupted_attempt_emits_an_event_and_reraises(
    interruption: type[BaseException],
) -> None:

    def interrupted(_: Request) -> Response:
        raise interruption

    bench = Bench(interrupted)
    with pytest.raises(interruption):
        await bench.send()
    assert [(event.error, event.reason) for event in bench.events] == [
        ("cancelled", "cancelled")
    ]


async def test_cancellation_between_attempts_ends_the_call() -> None:

    class Stuck:
        now = SystemClock.now
        monotonic = SystemClock.monotonic

        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    bench = Bench(DOWN, OK, clock=Stuck())
    task = asyncio.create_task(bench.send())
    while not bench.events:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(bench.inner.requests) == 1


async def test_jitter_is_random_by_default() -> None:
    bench = Bench(DOWN, DOWN, OK)
    transport = RetryingTransport(
        bench.inner,
        policy=RetryPolicy(),
        budget=RetryBudget(),
        timeouts=Timeouts(),
        clock=bench.clock,
        instrumentation=Instrumentation(None, bench.clock),
    )
    await transport.send(
        Request(operation="x", method="GET", path="/", effect=Effect.READ)
    )
    first, second = bench.clock.sleeps
    assert 0 <= first <= 0.25
    assert 0 <= second <= 0.5
    assert bench.events == []


async def test_foreign_exception_of_a_transport_is_not_retried() -> None:

    def wrong(_: Request) -> Response:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await Bench(wrong, OK).send()


def test_errors_of_statuses_are_api_errors() -> None:
    """One `except` catches every answer with a status of failure."""
    assert issubclass(ServerError, APIError)
