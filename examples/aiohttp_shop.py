"""A whole aiohttp shop in one file: orders, QR code, live status, callbacks, shipments.

Set the variables of ``AurpayClient.from_env``, ``AURPAY_CALLBACK_SECRET``,
``AURPAY_REFERENCE_KEY``, ``AURPAY_DATABASE`` and ``SHOP_URL``, the shop's public
address; then run ``python -m examples.aiohttp_shop``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from aiohttp import web
from sqlalchemy import text

from aurpay_async import AurpayClient, AurpayError, OrderStoreError
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, sql
from aurpay_async.contrib.aiohttp import callback_handler, send_order_events
from aurpay_async.orders import OrderStore, may_retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async.callbacks import Notification
    from aurpay_async.orders import Change

_log = logging.getLogger("shop")

PRICE = "20.00"  # in your shop: that of the cart, which stays the same
WAIT_S = 20  # less than your proxy and the payer wait
CALLBACK = "/aurpay/callback"
RETRY = {"Retry-After": "5"}
SHIPMENTS = "CREATE TABLE IF NOT EXISTS shipments (reference TEXT PRIMARY KEY)"


class Shop:
    """The shop at `url`, its public address."""

    def __init__(
        self, aurpay: AurpayClient, verifier: CallbackVerifier, database: str, url: str
    ) -> None:
        self.aurpay, self.url = aurpay, url
        self.store = OrderStore(aurpay, database)
        self.processor = CallbackProcessor(
            verifier,
            self.notified,
            reader=aurpay,
            lookup=self.store.lookup,
            inbox=sql.SqlInbox(self.store.engine),
        )

    def app(self) -> web.Application:
        """Return the application."""
        handler = callback_handler(self.processor, public_base_url=self.url)
        app = web.Application()
        app.cleanup_ctx.append(self.background)
        app.router.add_post("/carts/{number}/pay", self.pay)
        app.router.add_get("/carts/{number}/events", self.events)
        app.router.add_get("/carts/{number}/done", self.done)
        app.router.add_route("*", CALLBACK, handler)
        return app

    async def background(self, _: web.Application) -> AsyncIterator[None]:
        """Migrate the database, and find payments with a lost callback."""
        async with self.aurpay, self.store:
            await self.store.upgrade()
            async with self.store.engine.begin() as connection:
                await connection.execute(text(SHIPMENTS))
            async with self.store.running(every=60, on_change=self.fulfil):
                yield

    async def fulfil(self, change: Change, connection: AsyncConnection) -> None:
        """Ship a paid cart, in the transaction that records the payment."""
        if change.newly_paid:  # true once for each reference
            shipment = text("INSERT INTO shipments VALUES (:reference)")
            await connection.execute(shipment, {"reference": change.reference})

    async def notified(self, notification: Notification) -> None:
        """Record a callback in store, shop and inbox, in one transaction."""
        async with self.store.engine.begin() as tx:
            change = await self.store.record(notification, connection=tx)
            await self.fulfil(change, tx)
            await notification.ack(tx)

    async def pay(self, request: web.Request) -> web.Response:
        """Send the order of a cart, and its QR code."""
        urls = dict.fromkeys(["callback_url", "timeout_callback"], self.url + CALLBACK)
        urls["succeed_url"] = f"{self.url}{request.rel_url.parent}/done"
        try:
            async with asyncio.timeout(WAIT_S):
                order = await self.store.get_or_create(
                    _cart(request), PRICE, "USD", **urls
                )
        except (AurpayError, TimeoutError) as error:
            _log.warning("no order for %s: %r", _cart(request), error)
            if may_retry(error):  # the same call is safe, and can succeed
                raise web.HTTPServiceUnavailable(headers=RETRY) from error
            if isinstance(error, OrderStoreError):
                raise web.HTTPConflict(reason=error.code) from error
            raise  # 500: correct the shop or its set-up
        qr = await asyncio.to_thread(order.payment_request.qr_svg)
        return web.json_response(order.to_public_dict() | {"qr_svg": qr})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream the status of a cart's newest order to its page."""
        attempts = await self.store.attempts(_cart(request))
        orders = [attempt.order_id for attempt in attempts if attempt.order_id]
        if not orders:
            raise web.HTTPNotFound

        async def is_paid() -> bool:  # by this order, or by another one of the cart
            attempts = await self.store.attempts(_cart(request))
            return any(attempt.state == "paid" for attempt in attempts)

        watcher = self.aurpay.watch(orders[0])
        return await send_order_events(request, watcher, until=is_paid)

    async def done(self, request: web.Request) -> web.Response:
        """Say whether a cart is paid, also if its callback was lost."""
        try:
            change = await self.store.record(
                reference=_cart(request), on_change=self.fulfil
            )
        except AurpayError as error:  # reconciliation records it later
            raise web.HTTPServiceUnavailable(headers=RETRY) from error
        status = change.attempt.status
        return web.json_response({"paid": status is not None and status.is_paid})


def _cart(request: web.Request) -> str:
    # In your shop, from the visitor's session: a visitor sees only their own cart.
    return f"cart-{request.match_info['number']}"


if __name__ == "__main__":
    shop = Shop(
        AurpayClient.from_env(),
        CallbackVerifier.from_env(),
        os.environ["AURPAY_DATABASE"],
        os.environ["SHOP_URL"],
    )
    # No access log: URLs of callbacks contain reference tokens.
    web.run_app(shop.app(), port=8000, access_log=None)
