"""The Litestar adapter: middlewares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .deliveries import PUBLIC, registered, request, signed
from .shops import Shop, exchange, serve_in_thread, serve_uvicorn

if TYPE_CHECKING:
    import asyncio
    import socket

    from litestar.types import ASGIApp, Receive, Scope, Send


def _reads_bodies(app: ASGIApp) -> ASGIApp:
    from litestar import Request

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await app(scope, receive, send)

    return middleware


async def _serve(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from litestar import Litestar
    from litestar.config.csrf import CSRFConfig

    from aurpay_async.contrib.litestar import callback_handler

    app = Litestar(
        [callback_handler(shop.processor, public_base_url=PUBLIC)],
        csrf_config=CSRFConfig(secret="test-secret"),
        logging_config=None,
        middleware=[_reads_bodies],
    )
    await serve_uvicorn(app, sock, stop)


def test_litestar_callback_passes_csrf_protection_and_body_reading_middlewares() -> (
    None
):
    url = registered("read")
    wrong, right = (
        request(url, *signed(url), method="POST", body=body)
        for body in (b'{"vs_price": "0.01"}', b'{"vs_price": "20.00"}')
    )
    with serve_in_thread(_serve, Shop()) as port:
        assert exchange(port, wrong).status == 401
        assert exchange(port, right).status == 200
