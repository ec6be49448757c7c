"""Bytes in, records out: envelopes, refusals, and orders that must not be shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurpay_async import NewOrder, OrderStatus, Response, Safety, errors
from aurpay_async._checks import Trust
from aurpay_async._protocol import (
    build_create_order,
    find_order,
    parse_create_order,
    read_envelope,
    status_error,
)
from aurpay_async._retry import is_retryable
from aurpay_async.errors import (
    APIError,
    AurpayError,
    Delivery,
    InvalidResponseError,
    InvoiceDecodeError,
    InvoiceInvalidError,
    UntrustedOrderError,
)

from .orders import (
    AS_NUMBER,
    AS_TEXT,
    NOW,
    NUMBER_DAY,
    TEXT_DAY,
    answer,
    envelope,
    invoice,
    order,
)

if TYPE_CHECKING:
    from aurpay_async import LightningOrder

ORIGIN = ("https", "dashboard.aurpay.net", 443)
ORDER_ID = "20260101000000000001"


def parse(
    content: object, network: Any = "regtest", now: datetime = NOW
) -> LightningOrder:
    trust = Trust(network=network, origin=ORIGIN, payees=frozenset())
    return parse_create_order(answer(content), trust, now.timestamp())


def test_the_request() -> None:
    """POST /api/bln/order, as documented; never to be repeated blindly."""
    request = build_create_order(NewOrder(20, "USD"))
    assert (request.method, request.path) == ("POST", "/api/bln/order")
    assert request.safety is Safety.CREATE
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == b'{"price":20,"currency":"USD"}'


def test_the_documented_answer_with_a_number() -> None:
    """Every value of it, and of its invoice as the vectors have them."""
    made = parse(AS_NUMBER, "testnet", NUMBER_DAY)
    assert made.order_id == "20240426103947614609"
    assert made.status is OrderStatus.PENDING
    assert made.amount == Decimal("0.00155419")
    assert made.create_time == datetime(2024, 4, 26, 10, 39, 47, tzinfo=UTC)
    assert made.pay_url == AS_NUMBER["data"]["pay_url"]
    assert (made.payment_addr, made.currency) == (None, None)
    assert made.extra == {}
    assert made.checks == (
        "signature",
        "network",
        "amount",
        "timestamp",
        "expiry",
        "pay_url",
    )
    assert str(made.payment_request) == AS_NUMBER["data"]["payment_request"]
    assert made.payment_request.amount_msat == 155_419_000
    assert made.payment_request.payee == (
        "03c34d1e09dee99d69ffb19c1bf278d4695015259e11fb8209beb02f1ad9d3e4fd"
    )


def test_the_documented_answer_with_a_text() -> None:
    """The other example, with payment_addr and currency."""
    made = parse(AS_TEXT, "mainnet", TEXT_DAY)
    assert made.order_id == "20240428125136525824"
    assert str(made.amount) == "0.00019044"
    assert made.currency == "BTC-LN"
    assert made.payment_addr == made.payment_request.payment_secret
    assert made.payment_request.min_final_cltv_expiry == 80
    assert made.payment_request.description == "409c7deb00b4443294855597e7be532a"
    assert "payment_secret" in made.checks


@pytest.mark.parametrize("example", [AS_NUMBER, AS_TEXT])
@pytest.mark.parametrize("amount", [str, float])
@pytest.mark.parametrize(
    "absent", [(), ("payment_addr",), ("currency",), ("payment_addr", "currency")]
)
def test_both_answers_in_all_documented_shapes(
    example: dict[str, Any], amount: type, absent: tuple[str, ...]
) -> None:
    """Amount as number and as text, with and without the two optional fields."""
    data = {
        name: value for name, value in example["data"].items() if name not in absent
    }
    number = str(data["amount"])
    text = json.dumps({**data, "amount": "@"}).replace(
        '"@"', number if amount is float else f'"{number}"'
    )
    network, day = (
        ("testnet", NUMBER_DAY) if example is AS_NUMBER else ("mainnet", TEXT_DAY)
    )
    made = parse(
        b'{"code":0,"message":"ok","data":' + text.encode() + b"}", network, day
    )
    assert str(made.amount) == number
    assert str(made.payment_request) == data["payment_request"]
    assert made.currency == data.get("currency")
    assert made.payment_addr == data.get("payment_addr")


def test_the_wrong_network_is_not_shown_to_a_payer() -> None:
    """The documented testnet invoice, met by a client for the main network."""
    with pytest.raises(UntrustedOrderError) as caught:
        parse(AS_NUMBER, "mainnet", NUMBER_DAY)
    error = caught.value
    assert error.check == "network"
    assert error.order_id == "20240426103947614609"
    assert json.loads(error.body) == AS_NUMBER
    assert error.delivery is Delivery.UNKNOWN


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"amount": "0.0003"}, "amount"),
        ({"amount": "lots"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "1e999999999"}, "amount"),
        ({"amount": True}, "amount"),
        ({"payment_request": None}, "invoice"),
        ({"payment_request": "lnbc1"}, "invoice"),
        ({"payment_request": 5}, "invoice"),
        ({"payment_addr": "00" * 32}, "payment_secret"),
        ({"payment_addr": 5}, "payment_secret"),
        ({"pay_url": "https://evil.example/"}, "pay_url"),
        ({"pay_url": None}, "pay_url"),
        ({"payment_request": invoice(network="testnet")}, "network"),
        ({"payment_request": invoice(amount_msat=None)}, "amount"),
        (
            {"payment_request": invoice(timestamp=int(NOW.timestamp()) + 301)},
            "timestamp",
        ),
        ({"payment_request": invoice(timestamp=int(NOW.timestamp()) - 3600)}, "expiry"),
    ],
)
def test_an_order_that_exists_and_must_not_be_shown(
    change: dict[str, Any], check: str
) -> None:
    """One thing to catch for one situation, with what recovery needs."""
    content = envelope(order(**change))
    with pytest.raises(UntrustedOrderError) as caught:
        parse(content)
    error = caught.value
    assert error.check == check
    assert error.order_id == ORDER_ID
    assert json.loads(error.body) == content
    assert error.delivery is Delivery.UNKNOWN
    assert not error.retryable


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (invoice()[:-1], InvoiceDecodeError),
        (invoice(features=(8, 14, 100)), InvoiceInvalidError),
    ],
)
def test_a_bad_invoice_is_the_cause(text: str, cause: type[AurpayError]) -> None:
    """The error of the invoice hangs on the error of the order."""
    with pytest.raises(UntrustedOrderError) as caught:
        parse(envelope(order(payment_request=text)))
    assert caught.value.check == "invoice"
    assert isinstance(caught.value.__cause__, cause)


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (b"", ()),
        (b"<html>Bad gateway</html>", ()),
        (b"[]", ()),
        (b"null", ()),
        (b'{"code":0', ()),
        (b'{"code":0,"code":0}', ()),
        ({}, ("code",)),
        ({"code": "0"}, ("code",)),
        ({"code": False}, ("code",)),
        ({"code": None}, ("code",)),
        ({"code": 0.0}, ("code",)),
        (envelope(order(), result="true"), ("result",)),
        (envelope(order(), result=None), ("result",)),
        (envelope(order(), result=1), ("result",)),
        (envelope(None), ("data",)),
        (envelope([order()]), ("data",)),
        (envelope("ok"), ("data",)),
        (envelope(order(), result=False), ("code", "result")),
        (envelope(order(), code=7), ("code",)),
        (envelope(order(status=5)), ("data.status",)),
        (
            envelope(order(create_time=5, status=None)),
            ("data.status", "data.create_time"),
        ),
        (
            envelope({"order_id": None}),
            (
                "data.amount",
                "data.create_time",
                "data.order_id",
                "data.pay_url",
                "data.payment_request",
                "data.status",
            ),
        ),
    ],
)
def test_an_answer_that_is_not_the_documented_shape(
    content: object, paths: tuple[str, ...]
) -> None:
    """An order may exist: the error says where the shape is wrong, and what came."""
    with pytest.raises(InvalidResponseError) as caught:
        parse(content)
    error = caught.value
    assert not isinstance(error, UntrustedOrderError)
    assert error.delivery is Delivery.UNKNOWN
    assert error.body == answer(content).body
    assert sorted(error.paths) == sorted(paths)
    assert error.order_id == (ORDER_ID if ORDER_ID.encode() in error.body else None)


def test_an_answer_without_result_is_fine() -> None:
    """Not all documented answers have one."""
    content = envelope(order())
    del content["result"]
    assert parse(content).order_id == ORDER_ID


def test_fields_that_are_not_known_do_no_harm() -> None:
    """They stay reachable."""
    assert parse(envelope(order(fee="0.1"), trace="x")).extra == {"fee": "0.1"}


def test_a_status_that_is_not_known_does_no_harm() -> None:
    """It keeps its text, whatever that is."""
    for text in ("SETTLING", "IN PROGRESS", "", "X" * 65):
        status = parse(envelope(order(status=text))).status
        assert (status, status.is_known) == (text, False)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (429, errors.RateLimitedError),
        (400, APIError),
        (500, APIError),
        (-1, APIError),
        (10001, APIError),
    ],
)
@pytest.mark.parametrize("data", [None, {}, "", []])
def test_a_refusal_in_an_envelope(
    code: int, kind: type[APIError], data: object
) -> None:
    """HTTP 200 and a code that is not 0: Aurpay answers a bad key so."""
    with pytest.raises(APIError) as caught:
        parse({"code": code, "message": "no\x1b[31m", "data": data, "result": False})
    error = caught.value
    assert type(error) is kind
    assert error.delivery is Delivery.REFUSED
    assert (error.status, error.platform_code) == (200, code)
    assert error.platform_message == "no\x1b[31m"
    assert str(error) == f"the platform refused with code {code}: 'no\\x1b[31m'"


@pytest.mark.parametrize(
    "content",
    [
        {"code": 5},
        {"code": 5, "message": None},
        {"code": 5, "msg": 7},
        {"code": 5, "message": ""},
    ],
)
def test_a_refusal_without_a_message(content: dict[str, Any]) -> None:
    """None is required."""
    with pytest.raises(APIError, match=r"^the platform refused with code 5$"):
        parse(content)


def test_msg_is_read_where_message_is_missing() -> None:
    """Seen in Aurpay's older plugins."""
    with pytest.raises(APIError) as caught:
        parse({"code": 5, "msg": "no"})
    assert caught.value.platform_message == "no"


