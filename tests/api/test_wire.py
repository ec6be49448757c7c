"""JSON and records: strict about every scalar, and no value in an error message."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import NewOrder, OrderStatus
from aurpay_async._api.models import UncheckedOrder
from aurpay_async._api.wire import (
    dump_new_order,
    lenient_amount,
    structure,
    unknown_fields,
)
from aurpay_async._core.json import SchemaError, dump_json, load_object

from ..conftest import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOD: dict[str, Any] = {
    "order_id": "20240428125136525824",
    "status": "PENDING",
    "amount": "0.00019044",
    "create_time": "2024-04-28T12:00:00",
    "payment_request": "lnbc1...",
    "pay_url": "https://dashboard.aurpay.net/#/cashier/20240428125136525824",
}


def structure_order(data: Mapping[str, Any], path: str) -> UncheckedOrder:
    return structure(data, UncheckedOrder, path)


def test_new_order_is_dumped_with_all_digits_and_without_absent_fields() -> None:
    order = NewOrder("20.00", "usd", succeed_url="https://shop.example/ü?a=b&c=%2F")
    assert dump_new_order(order) == (
        b'{"price":20.00,"currency":"USD",'
        b'"succeed_url":"https://shop.example/\\u00fc?a=b&c=%2F"}'
    )


def test_new_order_is_dumped_as_the_documented_request() -> None:
    order = NewOrder(
        20,
        "USD",
        succeed_url="https://example.com/succeed_url",
        timeout_url="https://example.com/timeout_url",
        callback_url="https://example.com/callback_url",
        timeout_callback="https://example.com/timeout_callback",
    )
    assert json.loads(dump_new_order(order)) == {
        "price": 20,
        "currency": "USD",
        "succeed_url": "https://example.com/succeed_url",
        "timeout_url": "https://example.com/timeout_url",
        "callback_url": "https://example.com/callback_url",
        "timeout_callback": "https://example.com/timeout_callback",
    }


def test_reference_and_attempt_id_are_not_dumped() -> None:
    order = NewOrder("20.00", "USD", reference="cart-42", attempt_id="ab" * 12)
    assert dump_new_order(order) == b'{"price":20.00,"currency":"USD"}'


@given(st.decimals("0.01", "999999", places=2))
def test_any_dumped_price_is_read_back_as_the_same_number(price: Decimal) -> None:
    body = dump_new_order(NewOrder(price, "USD"))
    assert json.loads(body, parse_float=Decimal)["price"] == price


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is not JSON"),
        (b"<html>no</html>", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a":1}x', "is not JSON"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "is not JSON"),
        (b"{\xef\xbb\xbf}", "is not JSON"),
        (b'{"a":"\xff"}', "is not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a":NaN}', "has NaN"),
        (b'{"a":-Infinity}', "has -Infinity"),
        (b'{"a":1,"a":1}', "has a duplicate key"),
        (b'{"x":{"a":1,"b":2,"a":1}}', "has a duplicate key"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b'{"a":' + b"9" * 5000 + b"}", "has a number of more than 64 digits"),
        (b'{"a":1e99999999999999999999}', "is not JSON"),
        (b'{"a":' * 65 + b"[" * 64, "nests deeper than 64"),
        (b'{"a":' * 140 + b"1" + b"}" * 140, "nests deeper than 64"),
        (b'{"a":' + b"[" * 500_000, "nests deeper than 64"),
    ],
)
def test_load_object_rejects_invalid_json_with_the_reason(
    body: bytes, problem: str
) -> None:
    with pytest.raises(SchemaError, match=f"^the response {problem}"):
        load_object(body)


def test_load_object_skips_a_byte_order_mark() -> None:
    """RFC 8259, 8.1: a parser may ignore it instead of treating it as an error."""
    assert load_object(b'\xef\xbb\xbf{"a": "\xef\xbb\xbf"}') == {"a": "\ufeff"}


def test_brackets_in_strings_and_adjacent_objects_do_not_nest() -> None:
    body = json.dumps({"a": "[{" * 200 + '\\"', "b": [{}] * 200}).encode()
    assert load_object(body)["a"] == "[{" * 200 + '\\"'


def test_load_object_accepts_64_levels_of_nesting() -> None:
    assert load_object(b'{"a":' * 64 + b"1" + b"}" * 64)


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 500_000,
        b"[" + b'"' * 500_001,
        b"[]" * 500_000,
        b"\\" * 1_000_000,
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":' + b"9" * 1_000_000,
    ],
    ids=["escaped quotes", "quotes", "pairs", "backslashes", "a deep one", "digits"],
)
def test_load_object_rejects_a_hostile_megabyte_in_linear_time(body: bytes) -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)  # as some programs do
    try:
        with pytest.raises(SchemaError):  # without a limit it would take hours
            load_object(body + b"[{" * 40)
        with pytest.raises(SchemaError):
            load_object(body)
    finally:
        sys.set_int_max_str_digits(limit)


def test_load_object_returns_decimal_or_int_and_never_float() -> None:
    found = load_object(b'{"a":0.00155419,"b":1E-5,"c":20,"d":0.1}')
    assert found == {
        "a": Decimal("0.00155419"),
        "b": Decimal("0.00001"),
        "c": 20,
        "d": Decimal("0.1"),
    }
    assert [type(value) for value in found.values()] == [Decimal, Decimal, int, Decimal]


def test_structure_returns_a_typed_order_without_optional_fields() -> None:
    order = structure_order(GOOD, "data")
    assert order.order_id == "20240428125136525824"
    assert order.status is OrderStatus.PENDING
    assert order.amount == Decimal("0.00019044")
    assert order.create_time == datetime(2024, 4, 28, 12, tzinfo=UTC)
    assert (order.payment_addr, order.coin) == (None, None)


@pytest.mark.parametrize(
    ("wire", "name"), [("payment_addr", "payment_addr"), ("currency", "coin")]
)
def test_structure_treats_null_like_a_missing_optional_field(
    wire: str, name: str
) -> None:
    assert getattr(structure_order({**GOOD, wire: None}, "data"), name) is None
    assert getattr(structure_order({**GOOD, wire: "x"}, "data"), name) == "x"


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Decimal("0.00155419"), "0.00155419"),
        ("0.00155419", "0.00155419"),
        (1, "1"),
        ("1", "1"),
        ("1.9044E-4", "0.00019044"),
        (Decimal("1.9044E-4"), "0.00019044"),
        ("0.00000820392", "0.00000820392"),
    ],
)
def test_structure_accepts_an_amount_as_number_or_string(
    amount: object, expected: str
) -> None:
    """Aurpay documents both."""
    order = structure_order({**GOOD, "amount": amount}, "data")
    assert f"{order.amount:f}" == expected


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("amount", True, "is not a number"),
        ("amount", None, "is not a number"),
        ("amount", 0.1, "is not a number"),
        ("amount", "", "is not a number"),
        ("amount", "NaN", "is not a number"),
        ("amount", " 1", "is not a number"),
        ("amount", "1_0", "is not a number"),
        ("amount", "٢", "is not a number"),
        ("amount", "1" * 65, "is not a number"),
        ("amount", [], "is not a number"),
        ("amount", "1e999999", "is out of range"),
        ("amount", Decimal("1e-999999"), "is out of range"),
        ("amount", 10**100, "is out of range"),
        ("order_id", 20240428125136525824, "is not a string"),
        ("order_id", None, "is not a string"),
        ("order_id", "", "is empty, has blanks"),
        ("order_id", "1" * 65, "is empty, has blanks"),
        ("order_id", "1 2", "is empty, has blanks"),
        ("order_id", "1\n2", "is empty, has blanks"),
        ("status", 1, "is not a string"),
        ("status", "PAID\0", "has characters that cannot be printed"),
        ("create_time", 1714308696, "is not a string"),
        ("create_time", "yesterday", "is not a time"),
        ("create_time", "2024-04-28", "is not a time"),
        ("create_time", "2024-W17-7", "is not a time"),
        ("create_time", "2024-W17-7T12:00:00", "is not a time"),
        ("create_time", "2024-04-28T12", "is not a time"),
        ("create_time", "2024-04-28T12:00:00é", "is not a time"),
        ("create_time", "2024-13-28T12:00:00", "is not a time"),
        ("create_time", "0001-01-01T00:00:00+14:00", "is not a time"),
        ("create_time", "2" * 41, "is not a time"),
        ("payment_request", None, "is not a string"),
        ("payment_request", "\ud800", "is not valid Unicode"),
        ("pay_url", 5, "is not a string"),
        ("payment_addr", 5, "is not a string"),
        ("currency", ["BTC-LN"], "is not a string"),
    ],
)
def test_structure_names_an_invalid_field_without_its_value(
    field: str, value: object, reason: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        structure_order({**GOOD, field: value}, "data")
    assert list(caught.value.problems) == [f"data.{field}"]
    assert caught.value.problems[f"data.{field}"].startswith(reason)


@pytest.mark.parametrize("field", GOOD)
def test_structure_names_a_missing_required_field(field: str) -> None:
    data = {name: value for name, value in GOOD.items() if name != field}
    with pytest.raises(SchemaError) as caught:
        structure_order(data, "data")
    assert caught.value.problems == {f"data.{field}": "is missing"}


def test_structure_names_all_invalid_fields_at_once() -> None:
    with pytest.raises(SchemaError) as caught:
        structure_order({}, "data")
    assert caught.value.problems == {f"data.{name}": "is missing" for name in GOOD}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-04-26T10:39:47", datetime(2024, 4, 26, 10, 39, 47, tzinfo=UTC)),
        ("2024-04-26 10:39:47", datetime(2024, 4, 26, 10, 39, 47, tzinfo=UTC)),
        ("2024-04-26T10:39", datetime(2024, 4, 26, 10, 39, tzinfo=UTC)),
        ("2024-04-26T18:39+08:00", datetime(2024, 4, 26, 10, 39, tzinfo=UTC)),
        ("2024-04-26T10:39:47Z", datetime(2024, 4, 26, 10, 39, 47, tzinfo=UTC)),
        ("2024-04-26T18:39:47+08:00", datetime(2024, 4, 26, 10, 39, 47, tzinfo=UTC)),
        (
            "2024-04-26T10:39:47.125",
            datetime(2024, 4, 26, 10, 39, 47, 125_000, tzinfo=UTC),
        ),
    ],
)
def test_structured_times_are_aware_and_in_utc(text: str, expected: datetime) -> None:
    """Aurpay writes them without a zone."""
    time = structure_order({**GOOD, "create_time": text}, "data").create_time
    assert time is not None
    assert time == expected
    assert time.utcoffset() == timedelta(0)


def test_unknown_fields_returns_the_members_that_a_record_lacks() -> None:
    data = {**GOOD, "fee": "1", "currency": "BTC-LN", "coin": "x"}
    assert unknown_fields(data, UncheckedOrder) == {"fee": "1", "coin": "x"}
    assert unknown_fields(GOOD, UncheckedOrder) == {}


scalars = (
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals() | st.floats()
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@examples(20)
@given(
    st.dictionaries(st.sampled_from([*GOOD, "payment_addr", "currency"]), json_values)
)
def test_any_changed_order_is_structured_with_its_types_or_rejected(
    changes: dict[str, Any],
) -> None:
    try:
        order = structure_order({**GOOD, **changes}, "data")
    except SchemaError as error:
        assert set(error.problems) <= {f"data.{name}" for name in changes}
    else:
        assert type(order.amount) is Decimal
        assert type(order.pay_url) is str
        assert order.create_time is None or order.create_time.tzinfo is UTC


json_objects = st.dictionaries(
    st.text(),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**60), 10**60)
        | st.text()
        | st.decimals(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
)


@examples(10)
@given(json_objects)
def test_dumped_json_is_ascii_and_read_back_as_equal(value: dict[str, object]) -> None:
    text = dump_json(value)
    assert text.isascii()
    assert load_object(text.encode()) == value


@pytest.mark.parametrize(
    ("number", "text"),
    [("2.0E-7", "0.00000020"), ("1E+3", "1000"), ("1E-999999", "1E-999999")],
)
def test_dump_json_writes_up_to_64_digits_without_an_exponent(
    number: str, text: str
) -> None:
    assert dump_json({"fee": Decimal(number)}) == f'{{"fee": {text}}}'
    assert load_object(f'{{"fee": {text}}}'.encode()) == {"fee": Decimal(number)}


def test_dump_json_writes_a_tuple_as_a_list() -> None:
    assert dump_json({"a": (1, Decimal("1.50"))}) == '{"a": [1, 1.50]}'


@pytest.mark.parametrize(
    ("value", "amount"),
    [("0.10", "0.10"), (1, "1"), (None, None), ("1e999999", None), (True, None)],
)
def test_lenient_amount_returns_none_for_an_invalid_number(
    value: object, amount: str | None
) -> None:
    found = lenient_amount(value)
    assert (found and str(found)) == amount


@given(st.binary())
def test_load_object_of_any_bytes_gives_an_object_or_a_schema_error(
    body: bytes,
) -> None:
    try:
        assert isinstance(load_object(body), dict)
    except SchemaError as error:
        assert str(error).startswith("the response ")
