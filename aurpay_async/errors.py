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
    └─ InvoiceError                                 BOLT #11 on its own
       ├─ InvoiceDecodeError                        cannot be read
       └─ InvoiceInvalidError                       readable, breaks a rule

Whoever creates something at the platform asks one question of an error: *may it
exist?* The answer is :attr:`AurpayError.delivery`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ._models import NewOrder

__all__ = [
    "APIError",
    "AurpayError",
    "AuthenticationError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectionLostError",
    "Delivery",
    "InvalidRequestError",
    "InvalidResponseError",
    "InvoiceDecodeError",
    "InvoiceError",
    "InvoiceInvalidError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RequestTimeoutError",
    "ServerError",
    "TransportError",
    "UntrustedOrderError",
]

#: An error keeps this much of a raw answer: more than any documented answer needs
#: (the longest is under 2 KiB), little enough to log, pickle and send around.
MAX_KEPT_BODY: Final = 16 * 1024

#: Characters that an error keeps of the platform's own message.
_MAX_KEPT_TEXT: Final = 1000

#: Characters of outside text that one message shows.
_MAX_SHOWN: Final = 200


class Delivery(Enum):
    """How far a failed request got. Tells whether what it asked for may exist.

    .. versionadded:: 0.1.0
    """

    #: Nothing left this process. Nothing exists; trying again is safe.
    NOT_SENT = "not_sent"
    #: The platform said no. Nothing exists; the same request will be refused again.
    REFUSED = "refused"
    #: The request left and no trustworthy answer came. Look before trying again.
    UNKNOWN = "unknown"


class AurpayError(Exception):
    """The root of every error that this SDK raises.

    All of them pickle and copy with every field.

    .. versionadded:: 0.1.0
    """

    #: Stable text for programs; the message is for people and may change.
    code: ClassVar[str] = "aurpay_error"

    #: How far the request got.
    delivery: Delivery = Delivery.NOT_SENT
    #: How many attempts were made.
    attempts: int = 0
    #: Whether the very same call may be made again without doing anything twice.
    retryable: bool = False
    #: When the last attempt began (aware, UTC), unless nothing was sent.
    sent_at: datetime | None = None
    #: The order that this is about, where the platform's answer still showed it.
    order_id: str | None = None
    #: What was asked for, if the call was to create an order.
    new_order: NewOrder | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # The default calls the class with `args` alone; our constructors want more.
        # A cause of our own goes along; a foreign one might not pickle.
        cause = self.__cause__ if isinstance(self.__cause__, AurpayError) else None
        return _rebuild, (type(self), self.args, self.__dict__.copy(), cause)


def _rebuild(
    cls: type[AurpayError],
    args: tuple[object, ...],
    fields: dict[str, object],
    cause: AurpayError | None,
) -> AurpayError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    error.__cause__ = cause
    return error


class ConfigurationError(AurpayError, ValueError):
    """The client was set up wrong, or is used after it was closed.

    .. versionadded:: 0.1.0
    """

    code = "configuration"


class InvalidRequestError(AurpayError, ValueError):
    """An argument was refused before anything was sent.

    .. versionadded:: 0.1.0
    """

    code = "invalid_request"

    #: The argument that was refused.
    field: str
    #: What to write instead, if there is one right thing to write.
    hint: str | None

    def __init__(self, problem: str, *, field: str, hint: str | None = None) -> None:
        super().__init__(f"{field}: {problem}" + (f"; {hint}" if hint else ""))
        self.field = field
        self.hint = hint