@pytest.mark.parametrize(
    ("status", "kind", "delivery"),
    [
        (302, APIError, Delivery.REFUSED),
        (303, APIError, Delivery.UNKNOWN),
        (400, APIError, Delivery.REFUSED),
        (401, errors.AuthenticationError, Delivery.REFUSED),
        (403, errors.PermissionDeniedError, Delivery.REFUSED),
        (404, errors.NotFoundError, Delivery.REFUSED),
        (408, APIError, Delivery.UNKNOWN),
        (409, APIError, Delivery.UNKNOWN),
        (429, errors.RateLimitedError, Delivery.REFUSED),
        (500, errors.ServerError, Delivery.UNKNOWN),
        (501, errors.ServerError, Delivery.REFUSED),
        (503, errors.ServerError, Delivery.UNKNOWN),
    ],
)
@pytest.mark.parametrize(
    ("content", "message", "code"),
    [
        (b"", None, None),
        (b"<html>\xff</html>", None, None),
        (b"[]", None, None),
        ({"code": 7, "message": "no"}, "no", 7),
        ({"code": "7", "msg": "no"}, "no", None),
    ],
)
def test_a_status_that_is_not_of_success(
    status: int,
    kind: type[APIError],
    delivery: Delivery,
    content: object,
    message: str | None,
    code: int | None,
) -> None:
    """Status first, body second: an HTML page under a 403 is a 403."""
    response = answer(content, status)
    assert not response.is_success
    error = status_error(response, Safety.CREATE, NOW)
    assert type(error) is kind
    assert (error.status, error.delivery) == (status, delivery)
    assert (error.platform_message, error.platform_code) == (message, code)
    assert error.body == response.body


