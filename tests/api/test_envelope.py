"""Envelopes, rejections, and order ids in responses that cannot be parsed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import Effect, Response, errors
from aurpay_async._api.envelope import order_evidence, status_error
from aurpay_async._api.orders import read_data, read_envelope
from aurpay_async._client.retry import is_retryable
from aurpay_async.errors import (
    APIError,
    AurpayError,
    InvalidResponseError,
    RequestOutcome,
)

from ..support.orders import NOW, build_order, build_response, wrap_data

ORDER_ID = "20260101000000000001"


def read(content: object, effect: Effect = Effect.CREATE) -> dict[str, object]:
    """Return the `data` of a response."""
    return read_envelope(build_response(content), effect)


def test_read_envelope_returns_data_and_ignores_other_members() -> None:
    assert read(wrap_data({"a": 1}, trace="x")) == {"a": 1}


@pytest.mark.parametrize("data", [None, 0, "x", [], {"a": 1}])
def test_read_data_returns_any_type_and_none_if_missing(data: object) -> None:
    assert read_data(build_response(wrap_data(data)), Effect.READ) == data
    assert read_data(build_response({"code": 0}), Effect.READ) is None


@pytest.mark.parametrize("effect", [Effect.READ, Effect.TRANSFER])
def test_rejected_request_that_creates_no_order_may_name_one(effect: Effect) -> None:
    with pytest.raises(errors.NotFoundError) as caught:
        read(wrap_data({"order_id": ORDER_ID}, code=404, message="no"), effect)
    assert caught.value.outcome is RequestOutcome.REJECTED


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
def test_nonzero_code_is_a_rejection_despite_http_200(
    code: int, kind: type[APIError], data: object
) -> None:
    """Aurpay answers an invalid key in this way."""
    with pytest.raises(APIError) as caught:
        read({"code": code, "message": "no\x1b[31m", "data": data, "result": False})
    error = caught.value
    assert type(error) is kind
    assert error.outcome is RequestOutcome.REJECTED
    assert (error.status, error.platform_code) == (200, code)
    assert error.platform_message == "no\x1b[31m"
    assert str(error) == f"Aurpay rejected the request with code {code}: 'no\\x1b[31m'"


@pytest.mark.parametrize(
    "content",
    [
        {"code": 5},
        {"code": 5, "message": None},
        {"code": 5, "msg": 7},
        {"code": 5, "message": ""},
    ],
)
def test_rejection_without_a_message_has_none(content: dict[str, Any]) -> None:
    with pytest.raises(APIError, match=r"^Aurpay rejected the request with code 5$"):
        read(content)


def test_msg_is_read_where_message_is_missing() -> None:
    """Aurpay's older plugins read it."""
    with pytest.raises(APIError) as caught:
        read({"code": 5, "msg": "no"})
    assert caught.value.platform_message == "no"


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (302, APIError, RequestOutcome.REJECTED),
        (303, APIError, RequestOutcome.UNKNOWN),
        (400, APIError, RequestOutcome.REJECTED),
        (401, errors.AuthenticationError, RequestOutcome.REJECTED),
        (403, errors.PermissionDeniedError, RequestOutcome.REJECTED),
        (404, errors.NotFoundError, RequestOutcome.REJECTED),
        (408, APIError, RequestOutcome.UNKNOWN),
        (409, APIError, RequestOutcome.UNKNOWN),
        (429, errors.RateLimitedError, RequestOutcome.REJECTED),
        (500, errors.ServerError, RequestOutcome.UNKNOWN),
        (501, errors.ServerError, RequestOutcome.REJECTED),
        (503, errors.ServerError, RequestOutcome.UNKNOWN),
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
def test_status_decides_the_error_class_for_an_html_body(
    status: int,
    kind: type[APIError],
    outcome: RequestOutcome,
    content: object,
    message: str | None,
    code: int | None,
) -> None:
    response = build_response(content, status)
    assert not response.is_success
    error = status_error(response, Effect.CREATE, NOW)
    assert type(error) is kind
    assert (error.status, error.outcome) == (status, outcome)
    assert (error.platform_message, error.platform_code) == (message, code)
    assert error.body == response.body


def test_valid_retry_after_is_on_the_error_in_seconds() -> None:
    limited = build_response(b"", 429, retry_after="7")
    assert status_error(limited, Effect.CREATE, NOW).retry_after == 7
    assert (
        status_error(
            build_response(b"", 429, retry_after="x"), Effect.CREATE, NOW
        ).retry_after
        is None
    )
    assert (
        status_error(build_response(b"", 429), Effect.CREATE, NOW).retry_after is None
    )


