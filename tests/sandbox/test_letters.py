"""Callbacks before they are sent: what is documented of them, and how it is spoilt."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async.sandbox._ledger import Ledger
from aurpay_async.sandbox._letters import SPOILT, Writer, sign

from ..conftest import load
from .shop import signature

if TYPE_CHECKING:
    from aurpay_async.sandbox._letters import Letter

VECTORS = load("aurpay.json")
NOW = datetime(2024, 6, 17, tzinfo=UTC)
URL = "https://api.you.com/callback?id=32"


def written(*, posts: bool = False, **fields: Any) -> Letter:
    order = Ledger().create(
        {"price": Decimal("19.99"), "currency": "EUR", "callback_url": URL, **fields},
        NOW,
    )
    writer = Writer(token="t", secret="example-callback-secret", posts=posts)
    return writer.write(order, "paid", NOW)


@pytest.mark.parametrize(
    "vector",
    VECTORS["signature_vectors"]["callback"],
    ids=lambda vector: vector["name"],
)
def test_the_vectors(vector: dict[str, str]) -> None:
    """Read from Aurpay's page by the one who sends."""
    assert (
        sign(vector["callback_secret"], vector["date"], vector["callback_url"])
        == vector["expected_signature"]
    )


def test_a_callback() -> None:
    """`GET` without a body, with the three documented headers."""
    letter = written()
    assert (letter.method, letter.url, letter.body) == ("GET", URL, b"")
    assert letter.headers == (
        ("Callback-Token", "t"),
        ("Date", "2024-06-17T00:00:00Z"),
        ("Signature", "GyVNxJEBI11GoK2i8L9vAFiPEU1LZkxIqoFCy033jzU="),
    )


def test_a_callback_with_a_body() -> None:
    """The fields of the documented example in its order, of the same types."""
    example = VECTORS["callback_post_body"]["example"]
    letter = written(posts=True)
    assert letter.method == "POST"
    assert letter.headers[-1] == ("Content-Type", "application/json")
    body = json.loads(letter.body)
    assert list(body) == list(example)
    assert {name: type(value) for name, value in body.items()} == {
        name: type(value) for name, value in example.items()
    }
    assert body["order_id"] == letter.order.order_id
    assert (body["status"], body["currency"]) == ("SUCCESS", "BTC-LN")
    assert (body["amount"], body["fee"]) == ("0.00022212", "0.00000177696")
    assert (body["vs_price"], body["vs_currency"]) == ("19.99", "EUR")
    assert written(posts=True).body != letter.body  # another invoice


def test_what_it_holds_does_not_show() -> None:
    """Sandbox secrets are secrets all the same."""
    writer = Writer(token="canary", secret="canary", posts=False)
    letter = writer.write(written().order, "paid", NOW)
    assert "canary" not in repr(writer)
    assert "canary" not in repr(letter)
    assert letter.signatures[0] not in repr(letter)


def test_half_a_character_in_an_address() -> None:
    """JSON can hold it; signing does not fail on it."""
    assert written(callback_url="https://shop.example/\ud800").signatures


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("wrong-signature", {"signatures"}),
        ("wrong-token", {"token"}),
        ("no-signature", {"signatures"}),
        ("duplicate-headers", {"signatures"}),
        ("wrong-url", {"url"}),
        ("api-key-only", {"api_key", "is_unsigned"}),
        ("unsigned-body", {"method", "body"}),
        ("broken-body", {"method", "body"}),
        ("huge-body", {"method", "body"}),
        ("wrong-method", {"method"}),
    ],
)
def test_only_one_thing_is_wrong(name: str, changed: set[str]) -> None:
    """So that a shop that refuses it refuses it for that."""
    letter = written()
    spoilt = SPOILT[name](letter)
    fields = (
        *("method", "url", "token", "date", "signatures", "body"),
        *("api_key", "is_unsigned"),
    )
    assert {
        field for field in fields if getattr(letter, field) != getattr(spoilt, field)
    } == changed


def test_nothing_is_left_untested() -> None:
    """Each of them is looked at above."""
    assert len(SPOILT) == 10


def test_signatures_that_are_wrong() -> None:
    """Well-formed, of another secret; beside the right one, or instead."""
    letter = written()
    forged = signature(letter.date, URL, "not the secret")
    assert SPOILT["wrong-signature"](letter).signatures == (forged,)
    assert SPOILT["duplicate-headers"](letter).signatures == (
        *letter.signatures,
        forged,
    )
    assert [name for name, _ in SPOILT["duplicate-headers"](letter).headers] == [
        "Callback-Token",
        "Date",
        "Signature",
        "Signature",
    ]
    names = [name for name, _ in SPOILT["no-signature"](letter).headers]
    assert names == ["Callback-Token", "Date"]


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://shop.example/paid", "https://shop.example/paid?x=1"),
        ("https://shop.example/paid?a=b", "https://shop.example/paid?a=b&x=1"),
        ("https://shop.example/#a?b", "https://shop.example/?x=1#a?b"),
    ],
)
def test_an_address_that_is_wrong(url: str, sent: str) -> None:
    """One parameter more than was signed."""
    letter = written(callback_url=url)
    assert SPOILT["wrong-url"](letter).url == sent
    assert letter.signatures[0] == signature(
        letter.date, url, "example-callback-secret"
    )


def test_bodies_that_are_wrong() -> None:
    """Another order and amount; no JSON; two mebibytes."""
    letter = written()
    true = json.loads(written(posts=True).body)
    told = json.loads(SPOILT["unsigned-body"](letter).body)
    assert told["order_id"] != letter.order.order_id
    assert told["order_id"][:14] == letter.order.order_id[:14]
    assert (true["amount"], told["amount"]) == ("0.00022212", "10.00022212")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(SPOILT["broken-body"](letter).body)
    huge = SPOILT["huge-body"](letter)
    assert len(huge.body) > 2 * 1024 * 1024
    assert json.loads(huge.body)["order_id"] == letter.order.order_id
