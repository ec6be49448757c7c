"""Test the tasks of `aurpay_async.contrib.procrastinate`, without PostgreSQL."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.testing import InMemoryConnector
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import aurpay_async.contrib.procrastinate as module
from aurpay_async import (
    AurpayError,
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    RateLimitedError,
    ReferenceConflictError,
    RequestOutcome,
    UntrustedOrderError,
)
from aurpay_async.contrib.procrastinate import OrderTasks, _Retry
from aurpay_async.orders import AttemptState, Failure, OrderStore, Reconciliation
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..support.loop_time import advance_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aurpay_async.orders import Change

KEY = "sandbox-reference-key"

#: The arguments that `defer_open` stores for a cart of 20 dollars.
CART = {"reference": "cart-42", "price": "20.00", "currency": "USD"}


def insert_into_table(
    _c: object, _cursor: object, statement: str, values: Any, _x: object, _many: bool
) -> tuple[str, Any]:
    """Insert the job into a table, as SQLite has no function of procrastinate's."""
    if "procrastinate_defer_jobs_v1" in statement:
        statement = "INSERT INTO jobs VALUES (NULL, ?, ?, ?, ?) RETURNING id"
    return statement, values


def connect(url: str) -> AsyncEngine:
    engine = create_async_engine(url)
    event.listen(
        engine.sync_engine, "before_cursor_execute", insert_into_table, retval=True
    )
    return engine


@attrs.define
class Shop:
    """A shop, and the changes that its tasks have reported."""

    sandbox: Sandbox
    clock: FakeClock
    store: OrderStore
    app: App
    changes: list[tuple[str, AttemptState]] = attrs.field(factory=list)
    #: Each is raised by the next fulfilment, after it has inserted its row.
    failures: list[BaseException | None] = attrs.field(factory=list)

    def tasks(self, **options: Any) -> OrderTasks:
        return OrderTasks(
            self.app, self.store, self.fulfil, on_change=self.changed, **options
        )

    async def fulfil(self, reference: str, connection: AsyncConnection) -> None:
        await connection.execute(
            text("INSERT INTO shipments VALUES (:reference)"), {"reference": reference}
        )
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, asyncio.CancelledError):
            advance_loop(60)
            await asyncio.Event().wait()
        if failure is not None:
            raise failure

    async def changed(self, change: Change, _: AsyncConnection) -> None:
        self.changes.append((change.reference, change.attempt.state))

    async def run(self, task: str, **arguments: object) -> None:
        """Run a task as a worker does."""
        await self.app.tasks[f"aurpay:{task}"](**arguments)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.store.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def shipments(self) -> list[str]:
        return [row[0] for row in await self.rows("SELECT * FROM shipments")]


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """Yield a shop on SQLite: jobs are deferred into a table, and run from memory."""
    monkeypatch.setattr(module, "_DIALECT", "sqlite")
    engine, clock = connect(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"), FakeClock()
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE shipments (reference TEXT)"))
        columns = "id INTEGER PRIMARY KEY, queue TEXT, task TEXT, lock TEXT, args TEXT"
        await connection.execute(text(f"CREATE TABLE jobs ({columns})"))
        await connection.run_sync(OrderStore.metadata.create_all)
    app = App(connector=InMemoryConnector())
    async with (
        app.open_async(),
        Sandbox(clock=clock) as sandbox,
        sandbox.client(reference_key=KEY) as aurpay,
        OrderStore(aurpay, engine) as store,
    ):
        yield Shop(sandbox, clock, store, app)
    await engine.dispose()


async def test_job_is_committed_or_rolled_back_with_the_callers_transaction(
    shop: Shop,
) -> None:
    tasks = shop.tasks(queue="money")
    async with shop.store.engine.connect() as connection:
        await tasks.defer_open(connection, "cart-41", 5, "EUR")
        await connection.rollback()
    async with AsyncSession(shop.store.engine) as session:
        number = await tasks.defer_open(
            session,
            "cart-42",
            "20.00",
            "usd",
            succeed_url="https://shop.example/thanks",
            timeout_callback="http://127.0.0.1/late",
        )
        await tasks.defer_fulfilment(session, "cart-43")
        await session.commit()
    urls = {
        "succeed_url": "https://shop.example/thanks",
        "timeout_callback": "http://127.0.0.1/late",
    }
    jobs = await shop.rows("SELECT * FROM jobs")
    assert [(*row[:4], json.loads(row[4])) for row in jobs] == [
        (number, "money", "aurpay:open", "aurpay:open:cart-42", {**CART, **urls}),
        (
            *(number + 1, "money", "aurpay:fulfil", "aurpay:fulfil:cart-43"),
            {"reference": "cart-43"},
        ),
    ]


async def test_connection_without_transaction_is_rejected_and_no_job_is_deferred(
    shop: Shop,
) -> None:
    tasks = shop.tasks()
    committing = shop.store.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with committing.connect() as connection:
        with pytest.raises(ConfigurationError, match="nothing can be undone"):
            await tasks.defer_open(connection, "cart-42", "20.00", "USD")
    with pytest.raises(ConfigurationError, match="AsyncConnection or AsyncSession"):
        await tasks.defer_fulfilment(shop.store.engine, "cart-42")  # type: ignore[arg-type]
    assert await shop.rows("SELECT * FROM jobs") == []


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("price", ("cart-42", 0.5, "USD")),
        ("currency", ("cart-42", "20.00", "dollars")),
        ("reference", (None, "20.00", "USD")),
        ("reference", ("", "20.00", "USD")),
    ],
)
async def test_defer_open_validates_its_arguments_in_the_caller(
    shop: Shop, field: str, arguments: Any
) -> None:
    async with shop.store.engine.begin() as connection:
        with pytest.raises(InvalidRequestError) as caught:
            await shop.tasks().defer_open(connection, *arguments)
    assert caught.value.field == field
    assert await shop.rows("SELECT * FROM jobs") == []


