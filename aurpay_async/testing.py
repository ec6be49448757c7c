"""Stand-ins for time and network, for your tests as for ours.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from datetime import UTC, datetime, timedelta
from typing import final

from ._clock import SystemClock
from ._http import Effect, Request, Response
from ._transports._memory import MemoryTransport

__all__ = [
    "Effect",
    "FakeClock",
    "MemoryTransport",
    "Request",
    "Response",
    "sign_callback",
]


def sign_callback(
    url: str,
    *,
    secret: str,
    token: str = "sandbox-callback-token",  # noqa: S107 - made up, and says so
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers that Aurpay sends with a callback to `url`.

    For tests of your own routes. (Source: "Callback Authentication Method".)

    Args:
        url: The whole URL as it was registered.
        secret: Callback secret; a made-up one.
        token: Callback token; a made-up one.
        now: When it is signed; aware. ``None`` is now.

    .. versionadded:: 0.1.0
    """
    moment = SystemClock().now() if now is None else now.astimezone(UTC)
    date = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    digest = hmac.digest(secret.encode(), f"{date} | {url}".encode(), "sha256")
    signature = b2a_base64(digest, newline=False).decode("ascii")
    return {"Callback-Token": token, "Date": date, "Signature": signature}


@final
class FakeClock:
    """A clock that moves only when it is told to, or slept on.

    Example:
        >>> clock = FakeClock(datetime(2024, 4, 28, 12, 52, tzinfo=UTC))
        >>> clock.advance(30)

    .. versionadded:: 0.1.0
    """

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Start at `now`, which must be aware."""
        if now.tzinfo is None:
            message = "now must be aware: add tzinfo=UTC"
            raise ValueError(message)
        self._now = now.astimezone(UTC)
        self._elapsed = 0.0
        #: The seconds of each sleep, in order.
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        """The time of day."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass, at once."""
        self.sleeps.append(seconds)
        self.advance(seconds)
