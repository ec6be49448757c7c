"""Callbacks that are delivered into an ASGI application of the same process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

from aurpay_async import ConfigurationError
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from aurpay_async.contrib.starlette import callback_router
from aurpay_async.pytest_plugin import REFERENCE_KEY
from aurpay_async.sandbox import Sandbox, _callbacks

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.callbacks import Notification, Reference
    from aurpay_async.testing import FakeClock

SHOP = "https://shop.example"
CALLBACK = f"{SHOP}/aurpay/callback?shop=a%2Fb"


@pytest.mark.parametrize("posts", [False, True], ids=["GET", "POST"])
async def test_callback_is_delivered_into_an_asgi_application_without_server(
    aurpay_clock: FakeClock, *, posts: bool
) -> None:
    orders: dict[str, LightningOrder] = {}
    notifications: list[Notification] = []

    async def lookup(reference: Reference) -> LightningOrder | None:
        return orders.get(reference.attempt_id)

    async def handle(notification: Notification) -> None:
        notifications.append(notification)

    async with (
        Sandbox(clock=aurpay_clock, post_callbacks=posts) as sandbox,
        sandbox.client(reference_key=REFERENCE_KEY) as aurpay,
    ):
        verifier = CallbackVerifier(
            secrets=[sandbox.callback_secret],
            reference_key=REFERENCE_KEY,
            clock=aurpay_clock,
        )
        processor = CallbackProcessor(
            verifier, handle, lookup=lookup, reader=aurpay, inbox=MemoryInbox()
        )
        app = FastAPI()
        app.include_router(callback_router(processor, public_base_url=SHOP))
        sandbox.deliver_to(app, SHOP, "http://shop.test:8000")
        order = await aurpay.create_order(
            "20", "USD", reference="cart-42", callback_url=CALLBACK
        )
        orders[order.attempt_id or ""] = order
        await sandbox.pay(order.order_id)
        sandbox.assert_callbacks("paid")
    (notification,) = notifications
    assert (notification.outcome, notification.reference) == ("paid", "cart-42")


async def pay_order(client: AurpayClient, sandbox: Sandbox, url: str = CALLBACK) -> Any:
    """Pay an order, and return status and error of its callback."""
    order = await client.create_order("20", "USD", callback_url=url)
    (sent,) = await sandbox.pay(order.order_id)
    return sent.status, sent.error


async def test_exception_of_an_asgi_application_is_recorded(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    app = FastAPI()

    @app.get("/aurpay/callback")
    async def broken() -> None:
        raise RuntimeError("no such table")

    aurpay_sandbox.deliver_to(app, SHOP)
    result = await pay_order(aurpay_client, aurpay_sandbox)
    assert result == (500, "RuntimeError: no such table")


async def test_cancelled_error_of_an_asgi_application_is_recorded(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    """It awaited a task of its own that was cancelled."""

    async def app(*_: object) -> None:
        raise asyncio.CancelledError

    aurpay_sandbox.deliver_to(app, SHOP)
    result = await pay_order(aurpay_client, aurpay_sandbox)
    assert result == (None, "CancelledError: ")


async def test_payment_that_the_caller_cancels_is_not_recorded_as_an_error(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    called = asyncio.Event()

    async def app(*_: object) -> None:
        called.set()
        await asyncio.Event().wait()

    aurpay_sandbox.deliver_to(app, SHOP)
    task = asyncio.create_task(pay_order(aurpay_client, aurpay_sandbox))
    await called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not aurpay_sandbox.callbacks


async def test_asgi_application_that_never_answers_times_out(
    aurpay_client: AurpayClient,
    aurpay_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(_: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b""
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "more_body": True})
        await receive()

    monkeypatch.setattr(_callbacks, "_TIMEOUT_S", 0.01)
    aurpay_sandbox.deliver_to(silent, SHOP)
    assert await pay_order(aurpay_client, aurpay_sandbox) == (200, "TimeoutError: ")


async def test_asgi_application_receives_disconnect_after_its_response(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        waits = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})
        seen.append((scope["path"], (await waits)["type"]))

    aurpay_sandbox.deliver_to(app, SHOP)
    assert await pay_order(aurpay_client, aurpay_sandbox, f"{SHOP}/") == (204, None)
    assert seen == [("/", "http.disconnect")]


async def test_callbacks_to_other_origins_are_not_delivered_into_the_application(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    app = FastAPI()

    @app.get("/{path:path}")
    async def anything(path: str) -> str:
        return path

    aurpay_sandbox.deliver_to(app, SHOP)
    assert await pay_order(aurpay_client, aurpay_sandbox) == (200, None)
    for url in ("https://shop.example:8443/x", "https://other.example/x"):
        assert await pay_order(aurpay_client, aurpay_sandbox, url) == (
            None,
            "not sent: not on this machine",
        )


@pytest.mark.parametrize(
    ("origins", "problem"),
    [
        (["https://shop.example/paid"], "without a path"),
        (["shop.example"], "must be absolute"),
        ([SHOP, "shop.example"], "must be absolute"),
    ],
)
def test_deliver_to_rejects_invalid_origins(origins: list[str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Sandbox().deliver_to(FastAPI(), *origins)


@pytest.mark.parametrize("app", [object(), lambda: None, "shop:app"])
def test_deliver_to_rejects_what_is_no_application(app: Any) -> None:
    with pytest.raises(ConfigurationError, match="neither an ASGI nor a WSGI"):
        Sandbox().deliver_to(app, SHOP)
