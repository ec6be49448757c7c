"""Callbacks and server-sent events in Starlette and FastAPI."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, cast

try:
    from starlette.exceptions import HTTPException
    from starlette.requests import (
        Request,  # noqa: TC002 - FastAPI evaluates it when the application starts
    )
    from starlette.responses import (
        PlainTextResponse,
        Response,  # noqa: TC002 - as Request
        StreamingResponse,
    )
    from starlette.routing import Route
except ImportError as _error:
    raise ImportError(
        "this module needs Starlette: pip install 'aurpay-async[starlette]'"
    ) from _error

from ..callbacks._notifications import RejectionLog
from ..callbacks._verifier import verify_request
from ..errors import CallbackError
from ._common import (
    CONTENT_TYPE,
    HEADERS,
    METHODS,
    PATH,
    CallbackRoute,
    PublicAddress,
    asgi_body,
    require_kind,
    stream_events,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from fastapi import APIRouter
    from starlette.types import Receive, Scope, Send

    from .._api.models import Order
    from .._core.money import Network
    from ..callbacks import CallbackEvent, CallbackProcessor, CallbackVerifier, Kind

__all__ = ["callback_route", "callback_router", "order_events", "verified_callback"]


def callback_route(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    path: str = PATH,
    kind: Kind | None = None,
    allow_http: bool = False,
    network: Network = "mainnet",
) -> Route:
    """Return a Starlette route that passes callbacks to `processor`.

    Example:
        >>> route = callback_route(processor, public_base_url="https://shop.example")
        >>> app = Starlette(routes=[route])

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
    route = CallbackRoute(
        processor, public_base_url, kind, allow_http=allow_http, network=network
    )
    return Route(path, _endpoint(route), methods=METHODS, name=route.name)


def callback_router(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    path: str = PATH,
    kind: Kind | None = None,
    allow_http: bool = False,
    network: Network = "mainnet",
) -> APIRouter:
    """Return a FastAPI router that passes callbacks to `processor`; not in the schema.

    Example:
        >>> router = callback_router(processor, public_base_url="https://shop.example")
        >>> app.include_router(router)

    The arguments are those of `callback_route`.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` is invalid.
    """
    try:
        from fastapi import APIRouter  # Starlette alone is enough for the rest
    except ImportError as error:
        raise ImportError(
            "callback_router needs FastAPI: pip install 'aurpay-async[fastapi]'"
        ) from error

    route = CallbackRoute(
        processor, public_base_url, kind, allow_http=allow_http, network=network
    )
    router = APIRouter()
    router.add_api_route(
        path,
        _endpoint(route),
        methods=METHODS,
        name=route.name,
        response_model=None,
        include_in_schema=False,
    )
    return router


def verified_callback(
    verifier: CallbackVerifier,
    *,
    public_base_url: str,
    kind: Kind | None = None,
    allow_http: bool = False,
    network: Network = "mainnet",
) -> Callable[[Request], Awaitable[CallbackEvent]]:
    """Return a FastAPI dependency that verifies a callback and returns its event.

    Unlike a processor, it neither deduplicates callbacks nor reads orders back.

    Example:
        >>> verified = verified_callback(verifier, public_base_url="https://shop.example")
        >>> @app.get("/aurpay/callback")
        ... async def paid(event: Annotated[CallbackEvent, Depends(verified)]) -> str:
        ...     return event.reference

    `verifier` verifies the request; a rejected one is answered with 401. The other
    arguments are those of `callback_route`.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` is invalid.
    """
    address = PublicAddress(public_base_url, allow_http=allow_http, network=network)
    require_kind(kind)
    log = RejectionLog(None)

    async def verified(request: Request) -> CallbackEvent:
        body = asgi_body(request.scope, request.stream())
        event = await verify_request(
            verifier,
            request.method,
            address.asgi_url(request.scope),
            request.scope["headers"],
            body,
            kind,
        )
        if not isinstance(event, CallbackError):
            return event
        reply = log.reject(event, url=address.asgi_url(request.scope))
        headers = {**reply.headers, **({} if body.is_read else body.closing)}
        raise HTTPException(reply.status, headers=headers) from event

    return verified


def order_events(
    orders: AsyncGenerator[Order, None],
    *,
    until: Callable[[], Awaitable[bool]] | None = None,
) -> StreamingResponse:
    """Return a response that streams an order's status to the payer's page.

    Server-sent events: one with the public form (`to_public_dict`) of each order, and
    after the last one the event ``end``, at which the page closes its `EventSource`.
    The watcher is closed when the browser disconnects.

    Your route decides which order the visitor may see: take its id from the session.

    Example:
        >>> @app.get("/order/events")
        ... async def events(request: Request) -> StreamingResponse:
        ...     return order_events(aurpay.watch(request.session["order_id"]))

    Args:
        orders: The orders to send, such as the iterator of `AurpayClient.watch`.
        until: A function that is called every five seconds; if it returns true, the
            stream ends: another order of the same reference was paid, for example.
    """
    events = stream_events(orders, until)
    return _EventStream(events, headers=HEADERS, media_type=CONTENT_TYPE)


class _EventStream(StreamingResponse):
    """A response that closes its events, also if the browser has disconnected."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(cast("AsyncGenerator[bytes, None]", self.body_iterator)):
            await super().__call__(scope, receive, send)


def _endpoint(route: CallbackRoute) -> Callable[[Request], Awaitable[Response]]:
    async def aurpay_callback(request: Request) -> Response:
        reply = await route.answer_asgi(request.scope, request.stream())
        return PlainTextResponse(reply.text, reply.status, reply.headers)

    return aurpay_callback
