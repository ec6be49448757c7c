"""A caller's own value as JSON: written exactly, or rejected with its place."""

from __future__ import annotations

import json
from collections import OrderedDict
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async._core.json import dump_body
from aurpay_async.errors import InvalidRequestError

from ..conftest import examples


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
def test_dump_body_writes_all_digits_and_no_blanks(value: object, body: bytes) -> None:
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
def test_dump_body_names_the_place_of_an_unsupported_value(
    value: object, sentence: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        dump_body(value)
    assert str(caught.value).startswith(sentence)


def test_dump_body_gives_no_hint_for_a_float_that_is_not_finite() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        dump_body(float("inf"))
    assert caught.value.hint is None


def test_dump_body_rejects_recursive_and_deeply_nested_values() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidRequestError, match="nests deeper than 64"):
        dump_body(endless)


@examples(15)
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
def test_any_dumped_body_is_read_back_exactly_by_the_json_module(value: Any) -> None:
    assert json.loads(dump_body({"a": value}), parse_float=Decimal) == {"a": value}
