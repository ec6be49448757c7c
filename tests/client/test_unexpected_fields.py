"""Log messages about statuses and fields that a client does not know or cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import AurpayClient
from aurpay_async.testing import FakeClock, MemoryTransport

from ..api.samples import paged, payment
from ..support.orders import NOW, build_detail, build_order, build_response, wrap_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ORDER_ID = "20260101000000000001"


async def logged(
    caplog: pytest.LogCaptureFixture,
    call: Callable[[AurpayClient], Awaitable[object]],
    *answers: Any,
) -> list[str]:
    """Return what is logged of a call that is made once for each answer."""
    transport = MemoryTransport(*[build_response(wrap_data(data)) for data in answers])
    async with AurpayClient(
        network="regtest", clock=FakeClock(NOW), transport=transport
    ) as aurpay:
        for _ in answers:
            await call(aurpay)
    return [record.getMessage() for record in caplog.records]


async def test_an_unknown_status_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Third parties test for SUCCEED, which Aurpay does not document."""
    odd = build_detail(status="SUCCEED")
    said = await logged(
        caplog, lambda c: c.get_order(ORDER_ID), odd, odd, build_detail()
    )
    (message,) = said
    assert message == (
        "get_order: status 'SUCCEED' is unknown: neither paid nor unpaid; "
        f"it is logged once; order_id='{ORDER_ID}'"
    )
    assert caplog.records[0].name == "aurpay_async.client"


async def test_an_unreadable_field_is_logged_once_for_each_operation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The name of the field alone: its value is in `extra`."""
    rows = [build_detail(), build_detail(order_id="2", vs_price="canary", later=1)]
    page = paged(rows, size=20)
    said = await logged(caplog, lambda c: c.list_orders(), page, page)
    assert said == [
        "list_orders: vs_price cannot be read; it is logged once; order_id='2'"
    ]


@pytest.mark.parametrize(
    ("operation", "call", "data"),
    [
        (
            "create_order",
            lambda c: c.create_order("20", "USD"),
            build_order(create_time="", price="20.00", checks=1),
        ),
        (
            "create_payment",
            lambda c: c.create_payment(18, "USD", chain="ETH", coin="USDT-ERC20"),
            payment(create_time="", attempt_id=1),
        ),
    ],
)
async def test_a_field_that_only_our_record_has_is_not_unreadable(
    operation: str,
    call: Callable[[AurpayClient], Awaitable[object]],
    data: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Aurpay's `price` in the answer to a create is a new field, and no odd one."""
    said = await logged(caplog, call, data)
    assert [text.partition(";")[0] for text in said] == [
        f"{operation}: create_time cannot be read"
    ]


async def test_number_of_logged_messages_is_limited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = [build_detail(status=f"S{number}") for number in range(200)]
    assert len(await logged(caplog, lambda c: c.get_order(ORDER_ID), *data)) == 100


async def test_records_and_lists_of_any_shape_are_checked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = "/api/x"

    async def request(aurpay: AurpayClient) -> None:
        from aurpay_async import Effect

        await aurpay.request("GET", path, effect=Effect.READ)

    assert await logged(caplog, request, {"items": 1}, [], None, "text") == []
    empty = paged([], total=0, size=20)
    assert await logged(caplog, lambda c: c.list_orders(), empty) == []
