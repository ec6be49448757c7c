"""Base class of the client's methods: its attributes, and sending one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from .._calls import send_and_parse
from ..errors import InvalidResponseError, RequestOutcome, UntrustedOrderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._checks import InvoicePolicy
    from .._clock import Clock
    from .._http import Request, Response
    from .._listeners import Instrumentation
    from .._models import NewOrder
    from .._secrets import Secret
    from .._seen import SeenOrders
    from .._transports._pool import LazyTransport
    from .._transports._retrying import RetryingTransport
    from .._waiting import OrderPollers
    from ..errors import AurpayError
    from ._unexpected import UnexpectedLog

_T = TypeVar("_T")


#: Checks that fail if a response belongs to another request.
_OTHER_REQUEST: Final = frozenset({"new", "payment_hash"})


class BaseClient:
    """The attributes of a client, and the methods that send a request."""

    _allow_http: bool
    _clock: Clock
    _instrumentation: Instrumentation
    _lazy_transport: LazyTransport
    _reference_keys: tuple[Secret, ...]
    _seen: SeenOrders
    _transport: RetryingTransport
    _invoice_policy: InvoicePolicy
    _unexpected: UnexpectedLog
    _pollers: OrderPollers

    def _send(
        self,
        request: Request,
        parse: Callable[[Response], _T],
        complete: Callable[[AurpayError], None] | None = None,
    ) -> Awaitable[_T]:
        def parse_and_check(response: Response) -> _T:
            record = parse(response)
            self._unexpected.check(request.operation, record)
            return record

        return self._send_through(self._transport, request, parse_and_check, complete)

    def _send_through(
        self,
        transport: RetryingTransport,
        request: Request,
        parse: Callable[[Response], _T],
        complete: Callable[[AurpayError], None] | None = None,
    ) -> Awaitable[_T]:
        """Send through `transport`; renew the connections if parsing fails.

        An unreadable response may answer another request. Then later responses on its
        connection are shifted as well.
        """

        def complete_and_renew(error: AurpayError) -> None:
            if complete is not None:
                complete(error)
            if isinstance(error, InvalidResponseError):
                self._lazy_transport.renew()

        return send_and_parse(
            request,
            parse,
            transport=transport,
            clock=self._clock,
            instrumentation=self._instrumentation,
            complete=complete_and_renew,
        )

    def _attach_request(self, error: AurpayError, order: NewOrder) -> None:
        """Attach the new order to the error of a call that creates an order.

        A response that repeats an earlier order belongs to another request, so its id
        must not be looked up for this one.
        """
        error.new_order = order
        if _is_of_other_request(error, self._seen):
            self._seen.is_misrouted = True
        if error.order_id in self._seen and not isinstance(error, UntrustedOrderError):
            error.order_id = None


def _is_of_other_request(error: AurpayError, seen: SeenOrders) -> bool:
    """Return whether a create's response has an earlier order's id, or none."""
    if isinstance(error, UntrustedOrderError) and error.check in _OTHER_REQUEST:
        return True
    paths = error.paths if isinstance(error, InvalidResponseError) else ()
    return error.order_id in seen or "data.order_id" in paths


def attach_recovery_hint(error: AurpayError, hint: str) -> None:
    """Attach a recovery hint if the call may have moved money."""
    if error.outcome is RequestOutcome.UNKNOWN:
        error.advice = hint
