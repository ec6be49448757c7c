"""Callbacks for tests: signed here, from the documented rule and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aurpay_async.callbacks import CallbackVerifier, Reference
from aurpay_async.callbacks._reference import ReferenceSigner
from aurpay_async.testing import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DATE = "2026-01-01T00:00:00Z"
SECRET = "sandbox-callback-secret"
TOKEN = "sandbox-callback-token"
KEY = "sandbox-reference-key"
SIGNER = ReferenceSigner([KEY])
NONCE = "0123456789abcdef01234567"


def reference(**fields: Any) -> Reference:
    """What the URL of `url` says."""
    basics: dict[str, Any] = {
        "reference": "cart-42",
        "price": Decimal("20.00"),
        "currency": "USD",
        "kind": "paid",
        "attempt_id": NONCE,
    }
    return Reference(**{**basics, **fields})


def url(**fields: Any) -> str:
    """As it was registered."""
    return SIGNER.attach("https://shop.example/aurpay?id=a%2Fb", reference(**fields))


def signed(url: str, date: str = DATE, secret: str = SECRET) -> dict[str, str]:
    """The headers of the platform."""
    digest = hmac.new(secret.encode(), f"{date} | {url}".encode(), hashlib.sha256)
    return {
        "Callback-Token": TOKEN,
        "Date": date,
        "Signature": base64.b64encode(digest.digest()).decode(),
    }


def verifier(**options: Any) -> CallbackVerifier:
    """One that takes them."""
    basics: dict[str, Any] = {
        "secrets": [SECRET],
        "tokens": [TOKEN],
        "reference_key": KEY,
        "clock": FakeClock(NOW),
    }
    return CallbackVerifier(**{**basics, **options})
