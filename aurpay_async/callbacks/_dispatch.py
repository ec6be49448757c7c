"""From a request to the merchant's handler: verified, confirmed, handled once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self, final

from .._clock import SystemClock
from .._settings import is_async
from .._urls import without_query
from ..errors import (
    AurpayError,
    CallbackError,
    ClaimExpiredError,
    ConfigurationError,
)
from ._body import verify_request
from ._compare import NotYetError
from ._failures import MerchantError, propagates
from ._processing import Confirmation, Processor, Subject
from ._reference import Reference, is_attempt_id
from ._replay import LEASE, Taken
from ._reply import NOT_YET, RETRY_AFTER, RejectionLog, Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._clock import Clock
    from ._body import Body
    from ._event import CallbackEvent
    from ._headers import Headers
    from ._notice import KnownOrder, Notification, OrderReader
    from ._replay import InboxStore, Kind
    from ._verify import CallbackVerifier

    Handler = Callable[[Notification], Awaitable[None]]
    OnRejected = Callable[[BaseException, CallbackEvent | None], None]

#: Pauses, in seconds, before a callback that cannot be processed yet is answered with
#: 503: how often a platform calls again is not documented.
_PATIENCE: Final = (0.25, 0.5, 1.0, 2.0)

_OPT_OUT: Final = (
    "without it no callback is confirmed: "
    "CallbackProcessor.unconfirmed_only(...) is for that"
)

_STORE_METHODS: Final = ("claim", "release", "confirm", "holds")


@final
class CallbackProcessor:
    """Calls the merchant's handler once for each notification, confirmed.

    Example:
        >>> async def deliver(notification: Notification) -> None:
        ...     if notification.outcome in {"paid", "late_paid"}:
        ...         await ship(notification.reference)
        >>> processor = CallbackProcessor(
        ...     verifier, deliver, lookup=find_order, reader=aurpay, inbox=inbox
        ... )

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        verifier: CallbackVerifier,
        handler: Handler,
        *,
        lookup: Callable[[Reference], Awaitable[KnownOrder | None]],
        reader: OrderReader,
        inbox: InboxStore,
        lease: timedelta = LEASE,
        on_rejected: OnRejected | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare to process callbacks.

        Args:
            verifier: Needs a ``reference_key``: without a reference, nothing says
                which order is meant, and what is a repetition.
            handler: Is called once for each notification. If it raises, the next
                delivery of the same is handled.
            lookup: Finds the order that the merchant holds, by the reference's
            `attempt_id`
                or by its `reference`; `OrderStore.lookup` is one.
            reader: Asks the platform: the client.
            inbox: Records what was handled: a `SqlInbox`, or a
                `MemoryInbox` if one process takes all callbacks and may forget
                them when it ends.
            lease: How long claim, `lookup`, read-back and handler may take together;
                then the handler is cancelled, and another delivery may be handled.
            on_rejected: Is called with the exception of each callback that was rejected
                or not processed, as the log is, and with the event if it was genuine.
            clock: What waits.

        Raises:
            ConfigurationError: if the verifier reads no references, or a value cannot
                be used.
        """
        if not is_async(lookup):
            raise ConfigurationError(f"lookup must be an `async def`; {_OPT_OUT}")
        if not callable(getattr(reader, "get_order", None)):
            raise ConfigurationError(f"reader must be an AurpayClient; {_OPT_OUT}")
        confirmation = Confirmation(lookup, reader)
        processor = _processor(handler, confirmation, inbox, lease, on_rejected)
        self._prepare(verifier, processor, clock)

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
        """Return a processor that confirms no callback.

        Its handler gets an `UnconfirmedNotification` for each, and has to ask the
        platform
        itself before anything is delivered: a callback proves that the platform called
        this URL, not that the order was paid.

        Raises:
            ConfigurationError: as the constructor.
        """
        self = cls.__new__(cls)
        processor = _processor(handler, None, inbox, lease, on_rejected)
        self._prepare(verifier, processor, clock)
        return self

    def _prepare(
        self, verifier: CallbackVerifier, processor: Processor, clock: Clock | None
    ) -> None:
        if not verifier.reads_references:
            raise ConfigurationError(
                "the verifier needs a reference_key: nothing else says which order a "
                "callback is about"
            )
        self._verifier = verifier
        self._processor = processor
        self._reporter = processor.reporter
        self._clock = SystemClock() if clock is None else clock
        # Strong references: the task of a cancelled request keeps running and must not
        # be garbage-collected.
        self._tasks: set[asyncio.Task[Reply]] = set()

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

        If it is cancelled (servers do that when a client goes away), what has begun is
        still brought to its end.

        Args:
            method: As `CallbackVerifier.verify`, for all of them.
            url: The whole URL as it was registered.
            headers: As received.
            body: As received, at most `MAX_BODY` bytes; or an ``async def`` that reads
                it, and is called only for a POST whose headers are verified.
            kind: What the route is for, if the shop has two.
        """
        called = without_query(str(url))
        verified = verify_request(
            self._verifier,
            method=method,
            url=url,
            headers=headers,
            body=body,
            kind=kind,
        )
        # Tracebacks show local names, and these are good for some minutes more.
        del headers, url, body
        event = await verified
        if isinstance(event, CallbackError):
            return self._reporter.reject(event, url=called)
        if event.token is None:
            raise AssertionError  # unreachable: the verifier reads one, or raises
        return await self._shielded(Subject(event.token, event.token.kind, event))

    async def poll(self, order: KnownOrder) -> Reply:
        """Poll the platform for an order, without a callback. Raises nothing.

        For callbacks that were lost: the handler is called just as for a callback, and
        only if it was not called before. Safe to call at any time, in any number of
        processes.

        Args:
            order: As the merchant holds it, with its `reference` and `attempt_id`.

        Returns:
            `Reply.outcome`: what was handled, ``repeated``, or ``not_yet``.
        """
        attempt_id = order.attempt_id or ""
        if order.reference is None or not is_attempt_id(attempt_id):
            problem = "the order has no attempt_id: create it with reference=..."
            error = CallbackError(problem, rule="reference")
            return self._reporter.reject(error, reference=order.reference)
        token = Reference(
            reference=order.reference,
            price=order.price,
            currency=order.currency,
            kind="paid",
            attempt_id=attempt_id,
        )
        return await self._shielded(Subject(token, None, None), order)

    async def _shielded(
        self, subject: Subject, known: KnownOrder | None = None
    ) -> Reply:
        task = asyncio.create_task(self._reply(subject, known))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _reply(self, subject: Subject, known: KnownOrder | None) -> Reply:
        try:
            return await self._with_patience(subject, known)
        except BaseException as error:
            if propagates(error):
                raise
            return self._reply_to(error, subject)

    def _reply_to(self, error: BaseException, subject: Subject) -> Reply:
        event, reference = subject.event, subject.token.reference
        if isinstance(error, ClaimExpiredError):  # the handler outlived its lease
            self._reporter.postpone(error, event, reference)
            return Reply(503, "being handled\n", error.rule, RETRY_AFTER)
        if isinstance(error, CallbackError):
            return self._reporter.reject(error, event, reference=reference)
        if isinstance(error, NotYetError) and event is None:
            return NOT_YET
        if isinstance(error, NotYetError | AurpayError):
            return self._reporter.postpone(error, event, reference)
        if isinstance(error, MerchantError):
            error = error.__cause__ or error
        return self._reporter.fail(error, event, reference)

    async def _with_patience(self, subject: Subject, known: KnownOrder | None) -> Reply:
        """Try several times within one request: the platform might not."""
        attempt = self._processor.attempt
        for pause in _PATIENCE if subject.event is not None else ():
            try:
                reply = await attempt(subject, known, last=False)
            except NotYetError:
                reply = None
            if reply is not None and reply.outcome != Taken.BUSY.value:
                return reply
            await self._clock.sleep(pause)
        return await attempt(subject, known, last=True)


def _processor(
    handler: Handler,
    confirmation: Confirmation | None,
    inbox: InboxStore,
    lease: timedelta,
    on_rejected: OnRejected | None,
) -> Processor:
    if not is_async(handler):
        raise ConfigurationError("handler must be an `async def`")
    if not all(callable(getattr(inbox, name, None)) for name in _STORE_METHODS):
        raise ConfigurationError(
            "inbox must be a SqlInbox(...), or a MemoryInbox() if one "
            "process takes all callbacks"
        )
    if on_rejected is not None and is_async(on_rejected):
        raise ConfigurationError("on_rejected must be a plain function")
    if type(lease) is not timedelta or lease <= timedelta(0):
        raise ConfigurationError("lease must be a timedelta above 0")
    return Processor(handler, confirmation, inbox, lease, RejectionLog(on_rejected))