def test_retry_after_is_on_the_error() -> None:
    """In seconds; garbage is none."""
    limited = answer(b"", 429, retry_after="7")
    assert status_error(limited, Safety.CREATE, NOW).retry_after == 7
    assert (
        status_error(answer(b"", 429, retry_after="x"), Safety.CREATE, NOW).retry_after
        is None
    )
    assert status_error(answer(b"", 429), Safety.CREATE, NOW).retry_after is None


def test_a_redirect_names_its_target_without_the_query() -> None:
    """It was not followed; the query may hold anything."""
    moved = answer(b"", 307, location="https://evil.example/x?token=canary")
    text = str(status_error(moved, Safety.CREATE, NOW))
    assert "not followed, to 'https://evil.example/x'" in text
    assert "canary" not in text
    assert "location" not in str(
        status_error(answer(b"", 500, location="x"), Safety.CREATE, NOW)
    )


def test_an_order_in_a_failing_answer_is_found() -> None:
    """A gateway may put its own status on an answer that came through."""
    error = status_error(answer(envelope(order()), 502), Safety.CREATE, NOW)
    assert error.order_id == ORDER_ID


@pytest.mark.parametrize("status", [302, 400, 403, 429, 501])
def test_an_order_in_a_refusal_may_exist(status: int) -> None:
    """The body contradicts the status: nothing was refused for sure."""
    error = status_error(answer(envelope(order()), status), Safety.CREATE, NOW)
    assert (error.delivery, error.order_id) == (Delivery.UNKNOWN, ORDER_ID)
    assert not is_retryable(error, Safety.CREATE)


