"""The order store's decision for each state of a reference."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from aurpay_async import OrderStatus
from aurpay_async.errors import (
    AlreadyPaidError,
    PaymentNeedsReviewError,
    ReferenceConflictError,
    UntrustedOrderError,
)
from aurpay_async.orders import AttemptState
from aurpay_async.orders._planner import Action, Step, decide

from ..support.orders import build_lightning_order, build_order, sign_invoice, wrap_data
from .samples import NOW, ORDER_JSON, OVERDUE_AT, attempt, entry

if TYPE_CHECKING:
    from datetime import datetime

    from aurpay_async.orders._planner import ReferenceRecord

S = AttemptState
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def decide_at(
    known: ReferenceRecord, now: datetime, price: str = "20.00", currency: str = "USD"
) -> Any:
    """Return the step for a record that was read at a time."""
    return decide(attrs.evolve(known, now=now), Decimal(price), currency)


#: An overdue attempt that the payer has seen.
SHOWN = {"order_json": ORDER_JSON}


def test_new_reference_is_sent_without_waiting() -> None:
    assert decide(None, Decimal(1), "USD") is None
    assert decide_at(entry(), NOW) is None


@pytest.mark.parametrize(
    ("state", "fields", "seconds", "do"),
    [
        (S.CREATING, {}, 0, Action.WAIT),
        (S.CREATING, {}, 49.999, Action.WAIT),
        (S.CREATING, {}, 50, Action.MARK_UNKNOWN),
        # The clock of its machine was a day ahead.
        (
            S.CREATING,
            {"deadline": NOW + DAY, "created_at": NOW + DAY},
            0,
            Action.MARK_UNKNOWN,
        ),
        (S.PAYABLE, {}, 0, Action.SHOW),
        (S.PAYABLE, {}, 1799.999, Action.SHOW),
        (S.PAYABLE, {}, 1800, Action.POLL),
        (S.PAYABLE, {"last_polled_at": OVERDUE_AT - SECOND}, 1800, Action.POLL),
        (S.PAYABLE, {"last_polled_at": OVERDUE_AT}, 1801, Action.SHOW),
        (S.PAYABLE, {"last_polled_at": OVERDUE_AT}, 1860, Action.SHOW),
        (S.PAYABLE, {"last_polled_at": OVERDUE_AT}, 1861, Action.POLL),
        (S.PAYABLE, {"last_polled_at": OVERDUE_AT + 60 * SECOND}, 1861, Action.SHOW),
        # The invoice of this order expires after an hour.
        (S.PAYABLE, {"last_polled_at": NOW + HOUR}, 3659, Action.SHOW),
        (S.PAYABLE, {"last_polled_at": NOW + HOUR}, 3660, Action.RETIRE),
        (S.PAYABLE, {"last_polled_at": NOW + HOUR}, 3661, Action.POLL),
        # This clock is more than a day ahead.
        (S.PAYABLE, {}, 26 * 3600, Action.POLL),
        (S.PAYABLE, {"last_polled_at": NOW + 26 * HOUR}, 26 * 3600, Action.RETIRE),
        (S.PAYABLE, {"order_json": None}, 0, Action.RETIRE),
        (S.UNKNOWN, {}, 60, Action.SEARCH),
        (S.UNKNOWN, {"last_polled_at": NOW}, 60, None),
        (S.OVERDUE, {}, 1900, None),
        (S.OVERDUE, SHOWN, 1900, Action.POLL),
        (S.OVERDUE, {**SHOWN, "last_polled_at": OVERDUE_AT}, 1806, Action.POLL),
        (S.OVERDUE, {**SHOWN, "last_polled_at": OVERDUE_AT}, 1805, None),
        (S.OVERDUE, {**SHOWN, "last_polled_at": NOW + HOUR}, 1800, Action.POLL),
        (S.OVERDUE, {**SHOWN, "payable_until": OVERDUE_AT}, 1900, None),
        (S.REJECTED, {}, 60, None),
        (S.CANDIDATES_FOUND, {}, 60, None),
        (S.NOT_FOUND, {}, 60, None),
        (S.WITHHELD, {}, 60, None),
        (S.REFUNDED, {}, 60, None),
        (S.EXPIRED, {}, 60, None),
    ],
)
def test_next_step_depends_on_the_state_and_age_of_an_attempt(
    state: AttemptState, fields: dict[str, Any], seconds: float, do: Action | None
) -> None:
    one = attempt(state, **fields)
    step = decide_at(entry(one), NOW + timedelta(seconds=seconds))
    assert step == (do and Step(do, one))


@pytest.mark.parametrize(
    ("polled", "seconds", "do"),
    [
        (None, 599, Action.SHOW),
        (None, 600, Action.POLL),
        (600, 659, Action.SHOW),
        (600, 660, None),
    ],
)
def test_order_is_replaced_when_its_invoice_expires_before_the_order(
    polled: int | None, seconds: int, do: Action | None
) -> None:
    made = wrap_data(build_order(payment_request=sign_invoice(expiry=600)))
    short = build_lightning_order(made)
    last_polled_at = None if polled is None else NOW + polled * SECOND
    one = attempt(order_json=short.to_json(), last_polled_at=last_polled_at)
    step = decide_at(entry(one), NOW + seconds * SECOND)
    assert step.do is (do or Action.RETIRE)


def test_decision_shows_an_unknown_status_until_the_invoice_expires() -> None:
    """The status may mean a payment, so no other order is created before."""
    payable_until = NOW + 2 * HOUR
    for now, do in (
        (payable_until - SECOND, Action.SHOW),
        (payable_until, Action.RETIRE),
    ):
        one = attempt(
            status=OrderStatus.PARTIAL, last_polled_at=now, payable_until=payable_until
        )
        assert decide_at(entry(one), now).do is do


def test_payable_order_is_shown_before_lost_orders_are_searched() -> None:
    lost = attempt(S.UNKNOWN, attempt_id="cd" * 12)
    assert decide_at(entry(lost, attempt()), NOW).do is Action.SHOW
    polled = attempt(S.UNKNOWN, last_polled_at=NOW)
    assert decide_at(entry(polled, lost), NOW).attempt is lost


def test_paid_order_is_shown_even_if_another_order_is_payable() -> None:
    paid = attempt(S.PAID, order_json=ORDER_JSON)
    step = decide_at(
        entry(attempt(attempt_id="cd" * 12), paid, paid_attempt_id=paid.attempt_id),
        NOW + DAY,
    )
    assert (step.do, step.attempt) == (Action.SHOW, paid)


@pytest.mark.parametrize("known", [True, False])
def test_paid_reference_without_an_invoice_is_an_already_paid_error(
    known: bool,
) -> None:
    paid = attempt(S.PAID, order_id="20260101000000000001")
    with pytest.raises(AlreadyPaidError, match="'cart-42' is paid") as caught:
        decide_at(entry(*[paid][:known], paid_attempt_id=paid.attempt_id), NOW)
    assert caught.value.reference == "cart-42"
    assert caught.value.order_id == (paid.order_id if known else None)


def test_reported_payment_blocks_the_reference_until_it_is_reviewed() -> None:
    """Another invoice would ask the payer for the same money again."""
    reported = attempt(S.PAYMENT_REPORTED, attempt_id="cd" * 12)
    with pytest.raises(PaymentNeedsReviewError, match="'cart-42' is paid") as caught:
        decide_at(entry(attempt(), reported), NOW)
    assert caught.value.reference == "cart-42"


@pytest.mark.parametrize(
    ("price", "currency", "shown"),
    [("20.01", "USD", "20.01 USD"), ("20", "EUR", "20 EUR")],
)
def test_another_price_is_a_reference_conflict_for_the_decision(
    price: str, currency: str, shown: str
) -> None:
    """The error shows both prices, even if the reference is paid."""
    with pytest.raises(ReferenceConflictError) as caught:
        decide_at(entry(paid_attempt_id="ab" * 12), NOW, price, currency)
    assert caught.value.paid
    assert str(caught.value) == (
        f"'cart-42' is stored with 20.00 USD, and {shown} was requested; it is paid, "
        "so nothing is left to pay"
    )
    with pytest.raises(ReferenceConflictError) as caught:
        decide_at(entry(), NOW, price, currency)
    assert not caught.value.paid
    assert str(caught.value) == (
        f"'cart-42' is stored with 20.00 USD, and {shown} was requested; keep "
        "the price of a cart once it has an order: a new reference creates a second "
        "order, and both can be paid"
    )
    assert (caught.value.stored, caught.value.requested) == ("20.00 USD", shown)
    assert decide_at(entry(), NOW, price="20") is None


@pytest.mark.parametrize(
    ("times", "pause_s"), [(1, 0), (2, 60), (3, 120), (4, 240), (7, 1800), (60, 1800)]
)
def test_next_call_waits_where_answer_after_answer_fails_its_checks(
    times: int, pause_s: int
) -> None:
    """Otherwise a wrong clock would create another order with each call."""
    failed = [
        attempt(
            S.WITHHELD, attempt_id=f"{n:024x}", failed_check="timestamp", order_id="7"
        )
        for n in range(times)
    ]
    known = entry(*failed, attempt(S.OVERDUE))
    assert decide_at(known, NOW + pause_s * SECOND) is None
    assert decide_at(known, NOW - SECOND) is None
    if pause_s:
        with pytest.raises(
            UntrustedOrderError, match=f"the last {times} calls"
        ) as caught:
            decide_at(known, NOW + (pause_s - 1) * SECOND)
        assert (caught.value.check, caught.value.order_id) == ("timestamp", "7")


def test_answer_that_passes_its_checks_ends_the_wait() -> None:
    failed = attempt(S.WITHHELD, failed_check="amount", attempt_id="cd" * 12)
    older = [
        attempt(S.WITHHELD, failed_check="amount", attempt_id=f"{n:024x}")
        for n in (1, 2)
    ]
    known = entry(failed, attempt(S.OVERDUE), *older)
    assert decide_at(known, NOW) is None
