"""Several processes that crash at any moment: each payment takes effect once."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import signal
import subprocess
import sys
import traceback
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

import attrs
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from aurpay_async.callbacks._identity import Claim, Taken
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import ClaimExpiredError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aurpay_async.callbacks._identity import Kind

PAYMENTS = 100
#: The callbacks for each payment, in any order and concurrently.
DELIVERIES: tuple[Kind, ...] = ("timeout", "paid", "paid", "paid", "paid")
PROCESSES = 3
#: Concurrent deliveries of one process.
AT_ONCE = 4
LEASE = timedelta(milliseconds=200)

#: The points where a process is killed, and the largest number of passages before it.
POINTS = {
    "before the claim": 20,
    "claimed": 3,
    "before the effect": 3,
    "after the effect": 3,
    "confirmed": 3,
    "committed": 3,
}
#: The number of processes that are killed; their successors are not.
KILLS = 6 * len(POINTS)


def test_each_payment_takes_effect_once_when_processes_are_killed(
    postgresql_url: str,
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-m", __name__, postgresql_url],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    report = json.loads(done.stdout)
    assert report["answered"] == PAYMENTS * len(DELIVERIES)
    # The number of payments by their number of effects; JSON's keys are strings.
    assert report["effects of"]["paid"] == {"1": PAYMENTS}
    assert set(report["effects of"]["timeout"]) <= {"1"}
    assert set(report["kills"]) == set(POINTS)


class SharedClock:
    """A clock in shared memory, advanced by any process that sleeps."""

    def __init__(self) -> None:
        self._ms = mmap.mmap(-1, 8)

    def now(self) -> datetime:
        """Return a fixed day plus the elapsed time."""
        elapsed = timedelta(milliseconds=int.from_bytes(self._ms[:], "little"))
        return datetime(2026, 1, 1, tzinfo=UTC) + elapsed

    def monotonic(self) -> float:
        """Not used by an inbox."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        """Advance the clock; of two concurrent calls, one may be lost."""
        elapsed = int.from_bytes(self._ms[:], "little") + int(seconds * 1000)
        self._ms[:] = elapsed.to_bytes(8, "little")


@attrs.define
class Kill:
    """The point where a process is killed, and after how many passages."""

    point: str
    passages: int

    def passes(self, point: str) -> None:
        if point == self.point:
            self.passages -= 1
            if self.passages == 0:
                os.kill(os.getpid(), signal.SIGKILL)


@attrs.frozen
class Shop:
    """One process that receives deliveries, and answers them unless it is killed."""

    engine: AsyncEngine
    inbox: SqlInbox
    clock: SharedClock
    kill: Kill

    async def work(self) -> None:
        """Process deliveries until all are answered."""
        while waiting := await self._unanswered():
            async with asyncio.TaskGroup() as group:
                for first in range(AT_ONCE):
                    group.create_task(self._take_all(waiting[first::AT_ONCE]))

    async def _unanswered(self) -> list[tuple[int, str, Kind]]:
        query = "SELECT * FROM deliveries WHERE id NOT IN (SELECT id FROM answered)"
        async with self.engine.connect() as connection:
            rows = await connection.execute(text(f"{query} ORDER BY id LIMIT 20"))
            return [cast("tuple[int, str, Kind]", tuple(row)) for row in rows]

    async def _take_all(self, deliveries: list[tuple[int, str, Kind]]) -> None:
        for number, payment, kind in deliveries:
            if await self._take(payment, kind):
                async with self.engine.begin() as connection:
                    await run(
                        connection, "INSERT INTO answered VALUES (:id)", id=number
                    )

    async def _take(self, payment: str, kind: Kind) -> bool:
        """Return whether the delivery is answered."""
        self.kill.passes("before the claim")
        claim = await self.inbox.claim(payment, kind, LEASE)
        if claim is Taken.BUSY:
            await self.clock.sleep(0.01)
            return False
        return not isinstance(claim, Claim) or await self._handle(claim, kind)

    async def _handle(self, claim: Claim, kind: Kind) -> bool:
        self.kill.passes("claimed")
        try:
            async with self.engine.begin() as connection:
                self.kill.passes("before the effect")
                effect = "INSERT INTO effects VALUES (:payment, :kind)"
                await run(connection, effect, payment=claim.key, kind=kind)
                self.kill.passes("after the effect")
                await self.inbox.confirm(claim, kind, connection)
                self.kill.passes("confirmed")
        except ClaimExpiredError:
            return False  # another process has claimed it
        self.kill.passes("committed")
        return True


async def run(connection: AsyncConnection, statement: str, **values: object) -> None:
    await connection.execute(text(statement), values)


async def open_shop(url: str) -> None:
    """Create the tables, and insert the deliveries."""
    engine = create_async_engine(url)
    await SqlInbox(engine).create_tables()
    chance = Random(0)  # noqa: S311 - the same in every run
    async with engine.begin() as connection:
        for table in (
            "deliveries (id SERIAL, payment TEXT, kind TEXT)",
            "answered (id INTEGER)",
            "effects (payment TEXT, kind TEXT)",
        ):
            await run(connection, f"CREATE TABLE {table}")
        delivery = "INSERT INTO deliveries (payment, kind) VALUES (:payment, :kind)"
        for payment in range(PAYMENTS):
            for kind in chance.sample(DELIVERIES, len(DELIVERIES)):
                await run(connection, delivery, payment=str(payment), kind=kind)
    await engine.dispose()


async def serve(url: str, clock: SharedClock, kill: Kill) -> None:
    """Run one process."""
    engine = create_async_engine(url)
    await Shop(engine, SqlInbox(engine, clock=clock), clock, kill).work()
    await engine.dispose()


async def close_shop(url: str) -> dict[str, object]:
    """Return the counts in the shop's tables."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        times = text("SELECT kind, count(*) FROM effects GROUP BY payment, kind")
        effects: dict[Kind, Counter[int]] = {"paid": Counter(), "timeout": Counter()}
        for kind, number in await connection.execute(times):
            effects[kind][number] += 1
        different = text("SELECT count(DISTINCT id) FROM answered")
        answered = await connection.scalar(different)
    await engine.dispose()
    return {"effects of": effects, "answered": answered}


def planned_kills() -> list[Kill]:
    """Return each point in turn, with a random number of passages."""
    chance = Random(0)  # noqa: S311 - the same in every run
    points = list(POINTS.items()) * (KILLS // len(POINTS))
    return [Kill(point, chance.randint(1, most)) for point, most in points]


def fork(url: str, clock: SharedClock, kill: Kill) -> int:
    """Start a process that has all modules imported."""
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(serve(url, clock, kill))
    except BaseException:  # noqa: BLE001 - a forked process must not run the parent's code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(url: str) -> None:
    """Keep `PROCESSES` running until one of them finds nothing to do."""
    asyncio.run(open_shop(url))
    clock, planned, kills = SharedClock(), iter(planned_kills()), Counter[str]()
    running: dict[int, Kill] = {}
    while True:
        while len(running) < PROCESSES:
            kill = next(planned, Kill("never", 0))
            running[fork(url, clock, attrs.evolve(kill))] = kill
        pid, status = os.wait()
        kill = running.pop(pid)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            break
        kills[kill.point] += 1
    for pid in running:
        os.waitpid(pid, 0)
    report = asyncio.run(close_shop(url))
    sys.stdout.write(json.dumps({**report, "kills": kills}))


if __name__ == "__main__":
    main(sys.argv[1])