def test_an_order_in_the_refusal_of_something_else_says_nothing() -> None:
    """Whoever asked for an order's refund knows that the order exists."""
    error = status_error(answer(envelope(order()), 403), Safety.MONEY, NOW)
    assert (error.delivery, error.order_id) == (Delivery.REFUSED, None)


@pytest.mark.parametrize("order_id", ["ORD.1:x", "ü1", 7, "X" * 65, "a b", ""])
def test_a_refusal_with_any_order_may_have_made_it(order_id: object) -> None:
    """Also where the id is none that we would take."""
    with pytest.raises(InvalidResponseError) as caught:
        parse(envelope({"order_id": order_id}, code=429))
    assert caught.value.delivery is Delivery.UNKNOWN
    readable = {"ORD.1:x": "ORD.1:x", "ü1": "ü1", 7: "7"}
    assert caught.value.order_id == readable.get(order_id)


def test_a_body_that_did_not_come_whole_is_not_read() -> None:
    """The transport says so; an order in it may exist all the same."""
    body = json.dumps(envelope(order())).encode()
    cut = Response(status=200, body=body, defect="is longer than 9 bytes")
    with pytest.raises(InvalidResponseError, match="is longer than 9 bytes") as caught:
        read_envelope(cut)
    error = caught.value
    assert (error.delivery, error.order_id) == (Delivery.UNKNOWN, ORDER_ID)


def test_a_refusal_may_have_a_result_of_any_kind() -> None:
    """Aurpay's plugins have met numbers."""
    for result in (None, 0, 1, "no"):
        with pytest.raises(errors.AuthenticationError) as caught:
            parse({"code": 401, "message": "no", "data": None, "result": result})
        assert caught.value.delivery is Delivery.REFUSED


@pytest.mark.parametrize("wrong", [{"amount": None}, {"status": None}])
def test_the_order_of_an_answer_is_the_one_in_its_data(wrong: dict[str, Any]) -> None:
    """Whatever other order is named before it or inside it."""
    data = {"prev": {"order_id": "INNER"}, **order(**wrong)}
    with pytest.raises(InvalidResponseError) as caught:
        parse({"request": {"order_id": "OLD"}, **envelope(data)})
    assert caught.value.order_id == ORDER_ID
    assert "OLD" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "order_id"),
    [
        (b'{"data":{"order_id":"2024","x', "2024"),
        (b'{"order_id" : 2024}', "2024"),
        (b'NaN "order_id":\n"a_b-C" garbage \xff', "a_b-C"),
        (b'{"order_id":""}', None),
        (b'{"order_id":null}', None),
        (b'{"order_id":true}', None),
        (b'{"order_id":"2024', None),
        (b'{"order_id":2024', None),
        (b'{"order_id":"20 24"}', None),
        (b'{"order_id":"1"} {"order_id":"2', "1"),
        (b'{"order_id":"1"} {"order_id":"1"}', "1"),
        (b'{"order_id":"1"} {"order_id":"2"}', None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_the_second_look(body: bytes, order_id: str | None) -> None:
    """Cut, broken or foreign: whatever can still be read."""
    assert find_order(body).order_id == order_id


mutations = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=150)
@given(
    st.dictionaries(st.sampled_from(sorted(order())), mutations, max_size=3),
    st.dictionaries(
        st.sampled_from(["code", "data", "result", "message"]), mutations, max_size=2
    ),
)
def test_any_change_of_an_answer_gives_an_order_or_our_error(
    data: dict[str, Any], outer: dict[str, Any]
) -> None:
    """And if an order comes out, its invoice is the one that belongs to it."""
    body = json.dumps({**envelope(order(**data)), **outer}).encode()
    try:
        made = parse(body)
    except AurpayError:
        return
    assert made.payment_request.amount_msat == 20_000_000
    assert made.amount * 10**11 == 20_000_000


@given(st.binary(max_size=200))
def test_any_bytes_give_our_error(body: bytes) -> None:
    """Whatever came instead of an answer."""
    with pytest.raises(AurpayError):
        read_envelope(answer(body))
