"""Orders that Aurpay reports otherwise than the shop expects."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from aurpay_async import OrderMismatchError, OrderStatus
from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("amounts", ["string", "number"])
async def test_detail_and_list_report_another_price_or_amount_once(
    amounts: str,
) -> None:
    async with Sandbox(amounts=amounts) as sandbox, sandbox.client() as aurpay:  # type: ignore[arg-type]
        created = await aurpay.create_order("20.00", "USD")
        order_id, price, amount = created.order_id, created.price, created.amount
        sandbox.faults.push("other-price", "other-amount", "other-price")
        got = await aurpay.get_order(order_id)
        assert (got.price, got.amount) == (Decimal("0.01"), amount)
        got = await aurpay.get_order(order_id)
        assert (got.price, got.amount) == (price, Decimal("0.00000001"))
        [got] = (await aurpay.list_orders()).items
        assert (got.price, got.amount) == (Decimal("0.01"), amount)
        got = await aurpay.get_order(order_id)
        assert (got.price, got.amount) == (price, amount)


@pytest.mark.parametrize("fault", ["other-price", "other-amount"])
async def test_wait_and_store_reject_the_payment_of_another_price_or_amount(
    fault: str, tmp_path: Path
) -> None:
    async with (
        Sandbox() as sandbox,
        sandbox.client(reference_key="k" * 16) as aurpay,
        OrderStore(aurpay, f"sqlite+aiosqlite:///{tmp_path}/orders.db") as store,
    ):
        order = await store.get_or_create("cart-42", "20.00", "USD")
        await sandbox.pay(order.order_id)
        sandbox.faults.push(fault, fault)
        with pytest.raises(OrderMismatchError):
            await aurpay.wait_for_payment(order)
        with pytest.raises(OrderMismatchError):
            await store.record(reference="cart-42")
        assert (await store.record(reference="cart-42")).newly_paid


@pytest.mark.parametrize(
    ("status", "is_paid"), [("RESOLVED", True), ("PARTIAL", None), ("TERMINATED", None)]
)
async def test_set_status_reports_a_status_that_no_payer_causes(
    status: str, is_paid: bool | None
) -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        order = await aurpay.create_order(
            "20.00", "USD", callback_url="http://127.0.0.1:9/"
        )
        sandbox.set_status(order.order_id, status)
        got = (await aurpay.get_order(order.order_id)).status
        assert (got, got.is_paid) == (OrderStatus(status), is_paid)
        assert len(sandbox.transactions) == bool(is_paid)
        assert sandbox.callbacks == []
