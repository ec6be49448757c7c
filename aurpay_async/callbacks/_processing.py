"""Process one callback: claim it, confirm it with Aurpay, call the handler, record it.

The claim is a lease: everything from the claim to the end of the handler happens before
one deadline, so a database or a platform that does not answer delays no callback for
longer. Recording has a separate limit, because a handler that has returned must not
lose its claim.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import attrs

from ..errors import (
    AurpayError,
    CallbackError,
    ClaimExpiredError,
    ConfigurationError,
    OrderNotReadyError,
    StoreUnavailableError,
    shown,
)
from ._compare import (
    NotYetError,
    check_platform_order,
    check_reference,
    is_late,
    outcome_of,
    unconfirmed,
    was_notified,
)
from ._failures import MerchantError, StepTimeoutError, propagates
from ._notice import ConfirmedNotification, UnconfirmedNotification
from ._replay import Taken
from ._reply import NOT_YET, RETRY_AFTER, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from datetime import timedelta

    from .._clock import Clock
    from .._models import Order
    from ._event import CallbackEvent
    from ._notice import KnownOrder, Notification, OrderReader
    from ._reference import Reference
    from ._replay import CallerConnection, Claim, Handled, InboxStore
    from ._reply import RejectionLog

#: Pauses, in seconds, before a callback that cannot be processed yet is answered with
#: 503: Aurpay does not document how often it delivers a callback again.
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0)

#: Seconds for the inbox to record or to release a claim, after the handler.
_RECORD_TIMEOUT_S: Final = 10

_REPEATED: Final = Reply(200, "ok\n", Taken.REPEATED.value)
_REPLY_TO_TAKEN: Final = {
    Taken.REPEATED: _REPEATED,
    Taken.SUPERSEDED: Reply(200, "ok\n", Taken.SUPERSEDED.value),
    Taken.BUSY: Reply(503, "being handled\n", Taken.BUSY.value, RETRY_AFTER),
}
_STATUS_UNKNOWN: Final = Reply(503, "not yet\n", "unconfirmed", RETRY_AFTER)

_NO_CLAIM: Final = "the inbox did not answer within the lease"
_NO_ANSWER: Final = "lookup or the platform did not answer within the lease"
_NO_RECORD: Final = (
    "the handler returned, but the inbox did not record it: unless the handler's own "
    "transaction did, the next delivery of this callback calls the handler again"
)
_OTHER_ATTEMPT: Final = (
    "lookup returned another order of the same reference: an earlier or a later one, "
    "or the answer to the call that created this one was lost"
)


@attrs.define(kw_only=True, eq=False)
class Delivery:
    """One callback, or one poll by the shop. The methods stand in calling order."""

    handler: Callable[[Notification], Awaitable[None]]
    #: ``None``, as `reader`: no callback is confirmed.
    lookup: Callable[[Reference], Awaitable[KnownOrder | None]] | None
    reader: OrderReader | None
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
                raise
            return self._reply_to(error)

    async def _attempt(self, *, last: bool) -> Reply:
        # From here: the lease may begin in the inbox before the inbox has answered.
        deadline = asyncio.get_running_loop().time() + self.lease.total_seconds()
        async with _until(deadline, StepTimeoutError(_NO_CLAIM)):
            claim = await self.inbox.claim(
                self.token.attempt_id, self.token.kind, self.lease
            )
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
        """Return the merchant's order.

        Raises:
            MerchantError: `lookup` raised.
            NotYetError: the order is being created.
        """
        if self.polled is not None or self.lookup is None:
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
        """Return Aurpay's order; ``None`` without an order of the merchant to compare.

        Raises:
            CallbackError: the reference and the two orders contradict each other.
        """
        if known is None or self.reader is None:
            return None
        if known.attempt_id != self.token.attempt_id:
            return None
        hint = None if self.event is None else self.event.order_hint
        check_reference(self.token, known, hint)
        order = await self.reader.get_order(known.order_id)
        check_platform_order(known, order)
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
            return self._unconfirmed(known, self._no_order(known, last=last))
        kind = None if self.event is None else self.event.kind
        outcome = outcome_of(kind, known, order, previous)
        if outcome is None:
            problem = f"the platform has status {shown(str(order.status))}"
            notification = self._unconfirmed(known, problem)
            # Aurpay has to deliver the callback again: the status may change.
            self._reply = _STATUS_UNKNOWN
            return notification
        if outcome == "timed_out" and is_late(previous):
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

    def _no_order(self, known: KnownOrder | None, *, last: bool) -> str:
        """Return why no order of the merchant was compared with Aurpay's."""
        if self.reader is None:
            return "this processor confirms no callback"
        problem = "lookup returned no order" if known is None else _OTHER_ATTEMPT
        if not last:
            raise NotYetError(problem)
        return problem

    def _unconfirmed(
        self, known: KnownOrder | None, reason: str
    ) -> UnconfirmedNotification | None:
        if self.event is None:
            raise NotYetError(reason)
        kind, previous = self.token.kind, self._claim.previous
        if was_notified(kind, previous):
            self._reply = _REPEATED
            return None
        self._handled = unconfirmed(kind, previous)
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
        if self._acknowledged:
            raise ConfigurationError("this notification was acknowledged already")
        await self.inbox.confirm(self._claim, self._handled, connection)
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
            # The end of the lease frees the claim.
            self.log.fail(error, None, self.token.reference)

    def _reply_to(self, error: BaseException) -> Reply:
        reference = self.token.reference
        if isinstance(error, ClaimExpiredError):  # the handler outlived its lease
            self.log.postpone(error, self.event, reference)
            return Reply(503, "being handled\n", error.rule, RETRY_AFTER)
        if isinstance(error, CallbackError):
            return self.log.reject(error, self.event, reference=reference)
        if isinstance(error, NotYetError) and self.event is None:
            return NOT_YET
        if isinstance(error, NotYetError | AurpayError):
            return self.log.postpone(error, self.event, reference)
        if isinstance(error, MerchantError):
            error = error.__cause__ or error
        return self.log.fail(error, self.event, reference)


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
