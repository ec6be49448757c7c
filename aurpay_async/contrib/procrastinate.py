"""Tasks for procrastinate: open orders, fulfil paid ones and reconcile in workers.

A job is a row in PostgreSQL, inserted in the transaction that makes it necessary: both
are committed, or neither. The row is inserted through SQLAlchemy, with the SQL function
that procrastinate itself calls, so that it works on asyncpg and on psycopg;
``connection=`` of procrastinate accepts psycopg's connections only.

A job runs at least once: a worker may crash after the work and before the job is marked
as done. Its effect is exactly once, because the order store keeps one active order for
each reference, and because a row in the table of the inbox is committed together with
what the fulfilment wrote.

Jobs of one reference share a lock, so they run one after the other in any number of
workers. They have no queueing lock: with one, procrastinate cannot put a job back into
the queue while a job with the same lock waits, and then neither runs (its issues 1446
and 1543).
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, cast, final

try:
    from procrastinate import BaseRetryStrategy, RetryDecision
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import Status
    from sqlalchemy import text
    from sqlalchemy.dialects.postgresql import insert
except ImportError as _error:
    raise ImportError(
        "this module needs procrastinate and SQLAlchemy: "
        "pip install 'aurpay-async[postgresql,procrastinate]'"
    ) from _error

from .._api.arguments import NewOrder, require_reference
from .._core.clock import SystemClock
from .._core.events import is_async
from .._core.json import pick
from .._db.engine import Database, execute, require_connection
from .._db.tables import callbacks
from ..errors import AlreadyPaidError, APIError, ConfigurationError
from ..orders import may_retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from procrastinate import App
    from procrastinate.jobs import Job
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from ..orders import Change, OrderStore

__all__ = ["OrderTasks"]

#: The only database that procrastinate supports.
_DIALECT: Final = "postgresql"
_OPEN: Final = "aurpay:open"
_FULFIL: Final = "aurpay:fulfil"
_RECONCILE: Final = "aurpay:reconcile"
_RESTART: Final = "aurpay:restart"

#: Seconds until a failed job is retried, doubled each time. A payer may wait for the
#: first retries; the last ones outlast an outage of Aurpay.
_FIRST_PAUSE: Final = 2
_LONGEST_PAUSE: Final = 300
#: The last attempt is about twenty minutes after the first.
_ATTEMPTS: Final = 12
#: Three heartbeat intervals of procrastinate's workers, which is its own default.
_STALLED_AFTER: Final = timedelta(seconds=30)
#: A handler that hangs occupies a slot of the worker.
_FULFILMENT_TIMEOUT: Final = timedelta(minutes=1)
#: Jobs of crashed workers run before new ones.
_URGENT: Final = 1

#: The function's name has a version: a release of procrastinate that changes its
#: arguments gives it another name.
_DEFER: Final = text(
    "SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW("
    "CAST(:queue AS varchar), CAST(:task AS varchar), 0, CAST(:lock AS text),"
    " NULL, CAST(:args AS jsonb), NULL"
    ")::procrastinate_job_to_defer_v1]))"
)


@final
class OrderTasks:
    """Tasks that open, fulfil and reconcile orders, for a procrastinate app's workers.

    Create it where the app is created: the code that defers jobs needs it as well as
    the workers.

    Example:
        >>> async def fulfil(reference: str, connection: AsyncConnection) -> None:
        ...     await connection.execute(insert(shipments).values(reference=reference))
        >>> tasks = OrderTasks(app, store, fulfil)
        >>> async with store.engine.begin() as connection:
        ...     await connection.execute(insert(carts).values(reference="cart-42"))
        ...     await tasks.defer_open(connection, "cart-42", "20.00", "USD")
    """

    def __init__(
        self,
        app: App,
        store: OrderStore,
        fulfil: Callable[[str, AsyncConnection], Awaitable[None]],
        *,
        on_change: Callable[[Change, AsyncConnection], Awaitable[None]] | None = None,
        queue: str = "aurpay",
        reconcile: str = "*/5 * * * *",
        restart: str = "* * * * *",
        stalled_after: timedelta = _STALLED_AFTER,
        fulfilment_timeout: timedelta = _FULFILMENT_TIMEOUT,
    ) -> None:
        """Add ``aurpay:open``, ``aurpay:fulfil`` and two periodic tasks to an app.

        Args:
            app: Its connector leads to the database of the order store, which has
                procrastinate's own tables.
            store: On ``postgresql+asyncpg`` or ``postgresql+psycopg``.
            fulfil: Called with each reference that is paid, and a connection: what it
                writes there is committed once. It must neither commit nor roll back.
            on_change: Called with each change that reconciliation finds, as by
                `OrderStore.reconcile`.
            queue: The queue of all these jobs.
            reconcile: The cron schedule of reconciliation; a sixth column has seconds.
            restart: The cron schedule of the search for jobs of crashed workers.
            stalled_after: The time without a heartbeat after which a worker counts as
                crashed: more than its ``update_heartbeat_interval``, which is 10 s.
            fulfilment_timeout: The longest duration of one `fulfil`: then it is
                cancelled, rolled back and retried.

        Raises:
            ConfigurationError: if an argument is invalid.
        """
        if store.engine.dialect.name != _DIALECT:
            raise ConfigurationError(
                "the order store must be in procrastinate's PostgreSQL database; "
                "create it with postgresql+asyncpg://user@host/name"
            )
        for name, function in (("fulfil", fulfil), ("on_change", on_change)):
            if function is not None and not is_async(function):
                raise ConfigurationError(f"{name} must be an `async def`")
        self._stalled_after_s = _to_seconds("stalled_after", stalled_after)
        self._fulfilment_timeout_s = _to_seconds(
            "fulfilment_timeout", fulfilment_timeout
        )
        self._app = app
        self._store = store
        self._database = Database(store.engine, type(self).__name__)
        self._fulfil = fulfil
        self._on_change = on_change
        self._queue = queue
        self._register(reconcile, restart)

    def _register(self, reconcile: str, restart: str) -> None:
        task, periodic = partial(self._app.task, queue=self._queue), self._app.periodic
        task(name=_OPEN, retry=_Retry())(self._run_open)
        task(name=_FULFIL, retry=_Retry())(self._run_fulfil)
        # One job runs and one waits, however slow Aurpay is. The schedule brings the
        # next one, so these jobs are not retried, and their queueing lock is safe.
        once = task(name=_RECONCILE, lock=_RECONCILE, queueing_lock=_RECONCILE)
        periodic(cron=reconcile)(once(self._run_reconcile))
        # The restart task takes no lock: if its own worker crashed, no other task would
        # release it.
        unlocked = task(name=_RESTART, queueing_lock=_RESTART, priority=_URGENT)
        periodic(cron=restart)(unlocked(self._run_restart))

    async def defer_open(
        self,
        connection: AsyncConnection | AsyncSession,
        reference: str,
        price: Decimal | int | str,
        currency: str,
        *,
        succeed_url: str | None = None,
        timeout_url: str | None = None,
        callback_url: str | None = None,
        timeout_callback: str | None = None,
    ) -> int:
        """Defer a job that opens an order, in the caller's transaction.

        The job's arguments are stored in ``procrastinate_jobs`` and appear in the log
        of the workers: put no secrets into them.

        Args:
            connection: The connection of your transaction; you commit.
            reference: As for `OrderStore.get_or_create`, like all that follow.
            price: Fiat.
            currency: Fiat: three letters.
            succeed_url: The page that the payer's browser opens after success.
            timeout_url: The page that it opens after a timeout.
            callback_url: The URL that Aurpay calls (GET) after success.
            timeout_callback: The URL that it calls after a timeout.

        Returns:
            The id of the job.

        Raises:
            InvalidRequestError: an argument is invalid; there is no job.
            ConfigurationError: `connection` is no connection with a transaction.
            StoreUnavailableError: the database failed, or did not answer in time.
        """
        order = NewOrder(
            price,
            currency,
            succeed_url=succeed_url,
            timeout_url=timeout_url,
            callback_url=callback_url,
            timeout_callback=timeout_callback,
            reference=require_reference(reference),
        )
        urls = pick(order, "succeed_url timeout_url callback_url timeout_callback")
        known = {name: url for name, url in urls.items() if url is not None}
        known |= {"price": f"{order.price:f}", "currency": order.currency}
        return await self._defer(connection, _OPEN, reference, **known)

    async def defer_fulfilment(
        self, connection: AsyncConnection | AsyncSession, reference: str
    ) -> int:
        """Defer a job that fulfils a paid order, in the caller's transaction.

        Call it where `Change.newly_paid` is true, in the transaction of that change.
        The reconciliation task calls it by itself.

        Returns:
            The id of the job.

        Raises:
            InvalidRequestError: the reference is invalid; there is no job.
            ConfigurationError: `connection` is no connection with a transaction.
            StoreUnavailableError: the database failed, or did not answer in time.
        """
        return await self._defer(connection, _FULFIL, require_reference(reference))

    async def _defer(
        self, caller: object, task: str, reference: str, **arguments: str
    ) -> int:
        connection = await require_connection(caller)
        job = {
            "queue": self._queue,
            "task": task,
            "lock": f"{task}:{reference}",
            "args": json.dumps({"reference": reference, **arguments}),
        }
        deferred = await execute(connection, _DEFER.bindparams(**job))
        return cast("int", deferred.scalar_one())

    async def _run_open(
        self, *, reference: str, price: str, currency: str, **urls: str
    ) -> None:
        # The fulfilment of a paid order was deferred when the payment was recorded.
        with suppress(AlreadyPaidError):
            await self._store.get_or_create(reference, price, currency, **urls)

    async def _run_fulfil(self, *, reference: str) -> None:
        async with (
            asyncio.timeout(self._fulfilment_timeout_s),
            self._database.begin() as connection,
        ):
            if await self._is_first(connection, reference):
                await self._fulfil(reference, connection)

    async def _is_first(self, connection: AsyncConnection, reference: str) -> bool:
        """Insert the row of a fulfilment; return whether there was none.

        If another transaction has inserted it, this waits for the end of that one.
        """
        now = self._database.now(SystemClock())
        row = insert(callbacks).values(
            key=f"fulfilment of {reference}",
            handled="paid",
            lease_until=now,
            updated_at=now,
        )
        done = await execute(connection, row.on_conflict_do_nothing())
        return done.rowcount == 1

    async def _run_reconcile(self, timestamp: int) -> None:  # noqa: ARG002 - procrastinate's
        more = True
        while more:
            more = (await self._store.reconcile(on_change=self._on_found)).more

    async def _on_found(self, change: Change, connection: AsyncConnection) -> None:
        """Call the hook and defer the fulfilment, in the transaction of a change."""
        if self._on_change is not None:
            await self._on_change(change, connection)
        if change.newly_paid:
            await self.defer_fulfilment(connection, change.reference)

    async def _run_restart(self, timestamp: int) -> None:  # noqa: ARG002 - procrastinate's
        """Restart the jobs of crashed workers, which procrastinate itself leaves."""
        stalled = await self._app.job_manager.get_stalled_jobs(
            queue=self._queue, seconds_since_heartbeat=self._stalled_after_s
        )
        for job in stalled:
            if job.task_name not in {_OPEN, _FULFIL, _RECONCILE, _RESTART}:
                continue  # a task of the shop, which may not be idempotent
            # The error if another worker has restarted it, or it has just ended.
            with suppress(ConnectorException):
                await self._restart(job)

    async def _restart(self, job: Job) -> None:
        again = job.task_name in {_OPEN, _FULFIL}
        if again and job.attempts + 1 < _ATTEMPTS:
            await self._app.job_manager.retry_job(job)
        else:
            await self._app.job_manager.finish_job(
                job, status=Status.FAILED, delete_job=False
            )


class _Retry(BaseRetryStrategy):
    """Retry temporary failures with exponential backoff."""

    def get_retry_decision(
        self, *, exception: BaseException, job: Job
    ) -> RetryDecision | None:
        """Return when to retry; ``None`` if the job has failed."""
        if job.attempts + 1 >= _ATTEMPTS or not may_retry(exception):
            return None
        pause: float = min(_FIRST_PAUSE * 2**job.attempts, _LONGEST_PAUSE)
        if isinstance(exception, APIError):
            pause = max(pause, exception.retry_after or 0)
        return RetryDecision(retry_in={"seconds": ceil(pause)})


def _to_seconds(name: str, length: object) -> float:
    if type(length) is timedelta and length > timedelta(0):
        return length.total_seconds()
    raise ConfigurationError(f"{name} must be a timedelta above 0; got {length!r}")
