"""Kill processes at any point of order creation: each cart has one payable order.

The clocks of shop and platform run fast, to shorten the wait for crashed calls.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest
from sqlalchemy import event

from aurpay_async import AurpayClient, RetryPolicy
from aurpay_async.errors import AurpayError
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..support.postgresql import WANTED
from .platform import REFERENCE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from aurpay_async import LightningOrder

MACHINES = 2
#: How many carts one machine opens at the same time.
AT_ONCE = 4
#: Many carts cost the same, so that a price does not identify a lost order.
PRICES = 10

#: The crash points of a machine.
POINTS = ("about to write", "written", "sent", "answered", "stored")

#: Faults at the beginning, one request each.
FAULTS = ("503+created", "reset-after-request+created", "cut-body+created", "429")

S = AttemptState


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "carts", "crashes"),
    [
        ("sqlite", 16, 5),
        pytest.param(
            "sqlite",
            100,
            40,
            marks=pytest.mark.skipif(
                not WANTED, reason="takes long: nox -s postgresql"
            ),
        ),
        ("postgresql", 100, 40),
    ],
)
def test_each_cart_has_one_payable_order(
    request: pytest.FixtureRequest, kind: str, carts: int, crashes: int
) -> None:
    """All other orders are known, and reported when they are paid."""
    url: str = request.getfixturevalue(f"{kind}_url")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    with subprocess.Popen(
        [sys.executable, "-m", __name__, url, str(carts), str(crashes)],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=300)
        finally:
            # Kill its machines too: they would write to the database of the next test.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert (errors, process.returncode) == ("", 0)
    report = json.loads(output)
    assert report["payable"] == report["newly_paid"] == carts
    assert report["unreported"] == []
    assert (
        report["made"] == carts + report["duplicate_payment"] + report["needs_review"]
    )
    assert set(report["crashes"]) == set(POINTS)


@attrs.frozen
class FastClock:
    """A clock that runs fast, shared by all machines and the platform."""

    began: float
    speed: float

    def now(self) -> datetime:
        elapsed = timedelta(seconds=self.monotonic())
        return datetime.fromtimestamp(self.began, UTC) + elapsed

    def monotonic(self) -> float:
        return (time.time() - self.began) * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


@attrs.define
class Fate:
    """The point at which a machine is killed, and after how many passages."""

    point: str
    passages: int

    def passes(self, point: str) -> None:
        if point == self.point:
            self.passages -= 1
            if self.passages == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class CrashingClient(AurpayClient):
    """A client that kills its process before, during or after a create request."""

    fate: Fate
    chance: Random

    async def _create(self, *arguments: Any, **named: Any) -> LightningOrder:
        self.fate.passes("written")
        call = asyncio.create_task(super()._create(*arguments, **named))
        await asyncio.wait({call}, timeout=self.chance.random() / 100)
        self.fate.passes("sent")
        order = await call
        self.fate.passes("answered")
        return order


@attrs.frozen
class World:
    """The state that all processes share."""

    url: str
    platform: str
    clock: FastClock
    carts: int

    def client(self, kind: type[AurpayClient] = AurpayClient) -> AurpayClient:
        return kind(
            base_url=self.platform,
            network="regtest",
            reference_key=REFERENCE_KEY,
            clock=self.clock,
            retry=RetryPolicy(max_attempts=8),
        )

    async def work(self, fate: Fate, chance: Random) -> None:
        """Run one machine: open each cart."""
        client = self.client(CrashingClient)
        assert isinstance(client, CrashingClient)
        client.fate, client.chance = fate, chance
        numbers = [*range(self.carts)]
        chance.shuffle(numbers)
        async with client, OrderStore(client, self.url) as store:

            @event.listens_for(store.engine.sync_engine, "commit")
            def about_to_write(_: object) -> None:
                fate.passes("about to write")

            async def open_some(mine: list[int]) -> None:
                for number in mine:
                    await self.open(store, number)
                    fate.passes("stored")

            async with asyncio.TaskGroup() as group:
                for first in range(AT_ONCE):
                    group.create_task(open_some(numbers[first::AT_ONCE]))

    async def open(self, store: OrderStore, number: int) -> LightningOrder:
        """Open a cart, retrying until it succeeds."""
        while True:
            with suppress(AurpayError):
                return await store.get_or_create(
                    f"cart-{number}", 20 + number % PRICES, "USD"
                )

    async def audit(self) -> dict[str, Any]:
        """Return the attempts in the store before and after all orders are paid."""
        clock = FakeClock(self.clock.now() + timedelta(minutes=10))
        async with (
            self.client() as client,
            OrderStore(client, self.url, clock=clock) as store,
        ):
            await reconcile(store)
            payable = [
                await self.payable(store, number) for number in range(self.carts)
            ]
            made = {order.order_id async for order in client.iter_orders()}
            await self.pay(made)
            clock.advance(2 * 86_400)
            newly_paid = await reconcile(store)
            duplicate_payment = {
                one.order_id for one in await store.duplicate_payments()
            }
            needs_review = {
                i for one in await store.needs_review() for i in one.candidates
            }
        return {
            "made": len(made),
            "payable": len(made & {*payable}),
            "newly_paid": len(newly_paid),
            "duplicate_payment": len(duplicate_payment),
            "needs_review": len(needs_review),
            "unreported": sorted(made - newly_paid - duplicate_payment - needs_review),
        }

    async def payable(self, store: OrderStore, number: int) -> str | None:
        """Return the one order of a cart that is shown."""
        attempts = await store.attempts(f"cart-{number}")
        [order_id] = [one.order_id for one in attempts if one.state is S.PAYABLE]
        return order_id

    async def pay(self, order_ids: set[str]) -> None:
        """Pay all orders, as if payers had seen each of them."""
        async with aiohttp.ClientSession(self.platform) as session:
            for order_id in order_ids:
                path = f"/_sandbox/orders/{order_id}/pay"
                async with session.post(path) as paid:
                    assert paid.status == 200


async def reconcile(store: OrderStore) -> set[str | None]:
    """Return the orders that fulfilled a cart."""
    newly_paid: list[str | None] = []
    done = await store.reconcile(limit=1000)
    while done.polled:
        assert done.failures == ()
        newly_paid += [one.attempt.order_id for one in done.changes if one.newly_paid]
        done = await store.reconcile(limit=1000)
    assert len({*newly_paid}) == len(newly_paid)
    return {*newly_paid}


async def serve(clock: FastClock, writer: int) -> None:
    """Run the platform until it is killed."""
    async with Sandbox(clock=clock) as sandbox:
        sandbox.faults.push(*FAULTS)
        os.write(writer, sandbox.base_url.encode())
        await asyncio.Event().wait()


def fork(life: Callable[[], None]) -> int:
    """Run a process that forks workers with everything imported."""
    pid = os.fork()
    if pid:
        return pid
    try:
        life()
    except BaseException:  # noqa: BLE001 - the parent's code must not run
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def platform_of(clock: FastClock) -> tuple[int, str]:
    """Start the platform; yield its process and its URL."""
    reader, writer = os.pipe()
    pid = fork(lambda: asyncio.run(serve(clock, writer)))
    return pid, os.read(reader, 1000).decode()


def run_machines(world: World, crashes: int) -> Counter[str]:
    """Keep so many machines running until one of them finds no work left."""
    planned = iter(fates(crashes))
    kills, running = Counter[str](), dict[int, Fate]()
    chance = Random(crashes)  # noqa: S311 - the same in every run
    while True:
        while len(running) < MACHINES:
            fate = next(planned, Fate("never", 0))
            mine = Random(chance.random())  # noqa: S311
            life = partial(machine, world, attrs.evolve(fate), mine)
            running[fork(life)] = fate
        pid, status = os.wait()
        fate = running.pop(pid)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            break
        kills[fate.point] += 1
    for pid in running:
        os.waitpid(pid, 0)
    return kills


def machine(world: World, fate: Fate, chance: Random) -> None:
    """Run one machine."""
    asyncio.run(world.work(fate, chance))


def fates(crashes: int) -> list[Fate]:
    """Yield each crash point in turn, then none."""
    passages = [n // len(POINTS) % 3 + 1 for n in range(crashes)]
    return [Fate(POINTS[n % len(POINTS)], passages[n]) for n in range(crashes)]


def make_tables_in_a_process(world: World) -> None:
    """Make the tables; the thread of aiosqlite may outlive its loop, and fork warns."""
    pid = fork(lambda: asyncio.run(make_tables(world)))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def main(url: str, carts: int, crashes: int) -> None:
    """Run the whole scenario."""
    # Calls of unknown outcome log warnings, which this scenario expects.
    logging.getLogger("aurpay_async").setLevel(logging.ERROR)
    clock = FastClock(time.time(), speed=50)
    pid, platform = platform_of(clock)
    try:
        world = World(url, platform, clock, carts)
        make_tables_in_a_process(world)
        kills = run_machines(world, crashes)
        sys.stdout.write(json.dumps({**asyncio.run(world.audit()), "crashes": kills}))
    finally:
        os.kill(pid, signal.SIGKILL)


async def make_tables(world: World) -> None:
    async with world.client() as client, OrderStore(client, world.url) as store:
        await store.upgrade()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
