"""Random sequences of events: no payment is lost, none counts twice."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import AurpayClient, RetryPolicy
from aurpay_async.errors import AurpayError
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.testing import FakeClock

from ..conftest import examples
from .conftest import hurry
from .platform import REFERENCE_KEY, URLS, Platform

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async.orders import Change

S = AttemptState
PAID = {"SUCCESS", "RESOLVED"}
DAY_S = 86_400

FAULTS = ["unsent", "refused", "lost", "lost+created", "untrusted", "cut", "paid"]
OPEN = st.tuples(st.just("open"), st.sampled_from(["", "", *FAULTS]))
PAY = st.tuples(st.just("pay"), st.integers(0, 3))
EXPIRE = st.tuples(st.just("expire"), st.integers(0, 3))
HEAR = st.tuples(st.just("hear"), st.integers(0, 3))
LOOK = st.tuples(st.just("reconcile"), st.just(0))
WAIT = st.tuples(st.just("wait"), st.sampled_from([1, 130, 1900, 4000, DAY_S + 4000]))
STEPS = st.lists(OPEN | PAY | EXPIRE | HEAR | LOOK | WAIT, min_size=3, max_size=15)


@attrs.define
class World:
    """A shop with one cart, the platform, and the notifications and payments so far."""

    store: OrderStore
    platform: Platform
    clock: FakeClock
    delivered: int = 0

    async def step(self, what: str, which: str | int) -> None:
        if what == "wait":
            self.clock.advance(float(which))
        elif what == "reconcile":
            await self.reconcile()
        elif what == "open":
            self.platform.faults = [str(which)]
            with suppress(AurpayError):
                order = await self.store.get_or_create("cart-42", 20, "USD", **URLS)
                assert self.status(order.order_id) == order.status or (
                    order.status == "PENDING"
                )
        elif self.platform.orders:
            order_ids = sorted(self.platform.orders)
            await self.happen(what, order_ids[int(which) % len(order_ids)])

    async def happen(self, what: str, order_id: str) -> None:
        if what == "pay" and self.can_be_paid(order_id):
            self.platform.set(order_id, "SUCCESS")
        elif what == "expire" and self.status(order_id) == "PENDING":
            self.platform.set(order_id, "OVERDUE")
        elif what == "hear":
            with suppress(AurpayError):
                await self.on_change(await self.store.record(order_id=order_id), None)

    def status(self, order_id: str) -> str:
        status: str = self.platform.orders[order_id]["status"]
        return status

    def can_be_paid(self, order_id: str) -> bool:
        """The payer can pay until the invoice expires after a day."""
        made = self.platform.orders[order_id]["create_time"]
        age = self.clock.now() - datetime.fromisoformat(f"{made}+00:00")
        unpaid = self.status(order_id) in {"PENDING", "OVERDUE"}
        return unpaid and age.total_seconds() < DAY_S

    async def on_change(self, change: Change, _: AsyncConnection | None) -> None:
        self.delivered += change.newly_paid

    async def reconcile(self) -> None:
        while (await self.store.reconcile(on_change=self.on_change)).more:
            pass

    async def check(self) -> None:
        """Check that each payment that the store can know of is recorded."""
        for _ in range(2):
            self.clock.advance(4 * DAY_S)
            await self.reconcile()
        attempts = await self.store.attempts("cart-42")
        paid = {i for i in self.platform.orders if self.status(i) in PAID}
        known = {a.order_id for a in attempts if a.order_id in paid}
        counted = Counter(a.state for a in attempts)
        assert counted[S.PAID] + counted[S.DUPLICATE] == len(known)
        assert counted[S.PAID] == self.delivered == min(1, len(known))
        assert len(await self.store.duplicate_payments()) == counted[S.DUPLICATE]
        assert counted[S.CREATING] + counted[S.PAYABLE] <= 1
        # An unidentified payment needs review, or its search ended after an hour.
        candidates: set[str] = set()
        for attempt in await self.store.needs_review():
            candidates |= attempt.candidates.keys()
        if paid - known - candidates:
            assert (
                counted[S.UNKNOWN] + counted[S.NOT_FOUND] + counted[S.CANDIDATES_FOUND]
            )


async def play(steps: list[tuple[str, str | int]], folder: str, template: Path) -> None:
    shutil.copy(template, f"{folder}/orders.db")
    clock = FakeClock()
    async with Platform(clock) as platform:
        client = AurpayClient(
            network="regtest",
            reference_key=REFERENCE_KEY,
            transport=platform,
            clock=clock,
            retry=RetryPolicy(max_attempts=1),
        )
        url = f"sqlite+aiosqlite:///{folder}/orders.db"
        async with hurry(OrderStore(client, url)) as store:
            world = World(store, platform, clock)
            for what, which in steps:
                await world.step(what, which)
            await world.check()


@pytest.mark.slow
@examples(15)
@given(steps=STEPS)
async def test_no_payment_is_lost_and_none_counts_twice(
    template: Path, steps: list[tuple[str, str | int]]
) -> None:
    """The orders fail in each possible way, and are paid late, early or twice."""
    with TemporaryDirectory() as folder:
        await play(steps, folder, template)
