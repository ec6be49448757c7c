"""Where an order stands, and the table of where it can go from there."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import OrderStatus
from aurpay_async._order_life import PAYMENT_WINDOW, overdue_at

KNOWN = list(OrderStatus)
P, O, S, R, A, T, F = KNOWN  # noqa: E741 - as the columns below

#: Row: from; column: to; an x where the move is possible.
MOVES = """
           PENDING OVERDUE SUCCESS RESOLVED PARTIAL TERMINATED REFUNDED
PENDING    x       x       x       x        x       x          x
OVERDUE    .       x       x       x        x       x          x
SUCCESS    .       .       x       x        .       .          x
RESOLVED   .       .       x       x        .       .          x
PARTIAL    .       x       x       x        x       x          x
TERMINATED .       .       x       x        .       x          x
REFUNDED   .       .       .       .        .       .          x
"""

statuses = st.sampled_from(KNOWN)
unknown = st.text().filter(lambda text: text not in KNOWN).map(OrderStatus)


def test_the_documented_statuses_are_known() -> None:
    """Seven of them, equal to their texts."""
    known = [
        "PENDING",
        "OVERDUE",
        "SUCCESS",
        "RESOLVED",
        "PARTIAL",
        "TERMINATED",
        "REFUNDED",
    ]
    assert [status.value for status in OrderStatus] == known
    assert all(
        OrderStatus(text) == text and OrderStatus(text).is_known for text in known
    )


def test_an_unknown_status_keeps_its_text() -> None:
    """A value that Aurpay adds tomorrow breaks nobody."""
    status = OrderStatus("SETTLING")
    assert status == "SETTLING"
    assert (str(status), f"{status}", status.value) == ("SETTLING",) * 3
    assert not status.is_known
    assert isinstance(status, OrderStatus)
    assert status != OrderStatus.PENDING
    assert OrderStatus("SETTLING") == status
    assert hash(OrderStatus("SETTLING")) == hash(status)
    assert [*OrderStatus][-1] is OrderStatus.REFUNDED
    assert "SETTLING" in repr(status)


@pytest.mark.parametrize("text", ["PENDING", "SETTLING"])
def test_a_status_travels(text: str) -> None:
    """Known or not."""
    status = OrderStatus(text)
    assert pickle.loads(pickle.dumps(status)) == copy.deepcopy(status) == status  # noqa: S301


def test_a_status_is_a_text() -> None:
    """Anything else is no status."""
    with pytest.raises(ValueError, match="5"):
        OrderStatus(5)  # type: ignore[arg-type]


def test_the_moves_are_these() -> None:
    """All forty-nine, as a table."""
    header, *rows = MOVES.strip().splitlines()
    for row in rows:
        begin, *cells = row.split()
        for end, cell in zip(header.split(), cells, strict=True):
            possible = OrderStatus(begin).can_become(OrderStatus(end))
            assert possible == (cell == "x"), f"{begin} -> {end}"


@given(statuses | unknown, unknown)
def test_what_is_not_known_forbids_nothing(
    one: OrderStatus, other: OrderStatus
) -> None:
    """Neither to nor from a status that Aurpay adds tomorrow."""
    assert one.can_become(other)
    assert other.can_become(one)


@given(st.lists(statuses, min_size=1, max_size=6))
def test_no_way_leads_out_of_a_refund_or_back_to_pending(
    way: list[OrderStatus],
) -> None:
    """However an order went, step by step along the table."""
    steps = list(pairwise(way))
    if not all(one.can_become(other) for one, other in steps):
        return
    assert OrderStatus.REFUNDED not in way[:-1] or set(
        way[way.index(OrderStatus.REFUNDED) :]
    ) == {OrderStatus.REFUNDED}
    assert OrderStatus.PENDING not in way or set(
        way[: way.index(OrderStatus.PENDING) + 1]
    ) == {OrderStatus.PENDING}


@given(statuses, statuses)
def test_paid_stays_paid_or_is_paid_back(one: OrderStatus, other: OrderStatus) -> None:
    """Paid beats timeout."""
    if one.is_paid and one.can_become(other):
        assert other.is_paid or other is OrderStatus.REFUNDED


@given(statuses)
def test_money_can_come_in_any_status_that_is_not_final(status: OrderStatus) -> None:
    """An order that is overdue, partly paid or terminated can still be paid."""
    assert status.is_final or status.can_become(OrderStatus.SUCCESS)
    assert status.can_become(OrderStatus.REFUNDED)
    assert status.is_final == (status is OrderStatus.REFUNDED)


@pytest.mark.parametrize(
    ("status", "is_paid"),
    [(P, False), (O, False), (S, True), (R, True), (A, None), (T, None), (F, False)],
)
def test_paid_has_three_values(status: OrderStatus, is_paid: bool | None) -> None:
    """Yes, no, and not known, where the documentation says nothing."""
    assert status.is_paid is is_paid


@given(unknown)
def test_what_is_not_known_is_neither_paid_nor_final(status: OrderStatus) -> None:
    """And it does not count as unpaid either."""
    assert status.is_paid is None
    assert not status.is_final


def test_an_order_lives_thirty_minutes() -> None:
    """As Aurpay's dashboard says; whatever year the platform writes."""
    assert timedelta(minutes=30) == PAYMENT_WINDOW
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert overdue_at(noon) == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    last = datetime.max.replace(tzinfo=UTC)
    assert overdue_at(last) == last


def test_a_status_from_outside_does_not_write_into_a_terminal() -> None:
    """Known ones print as enums do; new ones are escaped."""
    assert repr(OrderStatus.SUCCESS) == "<OrderStatus.SUCCESS: 'SUCCESS'>"
    odd = OrderStatus("\u202eX\n\x1b[2J")
    assert repr(odd) == ("<OrderStatus.\\u202eX\\n\\x1b[2J: '\\u202eX\\n\\x1b[2J'>")
    assert odd == "\u202eX\n\x1b[2J"
