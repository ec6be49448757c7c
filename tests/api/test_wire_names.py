"""Wire names of the fields of our records."""

from __future__ import annotations

import attrs
import pytest

import aurpay_async._api.wire as table
from aurpay_async import NewOrder, NewPayment, Order, Refund, Transaction
from aurpay_async._api.payment_models import UncheckedPayment
from aurpay_async._api.wire import wire_fields, wire_names


@pytest.mark.parametrize("kind", table._WIRE_NAMES, ids=lambda kind: kind.__name__)
def test_each_wire_name_belongs_to_one_field(kind: type[attrs.AttrsInstance]) -> None:
    ours = {field.name for field in attrs.fields(kind)}
    assert set(wire_names(kind)) <= ours
    assert len(wire_fields(kind)) == len(ours - {"extra"})


def test_fiat_is_vs_currency_where_the_coin_is_currency() -> None:
    for kind in (Order, NewPayment, UncheckedPayment):
        names = wire_names(kind)
        assert names["coin"] == "currency"
        assert (names["price"], names["currency"]) == ("vs_price", "vs_currency")
    assert wire_names(NewOrder) == {}


def test_wire_fields_has_the_wire_names_of_all_fields() -> None:
    assert wire_fields(Refund) == {
        "order_id",
        "refund_status",
        "refund_amount",
        "refund_date",
    }
    assert "currency" in wire_fields(Transaction)
    assert "coin" not in wire_fields(Transaction)
