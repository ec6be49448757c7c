"""Process callbacks: each payment reaches the handler once.

The claim is a lease: everything from the claim to the end of the handler happens before
one deadline, so a callback waits no longer for a database or for Aurpay. Recording has
a separate limit, because a handler that has returned must not lose its claim.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, cast, final

import attrs

from .._api.checks import require_same_order
from .._api.models import OrderStatus
from .._core.clock import SystemClock
from .._core.events import count, is_async
from ..errors import (
    AurpayError,
    CallbackError,
    CallbackReferenceError,
    ClaimExpiredError,
    ConfigurationError,
    OrderMismatchError,
    OrderNotReadyError,
    StoreUnavailableError,
    shown,
)
from ._identity import LEASE, Reference, Taken, is_attempt_id
from ._notifications import (
    NOT_YET,
    RETRY_AFTER,
    ConfirmedNotification,
    MerchantError,
    RejectionLog,
    Reply,
    StepTimeoutError,
    UnconfirmedNotification,
    is_temporary,
    propagates,
)
from ._verifier import verify_request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from .._api.models import Order
    from .._core.clock import Clock
    from ._identity import CallerConnection, Claim, Handled, InboxStore, Kind
    from ._notifications import KnownOrder, Notification, OrderReader, Outcome
    from ._verifier import Body, CallbackEvent, CallbackVerifier, Headers

    Handler = Callable[[Notification], Awaitable[None]]
    Lookup = Callable[[Reference], Awaitable[KnownOrder | None]]
    OnRejected = Callable[[BaseException, CallbackEvent | None], None]


#: Pauses, in seconds, before a callback that cannot be processed yet is answered with
#: 503: Aurpay does not document how often it delivers a callback again.
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0)

#: Seconds for the inbox to record or to release a claim, after the handler.
_RECORD_TIMEOUT_S: Final = 10

#: The replies to notifications without a new effect.
_REPEATED: Final = Reply(200, "ok\n", Taken.REPEATED.value)
_REPLY_TO_TAKEN: Final = {
    Taken.REPEATED: _REPEATED,
    Taken.SUPERSEDED: Reply(200, "ok\n", Taken.SUPERSEDED.value),
    Taken.BUSY: Reply(503, "being handled\n", Taken.BUSY.value, RETRY_AFTER),
}
_STATUS_UNKNOWN: Final = Reply(503, "not yet\n", "unconfirmed", RETRY_AFTER)

#: Problems, in the order in which they can occur.
_NO_CLAIM: Final = "the inbox did not answer within the lease"
_NO_ANSWER: Final = "lookup or Aurpay did not answer within the lease"
_NO_RECORD: Final = (
    "the handler returned, but the inbox did not record it: unless the handler's own "
    "transaction did, the next delivery of this callback calls the handler again"
)
_POSTPONED: Final = "callback not processed, answered with 503"
_FAILED: Final = "callback not processed, answered with 500"
_CANCELLED: Final = "callback not processed, because its task was cancelled"
_NOT_RELEASED: Final = "claim not released, so the order is busy until its lease ends"
_OTHER_ATTEMPT: Final = (
    "lookup returned another order of the same reference: an earlier or a later one, "
    "or the answer to the call that created this one was lost"
)

#: The records after which a payment is late: a timeout was notified as confirmed.
_LATE: Final[frozenset[Handled | None]] = frozenset(
    {"timeout", "unconfirmed_late_paid"}
)
#: The error of an order that is not the callback's.
_mismatch: Final = partial(CallbackReferenceError, rule="order")

#: The reader of a processor that confirms no callback.
_NO_READER: Final = cast("OrderReader", object())


class NotYetError(Exception):
    """Aurpay does not confirm the callback yet."""


@attrs.define(kw_only=True, eq=False)
class Delivery:
    """One callback, or one poll by the shop. The methods are in calling order."""

    handler: Handler
    lookup: Lookup
    reader: OrderReader
    inbox: InboxStore
    lease: timedelta
    log: RejectionLog
    clock: Clock
    token: Reference
    #: ``None`` if the shop polls.
    event: CallbackEvent | None
    #: The order, if the shop polls.
    polled: KnownOrder | None
    _claim: Claim = attrs.field(init=False)
    _handled: Handled = attrs.field(init=False)
    #: The reply if nothing fails from here on.
    _reply: Reply = attrs.field(init=False)
    _acknowledged: bool = attrs.field(init=False)
    #: The id of the merchant's order, as soon as it is known.
    _order_id: str | None = attrs.field(default=None, init=False)

    async def run(self) -> Reply:
        """Process it, and return what to answer; raises exits and cancellation only."""
        try:
            # Retry within the request: Aurpay might not deliver the callback again.
            for pause in _PAUSES if self.event is not None else ():
                with suppress(NotYetError):
                    reply = await self._attempt(last=False)
                    if reply.outcome != Taken.BUSY.value:
                        return reply
                await self.clock.sleep(pause)
            return await self._attempt(last=True)
        except BaseException as error:
            if propagates(error):
                if isinstance(error, asyncio.CancelledError):
                    self._report(_CANCELLED, error, "cancelled")
                raise
            return self._reply_to(error)

    async def _attempt(self, *, last: bool) -> Reply:
        # From here: the lease may begin in the inbox before the inbox has answered.
        deadline = asyncio.get_running_loop().time() + self.lease.total_seconds()
        async with _until(deadline, StepTimeoutError(_NO_CLAIM)):
            claim = await self.inbox.claim(
                self.token.attempt_id, self.token.kind, self.lease
            )
        result = claim.value if isinstance(claim, Taken) else "granted"
        count("aurpay.inbox.claims", {"aurpay.claim.result": result})
        if isinstance(claim, Taken):
            return _REPLY_TO_TAKEN[claim]
        self._claim, self._acknowledged = claim, False
        try:
            async with _until(deadline, StepTimeoutError(_NO_ANSWER)):
                known = await self._look_up()
                order = await self._read_back(known)
                notification = self._decide(known, order, last=last)
            if notification is not None:
                async with _until(deadline, MerchantError()):
                    await self._notify(notification)
        except GeneratorExit:  # the event loop has ended: nothing can be awaited
            raise
        except BaseException:
            await self._release()
            raise
        if notification is None:
            await self._release()
        else:
            await self._record()
        return self._reply

    async def _look_up(self) -> KnownOrder | None:
        if self.polled is not None:
            return self.polled
        try:
            return await self.lookup(self.token)
        except OrderNotReadyError as error:
            raise NotYetError(str(error)) from error
        except BaseException as error:
            if propagates(error):
                raise
            raise MerchantError from error

    async def _read_back(self, known: KnownOrder | None) -> Order | None:
        """Return Aurpay's order; ``None`` if there is no order to compare it with."""
        if known is None or self.reader is _NO_READER:
            return None
        if known.attempt_id != self.token.attempt_id:
            return None
        self._order_id = known.order_id
        if (known.price, known.currency) != (self.token.price, self.token.currency):
            raise _mismatch(
                "the shop's order has another price than the callback's reference"
            )
        hint = None if self.event is None else self.event.order_hint
        if hint is not None and hint.order_id not in {None, known.order_id}:
            raise _mismatch(
                f"the body names order {shown(hint.order_id)}, the shop holds "
                f"{shown(known.order_id)} for this reference"
            )
        order = await self.reader.get_order(known.order_id)
        try:
            check_platform_order(known, order)
        except OrderMismatchError as error:
            raise _mismatch(str(error)) from error
        return order

    def _decide(
        self, known: KnownOrder | None, order: Order | None, *, last: bool
    ) -> Notification | None:
        """Return the notification; ``None`` if the handler was notified before.

        Raises:
            NotYetError: Aurpay does not confirm it yet; or `lookup` found no order, and
                this is not the `last` attempt.
        """
        previous = self._claim.previous
        if known is None or order is None:
            problem = "lookup returned no order" if known is None else _OTHER_ATTEMPT
            if self.reader is _NO_READER:
                problem = "this processor confirms no callback"
            elif not last:
                raise NotYetError(problem)
            return self._unconfirmed(known, problem)
        kind = None if self.event is None else self.event.kind
        outcome = outcome_of(kind, known, order, previous)
        if outcome is None:
            problem = f"Aurpay has status {shown(str(order.status))}"
            notification = self._unconfirmed(known, problem)
            self._reply = _STATUS_UNKNOWN  # delivered again: the status may change
            return notification
        if outcome == "timed_out" and previous in _LATE:
            self._reply = _REPEATED
            return None
        self._handled = "timeout" if outcome == "timed_out" else "paid"
        self._reply = Reply(200, "ok\n", outcome)
        return ConfirmedNotification(
            outcome=outcome,
            event=self.event,
            order=order,
            known=known,
            acknowledge=self._acknowledge,
        )

    def _unconfirmed(
        self, known: KnownOrder | None, reason: str
    ) -> UnconfirmedNotification | None:
        if self.event is None:
            raise NotYetError(reason)
        kind, previous = self.token.kind, self._claim.previous
        if kind == "timeout":
            was_notified = previous is not None
            self._handled = "unconfirmed_timeout"
        else:
            was_notified = previous in {"unconfirmed_paid", "unconfirmed_late_paid"}
            late = previous in _LATE
            self._handled = "unconfirmed_late_paid" if late else "unconfirmed_paid"
        if was_notified:
            self._reply = _REPEATED
            return None
        self._reply = Reply(200, "ok\n", "unconfirmed")
        return UnconfirmedNotification(
            claimed=kind,
            reason=reason,
            event=self.event,
            known=known,
            acknowledge=self._acknowledge,
        )

    async def _notify(self, notification: Notification) -> None:
        try:
            await self.handler(notification)
        except ClaimExpiredError:  # from ack(): another process has the claim
            raise
        except BaseException as error:
            if propagates(error):
                raise
            raise MerchantError from error

    async def _acknowledge(self, connection: CallerConnection | None) -> None:
        """Record the notification in the handler's own transaction."""
        if connection is None:
            raise ConfigurationError(
                "ack() takes the connection of the handler's own transaction; without "
                "one, do not call it: the processor records the notification itself"
            )
        try:
            # Not refused the second time: a handler may roll its transaction back, and
            # try again.
            await self.inbox.confirm(self._claim, self._handled, connection)
        except ClaimExpiredError as error:
            if not self._acknowledged:
                raise
            problem = "this notification was acknowledged already"
            raise ConfigurationError(problem) from error
        self._acknowledged = True

    async def _record(self) -> None:
        """Record that the handler was called, even if the lease has ended meanwhile."""
        deadline = asyncio.get_running_loop().time() + _RECORD_TIMEOUT_S
        try:
            async with _until(deadline, StepTimeoutError(_NO_RECORD)):
                if not self._acknowledged:
                    await self.inbox.confirm(self._claim, self._handled)
                    return
                is_recorded = not await self.inbox.holds(self._claim)
        except StoreUnavailableError as error:
            raise StepTimeoutError(_NO_RECORD) from error
        if not is_recorded:
            await self._release()
            problem = "the handler returned without committing what it acknowledged"
            raise MerchantError from ConfigurationError(problem)

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(_RECORD_TIMEOUT_S):
                await self.inbox.release(self._claim)
        except BaseException as error:
            if propagates(error):
                raise
            self._report(_NOT_RELEASED, error, traceback=not is_temporary(error))

    def _reply_to(self, error: BaseException) -> Reply:
        if isinstance(error, ClaimExpiredError):  # the handler outlived its lease
            self._report(_POSTPONED, error, error.rule)
            return Reply(503, "being handled\n", error.rule, RETRY_AFTER)
        if isinstance(error, CallbackError):
            return self.log.reject(error, self.event, **self._ids())
        if isinstance(error, NotYetError) and self.event is None:
            return NOT_YET
        postponed = isinstance(error, NotYetError | AurpayError)
        if isinstance(error, MerchantError):
            error = error.__cause__ or error
        if postponed or is_temporary(error):
            self._report(_POSTPONED, error, NOT_YET.outcome)
            return NOT_YET
        self._report(_FAILED, error, "failed", traceback=True)
        return Reply(500, "failed\n", "failed")

    def _report(
        self,
        problem: str,
        error: BaseException,
        outcome: str | None = None,
        *,
        traceback: bool = False,
    ) -> None:
        facts = {**self._ids(), "outcome": outcome}
        self.log.report(problem, error, self.event, traceback=traceback, **facts)

    def _ids(self) -> dict[str, str | None]:
        return {
            "reference": self.token.reference,
            "order_id": self._order_id,
            "attempt_id": self.token.attempt_id,
        }


