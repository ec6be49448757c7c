"""Callbacks in Litestar.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from litestar import (
        HttpMethod,
        MediaType,
        Request,  # noqa: TC002 - Litestar looks it up when the application starts
        Response,
        route,
    )
    from litestar.datastructures import State  # noqa: TC002 - as Request
except ImportError as _error:
    raise ImportError(
        "this module needs Litestar: pip install 'aurpay-async[litestar]'"
    ) from _error

from ._callback import PATH, CallbackRoute

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from ..callbacks import CallbackProcessor, Kind

__all__ = ["callback_handler"]


def callback_handler(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    path: str = PATH,
    kind: Kind | None = None,
    allow_http: bool = False,
) -> HTTPRouteHandler:
    """A route handler that gives callbacks to `processor`; without CSRF protection.

    Example:
        >>> handler = callback_handler(processor, public_base_url="https://shop.example")
        >>> app = Litestar(route_handlers=[handler])

    Args:
        processor: Verifies the callbacks, and hands each to the shop once.
        public_base_url: What precedes the route's path in the URLs that were registered
            with the orders; behind a proxy, the server sees something else.
        path: Where this application takes them.
        kind: What the route is for, if the shop has two.
        allow_http: Accept ``http://`` in `public_base_url` also beyond loopback: as
            for the client, for a test network between containers only.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` cannot be used.

    .. versionadded:: 0.1.0
    """
    callback = CallbackRoute(processor, public_base_url, kind, allow_http=allow_http)

    @route(
        path,
        http_method=list(HttpMethod),
        name=callback.name,
        media_type=MediaType.TEXT,
        include_in_schema=False,
        exclude_from_csrf=True,
    )
    async def aurpay_callback(
        request: Request[object, object, State],
    ) -> Response[str]:
        reply = await callback.answer_asgi(request.scope, request.stream())
        return Response(
            # Litestar refuses to be given a body where HTTP has none.
            "" if request.method == "HEAD" else reply.text,
            status_code=reply.status,
            headers=reply.headers,
        )

    return aurpay_callback
