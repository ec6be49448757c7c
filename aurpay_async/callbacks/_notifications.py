"""Notifications, replies, and the errors of the merchant's code.

A merchant's handler may raise anything: an exception group of a task group, or the
``CancelledError`` of another task that it awaited. `process` must raise neither.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast, final

import attrs

from .._core.events import log_fields
from .._core.sqlstate import is_conflict
from .._core.urls import without_query
from ..errors import AurpayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from decimal import Decimal

    from .._api.models import Order, OrderStatus
    from ..errors import CallbackError
    from ._identity import CallerConnection, Kind
    from ._verifier import CallbackEvent

    Acknowledge = Callable[[CallerConnection], Awaitable[None]]
    OnRejected = Callable[[BaseException, CallbackEvent | None], None]


_log: Final = logging.getLogger("aurpay_async.callbacks")

#: Exceptions that end the interpreter, the event loop or a coroutine.
_EXITS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)


class MerchantError(Exception):
    """The merchant's code raised an exception, which is the cause."""


class StepTimeoutError(Exception):
    """A step before the handler did not end within the lease."""


def is_exit(error: BaseException) -> bool:
    """Return whether `error` ends the program, alone or within a group."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.subgroup(_EXITS) is not None
    return isinstance(error, _EXITS)


def propagates(error: BaseException) -> bool:
    """Return whether `error` ends the program or cancels the current task."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return is_exit(error)


def is_temporary(error: BaseException) -> bool:
    """Return whether the same callback may succeed when it is delivered again.

    True for errors of this package that say so (Aurpay or the database cannot be
    reached), and for transactions that the database asks to run again.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(is_temporary(each) for each in group.exceptions)
    if isinstance(error, AurpayError):
        return error.retryable
    if isinstance(error, StepTimeoutError):
        return True
    return is_conflict(error)


def without_traceback(error: CallbackError) -> CallbackError:
    """Return a rejection without the frames that hold the rejected request."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


#: The outcome of an order.
Outcome = Literal["paid", "late_paid", "timed_out", "refunded"]


class KnownOrder(Protocol):
    """The order as the merchant has stored it; a `LightningOrder` is one."""

    @property
    def order_id(self) -> str:
        """Aurpay's id."""
        ...

    @property
    def reference(self) -> str | None:
        """The merchant's own id, as given to ``create_order``."""
        ...

    @property
    def attempt_id(self) -> str | None:
        """The id of the call that created it; without one, nothing is confirmed."""
        ...

    @property
    def price(self) -> Decimal:
        """Fiat."""
        ...

    @property
    def currency(self) -> str:
        """Fiat: three letters."""
        ...

    @property
    def amount(self) -> Decimal:
        """BTC."""
        ...

    @property
    def status(self) -> OrderStatus:
        """The last status that the merchant has recorded."""
        ...


class OrderReader(Protocol):
    """Reads orders from Aurpay; an `AurpayClient` is one."""

    async def get_order(self, order_id: str) -> Order:
        """Return the order as Aurpay has it now."""
        ...


@attrs.frozen(kw_only=True)
class ConfirmedNotification:
    """A notification that Aurpay confirmed when it was queried."""

    #: ``paid``; ``late_paid`` (after a timeout was handled, or the merchant's order was
    #: overdue); ``timed_out``; ``refunded``.
    outcome: Outcome
    #: The callback; ``None`` after `CallbackProcessor.poll`. Its `kind` may differ from
    #: `outcome`: Aurpay can report a payment when a timeout callback is read back.
    event: CallbackEvent | None
    #: The order as Aurpay has it now.
    order: Order
    #: The order as the merchant has it.
    known: KnownOrder
    confirmed: Literal[True] = attrs.field(default=True, init=False)
    _acknowledge: Acknowledge = attrs.field(alias="acknowledge", repr=False)

    @property
    def reference(self) -> str:
        """The merchant's own id of what is paid."""
        return self.known.reference or ""

    async def ack(self, connection: CallerConnection) -> None:
        """Record in the caller's own transaction that this was handled.

        The effect of that transaction is then exactly once, even if the process
        crashes: both are committed, or neither. Without `ack`, the processor records
        the notification after the handler has returned; if the process crashes in
        between, the handler is called again.

        Raises:
            ClaimExpiredError: if this handler took longer than the lease; let the
                exception roll the transaction back.
            ConfigurationError: if `connection` is no connection with a transaction.
        """
        await self._acknowledge(connection)


