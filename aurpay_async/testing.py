"""A fake clock, an in-memory transport and signed callbacks, for tests."""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, final

from ._core.clock import SystemClock
from ._core.http import Effect, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Response | Exception | Callable[[Request], Response]


@final
class MemoryTransport:
    """Return the given answers, one for each request, and record the requests.

    Example:
        >>> transport = MemoryTransport(Response(status=503), ConnectError("down"))

    Args:
        answers: A `Response` to return, an exception to raise, or a function that is
            called with the request and does either.
    """

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        #: The requests, in order, with authentication headers.
        self.requests: list[Request] = []

    async def send(self, request: Request) -> Response:
        """Return or raise the next answer.

        Raises:
            AssertionError: if there is no answer left.
        """
        self.requests.append(request)
        if not self._answers:
            message = f"request {len(self.requests)} has no answer: {request!r}"
            raise AssertionError(message)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


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
    token: str = "sandbox-callback-token",  # noqa: S107 - not a real token
    now: datetime | None = None,
) -> dict[str, str]:
    """Return the headers that Aurpay sends with a callback to `url`.

    For tests of your own routes. (Source: "Callback Authentication Method".)

    Args:
        url: The complete URL as it was registered.
        secret: The callback secret of your test.
        token: The callback token of your test.
        now: Time of the signature, aware; ``None`` for the current time.
    """
    moment = SystemClock().now() if now is None else now.astimezone(UTC)
    date = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    digest = hmac.digest(secret.encode(), f"{date} | {url}".encode(), "sha256")
    signature = b2a_base64(digest, newline=False).decode("ascii")
    return {"Callback-Token": token, "Date": date, "Signature": signature}


@final
class FakeClock:
    """A clock that moves only by `advance`, and by the sleeps of a call.

    A call that waits between two attempts or two polls moves the clock, and goes on at
    once. The pauses of `OrderStore.run` do not move it: the next run starts when the
    test has advanced the clock far enough.

    Example:
        >>> clock = FakeClock(datetime(2024, 4, 28, 12, 52, tzinfo=UTC))
        >>> clock.advance(30)
    """

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Start at `now`, which must be aware."""
        if now.tzinfo is None:
            message = "now must be aware: add tzinfo=UTC"
            raise ValueError(message)
        self._now = now.astimezone(UTC)
        self._elapsed = 0.0
        #: Seconds of each sleep, in order.
        self.sleeps: list[float] = []
        self._wakers: list[Callable[[], object]] = []

    def now(self) -> datetime:
        """Return the time of day."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds since the clock was created."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now += timedelta(seconds=seconds)
        self._elapsed += seconds
        for wake in [*self._wakers]:
            wake()

    async def sleep(self, seconds: float) -> None:
        """Move the clock forward and return at once."""
        self.sleeps.append(seconds)
        self.advance(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait until the clock has moved forward this far, also by another thread."""
        import asyncio

        end, moved = self._elapsed + seconds, asyncio.Event()
        # A test client may run the application on an event loop of its own.
        loop = asyncio.get_running_loop()
        wake = partial(loop.call_soon_threadsafe, moved.set)
        self._wakers.append(wake)
        try:
            while self._elapsed < end:
                moved.clear()
                await moved.wait()
        finally:
            self._wakers.remove(wake)
