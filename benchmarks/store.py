"""Order store and inbox: round trips, growth with the rows, plans, and contention.

Aurpay is in memory, so the times are those of the database and of this package. The
rows that fill a database are paid orders without their `order_json`.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import event, text

from aurpay_async.callbacks import Claim
from aurpay_async.callbacks._identity import Reference
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.orders import OrderStore
from tests.db.silence import proxied
from tests.orders.plans import reads_a_table
from tests.support.postgresql import find_programs, running

from ._aurpay import ReadyAurpay
from ._measure import make_figure, make_row, shuffle
from ._processes import environment_with_bytecode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ._measure import Figure, Row

#: Rows of the small database, and of one in the middle.
FEW, SOME = 1_000, 100_000

#: Seconds after which no further round begins, and the rounds that are always made.
LIMIT_S, FEWEST_ROUNDS = 45.0, 8

#: Columns that are distinct in each row, by table.
DISTINCT: Final = {
    "aurpay_references": ("reference", "paid_attempt_id"),
    "aurpay_attempts": ("attempt_id", "reference", "order_id", "payment_hash"),
    "aurpay_callbacks": ("key",),
}

#: The limits of round trips on PostgreSQL.
ROUND_TRIPS: Final = {
    "get_or_create": 11,
    "record of a payment": 6,
    "lookup": 1,
    "claim and confirm": 2,
}


class Crowd(NamedTuple):
    """The size of the measurement of contention."""

    rounds: int
    processes: int
    #: Workers of each process.
    workers: int
    #: Orders of each worker.
    orders: int


CROWD: Final = Crowd(rounds=5, processes=4, workers=16, orders=8)


class Shop:
    """An order store and an inbox on one database, and the operations of a shop."""

    def __init__(self, aurpay: ReadyAurpay, store: OrderStore, inbox: SqlInbox) -> None:
        self._aurpay = aurpay
        self.store = store
        self._inbox = inbox
        self._order_id = self._reference = ""
        self._token: Reference | None = None

    def operations(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """Return the operations by name, in the order of an order's life."""
        return {
            "get_or_create": self.create,
            "get_or_create, existing": self.get,
            "lookup": self.look_up,
            "claim and confirm": self.claim,
            "record of a payment": self.record,
            "record, repeated": self.record,
            "attempts": lambda: self.store.attempts(self._reference),
            "duplicate_payments": self.store.duplicate_payments,
            "needs_review": self.store.needs_review,
            "list_attempts": self.store.list_attempts,
            "reconcile": self.store.reconcile,
            "prune": self.store.prune,
            "prune of the inbox": self._inbox.prune,
        }

    async def create(self) -> None:
        """Create an order for a new reference, which is paid at once."""
        self._reference = os.urandom(8).hex()
        order = await self.store.get_or_create(self._reference, "20.00", "USD")
        self._order_id = order.order_id
        assert order.attempt_id is not None
        self._token = Reference(
            reference=self._reference,
            price=order.price,
            currency=order.currency,
            kind="paid",
            attempt_id=order.attempt_id,
        )

    async def get(self) -> None:
        """Return the order again."""
        await self.store.get_or_create(self._reference, "20.00", "USD")

    async def look_up(self) -> None:
        """Find the order of a callback."""
        assert self._token is not None
        assert await self.store.lookup(self._token) is not None

    async def claim(self) -> None:
        """Claim a callback, and confirm it."""
        claim = await self._inbox.claim(os.urandom(12).hex(), "paid")
        assert isinstance(claim, Claim)
        await self._inbox.confirm(claim, "paid")

    async def record(self) -> None:
        """Record the payment of the order."""
        self._aurpay.paid.add(self._order_id)
        await self.store.record(order_id=self._order_id)


async def open_shop(stack: AsyncExitStack, url: str, orders: int) -> Shop:
    """Return a shop with one paid order in its database."""
    aurpay = ReadyAurpay(orders + 1)
    client = await stack.enter_async_context(aurpay.client())
    store = await stack.enter_async_context(OrderStore(client, url))
    inbox = await stack.enter_async_context(SqlInbox(url))
    await store.upgrade()
    shop = Shop(aurpay, store, inbox)
    for operation in shop.operations().values():
        await operation()
    return shop


async def fill(engine: AsyncEngine, rows: int) -> None:
    """Copy the row of each table."""
    async with engine.begin() as connection:
        for table, distinct in DISTINCT.items():
            found = await connection.execute(text(f"SELECT * FROM {table} LIMIT 1"))  # noqa: S608
            values = [
                f"{name} || '-' || i"
                if name in distinct
                else "NULL"
                if name == "order_json"
                else name
                for name in found.keys()  # noqa: SIM118 - a result is no mapping
            ]
            columns = ", ".join(found.keys())
            await connection.execute(
                text(
                    f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "  # noqa: S608
                    f"WHERE i < {rows}) INSERT INTO {table} ({columns}) "
                    f"SELECT {', '.join(values)} FROM n, "
                    f"(SELECT * FROM {table} LIMIT 1) AS template"
                )
            )
    if engine.dialect.name == "sqlite":
        return  # it has no statistics unless its owner asks for them
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE"))


