"""Callbacks in Starlette and FastAPI.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from starlette.exceptions import HTTPException
    from starlette.requests import (
        Request,  # noqa: TC002 - FastAPI looks it up when the application starts
    )
    from starlette.responses import (
        PlainTextResponse,
        Response,  # noqa: TC002 - as Request
    )
    from starlette.routing import Route
except ImportError as _error:
    raise ImportError(
        "this module needs Starlette: pip install 'aurpay-async[starlette]'"
    ) from _error

from .._urls import without_query
from ..callbacks._body import verify_request
from ..callbacks._reply import RejectionLog
from ..errors import CallbackError
from ._callback import (
    METHODS,
    PATH,
    CallbackRoute,
    PublicAddress,
    RequestBody,
    asgi_closing,
    asgi_headers,
    asgi_length,
    require_kind,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import APIRouter

    from ..callbacks import CallbackEvent, CallbackProcessor, CallbackVerifier, Kind

__all__ = ["callback_route", "callback_router", "verified_callback"]


def callback_route(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    path: str = PATH,
    kind: Kind | None = None,
    allow_http: bool = False,
) -> Route:
    """A route of Starlette that gives callbacks to `processor`.

    Example:
        >>> route = callback_route(processor, public_base_url="https://shop.example")
        >>> app = Starlette(routes=[route])

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
    route = CallbackRoute(processor, public_base_url, kind, allow_http=allow_http)
    return Route(path, _endpoint(route), methods=METHODS, name=route.name)


def callback_router(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    path: str = PATH,
    kind: Kind | None = None,
    allow_http: bool = False,
) -> APIRouter:
    """A router of FastAPI that gives callbacks to `processor`; in no schema.

    Example:
        >>> router = callback_router(processor, public_base_url="https://shop.example")
        >>> app.include_router(router)

    Args:
        processor: As for `callback_route`.
        public_base_url: As for `callback_route`.
        path: As for `callback_route`.
        kind: As for `callback_route`.
        allow_http: As for `callback_route`.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` cannot be used.

    .. versionadded:: 0.1.0
    """
    try:
        from fastapi import APIRouter  # Starlette alone is enough for the rest
    except ImportError as error:
        raise ImportError(
            "callback_router needs FastAPI: pip install 'aurpay-async[fastapi]'"
        ) from error

    route = CallbackRoute(processor, public_base_url, kind, allow_http=allow_http)
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
) -> Callable[[Request], Awaitable[CallbackEvent]]:
    """A dependency of FastAPI: the event of a callback that is genuine.

    It neither counts an event once nor asks the platform, as a processor does.

    Example:
        >>> verified = verified_callback(verifier, public_base_url="https://shop.example")
        >>> @app.get("/aurpay/callback")
        ... async def paid(event: Annotated[CallbackEvent, Depends(verified)]) -> str:
        ...     return event.reference

    Args:
        verifier: Checks the request; everything else is answered with a 401.
        public_base_url: As for `callback_route`.
        kind: As for `callback_route`.
        allow_http: As for `callback_route`.

    Raises:
        ConfigurationError: if `public_base_url` or `kind` cannot be used.

    .. versionadded:: 0.1.0
    """
    address = PublicAddress(public_base_url, allow_http=allow_http)
    require_kind(kind)
    reporter = RejectionLog(None)

    async def verified(request: Request) -> CallbackEvent:
        body = RequestBody(request.stream(), asgi_length(request.scope))
        event = await verify_request(
            verifier,
            method=request.method,
            url=address.asgi_url(request.scope),
            headers=asgi_headers(request.scope),
            body=body,
            kind=kind,
        )
        if not isinstance(event, CallbackError):
            return event
        called = without_query(address.asgi_url(request.scope))
        reply = reporter.reject(event, url=called)
        headers = {**reply.headers, **asgi_closing(request.scope, body)}
        raise HTTPException(reply.status, headers=headers) from event

    return verified


def _endpoint(route: CallbackRoute) -> Callable[[Request], Awaitable[Response]]:
    async def aurpay_callback(request: Request) -> Response:
        reply = await route.answer_asgi(request.scope, request.stream())
        return PlainTextResponse(reply.text, reply.status, reply.headers)

    return aurpay_callback
