"""The public form of orders: for the payer's page, and in responses of FastAPI."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from aurpay_async import LightningOrder, Order, OrderStatus, PaymentUrl
from aurpay_async._api.account import parse_create_payment
from aurpay_async._api.checks import InvoicePolicy
from aurpay_async._api.orders import parse_get_order
from aurpay_async._api.payment_models import NewPayment

from ..support.orders import (
    NOW,
    SECRET,
    build_detail,
    build_lightning_order,
    build_order,
    build_response,
    sign_invoice,
    wrap_data,
)
from .samples import payment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aurpay_async import PaymentOrder

TINY = sign_invoice(amount_msat=20_000)
ORDER = build_lightning_order(
    wrap_data(build_order(amount="2.0E-7", payment_request=TINY, later="canary"))
)
PUBLIC_ORDER = {
    "order_id": "20260101000000000001",
    "status": "PENDING",
    "amount": "0.00000020",
    "amount_sat": "20",
    "coin": "BTC-LN",
    "price": "20.00",
    "currency": "USD",
    "create_time": "2026-01-01T00:00:00+00:00",
    "overdue_at": "2026-01-01T00:30:00+00:00",
    "payment_request": TINY,
    "qr_text": f"lightning:{TINY.upper()}",
    "pay_url": "https://dashboard.aurpay.net/#/cashier/20260101000000000001",
}
KNOWN = parse_get_order(
    build_response(wrap_data(build_detail(remark="canary"))), ORDER.order_id
)
PUBLIC_KNOWN = {
    "order_id": "20260101000000000001",
    "status": "PENDING",
    "amount": "0.0002",
    "coin": "BTC-LN",
    "price": "20.0",
    "currency": "USD",
    "create_time": "2026-01-01T00:00:00+00:00",
    "update_time": "2026-01-01T00:00:00+00:00",
}


def test_the_public_form_of_a_lightning_order_has_only_what_its_payer_needs() -> None:
    public = ORDER.to_public_dict()
    assert public == PUBLIC_ORDER
    assert dict(ORDER) == public
    text = json.dumps(public)
    for hidden in (SECRET, "cart-42", ORDER.attempt_id or "", "canary"):
        assert hidden not in text


@given(st.integers(1, 21 * 10**14))
def test_any_amount_of_satoshi_is_public_as_a_string_without_an_exponent(
    satoshi: int,
) -> None:
    amount = Decimal(satoshi).scaleb(-8)
    text = Order(order_id="1", status=OrderStatus.PENDING, amount=amount)
    public = text.to_public_dict()["amount"]
    assert public is not None
    assert re.fullmatch(r"[0-9]+\.[0-9]{8}", public)
    assert Decimal(public) == amount


def test_the_public_form_of_an_order_has_none_for_unknown_values() -> None:
    assert KNOWN.to_public_dict() == PUBLIC_KNOWN
    bare = Order(order_id="1", status=OrderStatus("SUCCEED"))
    assert {k: v for k, v in bare.to_public_dict().items() if v is not None} == {
        "order_id": "1",
        "status": "SUCCEED",
    }


def test_the_public_forms_of_payments_have_an_address_or_a_page() -> None:
    policy = InvoicePolicy(
        network="mainnet",
        origin=("https", "dashboard.aurpay.net", 443),
        payees=frozenset(),
    )
    asked = NewPayment(18, "USD", chain="ETH", coin="USDT-ERC20", reference="cart-42")
    response = build_response(wrap_data(payment(amount="0.0000001")))
    created: PaymentOrder = parse_create_payment(
        response, asked, policy, NOW.timestamp()
    )
    assert created.to_public_dict() == {
        "order_id": created.order_id,
        "status": "PENDING",
        "amount": "0.0000001",
        "coin": "USDT-ERC20",
        "chain": "ETH",
        "price": "18",
        "currency": "USD",
        "create_time": "2024-08-06T07:19:26+00:00",
        "overdue_at": "2024-08-06T07:49:26+00:00",
        "address": created.address,
        "contract_addr": created.contract_addr,
        "pay_url": created.pay_url,
    }
    page = PaymentUrl(
        pay_url="https://a.example", price=Decimal("1E-7"), currency="USD"
    )
    assert page.to_public_dict() == {
        "pay_url": "https://a.example",
        "price": "0.0000001",
        "currency": "USD",
    }


class Checkout(BaseModel):
    title: str
    order: LightningOrder


app = FastAPI()


@app.get("/typed")
async def typed() -> LightningOrder:
    return ORDER


@app.get("/untyped")
async def untyped():  # type: ignore[no-untyped-def]  # noqa: ANN201 - as users write it
    return ORDER


@app.get("/nested", response_model=Checkout)
async def nested() -> dict[str, Any]:
    return {"title": "Honey", "order": ORDER}


@app.get("/list")
async def several() -> list[Order]:
    return [KNOWN]


async def get_json(path: str) -> Any:
    """Return the application's response, without a server or an HTTP client."""
    sent: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 200
    return json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/typed", PUBLIC_ORDER),
        ("/untyped", PUBLIC_ORDER),
        ("/nested", {"title": "Honey", "order": PUBLIC_ORDER}),
        ("/list", [PUBLIC_KNOWN]),
    ],
)
async def test_a_fastapi_route_that_returns_an_order_sends_its_public_form(
    path: str, expected: object
) -> None:
    assert await get_json(path) == expected


def types_of(schema: Any) -> dict[str, set[str]]:
    """Return the JSON types of each property."""
    return {
        name: {one["type"] for one in member.get("anyOf", [member])}
        for name, member in schema["properties"].items()
    }


async def test_openapi_names_the_public_form_once_and_its_members_are_strings() -> None:
    api = await get_json("/openapi.json")
    schemas = api["components"]["schemas"]
    answers = api["paths"]["/typed"]["get"]["responses"]["200"]["content"]
    reference = {"$ref": "#/components/schemas/LightningOrder"}
    assert answers["application/json"]["schema"] == reference
    nested_in = schemas["Checkout"]["properties"]["order"]
    assert nested_in["$ref"] == reference["$ref"]
    for name, public, optional in (
        ("LightningOrder", PUBLIC_ORDER, {"coin"}),
        ("Order", PUBLIC_KNOWN, {*PUBLIC_KNOWN} - {"order_id", "status"}),
    ):
        assert schemas[name]["required"] == [*public]
        assert types_of(schemas[name]) == {
            member: {"string", "null"} if member in optional else {"string"}
            for member in public
        }


@pytest.mark.parametrize(
    ("amount", "satoshi"),
    [("0.00000020", 20), ("2E-7", 20), ("0.00000020001", 21), ("21E+6", 21 * 10**14)],
)
def test_amount_in_satoshi_is_exact_and_a_fraction_is_rounded_up(
    amount: str, satoshi: int
) -> None:
    order = attrs.evolve(ORDER, amount=Decimal(amount))
    assert order.amount_sat == satoshi
    assert type(order.amount_sat) is int


def test_pydantic_accepts_an_order_and_rejects_a_dict_with_its_fields() -> None:
    assert TypeAdapter(LightningOrder).validate_python(ORDER) is ORDER
    with pytest.raises(ValidationError):
        TypeAdapter(LightningOrder).validate_python(PUBLIC_ORDER)
