"""From a request to the shop's handler: verified, claimed, read back, handled once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, final

from .._clock import SystemClock
from .._settings import is_async
from ..errors import (
    AurpayError,
    CallbackError,
    CallbackReplayedError,
    ConfigurationError,
    shown,
)
from ._compare import (
    NotYetError,
    compare_known,
    compare_read,
    is_late,
    is_told,
    outcome_of,
    unconfirmed,
)
from ._notice import ConfirmedNotice, Settlement, UnconfirmedNotice
from ._reference import Reference, is_nonce
from ._replay import LEASE, MemoryReplayStore, Taken
from ._reply import Reply, Reporter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._clock import Clock
    from ._headers import Headers
    from ._notice import KnownOrder, Notice, OrderReader
    from ._replay import Claim, Handled, Kind, ReplayStore
    from ._verify import CallbackEvent, CallbackVerifier

#: Seconds after which a delivery that could not be handled now may come again.
_RETRY_AFTER: Final = {"Retry-After": "5"}

#: Pauses, in seconds, before a delivery that cannot be handled yet is given up: how
#: often a platform tries again is not documented.
_PATIENCE: Final = (0.25, 0.5, 1.0, 2.0)

#: How long to wait for a store to take a claim back; the lease ends anyway.
_RELEASE_S: Final = 10


class _Case(NamedTuple):
    """What a delivery, or a question of the shop, is about."""

    token: Reference
    #: ``None`` if the shop asks by itself.
    kind: Kind | None
    event: CallbackEvent | None


class _Doubt(NamedTuple):
    """Why nobody can confirm a notification, and whether that may pass."""

    reason: str
    passes: bool


class _Told(NamedTuple):
    """What to answer, and what is left to be recorded: nothing, if nobody was told."""

    reply: Reply
    settlement: Settlement | None


_REPEATED: Final = _Told(Reply(200, "ok\n", Taken.REPEATED.value), None)


class _ShopError(Exception):
    """The shop's own code raised; its error is the cause."""