async def measure_growth(
    kind: str, new_database: Callable[[], str], largest: int, rounds: int
) -> list[Row | Figure]:
    """Measure each operation with many rows against few, and explain its statements."""
    sizes = {f"{rows:,}": rows for rows in sorted({FEW, min(SOME, largest), largest})}
    async with AsyncExitStack() as stack:
        shops: dict[str, Shop] = {}
        for name, rows in sizes.items():
            shops[name] = await open_shop(stack, new_database(), rounds + 2)
            began = time.perf_counter()
            await fill(shops[name].store.engine, rows)
            print(f"   {kind}: {name} rows in {time.perf_counter() - began:.0f} s")
        times = await _measure_rounds(shops, rounds)
        few, many = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        scans = await explain(kind, shops[many])
    lines: list[Row | Figure] = [
        make_row(
            f"{kind}, {operation}, {name} rows",
            f"{few} rows",
            by_size[name][1:],
            by_size[few][1:],
            hold=1.3 if name == many else None,
        )
        for operation, by_size in times.items()
        for name in list(shops)[1:]
    ]
    return [*lines, scans]


async def _measure_rounds(
    shops: dict[str, Shop], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each round, by operation and shop."""
    times: dict[str, dict[str, list[float]]] = {}
    end = time.perf_counter() + LIMIT_S
    for number in range(rounds + 1):
        if number > FEWEST_ROUNDS and time.perf_counter() > end:
            break
        for name, shop in shuffle(shops, 1):
            for operation, run in shop.operations().items():
                began = time.perf_counter()
                await run()
                taken = times.setdefault(operation, {}).setdefault(name, [])
                taken.append(time.perf_counter() - began)
    return times


async def explain(kind: str, shop: Shop) -> Figure:
    """Count the statements of all operations that read a whole table by their plan."""
    sent: dict[str, Any] = {}

    def keep(*arguments: Any) -> None:
        statement, parameters = arguments[2:4]
        if statement.split()[0] in {"SELECT", "UPDATE", "DELETE"}:
            sent[statement] = parameters

    engine = shop.store.engine
    event.listen(engine.sync_engine, "before_cursor_execute", keep)
    for operation in shop.operations().values():
        await operation()
    event.remove(engine.sync_engine, "before_cursor_execute", keep)
    scans = 0
    is_sqlite = engine.dialect.name == "sqlite"
    async with engine.connect() as connection:
        for statement, parameters in sent.items():
            if " aurpay_" not in statement:
                continue
            prefix = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
            raw = await connection.exec_driver_sql(
                f"{prefix} {statement}", tuple(parameters)
            )
            plan = "\n".join(str(row[-1]) for row in raw)
            if reads_a_table(statement, plan):
                scans += 1
                print(f"   {kind}: a whole table is read by: {statement}\n{plan}")
    what = f"{kind}, statements that read a whole table, of {len(sent)}"
    return make_figure(what, "statements", [float(scans)] * 2, hold=0)


async def count_round_trips(url: str) -> list[Figure]:
    """Count the round trips of the operations on connections that are in use."""
    counts: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxied(url))
        shop = await open_shop(stack, proxy.url, 10)
        for _ in range(8):
            for name, run in shop.operations().items():
                proxy.round_trips = 0
                await run()
                counts.setdefault(name, []).append(float(proxy.round_trips))
    return [
        make_figure(
            f"PostgreSQL, {name}", "round trips", taken[2:], hold=ROUND_TRIPS.get(name)
        )
        for name, taken in counts.items()
    ]


def measure_contention(kind: str, url: str, crowd: Crowd) -> Row:
    """Measure the p95 of the calls of many workers against that of a single worker."""
    rounds, processes, workers, orders = crowd
    alone: list[float] = []
    together: list[float] = []
    for _ in range(rounds):
        alone.append(_p95(run_contenders(url, 1, 1, orders * 16)))
        together.append(_p95(run_contenders(url, processes, workers, orders)))
    what = f"{kind}, get_or_create, p95, {processes} processes x {workers} workers"
    hold = 20 if kind == "SQLite" else None
    return make_row(what, "one worker", together, alone, hold=hold)


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def run_contenders(url: str, processes: int, workers: int, each: int) -> list[float]:
    """Return the seconds of all calls of all processes, which begin at once."""
    command = [sys.executable, "-m", "benchmarks._contender", url]
    command += [str(workers), str(each)]
    started = [
        subprocess.Popen(  # noqa: S603
            command,
            env=environment_with_bytecode(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in started]
    return [seconds for output in outputs for seconds in json.loads(output)]


@contextmanager
def sqlite_databases() -> Generator[Callable[[], str]]:
    """Yield a function that returns the URL of a new file."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(100))
        yield lambda: f"sqlite+aiosqlite:///{Path(folder) / str(next(numbers))}.db"


def compare(largest: int, *, quick: bool, postgresql: bool) -> Iterator[Row | Figure]:
    """Measure SQLite, and PostgreSQL where it is installed."""
    rounds = 2 if quick else 40
    crowd = Crowd(2, 2, 2, 1) if quick else CROWD
    with sqlite_databases() as new_database:
        yield from asyncio.run(measure_growth("SQLite", new_database, largest, rounds))
        yield measure_contention("SQLite", _migrated(new_database()), crowd)
    programs = find_programs() if postgresql else None
    if programs is None:
        print("without PostgreSQL: not wanted, or its programs are not installed")
        return
    with running(programs) as server:
        yield from asyncio.run(count_round_trips(server.new_database()))
        yield from asyncio.run(
            measure_growth("PostgreSQL", server.new_database, largest, rounds)
        )
        yield measure_contention("PostgreSQL", _migrated(server.new_database()), crowd)


def _migrated(url: str) -> str:
    async def migrate() -> None:
        async with ReadyAurpay(0).client() as client, OrderStore(client, url) as store:
            await store.upgrade()

    asyncio.run(migrate())
    return url
