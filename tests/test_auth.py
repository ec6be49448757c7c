"""Authentication: the documented strings, and keys that do not show."""

from __future__ import annotations

import copy
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aurpay_async import ApiKey, ApiToken, ConfigurationError, Effect, Request
from aurpay_async._auth import sign, signature_origin
from aurpay_async._secrets import Secret

from .conftest import load

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
def test_the_text_that_is_signed(vector: dict[str, Any]) -> None:
    """Two of them stand so in Aurpay's documentation."""
    origin = signature_origin(
        vector["algorithm"],
        vector["date"],
        vector["method"],
        vector["path_and_query"],
        vector["body_md5"],
    )
    assert origin == vector["signature_origin"]


@each_vector
def test_the_signature(vector: dict[str, Any]) -> None:
    """Base64 of the HMAC, with the secret's text as the key."""
    secret = Secret(vector["api_secret"])
    signature = sign(vector["algorithm"], secret, vector["signature_origin"])
    assert signature == vector["expected_signature"]


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if v["body"] is not None or not v["body_md5"]],
    ids=lambda v: v["name"],
)
def test_the_headers_of_a_whole_request(vector: dict[str, Any]) -> None:
    """From a request's bytes to its headers, as each vector says."""
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


def test_a_key_is_sent_as_it_is() -> None:
    """One header."""
    assert ApiKey(CANARY).headers(request(), DATE) == {"API-Key": CANARY}


def test_a_time_within_the_second_is_cut_off() -> None:
    """The documentation shows whole seconds; the header is what is signed."""
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
def test_credentials_that_cannot_be_sent(key: Any, what: str) -> None:
    """Refused when they are given, by name and without quoting them."""
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
def test_algorithms_are_spelt_exactly(algorithm: Any) -> None:
    """There are two."""
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
def test_credentials_do_not_show(auth: ApiKey | ApiToken) -> None:
    """Printed, formatted, copied; and they do not travel."""
    for twin in (auth, copy.copy(auth), copy.deepcopy(auth)):
        for shown in (repr(twin), str(twin), f"{twin}", repr([twin])):
            assert CANARY not in shown
            assert type(auth).__name__ in shown
    with pytest.raises(TypeError, match="not pickled"):
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
def test_a_refused_credential_does_not_show_in_a_traceback_with_locals(
    make: Any,
) -> None:
    """Error trackers print local variables; ours hold none."""
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
