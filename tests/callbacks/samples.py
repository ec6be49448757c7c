"""Callbacks for tests, signed by the documented rule alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aurpay_async.callbacks import CallbackVerifier, Reference
from aurpay_async.callbacks._identity import ReferenceSigner
from aurpay_async.testing import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DATE = "2026-01-01T00:00:00Z"
SECRET = "sandbox-callback-secret"
TOKEN = "sandbox-callback-token"
KEY = "sandbox-reference-key"
SIGNER = ReferenceSigner([KEY])
ATTEMPT_ID = "0123456789abcdef01234567"


def reference(**fields: Any) -> Reference:
    """Return the reference in `url()`."""
    basics: dict[str, Any] = {
        "reference": "cart-42",
        "price": Decimal("20.00"),
        "currency": "USD",
        "kind": "paid",
        "attempt_id": ATTEMPT_ID,
    }
    return Reference(**{**basics, **fields})


def url(**fields: Any) -> str:
    """Return a registered callback URL."""
    return SIGNER.attach("https://shop.example/aurpay?id=a%2Fb", reference(**fields))


def signed(url: str, date: str = DATE, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of Aurpay."""
    digest = hmac.new(secret.encode(), f"{date} | {url}".encode(), hashlib.sha256)
    return {
        "Callback-Token": TOKEN,
        "Date": date,
        "Signature": base64.b64encode(digest.digest()).decode(),
    }


def verifier(**options: Any) -> CallbackVerifier:
    """Return a verifier that accepts them."""
    basics: dict[str, Any] = {
        "secrets": [SECRET],
        "tokens": [TOKEN],
        "reference_key": KEY,
        "clock": FakeClock(NOW),
    }
    return CallbackVerifier(**{**basics, **options})
