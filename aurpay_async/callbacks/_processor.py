"""The public entry point: from a request to what the handler is called with."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Self, final

from .._clock import SystemClock
from .._settings import is_async
from .._urls import without_query
from ..errors import CallbackError, ConfigurationError
from ._body import verify_request
from ._processing import Delivery
from ._reference import Reference, is_attempt_id
from ._replay import LEASE
from ._reply import RejectionLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._clock import Clock
    from ._body import Body
    from ._event import CallbackEvent
    from ._headers import Headers
    from ._notice import KnownOrder, Notification, OrderReader
    from ._replay import InboxStore, Kind
    from ._reply import Reply
    from ._verify import CallbackVerifier

    Handler = Callable[[Notification], Awaitable[None]]
    Lookup = Callable[[Reference], Awaitable[KnownOrder | None]]
    OnRejected = Callable[[BaseException, CallbackEvent | None], None]

_OPT_OUT: Final = (
    "without it no callback is confirmed: "
    "CallbackProcessor.unconfirmed_only(...) is for that"
)

_INBOX_METHODS: Final = ("claim", "release", "confirm", "holds")


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
            clock: The clock that sleeps between two attempts.

        Raises:
            ConfigurationError: if the verifier reads no references, or an argument is
                invalid.
        """
        if not is_async(lookup):
            raise ConfigurationError(f"lookup must be an `async def`; {_OPT_OUT}")
        if not callable(getattr(reader, "get_order", None)):
            raise ConfigurationError(f"reader must be an AurpayClient; {_OPT_OUT}")
        self._prepare(
            verifier,
            handler,
            lookup=lookup,
            reader=reader,
            inbox=inbox,
            lease=lease,
            on_rejected=on_rejected,
            clock=clock,
        )

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

        Its handler receives an `UnconfirmedNotification` for each, and has to query
        Aurpay before it fulfils an order: a callback proves that Aurpay called this
        URL, not that the order was paid.

        Raises:
            ConfigurationError: as the constructor.
        """
        self = cls.__new__(cls)
        self._prepare(
            verifier,
            handler,
            inbox=inbox,
            lease=lease,
            on_rejected=on_rejected,
            clock=clock,
        )
        return self

    def _prepare(
        self,
        verifier: CallbackVerifier,
        handler: Handler,
        *,
        lookup: Lookup | None = None,
        reader: OrderReader | None = None,
        inbox: InboxStore,
        lease: timedelta,
        on_rejected: OnRejected | None,
        clock: Clock | None,
    ) -> None:
        if not is_async(handler):
            raise ConfigurationError("handler must be an `async def`")
        if not all(callable(getattr(inbox, name, None)) for name in _INBOX_METHODS):
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
                "identify its order"
            )
        self._verifier = verifier
        self._log = RejectionLog(on_rejected)
        self._clock = SystemClock() if clock is None else clock
        self._delivery = partial(
            Delivery,
            handler=handler,
            lookup=lookup,
            reader=reader,
            inbox=inbox,
            lease=lease,
            log=self._log,
        )
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
        called = without_query(str(url))
        verified = verify_request(
            self._verifier,
            method=method,
            url=url,
            headers=headers,
            body=body,
            kind=kind,
        )
        # Tracebacks can show locals, and this signature is still valid.
        del headers, url, body
        event = await verified
        if isinstance(event, CallbackError):
            return self._log.reject(event, url=called)
        if event.token is None:
            raise AssertionError  # unreachable: the verifier reads one, or raises
        return await self._shielded(event.token, event)

    async def poll(self, order: KnownOrder) -> Reply:
        """Poll the platform for an order, without a callback. Raises nothing.

        It finds lost callbacks: the handler is called as for a callback, and only if it
        was not called before. Safe to call at any time, in any number of processes.

        Args:
            order: The merchant's order, with its `reference` and `attempt_id`.

        Returns:
            `Reply.outcome` is the outcome that was handled, ``repeated`` or
            ``not_yet``.
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
        delivery = self._delivery(
            token=token, event=event, polled=polled, clock=self._clock
        )
        task = asyncio.create_task(delivery.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)
