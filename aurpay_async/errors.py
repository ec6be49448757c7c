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
    ├─ OrderMismatchError                           not the merchant's order
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

import copyreg
import re
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ._api.arguments import NewOrder
    from .bolt11 import Invoice


#: Bytes of a raw response that an error stores: more than any documented response has
#: (the longest is under 2 KiB), and little enough to log and pickle.
MAX_ERROR_BODY: Final = 16 * 1024

#: Characters of an untrusted string that a message shows.
_MAX_SHOWN: Final = 200


class RequestOutcome(Enum):
    """The outcome of a failed request: whether it may have taken effect at Aurpay."""

    #: Nothing was sent, so nothing was created. Retrying is safe.
    NOT_SENT = "not_sent"
    #: Aurpay rejected the request: nothing was created. A retry is rejected again.
    REJECTED = "rejected"
    #: The request was sent and no usable response was received. Query Aurpay before a
    #: retry.
    UNKNOWN = "unknown"


class AurpayError(Exception):
    """The base class of every error that this SDK raises.

    All of them can be pickled and copied with every field.
    """

    #: Stable identifier for programs; the message is for people and may change. Each
    #: class has its own: ``invalid_request`` is that of `InvalidRequestError`.
    code: ClassVar[str] = "aurpay_error"

    #: Whether the request was sent, rejected, or may have taken effect.
    outcome: RequestOutcome = RequestOutcome.NOT_SENT
    #: Number of attempts.
    attempts: int = 0
    #: Whether the same call can be repeated without a duplicate effect.
    retryable: bool = False
    #: Start of the last attempt (aware, UTC); ``None`` if nothing was sent.
    sent_at: datetime | None = None
    #: The order's id, if the response still contained it.
    order_id: str | None = None
    #: The order that the call was to create, if it was such a call.
    new_order: NewOrder | None = None
    #: The decoded invoice that was to be paid, if the call was a withdrawal.
    invoice: Invoice | None = None
    #: A likely cause that was detected: the local clock is wrong. Part of the message.
    diagnosis: str | None = None
    #: The check to do before a retry if money may have been sent, or the setting that
    #: the database needs. Part of the message.
    advice: str | None = None
    #: Whether the call was to create something or to transfer money; ``None`` if the
    #: error was not raised by a call. The message of such a call ends with `outcome`,
    #: and with the reference and `order_id` if they are known.
    writes: bool | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__ == __name__ and "code" not in vars(cls):
            name = cls.__name__.removesuffix("Error")
            cls.code = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()

    @property
    def may_have_succeeded(self) -> bool:
        """Return whether the call may have taken effect at Aurpay despite this error.

        True if `outcome` is ``UNKNOWN`` and the call was no query: query Aurpay before
        you repeat it, or the payer may get two orders and you may pay twice.
        """
        return self.outcome is RequestOutcome.UNKNOWN and self.writes is not False

    def __str__(self) -> str:
        parts = [super().__str__(), self.diagnosis, self.advice]
        if self.writes:
            reference = None if self.new_order is None else self.new_order.reference
            facts = {"reference": reference, "order_id": self.order_id}
            outcome = f"outcome={self.outcome.value}"
            parts.append(outcome + format_facts(facts))
        return "; ".join(part for part in parts if part is not None)

    def __reduce__(self) -> tuple[object, ...]:
        # The default calls the class with `args` alone, and our constructors have
        # required keyword arguments. A cause of another library may not be picklable.
        cause = self.__cause__ if isinstance(self.__cause__, AurpayError) else None
        state = {**self.__dict__, "args": self.args, "__cause__": cause}
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]


def format_facts(facts: Mapping[str, str | None]) -> str:
    """Format facts as `` name=value`` for messages and logs, without unknown ones."""
    known = (f" {name}={shown(fact)}" for name, fact in facts.items() if fact)
    return "".join(known)


def shown(value: object) -> str:
    """Return an untrusted value for a message: short, escaped, strings in quotes."""
    if isinstance(value, str):
        text = str.__str__(value)
        return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")
    if value is None or type(value) in {bool, float}:
        return repr(value)
    if type(value) is int and abs(value) < 10**30:  # a longer one is not readable
        return repr(value)
    # The repr() of any other object may be long, fail, or show a secret.
    return f"<{type(value).__name__}>"


