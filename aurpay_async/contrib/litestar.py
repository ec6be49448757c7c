"""Callbacks in Litestar."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from litestar import (
        HttpMethod,
        MediaType,
        Request,  # noqa: TC002 - Litestar evaluates it when the application starts
        Response,
        route,
    )
    from litestar.datastructures import State  # noqa: TC002 - as Request
except ImportError as _error:
    raise ImportError(
        "this module needs Litestar: pip install 'aurpay-async[litestar]'"
    ) from _error

from ._common import PATH, CallbackRoute

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from .._core.money import Network
    from ..callbacks import CallbackProcessor, Kind

__all__ = ["callback_handler"]


def callback_handler(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    path: str = PATH,
    kind: Kind | None = None,
    allow_http: bool = False,
    network: Network = "mainnet",
) -> HTTPRouteHandler:
    """Return a route handler that passes callbacks to `processor`, without CSRF checks.

    Example:
        >>> handler = callback_handler(processor, public_base_url="https://shop.example")
        >>> app = Litestar(route_handlers=[handler])

    Args:
        processor: Verifies the callbacks, and calls the handler once for each.
        public_base_url: The part of the registered URLs before the route's path; behind
            a proxy, the server receives another host.
        path: The path of the route in this application.
        kind: The kind of callback that the route accepts, if the shop has two.
        allow_http: Accept ``http://`` beyond loopback, as the client; not on mainnet.
        network: The network of the client.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` is invalid.
    """
    callback = CallbackRoute(
        processor, public_base_url, kind, allow_http=allow_http, network=network
    )

    @route(
        path,
        http_method=list(HttpMethod),
        name=callback.name,
        media_type=MediaType.TEXT,
        include_in_schema=False,
        exclude_from_csrf=True,
    )
    async def aurpay_callback(request: Request[object, object, State]) -> Response[str]:
        reply = await callback.answer_asgi(request.scope, request.stream())
        return Response(
            # Litestar raises if a response to HEAD has a body.
            "" if request.method == "HEAD" else reply.text,
            status_code=reply.status,
            headers=reply.headers,
        )

    return aurpay_callback
