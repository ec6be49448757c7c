"""``python -m benchmarks [--quick]``: the whole table."""

from __future__ import annotations

import asyncio
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from aurpay_async import bolt11

from . import imports, invoices, orders, page, sandbox
from ._measure import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._measure import Figure, Row


def installed(*names: str) -> dict[str, str | None]:
    """The versions of packages, of those that are there."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def say(rows: Sequence[Row | Figure]) -> list[Row | Figure]:
    """Print rows as they come."""
    for row in rows:
        print(row, flush=True)
    return [*rows]


def main() -> None:
    """Measure, print, and write down."""
    quick = "--quick" in sys.argv
    facts: dict[str, object] = {
        "python": sys.version,
        "machine": platform.platform(),
        "curve": bolt11.backend(),
        "packages": installed(
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
    rows = say(imports.compare(rounds))
    rows += say(invoices.compare(rounds))
    rows += say(asyncio.run(orders.compare(rounds)))
    rows += say(asyncio.run(sandbox.orders(rounds)))
    rows += say(sandbox.starts(rounds))
    rows += say(page.opens(rounds))
    count = 1000 if quick else 10_000
    grown = asyncio.run(orders.growth(count))
    facts["growth_bytes"], facts["growth_orders"] = grown, count
    print(f"memory held after {count} more orders: {grown:+,.0f} bytes")
    print(f"\nwritten to {keep(rows, facts)}")


if __name__ == "__main__":
    main()
