"""The state machine of attempts: no sequence of transitions loses a payment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import OrderStatus
from aurpay_async.orders import AttemptState
from aurpay_async.orders._models import ACTIVE, states_for

S = AttemptState
MONEY = {S.PAID, S.DUPLICATE, S.REFUNDED}
STATES = st.sampled_from(S)
STATUSES = st.sampled_from([*OrderStatus, OrderStatus("NEW")])


@pytest.mark.parametrize("state", [state for state in S if state not in MONEY])
def test_each_unpaid_state_can_become_paid_duplicate_or_refunded(state: S) -> None:
    """A payment counts even after a rejection, a search without a result, or expiry."""
    assert state.can_become(S.PAID)
    assert state.can_become(S.DUPLICATE)
    assert state.can_become(S.REFUNDED)


@pytest.mark.parametrize("state", sorted(MONEY))
def test_paid_attempts_can_only_be_refunded_and_refunded_is_final(state: S) -> None:
    after = {other for other in S if state.can_become(other)}
    assert after == (set() if state is S.REFUNDED else {S.REFUNDED})


@pytest.mark.parametrize("state", [S.WITHHELD, S.EXPIRED, S.OVERDUE])
def test_payment_of_a_shared_invoice_can_be_reported_in_each_state_of_its_order(
    state: S,
) -> None:
    """An order with a failed check starts as withheld, expires, and may be revoked."""
    assert state.can_become(S.PAYMENT_REPORTED)


def test_no_state_has_a_transition_to_itself() -> None:
    assert not any(state.can_become(state) for state in S)


def test_withheld_and_retired_orders_never_become_payable() -> None:
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


@given(STATES, st.lists(st.tuples(STATUSES, st.booleans(), st.booleans())))
def test_no_later_update_from_aurpay_hides_a_payment(
    state: S, updates: list[tuple[OrderStatus, bool, bool]]
) -> None:
    seen = state in MONEY
    for status, paid_by_other, expired in updates:
        targets = states_for(status, paid_by_other=paid_by_other, expired=expired)
        # As `LockedAttempt.move`: the first allowed target, or no transition.
        allowed = [to for to in targets if to is state or state.can_become(to)]
        state = allowed[0] if allowed else state
        seen |= bool(status.is_paid)
        assert not seen or state in MONEY


@pytest.mark.parametrize(
    ("status", "paid_by_other", "expired", "states"),
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
def test_transition_for_each_status_of_aurpay(
    status: str, paid_by_other: bool, expired: bool, states: list[AttemptState]
) -> None:
    """Only OVERDUE expires an order, and only after its invoice has expired."""
    assert [
        *states_for(OrderStatus(status), paid_by_other=paid_by_other, expired=expired)
    ] == states
