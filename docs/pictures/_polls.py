"""Draw the sources of a payment, and the times at which an unpaid order is polled.

The times are those of the planner; `tests/test_pictures.py` compares them with a run of
the order store.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from aurpay_async.orders import Attempt, AttemptState
from aurpay_async.orders._planner import last_payment_at, next_poll

from ._svg import arrow, box, picture, text

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 760
HEIGHT: Final = 470
_LEFT: Final = 40
_LENGTH: Final = 680

#: Call, meaning, and the delay of its answer.
_SOURCES: Final = (
    ("record(notification)", "a callback", "seconds"),
    ("reconcile(), run()", "a poll, see below", "minutes to hours"),
    ("record(reference=...)", "a customer asks", "at once"),
)

#: The age of the order of the example when it is paid.
PAID_AT: Final = timedelta(hours=6)


def polls() -> Sequence[timedelta]:
    """Return the ages at which an order is polled that is never paid."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    attempt = Attempt(
        reference="cart-42",
        price=Decimal("20.00"),
        currency="USD",
        attempt_id="",
        state=AttemptState.PAYABLE,
        order_id="",
        status=None,
        candidates={},
        created_at=created,
        deadline=created,
        sent_at=created,
        last_polled_at=None,
        next_poll_at=None,
        payable_until=last_payment_at(created),
        order_json=None,
    )
    times = [created]
    while times[-1] < attempt.payable_until:
        times.append(next_poll(attempt, times[-1]) or attempt.payable_until)
    return [time - created for time in times[1:]]


def reconciliation() -> str:
    """Return the SVG file."""
    ages = polls()
    found = next(age for age in ages if age > PAID_AT)
    return picture(
        WIDTH,
        HEIGHT,
        "How a payment is found, with and without its callback",
        "A callback, a poll and a query of one reference all lead to record(), which "
        f"counts a payment once. An unpaid order is polled {len(ages)} times, at the "
        f"age of {', '.join(map(_clock, ages))}; an order that is paid at "
        f"{_clock(PAID_AT)} without a callback is found at {_clock(found)}.",
        [
            text(24, 36, "Three sources of a payment, one function", "strong"),
            *(part for row in enumerate(_SOURCES) for part in _source(*row)),
            *_record(),
            text(
                24, 250, f"The {len(ages)} polls of an order that is not paid", "strong"
            ),
            text(736, 250, "hours:minutes since its creation", "small dim end"),
            *_axis(300, timedelta(hours=1), timedelta(minutes=10), ages),
            *_mark(300, timedelta(hours=1), timedelta(minutes=30), "overdue_at"),
            *_axis(392, ages[-1], timedelta(hours=4), ages),
            *_mark(392, ages[-1], timedelta(days=1), "expires_at"),
            *_example(392, ages[-1], found),
        ],
    )


def _source(row: int, call: tuple[str, str, str]) -> list[str]:
    y = 60 + 54 * row
    name, meaning, delay = call
    return [
        box(24, y, 200, 44),
        text(124, y + 19, name, "code strong middle"),
        text(124, y + 35, meaning, "small dim middle"),
        text(234, y + 16, delay, "small dim"),
        arrow(f"M224 {y + 22}L352 {y + 22}L398 {118 + 12 * row + 6}"),
    ]


def _record() -> list[str]:
    return [
        box(400, 96, 160, 80, "hot"),
        text(480, 122, "record", "code strong middle"),
        text(480, 142, "compares price,", "small dim middle"),
        text(480, 158, "currency, amount", "small dim middle"),
        arrow("M560 136L606 136"),
        box(608, 104, 128, 64, "good"),
        text(672, 132, "newly_paid", "code strong middle"),
        text(672, 150, "once", "small dim middle"),
    ]


def _axis(
    y: int, length: timedelta, step: timedelta, ages: Sequence[timedelta]
) -> list[str]:
    """Draw a time axis with a line for each poll and a label for each step."""
    labels = [step * place for place in range(int(length / step) + 1)]
    return [
        f'<path class="bare" d="M{_LEFT} {y}L{_LEFT + _LENGTH} {y}"/>',
        *(
            f'<path class="hot" stroke-width="2" d="M{x:g} {y - 16}L{x:g} {y}"/>'
            for x in (_position(age, length) for age in ages if age <= length)
        ),
        *(
            text(_position(age, length), y + 18, _clock(age), "small dim middle")
            for age in labels
        ),
    ]


def _mark(y: int, length: timedelta, age: timedelta, name: str) -> list[str]:
    x = _position(age, length)
    return [
        f'<path class="open" d="M{x:g} {y - 28}L{x:g} {y + 4}"/>',
        text(x - 6, y - 22, name, "small dim end"),
    ]


def _example(y: int, length: timedelta, found: timedelta) -> list[str]:
    paid_x, found_x = _position(PAID_AT, length), _position(found, length)
    return [
        f'<circle class="good" cx="{paid_x:g}" cy="{y}" r="5"/>',
        arrow(f"M{paid_x:g} {y + 26}L{found_x:g} {y + 26}"),
        text(
            paid_x,
            y + 46,
            f"paid at {_clock(PAID_AT)}, its callback is lost: found at "
            f"{_clock(found)}",
            "small",
        ),
    ]


def _position(age: timedelta, length: timedelta) -> float:
    return round(_LEFT + _LENGTH * (age / length), 1)


def _clock(age: timedelta) -> str:
    minutes = age // timedelta(minutes=1)
    return f"{minutes // 60}:{minutes % 60:02}"