@attrs.frozen(kw_only=True)
class UnconfirmedNotification:
    """A genuine callback that Aurpay did not confirm. It is not a payment."""

    #: The kind of the callback: ``paid`` or ``timeout``.
    claimed: Kind
    #: The reason why it is not confirmed.
    reason: str
    event: CallbackEvent
    #: The order as the merchant has it, if `lookup` found one.
    known: KnownOrder | None
    confirmed: Literal[False] = attrs.field(default=False, init=False)
    outcome: Literal["unconfirmed"] = attrs.field(default="unconfirmed", init=False)
    _acknowledge: Acknowledge = attrs.field(alias="acknowledge", repr=False)

    @property
    def reference(self) -> str:
        """The merchant's own id, from the signed URL."""
        return self.event.reference or ""

    async def ack(self, connection: CallerConnection) -> None:
        """Record it as `ConfirmedNotification.ack` does."""
        await self._acknowledge(connection)


#: The argument of a handler. It is a payment if
#: ``notification.outcome in {"paid", "late_paid"}``.
Notification = ConfirmedNotification | UnconfirmedNotification

#: Seconds after which a callback that cannot be processed now may be delivered again.
RETRY_AFTER: Final = {"Retry-After": "5"}


@attrs.frozen
class Reply:
    """The response to a callback. It gives a forger no information."""

    #: HTTP status.
    status: int
    #: The body, plain text.
    text: str
    #: The outcome, for the merchant's logs and tests.
    outcome: str
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


NOT_YET: Final = Reply(503, "not yet\n", "not_yet", RETRY_AFTER)
#: Characters of a called URL that are logged: any client may choose them.
_MAX_URL: Final = 200
#: The replies to rejections that are not a 401, by their rule.
_REPLIES: Final[Mapping[str, Reply]] = {
    "method": Reply(405, "GET or POST\n", "method", {"Allow": "GET, POST"}),
    "move": Reply(409, "refused\n", "move"),
    "too_large": Reply(413, "too large\n", "too_large"),
}


@final
class RejectionLog:
    """Logs to ``aurpay_async.callbacks``, and calls the merchant's hook.

    Records at WARNING and ERROR are visible in a program that configures no logging.
    """

    def __init__(self, hook: OnRejected | None) -> None:
        self._hook = hook

    def reject(
        self,
        error: CallbackError,
        event: CallbackEvent | None = None,
        *,
        url: str | None = None,
        **ids: str | None,
    ) -> Reply:
        """Log why a request is rejected, and return the reply.

        Args:
            error: The reason.
            event: The callback, if it is genuine.
            url: The URL that was called; its query is not logged.
            ids: The ids of the order, as far as they are known.
        """
        # Scanners send other methods: such a request says nothing about callbacks.
        level = logging.DEBUG if error.rule == "method" else logging.WARNING
        called = None if url is None else without_query(url)[:_MAX_URL]
        fields = {"url": called, **ids, "outcome": error.rule}
        log_fields(_log, level, fields, "callback rejected: %s", error)
        self._call_hook(error, event)
        return _REPLIES.get(error.rule) or Reply(401, "refused\n", error.rule)

    def report(
        self,
        problem: str,
        error: BaseException,
        event: CallbackEvent | None,
        *,
        traceback: bool,
        **fields: str | None,
    ) -> None:
        """Log that a genuine callback, or a poll, was not processed, and why."""
        if traceback:
            log_fields(_log, logging.ERROR, fields, problem, error=error)
        else:
            # Only the first line: SQLAlchemy appends the statement and its parameters.
            detail = str(error).partition("\n")[0]
            name, problem = type(error).__name__, f"{problem}: %s: %s"
            log_fields(_log, logging.WARNING, fields, problem, name, detail)
        self._call_hook(error, event)

    def _call_hook(self, error: BaseException, event: CallbackEvent | None) -> None:
        if self._hook is None:
            return
        try:
            self._hook(error, event)
        except BaseException as broken:
            if is_exit(broken):
                raise
            _log.error("on_rejected raised", exc_info=broken)
