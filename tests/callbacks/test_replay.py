"""The memory of one process: what it forgets, and what it must not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aurpay_async.callbacks import Claim, MemoryReplayStore, Taken
from aurpay_async.errors import ConfigurationError
from aurpay_async.testing import FakeClock


async def handled(store: MemoryReplayStore, key: str) -> None:
    claim = await store.claim(key, "paid")
    assert isinstance(claim, Claim)
    await store.confirm(claim, "paid")


async def test_it_is_bounded() -> None:
    """The oldest go first; never one that is being handled, nor the one asked for."""
    store = MemoryReplayStore(max_orders=3)
    busy = await store.claim("busy", "paid")
    assert isinstance(busy, Claim)
    for number in range(100):
        await handled(store, f"order {number}")
        assert len(store) <= 3
    assert await store.claim("order 99", "paid") is Taken.REPEATED
    assert await store.claim("order 98", "paid") is Taken.REPEATED
    assert await store.holds(busy)
    await store.confirm(busy, "paid")
    assert not await store.holds(busy)


async def test_it_forgets_what_is_old() -> None:
    """After two weeks, unless told otherwise."""
    clock = FakeClock()
    store = MemoryReplayStore(remember=timedelta(days=2), clock=clock)
    await handled(store, "old")
    clock.advance(86_400)
    await handled(store, "newer")
    clock.advance(86_400)
    await handled(store, "new")
    assert len(store) == 2
    assert await store.claim("newer", "paid") is Taken.REPEATED


async def test_what_was_not_handled_takes_no_place() -> None:
    """Refused and failed ones leave nothing behind."""
    store = MemoryReplayStore()
    claim = await store.claim("order", "paid")
    assert isinstance(claim, Claim)
    await store.release(claim)
    await store.release(claim)
    assert len(store) == 0


async def test_it_takes_part_in_no_transaction() -> None:
    """Whoever believes so has to know."""
    store = MemoryReplayStore()
    claim = await store.claim("order", "paid")
    assert isinstance(claim, Claim)
    with pytest.raises(ConfigurationError, match="no transaction"):
        await store.confirm(claim, "paid", "a connection")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"max_orders": 0}, {"remember": timedelta(hours=1)}]
)
def test_a_memory_that_is_too_short(options: dict[str, Any]) -> None:
    """It would handle a repeat."""
    with pytest.raises(ConfigurationError, match="or more"):
        MemoryReplayStore(**options)