#: Characters of Aurpay's message that an error stores.
_MAX_MESSAGE: Final = 1000


class ConfigurationError(AurpayError, ValueError):
    """The client was set up wrong, or is used after it was closed."""


class InvalidRequestError(AurpayError, ValueError):
    """An argument is invalid, and nothing was sent."""

    #: Name of the invalid argument.
    field: str
    #: The value to write instead, if only one is correct.
    hint: str | None

    def __init__(self, problem: str, *, field: str, hint: str | None = None) -> None:
        super().__init__(f"{field}: {problem}" + (f"; {hint}" if hint else ""))
        self.field = field
        self.hint = hint


class TransportError(AurpayError):
    """No usable response was received."""

    #: Whether a retry cannot help (an invalid certificate).
    final: bool = False
    #: The first bytes of an incomplete response.
    body: bytes = b""

    def __init__(
        self,
        message: str,
        *,
        outcome: RequestOutcome = RequestOutcome.UNKNOWN,
        final: bool = False,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.final = final
        self.body = body[:MAX_ERROR_BODY]


class ConnectError(TransportError):
    """No connection: DNS failure, refused, unreachable, TLS failure."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No complete response within the timeout."""

    code = "timeout"


class ConnectTimeoutError(ConnectError, RequestTimeoutError):
    """No connection within the timeout, waiting for the connection pool included."""


class ConnectionLostError(TransportError):
    """The connection was lost, or the response is not HTTP."""


class APIError(AurpayError):
    """Aurpay rejected the request, or failed."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        outcome: RequestOutcome,
        platform_code: int | None = None,
        platform_message: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        #: The HTTP status. Aurpay sends some rejections with 200.
        self.status = status
        self.outcome = outcome
        #: ``code`` of the response's envelope; Aurpay publishes no list of codes.
        self.platform_code = platform_code
        #: The first characters of the envelope's ``message``. Untrusted: escape it.
        self.platform_message = platform_message and platform_message[:_MAX_MESSAGE]
        #: Seconds to wait before a retry, if Aurpay sent ``Retry-After``.
        self.retry_after = retry_after
        #: The first bytes of the raw response.
        self.body = body[:MAX_ERROR_BODY]


class AuthenticationError(APIError):
    """401: the key, token or signature was rejected."""


class PermissionDeniedError(APIError):
    """403: the credentials are valid, but do not permit this request."""


class NotFoundError(APIError):
    """404: the requested object does not exist."""


class RateLimitedError(APIError):
    """429: too many requests; see ``retry_after``."""


class ServerError(APIError):
    """5xx: Aurpay failed to process the request."""


class InvalidResponseError(AurpayError):
    """The response does not have the documented schema.

    If the call was to create an order, the order may exist.
    """

    outcome = RequestOutcome.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        status: int = 200,
        body: bytes = b"",
        paths: Sequence[str] = (),
        order_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        #: The first bytes of the raw response.
        self.body = body[:MAX_ERROR_BODY]
        #: Paths of the invalid values, such as ``data.amount``.
        self.paths = tuple(paths)
        self.order_id = order_id


class UntrustedOrderError(InvalidResponseError):
    """Aurpay created an order, and its response must not be shown to a payer.

    If the invoice is invalid, the :class:`InvoiceError` is the ``__cause__``.
    """

    def __init__(
        self, problem: str, *, check: str, order_id: str, status: int, body: bytes
    ) -> None:
        super().__init__(
            f"order {shown(order_id)} failed the check {check!r}: {problem}",
            status=status,
            body=body,
            order_id=order_id,
        )
        #: Name of the check that failed.
        self.check = check


class OrderMismatchError(AurpayError):
    """Aurpay's order is not the merchant's: fulfil nothing.

    It has another price, currency or amount, or belongs to another attempt. Only
    queries are compared, so `may_have_succeeded` is false.
    """

    outcome = RequestOutcome.UNKNOWN
    writes = False

    def __init__(self, problem: str, *, order_id: str) -> None:
        super().__init__(problem)
        self.order_id = order_id


class PaymentPendingError(AurpayError, TimeoutError):
    """The payer has not paid within the timeout of the wait.

    The order is still valid: wait again, or show it again.
    """


class InvoiceError(AurpayError):
    """A string is not an invoice that can be paid."""


class InvoiceDecodeError(InvoiceError):
    """The string cannot be decoded as a BOLT #11 invoice."""

    def __init__(self, problem: str, *, position: int) -> None:
        super().__init__(f"{problem} (at character {position})")
        #: Index of the first invalid character in the given string.
        self.position = position


class InvoiceInvalidError(InvoiceError):
    """The invoice can be decoded, but breaks a rule."""

    def __init__(self, problem: str, *, rule: str) -> None:
        super().__init__(f"{problem} (rule {rule!r})")
        #: Stable name of the broken rule.
        self.rule = rule


class CallbackError(AurpayError):
    """A callback was rejected, and the handler was not called.

    The message tells the operator which check failed. It never contains the expected
    value. Do not send it to the client that made the request.
    """

    def __init__(self, problem: str, *, rule: str) -> None:
        super().__init__(f"{problem} (rule {rule!r})")
        #: Stable name of the check that failed.
        self.rule = rule


class CallbackSignatureError(CallbackError):
    """Token or signature are missing, malformed, or not Aurpay's."""


class CallbackStaleError(CallbackError):
    """The callback was signed too long ago, or in the future."""


class ClaimExpiredError(CallbackError):
    """The lease of a claim ran out: another process may handle the notification."""


class CallbackReferenceError(CallbackError):
    """The reference token belongs to another shop, callback kind, order or price."""


class OrderStoreError(AurpayError):
    """The order store cannot return or record an order. No request was sent for it."""

    def __init__(self, problem: str, *, reference: str | None = None) -> None:
        super().__init__(problem)
        #: The merchant's name for what is paid.
        self.reference = reference


class ReferenceConflictError(OrderStoreError, ValueError):
    """The order of a reference has another price or currency."""

    def __init__(
        self, reference: str, *, stored: str, requested: str, paid: bool = False
    ) -> None:
        advice = (
            "keep the price of a cart once it has an order: a new reference creates a "
            "second order, and both can be paid"
        )
        if paid:
            advice = "it is paid, so nothing is left to pay"
        super().__init__(
            f"{shown(reference)} is stored with {stored}, and {requested} was "
            f"requested; {advice}",
            reference=reference,
        )
        #: Whether the reference is paid, with the price in the store.
        self.paid = paid
        #: Price and currency in the store, such as ``"20.00 USD"``.
        self.stored = stored
        #: Price and currency that were requested.
        self.requested = requested


class AlreadyPaidError(OrderStoreError):
    """A reference is paid, and the store has no invoice of the paid order: fulfil.

    The response to the call that created the order was lost, or failed a check.
    """


class PaymentNeedsReviewError(OrderStoreError):
    """A reference was reported as paid, and the order is not identified yet.

    Until then no other order is created: see `OrderStore.needs_review`.
    """


class OrderNotReadyError(OrderStoreError):
    """An order is still being created: its response is not stored yet. Retry.

    `OrderStore.lookup` raises it for a callback that is received before the response to
    the call that created the order. The callback processor then answers 503, so that
    Aurpay delivers the callback again.
    """

    retryable = True


class UnknownOrderError(OrderStoreError, LookupError):
    """The order is not in the order store."""


class StoreUnavailableError(OrderStoreError):
    """The database is unreachable, does not respond, or rejected a statement.

    Raised for statements, connects and commits of this package; the driver's exception
    is the ``__cause__``. Exceptions of your own statements are not translated.
    `outcome` tells whether an order exists at Aurpay. The commit may have taken effect
    if the response to it was lost. The same call can be repeated.
    """

    retryable = True


#: Every error class, and the enum.
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    name for name in dir() if name.endswith("Error") or name == "RequestOutcome"
]
