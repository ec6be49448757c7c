"""Callbacks and server-sent events in aiohttp.web."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ._common import CONTENT_TYPE, HEADERS, CallbackRoute, RequestBody, stream_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from .._api.models import Order
    from .._core.money import Network
    from ..callbacks import CallbackProcessor, Kind

__all__ = ["callback_handler", "send_order_events"]

#: Seconds to read an unread body before the connection is closed: enough for a body
#: in transit.
_LINGER_S: Final = 1


def callback_handler(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    kind: Kind | None = None,
    allow_http: bool = False,
    network: Network = "mainnet",
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a request handler that passes callbacks to `processor`.

    Example:
        >>> handler = callback_handler(processor, public_base_url="https://shop.example")
        >>> app.router.add_route("*", "/aurpay/callback", handler)

    Args:
        processor: Verifies the callbacks, and calls the handler once for each.
        public_base_url: The part of the registered URLs before the route's path; behind
            a proxy, the server receives another host.
        kind: The kind of callback that the route accepts, if the shop has two.
        allow_http: Accept ``http://`` beyond loopback, as the client; not on mainnet.
        network: The network of the client.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` is invalid.
    """
    route = CallbackRoute(
        processor, public_base_url, kind, allow_http=allow_http, network=network
    )

    async def aurpay_callback(request: web.Request) -> web.Response:
        body = RequestBody(_chunks(request), request.content_length or 0)
        reply = await route.answer(
            method=request.method,
            url=route.address.url(request.raw_path),
            headers=request.raw_headers,
            body=body,
        )
        response = web.Response(
            text=reply.text, status=reply.status, headers=reply.headers
        )
        if request.can_read_body and not body.is_read:
            await _close_after(response, request)
        return response

    return aurpay_callback


async def send_order_events(
    request: web.Request,
    orders: AsyncGenerator[Order, None],
    *,
    until: Callable[[], Awaitable[bool]] | None = None,
) -> web.StreamResponse:
    """Stream an order's status to the payer's page, and return the sent response.

    Server-sent events: one with the public form (`to_public_dict`) of each order, and
    after the last one the event ``end``, at which the page closes its `EventSource`.
    The watcher is closed within 15 seconds after the browser has disconnected.

    Your handler decides which order the visitor may see: take its id from the session.

    Example:
        >>> async def events(request: web.Request) -> web.StreamResponse:
        ...     session = await get_session(request)  # of aiohttp-session
        ...     orders = aurpay.watch(session["order_id"])
        ...     return await send_order_events(request, orders)

    Args:
        request: The request that is answered.
        orders: The orders to send, such as the iterator of `AurpayClient.watch`.
        until: A function that is called every five seconds; if it returns true, the
            stream ends: another order of the same reference was paid, for example.
    """
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": CONTENT_TYPE})
    async with aclosing(stream_events(orders, until)) as events:
        with suppress(ConnectionError):  # the browser has disconnected
            await response.prepare(request)
            async for event in events:
                await response.write(event)
    return response


async def _close_after(response: web.Response, request: web.Request) -> None:
    """Send the response to a request with an unread body, and close the connection.

    RFC 9112, 9.6: after a "lingering close" the client receives the response. aiohttp
    by itself lingers for 10 s, and logs a traceback for each body that it cannot
    decompress.
    """
    response.force_close()
    with suppress(Exception):  # the client has disconnected, or sends broken gzip
        await response.prepare(request)
        await response.write_eof()
        async with asyncio.timeout(_LINGER_S):
            async for _ in request.content.iter_any():
                pass
    request.protocol.force_close()


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    if request.content.at_eof():
        yield await request.read()  # stored by aiohttp if a middleware has read it
        return
    async for chunk in request.content.iter_any():
        yield chunk
