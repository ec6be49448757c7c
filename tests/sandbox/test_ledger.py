"""The ledger without HTTP: creation of orders and changes of their status."""

from __future__ import annotations

import decimal
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import InvalidRequestError, OrderStatus, bolt11
from aurpay_async.sandbox import RATES
from aurpay_async.sandbox._ledger import Ledger
from aurpay_async.sandbox._models import ApiRejection

from ..support.orders import PAYEE

if TYPE_CHECKING:
    from aurpay_async.sandbox._ledger import StatusChange

NOW = datetime(2026, 11, 22, 12, 30, 15, 999_999, tzinfo=UTC)


def create(**fields: Any) -> Any:
    return Ledger().create({"price": 20, "currency": "USD", **fields}, NOW)


def test_invoice_of_an_order_matches_its_amount_and_secrets() -> None:
    order = create(price=Decimal("20.00"))
    invoice = bolt11.decode(order.invoice)
    assert order.amount == Decimal("0.00020000")
    assert invoice.amount_msat == 20_000_000
    assert invoice.network == "regtest"
    assert invoice.payee == PAYEE
    assert invoice.payment_secret == order.payment_secret
    assert invoice.payment_hash == sha256(bytes.fromhex(order.preimage)).hexdigest()
    assert invoice.created_at == order.created_at == NOW.replace(microsecond=0)
    assert (invoice.expiry, invoice.min_final_cltv_expiry) == (86_400, 80)
    assert [feature.bit for feature in invoice.features] == [9, 14, 17]


def test_order_ids_begin_with_the_time_and_are_unique() -> None:
    ledger = Ledger()
    orders = [ledger.create({"price": 1, "currency": "USD"}, NOW) for _ in range(3)]
    assert [order.order_id for order in orders] == [
        "20261122123015000001",
        "20261122123015000002",
        "20261122123015000003",
    ]
    assert list(ledger.orders.values()) == orders
    for name in ("invoice", "payment_secret", "preimage"):
        assert len({getattr(order, name) for order in orders}) == 3


@given(st.decimals("0.01", "999999999.99", places=2), st.sampled_from(sorted(RATES)))
def test_amount_is_rounded_up_to_whole_satoshi(price: Decimal, currency: str) -> None:
    with decimal.localcontext(decimal.Context(prec=2)):
        order = create(price=price, currency=currency)
    exact = price / RATES[currency]
    assert exact <= order.amount < exact + Decimal("0.00000001")
    assert order.amount.as_tuple().exponent == -8


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"price": None}, "price must be a number"),
        ({"price": "20"}, "price must be a number"),
        ({"price": True}, "price must be a number"),
        ({"price": [20]}, "price must be a number"),
        ({"price": 0}, "price must be from"),
        ({"price": -1}, "price must be from"),
        ({"price": Decimal("0.001")}, "price must be from"),
        ({"price": 10**9}, "price must be from"),
        ({"price": Decimal("1e999999")}, "price must be from"),
        ({"currency": None}, "currency must be one of USD"),
        ({"currency": "usd"}, "currency must be one of USD"),
        ({"currency": "XXX"}, "currency must be one of USD"),
        (
            {"currency": "CNY"},
            r'JPY; for CNY set a rate: --rate CNY=\.\.\., or rates=\{"CNY": \.\.\.\}',
        ),
        (
            {"callback_url": ""},
            "callback_url is empty: leave it out \\(what Aurpay does",
        ),
        ({"succeed_url": ""}, "succeed_url is empty: leave it out"),
        ({"currency": ["USD"]}, "currency must be one of USD"),
        ({"callback_url": "/paid"}, "callback_url must be a URL"),
        ({"succeed_url": 5}, "succeed_url must be a URL"),
    ],
)
def test_invalid_order_fields_are_rejected_with_code_400(
    fields: dict[str, Any], problem: str
) -> None:
    ledger = Ledger()
    with pytest.raises(ApiRejection, match=problem) as caught:
        ledger.create({"price": 20, "currency": "USD", **fields}, NOW)
    assert caught.value.code == 400
    assert ledger.orders == {}


def test_order_has_exactly_the_given_urls() -> None:
    urls = {
        "callback_url": "https://shop.example/paid?a=b",
        "timeout_url": "http://127.0.0.1/",
    }
    assert create(**urls, succeed_url=None).urls == urls


