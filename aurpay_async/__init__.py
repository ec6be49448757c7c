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
from ._http import Effect, Request, Response, Timeouts
from ._lightning_order import LightningOrder
from ._models import NewOrder, Order, Payment
from ._order_life import OrderStatus
from ._retry import RetryPolicy
from ._transports._base import Transport
from .errors import (
    AlreadyPaidError,
    APIError,
    AurpayError,
    AuthenticationError,
    CallbackError,
    CallbackReferenceError,
    CallbackSignatureError,
    CallbackStaleError,
    ClaimExpiredError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidRequestError,
    InvalidResponseError,
    InvoiceDecodeError,
    InvoiceError,
    InvoiceInvalidError,
    NotFoundError,
    OrderNotReadyError,
    OrderStoreError,
    PaymentNeedsReviewError,
    PaymentPendingError,
    PermissionDeniedError,
    RateLimitedError,
    ReferenceConflictError,
    RequestOutcome,
    RequestTimeoutError,
    ServerError,
    StoreUnavailableError,
    TransportError,
    UnknownOrderError,
    UntrustedOrderError,
)

__all__ = [
    "APIError",
    "AlreadyPaidError",
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
    "CallbackSignatureError",
    "CallbackStaleError",
    "ClaimExpiredError",
    "Clock",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectionLostError",
    "Effect",
    "Event",
    "InvalidRequestError",
    "InvalidResponseError",
    "InvoiceDecodeError",
    "InvoiceError",
    "InvoiceInvalidError",
    "LightningOrder",
    "NewOrder",
    "NewPayment",
    "NotFoundError",
    "Order",
    "OrderNotReadyError",
    "OrderQuery",
    "OrderSearchResult",
    "OrderStatus",
    "OrderStoreError",
    "Page",
    "Payment",
    "PaymentNeedsReviewError",
    "PaymentOrder",
    "PaymentPendingError",
    "PaymentUrl",
    "PermissionDeniedError",
    "RateLimitedError",
    "ReferenceConflictError",
    "Refund",
    "RefundInfo",
    "Request",
    "RequestOutcome",
    "RequestTimeoutError",
    "Response",
    "RetryPolicy",
    "ServerError",
    "StoreUnavailableError",
    "Timeouts",
    "Transaction",
    "Transport",
    "TransportError",
    "UnknownOrderError",
    "UntrustedOrderError",
    "Withdrawal",
    "bolt11",
    "errors",
]


if TYPE_CHECKING:
    from . import bolt11
    from ._lost import OrderQuery, OrderSearchResult
    from ._models._payments import NewPayment, PaymentOrder, PaymentUrl
    from ._models._refunds import Refund, RefundInfo
    from ._models._transactions import Transaction, Withdrawal
    from ._paging import Page

    __version__: str
else:
    #: Names that few programs use, with their modules: imported on first access.
    _LAZY = {
        "OrderSearchResult": "._lost",
        "OrderQuery": "._lost",
        "NewPayment": "._models._payments",
        "Page": "._paging",
        "PaymentOrder": "._models._payments",
        "PaymentUrl": "._models._payments",
        "Refund": "._models._refunds",
        "RefundInfo": "._models._refunds",
        "Transaction": "._models._transactions",
        "Withdrawal": "._models._transactions",
    }

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

    def __getattr__(name: str) -> object:
        if name in _LAZY:
            return getattr(import_module(_LAZY[name], __name__), name)
        # bolt11 is slow to import, and so is importlib.metadata.
        if name == "bolt11":
            return import_module(".bolt11", __name__)
        if name == "__version__":
            from importlib.metadata import version

            return version("aurpay-async")
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
