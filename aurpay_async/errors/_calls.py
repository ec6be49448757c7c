"""Errors of a call: before the request is sent, in transit, and in the response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._base import MAX_ERROR_BODY, AurpayError, RequestOutcome, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Characters of Aurpay's message that an error stores.
_MAX_MESSAGE: Final = 1000


class ConfigurationError(AurpayError, ValueError):
    """The client was set up wrong, or is used after it was closed."""

    code = "configuration"


class InvalidRequestError(AurpayError, ValueError):
    """An argument is invalid, and nothing was sent."""

    code = "invalid_request"

    #: Name of the invalid argument.
    field: str
    #: What to write instead, if there is one correct value.
    hint: str | None

    def __init__(self, problem: str, *, field: str, hint: str | None = None) -> None:
        super().__init__(f"{field}: {problem}" + (f"; {hint}" if hint else ""))
        self.field = field
        self.hint = hint


class TransportError(AurpayError):
    """No usable response was received."""

    code = "transport"

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

    code = "connect"


class RequestTimeoutError(TransportError, TimeoutError):
    """No complete response within the timeout."""

    code = "timeout"


class ConnectTimeoutError(ConnectError, RequestTimeoutError):
    """No connection within the timeout, waiting for the connection pool included."""

    code = "connect_timeout"


class ConnectionLostError(TransportError):
    """The connection was lost, or the response is not HTTP."""

    code = "connection_lost"


class APIError(AurpayError):
    """Aurpay rejected the request, or failed."""

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

    code = "authentication"


class PermissionDeniedError(APIError):
    """403: the credentials are valid, but do not permit this request."""

    code = "permission_denied"


class NotFoundError(APIError):
    """404: the requested object does not exist."""

    code = "not_found"


class RateLimitedError(APIError):
    """429: too many requests; see ``retry_after``."""

    code = "rate_limited"


class ServerError(APIError):
    """5xx: Aurpay failed to process the request."""

    code = "server"


class InvalidResponseError(AurpayError):
    """The response does not have the documented schema.

    If the call was to create an order, the order may exist.
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
        #: The first bytes of the raw response.
        self.body = body[:MAX_ERROR_BODY]
        #: Paths of the invalid values, such as ``data.amount``.
        self.paths = tuple(paths)
        self.order_id = order_id


class UntrustedOrderError(InvalidResponseError):
    """Aurpay created an order, and its response must not be shown to a payer.

    If the invoice is invalid, the :class:`InvoiceError` is the ``__cause__``.
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
        #: Name of the check that failed.
        self.check = check


class PaymentPendingError(AurpayError, TimeoutError):
    """The payer has not paid within the timeout of the wait.

    The order is still valid: wait again, or show it again.
    """

    code = "payment_pending"
