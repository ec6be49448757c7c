"""Records of the API: requests to create orders, and the orders that Aurpay returns.

The records check their own values and know nothing of their form on the wire (see
`_converter`). `price` and `currency` are fiat; `amount`, `coin` and `chain` are not.

Every program needs orders, so they are imported here. The other records are loaded on
demand: `_payments`, `_refunds`, `_transactions`.
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
