"""Payments in any coin: requests, comparison with the request, checkout pages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import Effect, NewPayment, PaymentUrl
from aurpay_async._api.account import (
    build_create_payment,
    build_create_payment_url,
    build_list_fiat_currencies,
    parse_create_payment,
    parse_create_payment_url,
    parse_list_fiat_currencies,
)
from aurpay_async._api.checks import InvoicePolicy
from aurpay_async._api.payment_models import NewPaymentUrl
from aurpay_async.errors import (
    APIError,
    AurpayError,
    InvalidResponseError,
    RequestOutcome,
    UntrustedOrderError,
)

from ..conftest import examples
from ..support.orders import build_response, wrap_data
from .samples import ORDER_ID, json_values, payment

if TYPE_CHECKING:
    from aurpay_async import PaymentOrder

POLICY = InvoicePolicy(
    network="mainnet", origin=("https", "gateway.example", 443), payees=frozenset()
)
#: The time of the responses.
NOW = datetime(2024, 8, 6, 7, 20, tzinfo=UTC).timestamp()
REQUESTED = NewPayment(
    "18.00", "usd", chain="ETH", coin="USDT-ERC20", reference="cart-42"
)
PAY_URL = "https://dashboard.aurpay.net/#/cashier/choose?token=made-up"


def read(content: object, requested: NewPayment = REQUESTED) -> PaymentOrder:
    return parse_create_payment(build_response(content), requested, POLICY, NOW)


def read_url(content: object) -> PaymentUrl:
    requested = NewPaymentUrl("18.00", "USD", reference="cart-42", attempt_id="ab" * 12)
    return parse_create_payment_url(build_response(content), requested, POLICY)


def test_create_payment_sends_coin_as_currency_and_fiat_as_vs_currency() -> None:
    request = build_create_payment(
        NewPayment(
            18,
            "USD",
            chain="ETH",
            coin="USDT-ERC20",
            succeed_url="https://example.com/succeed_url",
        )
    )
    assert (request.method, request.path) == ("POST", "/api/order/pay-info")
    assert request.effect is Effect.CREATE
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "chain": "ETH",
        "currency": "USDT-ERC20",
        "vs_currency": "USD",
        "vs_price": 18,
        "succeed_url": "https://example.com/succeed_url",
    }


def test_payment_options_are_sent_only_if_they_are_true() -> None:
    request = build_create_payment_url(
        NewPaymentUrl("18.50", "USD", stablecoin_at_par=True, post_callbacks=True)
    )
    assert (request.method, request.path) == ("POST", "/api/order/pay-url")
    assert request.effect is Effect.CREATE
    assert request.body == (
        b'{"price":18.50,"currency":"USD",'
        b'"fixed_encrypt_price":true,"enable_post_callback":true}'
    )
    plain = build_create_payment_url(NewPaymentUrl("18.50", "USD"))
    assert plain.body == b'{"price":18.50,"currency":"USD"}'


def test_payment_that_matches_its_request_is_parsed() -> None:
    created = read(wrap_data(payment(memo="7")))
    assert (created.order_id, created.status) == (ORDER_ID, "PENDING")
    assert created.amount == Decimal("18.0123")
    assert (created.coin, created.chain) == ("USDT-ERC20", "ETH")
    assert (str(created.price), created.currency) == ("18.00", "USD")
    assert created.create_time == datetime(2024, 8, 6, 7, 19, 26, tzinfo=UTC)
    assert created.overdue_at == datetime(2024, 8, 6, 7, 49, 26, tzinfo=UTC)
    assert created.address == "0x52908400098527886E0F7030069857D2E4169EE7"
    assert created.contract_addr == "0xdAC17F958D2ee523a2206206994597C13D831ec7"
    assert created.pay_url == f"https://dashboard.aurpay.net/#/cashier/{ORDER_ID}"
    assert (created.reference, created.attempt_id) == ("cart-42", None)
    assert created.checks == ("price", "currency", "amount", "address", "pay_url")
    assert created.extra == {"memo": "7"}


@pytest.mark.parametrize("create_time", [None, "", 5, "2024-08-06T15:19:26"])
def test_payment_without_a_valid_create_time_has_the_time_of_its_response(
    create_time: object,
) -> None:
    """Aurpay may send UTC+8, which would show the payment for eight hours."""
    created = read(wrap_data(payment(create_time=create_time)))
    assert created.create_time == datetime(2024, 8, 6, 7, 20, tzinfo=UTC)
    assert created.extra == {"create_time": create_time}


@pytest.mark.parametrize("nothing", [None, ""])
def test_payment_without_contract_or_checkout_page_is_parsed(
    nothing: str | None,
) -> None:
    created = read(wrap_data(payment(contract_addr=nothing, pay_url=nothing)))
    assert (created.contract_addr, created.pay_url) == (nothing, None)
    assert "pay_url" not in created.checks


def test_repeated_chain_and_coin_are_compared_without_regard_to_case() -> None:
    repeated = payment(chain="eth", currency="usdt-erc20", vs_currency="usd")
    created = read(wrap_data(repeated))
    assert {"chain", "coin"} < set(created.checks)
    assert (created.chain, created.coin, created.currency) == (
        "ETH",
        "USDT-ERC20",
        "USD",
    )
    assert created.extra == {}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"vs_price": 18.01}, "price"),
        ({"vs_price": "lots"}, "price"),
        ({"vs_price": None}, "price"),
        ({"vs_currency": "EUR"}, "currency"),
        ({"vs_currency": 840}, "currency"),
        ({"chain": "TRX"}, "chain"),
        ({"currency": "USDC-ERC20"}, "coin"),
        ({"amount": 0}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "1e999999999"}, "amount"),
        ({"address": ""}, "address"),
        ({"address": None}, "address"),
        ({"address": "0x52\u202e90"}, "address"),
        ({"address": '0x"onload="'}, "address"),
        ({"address": "x" * 257}, "address"),
        ({"pay_url": "https://evil.example/"}, "pay_url"),
        ({"pay_url": "javascript:alert(1)"}, "pay_url"),
        ({"pay_url": 5}, "pay_url"),
    ],
)
def test_payment_that_fails_a_check_raises_untrusted_order_error(
    change: dict[str, Any], check: str
) -> None:
    content = wrap_data(payment(**change))
    with pytest.raises(UntrustedOrderError) as caught:
        read(content)
    error = caught.value
    assert (error.check, error.order_id) == (check, ORDER_ID)
    assert error.outcome is RequestOutcome.UNKNOWN
    assert json.loads(error.body) == content


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"order_id": None}, ("data.order_id",)),
        ({"status": 5}, ("data.status",)),
        ({"contract_addr": 5}, ("data.contract_addr",)),
    ],
)
def test_unreadable_payment_raises_invalid_response_error(
    change: dict[str, Any], paths: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read(wrap_data(payment(**change)))
    assert type(caught.value) is InvalidResponseError
    assert caught.value.paths == paths
    assert caught.value.outcome is RequestOutcome.UNKNOWN


def test_payment_url_at_the_clients_own_origin_is_accepted() -> None:
    """A gateway may serve the checkout pages."""
    assert read(wrap_data(payment(pay_url="https://gateway.example/pay"))).pay_url


def test_payment_url_is_parsed_with_unknown_fields_in_extra() -> None:
    created = read_url(wrap_data({"pay_url": PAY_URL, "order_id": "7", "extra": 1}))
    assert created == PaymentUrl(
        pay_url=PAY_URL,
        price=Decimal("18.00"),
        currency="USD",
        reference="cart-42",
        attempt_id="ab" * 12,
        extra={"order_id": "7", "extra": 1},
    )


@pytest.mark.parametrize(
    "pay_url",
    [
        None,
        5,
        "",
        "/#/cashier/choose",
        "https://evil.example/#/cashier/choose?token=made-up",
        "https://dashboard.aurpay.net@evil.example/",
        'https://dashboard.aurpay.net/"onload="',
    ],
)
def test_payment_url_at_another_origin_is_rejected(pay_url: object) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read_url(wrap_data({"pay_url": pay_url}))
    assert type(caught.value) is InvalidResponseError
    assert caught.value.paths == ("data.pay_url",)
    assert caught.value.outcome is RequestOutcome.UNKNOWN


def test_response_without_a_pay_url_is_rejected() -> None:
    with pytest.raises(InvalidResponseError, match=r"data\.pay_url is not a string"):
        read_url(wrap_data({}))


def test_list_fiat_currencies_sends_a_get_request() -> None:
    request = build_list_fiat_currencies()
    assert (request.method, request.path) == ("GET", "/api/order/pay/real-currency")
    assert request.effect is Effect.READ


@pytest.mark.parametrize("data", [["USD"], {"USD": "Dollar"}, [], {}, "USD", 0, False])
def test_fiat_currencies_are_returned_as_received(data: object) -> None:
    assert parse_list_fiat_currencies(build_response(wrap_data(data))) == data


@pytest.mark.parametrize("content", [wrap_data(None), {"code": 0, "message": "ok"}])
def test_response_without_fiat_currencies_is_rejected(content: object) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        parse_list_fiat_currencies(build_response(content))
    assert caught.value.paths == ("data",)


def test_rejected_list_of_fiat_currencies_raises_api_error() -> None:
    with pytest.raises(APIError, match="code 5"):
        parse_list_fiat_currencies(build_response({"code": 5}))


@examples(15)
@given(
    st.dictionaries(st.sampled_from(sorted(payment())), json_values, max_size=3),
    st.dictionaries(st.sampled_from(["code", "data", "result"]), json_values),
)
def test_any_changed_payment_matches_its_request_or_gives_an_error(
    data: dict[str, Any], outer: dict[str, Any]
) -> None:
    body = json.dumps({**wrap_data(payment(**data)), **outer}).encode()
    try:
        created = read(body)
    except AurpayError:
        return
    assert (str(created.price), created.currency) == ("18.00", "USD")
    assert created.amount > 0
    assert created.address.isascii()
    assert created.address
    assert created.pay_url is None or created.pay_url.startswith("https://dashboard.")


@examples(15)
@given(json_values, st.dictionaries(st.sampled_from(["code", "data"]), json_values))
def test_any_changed_payment_url_has_an_accepted_origin_or_gives_an_error(
    pay_url: Any, outer: dict[str, Any]
) -> None:
    content = {**wrap_data({"pay_url": pay_url}), **outer}
    try:
        created = read_url(json.dumps(content).encode())
        parse_list_fiat_currencies(build_response(json.dumps(content).encode()))
    except AurpayError:
        return
    assert created.pay_url.startswith("https://")
