"""The order store: what a shop calls."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, Self, cast, final

from .._api.arguments import require_order_id, require_reference, without_traceback
from .._api.models import NewOrder
from .._client import AurpayClient
from .._client.options import invalid_option
from .._core.events import is_async
from .._db.engine import Database
from .._db.migrations import fits, upgrade
from .._db.tables import metadata
from ..errors import (
    ConfigurationError,
    InvalidRequestError,
    OrderNotReadyError,
    shown,
)
from ._creation import OrderOpener
from ._models import AttemptState, as_known_order
from ._planner import can_be_polled, is_over
from ._reconcile import Runner, candidate, reconcile
from ._recording import (
    identify,
    read_order,
    read_order_of,
    record_update,
    require_one_source,
)
from ._repository import Repository, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from sqlalchemy import MetaData
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .._api.lightning_order import LightningOrder
    from .._core.clock import Clock
    from ..callbacks import KnownOrder, Reference
    from ._models import Attempt, Caller, Change, OnChange, OrderUpdate, Reconciliation

#: Seconds between two runs of reconciliation: an order lives half an hour.
_MAX_PAUSE_S: Final = 86_400


@final
class OrderStore:
    """One live order for each reference, across calls, processes and machines.

    Made from a URL, it has connections of its own: close it, or use it in ``async
    with``. Made from an engine, it leaves that open. Its connections belong to one
    event loop: a forked process, and a new loop after the old one was closed, get
    connections of their own. A failure of the database leaves as a
    `StoreUnavailableError`.

    Example:
        >>> store = OrderStore(aurpay, "sqlite+aiosqlite:///orders.db")
        >>> order = await store.get_or_create(
        ...     "cart-42", "20.00", "USD", callback_url=...
        ... )
    """

    #: All tables that this package has, the inbox's included; for those who
    #: migrate with an Alembic of their own, as ``target_metadata``.
    metadata: ClassVar[MetaData] = metadata

    def __init__(
        self,
        client: AurpayClient,
        engine_or_url: AsyncEngine | str,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            client: Needs a `reference_key`: an order whose answer was lost is known by
                what its callback brings back, and by nothing else.
            engine_or_url: Such as ``sqlite+aiosqlite:///orders.db`` or
                ``postgresql+asyncpg://user:password@host/name``.
            clock: What tells the time, and waits; the client's, unless given.

        Raises:
            ConfigurationError: if one of them cannot be used.
        """
        if not isinstance(client, AurpayClient):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"client must be an AurpayClient, not {shown(client)}"
            )
        if not client._reference_keys:  # noqa: SLF001
            raise ConfigurationError(
                "the client needs a reference_key: without one, no callback says which "
                "order it is about"
            )
        problem = invalid_option(clock=clock)
        if problem is not None:
            raise ConfigurationError(problem)
        try:
            self._database = Database(engine_or_url, type(self).__name__)
        finally:
            del engine_or_url  # tracebacks show local names, and it may hold a password
        self._client = client
        clock = clock or client._clock  # noqa: SLF001
        self._repository = Repository(client, Rows(self._database, clock), clock)
        self._order_opener = OrderOpener(self._repository, client._transport.call_s)  # noqa: SLF001
        self._runner = Runner(clock)
        self._fits = False

    @property
    def engine(self) -> AsyncEngine:
        """For transactions that change your rows and the store's together."""
        return self._database.engine

    async def upgrade(self) -> None:
        """Bring the database to the newest schema; any number of machines may, at once.

        It makes the inbox's table as well. Versions are kept beside yours, in
        ``aurpay_version``.

        Raises:
            ConfigurationError: Alembic is not installed, or a newer version of this
                package has been here.
        """
        await upgrade(self._database)

    async def get_or_create(
        self,
        reference: str,
        price: Decimal | int | str,
        currency: str,
        *,
        succeed_url: str | None = None,
        timeout_url: str | None = None,
        callback_url: str | None = None,
        timeout_callback: str | None = None,
    ) -> LightningOrder:
        """The order to show for a reference: the one that is there, or a new one.

        Call it as often as you like, from as many processes as you like. It is paid
        already if its `status` says so. What is under way is brought to its end even if
        you stop waiting; and what was stored before a process crashed is searched for
        before another order is made.

        Args:
            reference: Your own name for what is paid; 1 to 128 printable characters.
            price: Fiat: ``Decimal``, ``int``, or text such as ``"19.99"``.
            currency: Fiat: three letters such as ``"USD"``.
            succeed_url: Where the payer's browser goes after success. Like the next
                three, it counts for the order that this call makes, and for no other.
            timeout_url: Where the payer's browser goes after a timeout.
            callback_url: What the platform calls (GET) after success.
            timeout_callback: What it calls after a timeout.

        Raises:
            InvalidRequestError: an argument was refused; nothing was sent.
            ReferenceConflictError: it was opened for another price or currency.
            AlreadyPaidError: it is paid, and there is no invoice to show.
            PaymentNeedsReviewError: it may be paid; by which order, nobody can tell
                yet.
            StoreUnavailableError: the database failed, or did not answer in time. If an
                order was created and could not be stored, `outcome` is UNKNOWN and
                `order_id` names it; open it again, and it is stored first.
            AurpayError: as `AurpayClient.create_order`. After `UNKNOWN`, just open it
                again: the store remembers, and looks first.
        """
        try:
            asked = NewOrder(
                price,
                currency,
                succeed_url=succeed_url,
                timeout_url=timeout_url,
                callback_url=callback_url,
                timeout_callback=timeout_callback,
                reference=require_reference(reference),
                allow_http=self._client._allow_http,  # noqa: SLF001
            )
        except InvalidRequestError as error:
            raise without_traceback(error) from None
        finally:
            # Tracebacks show local names, and a query may hold a token.
            del succeed_url, timeout_url, callback_url, timeout_callback
        await self._ready()
        return await self._order_opener.open(reference, asked)

    async def record(
        self,
        update: OrderUpdate | None = None,
        *,
        reference: str | None = None,
        order_id: str | None = None,
        connection: Caller = None,
    ) -> Change:
        """Record an update of an order, in your transaction if you give a connection.

        Updates may arrive twice, late or in any order: each payment is counted once.
        If `Change.newly_paid` is true, fulfil the order in the same transaction.

        Args:
            update: The notification that your callback handler received; an order as
                `AurpayClient.get_order` returned it; or the id of one. Exactly one of
                `update`, `reference` and `order_id` is given.
            reference: Query Aurpay for the orders of this reference that can still be
                paid. Record a payment that the store does not have yet; without one,
                the paid order; without that, the newest order.
            order_id: Query Aurpay for this order.
            connection: An ``AsyncConnection`` or ``AsyncSession`` in whose transaction
                the store writes; you commit. By default the store uses a transaction
                of its own. Aurpay is queried before the first write.

        Raises:
            InvalidRequestError: an argument cannot be used, or not exactly one of the
                three is given.
            UnknownOrderError: the store has no such order.
            CallbackReferenceError: the order has another price, currency or amount than
                the one in the store, or belongs to another attempt.
            ConfigurationError: `connection` has no transaction.
            AurpayError: as `AurpayClient.get_order`, if Aurpay is queried.
        """
        require_one_source(update, reference, order_id)
        await self._ready()
        if reference is not None:
            update = await read_order_of(self._repository, require_reference(reference))
        elif order_id is not None:
            update = await read_order(self._repository, order_id, "order_id")
        return await record_update(
            self._repository, cast("OrderUpdate", update), connection
        )

    async def lookup(self, reference: Reference) -> KnownOrder | None:
        """For `callbacks.CallbackProcessor`: the order that a callback is about.

        By its attempt_id, so each of several orders of a reference is found. If the
        answer to the call that made it was lost, the platform is asked what fits.

        Returns:
            The order; ``None`` if the store has no such attempt, or if more than one
            order, or the order of more than one attempt, can be meant.

        Raises:
            OrderNotReadyError: the answer to the call that creates it may still come.
            StoreUnavailableError: the database failed, or did not answer in time.
            AurpayError: as `AurpayClient.get_order` and `find_order`.
        """
        await self._ready()
        repository = self._repository
        now, found = await repository.rows.find(reference.attempt_id)
        if not found:
            return None
        [attempt] = found
        if attempt.has_order:
            return attempt.order
        if attempt.order_id is not None:
            return as_known_order(
                attempt, await self._client.get_order(attempt.order_id)
            )
        if attempt.state is AttemptState.CREATING and not is_over(attempt, now):
            raise OrderNotReadyError(
                f"the order for {shown(attempt.reference)} is being created",
                reference=attempt.reference,
            )
        if not can_be_polled(attempt):
            return None
        order = await candidate(repository, attempt, reference.kind)
        return None if order is None else as_known_order(attempt, order)

    async def reconcile(
        self, *, limit: int = 100, on_change: OnChange | None = None
    ) -> Reconciliation:
        """Ask the platform about what no callback told. `run` calls it regularly.

        About every order that can still be paid, first when it is two minutes old and
        then again and again, until its invoice has expired and the platform has it as
        overdue; and about every order that was lost. Safe to run at any time, twice,
        and on many machines.

        Args:
            limit: About how many to ask, at most, in this run.
            on_change: An ``async def`` that is called with each `Change`, with the
                connection in whose transaction it is recorded: what it does there and
                the change are both committed, or neither. What it raises is logged and
                is in `Reconciliation.failures`; the next run calls it again.

        Raises:
            InvalidRequestError: an argument cannot be used.
            StoreUnavailableError: the database failed, or did not answer in time.
        """
        if type(limit) is not int or limit < 1:
            problem = f"must be a whole number, 1 or more, got {shown(limit)}"
            raise InvalidRequestError(problem, field="limit")
        _require_handler(on_change)
        await self._ready()
        return await reconcile(self._repository, limit=limit, tell=on_change)

    async def run(
        self, *, every: float = 60, on_change: OnChange | None = None
    ) -> None:
        """Reconcile regularly, for as long as the process lives: a background task.

        It ends when it is cancelled, or when the store is closed, and for no other
        reason. Each exception is logged with its traceback, by the logger
        ``aurpay_async.orders``, and followed by another run, after pauses that grow
        from a second to `every`. Safe in any number of processes.

        Args:
            every: Seconds between two runs; while more is due, the next one follows at
                once.
            on_change: As for `reconcile`.

        Raises:
            InvalidRequestError: an argument cannot be used.
        """
        if type(every) not in {int, float} or not 0 < every <= _MAX_PAUSE_S:
            problem = f"must be seconds, above 0 and at most a day, got {shown(every)}"
            raise InvalidRequestError(problem, field="every")
        _require_handler(on_change)
        await self._runner.run(partial(self.reconcile, on_change=on_change), every)

    async def attempts(self, reference: str) -> Sequence[Attempt]:
        """All that the store has of a reference, the newest first.

        Raises:
            InvalidRequestError: that can be no reference.
        """
        require_reference(reference)
        await self._ready()
        return await self._repository.rows.of(reference)

    async def duplicate_payments(self) -> Sequence[Attempt]:
        """Return the payments of references that were paid already: refund these.

        An attempt leaves this list when the platform says that it was refunded.
        """
        await self._ready()
        return await self._repository.rows.in_states(AttemptState.DUPLICATE)

    async def needs_review(self) -> Sequence[Attempt]:
        """Return the attempts that a person has to review, because they may be paid.

        A callback says "paid", and its order is not known; an order that may be a lost
        one's is paid; or a status has no known meaning (``PARTIAL``, ``TERMINATED``).
        """
        await self._ready()
        return await self._repository.rows.needs_review()

    async def resolve(
        self, attempt_id: str, order_id: str | None, connection: Caller = None
    ) -> Change:
        """Tell the store what a person has found out of a lost attempt.

        Args:
            attempt_id: The attempt's.
            order_id: The order that it made; ``None`` if it made none.
            connection: As for `record`.

        Raises:
            InvalidRequestError: an argument cannot be used.
            UnknownOrderError: the store has no such attempt.
            OrderStoreError: its order is known already; or it made none, and was not
                lost.
            CallbackReferenceError: that order has another price or currency, or is
                another attempt's.
            AurpayError: as `AurpayClient.get_order`.
        """
        require_reference(attempt_id, "attempt_id")
        order = None
        if order_id is not None:
            order = await self._client.get_order(require_order_id(order_id))
        await self._ready()
        return await identify(self._repository, attempt_id, order, connection)

    async def _ready(self) -> None:
        """See, once, that the tables are there."""
        if self._fits:
            return
        async with self._database.lock:
            if self._fits:
                return
            fit = await fits(self._database)
            if not fit and self._database.is_sqlite:
                # A file of one machine needs no deploy step.
                await upgrade(self._database)
                fit = await fits(self._database)
            if not fit:
                raise ConfigurationError(
                    "the database lacks the tables of the order store, or has older "
                    "ones: `await store.upgrade()` when you deploy, or migrate to "
                    "OrderStore.metadata"
                )
            self._fits = True

    async def aclose(self) -> None:
        """End `run`, wait for what is under way, close the connections of its own."""
        await self._runner.stop()
        await self._order_opener.finish()
        await self._database.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _require_handler(on_change: object) -> None:
    if on_change is not None and not is_async(on_change):
        raise InvalidRequestError("must be an `async def`", field="on_change")
