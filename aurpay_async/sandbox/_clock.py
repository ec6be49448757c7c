"""The sandbox's clock, and a function that advances any clock that allows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, cast, final

from .._clock import SystemClock
from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from .._clock import Clock
    from ._kept import Storage

#: The largest step: a year is more than tests need, and stops a wrong unit.
MAX_ADVANCE_S: Final = 365 * 86_400

#: The 35 bits of a timestamp in BOLT #11 end in the year 3058.
_END: Final = datetime(3000, 1, 1, tzinfo=UTC)


class ClockError(Exception):
    """Raised with the reason why a clock cannot be advanced."""


class _Movable(Protocol):
    def advance(self, seconds: float, /) -> None: ...


@final
class SandboxClock:
    """The time of this machine, or a fixed time; `advance` moves either.

    `sleep` waits in real time, and does not move a fixed clock.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Follow the time of this machine, or stand still at `start` (aware)."""
        self._machine = SystemClock()
        self._start = None if start is None else start.astimezone(UTC)
        self._advanced_s = 0.0
        self._storage: Storage | None = None

    @property
    def stands_still(self) -> bool:
        """Return whether only `advance` moves the clock."""
        return self._start is not None

    def now(self) -> datetime:
        """Return the time; aware, UTC."""
        started = self._machine.now() if self._start is None else self._start
        return started + timedelta(seconds=self._advanced_s)

    def monotonic(self) -> float:
        """Return seconds that never decrease."""
        began = self._machine.monotonic() if self._start is None else 0.0
        return began + self._advanced_s

    async def sleep(self, seconds: float) -> None:
        """Wait this many real seconds."""
        await self._machine.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        advanced_s = self._advanced_s + seconds
        if self._storage is not None:
            self._storage.put("clock", "advanced_s", advanced_s)
        self._advanced_s = advanced_s

    def attach(self, storage: Storage) -> None:
        """Restore the stored offset, and store each change from now on."""
        for _, advanced_s in storage.read("clock"):
            self._advanced_s += cast("float", advanced_s)
        self._storage = storage


def advance(clock: Clock, seconds: float) -> None:
    """Move a clock of any type forward.

    Raises:
        InvalidRequestError: if `seconds` is not 0 to a year.
        ClockError: if this clock cannot be advanced, or not so far.
    """
    if not 0 <= seconds <= MAX_ADVANCE_S:
        raise InvalidRequestError(
            f"must be 0 to {MAX_ADVANCE_S} seconds", field="advance_s"
        )
    if not callable(getattr(clock, "advance", None)):
        raise ClockError("the clock of this sandbox has no advance() method")
    if _END - clock.now() <= timedelta(seconds=seconds):
        raise ClockError(f"the clock ends with the year {_END.year - 1}")
    cast("_Movable", clock).advance(seconds)
