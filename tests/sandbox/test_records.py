"""Encoding and decoding of records."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from aurpay_async.sandbox import ReceivedRequest, SandboxOrder, SentCallback
from aurpay_async.sandbox._ledger import Ledger
from aurpay_async.sandbox._storage import dump, load, read_record

from ..support.orders import NOW

TEXTS = st.text(st.characters(), max_size=20)  # with lone surrogates
NAMES = TEXTS.filter(lambda name: not name.startswith("$"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.tuples(inner, inner) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@attrs.frozen(kw_only=True)
class Thing:
    """A record of a new type."""

    name: str
    value: Any = None


@given(VALUES)
def test_field_is_decoded_as_it_was_encoded(value: Any) -> None:
    text = dump(Thing(name="x", value=value))
    assert text.isascii()
    assert text.isprintable()
    assert read_record(Thing, load(text)) == Thing(name="x", value=value)


def test_encoding_of_tagged_values_is_stable() -> None:
    held = {
        "price": Decimal("20.00"),
        "at": datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
        "body": b"\x00\xff",
        "headers": CIMultiDictProxy(CIMultiDict([("A", "1"), ("a", "\udcff")])),
    }
    text = (
        '{"price": {"$decimal": "20.00"}, '
        '"at": {"$time": "2026-01-01T00:00:00.500000+00:00"}, '
        '"body": {"$bytes": "AP8="}, '
        '"headers": {"$headers": [["A", "1"], ["a", "\\udcff"]]}}'
    )
    assert dump(held) == text
    assert load(text) == held


def test_orders_requests_and_callbacks_are_decoded_as_encoded() -> None:
    order = Ledger().create({"price": Decimal("20.00"), "currency": "USD"}, NOW)
    request = ReceivedRequest(
        method="POST",
        path="/api/bln/order?a=%2F",
        headers=CIMultiDictProxy(CIMultiDict([("X-A", "1"), ("X-A", "2")])),
        body=b"\xff{}",
    )
    callback = SentCallback(
        order_id="1",
        kind="paid",
        method="GET",
        url="http://127.0.0.1/\ud800",
        headers=(("Signature", "a"), ("Signature", "b")),
        body=b"",
        status=None,
        error="not sent: lost",
        sent_at=NOW,
    )
    assert read_record(SandboxOrder, load(dump(order))) == order
    assert read_record(SentCallback, load(dump(callback))) == callback
    read = read_record(ReceivedRequest, load(dump(request)))
    assert read == request
    assert read.headers["x-a"] == "1"
    assert [*read.headers.values()] == ["1", "2"]


def test_missing_fields_get_defaults_and_unknown_fields_are_ignored() -> None:
    assert read_record(Thing, {"name": "x"}) == Thing(name="x")
    assert read_record(Thing, {"name": "x", "gone": 1}) == Thing(name="x")


@pytest.mark.parametrize(
    "text",
    [
        *("{", "{}", "[]", "null", '"name"', '{"name": "x", "name": '),
        *('{"name": {"$decimal": "x"}}', '{"name": {"$decimal": []}}'),
        *('{"name": {"$time": "x"}}', '{"name": {"$time": 7}}'),
        *('{"name": {"$bytes": "x"}}', '{"name": {"$bytes": null}}'),
        *('{"name": {"$headers": [["x"]]}}', '{"name": {"$headers": 7}}'),
    ],
)
def test_invalid_record_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - raised by different decoders
        read_record(Thing, load(text))


def test_unsupported_type_is_rejected_when_it_is_encoded() -> None:
    with pytest.raises(TypeError, match="cannot store a set"):
        dump(Thing(name="x", value={1}))
    assert json.loads(dump(Thing(name="x"))) == {"name": "x", "value": None}
