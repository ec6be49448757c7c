"""The sandbox told over HTTP what to do, from another process on this machine."""

from __future__ import annotations

import pytest

from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..orders import NOW
from .shop import ask, both, open_shop, order, signature

#: All that programs may tell it, with something to tell.
ENDPOINTS = [
    ("GET", "/_sandbox/faults", None),
    ("POST", "/_sandbox/faults", ["503"]),
    ("DELETE", "/_sandbox/faults", None),
    ("GET", "/_sandbox/deliveries", None),
    ("POST", "/_sandbox/deliveries", ["twice"]),
    ("DELETE", "/_sandbox/deliveries", None),
    ("POST", "/_sandbox/orders/20260101000000000001/pay", None),
    ("POST", "/_sandbox/orders/20260101000000000001/expire", None),
    ("POST", "/_sandbox/orders/20260101000000000001/refund", None),
    ("GET", "/_sandbox/callbacks", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
async def test_it_is_not_for_browsers(
    method: str, path: str, body: list[str] | None
) -> None:
    """Nor for names that only lead here; none is forgotten, and nothing moves."""
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        await order(sandbox)
        for headers in ({"Origin": "x"}, {"Sec_Fetch_Site": "same-origin"}):
            status, text = await ask(sandbox, method, path, body, **headers)
            assert (status, text) == (403, "not for browsers\n")
        status, text = await ask(sandbox, method, path, body, Host="evil.example")
        assert (status, text) == (403, "ask 127.0.0.1 or localhost\n")
        assert len(sandbox.faults) == len(sandbox.deliveries) == 0
    (known,) = sandbox.orders.values()
    assert known.status == "PENDING"


async def test_deliveries_over_http() -> None:
    """Listed, added all or none, and dropped."""
    path = "/_sandbox/deliveries"
    async with Sandbox() as sandbox:
        both = ["twice; times=3", "lost"]
        assert await ask(sandbox, "POST", path, both) == (200, both)
        assert await ask(sandbox, "GET", path) == (200, both)
        status, text = await ask(sandbox, "POST", path, ["late", "sooner"])
        assert status == 400
        assert text.startswith("delivery: there is no delivery 'sooner'; write one of")
        assert await ask(sandbox, "POST", path, {}) == (
            400,
            "deliveries: must be a JSON list\n",
        )
        assert list(sandbox.deliveries) == both
        assert await ask(sandbox, "DELETE", path) == (200, [])
        assert len(sandbox.deliveries) == 0
        assert (await ask(sandbox, "PUT", path))[0] == 405
    assert sandbox.requests == []


async def test_settling_over_http() -> None:
    """Paid, and what was sent is told as it was."""
    date = "2026-01-01T00:00:00Z"
    async with (
        open_shop() as shop,
        Sandbox(clock=FakeClock(NOW), post_callbacks=True) as sandbox,
    ):
        order_id = await both(sandbox, shop)
        path = f"/_sandbox/orders/{order_id}"
        status, sent = await ask(sandbox, "POST", f"{path}/pay")
        url = f"{shop.url}/paid?ref=7"
        record = sandbox.callbacks[0]
        assert (status, sent) == (
            200,
            [
                {
                    "order_id": order_id,
                    "kind": "paid",
                    "method": "POST",
                    "url": url,
                    "headers": [
                        ["Callback-Token", "sandbox-callback-token"],
                        ["Date", date],
                        ["Signature", signature(date, url)],
                        ["Content-Type", "application/json"],
                    ],
                    "body": record.body.decode(),
                    "status": 200,
                    "error": None,
                    "sent_at": "2026-01-01T00:00:00+00:00",
                }
            ],
        )
        assert await ask(sandbox, "POST", f"{path}/refund") == (200, [])
        assert sandbox.orders[order_id].status == "REFUNDED"
        assert await ask(sandbox, "GET", "/_sandbox/callbacks") == (200, sent)


async def test_a_timeout_over_http() -> None:
    """With the delivery that was asked for."""
    async with open_shop() as shop, Sandbox() as sandbox:
        order_id = await both(sandbox, shop)
        await ask(sandbox, "POST", "/_sandbox/deliveries", ["lost"])
        _, sent = await ask(sandbox, "POST", f"/_sandbox/orders/{order_id}/expire")
    assert [(record["kind"], record["error"]) for record in sent] == [
        ("timeout", "not sent: lost")
    ]


async def test_what_cannot_be_settled() -> None:
    """400, with the reason as text."""
    async with Sandbox() as sandbox:
        order_id = await order(sandbox)
        assert await ask(sandbox, "POST", "/_sandbox/orders/7/pay") == (
            400,
            "order_id: there is no order '7'\n",
        )
        assert await ask(sandbox, "POST", f"/_sandbox/orders/{order_id}/refund") == (
            400,
            f"order_id: {order_id} is PENDING and cannot be refunded\n",
        )
        for method, path, status in (
            ("POST", "/_sandbox/orders/7/steal", 404),
            ("GET", "/_sandbox/orders/7/pay", 405),
            ("POST", "/_sandbox/callbacks", 405),
            ("GET", "/_sandbox/other", 404),
        ):
            assert (await ask(sandbox, method, path))[0] == status
