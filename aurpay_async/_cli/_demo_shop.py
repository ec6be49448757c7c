"""The shop of ``aurpay demo``: a callback route of aiohttp.web."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final

from ..callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from ..contrib.aiohttp import callback_handler
from ._web import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._client import AurpayClient
    from .._lightning_order import LightningOrder
    from ..callbacks import Notification, Reference
    from ..sandbox import Sandbox
    from ._web import Handler

_CALLBACK_PATH: Final = "/aurpay/callback"


@final
class DemoShop:
    """Orders of the shop, and the notifications that it received."""

    def __init__(self) -> None:
        self.base_url = ""
        self.orders: dict[str, LightningOrder] = {}
        self.notifications: list[Notification] = []

    @property
    def callback_url(self) -> str:
        """Return the URL that the platform calls."""
        return self.base_url + _CALLBACK_PATH

    async def lookup(self, token: Reference) -> LightningOrder | None:
        """Return the order of a callback."""
        return self.orders.get(token.attempt_id)

    async def handle(self, notification: Notification) -> None:
        """Store a notification; a real shop would fulfil the order."""
        self.notifications.append(notification)


@asynccontextmanager
async def open_shop(
    sandbox: Sandbox, aurpay: AurpayClient, key: str
) -> AsyncGenerator[DemoShop, None]:
    """Serve a shop on loopback that accepts callbacks of this sandbox."""
    shop = DemoShop()
    verifier = CallbackVerifier(
        secrets=[sandbox.callback_secret],
        tokens=[sandbox.callback_token],
        reference_key=key,
    )
    processor = CallbackProcessor(
        verifier,
        shop.handle,
        lookup=shop.lookup,
        reader=aurpay,
        inbox=MemoryInbox(),
    )

    def make_handler(base_url: str) -> Handler:
        return callback_handler(processor, public_base_url=base_url)

    async with serve(make_handler) as shop.base_url:
        yield shop
