"""Responses for tests: the documented ones, and one with a configurable invoice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aurpay_async import NewOrder, Response, bolt11
from aurpay_async._api.checks import InvoicePolicy
from aurpay_async._api.orders import parse_create_order

from ..conftest import load

if TYPE_CHECKING:
    from aurpay_async import LightningOrder

#: The key that BOLT #11 publishes for its examples, and its public half.
KEY = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"
PAYEE = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "ab" * 32

_DOCUMENTED = load("aurpay.json")["responses"]["POST /api/bln/order"]
#: A testnet invoice; the amount is a number, without payment_addr and currency.
AS_NUMBER: dict[str, Any] = _DOCUMENTED["example"]
#: A mainnet invoice; the amount is a string, with both fields.
AS_TEXT: dict[str, Any] = _DOCUMENTED["example_with_string_amount"]
#: Times at which the two invoices could be paid.
NUMBER_DAY = datetime(2024, 4, 26, 12, tzinfo=UTC)
TEXT_DAY = datetime(2024, 4, 28, 13, tzinfo=UTC)


def sign_invoice(*, key: str = KEY, **fields: Any) -> str:
    """Return an invoice on regtest over 20,000 satoshi, created now."""
    basics: dict[str, Any] = {
        "payment_hash": "cd" * 32,
        "payment_secret": SECRET,
        "timestamp": int(NOW.timestamp()),
        "amount_msat": 20_000_000,
        "expiry": 3600,
    }
    return bolt11.sign(key, **{**basics, **fields})


def build_order(**fields: Any) -> dict[str, Any]:
    """Return the `data` of a valid create response."""
    return {
        "order_id": "20260101000000000001",
        "status": "PENDING",
        "amount": "0.00020000",
        "create_time": "2026-01-01T00:00:00",
        "payment_request": sign_invoice(),
        "payment_addr": SECRET,
        "pay_url": "https://dashboard.aurpay.net/#/cashier/20260101000000000001",
        "currency": "BTC-LN",
        **fields,
    }


def build_detail(**fields: Any) -> dict[str, Any]:
    """Return the `data` of order detail for that order."""
    return {
        "user_id": "mct-5a9db0c5a9db",
        "order_id": "20260101000000000001",
        "order_type": "ORDER",
        "platform": "AURPAY",
        "status": "PENDING",
        "chain": "BLN",
        "chain_name": "Lightning",
        "currency": "BTC-LN",
        "amount": "0.0002",
        "vs_price": "20.0",
        "vs_currency": "USD",
        "remark": "",
        "refund": False,
        "create_time": "2026-01-01T00:00:00",
        "update_time": "2026-01-01T00:00:00",
        **fields,
    }


def wrap_data(data: object, **fields: Any) -> dict[str, Any]:
    """Return a response body with `data` in an envelope."""
    return {"code": 0, "message": "ok", "data": data, "result": True, **fields}


def build_response(content: object, status: int = 200, **headers: str) -> Response:
    """Return an HTTP response; bytes are the body."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, body=body, headers=named)


#: The request for the order below.
REQUESTED = NewOrder("20.00", "USD", reference="cart-42", attempt_id="ab" * 12)


def build_lightning_order(
    content: object = None,
    *,
    network: Any = "regtest",
    now: datetime = NOW,
    requested: NewOrder = REQUESTED,
    origin: Any = ("https", "dashboard.aurpay.net", 443),
) -> LightningOrder:
    """Return the order of a client that received its response at `now`."""
    policy = InvoicePolicy(network=network, origin=origin, payees=frozenset())
    response = build_response(wrap_data(build_order()) if content is None else content)
    return parse_create_order(response, requested, policy, now.timestamp())
