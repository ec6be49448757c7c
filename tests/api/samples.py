"""Sample responses of the endpoints that tests/orders.py does not have."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ..conftest import load

#: The documented responses, by endpoint.
DOCUMENTED: dict[str, Any] = load("aurpay.json")["responses"]
DOCUMENTED_REQUESTS: dict[str, Any] = load("aurpay.json")["requests"]

ORDER_ID = "20240806071926377966"

#: Any small JSON value.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


def paged(rows: Any, **fields: Any) -> dict[str, Any]:
    """Return the `data` of a list."""
    return {"page": 1, "size": 10, "total": 2, "max_page": 1, "data": rows, **fields}


def payment(**fields: Any) -> dict[str, Any]:
    """Return the `data` of a response to "Get Payment Info"."""
    return {
        "order_id": ORDER_ID,
        "status": "PENDING",
        "amount": 18.0123,
        "create_time": "2024-08-06T07:19:26",
        "vs_currency": "USD",
        "vs_price": 18,
        "address": "0x52908400098527886E0F7030069857D2E4169EE7",
        "contract_addr": "0xdAC17F958D2ee523a2206206994597C13D831ec7",
        "pay_url": f"https://dashboard.aurpay.net/#/cashier/{ORDER_ID}",
        **fields,
    }


def refund_info(**fields: Any) -> dict[str, Any]:
    """Return the `data` of a response to "Get Orders Refund Info"."""
    return {
        "order_id": ORDER_ID,
        "chain": "ETH",
        "currency": "USDT-ERC20",
        "amount": 18.0123,
        **fields,
    }


def refund(**fields: Any) -> dict[str, Any]:
    """Return the response to "Orders Refund"."""
    return {
        "order_id": ORDER_ID,
        "refund_status": "PROCESSING",
        "refund_amount": 18.0123,
        "refund_date": "2024-08-06",
        **fields,
    }


def transaction(**fields: Any) -> dict[str, Any]:
    """Return a row of "Get Transaction"."""
    return {
        "user_id": "mct-bea5c44da875",
        "tx_id": "ca1f0db3-0a3d-47c5-94ed-c94193aa1934",
        "tx_type": "ORDER",
        "status": "SUCCESS",
        "chain": "BTC",
        "currency": "BTC",
        "amount": "0.00102549",
        "obtained": "0.00101729",
        "fee": "0.00000820392",
        **fields,
    }