@final
class Dispatcher:
    """Hands each notification to the shop's handler, once and confirmed.

    Example:
        >>> async def deliver(notice: Notice) -> None:
        ...     if notice.outcome in {"paid", "late_paid"}:
        ...         await ship(notice.reference)
        >>> dispatcher = Dispatcher(verifier, deliver, reader=aurpay, lookup=find_order)

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        verifier: CallbackVerifier,
        handler: Callable[[Notice], Awaitable[None]],
        *,
        reader: OrderReader | None = None,
        lookup: Callable[[Reference], Awaitable[KnownOrder | None]] | None = None,
        store: ReplayStore | None = None,
        lease: timedelta = LEASE,
        on_refused: Callable[[BaseException, CallbackEvent | None], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Set up the road.

        Args:
            verifier: Needs a ``reference_key``: without a reference, nothing says
                which order is meant, and what is a repetition.
            handler: Is told of each notification once. If it raises, the next delivery
                of the same counts.
            reader: Who asks the platform: the client. Without it, or without `lookup`,
                no notice is ever confirmed.
            lookup: Finds the order that the shop holds, by the reference's `nonce` or
                by its `reference`.
            store: Remembers what was handled. The default serves one process, and
                forgets at its end.
            lease: How long reading back and handling may take together; then the
                handler is cancelled, and another delivery may take its place.
            on_refused: Is called with the reason of each refusal, as the log is, and
                with the event if the request was genuine.
            clock: What waits.

        Raises:
            ConfigurationError: if the verifier reads no references, or a value cannot
                be used.
        """
        if not verifier.reads_references:
            raise ConfigurationError(
                "the verifier needs a reference_key: nothing else says which order a "
                "callback is about"
            )
        if not is_async(handler):
            raise ConfigurationError("handler must be an `async def`")
        if on_refused is not None and is_async(on_refused):
            raise ConfigurationError("on_refused must be a plain function")
        if type(lease) is not timedelta or lease <= timedelta(0):
            raise ConfigurationError("lease must be a timedelta above 0")
        self._verifier = verifier
        self._handler = handler
        self._reader = reader
        self._lookup = lookup
        self._store = MemoryReplayStore() if store is None else store
        self._lease = lease
        self._reporter = Reporter(on_refused)
        self._clock = SystemClock() if clock is None else clock
        #: Whoever is cut off: their work goes on, and must not be forgotten.
        self._tasks: set[asyncio.Task[Reply]] = set()

    async def dispatch(
        self,
        *,
        method: str,
        url: str,
        headers: Headers,
        body: bytes = b"",
        kind: Kind | None = None,
    ) -> Reply:
        """Handle a request, and say what to answer. Raises nothing.

        If it is cancelled (servers do that when a client goes away), what has begun is
        still brought to its end.

        Args:
            method: As `CallbackVerifier.verify`, for all of them.
            url: The whole URL as it was registered.
            headers: As they came.
            body: As it came, at most `MAX_BODY` bytes.
            kind: What the route is for, if the shop has two.
        """
        verify = partial(self._verifier.verify, method=method, url=url, kind=kind)
        event = _verified(verify, headers, body)
        # Tracebacks show local names, and these are good for some minutes more.
        del headers, body, verify
        if isinstance(event, CallbackError):
            return self._reporter.refuse(event)
        if event.token is None:
            raise AssertionError  # unreachable: the verifier reads one, or raises
        return await self._shielded(_Case(event.token, event.token.kind, event))

    async def check(self, order: KnownOrder) -> Reply:
        """Ask the platform about an order, without a callback.

        For callbacks that never came: what has happened is told to the handler just
        as a callback would have told it, and only if it was not. Safe to call at any
        time, in any number of processes. Raises nothing.

        Args:
            order: As the shop holds it, with its `reference` and `nonce`.

        Returns:
            `Reply.outcome`: what was handled, ``repeated``, or ``not_yet``.
        """
        nonce = order.nonce or ""
        if order.reference is None or not is_nonce(nonce):
            problem = "the order has no nonce: create it with reference=..."
            return self._reporter.refuse(CallbackError(problem, rule="reference"))
        token = Reference(
            reference=order.reference,
            price=order.price,
            currency=order.currency,
            kind="paid",
            nonce=nonce,
        )
        return await self._shielded(_Case(token, None, None), order)

    async def _shielded(self, case: _Case, known: KnownOrder | None = None) -> Reply:
        task = asyncio.create_task(self._reply(case, known))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _reply(self, case: _Case, known: KnownOrder | None) -> Reply:
        try:
            return await self._patiently(case, known)
        except CallbackReplayedError as error:  # the handler outlived its lease
            self._reporter.tell(error, case.event)
            return Reply(503, "being handled\n", error.rule, _RETRY_AFTER)
        except CallbackError as error:
            return self._reporter.refuse(error, case.event)
        except (NotYetError, AurpayError) as error:
            if case.kind is not None or isinstance(error, AurpayError):
                self._reporter.tell(error, case.event)
            return Reply(503, "not yet\n", "not_yet", _RETRY_AFTER)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the shop's code, or the client, waited for was cancelled.
            self._reporter.failed(error, case.event)
            return Reply(500, "failed\n", "failed")
        except Exception as error:  # noqa: BLE001 - the shop's own code, or its database
            cause = error.__cause__ if isinstance(error, _ShopError) else error
            self._reporter.failed(cause or error, case.event)
            return Reply(500, "failed\n", "failed")

    async def _patiently(self, case: _Case, known: KnownOrder | None) -> Reply:
        """Try some times, if the platform might not."""
        for pause in _PATIENCE if case.event is not None else ():
            try:
                reply = await self._once(case, known, last=False)
            except NotYetError:
                reply = None
            if reply is not None and reply.outcome != Taken.BUSY.value:
                return reply
            await self._clock.sleep(pause)
        return await self._once(case, known, last=True)

    async def _once(
        self, case: _Case, known: KnownOrder | None, *, last: bool
    ) -> Reply:
        token = case.token
        # Counted from here: the store's may begin before it has answered.
        deadline = asyncio.get_running_loop().time() + self._lease.total_seconds()
        claim = await self._store.claim(token.nonce, token.kind, self._lease)
        if claim is Taken.BUSY:
            return Reply(503, "being handled\n", claim.value, _RETRY_AFTER)
        if isinstance(claim, Taken):
            return Reply(200, "ok\n", claim.value)
        try:
            async with asyncio.timeout_at(deadline):
                if known is None and self._lookup is not None:
                    known = await _by_the_shop(self._lookup, token)
                doubt = self._doubt(token, known)
                if doubt is None and known is not None and self._reader is not None:
                    told = await self._confirmed(case, known, claim, self._reader)
                else:
                    told = await self._unconfirmed(case, known, claim, doubt, last=last)
        except BaseException:
            await self._release(claim)
            raise
        return await self._finish(claim, told)

    async def _finish(self, claim: Claim, told: _Told) -> Reply:
        """Record it: in no case does a handler that is done lose its claim."""
        if told.settlement is None:
            await self._release(claim)
        elif not await told.settlement.finish():
            await self._release(claim)
            problem = "the handler returned, and did not commit where it had settled"
            raise _ShopError from ConfigurationError(problem)
        return told.reply

    def _doubt(self, token: Reference, known: KnownOrder | None) -> _Doubt | None:
        """Why the platform cannot be asked."""
        if self._reader is None:
            return _Doubt("the dispatcher has no reader", passes=False)
        if self._lookup is None and known is None:
            return _Doubt("the dispatcher has no lookup", passes=False)
        if known is None:
            return _Doubt("the shop holds no order for this reference", passes=True)
        if known.nonce != token.nonce:
            return _Doubt(
                "this is about another order of the same reference than the one that "
                "the shop holds: one whose answer was lost, an earlier or a later one",
                passes=True,
            )
        return None

    async def _confirmed(
        self, case: _Case, known: KnownOrder, claim: Claim, reader: OrderReader
    ) -> _Told:
        hint = None if case.event is None else case.event.order_hint
        compare_known(case.token, known, hint)
        order = await reader.get_order(known.order_id)
        compare_read(known, order)
        outcome = outcome_of(case.kind, known, order, claim.previous)
        if outcome is None:
            doubt = _Doubt(f"the platform has {shown(str(order.status))}", passes=True)
            return await self._unconfirmed(case, known, claim, doubt, last=True)
        if outcome == "timed_out" and is_late(claim.previous):
            return _REPEATED
        handled: Handled = "timeout" if outcome == "timed_out" else "paid"
        settlement = Settlement(self._store, claim, handled)
        notice = ConfirmedNotice(
            outcome=outcome,
            event=case.event,
            order=order,
            known=known,
            settlement=settlement,
        )
        await self._hand_over(notice)
        return _Told(Reply(200, "ok\n", outcome), settlement)

    async def _unconfirmed(
        self,
        case: _Case,
        known: KnownOrder | None,
        claim: Claim,
        doubt: _Doubt | None,
        *,
        last: bool,
    ) -> _Told:
        if doubt is None or case.event is None or case.kind is None:
            raise NotYetError(doubt.reason if doubt else "nobody can be asked")
        if doubt.passes and not last:
            raise NotYetError(doubt.reason)
        told = _REPEATED
        if not is_told(case.kind, claim.previous):
            handled = unconfirmed(case.kind, claim.previous)
            settlement = Settlement(self._store, claim, handled)
            notice = UnconfirmedNotice(
                claimed=case.kind,
                reason=doubt.reason,
                event=case.event,
                known=known,
                settlement=settlement,
            )
            await self._hand_over(notice)
            told = _Told(Reply(200, "ok\n", "unconfirmed"), settlement)
        # What may be known later is worth another delivery.
        if doubt.passes:
            again = Reply(503, "not yet\n", "unconfirmed", _RETRY_AFTER)
            return told._replace(reply=again)
        return told

    async def _hand_over(self, notice: Notice) -> None:
        try:
            await self._handler(notice)
        except CallbackReplayedError:  # from settle(): another one is on it
            raise
        except Exception as error:
            raise _ShopError from error

    async def _release(self, claim: Claim) -> None:
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._store.release(claim)
        except Exception as error:  # noqa: BLE001 - then the end of the lease frees it
            self._reporter.failed(error, None)


def _verified(
    verify: Callable[..., CallbackEvent], headers: Headers, body: bytes
) -> CallbackEvent | CallbackError:
    try:
        return verify(headers=headers, body=body)
    except CallbackError as error:
        return error
    finally:
        # The error's traceback shows the local names of this frame.
        del headers, body


async def _by_the_shop(
    lookup: Callable[[Reference], Awaitable[KnownOrder | None]], token: Reference
) -> KnownOrder | None:
    try:
        return await lookup(token)
    except Exception as error:
        raise _ShopError from error