class TransportError(AurpayError):
    """No usable answer came.

    .. versionadded:: 0.1.0
    """

    code = "transport"

    #: Trying again cannot help (a certificate that does not verify).
    final: bool = False
    #: The beginning of what had come of an answer.
    body: bytes = b""

    def __init__(
        self,
        message: str,
        *,
        delivery: Delivery = Delivery.UNKNOWN,
        final: bool = False,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.delivery = delivery
        self.final = final
        self.body = body[:MAX_KEPT_BODY]


class ConnectError(TransportError):
    """No connection: name not found, refused, unreachable, TLS failed.

    .. versionadded:: 0.1.0
    """

    code = "connect"


class RequestTimeoutError(TransportError, TimeoutError):
    """No complete answer in time.

    .. versionadded:: 0.1.0
    """

    code = "timeout"


class ConnectTimeoutError(ConnectError, RequestTimeoutError):
    """No connection in time, waiting for a free one in the pool included.

    .. versionadded:: 0.1.0
    """

    code = "connect_timeout"


class ConnectionLostError(TransportError):
    """The connection broke, or what came over it was not HTTP.

    .. versionadded:: 0.1.0
    """

    code = "connection_lost"


class APIError(AurpayError):
    """The platform answered no.

    .. versionadded:: 0.1.0
    """

    code = "api"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        delivery: Delivery,
        platform_code: int | None = None,
        platform_message: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        #: The HTTP status. Aurpay answers 200 to some refusals.
        self.status = status
        self.delivery = delivery
        #: ``code`` of the answer's envelope; Aurpay publishes no list of codes.
        self.platform_code = platform_code
        #: The beginning of the envelope's ``message``, as it came. Text from outside.
        self.platform_message = platform_message and platform_message[:_MAX_KEPT_TEXT]
        #: Seconds to wait before trying again, if the platform said so.
        self.retry_after = retry_after
        #: The beginning of the raw answer.
        self.body = body[:MAX_KEPT_BODY]


class AuthenticationError(APIError):
    """401: the key, token or signature was not accepted.

    .. versionadded:: 0.1.0
    """

    code = "authentication"


class PermissionDeniedError(APIError):
    """403: the credentials are good, but not for this.

    .. versionadded:: 0.1.0
    """

    code = "permission_denied"


class NotFoundError(APIError):
    """404: there is no such thing.

    .. versionadded:: 0.1.0
    """

    code = "not_found"


class RateLimitedError(APIError):
    """429: too many requests; see ``retry_after``.

    .. versionadded:: 0.1.0
    """

    code = "rate_limited"


class ServerError(APIError):
    """5xx: the platform failed.

    .. versionadded:: 0.1.0
    """

    code = "server"


class InvalidResponseError(AurpayError):
    """An answer that is not the documented shape.

    If the call was to create an order, the order may exist.

    .. versionadded:: 0.1.0
    """

    code = "invalid_response"
    delivery = Delivery.UNKNOWN

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
        #: The beginning of the raw answer.
        self.body = body[:MAX_KEPT_BODY]
        #: Where in the answer the shape is wrong, such as ``data.amount``.
        self.paths = tuple(paths)
        self.order_id = order_id


class UntrustedOrderError(InvalidResponseError):
    """The platform made an order whose answer must not be shown to a payer.

    Where the invoice itself is at fault, the :class:`InvoiceError` is the cause.

    .. versionadded:: 0.1.0
    """

    code = "untrusted_order"

    def __init__(
        self, problem: str, *, check: str, order_id: str, status: int, body: bytes
    ) -> None:
        super().__init__(
            f"order {shown(order_id)} failed the check {check!r}: {problem}",
            status=status,
            body=body,
            order_id=order_id,
        )
        #: The name of the check that failed.
        self.check = check


class InvoiceError(AurpayError):
    """A text is no invoice that may be paid.

    .. versionadded:: 0.1.0
    """

    code = "invoice"


class InvoiceDecodeError(InvoiceError):
    """The text cannot be read as a BOLT #11 invoice.

    .. versionadded:: 0.1.0
    """

    code = "invoice_decode"

    def __init__(self, problem: str, *, position: int) -> None:
        super().__init__(f"{problem} (at character {position})")
        #: Index of the character, in the text as given, where reading ended.
        self.position = position


class InvoiceInvalidError(InvoiceError):
    """The invoice can be read, but breaks a rule.

    .. versionadded:: 0.1.0
    """

    code = "invoice_invalid"

    def __init__(self, problem: str, *, rule: str) -> None:
        super().__init__(f"{problem} (rule {rule!r})")
        #: Stable name of the rule that is broken.
        self.rule = rule


def shown(value: object) -> str:
    """A value from outside for a message: bounded, escaped; a text in quotes."""
    if isinstance(value, str):
        text = str.__str__(value)
        return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")
    if value is None or type(value) in {bool, float}:
        return repr(value)
    if type(value) is int and abs(value) < 10**30:  # longer ones say nothing
        return repr(value)
    # No repr() of anything else: it may be long, fail, or show a secret.
    return f"<{type(value).__name__}>"
