"""Callbacks in Django, under ASGI or WSGI."""

# Django has no type annotations, and its stubs are not a dependency.
# mypy: disable-error-code="import-untyped"
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

try:
    from django.http import HttpResponse
    from django.views.decorators.csrf import csrf_exempt
except ImportError as _error:
    raise ImportError(
        "this module needs Django: pip install 'aurpay-async[django]'"
    ) from _error

from ..callbacks import MAX_BODY
from ..errors import ConfigurationError
from ._common import CallbackRoute, require_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .._core.money import Network
    from ..callbacks import CallbackProcessor, Kind
    from ._common import Headers, PublicAddress, Scope

    View = Callable[..., Awaitable[HttpResponse]]

__all__ = ["callback_view"]


def callback_view(
    processor: CallbackProcessor,
    *,
    public_base_url: str,
    kind: Kind | None = None,
    allow_http: bool = False,
    network: Network = "mainnet",
) -> View:
    """Return a view that passes callbacks to `processor`; without CSRF protection.

    Under WSGI it needs a server that provides the undecoded request target, such as
    gunicorn, uWSGI or mod_wsgi; with others it raises `ConfigurationError` for each
    request.

    Example:
        >>> paid = callback_view(processor, public_base_url="https://shop.example")
        >>> urlpatterns = [path("aurpay/callback", paid)]

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

    async def aurpay_callback(
        request: _Request, *_: object, **__: object
    ) -> HttpResponse:
        async def read() -> bytes:
            # Under ASGI, Django has stored the whole body in memory or a file by now.
            body = request.read(MAX_BODY + 1)
            require_size(len(body))
            return body

        url, headers = _head(request, route.address)
        reply = route.answer(method=request.method, url=url, headers=headers, body=read)
        del url, headers
        answer = await reply
        return HttpResponse(
            answer.text.encode(),
            content_type="text/plain; charset=utf-8",
            status=answer.status,
            headers=answer.headers,
        )

    return cast("View", csrf_exempt(aurpay_callback))


class _Request(Protocol):
    """The interface that `ASGIRequest` and `WSGIRequest` of Django share."""

    method: str
    headers: Mapping[str, str]

    def read(self, size: int, /) -> bytes: ...


def _head(request: _Request, address: PublicAddress) -> tuple[str, Headers]:
    scope = cast("Scope | None", getattr(request, "scope", None))
    if scope is not None:
        # Not `request.headers`, which joins repeated headers.
        return address.asgi_url(scope), cast("Headers", scope["headers"])
    environ = cast("Mapping[str, str]", getattr(request, "environ", {}))
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not target:
        raise ConfigurationError(
            "this WSGI server does not provide the undecoded request target (RAW_URI "
            "or REQUEST_URI); use gunicorn, uWSGI, mod_wsgi, or any ASGI server"
        )
    return address.url(target), request.headers