async def test_two_jobs_of_one_reference_open_one_order(shop: Shop) -> None:
    shop.tasks()
    open_order = shop.app.configure_task("aurpay:open", queue="aurpay")
    for _ in range(2):
        await open_order.defer_async(**CART)
    await shop.app.run_worker_async(wait=False, install_signal_handlers=False)
    (attempt,) = await shop.store.attempts("cart-42")
    assert (attempt.state, attempt.order_id) == ("payable", *shop.sandbox.orders)
    with pytest.raises(ReferenceConflictError):
        await shop.run("open", **{**CART, "price": "21.00"})


async def test_opening_a_paid_reference_succeeds_without_another_order(
    shop: Shop,
) -> None:
    shop.tasks()
    shop.sandbox.faults.push("cut-body+created")
    with pytest.raises(AurpayError):
        await shop.run("open", **CART)
    (order_id,) = shop.sandbox.orders
    await shop.sandbox.pay(order_id)
    assert (await shop.store.record(order_id=order_id)).newly_paid
    await shop.run("open", **CART)
    shop.sandbox.assert_orders(1)


def build_error(kind: type[AurpayError], **fields: Any) -> AurpayError:
    """Return an error with `fields` alone."""
    error = kind.__new__(kind)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


NEVER = None
RETRIES = [
    # Nothing was sent, and the error is retryable.
    (build_error(ConnectError, outcome=RequestOutcome.NOT_SENT, retryable=True), 0, 2),
    (build_error(RateLimitedError, retryable=True, retry_after=None), 3, 16),
    (build_error(RateLimitedError, retryable=True, retry_after=7.2), 0, 8),
    (build_error(RateLimitedError, retryable=True, retry_after=7.2), 2, 8),
    # The order store searches before it creates an order again.
    (build_error(AurpayError, outcome=RequestOutcome.UNKNOWN), 1, 4),
    (build_error(UntrustedOrderError), 0, NEVER),
    # The same request would be rejected again.
    (build_error(AurpayError, outcome=RequestOutcome.REJECTED), 0, NEVER),
    (build_error(InvalidRequestError), 0, NEVER),
    (build_error(ReferenceConflictError), 0, NEVER),
    # The database failed, the shop's code raised, the worker is shutting down.
    (OSError(), 0, 2),
    (asyncio.CancelledError(), 7, 256),
    (OSError(), 8, 300),
    (OSError(), 10, 300),
    (OSError(), 11, NEVER),
]


@pytest.mark.parametrize(("error", "attempts", "seconds"), RETRIES)
def test_temporary_failures_are_retried_with_bounded_exponential_backoff(
    error: BaseException, attempts: int, seconds: int | None
) -> None:
    job = Job(
        queue="aurpay", lock=None, queueing_lock=None, task_name="", attempts=attempts
    )
    before = datetime.now(UTC)
    decision = _Retry().get_retry_decision(exception=error, job=job)
    if seconds is None:
        assert decision is None
        return
    assert decision is not None
    assert decision.retry_at is not None
    assert 0 <= (decision.retry_at - before).total_seconds() - seconds < 1


