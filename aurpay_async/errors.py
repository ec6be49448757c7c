"""Every error of the SDK, in one tree.

::

    AurpayError
    ├─ ConfigurationError        (also ValueError)  the client was set up wrong
    ├─ InvalidRequestError       (also ValueError)  invalid argument, nothing sent
    ├─ TransportError                               no usable response
    │  ├─ ConnectError                              DNS, refused, TLS
    │  │  └─ ConnectTimeoutError                    (also RequestTimeoutError)
    │  ├─ RequestTimeoutError    (also TimeoutError)
    │  └─ ConnectionLostError                       reset, cut, disconnect
    ├─ APIError                                     Aurpay rejected the request
    │  ├─ AuthenticationError
    │  ├─ PermissionDeniedError
    │  ├─ NotFoundError
    │  ├─ RateLimitedError
    │  └─ ServerError
    ├─ InvalidResponseError                         not the documented schema
    │  └─ UntrustedOrderError                       an order exists, do not show it
    ├─ PaymentPendingError       (also TimeoutError)  not paid within the timeout
    ├─ InvoiceError                                 BOLT #11 on its own
    │  ├─ InvoiceDecodeError                        cannot be decoded
    │  └─ InvoiceInvalidError                       decoded, breaks a rule
    ├─ CallbackError                                the callback was rejected
    │  ├─ CallbackSignatureError                    not signed by Aurpay
    │  ├─ CallbackStaleError                        signed too long ago
    │  ├─ ClaimExpiredError                         the lease ran out
    │  └─ CallbackReferenceError                    of another order, kind or shop
    └─ OrderStoreError                              the order store returns no order
       ├─ ReferenceConflictError (also ValueError)  opened with another price
       ├─ AlreadyPaidError                          paid, and no invoice is stored
       ├─ PaymentNeedsReviewError                   paid, order not identified yet
       ├─ OrderNotReadyError                        order not stored yet
       ├─ UnknownOrderError      (also LookupError) not in the store
       └─ StoreUnavailableError                     the database cannot be used

After a call that creates something, :attr:`AurpayError.may_have_succeeded` tells
whether it may exist at Aurpay.
"""

from __future__ import annotations

from ._base import MAX_ERROR_BODY as MAX_ERROR_BODY
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
