"""Any endpoint: what goes over the wire is what was written, or nothing goes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurpay_async import Effect
from aurpay_async._protocol import build_request, parse_request
from aurpay_async.errors import APIError, InvalidRequestError, InvalidResponseError
from tests.orders import answer, envelope

if TYPE_CHECKING:
    from aurpay_async import Request


def build(path: str = "/api/x", method: Any = "GET", **options: Any) -> Request:
    given_all = {"params": None, "json": None, "effect": Effect.READ, **options}
    return build_request(method, path, **given_all)


def test_a_request_with_a_query() -> None:
    """Encoded once, in the order of the caller."""
    request = build("/api/v2/order/", params={"size": 20, "page": Decimal("2.0")})
    assert (request.method, request.path) == ("GET", "/api/v2/order/?size=20&page=2.0")
    assert (request.body, request.operation) == (b"", "request")
    assert request.headers == {"Accept": "application/json"}


def test_a_request_with_a_body() -> None:
    """The digits that were written."""
    request = build(
        method="PUT", json={"price": Decimal("20.00")}, effect=Effect.TRANSFER
    )
    assert request.body == b'{"price":20.00}'
    assert request.headers["Content-Type"] == "application/json"
    assert (request.method, request.effect) == ("PUT", Effect.TRANSFER)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_methods(method: str) -> None:
    """With and without a body, but for GET."""
    assert build(method=method).method == method
    if method != "GET":
        assert build(method=method, json=[]).body == b"[]"


@pytest.mark.parametrize("method", ["get", "HEAD", "", "GET ", "G\r\nET", None, 5])
def test_what_is_no_method(method: Any) -> None:
    """Spelt exactly: it is signed."""
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
def test_a_path_goes_as_it_is(path: str) -> None:
    """Byte for byte."""
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
def test_what_is_no_path(path: Any) -> None:
    """Whatever leads elsewhere, or is read in two ways."""
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
def test_a_path_is_refused_with_its_reason(path: Any, problem: str) -> None:
    """And without quoting it: it may hold anything."""
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
def test_a_query_is_encoded_once(params: Any, query: str) -> None:
    """Nothing in it can end it or begin another parameter."""
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
def test_what_is_no_query(params: Any, field: str) -> None:
    """Named by its parameter."""
    with pytest.raises(InvalidRequestError) as caught:
        build(params=params)
    assert caught.value.field == field


def test_a_get_has_no_body() -> None:
    """No signature would cover it."""
    with pytest.raises(InvalidRequestError, match="pass params=") as caught:
        build(json={})
    assert caught.value.field == "json"


@pytest.mark.parametrize("effect", [None, "read", True])
def test_an_effect_has_to_be_said(effect: Any) -> None:
    """Whether it may be sent twice is not to be guessed."""
    with pytest.raises(InvalidRequestError) as caught:
        build(effect=effect)
    assert caught.value.field == "effect"


@pytest.mark.parametrize("data", [None, {}, [], "x", 0, {"a": [1]}])
def test_an_answer_is_given_as_it_comes(data: object) -> None:
    """Numbers with a point as Decimal."""
    assert parse_request(answer(envelope(data)), Effect.READ) == data
    exact = parse_request(answer(b'{"code":0,"data":0.10}'), Effect.READ)
    assert str(exact) == "0.10"


def test_an_answer_without_data() -> None:
    """Some may have nothing to say."""
    assert parse_request(answer({"code": 0}), Effect.TRANSFER) is None


def test_answers_that_are_none() -> None:
    """As everywhere."""
    with pytest.raises(APIError):
        parse_request(answer({"code": 7}), Effect.READ)
    with pytest.raises(InvalidResponseError):
        parse_request(answer([]), Effect.READ)


@settings(max_examples=40)
@given(st.text(max_size=30))
def test_any_path_is_kept_or_refused(path: str) -> None:
    """Nothing in between."""
    try:
        assert build(path).path == path
    except InvalidRequestError as error:
        assert error.field == "path"


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=3))
def test_any_query_is_read_back(params: list[tuple[str, str]]) -> None:
    """By another reader."""
    query = build(params=params).path.partition("?")[2]
    assert parse_qsl(query, keep_blank_values=True) == params
