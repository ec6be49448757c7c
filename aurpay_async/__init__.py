"""Take Bitcoin Lightning payments through Aurpay, from asyncio.

>>> from aurpay_async import ApiKey, AurpayClient
>>> async with AurpayClient(ApiKey("...")) as aurpay:  # doctest: +SKIP
...     order = await aurpay.create_order("20.00", "USD")
...     print(order.payment_request)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from . import errors
from ._auth import ApiKey, ApiToken, Auth
from ._client import AurpayClient
from ._clock import Clock
from ._events import AttemptEvent, CallEvent, Event
from ._http import Request, Response, Safety, Timeouts
from ._lightning_order import LightningOrder
from ._models import NewOrder, Order, Payment
from ._order_life import OrderStatus
from ._retry import RetryPolicy
from ._transports._base import Transport
from .errors import (
    APIError,
    AurpayError,
    AuthenticationError,
    CallbackError,
    CallbackReferenceError,
    CallbackReplayedError,
    CallbackSignatureError,
    CallbackStaleError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    Delivery,
    InvalidRequestError,
    InvalidResponseError,
    InvoiceDecodeError,
    InvoiceError,
    InvoiceInvalidError,
    NotFoundError,
    PaymentPendingError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    TransportError,
    UntrustedOrderError,
)

__all__ = [
    "APIError",
    "ApiKey",
    "ApiToken",
    "AttemptEvent",
    "AurpayClient",
    "AurpayError",
    "Auth",
    "AuthenticationError",
    "CallEvent",
    "CallbackError",
    "CallbackReferenceError",
    "CallbackReplayedError",
    "CallbackSignatureError",
    "CallbackStaleError",
    "Clock",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectionLostError",
    "Delivery",
    "Event",
    "InvalidRequestError",
    "InvalidResponseError",
    "InvoiceDecodeError",
    "InvoiceError",
    "InvoiceInvalidError",
    "LightningOrder",
    "NewOrder",
    "NotFoundError",
    "Order",
    "OrderStatus",
    "Payment",
    "PaymentPendingError",
    "PermissionDeniedError",
    "RateLimitedError",
    "Request",
    "RequestTimeoutError",
    "Response",
    "RetryPolicy",
    "Safety",
    "ServerError",
    "Timeouts",
    "Transport",
    "TransportError",
    "UntrustedOrderError",
    "bolt11",
    "errors",
]


if TYPE_CHECKING:
    from . import bolt11

    __version__: str
else:

    def __getattr__(name: str) -> object:
        # What is slow to load is loaded when it is asked for.
        if name == "bolt11":
            return import_module(".bolt11", __name__)
        if name == "__version__":
            from importlib.metadata import version

            return version("aurpay-async")
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
