"""Callbacks in aiohttp.web.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ._callback import CallbackRoute, RequestBody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..callbacks import Dispatcher, Kind

__all__ = ["callback_handler"]


def callback_handler(
    dispatcher: Dispatcher, *, public_base_url: str, kind: Kind | None = None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that gives callbacks to `dispatcher`.

    Example:
        >>> handler = callback_handler(dispatcher, public_base_url="https://shop.example")
        >>> app.router.add_route("*", "/aurpay/callback", handler)

    Args:
        dispatcher: Verifies the callbacks, and hands each to the shop once.
        public_base_url: What precedes the route's path in the URLs that were registered
            with the orders; behind a proxy, the server sees something else.
        kind: What the route is for, if the shop has two.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` cannot be used.

    .. versionadded:: 0.1.0
    """
    route = CallbackRoute(dispatcher, public_base_url, kind)

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
            response.force_close()
        return response

    return aurpay_callback


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    if request.content.at_eof():
        yield await request.read()  # kept, if a middleware has read it before
        return
    async for chunk in request.content.iter_any():
        yield chunk
