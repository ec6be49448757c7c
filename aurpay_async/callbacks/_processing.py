"""Process one callback: claim it, confirm it with the platform, call the handler.

The claim is a lease: everything from the claim to the end of the handler happens before
one deadline, so a database or a platform that does not answer holds up no callback for
longer. What follows the handler has a limit of its own, because a handler that is done
must not lose its claim.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from ..errors import (
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
from ._notice import ConfirmedNotification, Settlement, UnconfirmedNotification
from ._replay import Taken
from ._reply import RETRY_AFTER, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from datetime import timedelta

    from .._models import Order
    from ._event import CallbackEvent
    from ._notice import KnownOrder, Notification, OrderReader, Outcome
    from ._reference import Reference
    from ._replay import Claim, Handled, InboxStore, Kind
    from ._reply import RejectionLog

#: Seconds for the inbox to record or to give back a claim, after the handler.
_STORE_TIMEOUT_S: Final = 10


class Subject(NamedTuple):
    """What a callback, or a poll of the shop, is about."""

    token: Reference
    #: ``None`` if the shop polls.
    kind: Kind | None
    event: CallbackEvent | None


class Confirmation(NamedTuple):
    """What confirms a callback: the shop's order, and the platform's."""

    lookup: Callable[[Reference], Awaitable[KnownOrder | None]]
    reader: OrderReader


class _Confirmed(NamedTuple):
    """The shop and the platform say the same of an order."""

    known: KnownOrder
    order: Order
    outcome: Outcome


class _Doubt(NamedTuple):
    """Why a callback is not confirmed."""

    known: KnownOrder | None
    reason: str
    #: Whether to look again within the patience, before the handler is called.
    wait: bool = False
    #: Whether to answer 503, so that the platform calls again.
    retry: bool = False


class _Processed(NamedTuple):
    """The reply, and what is left to be recorded if the handler was called."""

    reply: Reply
    settlement: Settlement | None


_REPEATED: Final = _Processed(Reply(200, "ok\n", Taken.REPEATED.value), None)


_NO_CLAIM: Final = "the inbox did not answer within the lease"
_NO_ANSWER: Final = "lookup or the platform did not answer within the lease"
_NO_RECORD: Final = (
    "the handler returned, but the inbox did not record it: unless the handler's own "
    "transaction did, the next delivery of this callback calls the handler again"
)


@attrs.frozen
class Processor:
    """Makes one attempt to process a callback."""

    handler: Callable[[Notification], Awaitable[None]]
    #: ``None``: no callback is ever confirmed.
    confirmation: Confirmation | None
    inbox: InboxStore
    lease: timedelta
    reporter: RejectionLog

    async def attempt(
        self, subject: Subject, known: KnownOrder | None, *, last: bool
    ) -> Reply:
        """Process `subject`.

        Args:
            subject: What it is about.
            known: The order, if the shop polls.
            last: Whether no further attempt follows: then the handler is called even
                for a doubt that might have passed.

        Raises:
            NotYetError: the platform does not say the same yet.
            StepTimeoutError: the inbox, `lookup` or the platform did not answer.
            MerchantError: the handler or `lookup` raised.
        """
        # Counted from here: the inbox's lease may begin before it has answered.
        deadline = asyncio.get_running_loop().time() + self.lease.total_seconds()
        token = subject.token
        async with _until(deadline, StepTimeoutError(_NO_CLAIM)):
            claim = await self.inbox.claim(token.attempt_id, token.kind, self.lease)
        if claim is Taken.BUSY:
            return Reply(503, "being handled\n", claim.value, RETRY_AFTER)
        if isinstance(claim, Taken):
            return Reply(200, "ok\n", claim.value)
        try:
            processed = await self._process(subject, known, claim, deadline, last=last)
        except GeneratorExit:  # the event loop has ended: nothing can be awaited
            raise
        except BaseException:
            await self._release(claim, subject.token)
            raise
        return await self._finish(claim, subject, processed)

    async def _process(
        self,
        subject: Subject,
        known: KnownOrder | None,
        claim: Claim,
        deadline: float,
        *,
        last: bool,
    ) -> _Processed:
        async with _until(deadline, StepTimeoutError(_NO_ANSWER)):
            result = await self._confirm(subject, known, claim.previous)
        async with _until(deadline, MerchantError()):
            if isinstance(result, _Confirmed):
                return await self._confirmed(subject, claim, result)
            return await self._unconfirmed(subject, claim, result, last=last)

    async def _confirm(
        self, subject: Subject, known: KnownOrder | None, previous: Handled | None
    ) -> _Confirmed | _Doubt:
        if self.confirmation is None:
            return _Doubt(known, "this processor confirms no callback")
        lookup, reader = self.confirmation
        if known is None:
            known = await _call_lookup(lookup, subject.token)
        if known is None:
            return _Doubt(None, "lookup returned no order", wait=True)
        if known.attempt_id != subject.token.attempt_id:
            problem = (
                "lookup returned another order of the same reference: an earlier or a "
                "later one, or the callback is about one whose answer was lost"
            )
            return _Doubt(known, problem, wait=True)
        hint = None if subject.event is None else subject.event.order_hint
        check_reference(subject.token, known, hint)
        order = await reader.get_order(known.order_id)
        check_platform_order(known, order)
        outcome = outcome_of(subject.kind, known, order, previous)
        if outcome is None:
            problem = f"the platform has status {shown(str(order.status))}"
            return _Doubt(known, problem, retry=True)
        return _Confirmed(known, order, outcome)

    async def _confirmed(
        self, subject: Subject, claim: Claim, result: _Confirmed
    ) -> _Processed:
        if result.outcome == "timed_out" and is_late(claim.previous):
            return _REPEATED
        handled: Handled = "timeout" if result.outcome == "timed_out" else "paid"
        settlement = Settlement(self.inbox, claim, handled)
        notification = ConfirmedNotification(
            outcome=result.outcome,
            event=subject.event,
            order=result.order,
            known=result.known,
            settlement=settlement,
        )
        await self._call_handler(notification)
        return _Processed(Reply(200, "ok\n", result.outcome), settlement)

    async def _unconfirmed(
        self, subject: Subject, claim: Claim, doubt: _Doubt, *, last: bool
    ) -> _Processed:
        if subject.event is None or subject.kind is None or (doubt.wait and not last):
            raise NotYetError(doubt.reason)
        processed = _REPEATED
        if not was_notified(subject.kind, claim.previous):
            handled = unconfirmed(subject.kind, claim.previous)
            settlement = Settlement(self.inbox, claim, handled)
            notification = UnconfirmedNotification(
                claimed=subject.kind,
                reason=doubt.reason,
                event=subject.event,
                known=doubt.known,
                settlement=settlement,
            )
            await self._call_handler(notification)
            processed = _Processed(Reply(200, "ok\n", "unconfirmed"), settlement)
        if doubt.retry:
            again = Reply(503, "not yet\n", "unconfirmed", RETRY_AFTER)
            return processed._replace(reply=again)
        return processed

    async def _call_handler(self, notification: Notification) -> None:
        try:
            await self.handler(notification)
        except ClaimExpiredError:  # from settle(): another process has the claim
            raise
        except BaseException as error:
            if propagates(error):
                raise
            raise MerchantError from error

    async def _finish(
        self, claim: Claim, subject: Subject, processed: _Processed
    ) -> Reply:
        """Record what was handled, whether or not the lease has ended meanwhile."""
        if processed.settlement is None:
            await self._release(claim, subject.token)
            return processed.reply
        deadline = asyncio.get_running_loop().time() + _STORE_TIMEOUT_S
        try:
            async with _until(deadline, StepTimeoutError(_NO_RECORD)):
                is_recorded = await processed.settlement.finish()
        except StoreUnavailableError as error:
            raise StepTimeoutError(_NO_RECORD) from error
        if not is_recorded:
            await self._release(claim, subject.token)
            problem = "the handler returned without committing what it settled"
            raise MerchantError from ConfigurationError(problem)
        return processed.reply

    async def _release(self, claim: Claim, token: Reference) -> None:
        try:
            async with asyncio.timeout(_STORE_TIMEOUT_S):
                await self.inbox.release(claim)
        except BaseException as error:
            if propagates(error):
                raise
            # The end of the lease frees the claim.
            self.reporter.fail(error, None, token.reference)


@asynccontextmanager
async def _until(deadline: float, late: Exception) -> AsyncGenerator[None, None]:
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise late from error
        raise


async def _call_lookup(
    lookup: Callable[[Reference], Awaitable[KnownOrder | None]], token: Reference
) -> KnownOrder | None:
    try:
        return await lookup(token)
    except OrderNotReadyError as error:
        raise NotYetError(str(error)) from error
    except BaseException as error:
        if propagates(error):
            raise
        raise MerchantError from error