def check_platform_order(known: KnownOrder, order: Order) -> None:
    """Check that Aurpay's order is the merchant's, and that its status is possible."""
    require_same_order(known, order)
    if order.status is OrderStatus.PENDING:
        return  # a late payment that awaits confirmation is pending again
    # The merchant may have stored the status as a `str`.
    if not OrderStatus(str(known.status)).can_become(order.status):
        raise CallbackError(
            f"order {shown(known.order_id)} cannot go from {shown(str(known.status))} "
            f"to {shown(str(order.status))}",
            rule="move",
        )


def outcome_of(
    kind: Kind | None, known: KnownOrder, order: Order, previous: Handled | None
) -> Outcome | None:
    """Return the outcome of an order; ``None`` if the meaning of its status is unknown.

    Args:
        kind: The kind of the callback; ``None`` if the shop polls.
        known: The merchant's order.
        order: Aurpay's order.
        previous: The last record in the inbox.

    Raises:
        NotYetError: if Aurpay does not confirm the callback yet.
    """
    if order.status is OrderStatus.REFUNDED:
        return "refunded"
    if order.status.is_paid:  # also after a timeout callback: paid takes precedence
        late = previous in _LATE or known.status == OrderStatus.OVERDUE
        return "late_paid" if late else "paid"
    if order.status.is_paid is None:
        return None
    if kind != "paid" and order.status is OrderStatus.OVERDUE:
        return "timed_out"
    reason = "a poll" if kind is None else f"a callback for {kind!r}"
    raise NotYetError(f"{reason}, but Aurpay has {shown(str(order.status))}")


