"""When the platform is asked, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from aurpay_async.orders import AttemptState
from aurpay_async.orders._planner import call_limit, is_over, last_payment_at, next_poll
from tests.order_store.samples import NOW, attempt

S = AttemptState
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def test_a_call_is_over_when_it_cannot_be_under_way() -> None:
    """What it takes at most, and twenty seconds to begin and to end."""
    assert call_limit(30.0) == timedelta(seconds=50)


@pytest.mark.parametrize(
    ("after", "over"),
    [(timedelta(0), False), (timedelta(seconds=50), True), (-MINUTE, True)],
)
def test_a_clock_that_was_set_back_ends_it(after: timedelta, over: bool) -> None:
    """Rather than to wait for as long as the clock was wrong."""
    assert is_over(attempt(S.CREATING), NOW + after) is over


def test_a_payment_can_come_while_the_invoice_lives_and_an_hour_more() -> None:
    """A day, if nobody has seen the invoice; ten years at most."""
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
def test_pauses_grow_with_age(
    state: AttemptState, age: timedelta, pause: timedelta
) -> None:
    """A quarter of it, and two minutes at least."""
    assert next_poll(attempt(state), NOW + age) == NOW + age + pause


@pytest.mark.parametrize(
    ("state", "age", "at"),
    [
        # The last look is at the end; who could not be asked then is asked later.
        (S.OVERDUE, 24 * HOUR, 25 * HOUR),
        (S.OVERDUE, 28 * HOUR, 35 * HOUR),
        (S.UNKNOWN, 55 * MINUTE, HOUR + timedelta(seconds=50)),
        (S.DUPLICATE, 100 * HOUR, 125 * HOUR),
        (S.PAYMENT_REPORTED, 100 * HOUR, 125 * HOUR),
    ],
)
def test_the_end_is_looked_at(
    state: AttemptState, age: timedelta, at: timedelta
) -> None:
    """Money too much, and money that nobody can place, have no end."""
    assert next_poll(attempt(state), NOW + age) == NOW + at


def test_a_call_under_way_is_left_alone() -> None:
    """Until it must be over."""
    one = attempt(S.CREATING)
    assert next_poll(one, NOW) == one.deadline


@pytest.mark.parametrize(
    "state", [S.REJECTED, S.NOT_FOUND, S.PAID, S.REFUNDED, S.EXPIRED]
)
def test_what_is_done_is_done(state: Any) -> None:
    """Nobody asks about it any more."""
    assert next_poll(attempt(state), NOW) is None


def test_an_order_of_a_day_is_asked_about_some_thirty_times() -> None:
    """From two minutes on."""
    now, looks = NOW, 0
    while now < NOW + DAY:
        now, looks = next_poll(attempt(S.OVERDUE), now) or now + DAY, looks + 1
    assert 25 <= looks <= 35
