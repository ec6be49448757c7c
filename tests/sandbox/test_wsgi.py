"""Callbacks that are delivered into a WSGI application of the same process."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest

from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from aurpay_async.contrib.django import callback_view
from aurpay_async.pytest_plugin import REFERENCE_KEY
from aurpay_async.sandbox import Sandbox, _callbacks

from ..contrib.shops import use_django
from .test_asgi import pay_order

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.callbacks import Notification, Reference
    from aurpay_async.testing import FakeClock

SHOP = "https://app.internal"
CALLBACK = f"{SHOP}/aurpay/c%C3%A9?shop=a%2Fb"


# uvloop warns of connections that end with their loop; Django runs each request on one.
@pytest.mark.filterwarnings("ignore:unclosed resource <TCPTransport:ResourceWarning")
async def test_callback_is_delivered_into_django_under_wsgi_without_server(
    aurpay_sandbox: Sandbox, aurpay_client: AurpayClient, aurpay_clock: FakeClock
) -> None:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.urls import path

    orders: dict[str, LightningOrder] = {}
    outcomes: list[tuple[str, str | None]] = []

    async def lookup(reference: Reference) -> LightningOrder | None:
        return orders.get(reference.attempt_id)

    async def handle(notification: Notification) -> None:
        outcomes.append((notification.outcome, notification.reference))

    # Django runs the view on another event loop, so the shop has a client of its own.
    processor = CallbackProcessor(
        CallbackVerifier(
            secrets=[aurpay_sandbox.callback_secret],
            reference_key=REFERENCE_KEY,
            clock=aurpay_clock,
        ),
        handle,
        lookup=lookup,
        reader=aurpay_sandbox.client(reference_key=REFERENCE_KEY),
        inbox=MemoryInbox(),
    )
    use_django()
    view = callback_view(processor, public_base_url=SHOP)
    settings.ROOT_URLCONF = (path("aurpay/callback", view),)
    aurpay_sandbox.deliver_to(get_wsgi_application(), origin=SHOP)
    order = await aurpay_client.create_order(
        "20", "USD", reference="cart-42", callback_url=f"{SHOP}/aurpay/callback?shop=1"
    )
    orders[order.attempt_id or ""] = order
    await aurpay_sandbox.pay(order.order_id)
    aurpay_sandbox.assert_callbacks("paid")
    assert outcomes == [("paid", "cart-42")]


@pytest.mark.parametrize("posts", [False, True], ids=["GET", "POST"])
async def test_wsgi_application_receives_the_request_as_pep_3333_requires(
    aurpay_clock: FakeClock, *, posts: bool
) -> None:
    seen: list[dict[str, Any]] = []
    bodies: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append({**environ, "thread": threading.current_thread()})
        bodies.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("204 No Content", [])(b"")
        return []

    async with (
        Sandbox(clock=aurpay_clock, post_callbacks=posts) as sandbox,
        sandbox.client() as client,
    ):
        sandbox.deliver_to(validator(app), SHOP)
        sandbox.callback_faults.push("duplicate-headers")
        assert await pay_order(client, sandbox, CALLBACK) == (204, None)
        [callback] = sandbox.callbacks
    [environ] = seen
    signatures = [v for name, v in callback.headers if name == "Signature"]
    assert environ["HTTP_SIGNATURE"] == ",".join(signatures)
    assert environ["HTTP_CALLBACK_TOKEN"] == sandbox.callback_token
    assert environ["HTTP_HOST"] == environ["SERVER_NAME"] == "app.internal"
    assert environ["PATH_INFO"] == "/aurpay/c\xc3\xa9"
    assert environ["QUERY_STRING"] == "shop=a%2Fb"
    assert environ["RAW_URI"] == "/aurpay/c%C3%A9?shop=a%2Fb"
    assert environ["wsgi.url_scheme"] == "https"
    assert (environ["SERVER_PORT"], environ["REQUEST_METHOD"]) == (
        "443",
        "POST" if posts else "GET",
    )
    assert environ["CONTENT_TYPE"] == ("application/json" if posts else "")
    assert environ["thread"] is not threading.current_thread()
    [body] = bodies
    assert body == callback.body
    if posts:
        assert json.loads(body)["order_id"] == callback.order_id


async def test_exception_of_a_wsgi_application_is_recorded(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    def app(environ: dict[str, Any], _: object) -> list[bytes]:
        assert environ["RAW_URI"] == "/"
        raise RuntimeError("no such table")

    aurpay_sandbox.deliver_to(app, SHOP)
    result = await pay_order(aurpay_client, aurpay_sandbox, f"{SHOP}/")
    assert result == (None, "RuntimeError: no such table")


async def test_response_of_a_wsgi_application_is_read_and_closed(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    events: list[str] = []

    class Body:
        def __iter__(self) -> Any:
            events.append("read")
            yield b"ok"
            events.append("read to the end")

        def close(self) -> None:
            events.append("closed")

    def app(_: object, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    aurpay_sandbox.deliver_to(app, SHOP)
    assert await pay_order(aurpay_client, aurpay_sandbox, f"{SHOP}/") == (200, None)
    assert events == ["read", "read to the end", "closed"]


async def test_wsgi_application_that_never_answers_times_out(
    aurpay_client: AurpayClient,
    aurpay_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def silent(_: object, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        released.wait()
        return []

    monkeypatch.setattr(_callbacks, "_TIMEOUT_S", 0.01)
    aurpay_sandbox.deliver_to(silent, SHOP)
    try:
        result = await pay_order(aurpay_client, aurpay_sandbox, f"{SHOP}/")
    finally:
        released.set()
    assert result[1] == "TimeoutError: "
