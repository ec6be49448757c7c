"""``python -m benchmarks [--quick]`` prints the whole table."""

from __future__ import annotations

import asyncio
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from aurpay_async import bolt11

from . import imports, invoices, orders, page, sandbox
from ._measure import write_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._measure import Figure, Row


def find_versions(*names: str) -> dict[str, str | None]:
    """Return the versions of packages; ``None`` for a missing one."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def print_rows(rows: Sequence[Row | Figure]) -> list[Row | Figure]:
    """Print rows as soon as they are measured."""
    for row in rows:
        print(row, flush=True)
    return [*rows]


def main() -> None:
    """Measure, print, and write the results."""
    quick = "--quick" in sys.argv
    facts: dict[str, object] = {
        "python": sys.version,
        "machine": platform.platform(),
        "curve": bolt11.backend(),
        "packages": find_versions(
            "aurpay-async",
            "aiohttp",
            "attrs",
            "cattrs",
            "wallycore",
            "coincurve",
            "bolt11",
            "pyln-proto",
        ),
    }
    print(f"{facts['python']}\n{facts['packages']}\n")
    rounds = 5 if quick else 40
    rows = print_rows(imports.compare(rounds))
    rows += print_rows(invoices.compare(rounds))
    rows += print_rows(asyncio.run(orders.compare(rounds)))
    rows += print_rows(asyncio.run(sandbox.measure_orders(rounds)))
    rows += print_rows(asyncio.run(sandbox.measure_lists(rounds)))
    rows += print_rows(sandbox.measure_start(rounds))
    rows += print_rows(page.measure_opening(rounds))
    count = 1000 if quick else 10_000
    growth = asyncio.run(orders.measure_growth(count))
    facts["growth_bytes"], facts["growth_orders"] = growth, count
    print(f"memory held after {count} more orders: {growth:+,.0f} bytes")
    print(f"\nwritten to {write_results(rows, facts)}")


if __name__ == "__main__":
    main()
