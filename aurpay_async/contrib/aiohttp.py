"""Callbacks in aiohttp.web.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ._callback import CallbackRoute, RequestBody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..callbacks import CallbackProcessor, Kind

__all__ = ["callback_handler"]

#: More than a body that is on its way takes, less than is worth to hold open.
_LINGER_S: Final = 1


def callback_handler(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    kind: Kind | None = None,
    allow_http: bool = False,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that gives callbacks to `processor`.

    Example:
        >>> handler = callback_handler(processor, public_base_url="https://shop.example")
        >>> app.router.add_route("*", "/aurpay/callback", handler)

    Args:
        processor: Verifies the callbacks, and hands each to the shop once.
        public_base_url: What precedes the route's path in the URLs that were registered
            with the orders; behind a proxy, the server sees something else.
        kind: What the route is for, if the shop has two.
        allow_http: Accept ``http://`` in `public_base_url` also beyond loopback: as
            for the client, for a test network between containers only.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` cannot be used.

    .. versionadded:: 0.1.0
    """
    route = CallbackRoute(processor, public_base_url, kind, allow_http=allow_http)

    async def aurpay_callback(request: web.Request) -> web.Response:
        body = RequestBody(_chunks(request), request.content_length)
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


async def _close_after(response: web.Response, request: web.Request) -> None:
    """Send a response whose request has an unread body, and end the connection.

    RFC 9112, 9.6: a server "in a lingering close" reads on for a while, so that the
    client gets the response. aiohttp itself would do so for 10 s, and log a traceback
    for each body that it cannot unpack.
    """
    response.force_close()
    with suppress(Exception):  # the client has left, or sends what is no gzip
        await response.prepare(request)
        await response.write_eof()
        async with asyncio.timeout(_LINGER_S):
            async for _ in request.content.iter_any():
                pass
    request.protocol.force_close()


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    if request.content.at_eof():
        yield await request.read()  # kept, if a middleware has read it before
        return
    async for chunk in request.content.iter_any():
        yield chunk
