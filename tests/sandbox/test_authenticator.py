"""Authentication of requests by the documented test vectors."""

from __future__ import annotations

import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aurpay_async.sandbox._models import ApiRejection
from aurpay_async.sandbox._settings import ReceivedRequest, Settings, authenticate

from ..conftest import load

#: The vectors of which the body is known.
VECTORS = [
    vector
    for vector in load("aurpay.json")["signature_vectors"]["request"]
    if vector["body"] is not None or not vector["body_md5"]
]
NOW = datetime(2024, 6, 17, tzinfo=UTC)
SIGNED = Settings(api_token="sandbox-token", api_secret="example-api-secret")


def build_request(vector: dict[str, Any], **headers: str) -> ReceivedRequest:
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
def test_signed_requests_of_the_documentation_are_accepted(
    vector: dict[str, Any],
) -> None:
    authenticate(SIGNED, build_request(vector), NOW)


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
def test_wrong_header_of_a_signed_request_is_rejected_with_the_reason(
    change: dict[str, str], problem: str
) -> None:
    with pytest.raises(ApiRejection, match=problem) as caught:
        authenticate(SIGNED, build_request(POST, **change), NOW)
    assert caught.value.code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"body": POST["body"] + " "},
        {"path_and_query": "/api/order/pay-url?x"},
        {"method": "PUT"},
    ],
)
def test_changed_body_path_or_method_is_rejected(change: dict[str, str]) -> None:
    with pytest.raises(ApiRejection, match=r"Body-MD5|Signature"):
        authenticate(SIGNED, build_request({**POST, **change}), NOW)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_date_may_deviate_by_five_minutes(minutes: int) -> None:
    authenticate(SIGNED, build_request(POST), NOW + timedelta(minutes=minutes))


#: 2024-06-17 00:00 UTC as the libraries of other languages write it.
DATES = {
    "Java Instant, whole second": "2024-06-17T00:00:00Z",
    "Java Instant, milliseconds": "2024-06-17T00:00:00.123Z",
    "Java Instant, microseconds": "2024-06-17T00:00:00.123456Z",
    "Java Instant, nanoseconds": "2024-06-17T00:00:00.123456789Z",
    "Java OffsetDateTime, whole minute": "2024-06-17T00:00Z",
    "Java OffsetDateTime, Berlin": "2024-06-17T02:00:00.123456789+02:00",
    ".NET DateTime o": "2024-06-17T00:00:00.1234567Z",
    ".NET DateTimeOffset o": "2024-06-17T00:00:00.1234567+00:00",
    ".NET DateTimeOffset o, India": "2024-06-17T05:30:00.1234567+05:30",
    "JavaScript toISOString": "2024-06-17T00:00:00.123Z",
    "Python isoformat": "2024-06-17T00:00:00.123456+00:00",
    "Python isoformat, microsecond 0": "2024-06-17T00:00:00+00:00",
    "Python isoformat, milliseconds": "2024-06-17T00:00:00.123+00:00",
    "Python strftime %z": "2024-06-17T00:00:00+0000",
    "PHP c": "2024-06-17T00:00:00+00:00",
    "PHP DATE_ISO8601": "2024-06-17T00:00:00+0000",
    "PHP DATE_ISO8601, New York": "2024-06-16T20:00:00-0400",
    "PHP DATE_RFC3339_EXTENDED": "2024-06-17T00:00:00.123+00:00",
    "PHP c, Shanghai": "2024-06-17T08:00:00+08:00",
    "Go RFC3339Nano": "2024-06-17T00:00:00.1Z",
    "Rust chrono": "2024-06-17T00:00:00.123456789+00:00",
    "PostgreSQL, hours only": "2024-06-17T00:00:00+00",
}


def sign_request(date: str) -> ReceivedRequest:
    """Sign a request with this Date header."""
    origin = f"HMAC-SHA256 | {date} | GET /api/v2/tx"
    digest = hmac.digest(b"example-api-secret", origin.encode(), "sha256")
    return ReceivedRequest(
        method="GET",
        path="/api/v2/tx",
        headers=CIMultiDict(
            {
                "API-Token": "sandbox-token",
                "Algorithm": "HMAC-SHA256",
                "Date": date,
                "Signature": b64encode(digest).decode(),
            }
        ),
        body=b"",
    )