LATER = NOW + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("moves", "status"),
    [
        (["pay"], "SUCCESS"),
        (["expire"], "OVERDUE"),
        (["expire", "pay"], "SUCCESS"),
        (["pay", "refund"], "REFUNDED"),
    ],
)
def test_status_changes_follow_the_transition_table(
    moves: list[StatusChange], status: str
) -> None:
    ledger = Ledger()
    created = ledger.create({"price": 20, "currency": "USD"}, NOW)
    for move in moves:
        moved = ledger.change_status(created.order_id, move, LATER)
        assert ledger.orders == {created.order_id: moved}
    changed = ledger.find(created.order_id)
    assert changed.status == status
    assert changed.updated_at == LATER.replace(microsecond=0)
    assert (created.status, created.updated_at) == ("PENDING", created.created_at)
    assert changed.created_at == created.created_at
    assert changed.invoice == created.invoice


@pytest.mark.parametrize(
    ("moves", "problem"),
    [
        (["pay", "pay"], "is SUCCESS and cannot be paid"),
        (["pay", "expire"], "is SUCCESS and cannot be expired"),
        (["expire", "expire"], "is OVERDUE and cannot be expired"),
        (["expire", "refund"], "is OVERDUE and cannot be refunded"),
        (["refund"], "is PENDING and cannot be refunded"),
        (["pay", "refund", "pay"], "is REFUNDED and cannot be paid"),
    ],
)
def test_forbidden_status_change_is_rejected_and_changes_nothing(
    moves: list[StatusChange], problem: str
) -> None:
    ledger = Ledger()
    order_id = ledger.create({"price": 20, "currency": "USD"}, NOW).order_id
    *before, last = moves
    for move in before:
        ledger.change_status(order_id, move, NOW)
    held = dict(ledger.orders)
    with pytest.raises(InvalidRequestError, match=f"{order_id} {problem}") as caught:
        ledger.change_status(order_id, last, LATER)
    assert caught.value.field == "order_id"
    assert ledger.orders == held


@pytest.mark.parametrize("move", ["pay", "underpay"])
def test_invoice_can_be_paid_until_it_expires_and_not_afterwards(
    move: StatusChange,
) -> None:
    ledger = Ledger()
    fields: dict[str, object] = {"price": 20, "currency": "USD"}
    early, late = (ledger.create(fields, NOW).order_id for _ in range(2))
    expires_at = bolt11.decode(ledger.orders[late].invoice).expires_at
    ledger.change_status(early, move, expires_at - timedelta(seconds=1))
    with pytest.raises(InvalidRequestError) as caught:
        ledger.change_status(late, move, expires_at)
    assert str(caught.value) == (
        f"order_id: the invoice of {late} expired at 2026-11-23T12:30:15+00:00, so no "
        "wallet can pay it"
    )
    fields = {"vs_price": 20, "vs_currency": "USD", "chain": "BTC", "currency": "BTC"}
    without_invoice = ledger.create_payment(fields, NOW).order_id
    ledger.change_status(without_invoice, move, expires_at)


@pytest.mark.parametrize("move", ["pay", "expire", "refund"])
def test_unknown_order_can_be_neither_changed_nor_found(move: StatusChange) -> None:
    ledger = Ledger()
    with pytest.raises(InvalidRequestError, match="order_id: there is no order '7'"):
        ledger.change_status("7", move, NOW)
    with pytest.raises(ApiRejection, match="no such order") as caught:
        ledger.find("7")
    assert caught.value.code == 404


def test_any_documented_status_can_be_set_after_any_other() -> None:
    ledger = Ledger()
    order_id = ledger.create({"price": 20, "currency": "USD"}, NOW).order_id
    for status in [*OrderStatus.__members__, "PENDING"]:
        order = ledger.set_status(order_id, status, LATER)
        assert (order.status, order.updated_at > order.created_at) == (status, True)
        assert ledger.orders[order_id] == order
    with pytest.raises(InvalidRequestError) as caught:
        ledger.set_status(order_id, "paid", LATER)
    assert str(caught.value) == (
        "status: must be one of PENDING, OVERDUE, SUCCESS, RESOLVED, PARTIAL, "
        "TERMINATED, REFUNDED; got 'paid'"
    )
    with pytest.raises(InvalidRequestError, match="order_id: there is no order '7'"):
        ledger.set_status("7", "RESOLVED", LATER)
