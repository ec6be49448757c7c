"""Detect a wrong local clock as the cause of rejected signatures and invoices.

Signatures and invoices contain a time. If one is rejected and the local clock differs
from the ``Date`` of the response by minutes, the clock is the likely cause.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ._http import parse_http_date
from .errors import (
    APIError,
    NotFoundError,
    RateLimitedError,
    RequestOutcome,
    UntrustedOrderError,
)

if TYPE_CHECKING:
    from datetime import datetime

    from ._http import Request, Response
    from .errors import AurpayError

#: A smaller difference can be due to latency and caches.
_MIN_SKEW: Final = timedelta(minutes=2)

#: Up to this far behind the Date of a response, the local clock is not used.
_MAX_BEHIND: Final = timedelta(minutes=30)

#: Checks that compare times of an invoice with the local clock.
_TIME_CHECKS: Final = frozenset({"timestamp", "expiry"})


def time_of_response(response: Response, now: datetime) -> datetime:
    """Return the time to use when the invoice in a response is checked.

    To a local clock that is minutes behind, each new invoice has a timestamp in the
    future, and every order would be rejected. So the ``Date`` of the response is used.
    """
    date = parse_http_date(response.headers.get("date", ""))
    is_behind = date is not None and timedelta(0) < date - now <= _MAX_BEHIND
    return date if date is not None and is_behind else now


def diagnose_clock(
    error: AurpayError, request: Request, response: Response, now: datetime
) -> None:
    """Set `error.diagnosis` if the local clock may be the cause of the error."""
    if not _may_be_due_to_clock(error, request):
        return
    date = parse_http_date(response.headers.get("date", ""))
    if date is None or abs(now - date) < _MIN_SKEW:
        return
    skew = timedelta(seconds=round(abs(now - date).total_seconds()))
    direction = "ahead of" if now > date else "behind"
    error.diagnosis = (
        f"the local clock is {skew} {direction} the Date of the response, and "
        "signatures and invoices depend on it: synchronize it, for example with NTP"
    )


def _may_be_due_to_clock(error: AurpayError, request: Request) -> bool:
    if isinstance(error, UntrustedOrderError):
        return error.check in _TIME_CHECKS
    if not isinstance(error, APIError) or not request.progress.signed:
        return False
    explained = isinstance(error, NotFoundError | RateLimitedError)
    return error.outcome is RequestOutcome.REJECTED and not explained
