"""Job workers on procrastinate: orders are opened, watched and delivered by jobs.

A job is a row in PostgreSQL, written in the transaction of what it follows from: both
are there, or neither. It goes through SQLAlchemy, by the function that procrastinate
itself calls, so it works on either driver, asyncpg or psycopg; ``connection=`` of
procrastinate takes psycopg's alone.

A job runs at least once: a worker may die after the work and before it says so. What
makes it once is the store, which has one live order for each reference, and a row in
the table of the inbox, which is committed together with a delivery.

Jobs of one reference have a lock, so they run one after the other, in any number of
workers. They have no queueing lock: with one, procrastinate cannot put a job back whose
twin is waiting, and both are stuck (its issues 1446 and 1543).

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
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

from .._clock import SystemClock
from .._models import NewOrder, require_reference
from .._settings import is_async
from .._store._engine import Database, connection_of
from .._store._steps import execute
from .._store._tables import callbacks
from ..errors import (
    AlreadyPaidError,
    APIError,
    AurpayError,
    ConfigurationError,
    RequestOutcome,
    UntrustedOrderError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from procrastinate import App
    from procrastinate.jobs import Job
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from ..orders import Change, OrderStore

__all__ = ["OrderTasks"]

#: The only database that procrastinate knows.
_DIALECT: Final = "postgresql"

_OPEN: Final = "aurpay:open"
_DELIVER: Final = "aurpay:deliver"
_RECONCILE: Final = "aurpay:reconcile"
_RESTART: Final = "aurpay:restart"

#: Seconds until a job that failed is tried again, twice as many each time. Somebody may
#: be waiting for the first ones; the last ones outlast a platform that is down.
_FIRST_PAUSE: Final = 2
_LONGEST_PAUSE: Final = 300

#: The last of them is about twenty minutes after the first.
_ATTEMPTS: Final = 12

#: Three of the intervals in which procrastinate's workers say that they live; it takes
#: the same for its own purposes.
_STALLED_AFTER: Final = timedelta(seconds=30)

#: A handler that hangs takes the place of other jobs.
_DELIVERY_TIMEOUT: Final = timedelta(minutes=1)

#: Who was overtaken by death goes before those who wait.
_URGENT: Final = 1

#: Its number is part of the name: a release of procrastinate that changes what it takes
#: gives it another one.
_DEFER: Final = text(
    "SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW("
    "CAST(:queue AS varchar), CAST(:task AS varchar), 0, CAST(:lock AS text),"
    " NULL, CAST(:args AS jsonb), NULL"
    ")::procrastinate_job_to_defer_v1]))"
)


@final
class OrderTasks:
    """The tasks of a shop, for the workers of an app of procrastinate.

    Make it where the app is made: whatever defers needs it as well as the workers.

    Example:
        >>> async def deliver(reference: str, connection: AsyncConnection) -> None:
        ...     await connection.execute(insert(parcels).values(reference=reference))
        >>> tasks = OrderTasks(app, store, deliver)
        >>> async with store.engine.begin() as connection:
        ...     await connection.execute(insert(carts).values(reference="cart-42"))
        ...     await tasks.defer_open(connection, "cart-42", "20.00", "USD")

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        app: App,
        store: OrderStore,
        deliver: Callable[[str, AsyncConnection], Awaitable[None]],
        *,
        on_change: Callable[[Change, AsyncConnection], Awaitable[None]] | None = None,
        queue: str = "aurpay",
        reconcile: str = "*/5 * * * *",
        restart: str = "* * * * *",
        stalled_after: timedelta = _STALLED_AFTER,
        delivery_timeout: timedelta = _DELIVERY_TIMEOUT,
    ) -> None:
        """Add ``aurpay:open``, ``aurpay:deliver`` and two periodic tasks to an app.

        Args:
            app: Its connector leads to the database of the store, and procrastinate's
                own tables are there.
            store: On ``postgresql+asyncpg`` or ``postgresql+psycopg``.
            deliver: Is told of each reference that is paid, with a connection: what it
                does there is committed once. It must neither commit nor roll back.
            on_change: Is told of each change that reconciling finds, as by
                `OrderStore.reconcile`.
            queue: The queue of all these jobs.
            reconcile: When to look for what no callback told, as for cron; a sixth
                column has seconds.
            restart: When to look for jobs whose worker has died.
            stalled_after: How long a worker must have been silent for that: more than
                the ``update_heartbeat_interval`` of the workers, which is 10 s.
            delivery_timeout: How long `deliver` may take: then it is cancelled, undone
                and tried again.

        Raises:
            ConfigurationError: if one of them cannot be used.
        """
        if store.engine.dialect.name != _DIALECT:
            raise ConfigurationError(
                "procrastinate's jobs are rows in PostgreSQL, and the store must be in "
                "the same database: make it with postgresql+asyncpg://user@host/name"
            )
        for name, function in (("deliver", deliver), ("on_change", on_change)):
            if function is not None and not is_async(function):
                raise ConfigurationError(f"{name} must be an `async def`")
        self._silent_s = _seconds("stalled_after", stalled_after)
        self._limit = _seconds("delivery_timeout", delivery_timeout)
        self._app = app
        self._store = store
        self._database = Database(store.engine, type(self).__name__)
        self._handler = deliver
        self._on_change = on_change
        self._queue = queue
        self._register(reconcile, restart)

    def _register(self, reconcile: str, restart: str) -> None:
        task, queue = self._app.task, self._queue
        task(name=_OPEN, queue=queue, retry=_Patience())(self._run_open)
        task(name=_DELIVER, queue=queue, retry=_Patience())(self._run_deliver)
        # One looks and one waits, however slow the platform is. Cron brings the next
        # one, so none is tried again, and here a queueing lock is safe.
        look = task(
            name=_RECONCILE, queue=queue, lock=_RECONCILE, queueing_lock=_RECONCILE
        )
        self._app.periodic(cron=reconcile)(look(self._run_reconcile))
        # What frees the locks of the dead has none that it could die with.
        free = task(
            name=_RESTART, queue=queue, queueing_lock=_RESTART, priority=_URGENT
        )
        self._app.periodic(cron=restart)(free(self._run_restart))

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
        """Have a worker open an order, once the caller's transaction is committed.

        The URLs are kept in the table of jobs, and the workers' log shows them: put no
        secret into them.

        Args:
            connection: In whose transaction; you commit.
            reference: As for `OrderStore.get_or_create`, like all that follow.
            price: Fiat.
            currency: Fiat: three letters.
            succeed_url: Where the payer's browser goes after success.
            timeout_url: Where it goes after a timeout.
            callback_url: What the platform calls (GET) after success.
            timeout_callback: What it calls after a timeout.

        Returns:
            The number of the job.

        Raises:
            InvalidRequestError: an argument was refused; there is no job.
            ConfigurationError: that is no connection with a transaction.
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
        urls = {
            "succeed_url": order.succeed_url,
            "timeout_url": order.timeout_url,
            "callback_url": order.callback_url,
            "timeout_callback": order.timeout_callback,
        }
        return await self._defer(
            connection,
            _OPEN,
            reference,
            price=f"{order.price:f}",
            currency=order.currency,
            **{name: url for name, url in urls.items() if url is not None},
        )

    async def defer_delivery(
        self, connection: AsyncConnection | AsyncSession, reference: str
    ) -> int:
        """Have a worker deliver, once the caller's transaction is committed.

        For whoever records a payment: where `Change.newly_paid` is true, in the very
        transaction of that change. Reconciling does so by itself.

        Returns:
            The number of the job.

        Raises:
            InvalidRequestError: that can be no reference; there is no job.
            ConfigurationError: that is no connection with a transaction.
            StoreUnavailableError: the database failed, or did not answer in time.
        """
        return await self._defer(connection, _DELIVER, require_reference(reference))

    async def _defer(
        self,
        caller: object,
        task: str,
        reference: str,
        **arguments: str,
    ) -> int:
        connection = await connection_of(caller)
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
        try:
            await self._store.get_or_create(reference, price, currency, **urls)
        except AlreadyPaidError:
            return  # whoever recorded the payment has seen to the delivery

    async def _run_deliver(self, *, reference: str) -> None:
        async with asyncio.timeout(self._limit), self._database.begin() as connection:
            if await self._is_first(connection, reference):
                await self._handler(reference, connection)

    async def _is_first(self, connection: AsyncConnection, reference: str) -> bool:
        """Insert the row of a delivery; wait for a transaction that has one."""
        row = insert(callbacks).values(
            key=f"delivery of {reference}",
            handled="paid",
            lease_until=0,
            touched=self._database.now_ms(SystemClock()),
        )
        done = await execute(connection, row.on_conflict_do_nothing())
        return done.rowcount == 1

    async def _run_reconcile(self, timestamp: int) -> None:  # noqa: ARG002 - procrastinate's
        again = True
        while again:
            run = await self._store.reconcile(on_change=self._follow)
            again = run.more

    async def _follow(self, change: Change, connection: AsyncConnection) -> None:
        """What a change leads to, in its transaction."""
        if self._on_change is not None:
            await self._on_change(change, connection)
        if change.newly_paid:
            await self.defer_delivery(connection, change.reference)

    async def _run_restart(self, timestamp: int) -> None:  # noqa: ARG002 - procrastinate's
        """Nobody else does: a job whose worker was killed stays as it is, for ever."""
        stalled = await self._app.job_manager.get_stalled_jobs(
            queue=self._queue, seconds_since_heartbeat=self._silent_s
        )
        for job in stalled:
            if job.task_name not in {_OPEN, _DELIVER, _RECONCILE, _RESTART}:
                continue  # the shop's own, which may not be done twice
            try:
                await self._restart(job)
            except ConnectorException:
                continue  # another one was faster, or it lives and has just ended

    async def _restart(self, job: Job) -> None:
        again = job.task_name in {_OPEN, _DELIVER}
        if again and job.attempts + 1 < _ATTEMPTS:
            await self._app.job_manager.retry_job(job)
        else:
            await self._app.job_manager.finish_job(
                job, status=Status.FAILED, delete_job=False
            )


class _Patience(BaseRetryStrategy):
    """Try again what may pass, later and later."""

    def get_retry_decision(
        self, *, exception: BaseException, job: Job
    ) -> RetryDecision | None:
        """When to try again, if at all."""
        if job.attempts + 1 >= _ATTEMPTS or not _may_pass(exception):
            return None
        pause: float = min(_FIRST_PAUSE * 2**job.attempts, _LONGEST_PAUSE)
        if isinstance(exception, APIError):
            pause = max(pause, exception.retry_after or 0)
        return RetryDecision(retry_in={"seconds": ceil(pause)})


def _may_pass(error: BaseException) -> bool:
    """Whether the same job may do better later, and does no harm."""
    if isinstance(error, UntrustedOrderError):
        return False  # the next order would hardly be better; let somebody look
    if isinstance(error, AurpayError):
        # After an unknown outcome the store looks before it asks for an order again.
        return error.retryable or error.outcome is RequestOutcome.UNKNOWN
    # The database's, the shop's own; or the worker is told to stop in the midst of it.
    return True


def _seconds(name: str, length: object) -> float:
    if type(length) is timedelta and length > timedelta(0):
        return length.total_seconds()
    raise ConfigurationError(f"{name} must be a timedelta above 0")
