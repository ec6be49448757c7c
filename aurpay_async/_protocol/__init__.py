"""Requests and responses of Aurpay's endpoints, without I/O.

Each endpoint has one ``build_*`` and one ``parse_*`` function. There is a file for each
group of endpoints.
"""

from __future__ import annotations

from ._account import build_obtain_key, parse_obtain_key
from ._lightning import build_create_order, parse_create_order
from ._orders import (
    build_get_order,
    build_list_orders,
    parse_get_order,
    parse_list_orders,
    read_order,
)
from ._payments import (
    build_create_payment,
    build_create_payment_url,
    build_list_fiat_currencies,
    parse_create_payment,
    parse_create_payment_url,
    parse_list_fiat_currencies,
)
from ._raw import build_request, parse_request
from ._refunds import (
    build_get_refund,
    build_refund_order,
    parse_get_refund,
    parse_refund_order,
)
from ._transactions import (
    build_list_transactions,
    build_withdraw_lightning,
    parse_list_transactions,
    parse_withdraw_lightning,
    require_payable,
)

__all__ = [
    "build_create_order",
    "build_create_payment",
    "build_create_payment_url",
    "build_get_order",
    "build_get_refund",
    "build_list_fiat_currencies",
    "build_list_orders",
    "build_list_transactions",
    "build_obtain_key",
    "build_refund_order",
    "build_request",
    "build_withdraw_lightning",
    "parse_create_order",
    "parse_create_payment",
    "parse_create_payment_url",
    "parse_get_order",
    "parse_get_refund",
    "parse_list_fiat_currencies",
    "parse_list_orders",
    "parse_list_transactions",
    "parse_obtain_key",
    "parse_refund_order",
    "parse_request",
    "parse_withdraw_lightning",
    "read_order",
    "require_payable",
]
