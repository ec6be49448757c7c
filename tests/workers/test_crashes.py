"""Kill workers at random: each cart has one order and one shipment.

The shop is `examples.worker`; its workers are killed with ``kill -9`` after a random
time. They talk over loopback to a slow sandbox, so that some are killed between the
request and its answer. All clocks run fast, to shorten the timeouts after a crash.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import attrs
import psycopg
from sqlalchemy import text

from aurpay_async import AurpayClient, Timeouts
from aurpay_async.orders import AttemptState
from aurpay_async.sandbox import Sandbox
from examples.worker import shop as shop_module
from examples.worker.shop import Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

CARTS = 100
WORKERS = 2
#: Kills while orders are created, and kills while shipments are sent.
DEATHS = 10
#: Seconds from the start of a job to the kill.
LIFE = (0.0, 0.6)
#: Seconds on the clocks of shop and platform per real second.
SPEED = 10

KEY = "sandbox-reference-key"

#: Real seconds that a call takes.
SLOWNESS = "delay; seconds=0.3"


async def test_each_cart_has_one_order_and_one_shipment(postgresql_url: str) -> None:
    """The test has a hundred carts, two workers and twenty kills."""
    clock = FastClock(time.time())
    async with (
        Sandbox(clock=clock) as sandbox,
        client(sandbox.base_url, clock) as aurpay,
    ):
        sandbox.faults.push(*[SLOWNESS] * 2 * CARTS)
        url = postgresql_url.replace("+asyncpg", "+psycopg")
        shop = Shop(aurpay, url)
        await shop.set_up()
        await shop.sell(CARTS)

        async with killing("aurpay:open", url, sandbox.base_url, clock.began):
            await until(lambda: is_done(shop, "aurpay:open"))
        carts = [await shop.store.attempts(f"cart-{n + 1}") for n in range(CARTS)]
        states = [Counter(attempt.state for attempt in cart) for cart in carts]
        assert {cart[AttemptState.PAYABLE] for cart in states} == {1}
        # Some workers were killed between a request and its answer.
        assert len(sandbox.orders) > CARTS
        attempts = [attempt for cart in carts for attempt in cart]
        known = {attempt.order_id for attempt in attempts}
        assert sandbox.orders.keys() - known <= {
            order_id for attempt in attempts for order_id in attempt.candidates
        }

        for attempt in attempts:
            if attempt.state is AttemptState.PAYABLE and attempt.order_id is not None:
                await sandbox.pay(attempt.order_id)
        clock.began -= 20  # Reconciliation is due by then.
        async with killing("aurpay:fulfil", url, sandbox.base_url, clock.began):
            await until(lambda: is_done(shop, "aurpay:fulfil"))
        assert Counter(await shop.shipments()) == {
            f"cart-{n + 1}": 1 for n in range(CARTS)
        }
        # Some workers were killed during a shipment.
        assert await jobs(shop, "aurpay:fulfil", attempts=2)
        assert (
            await shop.store.duplicate_payments()
            == await shop.store.needs_review()
            == []
        )
        await shop.store.aclose()


@attrs.define
class FastClock:
    """A clock that runs fast, and agrees between processes."""

    began: float

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.began + self.monotonic(), UTC)

    def monotonic(self) -> float:
        return (time.time() - self.began) * SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


def client(base_url: str, clock: FastClock) -> AurpayClient:
    return AurpayClient(
        base_url=base_url,
        network="regtest",
        reference_key=KEY,
        timeouts=Timeouts(call=10),
        clock=clock,
    )


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(170):
        while not await done():
            await asyncio.sleep(0.2)


async def is_done(shop: Shop, task: str) -> bool:
    """Tell if each cart has such a job, and each job has succeeded."""
    found = await jobs(shop, task)
    assert "failed" not in found
    return found == {"succeeded": CARTS}


async def jobs(shop: Shop, task: str, attempts: int = 0) -> dict[str, int]:
    """Count the jobs of each state with at least so many attempts."""
    query = (
        "SELECT status, count(*) FROM procrastinate_jobs"
        " WHERE task_name = :task AND attempts >= :attempts GROUP BY status"
    )
    values = {"task": task, "attempts": attempts}
    async with shop.engine.connect() as connection:
        rows = await connection.execute(text(query), values)
        return {row[0]: row[1] for row in rows}


@asynccontextmanager
async def killing(task: str, *arguments: object) -> AsyncIterator[None]:
    """Run workers until the end of the block, and kill the rest."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    keeper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, task, *map(str, arguments)),
        cwd=Path(__file__).parents[2],
        env=environment,
        start_new_session=True,
    )
    try:
        yield
        assert keeper.returncode is None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(keeper.pid, signal.SIGKILL)
        await keeper.wait()


def keep_running(task: str, url: str, base_url: str, began: str) -> None:
    """Keep so many workers running; kill one that is in such a job, so many times."""
    clock, chance = FastClock(float(began)), Random(0)  # noqa: S311 - no secret
    shorten_intervals()
    alive = [fork(url, base_url, clock) for _ in range(WORKERS)]
    for _ in range(DEATHS):
        wait_for(task, url)
        time.sleep(chance.uniform(*LIFE))
        victim = chance.randrange(WORKERS)
        os.kill(alive[victim], signal.SIGKILL)
        _, status = os.waitpid(alive[victim], 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit("a worker has ended by itself")
        alive[victim] = fork(url, base_url, clock)
    os.wait()
    sys.exit("a worker has ended by itself")


def wait_for(task: str, url: str) -> None:
    """Wait until one of the running workers begins such a job."""
    begun = (
        "SELECT count(*) FROM procrastinate_events JOIN procrastinate_jobs job"
        " ON job_id = job.id WHERE task_name = %s AND type = 'started'"
    )
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        before = connection.execute(begun, [task]).fetchone()
        while connection.execute(begun, [task]).fetchone() == before:
            time.sleep(0.02)


def shorten_intervals() -> None:
    """Shorten the intervals and timeouts of the shop and its workers."""
    shop_module.RECONCILE = shop_module.RESTART = "* * * * * *"
    shop_module.STALLED_AFTER = timedelta(seconds=1)
    shop_module.WORKER["update_heartbeat_interval"] = 0.2
    shop_module.WORKER["fetch_job_polling_interval"] = 0.2
    fulfil = Shop.fulfil

    async def slowly(shop: Shop, reference: str, connection: AsyncConnection) -> None:
        await asyncio.sleep(0.2)
        await fulfil(shop, reference, connection)
        await asyncio.sleep(0.2)

    Shop.fulfil = slowly  # type: ignore[assignment, method-assign]


def fork(url: str, base_url: str, clock: FastClock) -> int:
    """Run a process that forks workers with everything imported."""
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(work(url, base_url, clock))
    except BaseException:  # noqa: BLE001 - the parent's code must not run
        traceback.print_exc()
    os._exit(1)


async def work(url: str, base_url: str, clock: FastClock) -> None:
    """Run one worker."""
    async with client(base_url, clock) as aurpay:
        await Shop(aurpay, url).work()


if __name__ == "__main__":
    keep_running(*sys.argv[1:])
