"""Records: what an order is asked for with, and where it stands."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import attrs
import pytest

from aurpay_async import InvalidRequestError, NewOrder, OrderStatus

URLS = ("succeed_url", "timeout_url", "callback_url", "timeout_callback")


def test_a_new_order_is_normalised_once() -> None:
    """The currency is upper-cased, the price exact, the rest as given."""
    order = NewOrder("20.00", "usd", callback_url="https://Shop.example/Paid?A=%2f")
    assert order.price == Decimal("20.00")
    assert str(order.price) == "20.00"
    assert order.currency == "USD"
    assert order.callback_url == "https://Shop.example/Paid?A=%2f"
    assert order.succeed_url is None


def test_it_cannot_be_changed() -> None:
    """What was validated is what is sent."""
    order = NewOrder(20, "USD")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        order.price = Decimal(1)  # type: ignore[misc]


@pytest.mark.parametrize(
    "currency",
    ["", "US", "USDT", "U5D", "U D", "ÜSD", "ＵＳＤ", "us\n", None, 840, b"USD"],
)
def test_a_currency_is_three_ascii_letters(currency: Any) -> None:
    """An open set otherwise: the platform decides."""
    with pytest.raises(InvalidRequestError, match="ISO 4217") as caught:
        NewOrder("20", currency)
    assert caught.value.field == "currency"


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
def test_a_bad_url_names_its_field(field: str, url: str) -> None:
    """Refused before anything is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        NewOrder("20", "USD", **{field: url})
    assert caught.value.field == field


@pytest.mark.parametrize("field", URLS)
def test_an_url_is_a_text(field: str) -> None:
    """Not bytes, and no object that happens to print as one."""
    with pytest.raises(InvalidRequestError, match="not bytes"):
        NewOrder("20", "USD", **{field: b"https://shop.example/"})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["callback_url", "timeout_callback"])
def test_a_callback_has_no_fragment(field: str) -> None:
    """It would never arrive, and the signature covers the text with it."""
    with pytest.raises(InvalidRequestError, match="fragment") as caught:
        NewOrder("20", "USD", **{field: "https://shop.example/#x"})
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["succeed_url", "timeout_url"])
def test_a_page_may_have_one(field: str) -> None:
    """Browsers understand it."""
    NewOrder("20", "USD", **{field: "https://shop.example/#/thanks"})


def test_plain_http_is_for_this_machine() -> None:
    """Where shops are developed."""
    NewOrder("20", "USD", callback_url="http://127.0.0.1:8000/paid")


def test_its_repr_shows_no_query() -> None:
    """Query and fragment may hold a token of the merchant."""
    order = NewOrder(
        "20",
        "USD",
        callback_url="https://shop.example/paid?token=canary",
        succeed_url="https://shop.example/thanks#token=canary",
    )
    assert "canary" not in repr(order)
    assert "https://shop.example/paid" in repr(order)


class Markup(str):
    """A text of another kind, as templates make."""

    __slots__ = ()

    def upper(self) -> Markup:
        return self

    def __str__(self) -> str:
        return "changed"

    def __format__(self, spec: str) -> str:
        return "changed"


class Number(Decimal):
    """A decimal of another kind."""

    def __str__(self) -> str:
        return "changed"


def test_subclasses_are_taken_for_what_they_are() -> None:
    """Enums, a template's markup, a database's decimals: the value alone."""
    url = "https://shop.example/paid"
    order = NewOrder(Number("1.50"), Markup("usd"), callback_url=Markup(url))
    values = (order.price, order.currency, order.callback_url)
    assert [type(value) for value in values] == [Decimal, str, str]
    assert [f"{value}" for value in values] == ["1.50", "USD", url]
    assert NewOrder(Markup("1.50"), "USD").price == Decimal("1.50")


def test_the_documented_statuses_are_known() -> None:
    """Seven of them, equal to their texts."""
    known = [
        "PENDING",
        "OVERDUE",
        "SUCCESS",
        "RESOLVED",
        "PARTIAL",
        "TERMINATED",
        "REFUNDED",
    ]
    assert [status.value for status in OrderStatus] == known
    assert all(
        OrderStatus(text) == text and OrderStatus(text).is_known for text in known
    )


def test_an_unknown_status_keeps_its_text() -> None:
    """A value that Aurpay adds tomorrow breaks nobody."""
    status = OrderStatus("SETTLING")
    assert status == "SETTLING"
    assert (str(status), f"{status}", status.value) == ("SETTLING",) * 3
    assert not status.is_known
    assert isinstance(status, OrderStatus)
    assert status != OrderStatus.PENDING
    assert OrderStatus("SETTLING") == status
    assert hash(OrderStatus("SETTLING")) == hash(status)
    assert [*OrderStatus][-1] is OrderStatus.REFUNDED
    assert "SETTLING" in repr(status)


@pytest.mark.parametrize("text", ["PENDING", "SETTLING"])
def test_a_status_travels(text: str) -> None:
    """Known or not."""
    status = OrderStatus(text)
    assert pickle.loads(pickle.dumps(status)) == copy.deepcopy(status) == status  # noqa: S301


def test_a_status_is_a_text() -> None:
    """Anything else is no status."""
    with pytest.raises(ValueError, match="5"):
        OrderStatus(5)  # type: ignore[arg-type]
