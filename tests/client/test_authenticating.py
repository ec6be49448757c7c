"""Authentication around a transport: fresh for each attempt, the rest untouched."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aurpay_async import ApiKey, ApiToken, Effect, Request, Response
from aurpay_async._client.transport import AuthenticatingTransport
from aurpay_async.errors import ConnectionLostError, RequestOutcome
from aurpay_async.testing import FakeClock, MemoryTransport

REQUEST = Request(
    operation="create_order",
    method="POST",
    path="/api/order/pay-url",
    effect=Effect.CREATE,
    headers={"Content-Type": "application/json"},
    body=b'{"price":20,"currency":"USD","succeed_url":"https://example.com/succeed_url"}',
    timeout=7,
)


async def test_headers_are_added_and_nothing_else_changes() -> None:
    """Method, path, body and limits go through as they are."""
    inner = MemoryTransport(Response(status=200))
    await AuthenticatingTransport(inner, ApiKey("sandbox-key"), FakeClock()).send(
        REQUEST
    )
    sent = inner.requests[0]
    assert sent.headers == {
        "Content-Type": "application/json",
        "API-Key": "sandbox-key",
    }
    assert (sent.method, sent.path, sent.timeout) == ("POST", REQUEST.path, 7)
    assert sent.body is REQUEST.body
    assert REQUEST.headers == {"Content-Type": "application/json"}


async def test_each_attempt_is_signed_afresh_over_the_same_bytes() -> None:
    """A signature that was good a minute ago may be too old now."""
    inner = MemoryTransport(*[Response(status=200)] * 2)
    clock = FakeClock(datetime(2024, 6, 17, tzinfo=UTC))
    auth = ApiToken("example-api-token", "example-api-secret")
    transport = AuthenticatingTransport(inner, auth, clock)
    await transport.send(REQUEST)
    clock.advance(60)
    await transport.send(REQUEST)
    first, second = inner.requests
    assert first.body is second.body is REQUEST.body
    # The vector `post-pay-url`.
    assert first.headers["Signature"] == "miCeWF3WcQHJFNVK8sKJDDgqGSARm/NvShQ2OmI1e3Y="
    assert first.headers["Body-MD5"] == "aece31f2f3c59a22b3905a508430a91e"
    assert first.headers["Body-MD5"] == second.headers["Body-MD5"]
    assert first.headers["Date"] == "2024-06-17T00:00:00Z"
    assert second.headers["Date"] == "2024-06-17T00:01:00Z"
    assert first.headers["Signature"] != second.headers["Signature"]


async def test_credential_repeated_in_a_response_is_masked() -> None:
    inner = MemoryTransport(
        Response(status=401, body=b'{"message": "no such key: sandbox-key/1"}'),
        Response(status=200, body=rb'{"message": "sandbox-key\/1", "sandbox": "key"}'),
        Response(status=200, body=b"nothing of it"),
    )
    transport = AuthenticatingTransport(inner, ApiKey("sandbox-key/1"), FakeClock())
    told = [(await transport.send(REQUEST)).body for _ in range(3)]
    assert told == [
        b'{"message": "no such key: ***"}',
        b'{"message": "***", "sandbox": "key"}',
        b"nothing of it",
    ]


async def test_public_headers_and_short_keys_are_not_masked() -> None:
    body = b'{"k": "HMAC-SHA256 2026-01-01T00:00:00Z application/json", "t": "tok"}'
    inner = MemoryTransport(*[Response(status=200, body=body)] * 2)
    for auth in (ApiKey("k"), ApiToken("tok", "secret")):
        answer = await AuthenticatingTransport(inner, auth, FakeClock()).send(REQUEST)
        assert answer.body == body


async def test_credential_in_a_cut_off_response_is_masked_in_the_error() -> None:
    lost = ConnectionLostError("gone", outcome=RequestOutcome.UNKNOWN)
    lost.body = b"you sent sandbox-key, and"
    transport = AuthenticatingTransport(
        MemoryTransport(lost), ApiKey("sandbox-key"), FakeClock()
    )
    with pytest.raises(ConnectionLostError) as caught:
        await transport.send(REQUEST)
    assert caught.value.body == b"you sent ***, and"
