"""The memory of one process: what it forgets, and what it must not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aurpay_async.callbacks import Claim, MemoryInbox, Taken
from aurpay_async.errors import ConfigurationError
from aurpay_async.testing import FakeClock


async def handled(inbox: MemoryInbox, key: str) -> None:
    claim = await inbox.claim(key, "paid")
    assert isinstance(claim, Claim)
    await inbox.confirm(claim, "paid")


async def test_it_is_bounded() -> None:
    """The oldest go first; never one that is being handled, nor the one asked for."""
    inbox = MemoryInbox(max_orders=3)
    busy = await inbox.claim("busy", "paid")
    assert isinstance(busy, Claim)
    for number in range(100):
        await handled(inbox, f"order {number}")
        assert len(inbox) <= 3
    assert await inbox.claim("order 99", "paid") is Taken.REPEATED
    assert await inbox.claim("order 98", "paid") is Taken.REPEATED
    assert await inbox.holds(busy)
    await inbox.confirm(busy, "paid")
    assert not await inbox.holds(busy)


async def test_it_forgets_what_is_old() -> None:
    """After two weeks, unless told otherwise."""
    clock = FakeClock()
    inbox = MemoryInbox(remember=timedelta(days=2), clock=clock)
    await handled(inbox, "old")
    clock.advance(86_400)
    await handled(inbox, "newer")
    clock.advance(86_400)
    await handled(inbox, "new")
    assert len(inbox) == 2
    assert await inbox.claim("newer", "paid") is Taken.REPEATED


async def test_what_was_not_handled_takes_no_place() -> None:
    """Refused and failed ones leave nothing behind."""
    inbox = MemoryInbox()
    claim = await inbox.claim("order", "paid")
    assert isinstance(claim, Claim)
    await inbox.release(claim)
    await inbox.release(claim)
    assert len(inbox) == 0


async def test_it_takes_part_in_no_transaction() -> None:
    """Whoever believes so has to know."""
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
def test_a_memory_that_is_too_short(options: dict[str, Any]) -> None:
    """It would handle a repeat."""
    with pytest.raises(ConfigurationError, match="or more"):
        MemoryInbox(**options)
