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
from aurpay_async.sandbox._storage import dump, read_record

from ..support.orders import NOW

TEXTS = st.text(st.characters(), max_size=20)  # with lone surrogates


@attrs.frozen(kw_only=True)
class Thing:
    """A record of a new type."""

    name: str
    price: Decimal = Decimal(1)
    at: datetime = NOW
    body: bytes = b""
    pairs: tuple[tuple[str, str], ...] = ()
    note: str | None = None


THINGS = st.builds(
    Thing,
    name=TEXTS,
    price=st.decimals(allow_nan=False),
    at=st.datetimes(timezones=st.just(UTC)),
    body=st.binary(),
    pairs=st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple),
    note=st.none() | TEXTS,
)


def reread(record: Any) -> Any:
    return read_record(type(record), json.loads(dump(record)))


@given(THINGS)
def test_record_is_decoded_as_it_was_encoded(thing: Thing) -> None:
    text = dump(thing)
    assert text.isascii()
    assert text.isprintable()
    assert reread(thing) == thing


def test_encoding_of_exact_values_is_stable() -> None:
    thing = Thing(
        name="\udcff",
        price=Decimal("20.00"),
        at=datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
        body=b"\x00\xff",
    )
    assert dump(thing) == (
        '{"name": "\\udcff", "price": "20.00", '
        '"at": "2026-01-01T00:00:00.500000+00:00", "body": "AP8=", '
        '"pairs": [], "note": null}'
    )


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
    assert reread(order) == order
    assert reread(callback) == callback
    read = reread(request)
    assert read == request
    assert read.headers["x-a"] == "1"
    assert [*read.headers.values()] == ["1", "2"]


def test_missing_fields_get_defaults_and_unknown_fields_are_ignored() -> None:
    assert read_record(Thing, {"name": "x"}) == Thing(name="x")
    assert read_record(Thing, {"name": "x", "gone": 1}) == Thing(name="x")


@pytest.mark.parametrize(
    "fields",
    [
        *({}, [], None, "name"),
        *({"name": "x", "price": "x"}, {"name": "x", "price": []}),
        *({"name": "x", "at": "x"}, {"name": "x", "at": 7}),
        *({"name": "x", "body": "x"}, {"name": "x", "body": None}),
        *({"name": "x", "pairs": [["x"]]}, {"name": "x", "pairs": 7}),
    ],
)
def test_invalid_record_raises_value_error(fields: object) -> None:
    with pytest.raises(ValueError, match="not a Thing: "):
        read_record(Thing, fields)


@pytest.mark.parametrize("headers", [[["x"]], 7])
def test_invalid_headers_of_a_request_raise_value_error(headers: object) -> None:
    fields = {"method": "GET", "path": "/", "headers": headers, "body": ""}
    with pytest.raises(ValueError, match="not a ReceivedRequest: "):
        read_record(ReceivedRequest, fields)


def test_record_of_another_type_is_not_a_sandbox_order() -> None:
    with pytest.raises(ValueError, match="not a SandboxOrder: 'price'"):
        read_record(SandboxOrder, {"order_id": "1"})
