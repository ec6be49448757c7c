"""What every method needs: the parts of a client, and one way to make a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from .._calls import make_call
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
    from .._transports._pool import Pool
    from .._transports._retrying import RetryingTransport
    from .._waiting import Watches
    from ..errors import AurpayError
    from ._unexpected import UnexpectedLog

_T = TypeVar("_T")


#: Checks that fail if an answer belongs to another request.
_OTHER_REQUEST: Final = frozenset({"new", "payment_hash"})


class Calling:
    """A client, as far as its methods need one."""

    _allow_http: bool
    _clock: Clock
    _instrumentation: Instrumentation
    _pool: Pool
    _reference_keys: tuple[Secret, ...]
    _seen: SeenOrders
    _transport: RetryingTransport
    _invoice_policy: InvoicePolicy
    _unexpected: UnexpectedLog
    _watches: Watches

    def _call(
        self,
        request: Request,
        parse: Callable[[Response], _T],
        complete: Callable[[AurpayError], None] | None = None,
    ) -> Awaitable[_T]:
        def parse_and_look(response: Response) -> _T:
            record = parse(response)
            self._unexpected.look_at(request.operation, record)
            return record

        return self._call_within(self._transport, request, parse_and_look, complete)

    def _call_within(
        self,
        transport: RetryingTransport,
        request: Request,
        parse: Callable[[Response], _T],
        complete: Callable[[AurpayError], None] | None = None,
    ) -> Awaitable[_T]:
        """Make a call; after an answer that is unreadable, renew the connections.

        It may be the answer to another request: then the answers that follow on its
        connection are shifted as well.
        """

        def complete_and_renew(error: AurpayError) -> None:
            if complete is not None:
                complete(error)
            if isinstance(error, InvalidResponseError):
                self._pool.renew()

        return make_call(
            request,
            parse,
            transport=transport,
            clock=self._clock,
            instrumentation=self._instrumentation,
            complete=complete_and_renew,
        )

    def _blame(self, error: AurpayError, order: NewOrder) -> None:
        """Write on the error of a call that creates an order what recovery needs.

        An answer that repeats an earlier order belongs to another request, so its id
        must not be looked up for this one.
        """
        error.new_order = order
        if _is_of_other_request(error, self._seen):
            self._seen.is_misrouted = True
        if error.order_id in self._seen and not isinstance(error, UntrustedOrderError):
            error.order_id = None


def _is_of_other_request(error: AurpayError, seen: SeenOrders) -> bool:
    """Whether an answer to a create names an order that came before, or none at all."""
    if isinstance(error, UntrustedOrderError) and error.check in _OTHER_REQUEST:
        return True
    paths = error.paths if isinstance(error, InvalidResponseError) else ()
    return error.order_id in seen or "data.order_id" in paths


def advise(error: AurpayError, advice: str) -> None:
    """Write on the error of a call that moves money where to look, if it may have."""
    if error.outcome is RequestOutcome.UNKNOWN:
        error.advice = advice
