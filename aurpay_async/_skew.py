"""Tell a clock that is wrong from credentials or invoices that are.

Signatures cover the time, and invoices have one. Where they are rejected and the local
clock differs from the ``Date`` of the answer by minutes, that is the likely cause.
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

#: Less is in the time that an answer takes, and in the caches that it passes.
_MIN_SKEW: Final = timedelta(minutes=2)

#: A local clock that is behind the Date of an answer by up to this is not trusted.
_MAX_BEHIND: Final = timedelta(minutes=30)

#: Checks of an invoice that compare its times with the local clock.
_CHECKS_OF_TIME: Final = frozenset({"timestamp", "expiry"})


def time_of_response(response: Response, now: datetime) -> datetime:
    """Return the time by which to check the invoice in an answer.

    A local clock that is minutes behind would see each new invoice come from the
    future, and reject order after order. The ``Date`` of the very answer tells better.
    """
    date = parse_http_date(response.headers.get("date", ""))
    is_behind = date is not None and timedelta(0) < date - now <= _MAX_BEHIND
    return date if date is not None and is_behind else now


def diagnose_clock(
    error: AurpayError, request: Request, response: Response, now: datetime
) -> None:
    """Say on `error` that the local clock may be its cause, if it differs."""
    if not _may_be_of_clock(error, request):
        return
    date = parse_http_date(response.headers.get("date", ""))
    if date is None or abs(now - date) < _MIN_SKEW:
        return
    skew = timedelta(seconds=round(abs(now - date).total_seconds()))
    side = "ahead of" if now > date else "behind"
    error.diagnosis = (
        f"the local clock is {skew} {side} the Date of the answer, and signatures and "
        "invoices depend on it: set the clock, best by NTP"
    )


def _may_be_of_clock(error: AurpayError, request: Request) -> bool:
    if isinstance(error, UntrustedOrderError):
        return error.check in _CHECKS_OF_TIME
    if not isinstance(error, APIError) or not request.progress.signed:
        return False
    explained = isinstance(error, NotFoundError | RateLimitedError)
    return error.outcome is RequestOutcome.REJECTED and not explained
