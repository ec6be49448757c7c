"""Rates: the prices of a bitcoin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aurpay_async import ConfigurationError, InvalidRequestError
from aurpay_async.sandbox import RATES, Rates, Sandbox

from .shop import call, create_order


async def test_changed_rate_applies_to_later_orders() -> None:
    async with Sandbox(rates={"USD": "65000", "CZK": 2_000_000}) as sandbox:
        first = await create_order(sandbox)
        sandbox.rates["USD"] = 40_000
        second = await create_order(sandbox)
        third = await create_order(sandbox, currency="CZK")
        amounts = [sandbox.orders[one].amount for one in (first, second, third)]
    # 20 / 65000 is 0.000307692...: rounded up to a satoshi.
    assert amounts == [
        Decimal("0.00030770"),
        Decimal("0.00050000"),
        Decimal("0.00001000"),
    ]


def test_rates_are_a_mapping_with_defaults() -> None:
    rates = Rates({"USD": Decimal("65000.5")})
    assert dict(rates) == {**RATES, "USD": Decimal("65000.5")}
    assert len(rates) == 5
    assert repr(rates).startswith("<Rates USD: 65000.5, EUR: 90000, ")
    assert RATES["USD"] == 100_000


def test_invalid_rate_changes_no_other_rate() -> None:
    rates = Rates()
    with pytest.raises(InvalidRequestError):
        rates.update({"EUR": 1, "USD": "a lot"})
    assert rates == RATES


@pytest.mark.parametrize(
    ("currency", "rate", "problem"),
    [
        ("USD", 65000.5, r"rates\['USD'\]: a float is not exact: 65000.5; write Dec"),
        ("USD", "6e4", r"rates\['USD'\]: not a plain decimal number"),
        ("USD", 0, r"rates\['USD'\]: must be above 0"),
        ("USD", None, r"rates\['USD'\]: must be a Decimal"),
        ("usd", 1, "rates: a currency is three capital letters, not 'usd'"),
        ("USD\n", 1, "rates: a currency is three capital letters"),
        (7, 1, "rates: a currency is three capital letters, not 7"),
    ],
)
def test_invalid_rate_is_rejected_with_the_reason(
    currency: Any, rate: Any, problem: str
) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        Rates()[currency] = rate
    with pytest.raises(ConfigurationError, match=problem):
        Sandbox(rates={currency: rate})


async def test_order_of_more_than_all_bitcoins_is_rejected() -> None:
    async with Sandbox(rates={"USD": "0.00001"}) as sandbox:
        body = b'{"price": %s, "currency": "USD"}'
        _, most = await call(sandbox, "POST", "/api/bln/order", body % b"210")
        _, more = await call(sandbox, "POST", "/api/bln/order", body % b"210.01")
    assert most["data"]["amount"] == "21000000.00000000"
    assert (more["code"], more["message"]) == (
        400,
        "price is more than all bitcoins at this rate",
    )
