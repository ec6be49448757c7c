"""MemoryInbox: its bounds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aurpay_async.callbacks import Claim, MemoryInbox, Taken
from aurpay_async.errors import ConfigurationError
from aurpay_async.testing import FakeClock


async def record_payment(inbox: MemoryInbox, key: str) -> None:
    claim = await inbox.claim(key, "paid")
    assert isinstance(claim, Claim)
    await inbox.confirm(claim, "paid")


async def test_memory_inbox_forgets_the_oldest_orders_but_no_claimed_one() -> None:
    inbox = MemoryInbox(max_orders=3)
    busy = await inbox.claim("busy", "paid")
    assert isinstance(busy, Claim)
    for number in range(100):
        await record_payment(inbox, f"order {number}")
        assert len(inbox) <= 3
    assert await inbox.claim("order 99", "paid") is Taken.REPEATED
    assert await inbox.claim("order 98", "paid") is Taken.REPEATED
    assert await inbox.holds(busy)
    await inbox.confirm(busy, "paid")
    assert not await inbox.holds(busy)


async def test_memory_inbox_forgets_orders_older_than_remember() -> None:
    clock = FakeClock()
    inbox = MemoryInbox(remember=timedelta(days=2), clock=clock)
    await record_payment(inbox, "old")
    clock.advance(86_400)
    await record_payment(inbox, "newer")
    clock.advance(86_400)
    await record_payment(inbox, "new")
    assert len(inbox) == 2
    assert await inbox.claim("newer", "paid") is Taken.REPEATED


async def test_released_claims_leave_no_row_in_the_memory_inbox() -> None:
    inbox = MemoryInbox()
    claim = await inbox.claim("order", "paid")
    assert isinstance(claim, Claim)
    await inbox.release(claim)
    await inbox.release(claim)
    assert len(inbox) == 0


async def test_memory_inbox_rejects_a_connection() -> None:
    inbox = MemoryInbox()
    claim = await inbox.claim("order", "paid")
    assert isinstance(claim, Claim)
    with pytest.raises(
        ConfigurationError, match="cannot record in a database transaction"
    ):
        await inbox.confirm(claim, "paid", "a connection")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"max_orders": 0}, {"remember": timedelta(hours=1)}]
)
def test_memory_inbox_rejects_bounds_that_are_too_small(
    options: dict[str, Any],
) -> None:
    with pytest.raises(ConfigurationError, match="or more"):
        MemoryInbox(**options)
