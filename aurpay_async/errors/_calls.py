"""What can go wrong with a call: before it is sent, on the way, and in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._base import MAX_KEPT_BODY, AurpayError, RequestOutcome, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Characters that an error keeps of the platform's own message.
_MAX_KEPT_TEXT: Final = 1000


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
        outcome: RequestOutcome = RequestOutcome.UNKNOWN,
        final: bool = False,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
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
        outcome: RequestOutcome,
        platform_code: int | None = None,
        platform_message: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        #: The HTTP status. Aurpay answers 200 to some refusals.
        self.status = status
        self.outcome = outcome
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


class PaymentPendingError(AurpayError, TimeoutError):
    """Nobody has paid yet, and the time that was given for waiting is over.

    The order is as good as before: wait again, or show it again.

    .. versionadded:: 0.1.0
    """

    code = "payment_pending"
