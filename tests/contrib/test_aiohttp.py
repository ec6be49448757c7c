"""What is special about aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from aurpay_async.contrib.aiohttp import callback_handler

from .deliveries import CALLBACK, PUBLIC, registered, request, signed
from .shops import Shop, exchange, listening, serve_aiohttp

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Awaitable, Callable


def test_a_target_may_be_a_whole_url() -> None:
    """As RFC 9112 has it: proxies send such ones."""
    url = registered("absolute")
    sent = request(url, *signed(url)).replace(b"GET ", b"GET http://app.internal:8000")
    shop = Shop()
    with listening(serve_aiohttp, shop) as port:
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


def test_a_middleware_may_read_the_body_first() -> None:
    """What it says is looked at all the same."""
    url = registered("read")
    wrong, right = (
        request(url, *signed(url), method="POST", body=body)
        for body in (b'{"vs_price": "0.01"}', b'{"vs_price": "20.00"}')
    )
    with listening(_serve, Shop()) as port:
        assert exchange(port, wrong).status == 401
        assert exchange(port, right).status == 200
