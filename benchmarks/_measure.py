"""Measure contestants in turn, in many short rounds, and compare within each round.

The speed of a machine changes by a factor of two within seconds. Contestants that
alternate every few milliseconds run at the same speed, so their ratio is stable while
the times are not.
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
    """A line of the table: a ratio."""

    what: str
    against: str
    ratio: float
    low: float
    high: float
    #: The limit, or None; and whether it is an upper one.
    hold: float | None
    ceiling: bool
    #: Medians in microseconds: CPU time, or wall time if a server process is involved.
    ours_us: float
    theirs_us: float

    @property
    def holds(self) -> bool:
        """Return whether the median is within the limit."""
        return _is_within(self.ratio, self.hold, ceiling=self.ceiling)

    def __str__(self) -> str:
        return (
            f"{self.what:52} {self.against:22} "
            f"{self.ratio:8.2f}  [{self.low:.2f} .. {self.high:.2f}]  "
            f"{_result(self)} "
            f"{self.ours_us:9.1f} us against {self.theirs_us:9.1f} us"
        )


@attrs.frozen
class Figure:
    """A line of the table: an absolute time or rate, such as seconds until ready.

    It depends on the machine; the limits are for one with two processors.
    """

    what: str
    unit: str
    median: float
    low: float
    high: float
    #: As in `Row`.
    hold: float | None
    ceiling: bool

    @property
    def holds(self) -> bool:
        """Return whether the median is within the limit."""
        return _is_within(self.median, self.hold, ceiling=self.ceiling)

    def __str__(self) -> str:
        return (
            f"{self.what:52} {self.unit:22} "
            f"{self.median:8.4g}  [{self.low:.4g} .. {self.high:.4g}]  {_result(self)}"
        )


def _is_within(value: float, hold: float | None, *, ceiling: bool) -> bool:
    if hold is None:
        return True
    return value <= hold if ceiling else value >= hold


def _result(line: Row | Figure) -> str:
    if line.hold is None:
        return " " * 24
    sign = "<=" if line.ceiling else ">="
    return f"{sign} {line.hold:<6g} {'holds' if line.holds else 'DOES NOT HOLD':14}"


def make_figure(
    what: str,
    unit: str,
    rounds: list[float],
    *,
    hold: float | None,
    ceiling: bool = True,
) -> Figure:
    """Return the median and the quartiles of the rounds."""
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


def make_row(
    what: str,
    against: str,
    ours: list[float],
    theirs: list[float],
    *,
    hold: float | None,
    ceiling: bool = True,
) -> Row:
    """Return the ratios of two contestants' rounds: median and quartiles.

    For a lower limit ("at least 50 times faster") the ratio is inverted.
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


def measure_in_turns(
    contestants: dict[str, Callable[[], object]], *, rounds: int, calls: dict[str, int]
) -> dict[str, list[float]]:
    """Return CPU seconds per call, for each round of each contestant."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, call in shuffle(contestants, rounds):
        began = time.process_time()
        for _ in range(calls[name]):
            call()
        times[name].append((time.process_time() - began) / calls[name])
    return times


async def measure_in_turns_async(
    contestants: dict[str, Callable[[int], Awaitable[None]]],
    *,
    rounds: int,
    calls: int,
) -> dict[str, list[float]]:
    """Return CPU seconds per call of coroutines that make a number of calls."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for name, call in shuffle(contestants, rounds):
        began = time.process_time()
        await call(calls)
        times[name].append((time.process_time() - began) / calls)
    return times


def shuffle(contestants: dict[str, Any], rounds: int) -> list[tuple[str, Any]]:
    """Return each contestant once per round, in changing order."""
    order = random.Random(1)  # noqa: S311 - the same order in every run
    schedule = []
    for _ in range(rounds):
        schedule += order.sample(sorted(contestants.items()), len(contestants))
    return schedule


#: The page of the documentation, and the line that its results follow.
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MARK = "<!-- results: written by python -m benchmarks --docs -->\n"


def write_page(rows: Sequence[Row | Figure], facts: dict[str, Any]) -> None:
    """Replace the results in the documentation."""
    python = facts["python"].split()[0]
    versions = ", ".join(
        f"{name} {version}" for name, version in facts["packages"].items() if version
    )
    lines = [
        f"Measured on {facts['date']}, with Python {python} on {facts['machine']}.",
        f"Packages: {versions}.",
        "",
        "| what | against, or unit | median | quartiles | limit |",
        "|---|---|--:|--:|--:|",
        *(_table_line(row) for row in rows),
    ]
    text = PAGE.read_text(encoding="utf-8")
    above = text[: text.index(MARK) + len(MARK)]
    PAGE.write_text(above + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _table_line(line: Row | Figure) -> str:
    if isinstance(line, Row):
        median, unit = line.ratio, f"against {line.against}"
    else:
        median, unit = line.median, line.unit
    sign = "≤" if line.ceiling else "≥"
    limit = "" if line.hold is None else f"{sign} {line.hold:g}"
    if not line.holds:
        limit += ", exceeded" if line.ceiling else ", missed"
    return (
        f"| {line.what} | {unit} | {median:.3g} | {line.low:.3g} to {line.high:.3g} "
        f"| {limit} |"
    )


def write_results(rows: Sequence[Row | Figure], facts: dict[str, object]) -> Path:
    """Write the results to a file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    content = {**facts, "rows": [{**attrs.asdict(r), "holds": r.holds} for r in rows]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path
