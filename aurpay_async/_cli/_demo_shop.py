"""A shop for the demonstration: what takes callbacks in aiohttp.web, and no more."""

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

_PATH: Final = "/aurpay/callback"


@final
class Shop:
    """Its orders, and what it was told of them."""

    def __init__(self) -> None:
        self.base_url = ""
        self.orders: dict[str, LightningOrder] = {}
        self.notifications: list[Notification] = []

    @property
    def callback_url(self) -> str:
        """What the platform is to call."""
        return self.base_url + _PATH

    async def lookup(self, token: Reference) -> LightningOrder | None:
        """The order that a callback is about."""
        return self.orders.get(token.attempt_id)

    async def handle(self, notification: Notification) -> None:
        """Where a real one delivers."""
        self.notifications.append(notification)


@asynccontextmanager
async def open_shop(
    sandbox: Sandbox, aurpay: AurpayClient, key: str
) -> AsyncGenerator[Shop, None]:
    """A shop on loopback that believes this sandbox, and asks it through the client."""
    shop = Shop()
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

    def make(base_url: str) -> Handler:
        return callback_handler(processor, public_base_url=base_url)

    async with serve(make) as shop.base_url:
        yield shop