async def test_worker_requeues_temporary_failures_and_fails_the_job_otherwise(
    shop: Shop,
) -> None:
    shop.tasks()
    shop.sandbox.faults.push("503", "403")
    for reference in ("cart-1", "cart-2"):
        order = shop.app.configure_task("aurpay:open", queue="aurpay")
        await order.defer_async(**{**CART, "reference": reference})
    await shop.app.run_worker_async(wait=False, install_signal_handlers=False)
    jobs = [
        j
        for j in await shop.app.job_manager.list_jobs_async()
        if j.task_name == "aurpay:open"
    ]
    assert [(job.status, job.attempts) for job in jobs] == [("todo", 1), ("failed", 1)]


async def test_fulfilment_is_rolled_back_if_it_fails_and_committed_once(
    shop: Shop,
) -> None:
    shop.tasks()
    shop.failures = [OSError("no printer"), None]
    with pytest.raises(OSError, match="no printer"):
        await shop.run("fulfil", reference="cart-42")
    assert await shop.shipments() == []
    for _ in range(3):
        await shop.run("fulfil", reference="cart-42")
    assert await shop.shipments() == ["cart-42"]
    await shop.run("fulfil", reference="cart-43")
    assert await shop.shipments() == ["cart-42", "cart-43"]


async def test_fulfilment_timeout_cancels_and_rolls_back(shop: Shop) -> None:
    shop.tasks(fulfilment_timeout=timedelta(seconds=60))
    shop.failures = [asyncio.CancelledError()]
    with pytest.raises(TimeoutError):
        await shop.run("fulfil", reference="cart-42")
    assert await shop.shipments() == []
    await shop.run("fulfil", reference="cart-42")
    assert await shop.shipments() == ["cart-42"]


