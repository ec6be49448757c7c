"""Lightning orders: requests, records, and orders that must not be shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import Effect, NewOrder, OrderStatus
from aurpay_async._api.checks import InvoicePolicy
from aurpay_async._api.orders import build_create_order, parse_create_order
from aurpay_async.errors import (
    AurpayError,
    InvalidResponseError,
    InvoiceDecodeError,
    InvoiceInvalidError,
    RequestOutcome,
    UntrustedOrderError,
)

from ..conftest import examples
from ..support.orders import (
    AS_NUMBER,
    AS_TEXT,
    NOW,
    NUMBER_DAY,
    TEXT_DAY,
    build_order,
    build_response,
    sign_invoice,
    wrap_data,
)
from .samples import json_values

if TYPE_CHECKING:
    from aurpay_async import LightningOrder

ORIGIN = ("https", "dashboard.aurpay.net", 443)
ORDER_ID = "20260101000000000001"
REQUESTED = NewOrder("20.00", "USD", reference="cart-42", attempt_id="ab" * 12)


def parse(
    content: object, network: Any = "regtest", now: datetime = NOW
) -> LightningOrder:
    policy = InvoicePolicy(network=network, origin=ORIGIN, payees=frozenset())
    return parse_create_order(
        build_response(content), REQUESTED, policy, now.timestamp()
    )


def test_create_order_sends_the_documented_request_with_effect_create() -> None:
    request = build_create_order(NewOrder(20, "USD"))
    assert (request.method, request.path) == ("POST", "/api/bln/order")
    assert request.effect is Effect.CREATE
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == b'{"price":20,"currency":"USD"}'


def test_created_order_has_the_price_and_reference_of_its_request() -> None:
    """The response repeats neither."""
    created = parse(wrap_data(build_order(price="1", reference="x", attempt_id="y")))
    assert (created.price, created.currency) == (Decimal("20.00"), "USD")
    assert (created.reference, created.attempt_id) == ("cart-42", "ab" * 12)
    assert created.extra == {"price": "1", "reference": "x", "attempt_id": "y"}


def test_documented_create_response_with_numeric_amount_is_parsed() -> None:
    created = parse(AS_NUMBER, "testnet", NUMBER_DAY)
    assert created.order_id == "20240426103947614609"
    assert created.status is OrderStatus.PENDING
    assert created.amount == Decimal("0.00155419")
    assert created.create_time == datetime(2024, 4, 26, 10, 39, 47, tzinfo=UTC)
    assert created.pay_url == AS_NUMBER["data"]["pay_url"]
    assert (created.payment_addr, created.coin) == (None, None)
    assert created.extra == {}
    assert created.checks == (
        "signature",
        "network",
        "amount",
        "timestamp",
        "expiry",
        "pay_url",
    )
    assert str(created.payment_request) == AS_NUMBER["data"]["payment_request"]
    assert created.payment_request.amount_msat == 155_419_000
    assert created.payment_request.payee == (
        "03c34d1e09dee99d69ffb19c1bf278d4695015259e11fb8209beb02f1ad9d3e4fd"
    )


def test_documented_create_response_with_string_amount_is_parsed() -> None:
    created = parse(AS_TEXT, "mainnet", TEXT_DAY)
    assert created.order_id == "20240428125136525824"
    assert str(created.amount) == "0.00019044"
    assert created.coin == "BTC-LN"
    assert created.payment_addr == created.payment_request.payment_secret
    assert created.payment_request.min_final_cltv_expiry == 80
    assert created.payment_request.description == "409c7deb00b4443294855597e7be532a"
    assert "payment_secret" in created.checks


@pytest.mark.parametrize("example", [AS_NUMBER, AS_TEXT])
@pytest.mark.parametrize("amount", [str, float])
@pytest.mark.parametrize(
    "absent", [(), ("payment_addr",), ("currency",), ("payment_addr", "currency")]
)
def test_create_response_is_parsed_in_all_documented_shapes(
    example: dict[str, Any], amount: type, absent: tuple[str, ...]
) -> None:
    """The amount is a number or a string, and two fields are optional."""
    data = {
        name: value for name, value in example["data"].items() if name not in absent
    }
    number = str(data["amount"])
    text = json.dumps({**data, "amount": "@"}).replace(
        '"@"', number if amount is float else f'"{number}"'
    )
    network, day = (
        ("testnet", NUMBER_DAY) if example is AS_NUMBER else ("mainnet", TEXT_DAY)
    )
    created = parse(
        b'{"code":0,"message":"ok","data":' + text.encode() + b"}", network, day
    )
    assert str(created.amount) == number
    assert str(created.payment_request) == data["payment_request"]
    assert created.coin == data.get("currency")
    assert created.payment_addr == data.get("payment_addr")


def test_documented_testnet_invoice_is_rejected_by_a_mainnet_client() -> None:
    with pytest.raises(UntrustedOrderError) as caught:
        parse(AS_NUMBER, "mainnet", NUMBER_DAY)
    error = caught.value
    assert error.check == "network"
    assert error.order_id == "20240426103947614609"
    assert json.loads(error.body) == AS_NUMBER
    assert error.outcome is RequestOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"amount": "0.0003"}, "amount"),
        ({"amount": "lots"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "1e999999999"}, "amount"),
        ({"amount": True}, "amount"),
        ({"payment_request": None}, "invoice"),
        ({"payment_request": "lnbc1"}, "invoice"),
        ({"payment_request": 5}, "invoice"),
        ({"payment_addr": "00" * 32}, "payment_secret"),
        ({"payment_addr": 5}, "payment_secret"),
        ({"pay_url": "https://evil.example/"}, "pay_url"),
        ({"pay_url": None}, "pay_url"),
        ({"payment_request": sign_invoice(network="testnet")}, "network"),
        ({"payment_request": sign_invoice(amount_msat=None)}, "amount"),
        (
            {"payment_request": sign_invoice(timestamp=int(NOW.timestamp()) + 301)},
            "timestamp",
        ),
        (
            {"payment_request": sign_invoice(timestamp=int(NOW.timestamp()) - 3600)},
            "expiry",
        ),
    ],
)
def test_order_with_an_invalid_field_raises_untrusted_order_error(
    change: dict[str, Any], check: str
) -> None:
    content = wrap_data(build_order(**change))
    with pytest.raises(UntrustedOrderError) as caught:
        parse(content)
    error = caught.value
    assert error.check == check
    assert error.order_id == ORDER_ID
    assert json.loads(error.body) == content
    assert error.outcome is RequestOutcome.UNKNOWN
    assert not error.retryable


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (sign_invoice()[:-1], InvoiceDecodeError),
        (sign_invoice(features=(8, 14, 100)), InvoiceInvalidError),
    ],
)
def test_invoice_error_is_the_cause_of_untrusted_order_error(
    text: str, cause: type[AurpayError]
) -> None:
    with pytest.raises(UntrustedOrderError) as caught:
        parse(wrap_data(build_order(payment_request=text)))
    assert caught.value.check == "invoice"
    assert isinstance(caught.value.__cause__, cause)


@pytest.mark.parametrize(
    "create_time",
    [
        None,
        "",
        5,
        [2026, 1, 1, 0, 0],
        "2016-12-31T23:59:60",
        "2026-01-01T00:05:01",
        "2026-01-01T08:00:00",
        "9999-12-31T23:59:59",
    ],
)
def test_unreadable_or_future_create_time_is_replaced_by_the_invoices(
    create_time: object,
) -> None:
    """Aurpay may send UTC+8 instead of UTC."""
    created = parse(wrap_data(build_order(create_time=create_time)))
    assert created.create_time == NOW
    assert created.overdue_at == NOW + timedelta(minutes=30)
    assert created.extra == {"create_time": create_time}


def test_missing_create_time_is_replaced_by_the_invoices() -> None:
    data = build_order()
    del data["create_time"]
    assert parse(wrap_data(data)).create_time == NOW


def test_create_time_without_seconds_or_slightly_ahead_is_accepted() -> None:
    """Java's LocalDateTime leaves out seconds that are 0, and clocks differ."""
    created = parse(wrap_data(build_order(create_time="2026-01-01T00:05")))
    assert created.create_time == NOW + timedelta(minutes=5)
    assert created.extra == {}


