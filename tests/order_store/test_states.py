"""The table of states: no sequence of moves loses a payment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import OrderStatus
from aurpay_async.orders import AttemptState
from aurpay_async.orders._models import ACTIVE, wanted

S = AttemptState
MONEY = {S.PAID, S.DUPLICATE, S.REFUNDED}
STATES = st.sampled_from(S)
STATUSES = st.sampled_from([*OrderStatus, OrderStatus("NEW")])


@pytest.mark.parametrize("state", [state for state in S if state not in MONEY])
def test_money_counts_whatever_was_known_before(state: S) -> None:
    """A gateway said no, the search was over, the invoice had expired: still money."""
    assert state.can_become(S.PAID)
    assert state.can_become(S.DUPLICATE)
    assert state.can_become(S.REFUNDED)


@pytest.mark.parametrize("state", sorted(MONEY))
def test_what_is_paid_can_only_be_paid_back(state: S) -> None:
    """And what is paid back is so for ever."""
    after = {other for other in S if state.can_become(other)}
    assert after == (set() if state is S.REFUNDED else {S.REFUNDED})


def test_nothing_stays_as_it_is_by_moving() -> None:
    """A change is a change."""
    assert not any(state.can_become(state) for state in S)


def test_an_order_is_shown_once() -> None:
    """What was retired, or never shown, never becomes the one to show."""
    shown = {state for state in S if state.can_become(S.PAYABLE)}
    assert shown == {
        S.CREATING,
        S.UNKNOWN,
        S.CANDIDATES_FOUND,
        S.NOT_FOUND,
        S.PAYMENT_REPORTED,
    }
    assert {state for state in S if state.can_become(S.CREATING)} == set()
    assert {S.CREATING, S.PAYABLE} == set(ACTIVE)


@given(STATES, st.lists(STATES, max_size=8))
def test_a_move_that_the_table_lacks_is_no_move(
    state: S, moves: list[AttemptState]
) -> None:
    """The first one that it has, or that is no move, counts; else all stays."""
    after = state.first_of(tuple(moves))
    possible = [move for move in moves if move is state or state.can_become(move)]
    assert after is (possible[0] if possible else state)


@given(STATES, st.lists(st.tuples(STATUSES, st.booleans(), st.booleans())))
def test_no_news_of_the_platform_lose_a_payment(
    state: S, news: list[tuple[OrderStatus, bool, bool]]
) -> None:
    """Once it has said that an order is paid, that is known to the end."""
    seen = state in MONEY
    for status, settled, over in news:
        state = state.first_of(wanted(status, settled=settled, over=over))
        seen |= bool(status.is_paid)
        assert not seen or state in MONEY


@pytest.mark.parametrize(
    ("status", "settled", "over", "states"),
    [
        ("SUCCESS", False, False, [S.PAID]),
        ("RESOLVED", False, True, [S.PAID]),
        ("SUCCESS", True, True, [S.DUPLICATE]),
        ("REFUNDED", False, False, [S.REFUNDED]),
        ("OVERDUE", False, False, [S.OVERDUE, S.WITHHELD]),
        ("OVERDUE", True, True, [S.EXPIRED, S.OVERDUE, S.WITHHELD]),
        ("PENDING", False, False, [S.WITHHELD]),
        ("PENDING", False, True, [S.WITHHELD]),
        ("PARTIAL", False, True, [S.WITHHELD]),
        ("NEW", False, True, [S.WITHHELD]),
    ],
)
def test_where_a_status_leads(
    status: str, settled: bool, over: bool, states: list[AttemptState]
) -> None:
    """Only OVERDUE ends an order, and only after its invoice has expired."""
    assert [*wanted(OrderStatus(status), settled=settled, over=over)] == states
