"""Every error of the SDK, in one tree.

::

    AurpayError
    ├─ ConfigurationError        (also ValueError)  the client was set up wrong
    ├─ InvalidRequestError       (also ValueError)  an argument was refused locally
    ├─ TransportError                               no usable answer
    │  ├─ ConnectError                              DNS, refused, TLS
    │  │  └─ ConnectTimeoutError                    (also RequestTimeoutError)
    │  ├─ RequestTimeoutError    (also TimeoutError)
    │  └─ ConnectionLostError                       reset, cut, disconnect
    ├─ APIError                                     the platform answered no
    │  ├─ AuthenticationError
    │  ├─ PermissionDeniedError
    │  ├─ NotFoundError
    │  ├─ RateLimitedError
    │  └─ ServerError
    ├─ InvalidResponseError                         not the documented shape
    │  └─ UntrustedOrderError                       an order exists, do not show it
    ├─ PaymentPendingError       (also TimeoutError)  waited, and nobody paid
    ├─ InvoiceError                                 BOLT #11 on its own
    │  ├─ InvoiceDecodeError                        cannot be read
    │  └─ InvoiceInvalidError                       readable, breaks a rule
    ├─ CallbackError                                not taken for a notification
    │  ├─ CallbackSignatureError                    not signed by the platform
    │  ├─ CallbackStaleError                        signed too long ago
    │  ├─ ClaimExpiredError                     handled already
    │  └─ CallbackReferenceError                    of another order, kind or shop
    └─ OrderStoreError                               the order store gives no order
       ├─ ReferenceConflictError (also ValueError)  opened with another price
       ├─ AlreadyPaidError                          by an order that nobody holds
       ├─ PaymentNeedsReviewError                       by an order that nobody can tell
       ├─ OrderNotReadyError                        its answer is not stored yet
       ├─ UnknownOrderError      (also LookupError) not in the store
       └─ StoreUnavailableError                     the database cannot be used

Whoever creates something at the platform asks one question of an error: *may it
exist?* The answer is :attr:`AurpayError.outcome`.
"""

from __future__ import annotations

from ._base import MAX_KEPT_BODY as MAX_KEPT_BODY
from ._base import AurpayError, RequestOutcome
from ._base import shown as shown
from ._callbacks import (
    CallbackError,
    CallbackReferenceError,
    CallbackSignatureError,
    CallbackStaleError,
    ClaimExpiredError,
)
from ._calls import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PaymentPendingError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    TransportError,
    UntrustedOrderError,
)
from ._invoices import (
    InvoiceDecodeError,
    InvoiceError,
    InvoiceInvalidError,
)
from ._orders import (
    AlreadyPaidError,
    OrderNotReadyError,
    OrderStoreError,
    PaymentNeedsReviewError,
    ReferenceConflictError,
    StoreUnavailableError,
    UnknownOrderError,
)

__all__ = [
    "APIError",
    "AlreadyPaidError",
    "AurpayError",
    "AuthenticationError",
    "CallbackError",
    "CallbackReferenceError",
    "CallbackSignatureError",
    "CallbackStaleError",
    "ClaimExpiredError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectionLostError",
    "InvalidRequestError",
    "InvalidResponseError",
    "InvoiceDecodeError",
    "InvoiceError",
    "InvoiceInvalidError",
    "NotFoundError",
    "OrderNotReadyError",
    "OrderStoreError",
    "PaymentNeedsReviewError",
    "PaymentPendingError",
    "PermissionDeniedError",
    "RateLimitedError",
    "ReferenceConflictError",
    "RequestOutcome",
    "RequestTimeoutError",
    "ServerError",
    "StoreUnavailableError",
    "TransportError",
    "UnknownOrderError",
    "UntrustedOrderError",
]