def test_unreadable_coin_of_a_created_order_becomes_none() -> None:
    created = parse(wrap_data(build_order(currency=5)))
    assert (created.coin, created.extra) == (None, {"currency": 5})


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (b"", ()),
        (b"<html>Bad gateway</html>", ()),
        (b"[]", ()),
        (b"null", ()),
        (b'{"code":0', ()),
        (b'{"code":0,"code":0}', ()),
        ({}, ("code",)),
        ({"code": "0"}, ("code",)),
        ({"code": False}, ("code",)),
        ({"code": None}, ("code",)),
        ({"code": 0.0}, ("code",)),
        (wrap_data(build_order(), result="true"), ("result",)),
        (wrap_data(build_order(), result=None), ("result",)),
        (wrap_data(build_order(), result=1), ("result",)),
        (wrap_data(None), ("data",)),
        (wrap_data([build_order()]), ("data",)),
        (wrap_data("ok"), ("data",)),
        (wrap_data(build_order(), result=False), ("code", "result")),
        (wrap_data(build_order(), code=7), ("code",)),
        (wrap_data(build_order(status=5)), ("data.status",)),
        (
            wrap_data(build_order(create_time=5, status=None)),
            ("data.status", "data.create_time"),
        ),
        (
            wrap_data({"order_id": None}),
            (
                "data.amount",
                "data.create_time",
                "data.order_id",
                "data.pay_url",
                "data.payment_request",
                "data.status",
            ),
        ),
    ],
)
def test_malformed_create_response_names_the_path_and_keeps_the_body(
    content: object, paths: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        parse(content)
    error = caught.value
    assert not isinstance(error, UntrustedOrderError)
    assert error.outcome is RequestOutcome.UNKNOWN
    assert error.body == build_response(content).body
    assert sorted(error.paths) == sorted(paths)
    assert error.order_id == (ORDER_ID if ORDER_ID.encode() in error.body else None)


def test_envelope_without_result_is_accepted() -> None:
    content = wrap_data(build_order())
    del content["result"]
    assert parse(content).order_id == ORDER_ID


def test_unknown_fields_of_a_create_response_are_in_extra() -> None:
    assert parse(wrap_data(build_order(fee="0.1"), trace="x")).extra == {"fee": "0.1"}


def test_unknown_status_of_a_created_order_keeps_its_string() -> None:
    for text in ("SETTLING", "IN PROGRESS", "", "X" * 65):
        status = parse(wrap_data(build_order(status=text))).status
        assert (status, status.is_known) == (text, False)


@pytest.mark.parametrize("wrong", [{"amount": None}, {"status": None}])
def test_order_id_of_an_error_is_the_one_in_data(wrong: dict[str, Any]) -> None:
    """The body may name other orders before it or inside it."""
    data = {"prev": {"order_id": "INNER"}, **build_order(**wrong)}
    with pytest.raises(InvalidResponseError) as caught:
        parse({"request": {"order_id": "OLD"}, **wrap_data(data)})
    assert caught.value.order_id == ORDER_ID
    assert "OLD" not in str(caught.value)


@examples(15)
@given(
    st.dictionaries(st.sampled_from(sorted(build_order())), json_values, max_size=3),
    st.dictionaries(
        st.sampled_from(["code", "data", "result", "message"]), json_values, max_size=2
    ),
)
def test_any_changed_create_response_gives_a_matching_order_or_an_error(
    data: dict[str, Any], outer: dict[str, Any]
) -> None:
    body = json.dumps({**wrap_data(build_order(**data)), **outer}).encode()
    try:
        created = parse(body)
    except AurpayError:
        return
    assert created.payment_request.amount_msat == 20_000_000
    assert created.amount * 10**11 == 20_000_000
