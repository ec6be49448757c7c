"""Order statuses and the table of their transitions."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import OrderStatus
from aurpay_async._api.models import PAYMENT_WINDOW, overdue_at

KNOWN = list(OrderStatus)
P, O, S, R, A, T, F = KNOWN  # noqa: E741 - as the columns below

#: Row: from; column: to; an x for a possible transition.
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


def test_the_seven_documented_statuses_are_known() -> None:
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


def test_unknown_status_equals_its_string() -> None:
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
def test_known_and_unknown_statuses_survive_copy_and_pickle(text: str) -> None:
    status = OrderStatus(text)
    assert pickle.loads(pickle.dumps(status)) == copy.deepcopy(status) == status  # noqa: S301


def test_status_that_is_not_a_str_is_rejected() -> None:
    with pytest.raises(ValueError, match="5"):
        OrderStatus(5)  # type: ignore[arg-type]


def test_transition_table_has_exactly_the_expected_rows() -> None:
    header, *rows = MOVES.strip().splitlines()
    for row in rows:
        begin, *cells = row.split()
        for end, cell in zip(header.split(), cells, strict=True):
            possible = OrderStatus(begin).can_become(OrderStatus(end))
            assert possible == (cell == "x"), f"{begin} -> {end}"


@given(statuses | unknown, unknown)
def test_transitions_from_and_to_an_unknown_status_are_allowed(
    one: OrderStatus, other: OrderStatus
) -> None:
    assert one.can_become(other)
    assert other.can_become(one)


@given(st.lists(statuses, min_size=1, max_size=6))
def test_no_transition_leaves_refunded_or_returns_to_pending(
    way: list[OrderStatus],
) -> None:
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
def test_paid_order_stays_paid_or_is_refunded(
    one: OrderStatus, other: OrderStatus
) -> None:
    if one.is_paid and one.can_become(other):
        assert other.is_paid or other is OrderStatus.REFUNDED


@given(statuses)
def test_unpaid_order_can_be_paid_in_any_status_that_is_not_final(
    status: OrderStatus,
) -> None:
    assert status.is_final or status.can_become(OrderStatus.SUCCESS)
    assert status.can_become(OrderStatus.REFUNDED)
    assert status.is_final == (status is OrderStatus.REFUNDED)


@pytest.mark.parametrize(
    ("status", "is_paid"),
    [(P, False), (O, False), (S, True), (R, True), (A, None), (T, None), (F, False)],
)
def test_is_paid_is_none_where_the_documentation_gives_no_meaning(
    status: OrderStatus, is_paid: bool | None
) -> None:
    assert status.is_paid is is_paid


@given(unknown)
def test_unknown_status_is_neither_paid_nor_unpaid_nor_final(
    status: OrderStatus,
) -> None:
    assert status.is_paid is None
    assert not status.is_final


def test_order_is_overdue_after_thirty_minutes_in_any_year() -> None:
    assert timedelta(minutes=30) == PAYMENT_WINDOW
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert overdue_at(noon) == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    last = datetime.max.replace(tzinfo=UTC)
    assert overdue_at(last) == last


def test_repr_of_an_unknown_status_is_escaped() -> None:
    assert repr(OrderStatus.SUCCESS) == "<OrderStatus.SUCCESS: 'SUCCESS'>"
    odd = OrderStatus("\u202eX\n\x1b[2J")
    assert repr(odd) == ("<OrderStatus.\\u202eX\\n\\x1b[2J: '\\u202eX\\n\\x1b[2J'>")
    assert odd == "\u202eX\n\x1b[2J"
