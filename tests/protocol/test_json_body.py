"""A caller's own value as JSON: exactly, or refused by its place."""

from __future__ import annotations

import json
from collections import OrderedDict
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurpay_async._protocol._json_body import dump_body
from aurpay_async.errors import InvalidRequestError


class Number(IntEnum):
    TWO = 2


class Text(StrEnum):
    A = "a"


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({}, b"{}"),
        ([], b"[]"),
        ((1, 2), b"[1,2]"),
        (None, b"null"),
        ({"a": None, "b": True, "c": False}, b'{"a":null,"b":true,"c":false}'),
        (OrderedDict(b=1, a=2), b'{"b":1,"a":2}'),
        ({"price": Decimal("20.00")}, b'{"price":20.00}'),
        (Decimal("1E+2"), b"100"),
        (Decimal("1E-9"), b"0.000000001"),
        (Decimal("-0"), b"-0"),
        (10**60, str(10**60).encode()),
        ('ü\u2028"\\\n', b'"\\u00fc\\u2028\\"\\\\\\n"'),
        ({Text.A: [Text.A, Number.TWO]}, b'{"a":["a",2]}'),
    ],
)
def test_a_value_is_written(value: object, body: bytes) -> None:
    """With its digits, and without blanks."""
    assert dump_body(value) == body


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            {"price": 19.99},
            'json.price: a float is not exact: 19.99; write Decimal("19.99")',
        ),
        (
            {"a": [{"b": 1e22}]},
            'json.a[0].b: a float is not exact: 1e+22; write Decimal("1e+22")',
        ),
        ([float("nan")], "json[0]: a float is not exact: nan"),
        ([Decimal("NaN")], "json[0]: is not a finite number"),
        ([Decimal("Infinity")], "json[0]: is not a finite number"),
        (
            [Decimal("1E+999999999")],
            "json[0]: has more than 64 digits; write it as a str",
        ),
        ([10**64 * 9], "json[0]: has more than 64 digits; write it as a str"),
        ({5: 1}, "json: has a key that is not a str but int"),
        ({"a": {None: 1}}, "json.a: has a key that is not a str but NoneType"),
        ({"ü" * 50: {1}}, f"json.{chr(92)}xfc"),
        ({"a": b"x"}, "json.a: is not a JSON value but bytes; write str"),
        (["\ud800"], "json[0]: is not valid Unicode"),
        ({"\ud800": 1}, "json.\\ud800: is not valid Unicode"),
    ],
)
def test_what_cannot_be_written_is_named(value: object, sentence: str) -> None:
    """By its place, with what to write instead where there is one right thing."""
    with pytest.raises(InvalidRequestError) as caught:
        dump_body(value)
    assert str(caught.value).startswith(sentence)


def test_a_float_that_is_none_has_nothing_to_write_instead() -> None:
    """It is no number."""
    with pytest.raises(InvalidRequestError) as caught:
        dump_body(float("inf"))
    assert caught.value.hint is None


def test_a_value_within_itself() -> None:
    """Has no end; what nests deeply is not looked at to its end either."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidRequestError, match="nests deeper than 64"):
        dump_body(endless)


@settings(max_examples=40)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**60), 10**60)
        | st.decimals(-(10**9), 10**9, places=5)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=9,
    )
)
def test_any_value_is_read_back(value: Any) -> None:
    """By another reader, exactly."""
    assert json.loads(dump_body({"a": value}), parse_float=Decimal) == {"a": value}
