"""Authentication: the documented strings, and keys that do not show."""

from __future__ import annotations

import copy
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aurpay_async import ApiKey, ApiToken, ConfigurationError, Effect, Request
from aurpay_async._client.auth import sign, signature_origin
from aurpay_async._core.secrets import Secret

from ..conftest import load

VECTORS = load("aurpay.json")["signature_vectors"]["request"]
DATE = datetime(2024, 6, 17, tzinfo=UTC)
CANARY = "canary-5f3a"

each_vector = pytest.mark.parametrize(
    "vector", VECTORS, ids=[v["name"] for v in VECTORS]
)


def request(
    method: str = "POST", path: str = "/api/bln/order", body: bytes = b"{}"
) -> Request:
    return Request(
        operation="create_order",
        method=method,
        path=path,
        effect=Effect.CREATE,
        body=body,
    )


@each_vector
def test_string_to_sign_matches_the_documentation(vector: dict[str, Any]) -> None:
    origin = signature_origin(
        vector["algorithm"],
        vector["date"],
        vector["method"],
        vector["path_and_query"],
        vector["body_md5"],
    )
    assert origin == vector["signature_origin"]


@each_vector
def test_signature_is_the_base64_of_the_hmac(vector: dict[str, Any]) -> None:
    secret = Secret(vector["api_secret"])
    signature = sign(vector["algorithm"], secret, vector["signature_origin"])
    assert signature == vector["expected_signature"]


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if v["body"] is not None or not v["body_md5"]],
    ids=lambda v: v["name"],
)
def test_headers_of_a_request_match_the_test_vectors(vector: dict[str, Any]) -> None:
    auth = ApiToken("example-api-token", vector["api_secret"], vector["algorithm"])
    body = (vector["body"] or "").encode()
    headers = auth.headers(
        request(vector["method"], vector["path_and_query"], body), DATE
    )
    expected = {
        "API-Token": "example-api-token",
        "Algorithm": vector["algorithm"],
        "Date": "2024-06-17T00:00:00Z",
        "Signature": vector["expected_signature"],
    }
    if vector["method"] != "GET":
        expected["Body-MD5"] = vector["body_md5"]
    assert headers == expected


def test_api_key_is_sent_in_one_header() -> None:
    assert ApiKey(CANARY).headers(request(), DATE) == {"API-Key": CANARY}


def test_date_header_omits_fractions_of_a_second() -> None:
    auth = ApiToken("t", "s")
    early, late = (
        auth.headers(request(), DATE + timedelta(microseconds=n)) for n in (0, 999_999)
    )
    assert early == late


@pytest.mark.parametrize(
    "key",
    [
        "", " ", " k-1", "k-1 ", "k-1\n", "k\r\nX-Evil: 1", "k\x00y", "k\ty", "kéy",
        "ключ", None, b"key", 5,
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", ["key", "token", "secret"])
def test_invalid_credentials_are_rejected_without_quoting_them(
    key: Any, what: str
) -> None:
    make: dict[str, Any] = {
        "key": lambda: ApiKey(key),
        "token": lambda: ApiToken(key, "secret"),
        "secret": lambda: ApiToken("token", key),
    }
    with pytest.raises(ConfigurationError, match=f"the API {what}") as caught:
        make[what]()
    if isinstance(key, str) and key.strip():
        assert key not in str(caught.value)


@pytest.mark.parametrize(
    "algorithm", ["hmac-sha256", "SHA256", "HMAC-MD5", "", None, {}]
)
def test_unknown_algorithms_are_rejected_exactly_spelled(algorithm: Any) -> None:
    with pytest.raises(ConfigurationError, match="HMAC-SHA256 or HMAC-SHA3_256"):
        ApiToken("token", "secret", algorithm)


@pytest.mark.parametrize(
    "auth",
    [
        ApiKey(CANARY),
        ApiToken(CANARY, CANARY),
        ApiToken(Secret(CANARY), Secret(CANARY)),
    ],
)
def test_credentials_are_not_printed_copied_or_pickled(auth: ApiKey | ApiToken) -> None:
    for twin in (auth, copy.copy(auth), copy.deepcopy(auth)):
        for shown in (repr(twin), str(twin), f"{twin}", repr([twin])):
            assert CANARY not in shown
            assert type(auth).__name__ in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(auth)


@pytest.mark.parametrize(
    "make",
    [
        ApiKey,
        lambda bad: ApiToken(bad, bad),
        lambda bad: ApiToken("t", bad),
        lambda bad: ApiToken("t", "HMAC-SHA256", bad),  # arguments get swapped
    ],
)
def test_rejected_credential_is_not_shown_in_a_traceback_with_locals(
    make: Any,
) -> None:
    secrets = {"bad": f"{CANARY}\n"}
    try:
        make(secrets.pop("bad"))
    except ConfigurationError as error:
        assert CANARY not in str(error)
        frames = [
            frame
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename != __file__
        ]
        assert frames
        for frame in frames:
            assert CANARY not in repr(frame.f_locals)
    else:
        pytest.fail("was taken")
