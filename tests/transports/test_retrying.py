"""The retry loop: one clock, one deadline, one account of what happened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from aurpay_async import Effect, Request, Response, RetryPolicy, Timeouts
from aurpay_async._clock import SystemClock
from aurpay_async._listeners import Instrumentation
from aurpay_async._retry import RetryBudget
from aurpay_async._transports._retrying import RetryingTransport
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

from ..orders import NOW

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


async def test_success_goes_through_as_it_is() -> None:
    """One attempt, no pause, the very same answer."""
    bench = Bench(OK)
    assert await bench.send() is OK
    assert bench.clock.sleeps == []


async def test_an_answer_knows_how_many_attempts_it_took() -> None:
    """And when the last one began, for errors that are found in it later."""
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
async def test_a_write_that_may_have_arrived_is_never_sent_again(
    effect: Effect, answer: Any
) -> None:
    """The promise that everything else serves."""
    bench = Bench(answer, OK)
    error = await bench.fail(effect)
    assert len(bench.inner.requests) == 1
    assert (error.attempts, error.retryable) == (1, False)


@pytest.mark.parametrize("answer", [DOWN, busy(429)], ids=repr)
async def test_a_write_that_provably_made_nothing_is(answer: Any) -> None:
    """Not sent, or told to come later."""
    bench = Bench(answer, answer, OK)
    assert (await bench.send(Effect.CREATE)).attempts == 3


@pytest.mark.parametrize(
    "answer",
    [DOWN, LOST, RequestTimeoutError("late"), *map(busy, (408, 425, 429, 500, 503))],
)
async def test_a_read_is_repeated(answer: Any) -> None:
    """It changes nothing, however often it arrives."""
    bench = Bench(answer, OK)
    assert (await bench.send(Effect.READ)).attempts == 2


async def test_the_last_error_tells_the_whole_story() -> None:
    """What it ended with, after how many attempts, sent when, worth another try."""
    bench = Bench(DOWN, DOWN, busy(503), busy(503))
    error = await bench.fail()
    assert type(error) is ServerError
    assert (error.attempts, error.retryable) == (4, True)
    assert error.sent_at == bench.clock.now()
    assert error.__context__ is None


async def test_what_was_not_sent_has_no_time_of_sending() -> None:
    """There was none."""
    error = await Bench(*[DOWN] * 4).fail()
    assert (error.attempts, error.sent_at, error.retryable) == (4, None, True)


async def test_retry_after_is_obeyed_inside_the_deadline() -> None:
    """As an answer of 429 and of 503, in seconds and as a date."""
    bench = Bench(
        busy(429, retry_after="7"),
        busy(503, retry_after="Thu, 01 Jan 2026 00:00:10 GMT"),
        OK,
    )
    await bench.send()
    assert bench.clock.sleeps == [7, 3]


async def test_retry_after_beyond_the_deadline_is_handed_over() -> None:
    """At once: the caller knows better what to do with half an hour."""
    bench = Bench(busy(429, retry_after="1800"), OK)
    error = await bench.fail()
    assert type(error) is RateLimitedError
    assert (error.retry_after, error.attempts) == (1800, 1)
    assert error.retryable
    assert bench.clock.sleeps == []


async def test_garbage_in_retry_after_counts_for_nothing() -> None:
    """The usual pause."""
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


async def test_each_attempt_has_its_limits() -> None:
    """Those of the client."""
    bench = Bench(OK, timeouts=Timeouts(connect=2, attempt=3, call=4))
    await bench.send()
    sent = bench.inner.requests[0]
    assert (sent.timeout, sent.connect_timeout) == (3, 2)


async def test_the_policy_ends_it() -> None:
    """One attempt is one attempt."""
    bench = Bench(busy(503), policy=RetryPolicy(max_attempts=1))
    assert (await bench.fail()).attempts == 1


class Blocked:
    """A loop that comes back late: every pause takes a minute."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.now, self.monotonic = clock.now, clock.monotonic

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds + 60)


async def test_a_pause_that_ends_after_the_deadline_ends_the_call() -> None:
    """Without another attempt: a limit of less than nothing would be none."""
    clock = FakeClock(NOW)
    bench = Bench(busy(503), OK, clock=Blocked(clock))
    assert type(await bench.fail()) is ServerError
    assert len(bench.inner.requests) == 1


async def test_a_broken_platform_sees_about_twice_the_calls() -> None:
    """However often each call would like to try."""
    bench = Bench(*[busy(503)] * 5000, timeouts=Timeouts(call=1e9))
    for _ in range(1000):
        await bench.fail()
    assert len(bench.inner.requests) == 2 * 1000 + RetryBudget.RESERVE


async def test_the_budget_is_shared_by_calls_in_flight() -> None:
    """200 at once against a platform that always refuses."""
    bench = Bench(*[busy(503)] * 1000)
    outcomes = await asyncio.gather(
        *(bench.send() for _ in range(200)), return_exceptions=True
    )
    assert all(isinstance(outcome, ServerError) for outcome in outcomes)
    assert len(bench.inner.requests) <= 2 * 200 + RetryBudget.RESERVE


async def test_other_settings_on_the_same_budget() -> None:
    """What is not given stays."""
    bench = Bench(busy(503), busy(503), policy=RetryPolicy(max_attempts=1))
    bench.transport = bench.transport.with_options(Timeouts(call=9), None)
    assert (await bench.fail()).attempts == 1
    bench.transport = bench.transport.with_options(None, RetryPolicy(max_attempts=2))
    assert bench.inner.requests[-1].timeout == 9
    assert bench.transport._budget is bench.budget


async def test_every_attempt_is_reported() -> None:
    """What it ended with, what comes next, and why."""
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
async def test_an_interruption_passes_untouched_and_is_reported(
    interruption: type[BaseException],
) -> None:
    """It is not ours to catch, nor to hide."""

    def interrupted(_: Request) -> Response:
        raise interruption

    bench = Bench(interrupted)
    with pytest.raises(interruption):
        await bench.send()
    assert [(event.error, event.reason) for event in bench.events] == [
        ("cancelled", "cancelled")
    ]


async def test_cancelling_a_pause_ends_the_call() -> None:
    """Between two attempts as well."""

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


async def test_by_default_the_jitter_is_random() -> None:
    """Between nothing and the full pause."""
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


async def test_what_is_not_our_error_is_not_retried() -> None:
    """A mistake in a transport of the user's own is theirs to see."""

    def wrong(_: Request) -> Response:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await Bench(wrong, OK).send()


def test_errors_of_statuses_are_api_errors() -> None:
    """So that one `except` catches the platform's no."""
    assert issubclass(ServerError, APIError)
