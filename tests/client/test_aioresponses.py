"""Statuses and bodies through the whole client with aioresponses, and its shim."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from aioresponses import CallbackResult, aioresponses

from aurpay_async import (
    ApiKey,
    AurpayClient,
    AurpayError,
    RequestOutcome,
    RetryPolicy,
    errors,
)
from aurpay_async.testing import FakeClock

from ..support.aioresponses_compat import NEEDED, mocked
from ..support.orders import AS_TEXT, TEXT_DAY, wrap_data

__all__ = ["mocked"]

URL = "https://dashboard.aurpay.net/api/bln/order"


async def create(attempts: int = 1) -> Any:
    async with AurpayClient(
        ApiKey("sandbox-key"),
        clock=FakeClock(TEXT_DAY),
        retry=RetryPolicy(max_attempts=attempts),
    ) as aurpay:
        return await aurpay.create_order("20.00", "USD")


def count_requests(mocked: aioresponses) -> int:
    """Count requests: an unmatched URL looks like a refused connection."""
    return sum(len(calls) for calls in mocked.requests.values())


async def test_the_documented_response_becomes_an_order(mocked: aioresponses) -> None:
    seen: list[Any] = []

    def callback(url: Any, **kwargs: Any) -> CallbackResult:
        seen.append(kwargs)
        return CallbackResult(payload=AS_TEXT)

    mocked.post(URL, callback=callback)
    order = await create()
    assert order.order_id == "20240428125136525824"
    assert count_requests(mocked) == 1
    assert seen[0]["data"] == b'{"price":20.00,"currency":"USD"}'
    assert seen[0]["headers"]["API-Key"] == "sandbox-key"
    assert seen[0]["allow_redirects"] is False


REJECTED, UNKNOWN = RequestOutcome.REJECTED, RequestOutcome.UNKNOWN
BAD_KEY = json.dumps({"code": 401, "message": "bad key"})
NO = json.dumps({"code": 10001, "message": "no"})
NO_DATA = json.dumps(wrap_data(None))
PAGE = "<html>Bad gateway</html>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "outcome", "requests"),
    [
        (200, BAD_KEY, errors.AuthenticationError, REJECTED, 1),
        (200, NO, errors.APIError, REJECTED, 1),
        (200, NO_DATA, errors.InvalidResponseError, UNKNOWN, 1),
        (200, "", errors.InvalidResponseError, UNKNOWN, 1),
        (200, PAGE, errors.InvalidResponseError, UNKNOWN, 1),
        (204, "", errors.InvalidResponseError, UNKNOWN, 1),
        (302, "", errors.APIError, REJECTED, 1),
        (400, "{}", errors.APIError, REJECTED, 1),
        (401, "", errors.AuthenticationError, REJECTED, 1),
        (403, PAGE, errors.PermissionDeniedError, REJECTED, 1),
        (404, "", errors.NotFoundError, REJECTED, 1),
        (408, "", errors.APIError, UNKNOWN, 1),
        (409, "", errors.APIError, UNKNOWN, 1),
        (429, "", errors.RateLimitedError, REJECTED, 3),
        (500, "", errors.ServerError, UNKNOWN, 1),
        (501, "", errors.ServerError, REJECTED, 1),
        (502, PAGE, errors.ServerError, UNKNOWN, 1),
        (503, "", errors.ServerError, UNKNOWN, 1),
        (520, "", errors.ServerError, UNKNOWN, 1),
    ],
)
async def test_a_response_raises_the_error_of_its_status_and_body(
    mocked: aioresponses,
    status: int,
    body: str,
    kind: type[AurpayError],
    outcome: RequestOutcome,
    requests: int,
) -> None:
    mocked.post(URL, status=status, body=body, repeat=True)
    with pytest.raises(AurpayError) as caught:
        await create(attempts=3)
    assert type(caught.value) is kind
    assert caught.value.outcome is outcome
    assert caught.value.attempts == count_requests(mocked) == requests


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"exception": aiohttp.ServerDisconnectedError()}, errors.ConnectionLostError),
        ({"exception": ConnectionResetError()}, errors.ConnectionLostError),
        ({"timeout": True}, errors.RequestTimeoutError),
        ({"exception": aiohttp.ClientConnectionError()}, errors.ConnectionLostError),
        ({"exception": AttributeError("x")}, errors.TransportError),
    ],
)
async def test_an_injected_failure_of_a_create_is_unknown_and_not_retried(
    mocked: aioresponses, fault: dict[str, Any], kind: type[AurpayError]
) -> None:
    """A mock opens no connection, so nothing proves that the request was not sent."""
    mocked.post(URL, repeat=True, **fault)
    with pytest.raises(AurpayError) as caught:
        await create(attempts=3)
    assert type(caught.value) is kind
    assert caught.value.outcome is UNKNOWN
    assert count_requests(mocked) == 1


@pytest.mark.skipif(not NEEDED, reason="this aiohttp works with aioresponses as it is")
async def test_aioresponses_still_needs_the_shim() -> None:
    """If this fails, aioresponses works without it: delete `aioresponses_compat`."""
    with aioresponses() as plain:
        plain.post(URL, payload=AS_TEXT)
        message = r"TypeError in aioresponses\.core, line \d+, .* is aiohttp patched\?"
        with pytest.raises(AurpayError, match=message) as caught:
            await create(attempts=3)
        assert caught.value.attempts == 1
