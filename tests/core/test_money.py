"""Prices and amounts are exact or rejected, in any decimal context."""

from __future__ import annotations

import decimal
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import InvalidRequestError
from aurpay_async._core.money import btc_to_msat, parse_btc, parse_price

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["default", "hostile"], autouse=True)
def _context(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run each test with a decimal context that another library has changed, too."""
    if request.param == "default":
        yield
        return
    with decimal.localcontext(
        decimal.Context(prec=1, Emax=1, Emin=-1, rounding="ROUND_UP")
    ):
        yield


@pytest.mark.parametrize(
    ("given_price", "sent"),
    [
        ("20", "20"),
        ("20.00", "20.00"),
        ("19.99", "19.99"),
        ("0.01", "0.01"),
        (20, "20"),
        (Decimal("20.10"), "20.10"),
        (Decimal("2E+1"), "20"),
        (Decimal("1E-8"), "0.00000001"),
        ("999999999999999999", "999999999999999999"),
        ("9999999999999999.99", "9999999999999999.99"),
    ],
)
def test_a_price_keeps_exactly_the_given_digits(given_price: Any, sent: str) -> None:
    assert f"{parse_price(given_price):f}" == sent


@pytest.mark.parametrize(
    "price",
    [
        "", " ", " 20", "20 ", "2 0", "2_0", "1e3", "1E3", "+20", "-20", "0x14", "20.",
        ".5", "007", "1,000", "1.000,00", "NaN", "Infinity", "٢٠", "２０", "20\n",
        pytest.param("1" * 1_000_000, id="a million digits"),
    ],
)  # fmt: skip
def test_other_strings_are_rejected_as_a_price_with_an_example(price: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"19\.99") as caught:
        parse_price(price)
    assert caught.value.field == "price"
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        ("0", "above 0"),
        ("0.00", "above 0"),
        (0, "above 0"),
        (-1, "above 0"),
        (Decimal(-1), "above 0"),
        (Decimal("NaN"), "not a number"),
        (Decimal("sNaN"), "not a number"),
        (Decimal("Infinity"), "not a number"),
        (Decimal("-Infinity"), "not a number"),
        (Decimal("1E+18"), "18 digits"),
        (Decimal("1E-18"), "18 digits"),
        (Decimal("1E+999999"), "18 digits"),
        (Decimal("1E-999999"), "18 digits"),
        (10**18, "18 digits"),
        ("1" * 19, "18 digits"),
        ("0." + "1" * 18, "18 digits"),
        ("1" * 36, "18 digits"),
        (-(10**18), "18 digits"),
        pytest.param(1 << 16_000_000, "18 digits", id="huge"),
    ],
)
def test_numbers_that_are_not_a_price_are_rejected(price: Any, problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        parse_price(price)


@pytest.mark.parametrize(
    ("price", "instead"),
    [
        (19.99, "19.99"),
        (0.1, "0.1"),
        (1e-05, "0.00001"),
        (20.0, "20.0"),
    ],
)
def test_a_float_is_rejected_with_the_decimal_to_write(
    price: float, instead: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_price(price)  # type: ignore[arg-type]
    assert caught.value.hint == f'write Decimal("{instead}") or "{instead}"'


class Float(float):
    """A float subclass like numpy's, with its type in the repr."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)})"


def test_a_float_of_a_subclass_is_rejected_with_the_decimal_to_write() -> None:
    with pytest.raises(InvalidRequestError, match=r'write Decimal\("19.99"\)'):
        parse_price(Float(19.99))  # type: ignore[arg-type]


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.5, 1e22])
def test_a_float_that_is_not_a_price_gets_no_hint(price: float) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_price(price)  # type: ignore[arg-type]
    assert caught.value.hint is None


@pytest.mark.parametrize("price", [True, False, None, b"20", ["20"], 20j])
def test_other_types_are_rejected_as_a_price(price: Any) -> None:
    with pytest.raises(InvalidRequestError, match=type(price).__name__):
        parse_price(price)


@given(st.integers(1, 21_000_000 * 10**11))
def test_every_number_of_millisatoshi_is_converted_exactly(msat: int) -> None:
    whole, rest = divmod(msat, 10**11)
    assert btc_to_msat(Decimal(f"{whole}.{rest:011d}")) == msat


def test_amounts_near_powers_of_ten_are_converted_exactly() -> None:
    for power, offset in product(range(9), (-1, 0, 1)):
        if satoshi := 10**power + offset:
            text = f"{satoshi // 10**8}.{satoshi % 10**8:08d}"
            assert btc_to_msat(Decimal(text)) == satoshi * 1000, text


@pytest.mark.parametrize(
    ("amount", "msat"),
    [
        ("0.00155419", 155_419_000),
        ("0.00019044", 19_044_000),
        ("1E-11", 1),
        ("1.5E-4", 15_000_000),
        ("21E+6", 2_100_000_000_000_000_000),
        ("0.000190440000000000000000000", 19_044_000),
    ],
)
def test_amounts_in_published_responses_are_converted_exactly(
    amount: str, msat: int
) -> None:
    assert btc_to_msat(Decimal(amount)) == msat


@pytest.mark.parametrize(
    "amount",
    [
        "0", "-1", "0E-5", "1E-12", "0.000000000015", "21000000.00000000001", "1E+8",
        "1E+999999", "1E-999999", "NaN", "sNaN", "Infinity", "-Infinity", "1" * 65,
    ],
)  # fmt: skip
def test_an_impossible_amount_is_rejected_and_not_shown(amount: str) -> None:
    with pytest.raises(ValueError, match=r"amount of bitcoin|finer") as caught:
        btc_to_msat(Decimal(amount))
    assert amount not in str(caught.value)


@given(st.decimals())
def test_any_decimal_is_converted_exactly_or_rejected(amount: Decimal) -> None:
    from fractions import Fraction

    try:
        msat = btc_to_msat(amount)
    except ValueError:
        return
    assert Fraction(amount) * 10**11 == msat


@pytest.mark.parametrize(
    ("amount", "msat"),
    [
        ("0.0002", 20_000_000),
        (Decimal("0.00020000000"), 20_000_000),
        (1, 10**11),
        ("0.00000000001", 1),
        ("21000000", 21 * 10**17),
    ],
)
def test_an_amount_of_bitcoin_is_accepted_down_to_the_millisatoshi(
    amount: Any, msat: int
) -> None:
    assert parse_btc(amount) == msat


@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        (
            0.0002,
            'amount: a float is not exact: 0.0002; write Decimal("0.0002") or "0.0002"',
        ),
        ("20000 sat", "amount: not a plain decimal number of at most 18 digits"),
        (
            True,
            'amount: must be a Decimal, an int or a str, not bool; write it like "',
        ),
        (0, "amount: must be above 0, got 0"),
        ("-1", "amount: not a plain decimal number"),
        (Decimal("NaN"), "amount: not a number that can be paid"),
        ("0.0000000000000000001", "amount: more than 18 digits"),
        ("0.000000000001", "amount: finer than a millisatoshi"),
        ("21000000.1", "amount: not an amount of bitcoin"),
    ],
)
def test_an_invalid_amount_of_bitcoin_is_rejected_with_what_to_write(
    amount: Any, sentence: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_btc(amount)
    assert str(caught.value).startswith(sentence)
    assert caught.value.field == "amount"
