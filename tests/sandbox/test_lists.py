"""Lists and pages take the same time with any number of orders."""

from __future__ import annotations

import sys
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._ledger import Account, Ledger
from aurpay_async.sandbox._models import SandboxWithdrawal
from aurpay_async.sandbox._pages import PageGuard, Pages
from aurpay_async.testing import FakeClock

from ..support.orders import NOW
from .shop import call, create_order

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

pytestmark = pytest.mark.slow


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox with one order."""
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await create_order(sandbox)
        yield sandbox


def add_copies(sandbox: Sandbox, count: int) -> None:
    """Add copies of the first order, each of them paid."""
    orders = sandbox._simulator.orders
    first = next(iter(orders.values()))
    for number in range(len(orders) + 1, len(orders) + count + 1):
        order = attrs.evolve(
            first,
            order_id=f"{NOW:%Y%m%d%H%M%S}{number:06d}",
            status="SUCCESS",
            paid_at=NOW,
        )
        orders[order.order_id] = order
        sandbox._simulator.account.add(order)


async def count_calls(work: Awaitable[object]) -> Counter[str]:
    """Return the number of calls of each function of the sandbox."""
    calls: Counter[str] = Counter()

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and "sandbox" in frame.f_globals.get("__name__", ""):
            calls[frame.f_code.co_qualname] += 1

    sys.setprofile(note)
    try:
        await work
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "path",
    ["/api/v2/order/", "/api/v2/order/?page=15", "/api/v2/tx?page=15", "/"],
)
async def test_list_calls_the_same_functions_for_400_and_4000_orders(
    sandbox: Sandbox, path: str
) -> None:
    add_copies(sandbox, 400)
    await call(sandbox, "GET", path)
    few = await count_calls(call(sandbox, "GET", path))
    add_copies(sandbox, 3_600)
    await call(sandbox, "GET", path)
    many = await count_calls(call(sandbox, "GET", path))
    assert many == few
    assert few


async def test_overview_calls_the_same_functions_for_400_and_4000_orders(
    sandbox: Sandbox,
) -> None:
    simulator = sandbox._simulator
    pages = Pages(simulator, PageGuard(simulator.host_policy))

    async def show() -> None:
        pages._overview()

    add_copies(sandbox, 400)
    few = await count_calls(show())
    add_copies(sandbox, 3_600)
    assert await count_calls(show()) == few


async def test_pages_of_a_list_contain_each_order_once_the_newest_first(
    sandbox: Sandbox,
) -> None:
    add_copies(sandbox, 24)
    listed: list[str] = []
    for number in range(1, 5):
        path = f"/api/v2/order/?page={number}&size=10"
        page = (await call(sandbox, "GET", path))[1]["data"]
        assert (page["total"], page["max_page"]) == (25, 3)
        listed += [row["order_id"] for row in page["data"]]
    assert listed == [*sandbox.orders][::-1]


async def test_text_page_shows_the_latest_100_orders_and_their_number(
    sandbox: Sandbox,
) -> None:
    add_copies(sandbox, 99)
    assert "latest" not in (await call(sandbox, "GET", "/"))[1]
    add_copies(sandbox, 50)
    status, text = await call(sandbox, "GET", "/")
    assert status == 200
    assert "The latest 100 of 150 orders:\n" in text
    shown = [order_id for order_id in sandbox.orders if order_id in text]
    assert shown == [*sandbox.orders][-100:]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["create", "pay", "refund", "withdraw", "wait"]),
        st.integers(0, 4),
    ),
    max_size=30,
)


@given(EVENTS)
def test_account_has_the_same_transactions_and_balance_after_a_restart(
    events: list[tuple[str, int]],
) -> None:
    clock, ledger = FakeClock(NOW), Ledger()
    withdrawals: dict[str, SandboxWithdrawal] = {}
    account = Account(ledger.orders, withdrawals)
    for what, which in events:
        order_id = [*ledger.orders, "none"][which % (len(ledger.orders) + 1)]
        order = ledger.orders.get(order_id)
        if what == "create":
            ledger.create({"price": Decimal(20), "currency": "USD"}, clock.now())
        elif what == "wait":
            clock.advance(which)
        elif what == "withdraw":
            withdrawal = SandboxWithdrawal(
                invoice="",
                payment_hash=f"{len(withdrawals)}",
                amount=Decimal(which),
                paid_at=clock.now(),
            )
            withdrawals[withdrawal.payment_hash] = withdrawal
            account._add_withdrawal(withdrawal)
        elif order and order.status == {"pay": "PENDING", "refund": "SUCCESS"}[what]:
            change: Any = what
            account.add(ledger.change_status(order_id, change, clock.now()))
    restored = Account(ledger.orders, withdrawals)
    restored.open()
    assert restored.transactions == account.transactions
    assert restored.balance == account.balance
    times = [row.at for row in account.transactions]
    assert times == sorted(times)
