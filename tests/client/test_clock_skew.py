"""Diagnosis of a wrong local clock."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from aurpay_async import (
    ApiKey,
    ApiToken,
    AurpayClient,
    AurpayError,
    Response,
    UntrustedOrderError,
)
from aurpay_async._client.payments import time_of_response
from aurpay_async.testing import FakeClock, MemoryTransport

from ..support.orders import NOW, build_order, wrap_data

SIGNED = ApiToken("sandbox-token", "sandbox-secret")
NO = b'{"code":401,"message":"unauthorized","data":null,"result":false}'
HINT = "the local clock is "


async def fail_with_clock_ahead(
    status: int,
    body: bytes,
    *,
    ahead: timedelta,
    auth: Any = SIGNED,
    date: str | None = None,
) -> AurpayError:
    """Return the error of a create_order with a clock ahead of the Date."""
    if date is None:
        date = f"{NOW:%a, %d %b %Y %H:%M:%S} GMT"
    answer = Response(status=status, headers={"date": date}, body=body)
    client = AurpayClient(
        auth,
        network="regtest",
        transport=MemoryTransport(*[answer] * 4),
        clock=FakeClock(NOW + ahead),
    )
    with pytest.raises(AurpayError) as caught:
        await client.create_order("20.00", "USD")
    return caught.value


@pytest.mark.parametrize(("status", "body"), [(200, NO), (401, b""), (403, b"<html>")])
@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (timedelta(days=-1), "1 day, 0:00:00 behind"),
        (timedelta(minutes=26), "0:26:00 ahead of"),
    ],
)
async def test_the_error_of_a_rejected_signature_names_a_wrong_clock(
    status: int, body: bytes, ahead: timedelta, text: str
) -> None:
    error = await fail_with_clock_ahead(status, body, ahead=ahead)
    assert error.diagnosis == (
        f"the local clock is {text} the Date of the response, and signatures and "
        "invoices depend on it: synchronize it, for example with NTP"
    )
    assert f"; {error.diagnosis}; outcome=rejected" in str(error)


async def test_the_error_of_an_invoice_with_a_wrong_time_names_a_wrong_clock() -> None:
    for ahead, check in ((-1, "timestamp"), (25, "expiry")):
        body = json.dumps(wrap_data(build_order())).encode()
        error = await fail_with_clock_ahead(
            200, body, ahead=timedelta(hours=ahead), auth=None
        )
        assert isinstance(error, UntrustedOrderError)
        assert (error.check, HINT in str(error)) == (check, True)


@pytest.mark.parametrize(
    ("status", "body", "options"),
    [
        (401, NO, {"ahead": timedelta(seconds=119)}),
        (401, NO, {"ahead": timedelta(days=1), "auth": ApiKey("sandbox-key")}),
        (401, NO, {"ahead": timedelta(days=1), "date": "yesterday"}),
        (401, NO, {"ahead": timedelta(days=1), "date": ""}),
        (404, b"", {"ahead": timedelta(days=1)}),
        (500, b"", {"ahead": timedelta(days=1)}),
        (200, b"{}", {"ahead": timedelta(days=1)}),
    ],
)
async def test_other_errors_do_not_name_the_clock(
    status: int, body: bytes, options: dict[str, Any]
) -> None:
    error = await fail_with_clock_ahead(status, body, **options)
    assert error.diagnosis is None
    assert HINT not in str(error)


@pytest.mark.parametrize(
    ("ahead_s", "used_s"),
    [(0, 0), (-600, 0), (301, 301), (1800, 1800), (1801, 0), (None, 0)],
)
def test_the_date_of_the_response_is_used_if_the_local_clock_is_behind_it(
    ahead_s: int | None, used_s: int
) -> None:
    ahead = NOW + timedelta(seconds=ahead_s or 0)
    date = "" if ahead_s is None else f"{ahead:%a, %d %b %Y %H:%M:%S} GMT"
    response = Response(status=200, body=b"", headers={"date": date})
    assert time_of_response(response, NOW) == NOW + timedelta(seconds=used_s)
