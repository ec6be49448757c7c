"""Accept Bitcoin Lightning payments through Aurpay, in asyncio programs.

>>> from aurpay_async import AurpayClient
>>> async with AurpayClient.from_env() as aurpay:
...     order = await aurpay.create_order("20.00", "USD")
...     print(order.payment_request)
lnbc...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from . import errors
from ._api.arguments import NewOrder
from ._api.lightning_order import LightningOrder
from ._api.models import Order, OrderStatus, Payment
from ._client import AurpayClient
from ._client.auth import ApiKey, ApiToken, Auth
from ._client.retry import RetryPolicy
from ._core.clock import Clock
from ._core.events import AttemptEvent, CallEvent, Event
from ._core.http import Effect, Request, Response, Timeouts, Transport
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
    OrderMismatchError,
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
    "OrderMismatchError",
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
    from ._api.models import Page
    from ._api.payment_models import (
        NewPayment,
        PaymentOrder,
        PaymentUrl,
        Refund,
        RefundInfo,
        Transaction,
        Withdrawal,
    )
    from ._client.lost_orders import OrderQuery, OrderSearchResult

    __version__: str
else:
    #: Names that few programs use, with their modules: imported on first access.
    _LAZY = {
        "OrderSearchResult": "._client.lost_orders",
        "OrderQuery": "._client.lost_orders",
        "NewPayment": "._api.payment_models",
        "Page": "._client.pagination",
        "PaymentOrder": "._api.payment_models",
        "PaymentUrl": "._api.payment_models",
        "Refund": "._api.payment_models",
        "RefundInfo": "._api.payment_models",
        "Transaction": "._api.payment_models",
        "Withdrawal": "._api.payment_models",
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
