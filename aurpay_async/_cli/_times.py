"""Times and amounts as people write them."""

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
#: After two of a unit, the smaller ones say nothing.
_ENOUGH: Final = 2

#: Of its own, whatever the process has set.
_EXACT: Final = Context(prec=50)


def moment(time: datetime | None) -> str:
    """A time in UTC, for people."""
    return "unknown" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def iso(time: datetime | None) -> str | None:
    """A time in UTC, for programs."""
    return None if time is None else time.isoformat()


def parse_time(text: str) -> datetime:
    """A time as ISO 8601 writes it; without a zone, of UTC.

    Raises:
        ValueError: if it is none.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def span(seconds: float) -> str:
    """How long, in its largest unit."""
    for unit, length in _UNITS:
        if seconds >= _ENOUGH * length:
            return f"{seconds // length:,.0f} {unit}s"
    count = f"{seconds:.0f}"
    return f"{count} second" if count == "1" else f"{count} seconds"


def distance(time: datetime, now: datetime) -> str:
    """How far a time is from now."""
    seconds = (time - now).total_seconds()
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(-seconds)} ago"


def countdown(seconds: float) -> str:
    """Minutes and seconds that are left; none are left afterwards."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes}:{rest:02}"


def msat_to_btc(msat: int) -> Decimal:
    """Millisatoshi in BTC, exactly, with no more digits than that needs."""
    return _EXACT.normalize(_EXACT.scaleb(Decimal(msat), -11))


def amount(msat: int) -> str:
    """Millisatoshi, for people: in BTC, and in satoshi if these are whole."""
    btc = msat_to_btc(msat)
    satoshi, rest = divmod(msat, _MSAT_PER_SATOSHI)
    return f"{btc:f} BTC ({msat:,} msat)" if rest else f"{btc:f} BTC ({satoshi:,} sat)"
