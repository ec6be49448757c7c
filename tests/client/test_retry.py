"""Retry decisions: tables and arithmetic, without waiting."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import AurpayClient, RetryPolicy, errors
from aurpay_async._api.envelope import outcome_of_status, parse_retry_after
from aurpay_async._client.retry import RetryBudget, is_retryable, plan_retry
from aurpay_async._core.http import Effect
from aurpay_async.errors import ConfigurationError, NotFoundError, RequestOutcome
from aurpay_async.testing import MemoryTransport, Response

if TYPE_CHECKING:
    from aurpay_async.errors import AurpayError

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
NOT_SENT, REJECTED, UNKNOWN = (
    RequestOutcome.NOT_SENT,
    RequestOutcome.REJECTED,
    RequestOutcome.UNKNOWN,
)


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (REJECTED, [300, 301, 302, 304, 305, 307, 308, 399]),
        (UNKNOWN, [303]),
        (
            REJECTED,
            [400, 401, 402, 403, 404, 405, 406, 407, 410, 413, 422, 429, 451, 499],
        ),
        (UNKNOWN, [408, 409, 425]),
        (REJECTED, [501, 505, 511]),
        (UNKNOWN, [500, 502, 503, 504, 506, 507, 508, 520, 599]),
        (UNKNOWN, [100, 101, 199, 600, 999]),
    ],
)
def test_a_status_is_rejected_only_if_the_request_was_not_processed(
    outcome: RequestOutcome, statuses: list[int]
) -> None:
    assert {outcome_of_status(status) for status in statuses} == {outcome}


def make_api_error(status: int) -> errors.APIError:
    kind = {429: errors.RateLimitedError}.get(status, errors.APIError)
    return kind("x", status=status, outcome=outcome_of_status(status))


@pytest.mark.parametrize(
    ("error", "read", "create", "money"),
    [
        (errors.ConnectError("x", outcome=NOT_SENT), True, True, True),
        (errors.ConnectTimeoutError("x", outcome=NOT_SENT), True, True, True),
        (errors.ConnectError("x", outcome=NOT_SENT, final=True), False, False, False),
        (errors.RequestTimeoutError("x", outcome=UNKNOWN), True, False, False),
        (errors.ConnectionLostError("x", outcome=UNKNOWN), True, False, False),
        (make_api_error(429), True, True, False),
        (make_api_error(408), True, False, False),
        (make_api_error(425), True, False, False),
        (make_api_error(409), False, False, False),
        (make_api_error(500), True, False, False),
        (make_api_error(503), True, False, False),
        (make_api_error(501), False, False, False),
        (make_api_error(302), False, False, False),
        (make_api_error(400), False, False, False),
        (make_api_error(401), False, False, False),
        (errors.InvalidResponseError("x"), False, False, False),
        (errors.ConfigurationError("x"), False, False, False),
        (errors.InvalidRequestError("x", field="y"), False, False, False),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_failures_are_retryable_as_in_the_table(
    error: AurpayError, read: bool, create: bool, money: bool
) -> None:
    assert is_retryable(error, Effect.READ) is read
    assert is_retryable(error, Effect.CREATE) is create
    assert is_retryable(error, Effect.TRANSFER) is money


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("120", 120.0),
        ("99999999999", 99999999999.0),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60.0),
        ("Sunday, 22-Nov-26 12:01:00 GMT", 60.0),
        ("Sun Nov 22 12:01:00 2026", 60.0),
        ("Sun, 22 Nov 2026 14:01:00 +0200", 60.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
    ],
)
def test_retry_after_is_parsed_as_seconds_or_as_a_date(
    text: str, seconds: float
) -> None:
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-1",
        "1.5",
        "1e3",
        "0x10",
        "٣",
        "+5",
        " 5",
        "5 s",
        "1" * 65,
        "Sun, 99 Foo",
    ],
)
def test_an_invalid_retry_after_is_ignored(text: str) -> None:
    assert parse_retry_after(text, NOW) is None


@given(st.text() | st.text("SunFriOctNov 0123456789:,-+GMT", max_size=40))
def test_any_retry_after_is_parsed_without_an_exception(text: str) -> None:
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("attempt", "jitter", "pause"),
    [
        (1, 0.0, 0.0),
        (1, 1.0, 0.25),
        (2, 1.0, 0.5),
        (3, 0.5, 0.5),
        (5, 1.0, 4.0),
        (6, 1.0, 8.0),
        (7, 1.0, 8.0),
        (5000, 1.0, 8.0),
    ],
)
def test_backoff_doubles_up_to_its_cap_with_full_jitter(
    attempt: int, jitter: float, pause: float
) -> None:
    assert RetryPolicy().backoff(attempt, jitter) == pause


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"max_attempts": True},
        {"max_attempts": "3"},
        {"base": 0},
        {"base": -1},
        {"base": float("nan")},
        {"base": float("inf")},
        {"base": None},
        {"cap": 0.0},
        {"cap": True},
    ],
)
def test_an_invalid_retry_policy_is_rejected_with_an_example(
    wrong: dict[str, Any],
) -> None:
    name = next(iter(wrong))
    with pytest.raises(ConfigurationError, match=rf"RetryPolicy\({name}=.*for example"):
        RetryPolicy(**wrong)


def test_the_retry_budget_allows_about_one_retry_per_call() -> None:
    budget = RetryBudget()
    retries = 0
    for _ in range(1000):
        budget.tokens += 1
        while budget.spend():
            retries += 1
    assert retries == 1000 + RetryBudget.RESERVE


async def test_the_retry_budget_has_a_maximum() -> None:
    budget = RetryBudget()
    answers = [Response(status=404)] * 2 * RetryBudget.CAPACITY
    async with AurpayClient(transport=MemoryTransport(*answers)) as client:
        calls = client._with_budget(budget)
        for _ in answers:
            with suppress(NotFoundError):
                await calls.get_order("1")
    assert budget.tokens == RetryBudget.CAPACITY


def decide(
    error: AurpayError, *, attempt: int = 1, remaining: float = 30, tokens: int = 10
) -> tuple[float | None, str]:
    budget = RetryBudget()
    budget.tokens = tokens
    return plan_retry(
        RetryPolicy(), budget, error, attempt=attempt, remaining=remaining, jitter=1.0
    )


def make_rate_limited_error(retry_after: float | None) -> errors.RateLimitedError:
    error = errors.RateLimitedError(
        "x", status=429, outcome=REJECTED, retry_after=retry_after
    )
    error.retryable = True
    return error


@pytest.mark.parametrize(
    ("retry_after", "options", "expected"),
    [
        (None, {}, (0.25, "backoff")),
        (None, {"attempt": 3}, (1.0, "backoff")),
        (None, {"attempt": 4}, (None, "max_attempts reached")),
        (None, {"remaining": 0.25}, (None, "deadline reached")),
        (None, {"remaining": 0.26}, (0.25, "backoff")),
        (None, {"tokens": 0}, (None, "retry budget exhausted")),
        (0.0, {}, (0.25, "backoff")),
        (5.0, {}, (5.0, "retry-after")),
        (5.0, {"remaining": 5.0}, (None, "deadline reached")),
        (3600.0, {}, (None, "deadline reached")),
    ],
)
def test_retry_decisions_have_a_pause_and_a_reason(
    retry_after: float | None,
    options: dict[str, Any],
    expected: tuple[float | None, str],
) -> None:
    assert decide(make_rate_limited_error(retry_after), **options) == expected


def test_an_error_that_is_not_retryable_is_not_retried() -> None:
    assert decide(errors.ConnectionLostError("x")) == (None, "not retryable")


def test_a_decision_against_a_retry_costs_no_budget() -> None:
    budget = RetryBudget()
    for attempt, remaining in ((9, 30.0), (1, 0.0)):
        plan_retry(
            RetryPolicy(),
            budget,
            make_rate_limited_error(None),
            attempt=attempt,
            remaining=remaining,
            jitter=1.0,
        )
    assert budget.tokens == RetryBudget.RESERVE
