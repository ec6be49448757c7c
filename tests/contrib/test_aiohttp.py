"""The aiohttp adapter: absolute targets, and bodies that a middleware has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from aurpay_async.contrib.aiohttp import callback_handler

from .deliveries import CALLBACK, PUBLIC, registered, request, signed
from .shops import Shop, exchange, serve_aiohttp, serve_in_thread

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Awaitable, Callable


def test_aiohttp_accepts_an_absolute_request_target() -> None:
    url = registered("absolute")
    sent = request(url, *signed(url)).replace(b"GET ", b"GET http://app.internal:8000")
    shop = Shop()
    with serve_in_thread(serve_aiohttp, shop) as port:
        assert exchange(port, sent).status == 200
    assert shop.handled == ["absolute"]


@web.middleware
async def _reads_bodies(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    await request.read()
    return await handler(request)


async def _serve(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    app = web.Application(middlewares=[_reads_bodies])
    handler = callback_handler(shop.processor, public_base_url=PUBLIC)
    app.router.add_route("*", CALLBACK.removeprefix(PUBLIC), handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    await stop.wait()
    await runner.cleanup()


def test_aiohttp_verifies_a_body_that_a_middleware_has_read() -> None:
    url = registered("read")
    wrong, right = (
        request(url, *signed(url), method="POST", body=body)
        for body in (b'{"vs_price": "0.01"}', b'{"vs_price": "20.00"}')
    )
    with serve_in_thread(_serve, Shop()) as port:
        assert exchange(port, wrong).status == 401
        assert exchange(port, right).status == 200
