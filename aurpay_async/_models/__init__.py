"""The records of the API: what is asked for, and what comes back.

They know their own rules and nothing of their form on the wire (see `_converter`).
On our side `price` and `currency` are fiat, `amount`, `coin` and `chain` are not.

Every program needs orders, so they are here; the other families are loaded when they
are asked for: `_payments`, `_refunds`, `_transactions`.
"""

from __future__ import annotations

from ._arguments import (
    MAX_ORDER_ID,
    is_order_id,
    require_order_id,
    require_reference,
    without_traceback,
)
from ._new_orders import NewOrder
from ._orders import Order, Payment, UncheckedOrder

__all__ = [
    "MAX_ORDER_ID",
    "NewOrder",
    "Order",
    "Payment",
    "UncheckedOrder",
    "is_order_id",
    "require_order_id",
    "require_reference",
    "without_traceback",
]
