"""The orders that a client remembers."""

from __future__ import annotations

import tracemalloc

from aurpay_async._api.checks import MAX_SEEN, SeenOrders


def test_a_remembered_order_is_found_by_its_id_and_by_its_payment_hash() -> None:
    seen = SeenOrders()
    seen.add("1", "aa" * 32)
    seen.add("2")
    assert ("1" in seen, "2" in seen, "3" in seen) == (True, True, False)
    assert seen.order_id_for_hash("aa" * 32) == "1"
    assert seen.order_id_for_hash("bb" * 32) is None


def test_the_oldest_order_is_dropped_beyond_the_limit() -> None:
    seen = SeenOrders(limit=2)
    for number in range(3):
        seen.add(f"{number}", f"{number:064x}")
    assert [f"{number}" in seen for number in range(3)] == [False, True, True]
    assert seen.order_id_for_hash(f"{0:064x}") is None
    assert seen.order_id_for_hash(f"{1:064x}") == "1"


def test_memory_for_seen_orders_does_not_grow_beyond_the_limit() -> None:
    """Three times as many orders need at most twice as much memory."""
    seen = SeenOrders()

    def add(first: int) -> int:
        for number in range(first, first + MAX_SEEN):
            seen.add(f"20260101{number:012}", f"{number:064x}")
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        add(0)
        full = add(MAX_SEEN)
        assert add(2 * MAX_SEEN) < full * 1.05
    finally:
        tracemalloc.stop()
    assert full < 5_000_000
