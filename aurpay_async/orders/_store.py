"""`OrderStore`, the public class of the order store."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, Self, cast, final

from .._api.arguments import (
    NewOrder,
    require_order_id,
    require_reference,
    without_traceback,
)
from .._client import AurpayClient
from .._client.options import invalid_option
from .._core.events import is_async
from .._core.secrets import database_from_env
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
from ._models import AttemptState, Attention, Health, as_known_order
from ._planner import can_be_polled, is_over
from ._reconcile import candidate, reconcile
from ._recording import (
    read_order,
    read_order_of,
    record_update,
    require_one_source,
    resolve,
)
from ._repository import Repository, Rows
from ._runner import Runner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from decimal import Decimal

    from sqlalchemy import MetaData
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .._api.lightning_order import LightningOrder
    from .._core.clock import Clock
    from ..callbacks import KnownOrder, Reference
    from ._models import Attempt, Caller, Change, OnChange, OrderUpdate, Reconciliation

#: The longest interval between two runs of reconciliation, in seconds.
_MAX_INTERVAL_S: Final = 86_400

#: The largest number of attempts in a list, so that a list fits into memory.
_MAX_LISTED: Final = 1_000

#: The least age of references to delete. Aurpay does not document for how long it
#: repeats callbacks; payment platforms do so for days.
_MIN_AGE: Final = timedelta(days=7)

#: The least age of paid references: a payer may still have their checkout page open.
_MIN_PAID_AGE: Final = timedelta(days=90)

#: The end of a longer age would be a year that neither Python nor the database has.
_MAX_AGE: Final = timedelta(days=36_500)


@final
class OrderStore:
    """One payable order for each reference, across calls, processes and machines.

    A store created from a URL opens a connection pool: close the store, or use it in
    ``async with``. A store created from an engine does not close it. The connections
    belong to one event loop: a forked process, and a new loop after the old one was
    closed, get new ones. A failure of the database is raised as a
    `StoreUnavailableError`.

    Example:
        >>> store = OrderStore(aurpay, "sqlite+aiosqlite:///orders.db")
        >>> order = await store.get_or_create(
        ...     "cart-42", "20.00", "USD", callback_url=url
        ... )
    """

    #: All tables of this package, including the inbox's: the ``target_metadata`` if you
    #: migrate with your own Alembic.
    metadata: ClassVar[MetaData] = metadata

    def __init__(
        self,
        client: AurpayClient,
        engine_or_url: AsyncEngine | str,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Validate the arguments. No connection is opened yet.

        Args:
            client: Needs a `reference_key`: only the signed reference in the callback
                identifies an order if the answer to its create was lost.
            engine_or_url: An engine, or a URL such as ``sqlite+aiosqlite:///orders.db``
                or ``postgresql+asyncpg://user:password@host/name``.
            clock: The clock for times and pauses; the client's by default.

        Raises:
            ConfigurationError: an argument cannot be used.
        """
        if not isinstance(client, AurpayClient):  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = type(client).__name__
            del client, engine_or_url  # either may be the URL, with a password
            raise ConfigurationError(f"client must be an AurpayClient, not {kind}")
        try:
            self._database = Database(engine_or_url, type(self).__name__)
        finally:
            del engine_or_url  # tracebacks show local names, and it may hold a password
        if not client._reference_keys:  # noqa: SLF001
            raise ConfigurationError(
                "the client needs a reference_key: without one, callbacks do not "
                "identify their orders; set AURPAY_REFERENCE_KEY for from_env()"
            )
        problem = invalid_option(clock=clock)
        if problem is not None:
            raise ConfigurationError(problem)
        self._client = client
        clock = clock or client._clock  # noqa: SLF001
        self._repository = Repository(client, Rows(self._database, clock), clock)
        call_s = client._transport.timeouts.call  # noqa: SLF001
        self._order_opener = OrderOpener(self._repository, call_s)
        self._runner = Runner(clock)
        self._schema_checked = False

    @classmethod
    def from_env(cls, client: AurpayClient, *, clock: Clock | None = None) -> Self:
        """Return the order store of the database that ``AURPAY_DATABASE`` names.

        Args:
            client: As for the constructor.
            clock: As for the constructor.

        Raises:
            ConfigurationError: the variable is not set, or an argument cannot be used;
                the URL is not quoted.
        """
        # The URL is not bound to a variable, because tracebacks can show locals.
        return cls(client, database_from_env().reveal(), clock=clock)

    @property
    def engine(self) -> AsyncEngine:
        """The engine, for transactions that change your rows and the store's."""
        return self._database.engine

    async def upgrade(self) -> None:
        """Migrate the database to the newest schema; safe on several machines at once.

        This creates the inbox's table as well. The table ``aurpay_version`` has the
        version, so your own ``alembic_version`` is not touched.

        Raises:
            ConfigurationError: Alembic is not installed, or a newer version of this
                package has migrated the database.
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
        """Return the order to show for a reference, creating it if there is none.

        The call is idempotent, across tasks and processes. The returned order may be
        paid already: see its `status`. A started create runs to its end even if the
        caller is cancelled. If a process crashed during a create, the store searches
        for that order before it creates another one.

        Args:
            reference: Your own name for the purchase; 1 to 128 printable characters.
            price: Fiat: ``Decimal``, ``int``, or a string such as ``"19.99"``.
            currency: Fiat: three letters such as ``"USD"``.
            succeed_url: The page for the payer's browser after success. Like the next
                three, it applies only if this call creates the order.
            timeout_url: The page for the payer's browser after a timeout.
            callback_url: The URL that Aurpay calls (GET) after success.
            timeout_callback: The URL that Aurpay calls (GET) after a timeout.

        Raises:
            InvalidRequestError: an argument is invalid; nothing was sent.
            ReferenceConflictError: the reference has another price or currency.
            AlreadyPaidError: it is paid, and there is no invoice to show.
            PaymentNeedsReviewError: it may be paid, and the order is not identified
                yet.
            StoreUnavailableError: the database failed, or did not answer in time. If an
                order was created and could not be stored, `outcome` is UNKNOWN and
                `order_id` is its id; call this method again, which stores it first.
            AurpayError: as `AurpayClient.create_order`. After `UNKNOWN`, call this
                method again: the store searches for the order first.
        """
        try:
            request = NewOrder(
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
        return await self._order_opener.open(reference, request)

    async def record(
        self,
        update: OrderUpdate | None = None,
        *,
        reference: str | None = None,
        order_id: str | None = None,
        connection: Caller = None,
        on_change: OnChange | None = None,
    ) -> Change:
        """Record an update of an order, in your transaction if you give a connection.

        Updates may arrive twice, late or in any order: each payment is counted once.
        If `Change.newly_paid` is true, fulfil the order in the same transaction.

        Args:
            update: The notification that your callback handler received, or an order as
                `AurpayClient.get_order` returned it. Exactly one of `update`,
                `reference` and `order_id` is given.
            reference: Query Aurpay for the orders of this reference that can still be
                paid. Record a payment that the store does not have yet; without one,
                the paid order; without that, the newest order.
            order_id: Query Aurpay for this order.
            connection: An ``AsyncConnection`` or ``AsyncSession``: the store writes in
                its transaction, and you commit. By default the store opens and commits
                a transaction. Only with `update`: a transaction that waited for Aurpay
                would keep its connection from all others.
            on_change: An ``async def``, called with a `Change` that changed something,
                and the connection of the transaction that records it, as by
                `reconcile`. If it raises, the transaction is rolled back, and the
                exception is raised here.

        Raises:
            InvalidRequestError: an argument cannot be used, or not exactly one of the
                three is given.
            UnknownOrderError: the store has no such order.
            OrderMismatchError: the order has another price, currency or amount than the
                one in the store, or belongs to another attempt.
            ConfigurationError: `connection` has no transaction.
            AurpayError: as `AurpayClient.get_order`, if Aurpay is queried.
        """
        require_one_source(update, reference, order_id, connection, on_change)
        _require_handler(on_change)
        await self._ready()
        if reference is not None:
            update = await read_order_of(self._repository, require_reference(reference))
        elif order_id is not None:
            update = await read_order(self._repository, order_id)
        return await record_update(
            self._repository, cast("OrderUpdate", update), connection, on_change
        )

    async def lookup(self, reference: Reference) -> KnownOrder | None:
        """Return the order of a callback, for `callbacks.CallbackProcessor`.

        The attempt id identifies it among the orders of its reference. If the answer to
        its create was lost, Aurpay is searched for matching orders.

        Returns:
            The order; ``None`` if the store has no such attempt, or if the order is
            ambiguous.

        Raises:
            OrderNotReadyError: the call that creates the order may still be running.
            AurpayError: as `AurpayClient.get_order` and `find_order`.
        """
        await self._ready()
        repository = self._repository
        now, found, _ = await repository.rows.find(reference.attempt_id)
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
        """Poll the orders that are due, for callbacks that were lost. `run` repeats it.

        An order that can still be paid is polled first at an age of two minutes, and
        then at growing intervals, until its invoice has expired and Aurpay has it as
        overdue. Orders of unknown outcome are searched for. Safe to run at any time,
        concurrently and on several machines.

        Args:
            limit: The number of attempts to poll at most in this run.
            on_change: An ``async def``, called with each `Change` and the connection of
                the transaction that records it: its writes and the change are committed
                together, or neither is. An exception is logged and is in
                `Reconciliation.failures`; the next run calls it again.

        Raises:
            InvalidRequestError: an argument cannot be used.
        """
        _require_limit(limit)
        _require_handler(on_change)
        await self._ready()
        return await reconcile(self._repository, limit=limit, on_change=on_change)

    async def run(
        self, *, every: float = 60, on_change: OnChange | None = None
    ) -> None:
        """Run reconciliation periodically, until the caller is cancelled.

        It ends only when it is cancelled or the store is closed. Each exception is
        logged with its traceback by the logger ``aurpay_async.orders``, and followed by
        another run, with exponential backoff from one second to `every`. Safe in any
        number of processes; a second loop of one store shares the work of the first,
        and is of no use.

        Args:
            every: Seconds between two runs; if more attempts are due, the next run
                starts at once.
            on_change: As for `reconcile`.

        Raises:
            InvalidRequestError: an argument cannot be used.
        """
        _require_interval(every)
        _require_handler(on_change)
        await self._runner.run(partial(self.reconcile, on_change=on_change), every)

    def running(
        self, *, every: float = 60, on_change: OnChange | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Run reconciliation in a task of its own, as `run` does, during a block.

        For the lifespan of an application. When the block ends, or raises, the current
        run has 10 seconds to end; then it is cancelled, and its transaction is rolled
        back.

        Example:
            >>> async with OrderStore(aurpay, database) as store:
            ...     async with store.running(on_change=fulfil):
            ...         await serve()

        Args:
            every: As for `run`.
            on_change: As for `reconcile`.

        Raises:
            InvalidRequestError: an argument cannot be used; no task is started.
        """
        _require_interval(every)
        _require_handler(on_change)
        return self._runner.running(partial(self.reconcile, on_change=on_change), every)

    async def health(self) -> Health:
        """Return the state of reconciliation, with two cheap queries of the database.

        A readiness endpoint answers 503 if this raises, or if `is_running` is false.
        While only Aurpay fails, it answers 200: no other process would succeed. Alerts
        compare `lag`, `failures` and `needs_review` with limits.

        Raises:
            StoreUnavailableError: the database failed, or did not answer in time.
            ConfigurationError: the database lacks the tables of the order store.
        """
        await self._ready()
        lag, due, needs_review = await self._repository.rows.backlog()
        runner = self._runner
        return Health(
            is_running=runner.is_running,
            last_run_at=runner.last_run_at,
            failures=runner.failures,
            last_error=runner.last_error,
            lag=lag,
            due=due,
            needs_review=needs_review,
        )

    async def attempts(self, reference: str) -> Sequence[Attempt]:
        """Return all attempts of a reference, newest first.

        Raises:
            InvalidRequestError: `reference` is not a valid reference.
        """
        require_reference(reference)
        await self._ready()
        return await self._repository.rows.of(reference)

    async def list_attempts(
        self, *, state: AttemptState | None = None, limit: int = 100
    ) -> Sequence[Attempt]:
        """Return the newest attempts of all references, newest first.

        Args:
            state: Only those in this state.
            limit: The number of attempts at most; 1 to 1,000.

        Raises:
            InvalidRequestError: an argument cannot be used.
        """
        is_state = state is None or state in {*AttemptState}
        _require(is_state, "state", state, "an AttemptState")
        _require_limit(limit, _MAX_LISTED)
        await self._ready()
        return await self._repository.rows.newest(state, limit)

    async def duplicate_payments(self, limit: int = 100) -> Sequence[Attempt]:
        """Return the duplicate payments, which you have to refund, oldest first.

        An attempt leaves this list when Aurpay reports that it was refunded.

        Args:
            limit: The number of attempts at most; 1 to 1,000.

        Raises:
            InvalidRequestError: `limit` cannot be used.
        """
        return await self._needing(Attention.REFUND, limit)

    async def needs_review(self, limit: int = 100) -> Sequence[Attempt]:
        """Return the attempts that a person has to review, because they may be paid.

        A callback reports a payment and its order is not identified; a candidate is
        paid; or a status has no known meaning (``PARTIAL``, ``TERMINATED``). The oldest
        attempt comes first.

        Args:
            limit: The number of attempts at most; 1 to 1,000.

        Raises:
            InvalidRequestError: `limit` cannot be used.
        """
        return await self._needing(Attention.REVIEW, limit)

    async def _needing(self, attention: Attention, limit: int) -> Sequence[Attempt]:
        _require_limit(limit, _MAX_LISTED)
        await self._ready()
        return await self._repository.rows.needing(attention, limit)

    async def prune(
        self,
        older_than: timedelta = timedelta(days=30),
        *,
        paid_older_than: timedelta | None = None,
    ) -> int:
        """Delete old references with all their attempts, in committed batches.

        The age of a reference is the time since the last payment of any of its orders
        could have arrived. A reference stays while one of its attempts is open: it is
        payable, polled, of unknown outcome, needs review or is to be refunded.

        The store's rows are what makes `get_or_create` idempotent. For a deleted
        reference, it creates an order as for a new one, also if it was paid: so paid
        references are deleted only with `paid_older_than`. A later callback of a
        deleted reference is handled as one of an order that the store did not create.

        Args:
            older_than: The age of the unpaid references to delete; 7 days or more.
            paid_older_than: The age of the paid references to delete; 90 days or more.
                ``None`` keeps them.

        Returns:
            The number of deleted references.

        Raises:
            InvalidRequestError: an age cannot be used.
        """
        _require_age(older_than, _MIN_AGE, "older_than")
        if paid_older_than is not None:
            _require_age(paid_older_than, _MIN_PAID_AGE, "paid_older_than")
        await self._ready()
        rows = self._repository.rows
        pruned = await rows.prune(older_than, paid=False)
        if paid_older_than is not None:
            pruned += await rows.prune(paid_older_than, paid=True)
        return pruned

    async def resolve(
        self, attempt_id: str, order_id: str | None, connection: Caller = None
    ) -> Change:
        """Record a person's decision about an attempt of unknown outcome.

        Args:
            attempt_id: The attempt's.
            order_id: The order that it created; ``None`` if it created none.
            connection: As for `record`.

        Raises:
            InvalidRequestError: an argument cannot be used.
            UnknownOrderError: the store has no such attempt.
            OrderStoreError: the attempt has an order already; or `order_id` is ``None``
                and its outcome is not unknown.
            OrderMismatchError: the order has another price or currency, or belongs to
                another attempt.
            AurpayError: as `AurpayClient.get_order`.
        """
        require_reference(attempt_id, "attempt_id")
        order = None
        if order_id is not None:
            order = await self._client.get_order(require_order_id(order_id))
        await self._ready()
        return await resolve(self._repository, attempt_id, order, connection)

    async def _ready(self) -> None:
        """Check the schema on first use; on SQLite, migrate it."""
        if self._schema_checked:
            return
        async with self._database.lock:
            if self._schema_checked:
                return
            fit = await fits(self._database)
            if not fit and self._database.is_sqlite:
                # A file of one machine needs no deploy step.
                await upgrade(self._database)
                fit = await fits(self._database)
            if not fit:
                raise ConfigurationError(
                    "the database lacks the tables of the order store, or has older "
                    "ones: run `aurpay db upgrade` or `await store.upgrade()` when you "
                    "deploy, or migrate to OrderStore.metadata"
                )
            self._schema_checked = True

    async def aclose(self) -> None:
        """End `run`, wait for running creates, and close the pool of a URL."""
        await self._runner.stop()
        await self._order_opener.finish()
        self._repository.gauges.clear()
        await self._database.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _require(is_valid: bool, field: str, given: object, what: str) -> None:  # noqa: FBT001
    if not is_valid:
        raise InvalidRequestError(f"must be {what}, got {shown(given)}", field=field)


def _require_interval(every: float) -> None:
    is_valid = type(every) in {int, float} and 0 < every <= _MAX_INTERVAL_S
    _require(is_valid, "every", every, "seconds, above 0 and at most a day")


def _require_limit(limit: object, most: int | None = None) -> None:
    is_valid = type(limit) is int and 1 <= limit <= (most or limit)
    bounds = "1 or more" if most is None else f"1 to {most:,}"
    _require(is_valid, "limit", limit, f"a whole number, {bounds}")


def _require_age(age: object, least: timedelta, field: str) -> None:
    is_valid = isinstance(age, timedelta) and least <= age <= _MAX_AGE
    bounds = f"{least.days} days to {_MAX_AGE.days:,} days"
    _require(is_valid, field, age, f"a timedelta of {bounds}")


def _require_handler(on_change: object) -> None:
    if on_change is not None and not is_async(on_change):
        raise InvalidRequestError("must be an `async def`", field="on_change")