def test_redirect_error_names_the_target_without_its_query() -> None:
    moved = build_response(b"", 307, location="https://evil.example/x?token=canary")
    text = str(status_error(moved, Effect.CREATE, NOW))
    assert "not followed, to 'https://evil.example/x'" in text
    assert "canary" not in text
    assert "location" not in str(
        status_error(build_response(b"", 500, location="x"), Effect.CREATE, NOW)
    )


def test_order_id_in_an_error_response_to_a_create_is_on_the_error() -> None:
    """A gateway may replace the status of a response that was passed on."""
    error = status_error(
        build_response(wrap_data(build_order()), 502), Effect.CREATE, NOW
    )
    assert error.order_id == ORDER_ID


@pytest.mark.parametrize("status", [302, 400, 403, 429, 501])
def test_rejected_create_that_names_an_order_has_outcome_unknown(status: int) -> None:
    error = status_error(
        build_response(wrap_data(build_order()), status), Effect.CREATE, NOW
    )
    assert (error.outcome, error.order_id) == (RequestOutcome.UNKNOWN, ORDER_ID)
    assert not is_retryable(error, Effect.CREATE)


def test_order_id_in_a_rejected_refund_does_not_change_the_outcome() -> None:
    content = {"code": 403, "message": "no", "order_id": ORDER_ID}
    error = status_error(build_response(content, 403), Effect.TRANSFER, NOW)
    assert (error.outcome, error.order_id) == (RequestOutcome.REJECTED, None)


@pytest.mark.parametrize("content", [{"code": 0}, {"refund_status": "DONE"}])
@pytest.mark.parametrize("effect", [Effect.CREATE, Effect.TRANSFER])
def test_success_in_the_body_of_an_error_status_has_outcome_unknown(
    content: dict[str, Any], effect: Effect
) -> None:
    """A gateway may replace the status of a response that was passed on."""
    for status in (302, 403, 429, 501):
        error = status_error(build_response(content, status), effect, NOW)
        assert error.outcome is RequestOutcome.UNKNOWN
        assert not is_retryable(error, effect)
        error = status_error(build_response(content, status), Effect.READ, NOW)
        assert error.outcome is RequestOutcome.REJECTED


@pytest.mark.parametrize("content", [{}, {"code": 7}, {"code": False}, {"code": "0"}])
def test_other_body_of_an_error_status_has_outcome_rejected(
    content: dict[str, Any],
) -> None:
    error = status_error(build_response(content, 403), Effect.TRANSFER, NOW)
    assert error.outcome is RequestOutcome.REJECTED


@pytest.mark.parametrize("order_id", ["ORD.1:x", "ü1", 7, "X" * 65, "a b", ""])
def test_rejected_create_with_an_invalid_order_id_has_outcome_unknown(
    order_id: object,
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read(wrap_data({"order_id": order_id}, code=429))
    assert caught.value.outcome is RequestOutcome.UNKNOWN
    readable = {"ORD.1:x": "ORD.1:x", "ü1": "ü1", 7: "7"}
    assert caught.value.order_id == readable.get(order_id)


def test_truncated_body_is_rejected_and_searched_for_an_order_id() -> None:
    body = json.dumps(wrap_data(build_order())).encode()
    cut = Response(status=200, body=body, body_error="is longer than 9 bytes")
    with pytest.raises(InvalidResponseError, match="is longer than 9 bytes") as caught:
        read_envelope(cut, Effect.CREATE)
    error = caught.value
    assert (error.outcome, error.order_id) == (RequestOutcome.UNKNOWN, ORDER_ID)


def test_rejection_may_have_a_result_of_any_type() -> None:
    """Aurpay's plugins handle numbers."""
    for result in (None, 0, 1, "no"):
        with pytest.raises(errors.AuthenticationError) as caught:
            read({"code": 401, "message": "no", "data": None, "result": result})
        assert caught.value.outcome is RequestOutcome.REJECTED


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
def test_order_evidence_finds_the_id_in_broken_bodies(
    body: bytes, order_id: str | None
) -> None:
    assert order_evidence(body).order_id == order_id


@given(st.binary(max_size=200))
def test_any_body_of_an_error_status_gives_an_api_error(body: bytes) -> None:
    with pytest.raises(AurpayError):
        read_envelope(build_response(body), Effect.CREATE)
