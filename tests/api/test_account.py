"""Exchange of username and password for an API key."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from aurpay_async import ApiKey, Effect, Request
from aurpay_async._api.account import build_obtain_key, parse_obtain_key
from aurpay_async._core.secrets import Secret
from aurpay_async.errors import AurpayError, InvalidRequestError, InvalidResponseError

from ..conftest import examples
from ..support.orders import build_response, wrap_data
from .samples import json_values

CANARY = "canary-71c4"


def test_obtain_key_sends_the_two_documented_fields_as_json() -> None:
    request = build_obtain_key(Secret("example@aurpay.net"), Secret('p\xe4ss"word'))
    assert (request.method, request.path) == ("POST", "/api/plugin/key/aurpay")
    assert request.effect is Effect.READ
    assert json.loads(request.body) == {
        "username": "example@aurpay.net",
        "password": 'p\xe4ss"word',
    }
    assert "word" not in repr(request)


@pytest.mark.parametrize("bad", ["", "x" * 1025, None, 5, b"bytes"])
@pytest.mark.parametrize("field", ["username", "password"])
def test_invalid_username_or_password_is_named_and_not_quoted(
    field: str, bad: Any
) -> None:
    given = {"username": Secret(CANARY), "password": Secret(CANARY), field: Secret(bad)}
    with pytest.raises(InvalidRequestError) as caught:
        build_obtain_key(**given)
    assert caught.value.field == field
    assert CANARY not in str(caught.value)
    assert "bytes" not in str(caught.value) or bad == b"bytes"


def test_obtained_key_is_returned_exactly_as_received() -> None:
    token = parse_obtain_key(
        build_response(wrap_data({"access_token": "ey.made.up", "x": 1}))
    )
    request = Request(operation="x", method="GET", path="/", effect=Effect.READ)
    assert ApiKey(token).headers(request, datetime(2026, 1, 1, tzinfo=UTC)) == {
        "API-Key": "ey.made.up"
    }


@pytest.mark.parametrize("token", [None, "", 5, "a\nb", " a", "ключ", ["a"]])
def test_obtained_key_that_cannot_be_a_header_is_rejected(token: object) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        parse_obtain_key(build_response(wrap_data({"access_token": token})))
    assert caught.value.paths == ("data.access_token",)


@examples(10)
@given(json_values)
def test_any_response_to_obtain_key_gives_a_key_or_an_aurpay_error(data: Any) -> None:
    for content in (wrap_data(data), wrap_data({"access_token": data})):
        try:
            created = parse_obtain_key(build_response(json.dumps(content).encode()))
        except AurpayError:
            continue
        assert isinstance(created, Secret)
