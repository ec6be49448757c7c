"""Format times, durations and amounts for people."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Final

_MSAT_PER_SATOSHI: Final = 1000
_UNITS: Final = (
    ("day", 86_400),
    ("hour", 3600),
    ("minute", 60),
)
#: From two of a unit on, smaller units are left out.
_MIN_COUNT: Final = 2

#: Independent of the decimal context of the process.
_BTC_CONTEXT: Final = Context(prec=50)


def moment(time: datetime | None) -> str:
    """Return a UTC time for people."""
    return "unknown" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def iso(time: datetime | None) -> str | None:
    """Return a UTC time for programs."""
    return None if time is None else time.isoformat()


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time; without a zone it is UTC.

    Raises:
        ValueError: if it is not a time.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def span(seconds: float) -> str:
    """Return a duration in its largest unit."""
    for unit, length in _UNITS:
        if seconds >= _MIN_COUNT * length:
            return f"{seconds // length:,.0f} {unit}s"
    count = f"{seconds:.0f}"
    return f"{count} second" if count == "1" else f"{count} seconds"


def distance(time: datetime, now: datetime) -> str:
    """Return how long ago a time was, or in how long it will be."""
    seconds = (time - now).total_seconds()
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(-seconds)} ago"


def countdown(seconds: float) -> str:
    """Return the minutes and seconds that are left, at least 0:00."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes}:{rest:02}"


def msat_to_btc(msat: int) -> Decimal:
    """Convert millisatoshi to BTC exactly, without trailing zeros."""
    return _BTC_CONTEXT.normalize(_BTC_CONTEXT.scaleb(Decimal(msat), -11))


def amount(msat: int) -> str:
    """Return an amount in BTC and, if it is whole, in satoshi."""
    btc = msat_to_btc(msat)
    satoshi, rest = divmod(msat, _MSAT_PER_SATOSHI)
    return f"{btc:f} BTC ({msat:,} msat)" if rest else f"{btc:f} BTC ({satoshi:,} sat)"
