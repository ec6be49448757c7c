"""Hints at a wrong clock, on what was rejected because of the time."""

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
from aurpay_async._skew import time_of_response
from aurpay_async.testing import FakeClock, MemoryTransport

from .orders import NOW, envelope, order

SIGNED = ApiToken("sandbox-token", "sandbox-secret")
NO = b'{"code":401,"message":"unauthorized","data":null,"result":false}'
HINT = "the local clock is "


async def failure(
    status: int,
    body: bytes,
    *,
    ahead: timedelta,
    auth: Any = SIGNED,
    date: str | None = None,
) -> AurpayError:
    """Create an order with a clock that is so far ahead of the answer's date."""
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
async def test_rejected_signature_names_a_clock_that_differs(
    status: int, body: bytes, ahead: timedelta, text: str
) -> None:
    """By status or by envelope; the hint is part of the message."""
    error = await failure(status, body, ahead=ahead)
    assert error.diagnosis == (
        f"the local clock is {text} the Date of the response, and signatures and "
        "invoices depend on it: synchronize it, for example with NTP"
    )
    assert f"; {error.diagnosis}; outcome=rejected" in str(error)


async def test_invoice_rejected_for_its_time_names_a_clock_that_differs() -> None:
    """From the future, or expired: for a clock that is behind or ahead."""
    for ahead, check in ((-1, "timestamp"), (25, "expiry")):
        body = json.dumps(envelope(order())).encode()
        error = await failure(200, body, ahead=timedelta(hours=ahead), auth=None)
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
async def test_other_rejections_do_not_name_the_clock(
    status: int, body: bytes, options: dict[str, Any]
) -> None:
    """A small difference, no signature, no date, or another cause."""
    error = await failure(status, body, **options)
    assert error.diagnosis is None
    assert HINT not in str(error)


@pytest.mark.parametrize(
    ("ahead_s", "used_s"),
    [(0, 0), (-600, 0), (301, 301), (1800, 1800), (1801, 0), (None, 0)],
)
def test_clock_that_is_behind_the_answer_is_not_trusted(
    ahead_s: int | None, used_s: int
) -> None:
    """Else a machine that is minutes behind rejects each new invoice."""
    ahead = NOW + timedelta(seconds=ahead_s or 0)
    date = "" if ahead_s is None else f"{ahead:%a, %d %b %Y %H:%M:%S} GMT"
    response = Response(status=200, body=b"", headers={"date": date})
    assert time_of_response(response, NOW) == NOW + timedelta(seconds=used_s)