async def test_fulfilment_needs_an_engine_with_transactions(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing = shop.store.engine.execution_options(isolation_level="AUTOCOMMIT")
    monkeypatch.setattr(OrderStore, "engine", committing)
    shop.tasks()
    with pytest.raises(ConfigurationError, match="nothing can be undone"):
        await shop.run("fulfil", reference="cart-42")
    monkeypatch.undo()
    assert await shop.shipments() == []


async def test_reconciliation_defers_the_fulfilment_of_a_lost_callback_once(
    shop: Shop,
) -> None:
    shop.tasks()
    await shop.store.get_or_create("cart-42", "20.00", "USD")
    await shop.sandbox.pay(*shop.sandbox.orders)
    shop.clock.advance(121)
    for _ in range(2):
        await shop.run("reconcile", timestamp=0)
    assert shop.changes == [("cart-42", AttemptState.PAID)]
    jobs = await shop.rows("SELECT task, args FROM jobs")
    assert jobs == [("aurpay:fulfil", '{"reference": "cart-42"}')]


async def test_change_is_found_again_if_on_change_raised(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.tasks()
    await shop.store.get_or_create("cart-42", "20.00", "USD")
    await shop.sandbox.pay(*shop.sandbox.orders)
    shop.clock.advance(121)
    with monkeypatch.context() as patched:
        patched.setattr(shop, "changes", None)
        await shop.run("reconcile", timestamp=0)
    assert await shop.rows("SELECT * FROM jobs") == []
    shop.clock.advance(600)
    await shop.run("reconcile", timestamp=0)
    assert len(await shop.rows("SELECT * FROM jobs")) == 1


async def test_reconcile_task_continues_while_more_orders_are_due(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.tasks()
    found = Reconciliation(changes=(), failures=(), polled=100, more=True)
    runs = [found, found, attrs.evolve(found, more=False)]

    async def reconcile(**_: object) -> Reconciliation:
        return runs.pop(0)

    monkeypatch.setattr(shop.store, "reconcile", reconcile)
    await shop.run("reconcile", timestamp=0)
    assert runs == []
    await shop.store.get_or_create("cart-42", "20.00", "USD")
    (attempt,) = await shop.store.attempts("cart-42")
    failure = Failure(attempt=attempt, error=AurpayError())
    runs = [attrs.evolve(found, failures=(failure,)), attrs.evolve(found, more=False)]
    await shop.run("reconcile", timestamp=0)
    assert runs == []


async def test_without_on_change_paid_orders_are_fulfilled_and_overdue_ones_are_not(
    shop: Shop,
) -> None:
    OrderTasks(shop.app, shop.store, shop.fulfil)
    for reference in ("cart-1", "cart-2"):
        await shop.store.get_or_create(reference, "20.00", "USD")
    paid, late = shop.sandbox.orders
    await shop.sandbox.pay(paid)
    await shop.sandbox.expire(late)
    shop.clock.advance(121)
    await shop.run("reconcile", timestamp=0)
    jobs = await shop.rows("SELECT lock FROM jobs")
    assert jobs == [("aurpay:fulfil:cart-1",)]
    (attempt,) = await shop.store.attempts("cart-2")
    assert attempt.state is AttemptState.OVERDUE


async def test_restart_task_requeues_jobs_of_crashed_workers_and_fails_the_rest(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.tasks(queue="money")
    memory = shop.app.connector
    assert isinstance(memory, InMemoryConnector)
    for name, queue in [
        ("aurpay:open", "money"),
        ("aurpay:fulfil", "money"),
        ("aurpay:fulfil", "money"),
        ("aurpay:reconcile", "money"),
        ("aurpay:open", "money"),
        ("aurpay:open", "other"),
        ("shop:other", "money"),
    ]:
        await shop.app.configure_task(name, queue=queue).defer_async()
    for job in memory.jobs.values():
        job["status"] = "doing"
    memory.jobs[3]["attempts"] = 11
    retry = memory.retry_job_run

    async def fail_for_job_5(job_id: int, **values: Any) -> None:
        if job_id == 5:
            raise ConnectorException
        await retry(job_id, **values)

    monkeypatch.setattr(memory, "retry_job_run", fail_for_job_5)
    await shop.run("restart", timestamp=0)
    states = [job["status"] for job in memory.jobs.values()]
    assert states == ["todo", "todo", "failed", "failed", *["doing"] * 3]


async def test_worker_counts_as_crashed_without_heartbeat_for_stalled_after(
    shop: Shop,
) -> None:
    shop.tasks(stalled_after=timedelta(seconds=5))
    memory = shop.app.connector
    assert isinstance(memory, InMemoryConnector)
    for worker, seconds in ((1, 4), (2, 6)):
        memory.workers[worker] = datetime.now(UTC) - timedelta(seconds=seconds)
        await shop.app.configure_task("aurpay:open", queue="aurpay").defer_async()
        memory.jobs[worker].update(status="doing", worker_id=worker)
    await shop.run("restart", timestamp=0)
    assert [job["status"] for job in memory.jobs.values()] == ["doing", "todo"]


async def test_periodic_tasks_have_schedules_locks_and_priorities(shop: Shop) -> None:
    shop.tasks(queue="money", reconcile="0 4 * * *")
    found = {}
    for (name, _), periodic in shop.app.periodic_registry.periodic_tasks.items():
        task = periodic.task
        locks = task.lock, task.queueing_lock
        found[name] = (periodic.cron, task.queue, task.priority, *locks)
    one, other = "aurpay:reconcile", "aurpay:restart"
    assert found == {
        one: ("0 4 * * *", "money", 0, one, one),
        # It runs first, and has no lock that its own crash would leave behind.
        other: ("* * * * *", "money", 1, None, other),
    }


async def test_order_tasks_reject_invalid_arguments_and_register_nothing(
    shop: Shop, tmp_path: Path
) -> None:

    def fulfil(reference: str, connection: AsyncConnection) -> Any: ...

    with pytest.raises(ConfigurationError, match="fulfil must be an `async def`"):
        OrderTasks(shop.app, shop.store, fulfil)
    with pytest.raises(ConfigurationError, match="on_change must be an `async def`"):
        OrderTasks(shop.app, shop.store, shop.fulfil, on_change=fulfil)  # type: ignore[arg-type]
    for name in ("fulfilment_timeout", "stalled_after"):
        for value in (timedelta(0), 5):
            with pytest.raises(ConfigurationError, match=f"{name} must be a timedelta"):
                shop.tasks(**{name: value})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_DIALECT", "postgresql")
        with pytest.raises(ConfigurationError, match=r"postgresql\+asyncpg://"):
            shop.tasks()
    assert not [name for name in shop.app.tasks if name.startswith("aurpay:")]


def test_module_without_procrastinate_names_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(
        ImportError, match=r"'aurpay-async\[postgresql,procrastinate\]'"
    ):
        importlib.import_module(module.__name__)
