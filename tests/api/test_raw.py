"""Requests to any endpoint: sent exactly as given, or rejected."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import Effect
from aurpay_async._api.account import build_request, parse_request
from aurpay_async.errors import APIError, InvalidRequestError, InvalidResponseError

from ..conftest import examples
from ..support.orders import build_response, wrap_data

if TYPE_CHECKING:
    from aurpay_async import Request


def build(path: str = "/api/x", method: Any = "GET", **options: Any) -> Request:
    given_all = {"params": None, "json": None, "effect": Effect.READ, **options}
    return build_request(method, path, **given_all)


def test_build_request_encodes_params_in_the_callers_order() -> None:
    request = build("/api/v2/order/", params={"size": 20, "page": Decimal("2.0")})
    assert (request.method, request.path) == ("GET", "/api/v2/order/?size=20&page=2.0")
    assert (request.body, request.operation) == (b"", "request")
    assert request.headers == {"Accept": "application/json"}


def test_build_request_keeps_the_digits_of_the_body() -> None:
    request = build(
        method="PUT", json={"price": Decimal("20.00")}, effect=Effect.TRANSFER
    )
    assert request.body == b'{"price":20.00}'
    assert request.headers["Content-Type"] == "application/json"
    assert (request.method, request.effect) == ("PUT", Effect.TRANSFER)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_build_request_accepts_all_methods_with_and_without_a_body(method: str) -> None:
    assert build(method=method).method == method
    if method != "GET":
        assert build(method=method, json=[]).body == b"[]"


@pytest.mark.parametrize("method", ["get", "HEAD", "", "GET ", "G\r\nET", None, 5])
def test_build_request_rejects_an_unknown_or_lower_case_method(method: Any) -> None:
    with pytest.raises(InvalidRequestError, match="GET, POST, PUT") as caught:
        build(method=method)
    assert caught.value.field == "method"


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "/api/v2/tx",
        "/api/v2/order/",
        "/api/v2/order/detail/20240806071926377966",
        "/a/...",
        "/a%2Fb/%C3%BC",
        "/a-._~!$&'()*+,;=:@b",
    ],
)
def test_build_request_sends_a_valid_path_unchanged(path: str) -> None:
    assert build(path).path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "api/x",
        "//evil.example/x",
        "/a//b",
        "/a//",
        "https://evil.example/x",
        "/a?b=1",
        "/a#b",
        "/a/../b",
        "/..",
        "/./a",
        "/a/.",
        "/a/%2e%2E/b",
        "/a/..%2fb",
        "/a/%0d%0aX",
        "/a%00",
        "/a b",
        "/a\n",
        "/a\tb",
        "/a\\b",
        "/a\x7f",
        "/ü",
        "/a%",
        "/a%zz",
        "/a@b/\u202e",
        "/" + "a" * 2048,
        None,
        b"/a",
        5,
    ],
)
def test_build_request_rejects_an_ambiguous_path(path: Any) -> None:
    with pytest.raises(InvalidRequestError, match="write it like") as caught:
        build(path)
    assert caught.value.field == "path"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (b"/a", "must be a str, not bytes"),
        ("/a?b=1", "pass params= for a query"),
        ("https://evil.example/x", "without a host"),
        ("/a//b", "must not contain //"),
        ("/a b", "must be percent-encoded"),
        ("/a/%2e%2e", "between slashes"),
    ],
)
def test_build_request_gives_the_problem_of_a_path_without_quoting_it(
    path: Any, problem: str
) -> None:
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        build(path)
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({}, ""),
        ([], ""),
        ({"a b": "c&d=e/f?g#h%"}, "a%20b=c%26d%3De%2Ff%3Fg%23h%25"),
        ([("id", "1"), ("id", "2")], "id=1&id=2"),
        ((("a", ""),), "a="),
        ({"a": "é\u202e"}, "a=%C3%A9%E2%80%AE"),
        ({"a": 10**20, "b": -1, "c": Decimal("1E+2")}, f"a={10**20}&b=-1&c=100"),
        ({"a": "+"}, "a=%2B"),
    ],
)
def test_build_request_encodes_separators_inside_parameters(
    params: Any, query: str
) -> None:
    assert build(params=params).path == f"/api/x?{query}".removesuffix("?")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"a": 0.5}, "params.a"),
        ({"a": True}, "params.a"),
        ({"a": None}, "params.a"),
        ({"a": ["b"]}, "params.a"),
        ({"a": Decimal("NaN")}, "params.a"),
        ({"a": Decimal("1E+999999")}, "params.a"),
        ({"a": 10**5000}, "params.a"),
        ({"a": "\ud800"}, "params.a"),
        ({"ü\n": 0.5}, "params.\\xfc\\n"),
        ({5: "a"}, "params"),
        ("a=b", "params"),
        (5, "params"),
        ([("a", "b", "c")], "params"),
        ({"a": "x" * 2048}, "path"),
    ],
)
def test_build_request_names_the_invalid_parameter(params: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        build(params=params)
    assert caught.value.field == field


def test_build_request_rejects_a_body_of_a_get() -> None:
    """The signature of a GET would not cover it."""
    with pytest.raises(InvalidRequestError, match="pass params=") as caught:
        build(json={})
    assert caught.value.field == "json"


@pytest.mark.parametrize("effect", [None, "read", True])
def test_build_request_requires_an_effect(effect: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        build(effect=effect)
    assert caught.value.field == "effect"


@pytest.mark.parametrize("data", [None, {}, [], "x", 0, {"a": [1]}])
def test_parse_request_returns_data_with_decimals(data: object) -> None:
    assert parse_request(build_response(wrap_data(data)), Effect.READ) == data
    exact = parse_request(build_response(b'{"code":0,"data":0.10}'), Effect.READ)
    assert str(exact) == "0.10"


def test_parse_request_returns_none_without_data() -> None:
    assert parse_request(build_response({"code": 0}), Effect.TRANSFER) is None


def test_parse_request_rejects_a_response_without_an_envelope() -> None:
    with pytest.raises(APIError):
        parse_request(build_response({"code": 7}), Effect.READ)
    with pytest.raises(InvalidResponseError):
        parse_request(build_response([]), Effect.READ)


@examples(15)
@given(st.text(max_size=30))
def test_any_path_is_sent_unchanged_or_rejected(path: str) -> None:
    try:
        assert build(path).path == path
    except InvalidRequestError as error:
        assert error.field == "path"


@examples(15)
@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=3))
def test_any_query_is_decoded_to_the_given_params(
    params: list[tuple[str, str]],
) -> None:
    query = build(params=params).path.partition("?")[2]
    assert parse_qsl(query, keep_blank_values=True) == params
