"""``python -m benchmarks [part ...] [--quick] [--sqlite] [--rows N]`` prints the table.

Without a part, all of them are measured. ``--quick`` shows that they run; its figures
mean nothing. ``--sqlite`` leaves PostgreSQL out; ``--rows`` is the number of rows in
the largest database; ``--docs`` writes the table into ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from aurpay_async import bolt11

from . import imports, invoices, orders, page, peers, sandbox, store, waiting
from ._measure import write_page, write_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._measure import Figure, Row

    Lines = Iterable[Row | Figure]

PACKAGES = (
    "aurpay-async",
    "aiohttp",
    "attrs",
    "cattrs",
    "sqlalchemy",
    "aiosqlite",
    "asyncpg",
    "wallycore",
    "coincurve",
    "bolt11",
    "pyln-proto",
    "stripe",
    "httpx",
    "slack-sdk",
    "openai",
    "aiosend",
)


def find_versions() -> dict[str, str | None]:
    """Return the versions of the packages; ``None`` for a missing one."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def measure_imports(options: argparse.Namespace) -> Lines:
    """Measure the import of the package."""
    yield from imports.compare(2 if options.quick else 40)


def measure_orders(options: argparse.Namespace) -> Lines:
    """Measure creating an order, decoding its invoice, and the memory of both."""
    rounds = 2 if options.quick else 40
    yield from invoices.compare(rounds)
    yield from asyncio.run(orders.compare(rounds, 64 if options.quick else 320))
    if not options.quick:
        yield from asyncio.run(orders.measure_growth(10_000))


def measure_peers(options: argparse.Namespace) -> Lines:
    """Measure other SDKs."""
    yield from asyncio.run(peers.compare(2 if options.quick else 12))


def measure_store(options: argparse.Namespace) -> Lines:
    """Measure order store and inbox on SQLite and PostgreSQL."""
    largest = 2_000 if options.quick else options.rows
    yield from store.compare(
        largest, quick=options.quick, postgresql=not options.sqlite
    )


def measure_waiting(options: argparse.Namespace) -> Lines:
    """Measure sales while many orders are waited for."""
    count, seconds = (60, 1.0) if options.quick else (10_000, 20.0)
    yield from asyncio.run(waiting.compare(count, seconds))


def measure_sandbox(options: argparse.Namespace) -> Lines:
    """Measure the sandbox and its checkout page."""
    rounds = 2 if options.quick else 40
    many = 2_000 if options.quick else sandbox.MANY
    yield from asyncio.run(sandbox.measure_orders(rounds))
    yield from asyncio.run(sandbox.measure_lists(rounds, many))
    if not options.quick:
        yield from sandbox.measure_start(rounds)
        yield from page.measure_opening(rounds)


PARTS: dict[str, Callable[[argparse.Namespace], Lines]] = {
    "imports": measure_imports,
    "orders": measure_orders,
    "peers": measure_peers,
    "store": measure_store,
    "waiting": measure_waiting,
    "sandbox": measure_sandbox,
}


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    facts: dict[str, object] = {
        "date": time.strftime("%Y-%m-%d"),
        "python": sys.version,
        "machine": f"{os.cpu_count()} processors, {platform.platform()}",
        "curve": bolt11.backend(),
        "packages": find_versions(),
    }
    print(*(f"{name}: {fact}" for name, fact in facts.items()), "", sep="\n")
    rows: list[Row | Figure] = []
    for part in options.parts or PARTS:
        began = time.perf_counter()
        for row in PARTS[part](options):
            print(row, flush=True)
            rows.append(row)
        print(f"-- {part}: {time.perf_counter() - began:.0f} s\n", flush=True)
    print(f"written to {write_results(rows, facts)}")
    if options.docs:
        write_page(rows, facts)


if __name__ == "__main__":
    main()
