"""Contestants in turn, many short rounds, and the ratio within each round.

A machine's speed wanders by a factor of two within seconds. Contestants that take
turns of a few milliseconds see the same wandering, so the ratio of neighbours holds
still where the times do not.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

RESULTS = Path(__file__).parent / "results"


@attrs.frozen
class Row:
    """One line of the table."""

    what: str
    against: str
    ratio: float
    low: float
    high: float
    #: The number to hold, and whether it is a ceiling.
    hold: float
    ceiling: bool
    #: Microseconds, medians: of CPU, or of the clock where a server of its own works.
    ours_us: float
    theirs_us: float

    @property
    def holds(self) -> bool:
        """Whether the median keeps to the number."""
        return _keeps(self.ratio, self.hold, ceiling=self.ceiling)

    def __str__(self) -> str:
        return (
            f"{self.what:52} {self.against:22} "
            f"{self.ratio:8.2f}  [{self.low:.2f} .. {self.high:.2f}]  "
            f"{_verdict(self)} "
            f"{self.ours_us:9.1f} us against {self.theirs_us:9.1f} us"
        )


@attrs.frozen
class Figure:
    """A line that is no ratio: what people wait for, in seconds or for each second.

    It depends on the machine; the numbers to hold are for one with two processors.
    """

    what: str
    unit: str
    median: float
    low: float
    high: float
    #: As of a `Row`.
    hold: float
    ceiling: bool

    @property
    def holds(self) -> bool:
        """Whether the median keeps to the number."""
        return _keeps(self.median, self.hold, ceiling=self.ceiling)

    def __str__(self) -> str:
        return (
            f"{self.what:52} {self.unit:22} "
            f"{self.median:8.4g}  [{self.low:.4g} .. {self.high:.4g}]  {_verdict(self)}"
        )


def _keeps(value: float, hold: float, *, ceiling: bool) -> bool:
    return value <= hold if ceiling else value >= hold


def _verdict(line: Row | Figure) -> str:
    sign = "<=" if line.ceiling else ">="
    return f"{sign} {line.hold:<6g} {'holds' if line.holds else 'DOES NOT HOLD':14}"


def figure(
    what: str, unit: str, rounds: list[float], *, hold: float, ceiling: bool = True
) -> Figure:
    """The median and the quartiles of some rounds."""
    low, middle, high = statistics.quantiles(rounds, n=4)
    return Figure(
        what=what,
        unit=unit,
        median=middle,
        low=low,
        high=high,
        hold=hold,
        ceiling=ceiling,
    )


def row(
    what: str,
    against: str,
    ours: list[float],
    theirs: list[float],
    *,
    hold: float,
    ceiling: bool = True,
) -> Row:
    """The ratios of two contestants' rounds: median and quartiles.

    For a floor ("at least 50 times faster") the ratio is turned over.
    """
    pairs = zip(ours, theirs, strict=True)
    ratios = [a / b if ceiling else b / a for a, b in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Row(
        what=what,
        against=against,
        ratio=middle,
        low=low,
        high=high,
        hold=hold,
        ceiling=ceiling,
        ours_us=statistics.median(ours) * 1e6,
        theirs_us=statistics.median(theirs) * 1e6,
    )


def take_turns(
    contestants: dict[str, Callable[[], object]], *, rounds: int, calls: dict[str, int]
) -> dict[str, list[float]]:
    """Seconds of CPU per call, for each round of each contestant."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, call in shuffled(contestants, rounds):
        began = time.process_time()
        for _ in range(calls[name]):
            call()
        times[name].append((time.process_time() - began) / calls[name])
    return times


async def take_turns_async(
    contestants: dict[str, Callable[[int], Awaitable[None]]],
    *,
    rounds: int,
    calls: int,
) -> dict[str, list[float]]:
    """The same for coroutines that make a number of calls themselves."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, call in shuffled(contestants, rounds):
        began = time.process_time()
        await call(calls)
        times[name].append((time.process_time() - began) / calls)
    return times


def shuffled(contestants: dict[str, Any], rounds: int) -> list[tuple[str, Any]]:
    """Every contestant once a round, in changing order; the first round is extra."""
    order = random.Random(1)  # noqa: S311 - the same order in every run
    turns = []
    for _ in range(rounds):
        turns += order.sample(sorted(contestants.items()), len(contestants))
    return turns


def keep(rows: Sequence[Row | Figure], facts: dict[str, object]) -> Path:
    """Write a run to its file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    content = {**facts, "rows": [{**attrs.asdict(r), "holds": r.holds} for r in rows]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path
