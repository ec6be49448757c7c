"""Report requests and callbacks to a subscriber as they happen.

A report contains no secret: headers, bodies and queries are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, final

import attrs

from .._urls import without_query

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .._clock import Clock
    from ._courier import SentCallback

_OK_STATUS: Final = 200


@attrs.frozen(kw_only=True)
class Activity:
    """A request that was answered, or a callback that was sent."""

    #: Aware, UTC.
    at: datetime
    kind: Literal["request", "callback"]
    method: str
    #: The path of a request, or the URL of a callback; without a query.
    target: str
    #: The order of a callback.
    order_id: str | None = None
    #: The outcome in a few words.
    result: str
    is_ok: bool


@final
class ActivityFeed:
    """Pass reports on to a subscriber, if there is one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._subscriber: Callable[[Activity], None] | None = None

    def subscribe(self, subscriber: Callable[[Activity], None]) -> None:
        """Report to `subscriber` from now on; it must not raise."""
        self._subscriber = subscriber

    def report_request(self, method: str, path: str, problem: str | None) -> None:
        """Report a request.

        Args:
            method: The HTTP method.
            path: The path with its query, which is left out of the report.
            problem: The fault, or why it was rejected; ``None`` if it was served.
        """
        if self._subscriber is not None:
            self._subscriber(
                Activity(
                    at=self._clock.now(),
                    kind="request",
                    method=method,
                    target=path.partition("?")[0],
                    result=problem or "ok",
                    is_ok=problem is None,
                )
            )

    def report_callback(self, sent: SentCallback) -> None:
        """Report an attempt to deliver a callback."""
        if self._subscriber is not None:
            self._subscriber(
                Activity(
                    at=sent.sent_at,
                    kind="callback",
                    method=sent.method,
                    target=without_query(sent.url),
                    order_id=sent.order_id,
                    result=sent.error or f"{sent.kind}: {sent.status}",
                    is_ok=sent.status == _OK_STATUS,
                )
            )
