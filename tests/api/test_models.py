"""Records of requests: conversion and validation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from aurpay_async import (
    InvalidRequestError,
    NewOrder,
    NewPayment,
    Order,
    OrderQuery,
    OrderStatus,
    RefundInfo,
)
from aurpay_async._api.arguments import require_order_id
from aurpay_async._api.payment_models import NewPaymentUrl

from ..support.orders import NOW

TINY = Decimal("2.0E-7")

URLS = ("succeed_url", "timeout_url", "callback_url", "timeout_callback")


def test_new_order_upper_cases_its_currency_and_keeps_its_digits() -> None:
    order = NewOrder("20.00", "usd", callback_url="https://Shop.example/Paid?A=%2f")
    assert order.price == Decimal("20.00")
    assert str(order.price) == "20.00"
    assert order.currency == "USD"
    assert order.callback_url == "https://Shop.example/Paid?A=%2f"
    assert order.succeed_url is None


def test_new_order_is_immutable_after_validation() -> None:
    order = NewOrder(20, "USD")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        order.price = Decimal(1)  # type: ignore[misc]


@pytest.mark.parametrize(
    "currency",
    ["", "US", "USDT", "U5D", "U D", "ÜSD", "ＵＳＤ", "us\n", None, 840, b"USD"],
)
def test_currency_other_than_three_ascii_letters_is_rejected(currency: Any) -> None:
    with pytest.raises(InvalidRequestError, match="ISO 4217") as caught:
        NewOrder("20", currency)
    assert caught.value.field == "currency"


def test_allow_http_must_be_a_bool() -> None:
    allowed: Any = 1
    with pytest.raises(InvalidRequestError, match="must be True or False") as caught:
        NewOrder("20", "USD", allow_http=allowed)
    assert caught.value.field == "allow_http"


@pytest.mark.parametrize("field", URLS)
@pytest.mark.parametrize(
    "url",
    [
        "/paid",
        "http://shop.example/",
        "https://a@shop.example/",
        "https://shop.example/a b",
    ],
)
def test_invalid_url_of_a_new_order_names_its_field(field: str, url: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        NewOrder("20", "USD", **{field: url})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("field", URLS)
def test_url_that_is_not_a_str_is_rejected(field: str) -> None:
    with pytest.raises(InvalidRequestError, match="not bytes"):
        NewOrder("20", "USD", **{field: b"https://shop.example/"})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://shop.example/#x", r"use \?query instead"),
        ("https://shop.example/zahlung/gr\xf6\xdfe", "percent-encode them"),
        ("HTTPS://shop.example/paid", "write https://"),
        ("https://shop.example", "has no path.*add / to the host"),
        ("https://shop.example/a/../b", "clients shorten; write it without"),
        ("http://127.0.0.1:8000?next=/cart", "has no path.*add / to the host"),
    ],
)
def test_callback_url_that_servers_would_change_is_rejected(
    field: str, url: str, hint: str
) -> None:
    """The signature covers the URL as it was sent."""
    with pytest.raises(InvalidRequestError, match=hint) as caught:
        NewOrder("20", "USD", **{field: url})  # type: ignore[arg-type]
    assert caught.value.field == field
    if "#" not in url:
        NewOrder("20", "USD", succeed_url=url)


@pytest.mark.parametrize("field", ["succeed_url", "timeout_url"])
def test_page_url_may_have_a_fragment(field: str) -> None:
    page: dict[str, Any] = {field: "https://shop.example/#/thanks"}
    NewOrder("20", "USD", **page)


def test_plain_http_url_is_accepted_on_loopback_only() -> None:
    NewOrder("20", "USD", callback_url="http://127.0.0.1:8000/paid")


def test_repr_of_a_new_order_redacts_query_and_fragment() -> None:
    order = NewOrder(
        "20",
        "USD",
        callback_url="https://shop.example/paid?token=canary",
        succeed_url="https://shop.example/thanks#token=canary",
    )
    assert "canary" not in repr(order)
    assert "https://shop.example/paid" in repr(order)


class Markup(str):
    """A str subclass, as template engines use."""

    __slots__ = ()

    def upper(self) -> Markup:
        return self

    def __str__(self) -> str:
        return "changed"

    def __format__(self, spec: str) -> str:
        return "changed"


class Number(Decimal):
    """A Decimal subclass."""

    def __str__(self) -> str:
        return "changed"


def test_subclasses_of_str_and_decimal_are_stored_as_plain_values() -> None:
    url = "https://shop.example/paid"
    order = NewOrder(Number("1.50"), Markup("usd"), callback_url=Markup(url))
    values = (order.price, order.currency, order.callback_url)
    assert [type(value) for value in values] == [Decimal, str, str]
    assert [f"{value}" for value in values] == ["1.50", "USD", url]
    assert NewOrder(Markup("1.50"), "USD").price == Decimal("1.50")


@pytest.mark.parametrize("field", ["reference", "attempt_id"])
@pytest.mark.parametrize("label", ["x", "cart 42", "Größe/7", "x" * 128])
def test_reference_of_up_to_128_printable_characters_is_accepted(
    field: str, label: str
) -> None:
    given: dict[str, Any] = {field: Markup(label)}
    order = NewOrder("20", "USD", **given)
    kept = getattr(order, field)
    assert kept == label
    assert type(kept) is str


@pytest.mark.parametrize("field", ["reference", "attempt_id"])
@pytest.mark.parametrize(
    "label", ["", "x" * 129, "a\nb", "a\x00", "\u202ex", "\ud800", 42, b"cart", ["x"]]
)
def test_new_order_rejects_an_invalid_reference(field: str, label: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        NewOrder("20", "USD", **{field: label})
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["1", "20240428125136525824", "x" * 64, "a/b", "..."])
def test_order_id_is_accepted_unchanged_as_a_plain_str(text: str) -> None:
    assert require_order_id(text) == text
    assert type(require_order_id(Markup(text))) is str


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "a/..",
        "../a",
        "x" * 65,
        "a b",
        " 1",
        "1\n",
        "\x7f",
        "\u3000",
        "\ud800",
        20240428125136525824,
        None,
        b"1",
    ],
)
def test_order_id_that_would_change_the_path_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"order\.order_id") as caught:
        require_order_id(value)
    assert caught.value.field == "order_id"
    with pytest.raises(InvalidRequestError) as caught:
        require_order_id(value, "order")
    assert caught.value.field == "order"


def test_new_payment_has_the_fields_of_an_order_and_a_coin() -> None:
    requested = NewPayment(
        "18.00", "usd", chain=Markup("ETH"), coin="usdt-erc20", post_callbacks=True
    )
    assert (requested.price, requested.currency) == (Decimal("18.00"), "USD")
    assert (requested.chain, requested.coin) == ("ETH", "usdt-erc20")
    assert type(requested.chain) is str
    assert (requested.stablecoin_at_par, requested.post_callbacks) == (False, True)
    assert isinstance(requested, NewOrder)


@pytest.mark.parametrize("field", ["chain", "coin"])
@pytest.mark.parametrize(
    "value",
    ["", " ETH", "E TH", "ETH\n", "x" * 33, "ЕТН", "\u202eETH", None, 1, b"ETH"],
)
def test_new_payment_rejects_an_invalid_chain_or_coin(field: str, value: Any) -> None:
    names = {"chain": "ETH", "coin": "USDT-ERC20", field: value}
    with pytest.raises(InvalidRequestError, match="as Aurpay does") as caught:
        NewPayment("18", "USD", **names)
    assert caught.value.field == field
    assert ('"ETH"' in str(caught.value)) == (field == "chain")


@pytest.mark.parametrize("field", ["stablecoin_at_par", "post_callbacks"])
@pytest.mark.parametrize("value", [None, 1, 0, "true", "", []])
def test_payment_option_other_than_true_or_false_is_rejected(
    field: str, value: Any
) -> None:
    with pytest.raises(InvalidRequestError, match="True or False") as caught:
        NewPaymentUrl("18", "USD", **{field: value})
    assert caught.value.field == field


def test_repr_of_a_new_payment_url_redacts_the_query() -> None:
    url = "https://shop.example/paid?token=canary"
    assert "canary" not in repr(NewPaymentUrl("18", "USD", callback_url=url))


@pytest.mark.parametrize(
    "record",
    [
        Order(order_id="1", status=OrderStatus.PENDING, amount=TINY, price=TINY),
        NewOrder(TINY, "USD"),
        RefundInfo(order_id="1", chain="BLN", coin="BTC-LN", amount=TINY),
        OrderQuery(price=TINY, currency="USD", sent_at=NOW),
    ],
)
def test_repr_of_a_record_shows_decimals_without_an_exponent(record: object) -> None:
    assert "Decimal('0.00000020')" in repr(record)
    assert "E-7" not in repr(record)


def test_repr_of_a_record_shows_other_types_unchanged() -> None:
    odd = Order(order_id="1", status=OrderStatus.PENDING, amount="x")  # type: ignore[arg-type]
    assert "amount='x', price=None" in repr(odd)
