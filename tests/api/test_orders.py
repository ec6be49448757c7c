"""Orders as Aurpay stores them: single orders and pages."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import Effect, Order, OrderStatus
from aurpay_async._api.orders import (
    build_get_order,
    build_list_orders,
    parse_get_order,
    parse_list_orders,
)
from aurpay_async.errors import (
    APIError,
    AurpayError,
    InvalidResponseError,
    RequestOutcome,
)

from ..conftest import examples
from ..support.orders import NOW, build_detail, build_response, wrap_data
from .samples import json_values, paged

if TYPE_CHECKING:
    from aurpay_async import Page

ORDER_ID = "20260101000000000001"


def read(content: object, order_id: str = ORDER_ID) -> Order:
    return parse_get_order(build_response(content), order_id)


@pytest.mark.parametrize(
    ("order_id", "path"),
    [
        ("20240428125136525824", "20240428125136525824"),
        ("a/b?c=d#e%2F", "a%2Fb%3Fc%3Dd%23e%252F"),
        ("ü;&+", "%C3%BC%3B%26%2B"),
        ("...", "..."),
    ],
)
def test_get_order_quotes_the_id_as_one_path_segment(order_id: str, path: str) -> None:
    request = build_get_order(order_id)
    assert (request.method, request.body) == ("GET", b"")
    assert request.path == f"/api/v2/order/detail/{path}"
    assert request.effect is Effect.READ
    assert request.operation == "get_order"


def test_order_with_all_fields_of_a_list_is_parsed_under_our_names() -> None:
    assert read(wrap_data(build_detail())) == Order(
        order_id=ORDER_ID,
        status=OrderStatus.PENDING,
        order_type="ORDER",
        platform="AURPAY",
        user_id="mct-5a9db0c5a9db",
        chain="BLN",
        chain_name="Lightning",
        coin="BTC-LN",
        amount=Decimal("0.0002"),
        price=Decimal("20.0"),
        currency="USD",
        remark="",
        refundable=False,
        create_time=NOW,
        update_time=NOW,
    )


@pytest.mark.parametrize("absent", [None, "missing"])
def test_order_with_only_the_documented_detail_fields_is_parsed(
    absent: str | None,
) -> None:
    data: dict[str, Any] = {"order_id": ORDER_ID, "status": "SUCCESS"}
    if absent is None:
        data = {**dict.fromkeys(build_detail()), **data}
    created = read(wrap_data(data))
    assert created == Order(order_id=ORDER_ID, status=OrderStatus.SUCCESS)
    assert created.create_time is None


def test_unknown_fields_of_an_order_are_in_extra() -> None:
    unknown = {"tx_hash": None, "fee": "0.1", "extra": {"a": 1}, "coin": "x"}
    created = read(wrap_data(build_detail(**unknown)))
    assert created.extra == unknown
    assert created.coin == "BTC-LN"


def test_unknown_status_in_order_detail_keeps_its_string() -> None:
    status = read(wrap_data(build_detail(status="SETTLING"))).status
    assert (status, status.is_known) == ("SETTLING", False)


def test_order_amounts_are_parsed_from_numbers_and_strings() -> None:
    """Lists have strings, other responses numbers."""
    for amount, price in ((Decimal("0.0002"), 20), ("0.0002", "20")):
        body = json.dumps(wrap_data(build_detail(amount="@", vs_price="#")))
        body = body.replace('"@"', json.dumps(amount, default=str))
        body = body.replace('"#"', json.dumps(price))
        created = read(body.encode())
        assert (created.amount, created.price) == (Decimal("0.0002"), Decimal(20))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"status": None}, "data.status"),
        ({"status": 5}, "data.status"),
        ({"order_id": None}, "data.order_id"),
        ({"order_id": int(ORDER_ID)}, "data.order_id"),
        ({"order_id": "20260101000000000002"}, "data.order_id"),
        ({"amount": "canary"}, "data.amount"),
        ({"amount": "1e999999999"}, "data.amount"),
        ({"amount": True}, "data.amount"),
        ({"vs_price": "canary"}, "data.vs_price"),
        ({"vs_currency": 840}, "data.vs_currency"),
    ],
)
def test_unreadable_required_field_of_an_order_is_named_without_its_value(
    change: dict[str, Any], path: str
) -> None:
    content = wrap_data(build_detail(**change))
    with pytest.raises(InvalidResponseError) as caught:
        read(content)
    error = caught.value
    assert type(error) is InvalidResponseError
    assert error.paths == (path,)
    assert "canary" not in str(error)
    assert json.loads(error.body) == content


@pytest.mark.parametrize(
    ("wire", "name", "value"),
    [
        ("currency", "coin", ["BTC-LN"]),
        ("refund", "refundable", 0),
        ("refund", "refundable", "false"),
        ("create_time", "create_time", ""),
        ("create_time", "create_time", [2026, 1, 1, 12, 0]),
        ("create_time", "create_time", "2016-12-31T23:59:60"),
        ("update_time", "update_time", 5),
        ("remark", "remark", 5),
        ("amount", "amount", ""),
        ("vs_price", "price", ""),
    ],
)
def test_unreadable_optional_field_of_an_order_is_none_and_in_extra(
    wire: str, name: str, value: object
) -> None:
    plain = read(wrap_data(build_detail()))
    created = read(wrap_data(build_detail(**{wire: value})))
    changes: dict[str, Any] = {name: None, "extra": {wire: value}}
    assert created == attrs.evolve(plain, **changes)


def test_order_detail_without_a_status_is_rejected() -> None:
    with pytest.raises(InvalidResponseError, match=r"data\.status is missing"):
        read(wrap_data({"order_id": ORDER_ID}))


def test_rejected_get_order_is_rejected_although_it_names_the_order() -> None:
    with pytest.raises(APIError) as caught:
        read(wrap_data({"order_id": ORDER_ID}, code=500))
    assert caught.value.outcome is RequestOutcome.REJECTED


@examples(15)
@given(
    st.dictionaries(st.sampled_from(sorted(build_detail())), json_values, max_size=3),
    st.dictionaries(
        st.sampled_from(["code", "data", "result", "message"]), json_values, max_size=2
    ),
)
def test_any_changed_order_detail_gives_the_requested_order_or_an_error(
    data: dict[str, Any], outer: dict[str, Any]
) -> None:
    body = json.dumps({**wrap_data(build_detail(**data)), **outer}).encode()
    try:
        created = read(body)
    except AurpayError:
        return
    assert created.order_id == ORDER_ID
    assert isinstance(created.status, OrderStatus)
    assert isinstance(created.amount, Decimal | None)
    assert isinstance(created.refundable, bool | None)


def read_list(content: object) -> Page[Order]:
    return parse_list_orders(build_response(content))


def test_list_orders_sends_page_and_size_to_the_documented_path() -> None:
    request = build_list_orders(3, 10)
    assert (request.method, request.body) == ("GET", b"")
    assert request.path == "/api/v2/order/?page=3&size=10"
    assert request.effect is Effect.READ
    assert request.operation == "list_orders"


def test_page_of_orders_parses_each_row_like_order_detail() -> None:
    rows = [build_detail(order_id="2", fee="0.1"), build_detail()]
    created = read_list(wrap_data(paged(rows, total=43, max_page=5)))
    assert (created.page, created.size, created.total, created.max_page) == (
        1,
        10,
        43,
        5,
    )
    assert [order.order_id for order in created.items] == ["2", ORDER_ID]
    assert created.items[0].extra == {"fee": "0.1"}
    assert created.items[1] == read(wrap_data(build_detail()))


def test_empty_list_of_orders_is_an_empty_page() -> None:
    created = read_list(wrap_data(paged([], total=0, max_page=0)))
    assert (created.items, created.max_page) == ((), 0)


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (wrap_data(None), ("data",)),
        (wrap_data([build_detail()]), ("data",)),
        (wrap_data({}), ("data.max_page", "data.page", "data.size", "data.total")),
        (wrap_data(paged([], total="43")), ("data.total",)),
        (wrap_data(paged([], page=-1)), ("data.page",)),
        (wrap_data(paged([], size=True)), ("data.size",)),
        (wrap_data(paged([], max_page=0.5)), ("data.max_page",)),
        (wrap_data(paged(None)), ("data.data",)),
        (wrap_data(paged({"0": build_detail()})), ("data.data",)),
        (wrap_data(paged([build_detail(), None])), ("data.data[1]",)),
        (wrap_data(paged([build_detail(), [build_detail()]])), ("data.data[1]",)),
        (
            wrap_data(
                paged([build_detail(), build_detail(order_id=None, vs_price={})])
            ),
            ("data.data[1].order_id", "data.data[1].vs_price"),
        ),
        (wrap_data(paged([{}, {}])), ("data.data[0].order_id", "data.data[0].status")),
    ],
)
def test_page_with_a_row_without_an_id_is_rejected_and_the_row_named(
    content: object, paths: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read_list(content)
    assert tuple(sorted(caught.value.paths)) == paths
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "canary\ud800", 5.5, {}, [None], True])
@pytest.mark.parametrize("wire", sorted(build_detail().keys() - {"order_id"}))
def test_malformed_field_of_an_order_row_hides_no_row(wire: str, value: object) -> None:
    """The row may be another order than the one that is searched for."""
    content = wrap_data(
        paged([build_detail(**{wire: value}), build_detail(order_id="2")])
    )
    odd, good = read_list(json.dumps(content).encode()).items
    assert (odd.order_id, good.order_id) == (ORDER_ID, "2")
    assert good.price == Decimal("20.0")
    assert (odd.create_time is None) == (wire == "create_time")


def test_unreadable_status_of_an_order_row_is_empty_and_unknown() -> None:
    (row,) = read_list(wrap_data(paged([build_detail(status=None)], total=1))).items
    assert (row.status, row.status.is_known, row.status.is_paid) == ("", False, None)
    assert row.extra == {"status": None}


@examples(15)
@given(
    st.dictionaries(st.sampled_from(["page", "size", "total", "data"]), json_values),
    st.dictionaries(st.sampled_from(sorted(build_detail())), json_values, max_size=2),
)
def test_any_changed_page_of_orders_gives_all_rows_or_an_error(
    head: dict[str, Any], row: dict[str, Any]
) -> None:
    content = wrap_data({**paged([build_detail(), build_detail(**row)]), **head})
    try:
        created = read_list(json.dumps(content).encode())
    except AurpayError:
        return
    assert len(created.items) == len(content["data"]["data"])
    assert all(isinstance(order.status, OrderStatus) for order in created.items)
