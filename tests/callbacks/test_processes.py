"""A shop of several processes that die at any moment, and each payment still once."""

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

from aurpay_async.callbacks._replay import Claim, Taken
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import ClaimExpiredError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aurpay_async.callbacks._replay import Kind

PAYMENTS = 100
#: What the platform calls for each payment, in any order and at once.
DELIVERIES: tuple[Kind, ...] = ("timeout", "paid", "paid", "paid", "paid")
PROCESSES = 3
#: How many deliveries one process takes up at the same time.
AT_ONCE = 4
LEASE = timedelta(milliseconds=200)

#: Where a process may die, and how often it has passed there by then, at most.
POINTS = {
    "before the claim": 20,
    "claimed": 3,
    "before the effect": 3,
    "after the effect": 3,
    "confirmed": 3,
    "committed": 3,
}
#: So many die; the ones that take their places live.
DEATHS = 6 * len(POINTS)


def test_each_payment_takes_effect_once(postgresql_url: str) -> None:
    """Five hundred deliveries, processes killed in the midst of whatever they do."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-m", __name__, postgresql_url],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    told = json.loads(done.stdout)
    assert told["answered"] == PAYMENTS * len(DELIVERIES)
    # JSON has no integers for keys: so many payments had one effect, none had more.
    assert told["effects of"]["paid"] == {"1": PAYMENTS}
    assert set(told["effects of"]["timeout"]) <= {"1"}
    assert set(told["deaths"]) == set(POINTS)


class SharedClock:
    """Moves for all processes when one of them finds nothing to do: nobody waits."""

    def __init__(self) -> None:
        self._ms = mmap.mmap(-1, 8)

    def now(self) -> datetime:
        """Some day."""
        elapsed = timedelta(milliseconds=int.from_bytes(self._ms[:], "little"))
        return datetime(2026, 1, 1, tzinfo=UTC) + elapsed

    def monotonic(self) -> float:
        """Not asked for."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        """Let time pass; of two at once, one may count."""
        elapsed = int.from_bytes(self._ms[:], "little") + int(seconds * 1000)
        self._ms[:] = elapsed.to_bytes(8, "little")


@attrs.define
class Fate:
    """Where a process dies, and after how many passages."""

    point: str
    passages: int

    def passes(self, point: str) -> None:
        if point == self.point:
            self.passages -= 1
            if self.passages == 0:
                os.kill(os.getpid(), signal.SIGKILL)


@attrs.frozen
class Shop:
    """One process: takes deliveries, answers them or not."""

    engine: AsyncEngine
    inbox: SqlInbox
    clock: SharedClock
    fate: Fate

    async def work(self) -> None:
        """Until every delivery was answered."""
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
        """Whether it needs to be delivered no more."""
        self.fate.passes("before the claim")
        claim = await self.inbox.claim(payment, kind, LEASE)
        if claim is Taken.BUSY:
            await self.clock.sleep(0.01)
            return False
        return not isinstance(claim, Claim) or await self._handle(claim, kind)

    async def _handle(self, claim: Claim, kind: Kind) -> bool:
        self.fate.passes("claimed")
        try:
            async with self.engine.begin() as connection:
                self.fate.passes("before the effect")
                effect = "INSERT INTO effects VALUES (:payment, :kind)"
                await run(connection, effect, payment=claim.key, kind=kind)
                self.fate.passes("after the effect")
                await self.inbox.confirm(claim, kind, connection)
                self.fate.passes("confirmed")
        except ClaimExpiredError:
            return False  # too slow: another one does it
        self.fate.passes("committed")
        return True


async def run(connection: AsyncConnection, statement: str, **values: object) -> None:
    await connection.execute(text(statement), values)


async def open_shop(url: str) -> None:
    """The tables, and what the platform is about to deliver."""
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


async def serve(url: str, clock: SharedClock, fate: Fate) -> None:
    """The life of one process."""
    engine = create_async_engine(url)
    await Shop(engine, SqlInbox(engine, clock=clock), clock, fate).work()
    await engine.dispose()


async def close_shop(url: str) -> dict[str, object]:
    """What the shop's stores say."""
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


def fates() -> list[Fate]:
    """Every point in turn; the later ones live for ever."""
    chance = Random(0)  # noqa: S311 - the same in every run
    points = list(POINTS.items()) * (DEATHS // len(POINTS))
    return [Fate(point, chance.randint(1, most)) for point, most in points]


def fork(url: str, clock: SharedClock, fate: Fate) -> int:
    """Starts a process that has everything imported."""
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(serve(url, clock, fate))
    except BaseException:  # noqa: BLE001 - whatever it is, the parent's code is not ours
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(url: str) -> None:
    """Keep so many processes running until one of them finds nothing left to do."""
    asyncio.run(open_shop(url))
    clock, planned, deaths = SharedClock(), iter(fates()), Counter[str]()
    running: dict[int, Fate] = {}
    while True:
        while len(running) < PROCESSES:
            fate = next(planned, Fate("never", 0))
            running[fork(url, clock, attrs.evolve(fate))] = fate
        pid, status = os.wait()
        fate = running.pop(pid)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            break
        deaths[fate.point] += 1
    for pid in running:
        os.waitpid(pid, 0)
    told = asyncio.run(close_shop(url))
    sys.stdout.write(json.dumps({**told, "deaths": deaths}))


if __name__ == "__main__":
    main(sys.argv[1])
