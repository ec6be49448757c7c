"""Why the order store gives no order."""

from __future__ import annotations

from ._base import AurpayError, shown


class OrderStoreError(AurpayError):
    """The order store cannot give, or take, an order. Nothing was sent because of it.

    .. versionadded:: 0.1.0
    """

    code = "order_store"

    def __init__(self, problem: str, *, reference: str | None = None) -> None:
        super().__init__(problem)
        #: The shop's own name for what is paid.
        self.reference = reference


class ReferenceConflictError(OrderStoreError, ValueError):
    """A reference was opened with another price or currency.

    .. versionadded:: 0.1.0
    """

    code = "reference_conflict"

    def __init__(self, reference: str, *, booked: str, asked: str) -> None:
        super().__init__(
            f"{shown(reference)} was opened for {booked}, and is now asked for "
            f"{asked}; give a cart whose price changes another reference",
            reference=reference,
        )
        #: Price and currency that are in the store, such as ``"20.00 USD"``.
        self.booked = booked
        #: The ones that were asked for.
        self.asked = asked


class AlreadyPaidError(OrderStoreError):
    """A reference is paid, with an order whose invoice nobody holds: deliver.

    Such an order is one whose answer was lost, or was not to be trusted.

    .. versionadded:: 0.1.0
    """

    code = "already_paid"


class PaymentNeedsReviewError(OrderStoreError):
    """A callback says that a reference is paid, and the order cannot be told yet.

    No other order is made meanwhile: see `OrderStore.needs_review`.

    .. versionadded:: 0.1.0
    """

    code = "payment_needs_review"


class OrderNotReadyError(OrderStoreError):
    """An order is still being created: its answer is not stored yet. Ask again.

    `OrderStore.lookup` raises it for a callback that arrives before the answer to the
    call that created the order. The callback processor then answers 503, so that
    Aurpay delivers the callback again.

    .. versionadded:: 0.1.0
    """

    code = "order_not_ready"
    retryable = True


class UnknownOrderError(OrderStoreError, LookupError):
    """The order store has no such order.

    .. versionadded:: 0.1.0
    """

    code = "unknown_order"


class StoreUnavailableError(OrderStoreError):
    """The database could not be used: unreachable, silent, or it rejected a statement.

    Raised for statements, connects and commits of this package, whatever the driver
    raised; that error is the ``__cause__``. Exceptions of your own statements are not
    translated. `outcome` says what exists at the platform; a commit whose answer was
    lost may have taken effect. The same call may be made again.

    .. versionadded:: 0.1.0
    """

    code = "store_unavailable"
    retryable = True
