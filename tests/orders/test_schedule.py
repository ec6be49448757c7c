"""The polling schedule of orders."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from aurpay_async.orders import AttemptState
from aurpay_async.orders._planner import call_limit, is_over, last_payment_at, next_poll

from .samples import NOW, attempt

S = AttemptState
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def test_call_limit_is_the_request_deadline_plus_twenty_seconds() -> None:
    assert call_limit(30.0) == timedelta(seconds=50)


@pytest.mark.parametrize(
    ("after", "over"),
    [(timedelta(0), False), (timedelta(seconds=50), True), (-MINUTE, True)],
)
def test_call_is_over_if_the_clock_was_set_back(after: timedelta, over: bool) -> None:
    """Waiting could take as long as the clock was wrong."""
    assert is_over(attempt(S.CREATING), NOW + after) is over


def test_last_payment_is_possible_an_hour_after_the_invoice_expires() -> None:
    """The limit is a day for an unknown invoice, and ten years at most."""
    assert last_payment_at(NOW) == NOW + DAY + HOUR
    assert last_payment_at(NOW, NOW + HOUR) == NOW + 2 * HOUR
    for_ever = datetime.max.replace(tzinfo=NOW.tzinfo)
    assert last_payment_at(NOW, for_ever) == NOW + 3650 * DAY + HOUR


@pytest.mark.parametrize(
    "state", [S.PAYABLE, S.OVERDUE, S.WITHHELD, S.CANDIDATES_FOUND, S.PAYMENT_REPORTED]
)
@pytest.mark.parametrize(
    ("age", "pause"),
    [(timedelta(0), 2 * MINUTE), (8 * MINUTE, 2 * MINUTE), (4 * HOUR, HOUR)],
)
def test_pause_between_polls_is_a_quarter_of_the_age_and_two_minutes_at_least(
    state: AttemptState, age: timedelta, pause: timedelta
) -> None:
    assert next_poll(attempt(state), NOW + age) == NOW + age + pause


@pytest.mark.parametrize(
    ("state", "age", "at"),
    [
        # The last poll is at the end; if it fails, another one follows.
        (S.OVERDUE, 24 * HOUR, 25 * HOUR),
        (S.OVERDUE, 28 * HOUR, 35 * HOUR),
        (S.UNKNOWN, 55 * MINUTE, HOUR + timedelta(seconds=50)),
        (S.DUPLICATE, 100 * HOUR, 125 * HOUR),
        (S.PAYMENT_REPORTED, 100 * HOUR, 125 * HOUR),
    ],
)
def test_last_poll_is_when_the_last_payment_is_possible(
    state: AttemptState, age: timedelta, at: timedelta
) -> None:
    """Duplicate and reported payments are polled without an end."""
    assert next_poll(attempt(state), NOW + age) == NOW + at


def test_call_under_way_is_polled_after_its_deadline() -> None:
    one = attempt(S.CREATING)
    assert next_poll(one, NOW) == one.deadline


@pytest.mark.parametrize(
    "state", [S.REJECTED, S.NOT_FOUND, S.PAID, S.REFUNDED, S.EXPIRED]
)
def test_attempts_in_a_final_state_are_not_polled(state: Any) -> None:
    assert next_poll(attempt(state), NOW) is None


def test_order_that_lives_a_day_is_polled_some_thirty_times() -> None:
    now, polls = NOW, 0
    while now < NOW + DAY:
        now, polls = next_poll(attempt(S.OVERDUE), now) or now + DAY, polls + 1
    assert 25 <= polls <= 35
