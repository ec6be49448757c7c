"""Callback requests before they are sent: documented form, and tampering."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async.sandbox import _faults
from aurpay_async.sandbox._callbacks import build_callback, sign
from aurpay_async.sandbox._ledger import Ledger

from ..conftest import load
from .shop import expected_signature

if TYPE_CHECKING:
    from aurpay_async.sandbox._callbacks import CallbackRequest

VECTORS = load("aurpay.json")
NOW = datetime(2024, 6, 17, tzinfo=UTC)
URL = "https://api.you.com/callback?id=32"


def build(*, posts: bool = False, **fields: Any) -> CallbackRequest:
    order = Ledger().create(
        {"price": Decimal("19.99"), "currency": "EUR", "callback_url": URL, **fields},
        NOW,
    )
    return build_callback(
        order, "paid", NOW, token="t", secret="example-callback-secret", post=posts
    )


@pytest.mark.parametrize(
    "vector",
    VECTORS["signature_vectors"]["callback"],
    ids=lambda vector: vector["name"],
)
def test_signatures_of_the_documentation_are_reproduced(vector: dict[str, str]) -> None:
    assert (
        sign(vector["callback_secret"], vector["date"], vector["callback_url"])
        == vector["expected_signature"]
    )


def test_get_callback_has_the_three_documented_headers() -> None:
    callback = build()
    assert (callback.method, callback.url, callback.body) == ("GET", URL, b"")
    assert callback.headers == (
        ("Callback-Token", "t"),
        ("Date", "2024-06-17T00:00:00Z"),
        ("Signature", "GyVNxJEBI11GoK2i8L9vAFiPEU1LZkxIqoFCy033jzU="),
    )


def test_post_callback_has_the_documented_fields_in_order() -> None:
    example = VECTORS["callback_post_body"]["example"]
    callback = build(posts=True)
    assert callback.method == "POST"
    assert callback.headers[-1] == ("Content-Type", "application/json")
    body = json.loads(callback.body)
    assert list(body) == list(example)
    assert {name: type(value) for name, value in body.items()} == {
        name: type(value) for name, value in example.items()
    }
    assert body["order_id"] == callback.order.order_id
    assert (body["status"], body["currency"]) == ("SUCCESS", "BTC-LN")
    assert (body["amount"], body["fee"]) == ("0.00022212", "0.00000177696")
    assert (body["vs_price"], body["vs_currency"]) == ("19.99", "EUR")
    assert build(posts=True).body != callback.body  # another invoice


def test_repr_of_a_callback_hides_token_and_signature() -> None:
    callback = build_callback(
        build().order, "paid", NOW, token="canary", secret="canary", post=False
    )
    assert "canary" not in repr(callback)
    assert callback.signatures[0] not in repr(callback)


def test_callback_url_with_a_lone_surrogate_can_be_signed() -> None:
    assert build(callback_url="https://shop.example/\ud800").signatures


def tamper(callback: CallbackRequest, name: str) -> CallbackRequest:
    """Return the request that is sent with the fault."""
    sent: list[CallbackRequest] = []

    async def send(request: CallbackRequest) -> None:
        sent.append(request)

    delivery: Any = SimpleNamespace(build=lambda: callback, send=send)
    perform: Any = _faults.CALLBACK_FAULTS[name].perform
    asyncio.run(perform(delivery))
    return sent[0]


#: The fields that each fault changes.
CHANGED = {
    "wrong-signature": {"signatures"},
    "wrong-token": {"token"},
    "no-signature": {"signatures"},
    "duplicate-headers": {"signatures"},
    "wrong-url": {"url"},
    "api-key-only": {"api_key", "is_unsigned"},
    "unsigned-body": {"method", "body"},
    "broken-body": {"method", "body"},
    "huge-body": {"method", "body"},
    "wrong-method": {"method"},
}


@pytest.mark.parametrize(("name", "changed"), CHANGED.items())
def test_tampered_callback_differs_in_one_respect(name: str, changed: set[str]) -> None:
    callback = build()
    tampered = tamper(callback, name)
    fields = (
        *("method", "url", "token", "date", "signatures", "body"),
        *("api_key", "is_unsigned"),
    )
    assert {
        field
        for field in fields
        if getattr(callback, field) != getattr(tampered, field)
    } == changed


def test_each_way_of_tampering_is_tested() -> None:
    assert {*CHANGED} == {
        name
        for name, kind in _faults.CALLBACK_FAULTS.items()
        if kind.perform.__qualname__.startswith(_faults._tampering.__qualname__)
    }


def test_forged_signature_replaces_or_follows_the_valid_one() -> None:
    callback = build()
    forged = expected_signature(callback.date, URL, "not the secret")
    assert tamper(callback, "wrong-signature").signatures == (forged,)
    assert tamper(callback, "duplicate-headers").signatures == (
        *callback.signatures,
        forged,
    )
    assert [name for name, _ in tamper(callback, "duplicate-headers").headers] == [
        "Callback-Token",
        "Date",
        "Signature",
        "Signature",
    ]
    names = [name for name, _ in tamper(callback, "no-signature").headers]
    assert names == ["Callback-Token", "Date"]


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://shop.example/paid", "https://shop.example/paid?x=1"),
        ("https://shop.example/paid?a=b", "https://shop.example/paid?a=b&x=1"),
        ("https://shop.example/#a?b", "https://shop.example/?x=1#a?b"),
    ],
)
def test_wrong_url_has_one_more_parameter_than_was_signed(url: str, sent: str) -> None:
    callback = build(callback_url=url)
    assert tamper(callback, "wrong-url").url == sent
    assert callback.signatures[0] == expected_signature(
        callback.date, url, "example-callback-secret"
    )


def test_tampered_bodies_are_foreign_broken_or_huge() -> None:
    callback = build()
    true = json.loads(build(posts=True).body)
    changed = json.loads(tamper(callback, "unsigned-body").body)
    assert changed["order_id"] != callback.order.order_id
    assert changed["order_id"][:14] == callback.order.order_id[:14]
    assert (true["amount"], changed["amount"]) == ("0.00022212", "10.00022212")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(tamper(callback, "broken-body").body)
    huge = tamper(callback, "huge-body")
    assert len(huge.body) > 2 * 1024 * 1024
    assert json.loads(huge.body)["order_id"] == callback.order.order_id
