"""One call of the client: send, parse, report, and check the order.

The response to a create has no price. So a response to another request (a proxy that
answers twice, a poisoned response queue, a cache) can pass all other checks and show a
payer the invoice of another cart. Order detail has the price.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, TypeVar, cast, final

import attrs

from .._api.arguments import NewOrder
from .._api.checks import SKIPPED, check_read_back
from .._api.models import KNOWN_STATUSES, OrderStatus
from .._core.clock import wall_time_at
from .._core.events import CallEvent, error_and_outcome, log_fields
from .._core.http import Effect
from ..errors import (
    AurpayError,
    InvalidResponseError,
    NotFoundError,
    RequestOutcome,
    TransportError,
    UntrustedOrderError,
    shown,
)
from .auth import diagnose_clock
from .options import poll_connections
from .retry import is_retryable
from .transport import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import aiohttp

    from .._api import envelope as _envelope
    from .._api import orders as _orders_api
    from .._api.checks import InvoicePolicy, SeenOrders
    from .._api.lightning_order import LightningOrder
    from .._api.models import Order
    from .._core.clock import Clock
    from .._core.events import Instrumentation
    from .._core.http import Request, Response
    from .._core.secrets import Secret
    from ..callbacks._identity import ReferenceSigner
    from .polling import PollingLane
    from .transport import LazyTransport, RetryingTransport
else:
    # `LazyTransport.open` has loaded them off the event loop.
    _envelope = LazyModule("aurpay_async._api.envelope")
    _orders_api = LazyModule("aurpay_async._api.orders")


#: Seconds for the read-back, all attempts included. The payer waits for it; after
#: them the order is returned without the check.
READ_BACK_S: Final = 3.0

#: Seconds until an order that order detail does not have yet is read once more.
_READ_AGAIN_S: Final = 1.0

#: The name of the check, in `LightningOrder.checks` and `UntrustedOrderError.check`.
READ_BACK: Final = "read_back"

#: The path of the order id in a response.
_ORDER_ID: Final = "data.order_id"

_INFO, _WARNING = 20, 30  # as in logging, which is slow to load

_T = TypeVar("_T")


@final
class SharedPolling:
    """The polling that a client and its copies share; its first poll opens the lane."""

    def __init__(
        self, per_second: float, session: aiohttp.ClientSession | None
    ) -> None:
        self.per_second = per_second
        self.connections = poll_connections(session)
        self.lane: PollingLane | None = None


class BaseClient:
    """The attributes of a client, and the methods that send a request."""

    _allow_http: bool
    _clock: Clock
    _instrumentation: Instrumentation
    _lazy_transport: LazyTransport
    _reference_keys: tuple[Secret, ...]
    _signer: ReferenceSigner | None = None
    _seen: SeenOrders
    _transport: RetryingTransport
    _invoice_policy: InvoicePolicy
    _unexpected: UnexpectedLog
    _shared_polling: SharedPolling

    async def _send(
        self,
        request: Request,
        parse: Callable[[Response], _T],
        *,
        complete: Callable[[AurpayError], None] | None = None,
        limit_s: float = inf,
    ) -> _T:
        """Send `request`, and return the record that `parse` makes of the response.

        Args:
            request: The request.
            parse: Return the record, or raise.
            complete: Adds to an error the data of the calling method, before the event.
            limit_s: Seconds for all attempts, if the client's timeouts are longer.

        Raises:
            AurpayError: with `attempts`, `sent_at` and `retryable` filled in.
        """
        began = self._clock.monotonic()
        response: Response | None = None
        try:
            response = await self._transport.send(request, limit_s)
            record = parse(response)
        except AurpayError as error:
            self._complete(error, request, response, began)
            if complete is not None:
                complete(error)
            self._report(request, began, error, error.attempts)
            raise
        except BaseException as interruption:
            self._report(request, began, interruption, None)
            raise
        self._unexpected.check(request.operation, record)
        if self._instrumentation.wants_calls():
            self._report(request, began, record, response.attempts)
        return record

    def _complete(
        self,
        error: AurpayError,
        request: Request,
        response: Response | None,
        began: float,
    ) -> None:
        """Set the fields of an error that depend on the call."""
        if response is not None:  # received, and rejected by the parser
            error.attempts = response.attempts
            error.sent_at = response.sent_at or wall_time_at(self._clock, began)
            error.retryable = is_retryable(error, request.effect)
            diagnose_clock(error, request, response, self._clock.now())
        error.writes = request.effect is not Effect.READ
        if request.order_id is not None:
            error.order_id = request.order_id
        elif error.writes and isinstance(error, TransportError) and error.body:
            error.order_id = _envelope.order_evidence(error.body).order_id
        if isinstance(error, InvalidResponseError):
            # An unreadable response may answer another request. Then later responses
            # on its connection are shifted as well.
            self._lazy_transport.renew()

    def _report(
        self, request: Request, began: float, result: object, attempts: int | None
    ) -> None:
        error, outcome = error_and_outcome(result, request.progress)
        self._instrumentation.emit(
            CallEvent(
                operation=request.operation,
                effect=request.effect,
                attempts=attempts,
                duration_s=self._clock.monotonic() - began,
                error=error,
                outcome=outcome,
                unknown_fields=_unknown_fields(result),
                reference=request.reference,
                order_id=getattr(result, "order_id", None) or request.order_id,
                attempt_id=request.attempt_id,
            )
        )

    async def _confirm(self, order: LightningOrder) -> LightningOrder:
        """Compare a new order with Aurpay's order detail before any payer sees it.

        It is not documented whether order detail serves Lightning orders. So an order
        that cannot be read back is returned all the same, and a log line says so; but
        not one that order detail does not have, if it had an earlier order.

        Returns:
            The order, with ``"read_back"`` in its `checks` if the check was run.

        Raises:
            UntrustedOrderError: the response is about another order, or has another
                price, currency or amount, or the status paid or overdue; or order
                detail does not have the order, and had an earlier one.
        """
        began = self._clock.now()
        try:
            response, known = await self._read_new_order(order.order_id)
        except AurpayError as error:
            if isinstance(error, InvalidResponseError) and _ORDER_ID in error.paths:
                # The id is documented (page "Get Orders Details"), so this is the
                # response to another request.
                no_id = "the response to its read-back has no order id"
                raise self._untrusted(order, no_id, error, began) from None
            if isinstance(error, NotFoundError) and self._seen.have_details:
                missing = "order detail has earlier orders, and not this one"
                raise self._untrusted(order, missing, error, began) from None
            # Order detail may serve no Lightning orders: then each one would warn.
            level = _INFO if isinstance(error, NotFoundError) else _WARNING
            _log(level, f"was not read back ({error.code})", order)
            return order
        except BaseException:
            _log(_WARNING, "was created, and its read-back was cancelled", order)
            raise
        problem = check_read_back(order, known)
        if problem is None:
            self._seen.have_details = True
            return attrs.evolve(order, checks=(*order.checks, READ_BACK))
        if problem is SKIPPED:
            _log(_INFO, "was not read back (order detail has no price)", order)
            return order
        raise self._untrusted(order, problem, response, began)

    async def _read_new_order(self, order_id: str) -> tuple[Response, Order]:
        """Return Aurpay's order detail; query again if it lacks this order alone."""
        is_repeated = False
        while True:
            try:
                return await self._send(
                    _orders_api.build_get_order(order_id),
                    lambda response: (response, _orders_api.read_order(response)),
                    limit_s=READ_BACK_S,
                )
            except NotFoundError:
                if is_repeated or not self._seen.have_details:
                    raise
            is_repeated = True
            await self._clock.sleep(_READ_AGAIN_S)

    def _untrusted(
        self,
        order: LightningOrder,
        problem: str,
        response: Response | InvalidResponseError | NotFoundError,
        sent_at: datetime,
    ) -> UntrustedOrderError:
        """Return the error for an order that no payer must see."""
        self._seen.is_misrouted = True
        self._lazy_transport.renew()
        _log(_WARNING, f"is withheld: {problem}", order)
        error = UntrustedOrderError(
            problem,
            check=READ_BACK,
            order_id=order.order_id,
            status=response.status,
            body=response.body,
        )
        error.attempts, error.sent_at = response.attempts, sent_at
        error.writes = True
        error.new_order = NewOrder(
            order.price,
            order.currency,
            reference=order.reference,
            attempt_id=order.attempt_id,
        )
        return error