@pytest.mark.parametrize("date", DATES.values(), ids=DATES.keys())
def test_date_is_accepted_as_other_languages_write_it(date: str) -> None:
    authenticate(SIGNED, sign_request(date), NOW)
    authenticate(SIGNED, sign_request(date), NOW + timedelta(minutes=5))
    for now in (NOW + timedelta(minutes=6), NOW - timedelta(minutes=6)):
        with pytest.raises(ApiRejection) as caught:
            authenticate(SIGNED, sign_request(date), now)
        times = f"{date}, and the sandbox's time is {now:%Y-%m-%dT%H:%M:%SZ}"
        assert caught.value.message == f"Date is outside the tolerance: {times}"


@pytest.mark.parametrize(
    "date",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999999-23:59",
        "2024-06-17T00:06:00.000Z",
        "2024-06-17T00:00:00.000-00:06",
    ],
)
def test_date_that_is_too_far_off_is_rejected_in_any_format(date: str) -> None:
    with pytest.raises(ApiRejection, match="Date is outside the tolerance"):
        authenticate(SIGNED, sign_request(date), NOW)


@pytest.mark.parametrize(
    "date",
    [
        "2024-06-17T00:00:00",
        "2024-06-17T00:00:00.1234567",
        "2024-06-17 00:00:00Z",
        "2024-06-17",
        "20240617T000000Z",
        "2024-W25-1T00:00:00Z",
        "2024-06-17T00:00:00,123Z",
        "2024-06-17T00:00:00.Z",
        "2024-06-17T00:00:00+2",
        "2024-06-17T00:00:00+24:00",
        "2024-06-17T00:00:60Z",
        "2024-02-30T00:00:00Z",
        "2024-06-17T00:00:00Z[UTC]",
        "\u0662024-06-17T00:00:00Z",
        "Mon, 17 Jun 2024 00:00:00 GMT",
        "1718582400",
    ],
)
def test_date_without_zone_or_in_another_format_is_rejected(date: str) -> None:
    with pytest.raises(
        ApiRejection, match=r"Date must be ISO 8601 with a zone, such as "
    ):
        authenticate(SIGNED, sign_request(date), NOW)


@given(st.text(max_size=40))
def test_any_date_is_accepted_or_rejected(date: str) -> None:
    with pytest.raises(ApiRejection, match="Date"):
        authenticate(SIGNED, sign_request(date), NOW)


def build_plain_request(**headers: str) -> ReceivedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ReceivedRequest(
        method="POST", path="/", headers=CIMultiDict(named), body=b"{}"
    )


def test_authenticator_without_credentials_accepts_each_request() -> None:
    authenticate(Settings(), build_plain_request(), NOW)
    authenticate(Settings(), build_plain_request(API_Key="any"), NOW)


def test_authenticator_accepts_only_its_api_key() -> None:
    settings = Settings(api_key="sandbox-key")
    authenticate(settings, build_plain_request(api_key="sandbox-key"), NOW)
    for headers in ({}, {"API_Key": "other"}, {"API_Key": ""}, {"API_Key": "é"}):
        with pytest.raises(ApiRejection, match="API key"):
            authenticate(settings, build_plain_request(**headers), NOW)


def test_unsigned_request_is_rejected_when_a_token_is_set() -> None:
    with pytest.raises(ApiRejection, match="API token is missing"):
        authenticate(SIGNED, build_plain_request(API_Key="any"), NOW)


def test_signed_request_is_checked_by_signature_others_by_key() -> None:
    settings = Settings(
        api_key="k", api_token="sandbox-token", api_secret="example-api-secret"
    )
    authenticate(settings, build_plain_request(API_Key="k"), NOW)
    authenticate(settings, build_request(POST), NOW)
    with pytest.raises(ApiRejection, match="Signature"):
        authenticate(settings, build_request(POST, Signature="x", API_Key="k"), NOW)


def test_repr_of_authenticator_and_request_hides_secrets() -> None:
    settings = Settings(api_key="canary", api_token="canary", api_secret="canary")
    assert "canary" not in repr(settings)
    assert "canary" not in repr(build_plain_request(API_Key="canary"))
