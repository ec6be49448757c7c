"""The tasks of `aurpay_async.contrib.procrastinate`, with and without PostgreSQL."""

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
from aurpay_async.contrib import procrastinate as module
from aurpay_async.contrib.procrastinate import OrderTasks, _Patience
from aurpay_async.orders import AttemptState, Failure, OrderStore, Reconciliation
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aurpay_async.orders import Change

KEY = "sandbox-reference-key"

#: What `defer_open` writes down for a cart of 20 dollars.
CART = {"reference": "cart-42", "price": "20.00", "currency": "USD"}


def put_into_a_table(
    _c: object, _cursor: object, statement: str, values: Any, _x: object, _many: bool
) -> tuple[str, Any]:
    """SQLite has no function of procrastinate's; a table takes what it is given."""
    if "procrastinate_defer_jobs_v1" in statement:
        statement = "INSERT INTO jobs VALUES (NULL, ?, ?, ?, ?) RETURNING id"
    return statement, values


def connect(url: str) -> AsyncEngine:
    engine = create_async_engine(url)
    event.listen(
        engine.sync_engine, "before_cursor_execute", put_into_a_table, retval=True
    )
    return engine


@attrs.define
class Shop:
    """One shop, and what its tasks have told it."""

    sandbox: Sandbox
    clock: FakeClock
    store: OrderStore
    app: App
    changes: list[tuple[str, AttemptState]] = attrs.field(factory=list)
    #: Each is raised by the next delivery, after it has done its work.
    problems: list[BaseException | None] = attrs.field(factory=list)

    def tasks(self, **options: Any) -> OrderTasks:
        return OrderTasks(
            self.app, self.store, self.deliver, on_change=self.changed, **options
        )

    async def deliver(self, reference: str, connection: AsyncConnection) -> None:
        await connection.execute(
            text("INSERT INTO parcels VALUES (:reference)"), {"reference": reference}
        )
        problem = self.problems.pop(0) if self.problems else None
        if isinstance(problem, asyncio.CancelledError):
            await asyncio.Event().wait()
        if problem is not None:
            raise problem

    async def changed(self, change: Change, _: AsyncConnection) -> None:
        self.changes.append((change.reference, change.attempt.state))

    async def run(self, task: str, **arguments: object) -> None:
        """As a worker does."""
        await self.app.tasks[f"aurpay:{task}"](**arguments)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.store.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def parcels(self) -> list[str]:
        return [row[0] for row in await self.rows("SELECT * FROM parcels")]


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """Without PostgreSQL: jobs are deferred into a table, and run out of memory."""
    monkeypatch.setattr(module, "_DIALECT", "sqlite")
    engine, clock = connect(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"), FakeClock()
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE parcels (reference TEXT)"))
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


async def test_a_job_is_there_if_what_it_follows_from_is(shop: Shop) -> None:
    """Deferred in the caller's transaction: committed or rolled back with it."""
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
        await tasks.defer_delivery(session, "cart-43")
        await session.commit()
    urls = {
        "succeed_url": "https://shop.example/thanks",
        "timeout_callback": "http://127.0.0.1/late",
    }
    jobs = await shop.rows("SELECT * FROM jobs")
    assert [(*row[:4], json.loads(row[4])) for row in jobs] == [
        (number, "money", "aurpay:open", "aurpay:open:cart-42", {**CART, **urls}),
        (
            *(number + 1, "money", "aurpay:deliver", "aurpay:deliver:cart-43"),
            {"reference": "cart-43"},
        ),
    ]


async def test_no_job_without_a_transaction(shop: Shop) -> None:
    """Nothing could be undone together with what it follows from."""
    tasks = shop.tasks()
    committing = shop.store.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with committing.connect() as connection:
        with pytest.raises(ConfigurationError, match="nothing can be undone"):
            await tasks.defer_open(connection, "cart-42", "20.00", "USD")
    with pytest.raises(ConfigurationError, match="AsyncConnection or AsyncSession"):
        await tasks.defer_delivery(shop.store.engine, "cart-42")  # type: ignore[arg-type]
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
async def test_arguments_are_refused_at_once(
    shop: Shop, field: str, arguments: Any
) -> None:
    """Where somebody can mend them, not in a worker."""
    async with shop.store.engine.begin() as connection:
        with pytest.raises(InvalidRequestError) as caught:
            await shop.tasks().defer_open(connection, *arguments)
    assert caught.value.field == field
    assert await shop.rows("SELECT * FROM jobs") == []


async def test_a_worker_opens_one_order_for_a_cart(shop: Shop) -> None:
    """However many jobs there are for it; also when it is paid without an invoice."""
    shop.tasks()
    open_order = shop.app.configure_task("aurpay:open", queue="aurpay")
    for _ in range(2):
        await open_order.defer_async(**CART)
    await shop.app.run_worker_async(wait=False, install_signal_handlers=False)
    (attempt,) = await shop.store.attempts("cart-42")
    assert (attempt.state, attempt.order_id) == ("payable", *shop.sandbox.orders)
    with pytest.raises(ReferenceConflictError):
        await shop.run("open", **{**CART, "price": "21.00"})


async def test_a_cart_that_is_paid_is_open_enough(
    shop: Shop,
) -> None:
    """By an order whose invoice nobody holds: whoever found that out has delivered."""
    shop.tasks()
    shop.sandbox.faults.push("cut-body+created")
    with pytest.raises(AurpayError):
        await shop.run("open", **CART)
    (order_id,) = shop.sandbox.orders
    await shop.sandbox.pay(order_id)
    assert (await shop.store.record(order_id=order_id)).newly_paid
    await shop.run("open", **CART)
    shop.sandbox.assert_orders(1)


def failed(kind: type[AurpayError], **fields: Any) -> AurpayError:
    """An error without its story."""
    error = kind.__new__(kind)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


NEVER = None
TABLE = [
    # Nothing was sent, and it may be sent again.
    (failed(ConnectError, outcome=RequestOutcome.NOT_SENT, retryable=True), 0, 2),
    (failed(RateLimitedError, retryable=True, retry_after=None), 3, 16),
    (failed(RateLimitedError, retryable=True, retry_after=7.2), 0, 8),
    (failed(RateLimitedError, retryable=True, retry_after=7.2), 2, 8),
    # The store looks before it asks for an order again.
    (failed(AurpayError, outcome=RequestOutcome.UNKNOWN), 1, 4),
    (failed(UntrustedOrderError), 0, NEVER),
    # The same would be refused again.
    (failed(AurpayError, outcome=RequestOutcome.REJECTED), 0, NEVER),
    (failed(InvalidRequestError), 0, NEVER),
    (failed(ReferenceConflictError), 0, NEVER),
    # A database that is away, a shop's own bug, a worker that is told to stop.
    (OSError(), 0, 2),
    (asyncio.CancelledError(), 7, 256),
    (OSError(), 8, 300),
    (OSError(), 10, 300),
    (OSError(), 11, NEVER),
]


@pytest.mark.parametrize(("error", "attempts", "seconds"), TABLE)
def test_what_may_pass_is_tried_again(
    error: BaseException, attempts: int, seconds: int | None
) -> None:
    """Later and later, as long as it does no harm, and not for ever."""
    job = Job(
        queue="aurpay", lock=None, queueing_lock=None, task_name="", attempts=attempts
    )
    before = datetime.now(UTC)
    decision = _Patience().get_retry_decision(exception=error, job=job)
    if seconds is None:
        assert decision is None
        return
    assert decision is not None
    assert decision.retry_at is not None
    assert 0 <= (decision.retry_at - before).total_seconds() - seconds < 1


async def test_the_worker_obeys_that(shop: Shop) -> None:
    """A job that may pass goes back into the queue; one that may not has failed."""
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


async def test_a_delivery_takes_effect_once(shop: Shop) -> None:
    """What a handler did before it failed is undone; what it did at last, is not."""
    shop.tasks()
    shop.problems = [OSError("no printer"), None]
    with pytest.raises(OSError, match="no printer"):
        await shop.run("deliver", reference="cart-42")
    assert await shop.parcels() == []
    for _ in range(3):
        await shop.run("deliver", reference="cart-42")
    assert await shop.parcels() == ["cart-42"]
    await shop.run("deliver", reference="cart-43")
    assert await shop.parcels() == ["cart-42", "cart-43"]


async def test_a_delivery_has_an_end(shop: Shop) -> None:
    """Who takes longer is cancelled, what it did is undone, and it is tried again."""
    tasks = shop.tasks(delivery_timeout=timedelta(milliseconds=50))
    shop.problems = [asyncio.CancelledError()]
    with pytest.raises(TimeoutError):
        await shop.run("deliver", reference="cart-42")
    assert await shop.parcels() == []
    tasks._limit = 60
    await shop.run("deliver", reference="cart-42")
    assert await shop.parcels() == ["cart-42"]


async def test_nothing_is_delivered_where_nothing_can_be_undone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that commits each statement by itself is refused in time."""
    committing = shop.store.engine.execution_options(isolation_level="AUTOCOMMIT")
    monkeypatch.setattr(OrderStore, "engine", committing)
    shop.tasks()
    with pytest.raises(ConfigurationError, match="nothing can be undone"):
        await shop.run("deliver", reference="cart-42")
    monkeypatch.undo()
    assert await shop.parcels() == []


async def test_a_lost_callback_leads_to_a_delivery(shop: Shop) -> None:
    """Found by reconciling: the change, what the shop does and the job, all at once."""
    shop.tasks()
    await shop.store.get_or_create("cart-42", "20.00", "USD")
    await shop.sandbox.pay(*shop.sandbox.orders)
    shop.clock.advance(121)
    for _ in range(2):
        await shop.run("reconcile", timestamp=0)
    assert shop.changes == [("cart-42", AttemptState.PAID)]
    jobs = await shop.rows("SELECT task, args FROM jobs")
    assert jobs == [("aurpay:deliver", '{"reference": "cart-42"}')]


async def test_a_change_that_the_shop_refuses_is_not_recorded(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is its delivery deferred: the next run finds it again."""
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


async def test_reconciling_goes_on_while_there_is_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of one order keeps no other order waiting for the next cron run."""
    shop.tasks()
    found = Reconciliation(changes=(), failures=(), asked=100, more=True)
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


async def test_the_shop_need_not_be_told_of_changes(shop: Shop) -> None:
    """What is paid is delivered all the same, and what is overdue is not."""
    OrderTasks(shop.app, shop.store, shop.deliver)
    for reference in ("cart-1", "cart-2"):
        await shop.store.get_or_create(reference, "20.00", "USD")
    paid, late = shop.sandbox.orders
    await shop.sandbox.pay(paid)
    await shop.sandbox.expire(late)
    shop.clock.advance(121)
    await shop.run("reconcile", timestamp=0)
    jobs = await shop.rows("SELECT lock FROM jobs")
    assert jobs == [("aurpay:deliver:cart-1",)]
    (attempt,) = await shop.store.attempts("cart-2")
    assert attempt.state is AttemptState.OVERDUE


async def test_jobs_of_the_dead_are_done_by_the_living(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what cron brings again, and what has been tried often enough, ends."""
    shop.tasks(queue="money")
    memory = shop.app.connector
    assert isinstance(memory, InMemoryConnector)
    for name, queue in [
        ("aurpay:open", "money"),
        ("aurpay:deliver", "money"),
        ("aurpay:deliver", "money"),
        ("aurpay:reconcile", "money"),
        ("aurpay:open", "money"),
        ("aurpay:open", "of others"),
        ("shop:of its own", "money"),
    ]:
        await shop.app.configure_task(name, queue=queue).defer_async()
    for job in memory.jobs.values():
        job["status"] = "doing"
    memory.jobs[3]["attempts"] = 11
    retry = memory.retry_job_run

    async def somebody_was_faster(job_id: int, **values: Any) -> None:
        if job_id == 5:
            raise ConnectorException
        await retry(job_id, **values)

    monkeypatch.setattr(memory, "retry_job_run", somebody_was_faster)
    await shop.run("restart", timestamp=0)
    states = [job["status"] for job in memory.jobs.values()]
    assert states == ["todo", "todo", "failed", "failed", *["doing"] * 3]


async def test_a_worker_is_dead_when_it_was_silent(shop: Shop) -> None:
    """For as long as the shop says; a slow one is not."""
    shop.tasks(stalled_after=timedelta(seconds=5))
    memory = shop.app.connector
    assert isinstance(memory, InMemoryConnector)
    for worker, seconds in ((1, 4), (2, 6)):
        memory.workers[worker] = datetime.now(UTC) - timedelta(seconds=seconds)
        await shop.app.configure_task("aurpay:open", queue="aurpay").defer_async()
        memory.jobs[worker].update(status="doing", worker_id=worker)
    await shop.run("restart", timestamp=0)
    assert [job["status"] for job in memory.jobs.values()] == ["doing", "todo"]


async def test_what_is_periodic(shop: Shop) -> None:
    """At the shop's own times; one waits at most, and one looks at a time."""
    shop.tasks(queue="money", reconcile="0 4 * * *")
    found = {}
    for (name, _), periodic in shop.app.periodic_registry.periodic_tasks.items():
        task = periodic.task
        locks = task.lock, task.queueing_lock
        found[name] = (periodic.cron, task.queue, task.priority, *locks)
    one, other = "aurpay:reconcile", "aurpay:restart"
    assert found == {
        one: ("0 4 * * *", "money", 0, one, one),
        # The dead come first, and nobody who dies holds up the rest.
        other: ("* * * * *", "money", 1, None, other),
    }


async def test_what_cannot_be_used_is_refused(shop: Shop, tmp_path: Path) -> None:
    """With what to write instead."""

    def deliver(reference: str, connection: AsyncConnection) -> Any: ...

    with pytest.raises(ConfigurationError, match="deliver must be an `async def`"):
        OrderTasks(shop.app, shop.store, deliver)
    with pytest.raises(ConfigurationError, match="on_change must be an `async def`"):
        OrderTasks(shop.app, shop.store, shop.deliver, on_change=deliver)  # type: ignore[arg-type]
    for name in ("delivery_timeout", "stalled_after"):
        for value in (timedelta(0), 5):
            with pytest.raises(ConfigurationError, match=f"{name} must be a timedelta"):
                shop.tasks(**{name: value})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_DIALECT", "postgresql")
        with pytest.raises(ConfigurationError, match=r"postgresql\+asyncpg://"):
            shop.tasks()
    assert not [name for name in shop.app.tasks if name.startswith("aurpay:")]


def test_module_without_procrastinate_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The names of the extras, ready to be pasted."""
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(
        ImportError, match=r"'aurpay-async\[postgresql,procrastinate\]'"
    ):
        importlib.import_module(module.__name__)
