"""Lightning orders as JSON: serialized, parsed, and checked again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import (
    InvalidRequestError,
    InvoiceDecodeError,
    LightningOrder,
    NewOrder,
    OrderStatus,
    RequestOutcome,
    UntrustedOrderError,
)
from aurpay_async._core.json import dump_json

from ..conftest import examples
from ..support.orders import (
    AS_NUMBER,
    AS_TEXT,
    NOW,
    NUMBER_DAY,
    SECRET,
    TEXT_DAY,
    build_lightning_order,
    build_order,
    sign_invoice,
    wrap_data,
)


def changed(text: str, **members: Any) -> str:
    """Return the JSON with changed members; `...` removes one."""
    fields = {**json.loads(text), **members}
    return json.dumps({k: v for k, v in fields.items() if v is not ...})


def test_from_json_returns_an_equal_order() -> None:
    before = build_lightning_order()
    after = LightningOrder.from_json(before.to_json())
    assert after == before
    assert vars(after) == vars(before)
    assert str(after.amount) == "0.00020000"
    assert str(after.price) == "20.00"
    assert (after.reference, after.attempt_id) == ("cart-42", "ab" * 12)
    assert after.checks == before.checks
    assert after.payment_request == before.payment_request


def test_to_json_is_ascii_with_string_numbers_and_a_version() -> None:
    text = build_lightning_order(wrap_data(build_order(note="Größe"))).to_json()
    assert text.isascii()
    members = json.loads(text)
    assert len(members.pop("digest")) == 64
    assert members == {
        "version": 1,
        "order_id": "20260101000000000001",
        "status": "PENDING",
        "amount": "0.00020000",
        "price": "20.00",
        "currency": "USD",
        "create_time": "2026-01-01T00:00:00+00:00",
        "payment_request": sign_invoice(),
        "pay_url": "https://dashboard.aurpay.net/#/cashier/20260101000000000001",
        "payment_addr": SECRET,
        "coin": "BTC-LN",
        "reference": "cart-42",
        "attempt_id": "ab" * 12,
        "checks": [
            "signature",
            "network",
            "amount",
            "payment_secret",
            "timestamp",
            "expiry",
            "pay_url",
        ],
        "network": "regtest",
        "payee": "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad",
        "checkout": "https://dashboard.aurpay.net",
        "extra": {"note": "Größe"},
    }


@pytest.mark.parametrize(
    ("content", "network", "day"),
    [(AS_NUMBER, "testnet", NUMBER_DAY), (AS_TEXT, "mainnet", TEXT_DAY)],
)
def test_from_json_accepts_documented_orders_with_expired_invoices(
    content: object, network: str, day: datetime
) -> None:
    before = build_lightning_order(content, network=network, now=day)
    assert LightningOrder.from_json(before.to_json()) == before


def test_from_json_accepts_the_origin_of_the_checkout_page_in_the_json() -> None:
    pay_url = "http://[::1]:8080/#/cashier/1"
    content = wrap_data(build_order(pay_url=pay_url))
    before = build_lightning_order(content, origin=("http", "[::1]", 8080))
    after = LightningOrder.from_json(before.to_json())
    assert after.pay_url == pay_url


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**60), 10**60)
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
optional_texts = st.none() | st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"]),
    min_size=1,
    max_size=128,
)


@examples(10)
@given(
    msat=st.integers(1, 10**12),
    price=st.decimals("0.01", "999999", places=2),
    created=st.datetimes(timezones=st.just(UTC)),
    status=st.text(st.characters(exclude_categories=["C", "Z"])),
    coin=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    repeats_secret=st.booleans(),
    expiry=st.integers(1, 10**6),
    reference=optional_texts,
    attempt_id=optional_texts,
    extra=st.dictionaries(st.text(min_size=1).map("x{}".format), json_values),
)
def test_any_order_survives_to_json_and_from_json(
    msat: int,
    price: Decimal,
    created: datetime,
    status: str,
    coin: str | None,
    repeats_secret: bool,
    expiry: int,
    reference: str | None,
    attempt_id: str | None,
    extra: dict[str, object],
) -> None:
    data = build_order(
        amount=str(Decimal(msat).scaleb(-11)),
        create_time=created.replace(tzinfo=None).isoformat(),
        status=status,
        currency=coin,
        payment_addr=SECRET if repeats_secret else None,
        payment_request=sign_invoice(amount_msat=msat, expiry=expiry),
        **extra,
    )
    requested = NewOrder(price, "USD", reference=reference, attempt_id=attempt_id)
    before = build_lightning_order(
        dump_json(wrap_data(data)).encode(), requested=requested
    )
    after = LightningOrder.from_json(before.to_json())
    assert after == before
    assert vars(after) == vars(before)
    assert after.to_json() == before.to_json()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"amount": "0.0003"}, "amount"),
        ({"amount": "0.0002"}, "digest"),
        ({"amount": 0.0002}, "digest"),
        ({"payment_request": sign_invoice(amount_msat=1)}, "amount"),
        ({"payment_request": sign_invoice(payment_secret="ef" * 32)}, "payment_secret"),
        ({"payment_request": sign_invoice(payment_hash="ef" * 32)}, "digest"),
        ({"payment_request": sign_invoice(network="testnet")}, "network"),
        ({"payment_request": sign_invoice()[:-1]}, "invoice"),
        ({"payment_request": "lnbc1"}, "invoice"),
        ({"payment_addr": "ef" * 32}, "payment_secret"),
        ({"payment_addr": None}, "digest"),
        ({"pay_url": "https://evil.example/"}, "pay_url"),
        ({"pay_url": "https://dashboard.aurpay.net/#/cashier/2"}, "digest"),
        ({"network": "mainnet"}, "network"),
        ({"payee": "02" + "11" * 32}, "payee"),
        ({"order_id": "20260101000000000002"}, "digest"),
        ({"status": "SUCCESS"}, "digest"),
        ({"price": "2.00"}, "digest"),
        ({"currency": "EUR"}, "digest"),
        ({"reference": "cart-43"}, "digest"),
        ({"attempt_id": None}, "digest"),
        ({"create_time": "2026-01-01T00:00:01"}, "digest"),
        ({"checks": ["signature"]}, "digest"),
        ({"coin": None}, "digest"),
        ({"digest": "0" * 64}, "digest"),
    ],
)
def test_from_json_rejects_a_changed_order_as_untrusted(
    change: dict[str, Any], check: str
) -> None:
    text = changed(build_lightning_order().to_json(), **change)
    with pytest.raises(UntrustedOrderError) as caught:
        LightningOrder.from_json(text)
    error = caught.value
    assert error.check == check
    assert error.order_id == change.get("order_id", "20260101000000000001")
    assert (error.outcome, error.retryable) == (RequestOutcome.UNKNOWN, False)
    assert error.body == text.encode()
    if change.get("payment_request") == "lnbc1":
        assert isinstance(error.__cause__, InvoiceDecodeError)


def test_from_json_rejects_a_consistent_change_by_its_digest() -> None:
    other = build_order(
        payment_addr="ef" * 32, payment_request=sign_invoice(payment_secret="ef" * 32)
    )
    mixed = changed(
        build_lightning_order().to_json(),
        payment_request=other["payment_request"],
        payment_addr=other["payment_addr"],
    )
    with pytest.raises(UntrustedOrderError) as caught:
        LightningOrder.from_json(mixed)
    assert caught.value.check == "digest"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ("{}", "another version of this package wrote it"),
        ('{"version": 1}', "order.amount is missing"),
        ('{"version": 1, "version": 1}', "it has a duplicate key"),
        ("\ud800", "it is not JSON"),
        (b"{}", "it is not a str but bytes"),
        (None, "it is not a str but NoneType"),
    ],
)
def test_from_json_rejects_a_document_that_to_json_did_not_write(
    text: Any, problem: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        LightningOrder.from_json(text)
    assert caught.value.field == "order"
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "another version"),
        ({"version": True}, "another version"),
        ({"version": "1"}, "another version"),
        ({"amount": "lots"}, "order.amount is not a number"),
        ({"price": None}, "order.price is not a number"),
        ({"currency": ...}, "order.currency is missing"),
        ({"attempt_id": ...}, "order.attempt_id is missing"),
        ({"digest": ...}, "order.digest is missing"),
        ({"checks": "signature"}, "order.checks is not a list"),
        ({"checks": [1]}, "order.checks is not a string"),
        ({"status": 5}, "order.status is not a string"),
        ({"create_time": "soon"}, "order.create_time is not a time"),
        ({"order_id": ""}, "order.order_id is empty"),
        ({"checkout": "aurpay"}, "order.checkout must be absolute"),
        ({"extra": ...}, "it has other members"),
        ({"extra": []}, "it has other members"),
        ({"canary": 1}, "it has other members"),
    ],
)
def test_from_json_names_the_invalid_member_without_its_value(
    change: dict[str, Any], problem: str
) -> None:
    text = changed(build_lightning_order().to_json(), **change)
    with pytest.raises(InvalidRequestError) as caught:
        LightningOrder.from_json(text)
    assert problem in str(caught.value)
    assert "canary" not in str(caught.value)


def test_from_json_accepts_changed_extra_fields() -> None:
    text = changed(
        build_lightning_order(wrap_data(build_order(fee="0.1"))).to_json(),
        extra={"fee": "0.2"},
    )
    assert LightningOrder.from_json(text).extra == {"fee": "0.2"}


def test_order_is_overdue_before_its_invoice_expires() -> None:
    late = build_lightning_order(
        wrap_data(build_order(create_time="2026-01-01T00:00:07"))
    )
    assert late.overdue_at == NOW + timedelta(minutes=30, seconds=7)
    assert late.payment_request.expires_at == NOW + timedelta(hours=1)


def test_small_amount_has_no_exponent_in_json_and_repr() -> None:
    tiny = build_order(
        amount="2.0E-7", payment_request=sign_invoice(amount_msat=20_000)
    )
    created = build_lightning_order(wrap_data(tiny))
    assert str(created.amount) == "2.0E-7"
    assert json.loads(created.to_json())["amount"] == "0.00000020"
    assert LightningOrder.from_json(created.to_json()) == created
    assert "amount=Decimal('0.00000020')" in repr(created)


def test_overdue_at_is_not_after_the_invoices_expiry() -> None:
    brief = build_lightning_order(
        wrap_data(build_order(payment_request=sign_invoice(expiry=600)))
    )
    assert brief.overdue_at == brief.payment_request.expires_at
    assert brief.overdue_at == NOW + timedelta(minutes=10)


def test_overdue_at_uses_the_invoice_time_if_create_time_is_earlier() -> None:
    """The documented example rounds create_time down."""
    rounded = build_lightning_order(AS_TEXT, network="mainnet", now=TEXT_DAY)
    assert rounded.create_time == datetime(2024, 4, 28, 12, tzinfo=UTC)
    assert rounded.overdue_at == datetime(2024, 4, 28, 13, 21, 36, tzinfo=UTC)


def test_from_json_keeps_an_unknown_status() -> None:
    before = build_lightning_order(wrap_data(build_order(status="SETTLING")))
    after = LightningOrder.from_json(before.to_json())
    assert after.status == OrderStatus("SETTLING")
    assert not after.status.is_known
