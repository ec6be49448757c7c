"""The sandbox's door: the published vectors pass, what differs does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from multidict import CIMultiDict

from aurpay_async.sandbox._gate import Gate, ReceivedRequest
from aurpay_async.sandbox._refusal import Refusal

from ..conftest import load

#: A whole request each: those of which the body is known.
VECTORS = [
    vector
    for vector in load("aurpay.json")["signature_vectors"]["request"]
    if vector["body"] is not None or not vector["body_md5"]
]
NOW = datetime(2024, 6, 17, tzinfo=UTC)
SIGNED = Gate(api_token="sandbox-token", api_secret="example-api-secret")


def received(vector: dict[str, Any], **headers: str) -> ReceivedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ReceivedRequest(
        method=vector["method"],
        path=vector["path_and_query"],
        headers=CIMultiDict(
            {
                "api-token": "sandbox-token",
                "Algorithm": vector["algorithm"],
                "Date": vector["date"],
                "Body-MD5": vector["body_md5"],
                "Signature": vector["expected_signature"],
                **named,
            }
        ),
        body=(vector["body"] or "").encode(),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vectors_are_let_in(vector: dict[str, Any]) -> None:
    """Read from Aurpay's pages for the receiving side, not from our signer."""
    SIGNED.check(received(vector), NOW)


POST = next(vector for vector in VECTORS if vector["name"] == "post-pay-url")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"api_token": "other"}, "token is wrong"),
        ({"Algorithm": "HMAC-SHA3_256"}, "Signature is wrong"),
        ({"Algorithm": "HMAC-MD5"}, "Algorithm"),
        ({"Algorithm": ""}, "Algorithm"),
        ({"Date": "2024-06-17T00:00:01Z"}, "Signature is wrong"),
        ({"Date": "2024-06-17T00:06:00Z"}, "Date"),
        ({"Date": "2024-06-16T23:54:00Z"}, "Date"),
        ({"Date": "2024-06-17T00:00:00"}, "Date"),
        ({"Date": "now"}, "Date"),
        ({"Date": ""}, "Date"),
        ({"Body_MD5": "0" * 32}, "Body-MD5"),
        ({"Body_MD5": ""}, "Body-MD5"),
        ({"Signature": ""}, "Signature is wrong"),
        ({"Signature": "é"}, "Signature is wrong"),
    ],
)
def test_a_header_that_differs(change: dict[str, str], problem: str) -> None:
    """Code 401, with a reason that tells a developer where to look."""
    with pytest.raises(Refusal, match=problem) as caught:
        SIGNED.check(received(POST, **change), NOW)
    assert caught.value.code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"body": POST["body"] + " "},
        {"path_and_query": "/api/order/pay-url?x"},
        {"method": "PUT"},
    ],
)
def test_a_request_that_differs_from_what_was_signed(change: dict[str, str]) -> None:
    """Body, path with its query, and method are covered."""
    with pytest.raises(Refusal, match=r"Body-MD5|Signature"):
        SIGNED.check(received({**POST, **change}), NOW)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_clocks_may_differ_a_little(minutes: int) -> None:
    """Five minutes both ways."""
    SIGNED.check(received(POST), NOW + timedelta(minutes=minutes))


def plain(**headers: str) -> ReceivedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ReceivedRequest(
        method="POST", path="/", headers=CIMultiDict(named), body=b"{}"
    )


def test_without_credentials_everybody_is_let_in() -> None:
    """The documented order call carries none."""
    Gate().check(plain(), NOW)
    Gate().check(plain(API_Key="any"), NOW)


def test_a_key() -> None:
    """The one that was set."""
    gate = Gate(api_key="sandbox-key")
    gate.check(plain(api_key="sandbox-key"), NOW)
    for headers in ({}, {"API_Key": "other"}, {"API_Key": ""}, {"API_Key": "é"}):
        with pytest.raises(Refusal, match="API key"):
            gate.check(plain(**headers), NOW)


def test_a_pair_without_a_signature() -> None:
    """A key is no substitute."""
    with pytest.raises(Refusal, match="API token is missing"):
        SIGNED.check(plain(API_Key="any"), NOW)


def test_both_modes_at_once() -> None:
    """Whoever signs is checked by the signature, others by the key."""
    gate = Gate(api_key="k", api_token="sandbox-token", api_secret="example-api-secret")
    gate.check(plain(API_Key="k"), NOW)
    gate.check(received(POST), NOW)
    with pytest.raises(Refusal, match="Signature"):
        gate.check(received(POST, Signature="x", API_Key="k"), NOW)


def test_what_it_holds_does_not_show() -> None:
    """Sandbox secrets are secrets all the same."""
    gate = Gate(api_key="canary", api_token="canary", api_secret="canary")
    assert "canary" not in repr(gate)
    assert "canary" not in repr(plain(API_Key="canary"))
