"""Sample attempts for tests without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aurpay_async.orders import Attempt, AttemptState
from aurpay_async.orders._planner import ReferenceRecord

from ..support.orders import build_lightning_order

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: The end of the order below.
OVERDUE_AT = NOW + timedelta(minutes=30)

#: An order requested and answered at `NOW`, as JSON.
ORDER_JSON = build_lightning_order().to_json()


def attempt(state: AttemptState = AttemptState.PAYABLE, **fields: Any) -> Attempt:
    """Return an attempt of ``cart-42``, created at `NOW`."""
    basics: dict[str, Any] = {
        "reference": "cart-42",
        "price": Decimal("20.00"),
        "currency": "USD",
        "attempt_id": "ab" * 12,
        "state": state,
        "created_at": NOW,
        "deadline": NOW + timedelta(seconds=50),
        "payable_until": NOW + timedelta(hours=25),
    }
    if state is AttemptState.PAYABLE:
        basics["order_json"] = ORDER_JSON
    return Attempt(**{**basics, **fields})


def entry(*attempts: Attempt, paid_attempt_id: str | None = None) -> ReferenceRecord:
    """Return the record that the store has of ``cart-42``."""
    return ReferenceRecord(
        now=NOW,
        reference="cart-42",
        price=Decimal("20.00"),
        currency="USD",
        paid_attempt_id=paid_attempt_id,
        attempts=attempts,
    )
