"""Errors of the order store."""

from __future__ import annotations

from ._base import AurpayError, shown


class OrderStoreError(AurpayError):
    """The order store cannot return or record an order. No request was sent for it."""

    code = "order_store"

    def __init__(self, problem: str, *, reference: str | None = None) -> None:
        super().__init__(problem)
        #: The merchant's name for what is paid.
        self.reference = reference


class ReferenceConflictError(OrderStoreError, ValueError):
    """The order of a reference has another price or currency."""

    code = "reference_conflict"

    def __init__(self, reference: str, *, stored: str, requested: str) -> None:
        super().__init__(
            f"{shown(reference)} is stored with {stored}, and {requested} was "
            "requested; use a new reference when the price of a cart changes",
            reference=reference,
        )
        #: Price and currency in the store, such as ``"20.00 USD"``.
        self.stored = stored
        #: Price and currency that were requested.
        self.requested = requested


class AlreadyPaidError(OrderStoreError):
    """A reference is paid, and the store has no invoice of the paid order: fulfil.

    The response to the call that created the order was lost, or failed a check.
    """

    code = "already_paid"


class PaymentNeedsReviewError(OrderStoreError):
    """A reference was reported as paid, and the order is not identified yet.

    Until then no other order is created: see `OrderStore.needs_review`.
    """

    code = "payment_needs_review"


class OrderNotReadyError(OrderStoreError):
    """An order is still being created: its response is not stored yet. Retry.

    `OrderStore.lookup` raises it for a callback that is received before the response to
    the call that created the order. The callback processor then answers 503, so that
    Aurpay delivers the callback again.
    """

    code = "order_not_ready"
    retryable = True


class UnknownOrderError(OrderStoreError, LookupError):
    """The order is not in the order store."""

    code = "unknown_order"


class StoreUnavailableError(OrderStoreError):
    """The database is unreachable, does not respond, or rejected a statement.

    Raised for statements, connects and commits of this package; the driver's exception
    is the ``__cause__``. Exceptions of your own statements are not translated.
    `outcome` tells whether an order exists at Aurpay. The commit may have taken effect
    if the response to it was lost. The same call can be repeated.
    """

    code = "store_unavailable"
    retryable = True
