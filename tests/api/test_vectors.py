"""Every documented response is parsed with all of its documented fields."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import NewOrder, NewPayment, bolt11
from aurpay_async._api import account, orders
from aurpay_async._api.checks import InvoicePolicy
from aurpay_async._api.models import UncheckedOrder
from aurpay_async._api.payment_models import NewPaymentUrl, UncheckedPayment
from aurpay_async._api.wire import wire_names

from ..support.orders import NUMBER_DAY, TEXT_DAY, build_response, sign_invoice
from .samples import DOCUMENTED, DOCUMENTED_REQUESTS, ORDER_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from aurpay_async import Response

    Parse = Callable[[Response], object]

SAMPLES: dict[str, Any] = {
    "string": "text",
    "number": Decimal("1.5"),
    "integer": 1,
    "boolean": True,
    # Fields that do not accept any string or number.
    "order_id": ORDER_ID,
    "create_time": "2024-08-06T07:19:26",
    "amount": "1.5",
    "obtained": "1.5",
    "fee": "0.012",
    "vs_price": 18,
    "vs_currency": "USD",
    "pay_url": "https://dashboard.aurpay.net/#/cashier",
    "status": "PENDING",
    "code": 0,
}


def make_policy(network: Any) -> InvoicePolicy:
    origin = ("https", "dashboard.aurpay.net", 443)
    return InvoicePolicy(network=network, origin=origin, payees=frozenset())


def creates(day: datetime, network: str) -> Parse:
    requested, now = NewOrder(20, "USD"), day.timestamp()
    return lambda found: orders.parse_create_order(
        found, requested, make_policy(network), now
    )


def withdraws(found: Response) -> object:
    decoded = bolt11.decode(sign_invoice())
    paid = account.require_payable(
        decoded, None, make_policy("regtest"), decoded.timestamp
    )
    return account.parse_withdraw_lightning(found, paid)


#: Endpoint, part of the vector, and its parser.
PARSERS: list[tuple[str, str, Parse]] = [
    ("POST /api/bln/order", "example", creates(NUMBER_DAY, "testnet")),
    (
        "POST /api/bln/order",
        "example_with_string_amount",
        creates(TEXT_DAY, "mainnet"),
    ),
    ("GET /api/v2/order/", "example_seen", orders.parse_list_orders),
    (
        "GET /api/v2/order/refund-info/{order_id}",
        "schema_seen",
        lambda found: orders.parse_get_refund(found, ORDER_ID),
    ),
    (
        "POST /api/v2/order/refund/{order_id}",
        "schema_seen",
        lambda found: orders.parse_refund_order(found, ORDER_ID),
    ),
    ("GET /api/v2/tx", "schema_seen", account.parse_list_transactions),
    (
        "POST /api/order/pay-info",
        "fields_seen",
        lambda found: account.parse_create_payment(
            found,
            NewPayment(18, "USD", chain="ETH", coin="ETH"),
            make_policy("mainnet"),
            2e9,
        ),
    ),
    (
        "GET /api/v2/order/detail/{order_id}",
        "fields_seen",
        lambda found: orders.parse_get_order(found, ORDER_ID),
    ),
    (
        "POST /api/order/pay-url",
        "seen_in_integrators",
        lambda found: account.parse_create_payment_url(
            found, NewPaymentUrl(18, "USD"), make_policy("mainnet")
        ),
    ),
    ("POST /api/plugin/key/aurpay", "example_seen", account.parse_obtain_key),
    ("POST /api/bln/withdraw", "json_schema_seen", withdraws),
]


def sample(seen: Any, name: str = "") -> Any:
    """Return a value for an entry of a vector: an example, or the name of a type."""
    if isinstance(seen, dict):
        if seen.get("type") == "object":
            return {k: sample(v, k) for k, v in seen.get("properties", {}).items()}
        if "type" in seen:
            return sample(seen["type"], name)
        return {key: sample(value, key) for key, value in seen.items()}
    if isinstance(seen, list):
        return [sample(item) for item in seen]
    types = {"string", "number", "integer", "boolean", "<string>", "<boolean>"}
    if not isinstance(seen, str) or seen not in types:
        return "ey.created.up" if name == "access_token" else seen
    return SAMPLES.get(name, SAMPLES[seen.strip("<>")])


def documented(endpoint: str, part: str) -> Any:
    created = sample(DOCUMENTED[endpoint][part])
    if endpoint == "GET /api/v2/order/detail/{order_id}":
        created["data"]["status"] = (
            "PENDING"  # shops read it; it is not in the fragment
        )
    if endpoint == "GET /api/v2/order/":
        # The documented example ends before these fields, which the prose describes.
        missing = DOCUMENTED[endpoint]["keys_documented_after_the_cut"]
        for name in missing["data.data[]"]:
            created["data"]["data"][0][name] = "2024-08-06T07:19:26"
        created["result"] = True
    return created


@pytest.mark.parametrize(
    ("endpoint", "part", "parse"), PARSERS, ids=[f"{p[0]}-{p[1]}" for p in PARSERS]
)
def test_every_documented_field_is_parsed_under_our_name(
    endpoint: str, part: str, parse: Parse
) -> None:
    content = documented(endpoint, part)
    created: Any = parse(build_response(json.dumps(content, default=float).encode()))
    data = content.get("data", content)
    rows = zip(created.items, data["data"], strict=True) if "data" in data else ()
    for record, fields in rows or [(created, data)]:
        ours = {theirs: name for name, theirs in wire_names(kind_of(record)).items()}
        for name, value in fields.items():
            if name != "access_token":
                compare(getattr(record, ours.get(name, name)), value)


def kind_of(record: Any) -> type:
    unchecked = {"LightningOrder": UncheckedOrder, "PaymentOrder": UncheckedPayment}
    return unchecked.get(type(record).__name__, type(record))


def compare(ours: object, theirs: object) -> None:
    if isinstance(ours, Decimal):
        assert ours == Decimal(str(theirs))
    elif isinstance(ours, datetime):
        assert f"{ours:%Y-%m-%dT%H:%M:%S}" == theirs
    elif isinstance(ours, bolt11.Invoice):
        assert str(ours) == theirs
    else:
        assert ours == theirs


def test_every_documented_response_has_a_parser() -> None:
    """Except those without any documented field."""
    unseen = {name for name, seen in DOCUMENTED.items() if len(seen) == 1}
    assert {endpoint for endpoint, _, _ in PARSERS} == set(DOCUMENTED) - unseen
    assert unseen == {
        "GET /api/order/pay/real-currency",
        (
            "(crypto currency list, wallets list, withdraw balance, self custody "
            "wallets, BLN balance)"
        ),
    }


def test_documented_requests_are_built_with_the_documented_values() -> None:
    requests = DOCUMENTED_REQUESTS
    built = {
        "POST /api/order/pay-info": account.build_create_payment(
            NewPayment(
                18,
                "USD",
                chain="ETH",
                coin="USDT-ERC20",
                succeed_url="https://example.com/succeed_url",
            )
        ),
        "POST /api/bln/order": orders.build_create_order(
            NewOrder(
                20,
                "USD",
                succeed_url="https://example.com/succeed_url",
                timeout_url="https://example.com/timeout_url",
            )
        ),
    }
    for name, request in built.items():
        assert f"{request.method} {request.path}" == name
        assert json.loads(request.body) == requests[name]["example_seen"]
    page = orders.build_list_orders(1, 10)
    query = requests["GET /api/v2/order/"]["query"]
    assert page.path == f"/api/v2/order/?page={query['page']}&size={query['size']}"