@asynccontextmanager
async def _until(deadline: float, late: Exception) -> AsyncGenerator[None, None]:
    """Cancel the block at `deadline`, and raise `late` then."""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise late from error
        raise


async def _find_nothing(_: Reference) -> None:
    """Return no order: the lookup of a processor that confirms no callback."""


_OPT_OUT: Final = (
    "without it no callback is confirmed: "
    "CallbackProcessor.unconfirmed_only(...) is for that"
)


def _has(value: object, *methods: str) -> bool:
    return all(callable(getattr(value, name, None)) for name in methods)


def _clock_of(reader: object) -> Clock:
    """Return the clock of a client; a reader of the merchant's may have none."""
    clock: Any = getattr(reader, "_clock", None)
    return clock if is_async(getattr(clock, "sleep", None)) else SystemClock()


@final
class CallbackProcessor:
    """Verifies callbacks, and calls the handler exactly once for each notification.

    Example:
        >>> async def fulfil(notification: Notification) -> None:
        ...     if notification.outcome in {"paid", "late_paid"}:
        ...         await ship(notification.reference)
        >>> processor = CallbackProcessor(
        ...     verifier, fulfil, lookup=find_order, reader=aurpay, inbox=inbox
        ... )
    """

    def __init__(
        self,
        verifier: CallbackVerifier,
        handler: Handler,
        *,
        lookup: Lookup,
        reader: OrderReader,
        inbox: InboxStore,
        lease: timedelta = LEASE,
        on_rejected: OnRejected | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare to process callbacks.

        Args:
            verifier: Needs a ``reference_key``: only the signed reference identifies
                the order, and with it a repeated callback.
            handler: Called once for each notification. If it raises, the next delivery
                of the same callback calls it again.
            lookup: Returns the merchant's order by the reference's `attempt_id` or
                `reference`; `OrderStore.lookup` is one.
            reader: Reads the order back from Aurpay: the client.
            inbox: Records the notifications that were handled: a `SqlInbox`; or a
                `MemoryInbox`, if one process receives all callbacks and may forget
                them when it ends.
            lease: How long claim, `lookup`, read-back and handler may take together;
                then the handler is cancelled, and another delivery may be handled.
            on_rejected: Called with the exception of each callback that was rejected
                or not processed, as it is logged, and with the event if the callback
                is genuine.
            clock: The clock that sleeps between two attempts; by default that of the
                client that is the `reader`.

        Raises:
            ConfigurationError: if the verifier reads no references, or an argument is
                invalid.
        """
        if not is_async(lookup):
            raise ConfigurationError(f"lookup must be an `async def`; {_OPT_OUT}")
        if reader is not _NO_READER and not _has(reader, "get_order"):
            raise ConfigurationError(f"reader must be an AurpayClient; {_OPT_OUT}")
        if not is_async(handler):
            raise ConfigurationError("handler must be an `async def`")
        if not _has(inbox, "claim", "release", "confirm", "holds"):
            raise ConfigurationError(
                "inbox must be a SqlInbox(...), or a MemoryInbox() if one "
                "process takes all callbacks"
            )
        if on_rejected is not None and is_async(on_rejected):
            raise ConfigurationError("on_rejected must be a plain function")
        if type(lease) is not timedelta or lease <= timedelta(0):
            raise ConfigurationError("lease must be a timedelta above 0")
        if not verifier.reads_references:
            raise ConfigurationError(
                "the verifier needs a reference_key: without one, a callback does not "
                "identify its order; set AURPAY_REFERENCE_KEY for from_env()"
            )
        self._verifier = verifier
        self._log = RejectionLog(on_rejected)
        self._delivery = partial(
            Delivery,
            handler=handler,
            lookup=lookup,
            reader=reader,
            inbox=inbox,
            lease=lease,
            log=self._log,
            clock=_clock_of(reader) if clock is None else clock,
        )
        # Strong references: the task of a cancelled request keeps running and must not
        # be garbage-collected.
        self._tasks: set[asyncio.Task[Reply]] = set()

    @classmethod
    def unconfirmed_only(
        cls,
        verifier: CallbackVerifier,
        handler: Handler,
        *,
        inbox: InboxStore,
        lease: timedelta = LEASE,
        on_rejected: OnRejected | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Return a processor that confirms no callback with Aurpay.

        Its handler receives an `UnconfirmedNotification` for each callback. It has to
        query Aurpay before it fulfils an order: a callback proves that Aurpay called
        this URL, not that the order was paid.

        Raises:
            ConfigurationError: as the constructor.
        """
        return cls(
            verifier,
            handler,
            lookup=_find_nothing,
            reader=_NO_READER,
            inbox=inbox,
            lease=lease,
            on_rejected=on_rejected,
            clock=clock,
        )

    async def process(
        self,
        *,
        method: str,
        url: str,
        headers: Headers,
        body: Body = b"",
        kind: Kind | None = None,
    ) -> Reply:
        """Process a request, and return what to answer. Raises nothing.

        If the request is cancelled (servers do that when the client disconnects), the
        processing of a verified callback continues.

        Args:
            method: As for `CallbackVerifier.verify`, like all of them.
            url: The whole URL as it was registered.
            headers: As received.
            body: As received, at most `MAX_BODY` bytes; or an ``async def`` that reads
                it, called only for a POST with verified headers.
            kind: The kind of callback that the route accepts, if the shop has two.
        """
        called = str(url).partition("?")[0]
        verified = verify_request(self._verifier, method, url, headers, body, kind)
        # Tracebacks can show locals, and this signature is still valid.
        del headers, url, body
        event = await verified
        if isinstance(event, CallbackError):
            return _counted(self._log.reject(event, url=called))
        if event.token is None:
            raise AssertionError  # unreachable: the verifier reads one, or raises
        return await self._shielded(event.token, event)

    async def poll(self, order: KnownOrder) -> Reply:
        """Poll Aurpay for an order, without a callback. Raises nothing.

        It finds lost callbacks: the handler is called as for a callback, and only if it
        was not called before. Safe to call at any time, in any number of processes.

        Args:
            order: The merchant's order, with its `reference` and `attempt_id`.

        Returns:
            `Reply.outcome` is the outcome that was handled, ``repeated``, ``not_yet``,
            or ``busy`` while another handler processes the order.
        """
        attempt_id = order.attempt_id or ""
        if order.reference is None or not is_attempt_id(attempt_id):
            problem = "the order has no attempt_id: create it with reference=..."
            error = CallbackError(problem, rule="reference")
            return self._log.reject(error, reference=order.reference)
        token = Reference(
            reference=order.reference,
            price=order.price,
            currency=order.currency,
            kind="paid",
            attempt_id=attempt_id,
        )
        return await self._shielded(token, polled=order)

    async def _shielded(
        self,
        token: Reference,
        event: CallbackEvent | None = None,
        polled: KnownOrder | None = None,
    ) -> Reply:
        delivery = self._delivery(token=token, event=event, polled=polled)
        task = asyncio.create_task(_run(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


async def _run(delivery: Delivery) -> Reply:
    reply = await delivery.run()
    return reply if delivery.event is None else _counted(reply)


def _counted(reply: Reply) -> Reply:
    """Count the reply to a callback; a rejection by its rule."""
    if 400 <= reply.status < 500:  # noqa: PLR2004 - an HTTP status
        rejected = {"aurpay.callback.rule": reply.outcome}
        count("aurpay.callbacks", {"aurpay.callback.result": "rejected"} | rejected)
    else:
        count("aurpay.callbacks", {"aurpay.callback.result": reply.outcome})
    return reply
