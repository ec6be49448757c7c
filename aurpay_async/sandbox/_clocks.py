"""The sandbox's own clock, and how clocks are moved on from outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, cast, final

from .._clock import SystemClock
from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from .._clock import Clock
    from ._kept import Journal

#: How far a clock goes in one step; more than any test needs, and less than a slip.
MAX_ADVANCE_S: Final = 365 * 86_400

#: BOLT #11 has 35 bits for a timestamp: they end in the year 3058.
_END: Final = datetime(3000, 1, 1, tzinfo=UTC)


class ClockError(Exception):
    """A clock that goes no further, for this reason."""


class _Movable(Protocol):
    def advance(self, seconds: float, /) -> None: ...


@final
class SandboxClock:
    """The machine's time, or one that stands still; it goes on when it is told to.

    To sleep is to wait in either: a pause is real, and moves nothing.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """The machine's time, or stand still at `start`, which must be aware."""
        self._machine = SystemClock()
        self._start = None if start is None else start.astimezone(UTC)
        self._advanced_s = 0.0
        self._journal: Journal | None = None

    @property
    def stands_still(self) -> bool:
        """Whether it only moves when it is told to."""
        return self._start is not None

    def now(self) -> datetime:
        """The time of day."""
        started = self._machine.now() if self._start is None else self._start
        return started + timedelta(seconds=self._advanced_s)

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        began = self._machine.monotonic() if self._start is None else 0.0
        return began + self._advanced_s

    async def sleep(self, seconds: float) -> None:
        """Return after that many real seconds."""
        await self._machine.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        advanced_s = self._advanced_s + seconds
        if self._journal is not None:
            self._journal.put("clock", "advanced_s", advanced_s)
        self._advanced_s = advanced_s

    def keep(self, journal: Journal) -> None:
        """Go on from where it was, and say so from now on."""
        for _, advanced_s in journal.read("clock"):
            self._advanced_s += cast("float", advanced_s)
        self._journal = journal


def advance(clock: Clock, seconds: float) -> None:
    """Let time pass on a clock of any make.

    Raises:
        InvalidRequestError: if it is not 0 seconds to a year.
        ClockError: if this clock cannot be moved, or not so far.
    """
    if not 0 <= seconds <= MAX_ADVANCE_S:
        raise InvalidRequestError(
            f"must be 0 to {MAX_ADVANCE_S} seconds", field="advance_s"
        )
    if not callable(getattr(clock, "advance", None)):
        raise ClockError("this sandbox was given a clock that cannot be moved")
    if _END - clock.now() <= timedelta(seconds=seconds):
        raise ClockError(f"the clock ends with the year {_END.year - 1}")
    cast("_Movable", clock).advance(seconds)
