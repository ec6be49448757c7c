"""Refunds: the documented responses, with and without an envelope."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import Effect, Refund, RefundInfo, Response
from aurpay_async._api.orders import (
    build_get_refund,
    build_refund_order,
    parse_get_refund,
    parse_refund_order,
)
from aurpay_async.errors import (
    APIError,
    AurpayError,
    InvalidResponseError,
    RequestOutcome,
)

from ..conftest import examples
from ..support.orders import build_response, wrap_data
from .samples import ORDER_ID, json_values, refund, refund_info


def read(content: object) -> Refund:
    return parse_refund_order(build_response(content), ORDER_ID)


def test_get_refund_sends_a_get_with_the_id_as_one_segment() -> None:
    request = build_get_refund("a/../b")
    assert request.path == "/api/v2/order/refund-info/a%2F..%2Fb"
    assert (request.method, request.effect) == ("GET", Effect.READ)


def test_refund_info_is_parsed_with_unknown_fields_in_extra() -> None:
    content = wrap_data(refund_info(to_addr="0x1"))
    created = parse_get_refund(build_response(content), ORDER_ID)
    assert created == RefundInfo(
        order_id=ORDER_ID,
        chain="ETH",
        coin="USDT-ERC20",
        amount=Decimal("18.0123"),
        extra={"to_addr": "0x1"},
    )


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"order_id": "20240806071926377967"}, "data.order_id"),
        ({"order_id": None}, "data.order_id"),
        ({"chain": None}, "data.chain"),
        ({"currency": 5}, "data.currency"),
        ({"amount": "much"}, "data.amount"),
    ],
)
def test_malformed_refund_info_or_another_orders_is_rejected(
    change: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        parse_get_refund(build_response(wrap_data(refund_info(**change))), ORDER_ID)
    assert caught.value.paths == (path,)


def test_refund_order_sends_a_post_without_a_body_and_effect_transfer() -> None:
    request = build_refund_order("a?b")
    assert request.path == "/api/v2/order/refund/a%3Fb"
    assert (request.method, request.body) == ("POST", b"")
    assert request.effect is Effect.TRANSFER
    assert "Content-Type" not in request.headers


@pytest.mark.parametrize("content", [refund(), wrap_data(refund())])
def test_refund_is_parsed_with_and_without_an_envelope(content: object) -> None:
    assert read(content) == Refund(
        order_id=ORDER_ID,
        status="PROCESSING",
        amount=Decimal("18.0123"),
        date="2024-08-06",
    )


def test_unknown_status_and_fields_of_a_refund_are_kept() -> None:
    created = read(refund(refund_status="?", tx_hash=None))
    assert (created.status, created.extra) == ("?", {"tx_hash": None})


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (refund(order_id="1"), ("order_id",)),
        (wrap_data(refund(order_id="1")), ("data.order_id",)),
        (refund(refund_amount="much"), ("refund_amount",)),
        (wrap_data(refund(refund_status=None)), ("data.refund_status",)),
        (
            {"message": "no"},
            ("order_id", "refund_amount", "refund_date", "refund_status"),
        ),
        (wrap_data(None), ("data",)),
        (wrap_data(refund(), result=False), ("code", "result")),
        (refund(result=False), ("code",)),
        (refund(result="no"), ("code",)),
        (b"<html>", ()),
        (b"", ()),
    ],
)
def test_unreadable_refund_names_the_paths_of_its_shape(
    content: object, paths: tuple[str, ...]
) -> None:
    """Money may have moved."""
    with pytest.raises(InvalidResponseError) as caught:
        read(content)
    assert tuple(sorted(caught.value.paths)) == paths
    assert caught.value.outcome is RequestOutcome.UNKNOWN


@pytest.mark.parametrize("enveloped", [True, False])
def test_refund_with_an_unreadable_date_is_parsed_with_the_date_in_extra(
    *, enveloped: bool
) -> None:
    content = refund(refund_date=20240806)
    created = read(wrap_data(content) if enveloped else content)
    assert (created.date, created.extra) == ("", {"refund_date": 20240806})
    assert (created.order_id, created.status) == (ORDER_ID, "PROCESSING")


def test_truncated_refund_response_is_rejected() -> None:
    cut = Response(
        status=200, body=json.dumps(refund()).encode(), body_error="is too long"
    )
    with pytest.raises(InvalidResponseError, match="is too long"):
        parse_refund_order(cut, ORDER_ID)


def test_rejected_refund_raises_api_error() -> None:
    with pytest.raises(APIError, match="code 5: 'not paid'") as caught:
        read({"code": 5, "message": "not paid", "data": None})
    assert caught.value.outcome is RequestOutcome.REJECTED


@examples(15)
@given(
    st.dictionaries(st.sampled_from(sorted(refund())), json_values, max_size=2),
    st.dictionaries(st.sampled_from(["code", "data", "result"]), json_values),
    st.booleans(),
)
def test_any_changed_refund_is_of_the_requested_order_or_gives_an_error(
    data: dict[str, Any], outer: dict[str, Any], bare: bool
) -> None:
    content = {**refund(**data), **outer} if bare else {**wrap_data(refund(**data))}
    try:
        created = read(json.dumps(content).encode())
    except AurpayError:
        return
    assert created.order_id == ORDER_ID
    assert isinstance(created.amount, Decimal)