def attach_recovery_hint(error: AurpayError, hint: str) -> None:
    """Attach a recovery hint if the call may have moved money."""
    if error.outcome is RequestOutcome.UNKNOWN:
        error.advice = hint


def _unknown_fields(result: object) -> int:
    """Count the unknown fields of a record, or of all rows of a list."""
    rows = getattr(result, "items", None)
    if isinstance(rows, tuple):
        return sum(_unknown_fields(row) for row in cast("tuple[object, ...]", rows))
    return len(getattr(result, "extra", ()))


def _log(level: int, message: str, order: LightningOrder) -> None:
    import logging

    fields = {
        "reference": order.reference,
        "order_id": order.order_id,
        "attempt_id": order.attempt_id,
    }
    log_fields(
        logging.getLogger("aurpay_async.client"), level, fields, "order %s", message
    )


#: Messages that one client logs: outside input must not fill memory or logs.
_MAX_LOGGED: Final = 100


@final
class UnexpectedLog:
    """Log each message of a client once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def check(self, operation: str, record: object) -> None:
        """Log each row's unknown status, and its fields that cannot be read."""
        rows = getattr(record, "items", None)
        is_page = isinstance(rows, tuple)
        for row in cast("tuple[object, ...]", rows) if is_page else (record,):
            status = getattr(row, "status", "")
            if type(status) is OrderStatus and status and status not in KNOWN_STATUSES:
                problem = f"status {shown(status)} is unknown: neither paid nor unpaid"
                self._log(f"{operation}: {problem}", row)
            if getattr(row, "extra", None):
                for name in _unreadable_fields(row):
                    self._log(f"{operation}: {name} cannot be read", row)

    def _log(self, message: str, row: object) -> None:
        if message in self._logged or len(self._logged) >= _MAX_LOGGED:
            return
        self._logged.add(message)
        import logging

        logger = logging.getLogger("aurpay_async.client")
        fields = {"order_id": getattr(row, "order_id", None)}
        log_fields(logger, _WARNING, fields, "%s; it is logged once", message)


def _unreadable_fields(row: object) -> list[str]:
    """Return the known fields among the extra ones: those that failed to parse."""
    from .._api.lightning_order import LightningOrder
    from .._api.models import UncheckedOrder
    from .._api.payment_models import PaymentOrder, UncheckedPayment
    from .._api.wire import wire_fields

    unchecked_types: Mapping[type, type[attrs.AttrsInstance]] = {
        LightningOrder: UncheckedOrder,
        PaymentOrder: UncheckedPayment,
    }
    kind = unchecked_types.get(type(row), cast("type[attrs.AttrsInstance]", type(row)))
    extra: Mapping[str, object] = getattr(row, "extra", {})
    return sorted(extra.keys() & wire_fields(kind))
