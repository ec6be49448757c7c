"""Callbacks in Quart."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from quart import Blueprint, Response, request
except ImportError as _error:
    raise ImportError(
        "this module needs Quart: pip install 'aurpay-async[quart]'"
    ) from _error

from ._common import METHODS, PATH, CallbackRoute

if TYPE_CHECKING:
    from .._core.money import Network
    from ..callbacks import CallbackProcessor, Kind

__all__ = ["callback_blueprint"]


def callback_blueprint(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    path: str = PATH,
    kind: Kind | None = None,
    allow_http: bool = False,
    network: Network = "mainnet",
) -> Blueprint:
    """Return a blueprint that passes callbacks to `processor`.

    Example:
        >>> paid = callback_blueprint(processor, public_base_url="https://shop.example")
        >>> app.register_blueprint(paid)

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
    blueprint = Blueprint(route.name, __name__)

    async def aurpay_callback(**_: object) -> Response:
        reply = await route.answer_asgi(request.scope, request.body)
        return Response(
            reply.text,
            reply.status,
            dict(reply.headers),
            content_type="text/plain; charset=utf-8",
        )

    blueprint.add_url_rule(
        path,
        view_func=aurpay_callback,
        methods=METHODS,
        provide_automatic_options=False,
        strict_slashes=False,
    )
    return blueprint
